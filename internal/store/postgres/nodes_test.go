package postgres

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/pgtest"
	"github.com/grima-chat/grima/internal/store/storetest"
)

// nodes opens stores on one database.
func nodes(t testing.TB, n int, change ...func(*Config)) []*Store {
	t.Helper()
	url := pgtest.New(t)
	list := make([]*Store, n)
	for i := range list {
		list[i] = open(t, url, change...)
		if list[i].Epoch() != list[0].Epoch() {
			t.Fatalf("node %d has the epoch %s, node 0 %s", i, list[i].Epoch(), list[0].Epoch())
		}
	}
	return list
}

// log reads a chat's messages, and sees that its numbers are without a hole.
func log(t testing.TB, s chat.Store, id chat.ChatID, first int64) []chat.Message {
	t.Helper()
	var list []chat.Message
	view(t, s, func(r chat.Reader) error {
		c, err := r.Chat(id)
		if err != nil {
			return err
		}
		if list, err = r.Messages(id, 0, 1<<60, 1<<20, false); err != nil {
			return err
		}
		for i, m := range list {
			if m.Seq != first+int64(i) {
				t.Fatalf("message %d has the number %d, want %d", i, m.Seq, first+int64(i))
			}
		}
		if want := first + int64(len(list)) - 1; c.LastSeq != want {
			t.Errorf("last_seq is %d after %d messages, want %d", c.LastSeq, len(list), want)
		}
		return nil
	})
	return list
}

// Two nodes send into one chat, each with every key, at once.
func TestNodesSendIntoOneChat(t *testing.T) {
	const each = 400
	two := nodes(t, 2)
	id := makeChat(t, two[0], 1, 2)
	type sent struct {
		seq int64
		err error
	}
	got := [2][each]sent{}
	var wg sync.WaitGroup
	for n, s := range two {
		for i := range each {
			wg.Add(1)
			key := fmt.Sprint("shared ", i)
			if i%2 == 0 {
				key = fmt.Sprint("node ", n, " ", i)
			}
			s.Update(sendOp(id, 1, key, key, &got[n][i].seq), func(err error) {
				got[n][i].err = err
				wg.Done()
			})
		}
	}
	wg.Wait()
	list := log(t, two[1], id, 3)
	if want := each/2 + each; len(list) != want {
		t.Errorf("%d messages, want %d", len(list), want)
	}
	for n := range two {
		for i, g := range got[n] {
			if g.err != nil {
				t.Fatalf("node %d, send %d: %v", n, i, g.err)
			}
			if i%2 == 1 && got[0][i].seq != got[1][i].seq {
				t.Errorf("one key has the numbers %d and %d", got[0][i].seq, got[1][i].seq)
			}
			want := fmt.Sprint("shared ", i)
			if i%2 == 0 {
				want = fmt.Sprint("node ", n, " ", i)
			}
			if m := list[g.seq-3]; m.Content != want {
				t.Errorf("node %d was told %d for %q, where %q stands", n, g.seq, want, m.Content)
			}
		}
	}
	// What one node was handed keeps its order.
	for n := range two {
		for i := 2; i < each; i += 2 {
			if got[n][i].seq <= got[n][i-2].seq {
				t.Errorf("node %d: send %d got %d, after %d", n, i, got[n][i].seq, got[n][i-2].seq)
			}
		}
	}
	storetest.CheckLog(t, two[0], id)
}

// Batches of two nodes take the same chats in different orders, some without a
// hint.
func TestNodesDoNotDeadlock(t *testing.T) {
	const chats, each = 6, 150
	two := nodes(t, 2)
	var ids []chat.ChatID
	for range chats {
		ids = append(ids, makeChat(t, two[0], 1))
	}
	began := time.Now()
	var wg sync.WaitGroup
	for n, s := range two {
		for i := range each {
			wg.Add(1)
			a, b := ids[(i*(n+1)+n)%chats], ids[(i+3*n+1)%chats]
			s.Update(chat.Op{Run: func(tx chat.Tx) error {
				_, err1 := send(tx, a, 1, "", "x")
				_, err2 := send(tx, b, 1, "", "y")
				return errors.Join(err1, err2)
			}}, func(err error) {
				if err != nil {
					t.Errorf("node %d, update %d: %v", n, i, err)
				}
				wg.Done()
			})
		}
	}
	wg.Wait()
	sum := 0
	for _, id := range ids {
		sum += len(log(t, two[0], id, 2))
	}
	if want := 2 * 2 * each; sum != want {
		t.Errorf("%d messages, want %d", sum, want)
	}
	t.Logf("%d updates in %v; node 0 %+v", 2*each, time.Since(began), two[0].Stats().Failed)
}

// What must be unique is, and what a rule counts holds, whichever node decides.
func TestNodesDecideOnOneState(t *testing.T) {
	const rounds = 40
	two := nodes(t, 2)
	both := func(run func(n int, tx chat.Tx) error) (errs [2]error) {
		var wg sync.WaitGroup
		for n, s := range two {
			wg.Go(func() { errs[n] = update(s, func(tx chat.Tx) error { return run(n, tx) }) })
		}
		wg.Wait()
		return errs
	}
	oneOf := func(what string, errs [2]error) {
		t.Helper()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Errorf("%s: node 0 heard %v, node 1 %v", what, errs[0], errs[1])
		}
		for _, err := range errs {
			if err != nil && chat.CodeOf(err) != chat.CodeConflict && !errors.Is(err, errTold) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	ids := map[chat.UserID]bool{}
	for i := range rounds {
		oneOf("a username", both(func(_ int, tx chat.Tx) error {
			id, err := tx.NewUserID()
			if err != nil {
				return err
			}
			if ids[id] {
				t.Errorf("id %d was given out twice", id)
			}
			return tx.PutUser(chat.User{ID: id, Username: fmt.Sprint("u", i), Role: chat.RoleMember, CreatedAt: born})
		}))
		view(t, two[0], func(r chat.Reader) error {
			u, err := r.UserByName(fmt.Sprint("u", i))
			ids[u.ID] = true
			return err
		})
		pair := [2]chat.UserID{chat.UserID(i) + 1, chat.UserID(i) + 2}
		oneOf("a private chat", both(func(_ int, tx chat.Tx) error {
			id, err := tx.NewChatID()
			if err != nil {
				return err
			}
			return tx.PutChat(chat.Chat{ID: id, Kind: chat.KindPrivate, Pair: pair, History: chat.HistoryAll, CreatedAt: born})
		}))

		// Two owners leave at once; one must stay.
		id := makeChat(t, two[0], 1, 2)
		oneOf("the last one", both(func(n int, tx chat.Tx) error {
			count, err := tx.CountParticipants(id, chat.RoleMember)
			if err != nil {
				return err
			}
			if count < 2 {
				return errTold
			}
			p, err := tx.Participant(id, chat.UserID(n)+1)
			if err != nil {
				return err
			}
			c, err := tx.Chat(id)
			c.LastSeq++
			p.LeftSeq, p.UpdatedSeq = c.LastSeq, c.LastSeq
			return errors.Join(err, tx.PutParticipant(p), tx.PutChat(c))
		}))

		// A session that one node ends is not brought back by the other, which
		// notes its use.
		session := chat.Session{ID: chat.SessionID(i) + 1, User: 1, TokenHash: [32]byte{byte(i), 1}, CreatedAt: born, UsedAt: born, ExpiresAt: born}
		mustUpdate(t, two[0], func(tx chat.Tx) error { return tx.PutSession(session) })
		errs := both(func(n int, tx chat.Tx) error {
			if n == 0 {
				return tx.DeleteSession(session.ID)
			}
			s, err := tx.Session(session.ID)
			if errors.Is(err, chat.ErrNotFound) {
				return nil
			}
			s.UsedAt = born.Add(time.Hour)
			return errors.Join(err, tx.PutSession(s))
		})
		if err := errors.Join(errs[:]...); err != nil {
			t.Error(err)
		}
		view(t, two[1], func(r chat.Reader) error {
			if _, err := r.Session(session.ID); !errors.Is(err, chat.ErrNotFound) {
				t.Errorf("round %d: the session that was ended is there (%v)", i, err)
			}
			return nil
		})
	}
}

var errTold = errors.New("the rule says no")

// A node that stops in the middle of a transaction, as SIGSTOP does, finds its
// transaction gone when it goes on, and decides again on what is there then.
func TestAFrozenNodeDecidesAgain(t *testing.T) {
	two := nodes(t, 2, func(c *Config) { c.idle = 300 * time.Millisecond })
	id := makeChat(t, two[0], 1, 2)
	frozen, thaw := make(chan struct{}), make(chan struct{})
	runs := 0
	var seq int64
	heard := make(chan error, 1)
	two[0].Update(chat.Op{Chat: id, User: 1, Run: func(tx chat.Tx) (err error) {
		if seq, err = send(tx, id, 1, "late", "late"); err != nil {
			return err
		}
		if runs++; runs == 1 {
			close(frozen)
			<-thaw
		}
		return nil
	}}, func(err error) { heard <- err })
	<-frozen
	for i := range 3 { // waits for the lock until the server has ended the other's transaction
		if err := do(two[1], sendOp(id, 2, fmt.Sprint(i), fmt.Sprint("meanwhile ", i), nil)); err != nil {
			t.Fatal(err)
		}
	}
	close(thaw)
	if err := <-heard; err != nil {
		t.Fatal(err)
	}
	list := log(t, two[1], id, 3)
	if len(list) != 4 || seq != 6 || list[3].Content != "late" || runs != 2 {
		t.Errorf("after %d runs it got %d of %d messages", runs, seq, len(list))
	}
}
