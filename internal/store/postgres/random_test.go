package postgres

import (
	"flag"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/pgtest"
	"github.com/grima-chat/grima/internal/store/storetest"
)

// mortal is a store whose connections can be cut for good, which is what a killed
// node looks like to its database.
type mortal struct {
	*Store
	proxy    *proxy
	database string
}

func (m *mortal) Crash() { m.proxy.Cut(true) }

func openMortal(t testing.TB, database string) chat.Store {
	p := newProxy(t, database)
	s, err := tryOpen(p.url, func(c *Config) {
		c.Patience, c.alwaysLookUp, c.recent, c.keep = 50*time.Millisecond, true, 8, 10*time.Millisecond
	})
	if err != nil {
		t.Fatal(err)
	}
	return &mortal{s, p, database}
}

func TestRandomUpdatesRestartsAndCrashes(t *testing.T) {
	if err := flag.Set("rapid.checks", "10"); err != nil { // each with a database of its own
		t.Fatal(err)
	}
	storetest.RunRandom(t,
		func(t testing.TB) chat.Store { return openMortal(t, pgtest.New(t)) },
		func(t testing.TB, old chat.Store) chat.Store {
			m := old.(*mortal)
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			return openMortal(t, m.database)
		})
}
