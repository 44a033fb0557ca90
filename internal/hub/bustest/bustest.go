// Package bustest is the suite that every hub.Bus has to pass.
package bustest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/hub"
)

const patience = time.Minute

// Run runs the suite. open joins one more node to a bus of the test's own; the
// bus may lose payloads, as long as it does not lose all.
func Run(t *testing.T, open func(t *testing.T) (join func() hub.Bus)) {
	t.Run("Everybody else hears, of the kinds they asked for, the very bytes", func(t *testing.T) {
		join := open(t)
		a, b, c := newMember(t, join(), hub.Kinds...), newMember(t, join(), hub.Kinds...), newMember(t, join(), hub.Hints)
		for i, kind := range hub.Kinds {
			payload := bytes.Repeat([]byte{byte(i), 0, 0xff, '\r', '\n'}, 1+i*hub.MaxPayload/5/len(hub.Kinds))
			until(t, func() { a.publish(kind, payload) }, func() bool { return b.has(kind, payload) && (kind != hub.Hints || c.has(kind, payload)) })
		}
		if a.count() > 0 {
			t.Errorf("who published heard %d payloads", a.count())
		}
		if n := c.count(hub.Hints); n != c.count() {
			t.Errorf("of %d payloads %d were asked for", c.count(), n)
		}
	})
	t.Run("The largest payload and the empty one", func(t *testing.T) {
		join := open(t)
		a, b := newMember(t, join(), hub.Hints), newMember(t, join(), hub.Hints)
		for _, payload := range [][]byte{{}, bytes.Repeat([]byte("x"), hub.MaxPayload)} {
			until(t, func() { a.publish(hub.Hints, payload) }, func() bool { return b.has(hub.Hints, payload) })
		}
	})
	t.Run("From many goroutines, between many nodes, nothing is mixed up", func(t *testing.T) {
		join := open(t)
		var members []*member
		for range 4 {
			members = append(members, newMember(t, join(), hub.Hints, hub.Marks))
		}
		said := make(map[string]bool)
		for from := range members {
			for n := range 50 {
				said[fmt.Sprintf("%d says %d", from, n)] = true
			}
		}
		var all sync.WaitGroup
		for from, m := range members {
			for n := range 50 {
				all.Go(func() { m.publish([]hub.Kind{hub.Hints, hub.Marks}[n%2], fmt.Appendf(nil, "%d says %d", from, n)) })
			}
		}
		all.Wait()
		for to, m := range members {
			from := (to + 1) % len(members)
			last := fmt.Appendf(nil, "%d says %d", from, 0)
			until(t, func() { members[from].publish(hub.Hints, last) }, func() bool { return m.has(hub.Hints, last) })
			for _, p := range m.all() {
				if !said[p] {
					t.Errorf("node %d heard %q, which nobody said", to, p)
				}
			}
		}
	})
}

// until does something until it has had its effect: it may be lost.
func until(t *testing.T, do func(), effect func() bool) {
	t.Helper()
	late := time.Now().Add(patience)
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		do()
		if effect() {
			tick.Stop()
			return
		}
		if time.Now().After(late) {
			tick.Stop()
			t.Fatal("it is never heard")
		}
	}
}

// member is a node that writes down what it hears.
type member struct {
	t   *testing.T
	bus hub.Bus

	mu    sync.Mutex
	heard map[hub.Kind][]string
}

func newMember(t *testing.T, bus hub.Bus, kinds ...hub.Kind) *member {
	t.Helper()
	m := &member{t: t, bus: bus, heard: make(map[hub.Kind][]string)}
	err := bus.Subscribe(kinds, func(kind hub.Kind, b []byte) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.heard[kind] = append(m.heard[kind], string(b))
	}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *member) publish(kind hub.Kind, payload []byte) {
	if err := m.bus.Publish(kind, payload); err != nil {
		m.t.Error(err)
	}
}

func (m *member) has(kind hub.Kind, payload []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.heard[kind] {
		if p == string(payload) {
			return true
		}
	}
	return false
}

func (m *member) count(kinds ...hub.Kind) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(kinds) == 0 {
		kinds = hub.Kinds
	}
	for _, kind := range kinds {
		n += len(m.heard[kind])
	}
	return n
}

func (m *member) all() (list []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, heard := range m.heard {
		list = append(list, heard...)
	}
	return list
}
