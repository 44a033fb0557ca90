package storetest

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

var updateClauses = []clause{
	{"Reads by a key see what the same update put before", func(b *box) {
		x := sampleRows(1, "ana")
		b.do(func(tx chat.Tx) error {
			if err := putAll(x)(tx); err != nil {
				return err
			}
			return wrongRows(x, tx)
		})
		b.do(func(tx chat.Tx) error { // the same again by other names
			y := sampleRows(1, "bob")
			y.chat.Pair = [2]chat.UserID{7, 8}
			if err := putAll(y)(tx); err != nil {
				return err
			}
			if err := wrongRows(y, tx); err != nil {
				return err
			}
			if err := goneByOldNames(x, tx); err != nil {
				return err
			}
			if err := errors.Join(tx.PutReadMark(1, 1, 44), tx.DeleteSession(1), tx.DeleteInvite(1)); err != nil {
				return err
			}
			p, err := tx.Participant(1, 1)
			if p.ReadSeq != 44 {
				return fmt.Errorf("read mark %d, %w", p.ReadSeq, err)
			}
			for _, g := range everyKey(&y)[2:6] { // sessions and invites
				if v, err := g.get(tx); !errors.Is(err, chat.ErrNotFound) {
					return fmt.Errorf("deleted, %s gives %v, %w", g.name, v, err)
				}
			}
			return nil
		})
		b.view(func(r chat.Reader) error { return goneByOldNames(x, r) })
	}},
	{"Reads by a key see earlier updates, whether committed yet or not", func(b *box) {
		x, y := sampleRows(1, "ana"), sampleRows(1, "bob")
		y.chat.Pair = [2]chat.UserID{7, 8}
		var outcomes []<-chan error
		for _, run := range []write{
			putAll(x), func(tx chat.Tx) error { return wrongRows(x, tx) },
			putAll(y), func(tx chat.Tx) error { return errors.Join(wrongRows(y, tx), goneByOldNames(x, tx)) },
			func(tx chat.Tx) error { return errors.Join(tx.DeleteSession(1), tx.DeleteInvite(1)) },
			func(tx chat.Tx) error {
				for _, g := range everyKey(&y)[2:6] {
					if v, err := g.get(tx); !errors.Is(err, chat.ErrNotFound) {
						return fmt.Errorf("deleted, %s gives %v, %w", g.name, v, err)
					}
				}
				return nil
			},
		} {
			outcomes = append(outcomes, b.start(run))
		}
		for i, c := range outcomes {
			if err := wait(b, "done", c); err != nil {
				b.Errorf("update %d: %v", i, err)
			}
		}
	}},
	{"Lists see earlier updates, whether committed yet or not", func(b *box) {
		users := b.users(2)
		c := newGroup(users[0])
		b.do(create(&c, users[1]))
		var outcomes []<-chan error
		for i := range 50 {
			outcomes = append(outcomes, b.start(func(tx chat.Tx) error {
				list, err1 := tx.Messages(c.ID, 0, 1000, 1000, false)
				changes, _, err2 := tx.Changes(c.ID, 0, math.MaxInt64, 0, 1000)
				unread, err3 := tx.CountUnread(c.ID, users[1], 0, 1000)
				mentions, err4 := tx.CountMentions(c.ID, users[1], 0, 1000)
				if err := errors.Join(err1, err2, err3, err4); err != nil {
					return err
				}
				if len(list) != i || len(changes) != i || unread != int64(i) || mentions != int64(i) {
					return fmt.Errorf("%d messages, %d changes, %d unread and %d mentions after %d updates", len(list), len(changes), unread, mentions, i)
				}
				m := chat.Message{Chat: c.ID, Sender: users[0], Content: fmt.Sprint(i), Mentions: users[1:], CreatedAt: someTime(i)}
				return send(m, "")(tx)
			}))
			outcomes = append(outcomes, b.start(func(tx chat.Tx) error {
				if err := text(c.ID, users[0], "undone")(tx); err != nil {
					return err
				}
				return errUndo
			}))
		}
		for i, o := range outcomes {
			if err := wait(b, "done", o); i%2 == 0 && err != nil || i%2 == 1 && err != errUndo {
				b.Fatalf("update %d: %v", i, err)
			}
		}
	}},
	{"An update's error comes back as it is and undoes everything it put, and nothing else", func(b *box) {
		users := b.users(3)
		x, fresh := sampleRows(50, "kept"), sampleRows(60, "fresh")
		fresh.user.ID, fresh.user.Username = 60, "fresh"
		x.participant.LeftSeq = 0
		b.do(putAll(x))
		id := b.group(users[0], users[1])
		b.do(text(id, users[0], "one"), text(id, users[1], "two"))
		before := b.everything(id, users[0]) + b.everything(x.chat.ID, x.user.ID)
		changed := x2(x)
		changed.user.Username, changed.message.Mentions, changed.message.MentionAll = "renamed", []chat.UserID{3}, false
		for i, run := range []write{
			putAll(fresh), putAll(changed), text(id, users[0], "never"), edit(id, 3, "never", someTime(9), true, users[1]),
			erase(id, 3, someTime(9)), join(id, users[2], chat.RoleAdmin), leave(id, users[1]), rename(id, "never"), mark(id, users[1], 4),
			func(tx chat.Tx) error {
				return errors.Join(tx.DeleteSession(x.session.ID), tx.DeleteInvite(x.invite.ID))
			},
		} {
			neighbour := b.start(func(tx chat.Tx) error { return tx.PutReadMark(id, users[2], 0) }) // not a participant: fails too
			outcome := b.start(func(tx chat.Tx) error {
				if err := run(tx); err != nil {
					return err
				}
				return errUndo
			})
			var seen string
			after := b.start(func(tx chat.Tx) (err error) {
				seen, err = everything(tx, id, users[0])
				if err != nil {
					return err
				}
				more, err := everything(tx, x.chat.ID, x.user.ID)
				seen += more
				return errors.Join(err, missingRows(fresh, tx))
			})
			if err := wait(b, "done", neighbour); !errors.Is(err, chat.ErrNotFound) {
				b.Errorf("a read mark of nobody's: %v", err)
			}
			if err := wait(b, "done", outcome); err != errUndo {
				b.Errorf("%d: got %v, want the very error", i, err)
			}
			if err := wait(b, "done", after); err != nil {
				b.Errorf("%d: %v", i, err)
			}
			b.same(fmt.Sprintf("%d: what the next update sees", i), before, seen)
			b.same(fmt.Sprintf("%d: what the next view sees", i), before, b.everything(id, users[0])+b.everything(x.chat.ID, x.user.ID))
		}
	}},
	{"An update that fails spares its neighbours", func(b *box) {
		users := b.users(1)
		id := b.group(users[0])
		var outcomes []<-chan error
		for i := range 90 {
			outcomes = append(outcomes, b.start(func(tx chat.Tx) error {
				if err := text(id, users[0], fmt.Sprint(i))(tx); err != nil {
					return err
				}
				switch i % 3 {
				case 1:
					return errUndo
				case 2:
					return tx.PutUser(chat.User{ID: 99, Username: "a", Role: chat.RoleMember, CreatedAt: someTime(0)}) // taken
				}
				return nil
			}))
		}
		for i, c := range outcomes {
			if err := wait(b, "done", c); (err == nil) != (i%3 == 0) {
				b.Errorf("update %d: %v", i, err)
			}
		}
		list := read(b, func(r chat.Reader) ([]chat.Message, error) { return r.Messages(id, 0, 1000, 1000, false) })
		for i, m := range list {
			if m.Seq != int64(i+2) || m.Content != fmt.Sprint(3*i) {
				b.Errorf("message %d is %d %q", i, m.Seq, m.Content)
			}
		}
		if len(list) != 30 {
			b.Errorf("%d messages", len(list))
		}
		CheckLog(b, b.store, id)
	}},
	{"A panic in Run costs only its own update", func(b *box) {
		users := b.users(1)
		id := b.group(users[0])
		var outcomes []<-chan error
		for i := range 20 {
			outcomes = append(outcomes, b.start(func(tx chat.Tx) error {
				err := text(id, users[0], fmt.Sprint(i))(tx)
				if i%4 == 1 {
					panic("told to")
				}
				return err
			}))
		}
		for i, c := range outcomes {
			if err := wait(b, "done", c); (err != nil) != (i%4 == 1) {
				b.Errorf("update %d: %v", i, err)
			}
		}
		if c := b.chat(id); c.LastSeq != 16 {
			b.Errorf("last_seq %d", c.LastSeq)
		}
		CheckLog(b, b.store, id)
	}},
	{"Now is in UTC and whole milliseconds, the same however often it is asked", func(b *box) {
		for range 20 {
			b.do(func(tx chat.Tx) error {
				now := tx.Now()
				if now.Location() != time.UTC || now != now.Truncate(time.Millisecond) || now.IsZero() {
					return fmt.Errorf("now is %v", now)
				}
				for range 1000 {
					if again := tx.Now(); again != now {
						return fmt.Errorf("now is %v, and then %v", now, again)
					}
				}
				return nil
			})
		}
	}},
	{"An update may put nothing", func(b *box) {
		b.do(func(chat.Tx) error { return nil })
	}},
}

var errUndo = errors.New("undo this")

// goneByOldNames checks that x, whose row has other names now, is not found by
// its old ones.
func goneByOldNames(x rows, r chat.Reader) error {
	for _, g := range everyKey(&x) {
		if !strings.Contains(g.name, "By") {
			continue
		}
		if v, err := g.get(r); !errors.Is(err, chat.ErrNotFound) {
			return fmt.Errorf("by its old name %s still gives %v, %w", g.name, v, err)
		}
	}
	return nil
}

func missingRows(x rows, r chat.Reader) error {
	for _, g := range everyKey(&x) {
		if v, err := g.get(r); !errors.Is(err, chat.ErrNotFound) {
			return fmt.Errorf("%s gives %v, %w", g.name, v, err)
		}
	}
	return nil
}

// everything is all that lists tell about a chat and a user, and the chat.
func everything(r chat.Reader, id chat.ChatID, user chat.UserID) (string, error) {
	var all strings.Builder
	c, err := r.Chat(id)
	fmt.Fprintf(&all, "%+v\n", c)
	for _, l := range everyList(id, user) {
		s, lerr := l.get(r)
		err = errors.Join(err, lerr)
		fmt.Fprintf(&all, "%s: %s\n", l.name, s)
	}
	return all.String(), err
}

func (b *box) everything(id chat.ChatID, user chat.UserID) string {
	b.Helper()
	return read(b, func(r chat.Reader) (string, error) { return everything(r, id, user) })
}

var doneClauses = []clause{
	{"Updates take effect and are done in the order of the calls, one at a time and once each", func(b *box) {
		const n = 1000
		users := b.users(1)
		id := b.group(users[0])
		var (
			running atomic.Int32
			mu      sync.Mutex
			order   []int
			all     = make(chan struct{})
		)
		for i := range n {
			b.store.Update(chat.Op{Chat: id, User: users[0], ClientMsgID: fmt.Sprint(i), Run: func(tx chat.Tx) error {
				switch i % 10 {
				case 3:
					return errUndo
				case 5:
					return nil
				case 7:
					panic("told to")
				}
				return text(id, users[0], fmt.Sprint(i))(tx)
			}}, func(error) {
				if running.Add(1) > 1 {
					b.Error("two dones at once")
				}
				runtime.Gosched()
				mu.Lock()
				order = append(order, i)
				if len(order) == n {
					close(all)
				}
				mu.Unlock()
				running.Add(-1)
			})
		}
		wait(b, "all dones", all)
		b.close() // and no more of them
		mu.Lock()
		defer mu.Unlock()
		for i, j := range order {
			if i != j {
				b.Fatalf("done %d is that of update %d", i, j)
			}
		}
	}},
	{"What stands in the store is in the order of the calls", func(b *box) {
		users := b.users(1)
		id := b.group(users[0])
		var last <-chan error
		for i := range 300 {
			last = b.start(text(id, users[0], fmt.Sprint(i)))
		}
		if err := wait(b, "done", last); err != nil {
			b.Fatal(err)
		}
		for i, m := range read(b, func(r chat.Reader) ([]chat.Message, error) { return r.Messages(id, 0, 1000, 1000, false) }) {
			if m.Seq != int64(i+2) || m.Content != fmt.Sprint(i) {
				b.Fatalf("message %d is %d %q", i, m.Seq, m.Content)
			}
		}
	}},
	{"A later View sees what done heard of", func(b *box) {
		users := b.users(1)
		id := b.group(users[0])
		for i := range 100 {
			b.do(text(id, users[0], fmt.Sprint(i)))
			if c := b.chat(id); c.LastSeq != int64(i+2) {
				b.Fatalf("last_seq %d after done %d", c.LastSeq, i)
			}
		}
		// And so it is with many under way.
		type heard struct {
			seq int64
			err error
		}
		dones := make(chan heard, 300)
		for i := range cap(dones) {
			b.store.Update(chat.Op{Run: text(id, users[0], "more")}, func(err error) { dones <- heard{int64(i + 102), err} })
		}
		for range cap(dones) {
			h := wait(b, "done", dones)
			if c := b.chat(id); h.err != nil || c.LastSeq < h.seq {
				b.Fatalf("last_seq %d after the done of %d, %v", c.LastSeq, h.seq, h.err)
			}
		}
	}},
	{"Many goroutines update and view at once", func(b *box) {
		const writers, each = 8, 40
		users := b.users(writers)
		id := b.group(users[0], users[1:]...)
		var wg sync.WaitGroup
		for _, u := range users {
			wg.Go(func() {
				var outcomes []<-chan error
				for i := range each {
					m := chat.Message{Chat: id, Sender: u, Content: fmt.Sprint(i), CreatedAt: someTime(i)}
					outcomes = append(outcomes, b.start(send(m, fmt.Sprint(i))))
					outcomes = append(outcomes, b.start(send(m, fmt.Sprint(i)))) // at once again: once in the log
				}
				for _, c := range outcomes {
					if err := <-c; err != nil {
						b.Errorf("update: %v", err)
					}
				}
			})
			wg.Go(func() {
				for range each {
					if err := b.store.View(b.Context(), func(r chat.Reader) error { return torn(r, id) }); err != nil {
						b.Errorf("view: %v", err)
					}
				}
			})
		}
		wg.Wait()
		if c := b.chat(id); c.LastSeq != writers+writers*each {
			b.Errorf("last_seq %d", c.LastSeq)
		}
		next := map[chat.UserID]int{}
		for _, m := range read(b, func(r chat.Reader) ([]chat.Message, error) { return r.Messages(id, 0, 1000, 1000, false) }) {
			if m.Content != fmt.Sprint(next[m.Sender]) {
				b.Fatalf("%d's %q stands where %d was due", m.Sender, m.Content, next[m.Sender])
			}
			next[m.Sender]++
		}
		CheckLog(b, b.store, id)
	}},
}

// torn looks for a log without its end.
func torn(r chat.Reader, id chat.ChatID) error {
	c, err1 := r.Chat(id)
	newest, err2 := r.Messages(id, 0, c.LastSeq+1000, 1, true)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if len(newest) == 1 && newest[0].Seq != c.LastSeq {
		return fmt.Errorf("message %d is the newest at last_seq %d", newest[0].Seq, c.LastSeq)
	}
	return nil
}
