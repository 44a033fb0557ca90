package hub

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// A table finds who is in it, as a map of lists would, whatever comes and goes.
func TestTable(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for _, by := range []key{bySession, byUser} {
		tab := table{by: by}
		want := map[int64][]*Conn{} // who came last is last
		var all []*Conn
		check := func() {
			t.Helper()
			if tab.n != len(all) {
				t.Fatalf("%d of %d", tab.n, len(all))
			}
			seen := map[*Conn]bool{}
			for c := range tab.all() {
				if seen[c] {
					t.Fatal("somebody is there twice")
				}
				seen[c] = true
			}
			if len(seen) != len(all) {
				t.Fatalf("%d of %d are listed", len(seen), len(all))
			}
			for key := range int64(1200) {
				got := slices.Collect(tab.of(key))
				slices.Reverse(got)
				if !slices.Equal(got, want[key]) {
					t.Fatalf("key %d: %d, want %d", key, len(got), len(want[key]))
				}
				if first := tab.first(key); (first != nil) != (len(want[key]) > 0) || first != nil && first != want[key][len(want[key])-1] {
					t.Fatalf("key %d: another is first", key)
				}
			}
		}
		check()
		for round, more := range []bool{true, false, true, false} {
			for range 1500 {
				if more || random.IntN(3) == 0 {
					key := random.Int64N(1000)
					c := &Conn{session: chat.SessionID(key), user: chat.UserID(key)}
					if by == byUser {
						c.session = 1
					}
					tab.add(c)
					all, want[key] = append(all, c), append(want[key], c)
				} else if len(all) > 0 {
					i := random.IntN(len(all))
					c := all[i]
					key := tab.keyOf(c)
					tab.remove(c)
					all = slices.Delete(all, i, i+1)
					want[key] = slices.DeleteFunc(want[key], func(o *Conn) bool { return o == c })
				}
				if random.IntN(100) == 0 {
					check()
				}
			}
			if round == 3 {
				for _, c := range all {
					tab.remove(c)
				}
				all, want = nil, nil
			}
			check()
		}
	}
}
