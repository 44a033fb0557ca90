package chat_test

import (
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// counting counts the reads in write transactions that take the longer the more
// there is.
type counting struct {
	chat.Store
	pages, counts int
}

type countingTx struct {
	chat.Tx
	c *counting
}

func (c *counting) Update(op chat.Op, done func(error)) {
	run := op.Run
	op.Run = func(tx chat.Tx) error { return run(countingTx{tx, c}) }
	c.Store.Update(op, done)
}

func (t countingTx) Users(prefix string, after chat.UserID, limit int) ([]chat.User, error) {
	t.c.pages++
	return t.Tx.Users(prefix, after, limit)
}

func (t countingTx) CountParticipants(id chat.ChatID, roles ...chat.Role) (int, error) {
	t.c.counts++
	return t.Tx.CountParticipants(id, roles...)
}

func newCountingWorld(t *testing.T) (*world, *counting) {
	t.Helper()
	var store *counting
	w := newWorld(t, onStore(func(s chat.Store) chat.Store {
		store = &counting{Store: s}
		return store
	}))
	return w, store
}

// All who write wait for who writes. Nobody looks for another owner among
// everybody then, which on a large server took seconds: who is refused is refused
// before, and else one who was found before is looked at.
func TestTheLastOwnerIsFoundBeforeOthersWait(t *testing.T) {
	w, store := newCountingWorld(t)
	ana := w.server("ana", chat.RoleOwner)
	demote := func(of *person) error {
		before := store.pages
		_, err := w.UpdateUser(ctx, operator, of.User, chat.UserPatch{Role: ptr(chat.RoleMember)})
		same(t, store.pages, before)
		return err
	}
	refused(t, demote(ana), chat.CodeConflict)
	bob := w.server("bob", chat.RoleOwner)
	ok(t, demote(ana))
	refused(t, demote(bob), chat.CodeConflict)
}

// Whoever was found before may be an owner no more.
func TestTwoOwnersStepDownAtOnce(t *testing.T) {
	w, store := newCountingWorld(t)
	list := []*person{w.server("ana", chat.RoleOwner), w.server("bob", chat.RoleOwner), w.server("cem", chat.RoleMember)}
	stepDown := func(p *person) error {
		_, err := w.UpdateUser(ctx, p.Actor, 0, chat.UserPatch{Role: ptr(chat.RoleMember)})
		return err
	}
	// Bob has looked, and found ana, when she steps down.
	var first error
	held := &beforeUpdate{Store: store, do: func() { first = stepDown(list[0]) }}
	other := chat.NewService(chat.Config{Store: held, Publisher: w.news, NoLimits: true, Now: w.clock.Now})
	_, err := other.UpdateUser(ctx, list[1].Actor, 0, chat.UserPatch{Role: ptr(chat.RoleMember)})
	ok(t, first)
	refused(t, err, chat.CodeConflict)
	u, err := w.User(ctx, operator, list[1].User)
	ok(t, err)
	same(t, u.Role, chat.RoleOwner)
}

// beforeUpdate does something before the first update.
type beforeUpdate struct {
	chat.Store
	do func()
}

func (b *beforeUpdate) Update(op chat.Op, done func(error)) {
	if do := b.do; do != nil {
		b.do = nil
		do()
	}
	b.Store.Update(op, done)
}

// Nobody who comes into a chat has its people counted while it cannot be full,
// nor twice when it can.
func TestPeopleAreCountedWhenThereMayBeTooMany(t *testing.T) {
	w, store := newCountingWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	st, _, err := w.CreateChat(ctx, ana.Actor, chat.NewChat{Kind: chat.KindGroup, Title: "Square", Listed: true})
	ok(t, err)
	join := func() int {
		before := store.counts
		_, err := w.AddParticipants(ctx, bob.Actor, st.Chat.ID, ids(bob), "")
		ok(t, err)
		_, err = w.RemoveParticipant(ctx, bob.Actor, st.Chat.ID, bob.User)
		ok(t, err)
		return store.counts - before
	}
	same(t, join(), 0)
	w.large = true
	for range chat.MaxParticipants {
		ana.say(st.Chat.ID, "so it has had as many changes")
	}
	same(t, join(), 1)
}
