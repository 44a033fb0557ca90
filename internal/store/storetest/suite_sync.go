package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/grima-chat/grima/internal/chat"
)

var syncClauses = []clause{
	{"Every PutChat moves the chat to the end, for all who are in it", func(b *box) {
		users := b.users(3)
		one, two := b.group(users[0], users[1]), b.group(users[0], users[1])
		for i, run := range []write{
			text(one, users[0], "hi"), text(two, users[1], "hi"), text(one, users[0], "again"), text(one, users[0], "and again"),
			rename(two, "Harbour"), edit(one, 4, "hi!", someTime(3), false), join(two, users[2], chat.RoleMember),
			func(tx chat.Tx) error { // even if it puts what was there
				c, err := tx.Chat(one)
				return errors.Join(err, tx.PutChat(c))
			},
		} {
			before := b.lastStamp()
			b.do(run)
			moved := []chat.ChatID{one, two, one, one, two, one, two, one}[i]
			for _, u := range users[:2] {
				b.moved(u, before, moved)
			}
		}
		b.moved(users[2], 0, two)
	}},
	{"A chat moves for who left only with their own stamp", func(b *box) {
		users := b.users(3)
		id := b.group(users[0], users[1], users[2])
		b.do(text(id, users[0], "hi"))
		before := b.lastStamp()
		b.do(leave(id, users[1]))
		b.moved(users[1], before, id)
		c := read(b, func(r chat.Reader) ([]chat.ChangedChat, error) {
			return r.ChangedChats(users[1], chat.SyncPos{After: before}, 10)
		})
		if len(c) == 1 && (c[0].Stamp != c[0].Participant.Stamp || c[0].Participant.LeftSeq == 0) {
			b.Errorf("what they hear: %+v", c[0])
		}
		left := b.lastStamp()
		b.do(text(id, users[0], "now that they are gone"), rename(id, "Harbour"))
		b.moved(users[1], left)
		b.moved(users[2], left, id)
		b.do(join(id, users[1], chat.RoleMember))
		b.moved(users[1], left, id)
	}},
	{"A read mark moves the chat for its reader only", func(b *box) {
		users := b.users(2)
		one := b.group(users[0], users[1])
		b.group(users[0], users[1])
		before := b.lastStamp()
		chatStamp := b.chat(one).Stamp
		b.do(mark(one, users[0], 2))
		b.moved(users[0], before, one)
		b.moved(users[1], before)
		if s := b.chat(one).Stamp; s != chatStamp {
			b.Errorf("the chat's stamp went from %d to %d", chatStamp, s)
		}
		p := read(b, func(r chat.Reader) (chat.Participant, error) { return r.Participant(one, users[0]) })
		if p.ReadSeq != 2 || p.UpdatedSeq != 1 || p.Stamp <= before {
			b.Errorf("the reader's row is %+v", p)
		}
	}},
	{"A read mark needs a participant", func(b *box) {
		id := b.group(b.users(1)[0])
		if err := b.try(mark(id, 99, 1)); !errors.Is(err, chat.ErrNotFound) {
			b.Errorf("got %v", err)
		}
	}},
	{"PutParticipant keeps the stamp, and no row brings its own", func(b *box) {
		users := b.users(2)
		id := b.group(users[0], users[1])
		b.do(mark(id, users[0], 1))
		get := func(r chat.Reader) (chat.Participant, error) { return r.Participant(id, users[0]) }
		was := read(b, get)
		before := b.lastStamp()
		b.do(func(tx chat.Tx) error {
			p, err := get(tx)
			p.Role, p.Stamp = chat.RoleAdmin, 1<<50
			return errors.Join(err, tx.PutParticipant(p), tx.PutParticipant(chat.Participant{Chat: id, User: 99, Role: chat.RoleMember, JoinedSeq: 2, UpdatedSeq: 2, Stamp: 1 << 50}))
		})
		b.moved(users[0], before)
		b.same("stamp", was.Stamp, read(b, get).Stamp)
		b.do(func(tx chat.Tx) error {
			c, err := tx.Chat(id)
			c.Stamp = 1 << 50
			return errors.Join(err, tx.PutChat(c))
		})
		if c := b.chat(id); c.Stamp >= 1<<50 || c.Stamp <= before {
			b.Errorf("the chat's stamp is %d", c.Stamp)
		}
	}},
	{"What is undone moves nothing", func(b *box) {
		users := b.users(1)
		id := b.group(users[0])
		before := b.lastStamp()
		for range 3 {
			if err := b.try(func(tx chat.Tx) error { return errors.Join(text(id, users[0], "x")(tx), errUndo) }); err == nil {
				b.Error("no error")
			}
		}
		b.moved(users[0], before)
		b.do(text(id, users[0], "y"))
		b.moved(users[0], before, id)
	}},
	{"LastStamp is not below what its snapshot shows, when nothing is under way", func(b *box) {
		users := b.users(1)
		for range 5 {
			id := b.group(users[0])
			b.do(mark(id, users[0], 1))
			b.view(func(r chat.Reader) error {
				last := must(r.LastStamp())
				for _, c := range must(r.ChangedChats(users[0], chat.SyncPos{}, 100)) {
					if c.Stamp > last || c.Stamp <= 0 || c.Stamp != max(c.Chat.Stamp, c.Participant.Stamp) {
						b.Errorf("%+v at LastStamp %d", c, last)
					}
				}
				return nil
			})
		}
	}},
	{"Commits moves with every change, and while nothing changes it stays", func(b *box) {
		users := b.users(2)
		id := b.group(users[0])
		commits := func() int64 { return read(b, chat.Reader.Commits) }
		before := commits()
		for i, change := range []func(chat.Tx) error{text(id, users[0], "x"), text(id, users[0], "y"), mark(id, users[0], 2)} {
			b.do(change)
			after := commits()
			if after == before {
				b.Errorf("change %d: Commits stays at %d", i, after)
			}
			before = after
		}
		b.view(func(r chat.Reader) error { _, err := r.Chat(id); return err })
		if after := commits(); after != before {
			b.Errorf("Commits went from %d to %d, and nothing has changed", before, after)
		}
	}},
	{"Changed chats page in both directions, with ties", func(b *box) {
		users := b.users(2)
		var ids []chat.ChatID
		for range 9 {
			ids = append(ids, b.group(users[0], users[1]))
		}
		touch := func(which ...int) write { // in one update, so that their stamps may be equal
			return func(tx chat.Tx) error {
				for _, i := range which {
					if err := text(ids[i], users[1], "hi")(tx); err != nil {
						return err
					}
				}
				return nil
			}
		}
		b.do(touch(7, 0, 3), touch(8, 2), mark(ids[5], users[0], 1), touch(4, 1, 6))
		b.view(func(r chat.Reader) error {
			all := must(r.ChangedChats(users[0], chat.SyncPos{}, 100))
			b.sameMembers("ascending from nothing", ids, chatsOf(all))
			if !slices.IsSortedFunc(all, func(x, y chat.ChangedChat) int { return compareChanged(x, y.Stamp, y.Chat.ID) }) {
				b.Errorf("not ascending: %+v", all)
			}
			for _, c := range all {
				b.same("chat", must(r.Chat(c.Chat.ID)), c.Chat)
				b.same("participant", must(r.Participant(c.Chat.ID, users[0])), c.Participant)
			}
			down := slices.Clone(all)
			slices.Reverse(down)
			for limit := 1; limit <= 10; limit++ {
				b.same(fmt.Sprint("ascending by ", limit), all, pageUp(b, r, users[0], chat.SyncPos{}, limit))
				b.same(fmt.Sprint("descending by ", limit), down, pageDown(b, r, users[0], chat.SyncPos{Below: math.MaxInt64}, limit))
				for i, from := range all {
					up := chat.SyncPos{After: from.Stamp, AfterChat: from.Chat.ID}
					b.same(fmt.Sprintf("ascending after %d by %d", i, limit), all[i+1:], pageUp(b, r, users[0], up, limit))
					above := chat.SyncPos{After: from.Stamp, Below: math.MaxInt64}
					k := slices.IndexFunc(down, func(c chat.ChangedChat) bool { return c.Stamp <= from.Stamp })
					b.same(fmt.Sprintf("descending to %d by %d", i, limit), down[:k], pageDown(b, r, users[0], above, limit))
				}
			}
			for _, from := range all { // no chat in a position: its stamp is over, or has not begun
				var above, below []chat.ChangedChat
				for _, c := range all {
					if c.Stamp > from.Stamp {
						above = append(above, c)
					}
					if c.Stamp < from.Stamp {
						below = append([]chat.ChangedChat{c}, below...)
					}
				}
				b.same("after a stamp", above, must(r.ChangedChats(users[0], chat.SyncPos{After: from.Stamp}, 100)))
				b.same("below a stamp", below, must(r.ChangedChats(users[0], chat.SyncPos{Below: from.Stamp}, 100)))
			}
			return nil
		})
	}},
	{"Changed chats are of the same snapshot as what is read after them", func(b *box) {
		users := b.users(2)
		ids := []chat.ChatID{b.group(users[0], users[1]), b.group(users[0], users[1])}
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := <-b.start(text(ids[i%2], users[0], "hi")); err != nil {
					b.Errorf("update: %v", err)
				}
			}
		}()
		for range 300 {
			after := b.lastStamp()
			b.view(func(r chat.Reader) error {
				listed := must(r.ChangedChats(users[1], chat.SyncPos{After: after}, 10))
				var want []chat.ChatID
				for _, id := range ids {
					if must(r.Chat(id)).Stamp > after {
						want = append(want, id)
					}
				}
				b.sameMembers(fmt.Sprint("changed after ", after), want, chatsOf(listed))
				return nil
			})
		}
		close(stop)
		<-ended
	}},
	{"Syncing beside writers gives each chat at least once, in its last state, and ends", func(b *box) {
		const chats, writers, each = 12, 3, 60
		users := b.users(writers + 1)
		reader := users[writers]
		var ids []chat.ChatID
		for range chats {
			ids = append(ids, b.group(users[0], users[1:]...))
		}
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for w, u := range users[:writers] {
			wg.Go(func() {
				for i := range each {
					id := ids[(i*7+w*5)%chats]
					runs := []write{text(id, u, "hi")}
					if i%5 == 0 {
						runs = append(runs, mark(id, reader, int64(i%4)))
					}
					for _, run := range runs {
						if err := <-b.start(run); err != nil {
							b.Errorf("update: %v", err)
						}
					}
				}
			})
		}
		go func() { wg.Wait(); close(stop) }()
		have := map[chat.ChatID]chat.ChangedChat{}
		take := func(page []chat.ChangedChat) {
			for _, c := range page {
				if old := have[c.Chat.ID]; c.Stamp >= old.Stamp {
					have[c.Chat.ID] = c
				}
			}
		}
		// The first sync: the end is taken before the rows, and the newest come first.
		end := b.lastStamp()
		down := chat.SyncPos{Below: math.MaxInt64}
		for {
			page := read(b, func(r chat.Reader) ([]chat.ChangedChat, error) { return r.ChangedChats(reader, down, 5) })
			take(page)
			if len(page) < 5 {
				break
			}
			last := page[len(page)-1]
			down.Below, down.BelowChat = last.Stamp, last.Chat.ID
		}
		// And then from there on, until nothing more comes after the writers' end.
		up := chat.SyncPos{After: end}
		for running := true; running; {
			select {
			case <-stop:
				running = false
			default:
			}
			for {
				var last int64
				page := read(b, func(r chat.Reader) ([]chat.ChangedChat, error) {
					var err error
					if last, err = r.LastStamp(); err != nil {
						return nil, err
					}
					return r.ChangedChats(reader, up, 5)
				})
				take(page)
				if len(page) < 5 {
					up = chat.SyncPos{After: max(up.After, last)}
					break
				}
				c := page[len(page)-1]
				up = chat.SyncPos{After: c.Stamp, AfterChat: c.Chat.ID}
			}
		}
		for _, id := range ids {
			b.same("chat", b.chat(id), have[id].Chat)
			b.same("participant", read(b, func(r chat.Reader) (chat.Participant, error) { return r.Participant(id, reader) }), have[id].Participant)
		}
		CheckLog(b, b.store, ids...)
	}},
}

// moved wants user's chats that changed after a stamp to be these.
func (b *box) moved(user chat.UserID, after int64, ids ...chat.ChatID) {
	b.Helper()
	got := read(b, func(r chat.Reader) ([]chat.ChangedChat, error) {
		return r.ChangedChats(user, chat.SyncPos{After: after}, 100)
	})
	b.same(fmt.Sprintf("chats that changed for %d after %d", user, after), ids, chatsOf(got))
	if last := b.lastStamp(); len(ids) > 0 && last <= after {
		b.Errorf("LastStamp went from %d to %d", after, last)
	}
}

func chatsOf(list []chat.ChangedChat) (ids []chat.ChatID) {
	for _, c := range list {
		ids = append(ids, c.Chat.ID)
	}
	return ids
}

func (b *box) sameMembers(what string, want, got []chat.ChatID) {
	b.Helper()
	want, got = slices.Clone(want), slices.Clone(got)
	slices.Sort(want)
	slices.Sort(got)
	b.same(what, want, got)
}

// maxPages is more pages than any list in a test has.
const maxPages = 1000

func pageUp(t TB, r chat.Reader, user chat.UserID, pos chat.SyncPos, limit int) (all []chat.ChangedChat) {
	t.Helper()
	for range maxPages {
		page := must(r.ChangedChats(user, pos, limit))
		all = append(all, page...)
		if len(page) == 0 {
			return all
		}
		last := page[len(page)-1]
		pos.After, pos.AfterChat = last.Stamp, last.Chat.ID
	}
	t.Fatalf("paging upwards by %d does not end", limit)
	return nil
}

func pageDown(t TB, r chat.Reader, user chat.UserID, pos chat.SyncPos, limit int) (all []chat.ChangedChat) {
	t.Helper()
	for range maxPages {
		page := must(r.ChangedChats(user, pos, limit))
		all = append(all, page...)
		if len(page) == 0 {
			return all
		}
		last := page[len(page)-1]
		pos.Below, pos.BelowChat = last.Stamp, last.Chat.ID
	}
	t.Fatalf("paging downwards by %d does not end", limit)
	return nil
}

var closeClauses = []clause{
	{"Close waits for queued updates and their dones", func(b *box) {
		users := b.users(1)
		id := b.group(users[0])
		var outcomes []<-chan error
		for i := range 300 {
			outcomes = append(outcomes, b.start(text(id, users[0], fmt.Sprint(i))))
		}
		b.close()
		for i, c := range outcomes {
			select {
			case err := <-c:
				if err != nil {
					b.Errorf("update %d: %v", i, err)
				}
			default:
				b.Fatalf("update %d has not been done", i)
			}
		}
	}},
	{"An update after Close is refused as unavailable, once", func(b *box) {
		b.close()
		var ran bool
		c := b.start(func(chat.Tx) error { ran = true; return nil })
		if err := wait(b, "done", c); chat.CodeOf(err) != chat.CodeUnavailable || ran {
			b.Errorf("got %v, ran %v", err, ran)
		}
		if len(c) > 0 {
			b.Error("done was called twice")
		}
	}},
	{"Updates beside Close are done or refused, and all hear of it", func(b *box) {
		users := b.users(4)
		id := b.group(users[0], users[1:]...)
		var wg sync.WaitGroup
		begun := make(chan struct{}, len(users))
		for _, u := range users {
			wg.Go(func() {
				for i := range 200 {
					if i == 20 {
						begun <- struct{}{}
					}
					if err := <-b.start(text(id, u, "hi")); err != nil {
						if chat.CodeOf(err) != chat.CodeUnavailable {
							b.Errorf("update: %v", err)
						}
						return
					}
				}
			})
		}
		for range users {
			wait(b, "writers", begun)
		}
		b.close()
		wg.Wait()
		if err := b.store.View(context.Background(), func(chat.Reader) error { return nil }); err != nil {
			b.Logf("a View after Close: %v", err) // it may or may not work
		}
	}},
}
