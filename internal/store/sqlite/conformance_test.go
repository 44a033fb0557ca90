package sqlite

import (
	"testing"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t testing.TB) chat.Store { return open(t, t.TempDir()) })
}

func TestRandomOperations(t *testing.T) {
	dirs := map[chat.Store]string{}
	at := func(t testing.TB, dir string) chat.Store {
		s := open(t, dir)
		dirs[s] = dir
		return s
	}
	storetest.RunRandom(t,
		func(t testing.TB) chat.Store { return at(t, t.TempDir()) },
		func(t testing.TB, old chat.Store) chat.Store {
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			return at(t, dirs[old])
		})
}
