package batch

import (
	"cmp"
	"runtime"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/grima-chat/grima/internal/chat"
)

// Whatever is changed, and in whatever order a batch is written, recent gives
// everything that changed for a user above a stamp, or says that it cannot; and
// nothing twice.
func TestRecentIsNeverTooLittle(t *testing.T) {
	exact := 0
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 12).Draw(t, "most")
		r := NewRecent(10, most)
		r.few = rapid.IntRange(0, 4).Draw(t, "few")
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
						r.ChatChanged(k.chat, last[k])
					} else {
						r.MarkMoved(k.chat, k.user, last[k])
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
				got, ok := r.Changed(user, after, limit)
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
	r := NewRecent(0, 10)
	r.ChatChanged(1, 5)
	r.ChatChanged(2, 6) // fails from here on
	r.ChatChanged(1, 7)
	r.ChatChanged(3, 6)
	r.ChatChanged(2, 8)
	for after, want := range map[int64][]chat.ChatID{4: {1, 2, 3}, 5: {1, 2, 3}, 7: {2}, 8: nil} {
		got, ok := r.Changed(1, after, 10)
		slices.Sort(got)
		if !ok || !slices.Equal(got, want) {
			t.Errorf("above %d: %v, %v, want %v", after, got, ok, want)
		}
	}
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
	r := NewRecent(0, most)
	for i := range int64(most) {
		r.ChatChanged(chat.ChatID(i+1), 2*i+1)
		r.MarkMoved(chat.ChatID(i+1), chat.UserID(i+1), 2*i+2)
	}
	if r.count != most || len(r.chats.at) != most {
		t.Fatalf("%d marks and %d chats are remembered", r.count, len(r.chats.at))
	}
	if took := heap() - before; took > 30<<20 {
		t.Errorf("all in use takes %d MiB", took>>20)
	} else {
		t.Logf("all in use takes %.1f MiB", float64(took)/(1<<20))
	}
	r.MarkMoved(1, most+1, 2*most+1)
	if r.count != 0 || r.since != 2*most+1 {
		t.Errorf("%d marks are remembered, all above %d", r.count, r.since)
	}
	runtime.KeepAlive(r)
}
