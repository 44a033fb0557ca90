//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// inFlight is how messages are under way at once.
type inFlight struct {
	name, about       string
	slots, publishers int
	only              int // a room of this size alone; 0: all
}

var flights = []inFlight{
	{"lone", "one", 1, 1, 0},
	{"backlog", "one each of 32 publishers", 32, 32, 0},
	{"one publisher", "32 of one publisher", 32, 1, 10_000},
}

// The servers whose deliveries are held against others': as it is, and built
// with its store in memory.
const durable, volatile = "Grima", "Grima, volatile"

// What writes to each receiver, message by message, and does nothing else.
const bareLoop = "raw loop"

const publishersOf = 32

// fan is one measurement: messages that are under way, each counted at every
// receiver.
type fan struct {
	l         *loop
	t         *target
	receivers int
	slots     []slot
	sent      int64
	turns     int // how often the first of slots arrived everywhere

	measuring         bool
	stopping          bool
	deliveries, bytes int64
	latencies         []time.Duration
}

type slot struct {
	by    *client
	began time.Time
	left  int // receivers that are yet to hear it
}

func (f *fan) heard(c *client, data []byte) {
	f.bytes += int64(len(data))
	c.marks(data, f.delivered)
}

func (f *fan) delivered(i int) {
	if i >= len(f.slots) || f.slots[i].left == 0 {
		f.l.fail(fmt.Errorf("message %d was delivered more often than it was sent", i))
		return
	}
	f.deliveries++
	s := &f.slots[i]
	if s.left--; s.left > 0 {
		return
	}
	if i == 0 {
		f.turns++
	}
	if f.measuring {
		f.latencies = append(f.latencies, time.Since(s.began))
	}
	if !f.stopping {
		f.publish(i)
	}
}

func (f *fan) publish(i int) {
	s := &f.slots[i]
	f.sent++
	s.left, s.began = f.receivers, time.Now()
	s.by.out = f.t.publish(s.by.out, i, f.sent)
	f.l.wants(s.by)
}

// refused notices a publisher whose message was not taken.
func (f *fan) refused(c *client, data []byte) {
	if bytes.Contains(data, []byte(`"error":{`)) || bytes.Contains(data, []byte("-ERR")) {
		f.l.fail(fmt.Errorf("publisher %d was refused: %.300s", c.id, data))
	}
}

func (b *bench) planFanOut() error {
	for _, n := range b.live.size.rooms {
		w, err := b.makeCrowd(filepath.Join(b.tmp, fmt.Sprintf("room-%d", n)), n+publishersOf, n, []roomOf{{from: 0, to: n + publishersOf}})
		if err != nil {
			return err
		}
		for _, k := range b.fanOutKinds() {
			b.plan(fmt.Sprintf("fan-out to %d, %s", n, k.name), func(round int) error {
				return b.beside(k, w, func(t *target) error { return b.fanOut(round, t, n) })
			})
		}
	}
	return nil
}

func (b *bench) fanOutKinds() []kind {
	kinds := []kind{rawKind(bareLoop, "each", false), b.grimaKind(durable, b.bin), b.grimaKind(volatile, b.live.volatile)}
	if b.Before != "" {
		kinds = append(kinds, b.grimaKind(before(durable), filepath.Join(b.Before, "grima")),
			b.grimaKind(before(volatile), filepath.Join(b.Before, "grima-volatile")))
	}
	return append(append(kinds, rawKind("raw loop, joined", "join", false)), b.live.peers...)
}

func fanKey(server string, n int, flight string) string {
	return fmt.Sprintf("fan/%s/%d/%s", server, n, flight)
}

// fanOut measures one server with one room in every way.
func (b *bench) fanOut(round int, t *target, n int) error {
	l, err := newLoop(b.ctx)
	if err != nil {
		return err
	}
	defer l.close()
	f := &fan{l: l, t: t, receivers: n}
	if _, err := l.open(n, 64, func(i int) (*client, error) { return l.dial(t.addr, i, t.receiver(i), f.heard) }); err != nil {
		return fmt.Errorf("receivers: %w", err)
	}
	publishers, err := l.open(publishersOf, 16, func(i int) (*client, error) { return l.dial(t.addr, i, t.publisher(i), f.refused) })
	if err != nil {
		return fmt.Errorf("publishers: %w", err)
	}
	for i, how := range flights {
		if how.only != 0 && how.only != n {
			continue
		}
		if i > 0 {
			if err := f.drain(); err != nil {
				return err
			}
		}
		if err := f.measure(b, round, fanKey(t.name, n, how.name), how, publishers); err != nil {
			return fmt.Errorf("%s: %w", how.name, err)
		}
	}
	return nil
}

func (f *fan) measure(b *bench, round int, key string, how inFlight, publishers []*client) error {
	f.slots = make([]slot, how.slots)
	for i := range f.slots {
		f.slots[i].by = publishers[i%how.publishers]
		f.publish(i)
	}
	if err := f.turn(b.warmed(), 1); err != nil {
		return err
	}
	f.measuring, f.deliveries, f.bytes, f.latencies = true, 0, 0, nil
	before, err := processUsage(f.t.pid)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := f.turn(b.measured(), 2); err != nil {
		return err
	}
	elapsed := time.Since(began)
	after, err := processUsage(f.t.pid)
	if err != nil {
		return err
	}
	f.measuring = false
	got := float64(f.deliveries)
	add := func(figure string, v float64) { b.live.found.add(round, key, figure, v) }
	add("cpu", (after.cpu-before.cpu).Seconds()/got)
	add("rate", got/elapsed.Seconds())
	add("bytes", float64(f.bytes)/got)
	if slices.Sort(f.latencies); len(f.latencies) > 0 {
		add("p50", percentile(f.latencies, 0.5).Seconds())
		add("p99", percentile(f.latencies, 0.99).Seconds())
	}
	return nil
}

// turn polls for so long, and on until the first of the messages under way has
// arrived everywhere so many times: figures begin and end at the same moment of a
// server's turns, which may take seconds where 32 messages go to 10,000.
func (f *fan) turn(long time.Duration, turns int) error {
	began, first, last := time.Now(), f.turns, f.turns
	for {
		if err := f.l.poll(100); err != nil {
			return err
		}
		took := time.Since(began)
		if f.turns != last && f.turns >= first+turns && took >= long {
			return nil
		}
		if took > long+time.Duration(turns)*patience {
			return fmt.Errorf("a message to %d did not arrive within %s", f.receivers, took.Round(time.Second))
		}
		last = f.turns
	}
}

// drain waits until nothing is under way any more.
func (f *fan) drain() error {
	f.stopping = true
	defer func() { f.stopping = false }()
	busy := func(s slot) bool { return s.left > 0 }
	for limit := time.Now().Add(patience); slices.ContainsFunc(f.slots, busy); {
		if time.Now().After(limit) {
			return errors.New("what was under way did not arrive within " + patience.String())
		}
		if err := f.l.poll(100); err != nil {
			return err
		}
	}
	return nil
}
