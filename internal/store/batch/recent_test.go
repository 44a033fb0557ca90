package batch

import (
	"cmp"
	"fmt"
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
				marks := 0
				for user, m := range r.marks {
					if marks += len(m); len(m) > r.few || r.many[user].at != nil {
						t.Fatalf("%d marks of user %d are looked along, at most %d; an order as well: %v", len(m), user, r.few, r.many[user].at != nil)
					}
				}
				for _, o := range r.many {
					marks += len(o.at)
				}
				if r.count > most || marks != r.count {
					t.Fatalf("%d marks, counted as %d, at most %d", marks, r.count, most)
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

// However many people read, what is remembered of it stays below what Config says.
func TestRecentInMemory(t *testing.T) {
	const most = 1 << 17
	for _, people := range []int64{most, most / 256, most / 258, 1} { // with a mark each, the most few ones, the fewest many, all
		t.Run(fmt.Sprint(people), func(t *testing.T) { recentInMemory(t, most, people) })
	}
}

func recentInMemory(t *testing.T, most int, people int64) {
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
		r.MarkMoved(chat.ChatID(i+1), chat.UserID(i%people+1), 2*i+2)
	}
	if r.count != most || len(r.chats.at) != most {
		t.Fatalf("%d marks and %d chats are remembered", r.count, len(r.chats.at))
	}
	if took := heap() - before; took > 30<<20 {
		t.Errorf("all in use takes %d MiB", took>>20)
	} else {
		t.Logf("all in use takes %.1f MiB", float64(took)/(1<<20))
	}
	last := int64(2*most + 1)
	r.MarkMoved(1, chat.UserID(most+1), last)
	if r.count != 0 || len(r.marks)+len(r.many) != 0 || r.since != last {
		t.Errorf("%d marks are remembered, all above %d", r.count, r.since)
	}
	runtime.KeepAlive(r)
}
