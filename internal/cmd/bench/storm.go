//go:build linux

package main

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

const (
	bareAccept = "raw accept loop"
	bareLookup = "raw accept loop, tokens looked up"
)

func stormKey(server string) string { return "storm/" + server }

func (b *bench) planStorm() error {
	w, err := b.planCrowd()
	if err != nil {
		return err
	}
	kinds := append([]kind{rawKind(bareAccept, "each", false), rawKind(bareLookup, "each", true)}, b.grimas()...)
	for _, k := range append(kinds, b.live.peers...) {
		b.plan("reconnect storm, "+k.name, func(round int) error {
			return b.beside(k, w, func(t *target) error { return b.storm(round, t, w) })
		})
	}
	return nil
}

var cursorIn = regexp.MustCompile(`"cursor":"([^"]*)"`)

// storm lets clients come that were there before, all at once, and measures
// until the last of them is live.
func (b *bench) storm(round int, t *target, w *crowd) error {
	n := b.live.size.storm
	script := t.receiver
	switch {
	case t.name == bareAccept || t.name == bareLookup:
		script = func(i int) []step {
			return []step{{say: []byte("T" + w.token(i) + "\n"), hear: w.token(i) + "\n"}}
		}
	case isGrima(t.name):
		cursors, err := b.cursors(t, w, n)
		if err != nil {
			return err
		}
		script = func(i int) []step {
			say := append(loginLine(w.token(i), true), dataLine("sync", `{"cursor":"`+cursors[i]+`"}`)...)
			return []step{{say: say, hear: `"op":"sync","result"`}}
		}
	}
	l, err := newLoop(b.ctx)
	if err != nil {
		return err
	}
	defer l.close()
	// The server is done with those who went.
	if err := l.pollUntil(time.Now().Add(b.live.size.settle / 2)); err != nil {
		return err
	}
	latencies := make([]time.Duration, 0, n)
	before, err := processUsage(t.pid)
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := l.open(n, b.live.size.storming, func(i int) (*client, error) {
		dialed := time.Now()
		c, err := l.dial(t.addr, i, script(i), nil)
		if err == nil {
			c.ready = func(*client) { latencies = append(latencies, time.Since(dialed)) }
		}
		return c, err
	}); err != nil {
		return err
	}
	elapsed := time.Since(began)
	after, err := processUsage(t.pid)
	if err != nil {
		return err
	}
	slices.Sort(latencies)
	add := func(figure string, v float64) { b.live.found.add(round, stormKey(t.name), figure, v) }
	add("time", elapsed.Seconds())
	add("cpu", (after.cpu-before.cpu).Seconds()/float64(n))
	add("p50", percentile(latencies, 0.5).Seconds())
	add("p99", percentile(latencies, 0.99).Seconds())
	return nil
}

// cursors lets everybody be there once, ask where they stand, and go.
func (b *bench) cursors(t *target, w *crowd, n int) ([]string, error) {
	l, err := newLoop(b.ctx)
	if err != nil {
		return nil, err
	}
	defer l.close()
	cursors := make([]string, n)
	if _, err := l.open(n, 64, func(i int) (*client, error) {
		found := func(heard []byte) {
			if m := cursorIn.FindSubmatch(heard); m != nil {
				cursors[i] = string(m[1])
			}
		}
		return l.dial(t.addr, i, append(t.receiver(i), step{say: dataLine("sync", `{"timeline_limit":0}`), hear: `"op":"sync","result"`, each: found}), nil)
	}); err != nil {
		return nil, err
	}
	for i, c := range cursors {
		if c == "" {
			return nil, fmt.Errorf("client %d has no cursor", i)
		}
	}
	return cursors, nil
}
