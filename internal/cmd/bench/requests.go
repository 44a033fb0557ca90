//go:build linux

package main

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// The light requests: ping is taken apart and answered, read is chats.get, which
// asks the store for two rows.
var lightRequests = []string{"ping", "read"}

func requestKey(server, what string, clients int) string {
	return fmt.Sprintf("requests/%s/%s/%d", server, what, clients)
}

const echoName = "raw echo"

func (b *bench) planRequests() error {
	w, err := b.planCrowd()
	if err != nil {
		return err
	}
	raw := rawKind(echoName, "each", false)
	for _, n := range b.live.size.active {
		for _, k := range append(append([]kind{raw}, b.grimas()...), b.live.peers...) {
			b.plan(fmt.Sprintf("requests of %d clients, %s", n, k.name), func(round int) error {
				return b.beside(k, w, func(t *target) error {
					if k.name == echoName {
						t.receiver = echo
					}
					return b.requests(round, t, n)
				})
			})
		}
	}
	return nil
}

// requests lets n clients ask in a closed loop: each asks again when it has its
// answer.
func (b *bench) requests(round int, t *target, n int) error {
	l, err := newLoop(b.ctx)
	if err != nil {
		return err
	}
	defer l.close()
	var answered int64
	var latencies []time.Duration
	measuring, asking, what := false, true, ""
	under := 0
	ask := func(c *client) {
		under++
		c.due = time.Now()
		l.send(c, t.light(what, c.id))
	}
	heard := func(c *client, data []byte) {
		got := bytes.Count(data, []byte{t.answer})
		if got == 0 {
			return
		}
		under -= got
		answered += int64(got)
		if measuring {
			latencies = append(latencies, time.Since(c.due))
		}
		if asking {
			ask(c)
		}
	}
	clients, err := l.open(n, 64, func(i int) (*client, error) { return l.dial(t.addr, i, t.receiver(i), heard) })
	if err != nil {
		return err
	}
	for _, what = range lightRequests {
		if what == "read" && !isGrima(t.name) {
			continue
		}
		asking, latencies = true, nil
		for _, c := range clients {
			ask(c)
		}
		if err := l.pollUntil(time.Now().Add(b.warmed())); err != nil {
			return err
		}
		before, err := processUsage(t.pid)
		if err != nil {
			return err
		}
		lock, hasLock := metricsOf(t.addr)[lockWaitMetric]
		began := time.Now()
		answered, measuring = 0, true
		if err := l.count(b.measured(), func() bool { return answered > 0 }); err != nil {
			return err
		}
		got, elapsed := float64(answered), time.Since(began)
		measuring = false
		after, err := processUsage(t.pid)
		if err != nil {
			return err
		}
		slices.Sort(latencies)
		key := requestKey(t.name, what, n)
		add := func(figure string, v float64) { b.live.found.add(round, key, figure, v) }
		add("cpu", (after.cpu-before.cpu).Seconds()/got)
		add("rate", got/elapsed.Seconds())
		add("voluntary", (after.voluntary-before.voluntary)/got)
		add("involuntary", (after.involuntary-before.involuntary)/got)
		add("p50", percentile(latencies, 0.5).Seconds())
		add("p99", percentile(latencies, 0.99).Seconds())
		if hasLock {
			add("lock", (metricsOf(t.addr)[lockWaitMetric]-lock)/got)
		}
		asking = false
		for limit := time.Now().Add(patience); under > 0; {
			if time.Now().After(limit) {
				return fmt.Errorf("%d requests were not answered within %s", under, patience)
			}
			if err := l.poll(100); err != nil {
				return err
			}
		}
	}
	return nil
}
