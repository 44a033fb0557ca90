package sqlite

import (
	"cmp"
	"runtime"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/internal/chat"
	"pgregory.net/rapid"
)

// Whatever is changed, and in whatever order a batch is written, recent gives
// everything that changed for a user above a stamp, or says that it cannot; and
// nothing twice.
func TestRecentIsNeverTooLittle(t *testing.T) {
	exact := 0
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 12).Draw(t, "most")
		r := newRecent(10, most)
		type key struct {
			chat chat.ChatID
			user chat.UserID // 0: the chat itself
		}
		last := map[key]int64{}
		stamp := int64(10)
		t.Repeat(map[string]func(*rapid.T){
			"batch": func(t *rapid.T) {
				n := rapid.IntRange(1, 5).Draw(t, "n")
				var rows []key
				for range n {
					stamp++
					k := key{chat.ChatID(rapid.IntRange(1, 8).Draw(t, "chat")), chat.UserID(rapid.IntRange(0, 2).Draw(t, "user"))}
					last[k] = stamp
					if !slices.Contains(rows, k) {
						rows = append(rows, k)
					}
				}
				for _, k := range rapid.Permutation(rows).Draw(t, "written as") {
					if k.user == 0 {
						r.chatChanged(k.chat, last[k])
					} else {
						r.markMoved(k.chat, k.user, last[k])
					}
				}
			},
			"ask": func(t *rapid.T) {
				user := chat.UserID(rapid.IntRange(1, 2).Draw(t, "user"))
				after := rapid.Int64Range(0, stamp+1).Draw(t, "after")
				limit := rapid.IntRange(0, 20).Draw(t, "limit")
				want := map[chat.ChatID]bool{}
				for k, at := range last {
					if at > after && (k.user == 0 || k.user == user) {
						want[k.chat] = true
					}
				}
				got, ok := r.changed(user, after, limit)
				if !ok {
					return
				}
				exact++
				slices.Sort(got)
				var ids []chat.ChatID
				for id := range want {
					ids = append(ids, id)
				}
				slices.SortFunc(ids, cmp.Compare[chat.ChatID])
				if d := gocmp.Diff(ids, got); d != "" {
					t.Fatalf("changed above %d (-want +got):\n%s", after, d)
				}
				if len(got) > limit {
					t.Fatalf("%d chats, the limit is %d", len(got), limit)
				}
			},
			"": func(t *rapid.T) {
				if n := len(r.chats.at); n > most || n != r.chats.list.Len() {
					t.Fatalf("%d chats in the map, %d in the list, at most %d", n, r.chats.list.Len(), most)
				}
				if r.count > most {
					t.Fatalf("%d marks, at most %d", r.count, most)
				}
			},
		})
	})
	if exact < 10 { // the race detector gets few runs
		t.Errorf("it could say what changed %d times only, so this proves little", exact)
	}
}

// What a transaction that failed had noted, and the same stamps used again,
// take nothing away.
func TestRecentAfterAFailedBatch(t *testing.T) {
	r := newRecent(0, 10)
	r.chatChanged(1, 5)
	r.chatChanged(2, 6) // fails from here on
	r.chatChanged(1, 7)
	r.chatChanged(3, 6)
	r.chatChanged(2, 8)
	for after, want := range map[int64][]chat.ChatID{4: {1, 2, 3}, 5: {1, 2, 3}, 7: {2}, 8: nil} {
		got, ok := r.changed(1, after, 10)
		slices.Sort(got)
		if !ok || !slices.Equal(got, want) {
			t.Errorf("above %d: %v, %v, want %v", after, got, ok, want)
		}
	}
}

// A commit between the list and the rows is in neither, also when the list is
// the first thing that a view asks for.
func TestRecentIsAsOldAsItsSnapshot(t *testing.T) {
	s := open(t, t.TempDir(), func(c *Config) { c.alwaysLookUp = true })
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1, 2)
		return err
	})
	var before int64
	view(t, s, func(r chat.Reader) (err error) {
		before, err = r.LastStamp()
		return err
	})
	asked := 0
	s.readers.recent.asked = func() {
		asked++
		mustUpdate(t, s, func(tx chat.Tx) error {
			_, err := send(tx, 1, 1, "while they look", "hello")
			return err
		})
	}
	view(t, s, func(r chat.Reader) error {
		list, err := r.ChangedChats(2, chat.SyncPos{After: before}, 10)
		if err != nil {
			return err
		}
		last, err := r.LastStamp()
		if err != nil {
			return err
		}
		if len(list) != 0 || last != before {
			t.Errorf("%d chats are listed and the position is %d, it was %d", len(list), last, before)
		}
		return nil
	})
	s.readers.recent.asked = nil
	if asked != 1 {
		t.Fatalf("the list was asked %d times", asked)
	}
	view(t, s, func(r chat.Reader) error {
		list, err := r.ChangedChats(2, chat.SyncPos{After: before}, 10)
		if len(list) != 1 {
			t.Errorf("the next view lists %d chats, want 1", len(list))
		}
		return err
	})
}

// FewChanged knows without rows how many chats a sync has to look at.
func TestFewChanged(t *testing.T) {
	s := open(t, t.TempDir())
	var pos chat.SyncPos
	view(t, s, func(r chat.Reader) (err error) {
		pos.After, err = r.LastStamp()
		return err
	})
	for range 3 {
		mustUpdate(t, s, func(tx chat.Tx) error {
			_, err := newChat(tx, 1, 2)
			return err
		})
	}
	view(t, s, func(r chat.Reader) error {
		if _, err := r.LastStamp(); err != nil {
			return err
		}
		few := r.(chat.FewChanged)
		if few.FewChanged(2, pos, 2) || !few.FewChanged(2, pos, 3) {
			t.Error("three chats changed, and it does not know")
		}
		if few.FewChanged(2, chat.SyncPos{After: pos.After - 1}, 100) {
			t.Error("it claims to know what changed before the start")
		}
		return nil
	})
}

// However many people read, what is remembered of it stays below what Config
// says: each of them with a mark of their own is what takes most.
func TestRecentInMemory(t *testing.T) {
	const most = 1 << 17
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	r := newRecent(0, most)
	for i := range int64(most) {
		r.chatChanged(chat.ChatID(i+1), 2*i+1)
		r.markMoved(chat.ChatID(i+1), chat.UserID(i+1), 2*i+2)
	}
	if r.count != most || len(r.chats.at) != most {
		t.Fatalf("%d marks and %d chats are remembered", r.count, len(r.chats.at))
	}
	if took := heap() - before; took > 30<<20 {
		t.Errorf("all in use takes %d MiB", took>>20)
	} else {
		t.Logf("all in use takes %.1f MiB", float64(took)/(1<<20))
	}
	r.markMoved(1, most+1, 2*most+1)
	if r.count != 0 || r.since != 2*most+1 {
		t.Errorf("%d marks are remembered, all above %d", r.count, r.since)
	}
	runtime.KeepAlive(r)
}
