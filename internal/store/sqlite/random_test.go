package sqlite

import (
	"flag"
	"syscall"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/storetest"
)

// mortal is a store whose disk can be taken away, which is what a killed process
// looks like to its files: nothing is written any more.
type mortal struct {
	*Store
	disk    *disk
	dir     string
	crashed bool
}

func (m *mortal) Crash() {
	m.crashed = true
	m.disk.fails(func(action) error { return syscall.EIO })
}

func openMortal(t testing.TB, dir string) chat.Store {
	d := newDisk(t)
	// The stores of a test are small: without this no sync would look up what
	// changed lately, and with it most do, until it is forgotten.
	s, err := tryOpen(dir, d.on, func(c *Config) { c.alwaysLookUp, c.recent = true, 8 })
	if err != nil {
		t.Fatal(err)
	}
	return &mortal{Store: s, disk: d, dir: dir}
}

func TestRandomUpdatesRestartsAndCrashes(t *testing.T) {
	if raceDetector { // as for step
		if err := flag.Set("rapid.checks", "15"); err != nil {
			t.Fatal(err)
		}
	}
	storetest.RunRandom(t,
		func(t testing.TB) chat.Store { return openMortal(t, t.TempDir()) },
		func(t testing.TB, old chat.Store) chat.Store {
			m := old.(*mortal)
			if err := m.Close(); err != nil && !m.crashed { // dead stores have nothing to say
				t.Fatal(err)
			}
			return openMortal(t, m.dir)
		})
}
