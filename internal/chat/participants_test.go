package chat_test

import (
	"fmt"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

func TestComingAndGoing(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob", "cem")
	ana, bob, cem := list[0], list[1], list[2]
	id := ana.group("Port", bob)
	ana.say(id, "one")
	w.events()

	got, err := w.AddParticipants(ctx, ana.Actor, id, ids(cem, bob, cem, ana), "")
	ok(t, err)
	same(t, got[1:], []chat.Participant{
		{Chat: id, User: bob.User, Role: chat.RoleMember, JoinedSeq: 2, UpdatedSeq: 2},
		{Chat: id, User: cem.User, Role: chat.RoleMember, JoinedSeq: 4, ReadSeq: 4, UpdatedSeq: 4},
	})
	_, err = w.AddParticipants(ctx, ana.Actor, id, ids(cem, bob), chat.RoleAdmin) // they keep their places
	ok(t, err)
	w.hears(told{chat.ParticipantAdded, 4, cem.User, ana.User})
	same(t, cem.reads(id), []string{"one"})
	st, err := w.Chat(ctx, cem.Actor, id)
	ok(t, err)
	same(t, st.Unread, int64(0)) // what was said before is no news

	one, err := w.UpdateParticipant(ctx, ana.Actor, id, cem.User, chat.RoleAdmin)
	ok(t, err)
	same(t, one, chat.Participant{Chat: id, User: cem.User, Role: chat.RoleAdmin, JoinedSeq: 4, ReadSeq: 4, UpdatedSeq: 5})
	again, err := w.UpdateParticipant(ctx, ana.Actor, id, cem.User, chat.RoleAdmin)
	ok(t, err)
	same(t, again, one)
	one, err = w.RemoveParticipant(ctx, cem.Actor, id, bob.User)
	ok(t, err)
	same(t, []any{one.LeftSeq, one.UpdatedSeq, one.JoinedSeq}, []any{int64(6), int64(6), int64(2)})
	_, err = w.RemoveParticipant(ctx, cem.Actor, id, bob.User)
	refused(t, err, chat.CodeNotFound)
	_, err = w.UpdateParticipant(ctx, ana.Actor, id, bob.User, chat.RoleAdmin)
	refused(t, err, chat.CodeNotFound)
	_, err = w.RemoveParticipant(ctx, cem.Actor, id, 99)
	refused(t, err, chat.CodeNotFound)
	_, err = w.RemoveParticipant(ctx, cem.Actor, id, cem.User)
	ok(t, err)
	_, err = bob.trySend(chat.NewMessage{Chat: id, Content: "still here?"})
	refused(t, err, chat.CodeNotFound)

	got, err = w.AddParticipants(ctx, ana.Actor, id, ids(bob), chat.RoleAdmin)
	ok(t, err)
	same(t, got, []chat.Participant{{Chat: id, User: bob.User, Role: chat.RoleAdmin, JoinedSeq: 8, ReadSeq: 8, UpdatedSeq: 8, Stamp: got[0].Stamp}})
	w.hears(
		told{chat.ParticipantUpdated, 5, cem.User, ana.User},
		told{chat.ParticipantRemoved, 6, bob.User, cem.User},
		told{chat.ParticipantRemoved, 7, cem.User, cem.User},
		told{chat.ParticipantAdded, 8, bob.User, ana.User})
}

func TestLastOwner(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	id := ana.group("Port", bob)
	leave := func(p *person) error { _, err := w.RemoveParticipant(ctx, p.Actor, id, p.User); return err }
	role := func(p, other *person, r chat.Role) error {
		_, err := w.UpdateParticipant(ctx, p.Actor, id, other.User, r)
		return err
	}
	refused(t, leave(ana), chat.CodeConflict)
	refused(t, role(ana, ana, chat.RoleMember), chat.CodeConflict)
	ok(t, role(ana, ana, chat.RoleOwner))
	ok(t, role(ana, bob, chat.RoleOwner))
	ok(t, role(bob, ana, chat.RoleMember))
	refused(t, leave(bob), chat.CodeConflict)
	ok(t, leave(ana))
	ok(t, leave(bob)) // nobody is left to miss an owner
	refused(t, leave(bob), chat.CodeNotFound)
}

func TestAddRefuses(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob", "dis")
	ana, bob, dis := list[0], list[1], list[2]
	id := ana.group("Port")
	_, err := w.UpdateUser(ctx, operator, dis.User, chat.UserPatch{Disabled: ptr(true)})
	ok(t, err)
	for _, bad := range []struct {
		users []chat.UserID
		role  chat.Role
		code  chat.Code
	}{
		{nil, "", chat.CodeInvalidRequest},
		{make([]chat.UserID, chat.MaxPage+1), "", chat.CodeInvalidRequest},
		{ids(bob), "king", chat.CodeInvalidRequest},
		{[]chat.UserID{bob.User, 99}, "", chat.CodeNotFound},
		{ids(bob, dis), "", chat.CodeNotFound},
	} {
		_, err := w.AddParticipants(ctx, ana.Actor, id, bad.users, bad.role)
		refused(t, err, bad.code)
	}
	_, err = w.UpdateParticipant(ctx, ana.Actor, id, ana.User, "king")
	refused(t, err, chat.CodeInvalidRequest)
	same(t, ana.roles(id), map[string]chat.Role{"ana": chat.RoleOwner}) // all or nothing
	same(t, ana.at(id), int64(1))
}

// A chat has room for so many, counted when they come.
func TestParticipantsBound(t *testing.T) {
	w := newWorld(t)
	w.large = true
	ana := w.people("ana")[0]
	id := ana.group("Port")
	// Making twenty thousand accounts is not what this is about.
	users := make([]chat.UserID, chat.MaxParticipants)
	fill := chat.Op{Run: func(tx chat.Tx) error {
		c, err := tx.Chat(id)
		if err != nil {
			return err
		}
		for i := range users {
			u := chat.User{ID: chat.UserID(1000 + i), Username: fmt.Sprintf("user%d", i), Role: chat.RoleMember}
			users[i] = u.ID
			if i < len(users)-3 {
				c.LastSeq++
				p := chat.Participant{Chat: id, User: u.ID, Role: chat.RoleMember, JoinedSeq: c.LastSeq, UpdatedSeq: c.LastSeq}
				if err := tx.PutParticipant(p); err != nil {
					return err
				}
				continue
			}
			if err := tx.PutUser(u); err != nil {
				return err
			}
		}
		return tx.PutChat(c)
	}}
	done := make(chan error, 1)
	w.store.Update(fill, func(err error) { done <- err })
	ok(t, <-done)
	w.news.last[id] = ana.at(id)
	last := users[len(users)-3:]
	_, err := w.AddParticipants(ctx, ana.Actor, id, last, "")
	refused(t, err, chat.CodeConflict)
	_, err = w.AddParticipants(ctx, ana.Actor, id, last[:2], "")
	ok(t, err)
	_, err = w.AddParticipants(ctx, ana.Actor, id, last[2:], "")
	refused(t, err, chat.CodeConflict)
	_, err = w.RemoveParticipant(ctx, ana.Actor, id, last[0])
	ok(t, err)
	_, err = w.AddParticipants(ctx, ana.Actor, id, last[2:], "")
	ok(t, err)
}

// countedStore is a store that notes how often participants are counted, and that can
// fail to commit.
type countedStore struct {
	chat.Store

	counts int
	full   bool
}

func (s *countedStore) Update(op chat.Op, done func(error)) {
	run := op.Run
	op.Run = func(tx chat.Tx) error {
		err := run(countedTx{tx, s})
		if err == nil && s.full {
			err = chat.Unavailable("the disk is full; nothing was stored", nil)
		}
		return err
	}
	s.Store.Update(op, done)
}

type countedTx struct {
	chat.Tx

	store *countedStore
}

func (tx countedTx) CountParticipants(id chat.ChatID, roles ...chat.Role) (int, error) {
	tx.store.counts++
	return tx.Tx.CountParticipants(id, roles...)
}

// In a large chat everybody who came was counted again for each who comes, and all
// other writes waited.
func TestParticipantsAreNotCountedForEachWhoComes(t *testing.T) {
	store := &countedStore{}
	w := newWorld(t, func(cfg *chat.Config) {
		store.Store, cfg.Store = cfg.Store, store
	})
	w.large = true
	ana := w.people("ana")[0]
	id := ana.group("Port")
	const in = chat.MaxParticipants - 10
	var come []chat.UserID
	fill := chat.Op{Run: func(tx chat.Tx) error {
		c, err := tx.Chat(id)
		if err != nil {
			return err
		}
		for i := range in - 1 {
			c.LastSeq++
			if err := tx.PutParticipant(chat.Participant{Chat: id, User: chat.UserID(1000 + i), Role: chat.RoleMember, JoinedSeq: c.LastSeq, UpdatedSeq: c.LastSeq}); err != nil {
				return err
			}
		}
		c.LastSeq += 10_000 // something was said, too
		for i := range 12 {
			u := chat.User{ID: chat.UserID(100_000 + i), Username: fmt.Sprintf("late%d", i), Role: chat.RoleMember}
			come = append(come, u.ID)
			if err := tx.PutUser(u); err != nil {
				return err
			}
		}
		return tx.PutChat(c)
	}}
	done := make(chan error, 1)
	w.store.Update(fill, func(err error) { done <- err })
	ok(t, <-done)
	w.news.last[id] = ana.at(id)
	comes := func(n int) error {
		t.Helper()
		_, err := w.AddParticipants(ctx, ana.Actor, id, come[n:n+1], "")
		return err
	}
	counted := func(what string, n int) {
		t.Helper()
		if store.counts != n {
			t.Errorf("%s: counted %d times, want %d", what, store.counts, n)
		}
		store.counts = 0
	}
	// What a transaction counted that came to nothing is not believed.
	store.full = true
	refused(t, comes(0), chat.CodeUnavailable)
	store.full = false
	counted("not stored", 1)
	ok(t, comes(0))
	counted("the first", 1)
	for n := 1; n < 5; n++ {
		ok(t, comes(n))
	}
	counted("four more", 0)
	// Who goes makes room that only a new count knows of.
	for n := range 5 {
		_, err := w.RemoveParticipant(ctx, ana.Actor, id, come[n])
		ok(t, err)
	}
	for n := range 10 {
		ok(t, comes(n))
	}
	if store.counts == 0 || store.counts > 8 {
		t.Errorf("ten to the last place: counted %d times", store.counts)
	}
	refused(t, comes(10), chat.CodeConflict)
	_, err := w.RemoveParticipant(ctx, ana.Actor, id, come[0])
	ok(t, err)
	ok(t, comes(10))
	refused(t, comes(11), chat.CodeConflict)
}

func TestParticipantsPages(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob", "cem", "dan", "eli")
	id := list[2].group("Port", list...)
	_, err := w.RemoveParticipant(ctx, list[3].Actor, id, list[3].User)
	ok(t, err)
	_, err = w.SetRead(ctx, list[0].Actor, id, 4)
	ok(t, err)
	var names []string
	after := chat.UserID(0)
	for more := true; more; {
		var page []chat.Member
		page, more, err = w.Participants(ctx, list[0].Actor, id, after, 2)
		ok(t, err)
		for _, m := range page {
			names, after = append(names, fmt.Sprintf("%s %s %d", m.Username, m.Role, m.ReadSeq)), m.User
		}
	}
	same(t, names, []string{"ana member 4", "bob member 0", "cem owner 0", "eli member 0"})
	for _, limit := range []int{-1, chat.MaxPage + 1} {
		_, _, err = w.Participants(ctx, list[0].Actor, id, 0, limit)
		refused(t, err, chat.CodeInvalidRequest)
	}
	m, _, err := chat.NewLog(w.store).Memberships(ctx, list[0].User)
	ok(t, err)
	same(t, m, []chat.Membership{{Chat: id, Kind: chat.KindGroup, LastSeq: 6, JoinedSeq: 2, ReadSeq: 4}})
	m, _, err = chat.NewLog(w.store).Memberships(ctx, list[3].User)
	ok(t, err)
	same(t, len(m), 0)
}
