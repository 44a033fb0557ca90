package storetest

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/grima-chat/grima/internal/chat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openMemory(testing.TB) chat.Store { return NewMemory() }

func TestMemory(t *testing.T) { Run(t, openMemory) }

func TestMemoryAgainstItself(t *testing.T) { RunRandom(t, openMemory, nil) }

// durable is a Memory whose rows outlive it, to try the restarts and crashes of
// RunRandom on.
type durable struct{ *Memory }

// Crash drops what is queued; the update under way is committed, maybe unheard.
func (d durable) Crash() {
	d.queue.mu.Lock()
	d.queue.items = nil
	d.queue.mu.Unlock()
}

func reopenDurable(t testing.TB, old chat.Store) chat.Store {
	d := old.(durable)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	m := NewMemory()
	m.tables, m.committed = d.tables, d.committed
	return durable{m}
}

func TestMemoryAgainstItselfOverRestartsAndCrashes(t *testing.T) {
	RunRandom(t, func(testing.TB) chat.Store { return durable{NewMemory()} }, reopenDurable)
}
