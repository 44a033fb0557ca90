package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/pgtest"
	"github.com/grima-chat/grima/internal/store/storetest"
)

// A transaction that began first ends last, on another node: a sync that comes in
// between, in pages, must not end beyond it.
func TestSyncDoesNotPassWhatIsUnderWay(t *testing.T) {
	for _, limit := range []int{1, 2, 100} {
		t.Run(fmt.Sprint("pages of ", limit), func(t *testing.T) {
			two := nodes(t, 2)
			var ids []chat.ChatID
			for range 5 {
				ids = append(ids, makeChat(t, two[0], 1, 2))
			}
			svc := chat.NewService(chat.Config{Store: two[1], Publisher: silence{}, Log: slog.New(slog.DiscardHandler)})
			me := chat.Actor{User: 2}
			first := syncAll(t, svc, me, chat.SyncPos{}, limit)
			if len(first.chats) != 5 {
				t.Fatalf("a first sync gives %v", first.chats)
			}

			// Node 0 writes the chat in the middle, and stops before its commit.
			wrote, goOn := make(chan struct{}), make(chan struct{})
			heard := make(chan error, 1)
			first0 := true
			two[0].Update(chat.Op{Chat: ids[2], User: 1, Run: func(tx chat.Tx) error {
				_, err := send(tx, ids[2], 1, "slow", "slow")
				if first0 {
					first0 = false
					close(wrote)
					<-goOn
				}
				return err
			}}, func(err error) { heard <- err })
			<-wrote
			for _, i := range []int{4, 0, 3, 1} {
				if err := do(two[1], sendOp(ids[i], 1, fmt.Sprint(i), "fast", nil)); err != nil {
					t.Fatal(err)
				}
			}
			// Whoever syncs now is told of the others at once...
			during := syncAll(t, svc, me, first.next, limit)
			for _, i := range []int{0, 1, 3, 4} {
				if during.chats[ids[i]] != 3 {
					t.Errorf("chat %d is told as of %d, want 3", i, during.chats[ids[i]])
				}
			}
			// ... as is who comes new, and who reads page by page across the commit.
			if fresh := syncAll(t, svc, me, chat.SyncPos{}, limit); len(fresh.chats) != 5 || fresh.chats[ids[0]] != 3 {
				t.Errorf("a first sync meanwhile gives %v", fresh.chats)
			}
			half, err := svc.Sync(t.Context(), me, first.next, 2, 0)
			if err != nil {
				t.Fatal(err)
			}
			close(goOn)
			if err := <-heard; err != nil {
				t.Fatal(err)
			}
			for what, next := range map[string]chat.SyncPos{"its end": during.next, "its middle": half.Next} {
				after := syncAll(t, svc, me, next, limit)
				if after.chats[ids[2]] != 3 {
					t.Errorf("after %s, %+v, the slow one is not told: %v", what, next, after.chats)
				}
				if again := syncAll(t, svc, me, after.next, limit); len(again.chats) != 0 {
					t.Errorf("when nothing is under way, all is told again: %v", again.chats)
				}
			}
			storetest.CheckLog(t, two[0], ids...)
		})
	}
}

type synced struct {
	chats map[chat.ChatID]int64 // their last_seq
	next  chat.SyncPos
}

func syncAll(t *testing.T, svc *chat.Service, a chat.Actor, pos chat.SyncPos, limit int) synced {
	t.Helper()
	all := synced{chats: map[chat.ChatID]int64{}, next: pos}
	for pages := 0; ; pages++ {
		if pages > 100 {
			t.Fatal("a sync does not end")
		}
		page, err := svc.Sync(t.Context(), a, all.next, limit, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Chats {
			all.chats[c.Chat.ID] = c.Chat.LastSeq
		}
		all.next = page.Next
		if !page.More {
			return all
		}
	}
}

type silence struct{}

func (silence) Publish(chat.Event)                           {}
func (silence) PublishPlace(chat.Participant, bool)          {}
func (silence) PublishTyping(chat.ChatID, chat.UserID, bool) {}
func (silence) PublishPresence(chat.UserID)                  {}
func (silence) PublishUser(chat.UserID)                      {}
func (silence) EndSessions([]chat.SessionID)                 {}

// Two nodes write, in transactions that overtake each other, and a third polls by
// LastStamp: it must see every chat's last state.
func TestPollingBesideNodesLosesNothing(t *testing.T) {
	const chats, each = 8, 300
	three := nodes(t, 3)
	var ids []chat.ChatID
	for range chats {
		ids = append(ids, makeChat(t, three[0], 1, 2))
	}
	done := make(chan error, 2*each)
	for n, s := range three[:2] {
		go func() {
			for i := range each {
				id := ids[(i*7+n)%chats]
				done <- do(s, sendOp(id, 1, fmt.Sprint(n, " ", i), "x", nil))
			}
		}()
	}
	seen := map[chat.ChatID]int64{}
	pos := chat.SyncPos{}
	poll := func() {
		for more := true; more; {
			view(t, three[2], func(r chat.Reader) error {
				last, err := r.LastStamp()
				if err != nil {
					return err
				}
				list, err := r.ChangedChats(2, pos, 3)
				for _, c := range list {
					seen[c.Chat.ID] = max(seen[c.Chat.ID], c.Chat.LastSeq)
				}
				if more = len(list) == 3; more {
					pos = chat.SyncPos{After: list[2].Stamp, AfterChat: list[2].Chat.ID}
				} else {
					pos = chat.SyncPos{After: last, AfterChat: math.MaxInt64}
				}
				return err
			})
		}
	}
	for heard := 0; heard < 2*each; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			heard++
		default:
			poll()
		}
	}
	poll()
	view(t, three[0], func(r chat.Reader) error {
		for _, id := range ids {
			c, err := r.Chat(id)
			if err != nil {
				return err
			}
			if seen[id] != c.LastSeq {
				t.Errorf("chat %d was seen up to %d of %d", id, seen[id], c.LastSeq)
			}
		}
		return nil
	})
}

// A history that comes into a cluster with younger transactions begins anew,
// above all its stamps.
func TestARestoredHistoryBeginsAnew(t *testing.T) {
	url := pgtest.New(t)
	s := open(t, url)
	one, two := makeChat(t, s, 1), makeChat(t, s, 1)
	epoch := s.Epoch()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	const old = 1 << 40 // where that cluster had got to
	exec(t, url, fmt.Sprintf(`UPDATE chats SET stamp = %d + chat_id; UPDATE meta SET value = 'another/00000001/1/2' WHERE name = 'home'`, int64(old)))

	s = open(t, url)
	if s.Epoch() == epoch {
		t.Error("the epoch is the same")
	}
	listed := func(after int64) (ids []chat.ChatID, last int64) {
		view(t, s, func(r chat.Reader) (err error) {
			if last, err = r.LastStamp(); err != nil {
				return err
			}
			list, err := r.ChangedChats(1, chat.SyncPos{After: after}, 10)
			for _, c := range list {
				if c.Stamp > last {
					t.Errorf("chat %d has the stamp %d, above %d", c.Chat.ID, c.Stamp, last)
				}
				ids = append(ids, c.Chat.ID)
			}
			return err
		})
		return ids, last
	}
	ids, last := listed(0)
	if len(ids) != 2 || last <= old {
		t.Errorf("%v at %d", ids, last)
	}
	if err := do(s, sendOp(one, 1, "k", "x", nil)); err != nil {
		t.Fatal(err)
	}
	if ids, _ := listed(last); len(ids) != 1 || ids[0] != one {
		t.Errorf("what changed since is %v, want %d and not %d", ids, one, two)
	}
	again := open(t, url)
	if again.Epoch() != s.Epoch() {
		t.Errorf("opened once more the epoch is %s, was %s", again.Epoch(), s.Epoch())
	}
}

// Behind a transaction of somebody else's, in another database of the cluster,
// LastStamp stands still; Commits tells all the same that something has changed,
// and goes on when the rows of processes are dropped that have long gone.
func TestCommitsBehindAForeignTransaction(t *testing.T) {
	url := pgtest.New(t)
	numbers := func(s *Store) (commits, last int64) {
		t.Helper()
		view(t, s, func(r chat.Reader) (err error) {
			if commits, err = r.Commits(); err == nil {
				last, err = r.LastStamp()
			}
			return err
		})
		return commits, last
	}
	old := open(t, url)
	id := makeChat(t, old, 1)
	ctx := t.Context()
	foreign, err := pgx.Connect(ctx, pgtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close(context.Background())
	if _, err := foreign.Exec(ctx, `BEGIN; SELECT pg_current_xact_id()`); err != nil {
		t.Fatal(err)
	}
	if err := do(old, sendOp(id, 1, "", "x", nil)); err != nil {
		t.Fatal(err)
	}
	before, stamp := numbers(old) // as far as it gets
	for i := range 3 {
		if err := do(old, sendOp(id, 1, "", "x", nil)); err != nil {
			t.Fatal(err)
		}
		if n, last := numbers(old); n == before+int64(i) || last != stamp {
			t.Errorf("after send %d: %d commits, was %d; the stamp is %d, was %d", i, n, before, last, stamp)
		}
	}
	storetest.CheckLog(t, old, id)
	if _, err := foreign.Exec(ctx, `COMMIT`); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}

	young := open(t, url)
	if err := do(young, sendOp(id, 1, "", "y", nil)); err != nil {
		t.Fatal(err)
	}
	before, stamp = numbers(young)
	exec(t, url, `UPDATE writers SET used_at = 0 WHERE stamp < (SELECT max(stamp) FROM writers)`)
	if n, last := numbers(open(t, url)); n != before || last != stamp {
		t.Errorf("without the row of a process that has gone %d commits and stamp %d, want %d and %d", n, last, before, stamp)
	}
	var rows int
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := c.QueryRow(ctx, `SELECT count(*) FROM writers`).Scan(&rows); err != nil || rows != 3 {
		t.Errorf("%d rows of writers, %v; want nobody's and two", rows, err)
	}
}
