package chat_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/storetest"
)

func newFaultyWorld(t testing.TB) (*world, *storetest.Faulty) {
	t.Helper()
	var store *storetest.Faulty
	w := newWorld(t, onStore(func(s chat.Store) chat.Store {
		store = storetest.NewFaulty(s)
		return store
	}))
	return w, store
}

// A send whose outcome is unknown is sent again with its key, and is there once
// whatever the outcome was.
func TestOutcomeUnknown(t *testing.T) {
	w, store := newFaultyWorld(t)
	w.news.lossy = true
	ana := w.people("ana")[0]
	id := ana.group("Port")
	for _, fault := range []storetest.Fault{storetest.NotWritten, storetest.AnswerLost} {
		before := ana.at(id)
		m := chat.NewMessage{Chat: id, Content: "hello", ClientMsgID: string(rune('a' + fault))}
		store.Next(fault)
		_, err := ana.trySend(m)
		refused(t, err, chat.CodeUnavailable)
		r, err := ana.trySend(m)
		ok(t, err)
		same(t, r, chat.SendResult{Seq: before + 1, CreatedAt: w.clock.Now(), Duplicate: fault == storetest.AnswerLost})
		same(t, ana.at(id), before+1)

		n := chat.NewChat{Kind: chat.KindGroup, Title: "Harbour", ClientChatID: m.ClientMsgID}
		store.Next(fault)
		_, _, err = w.CreateChat(ctx, ana.Actor, n)
		refused(t, err, chat.CodeUnavailable)
		_, duplicate, err := w.CreateChat(ctx, ana.Actor, n)
		ok(t, err)
		same(t, duplicate, fault == storetest.AnswerLost)
	}
	memberships, _, err := chat.NewLog(w.store).Memberships(ctx, ana.User)
	ok(t, err)
	same(t, len(memberships), 3)
}

// What was not written is not published.
func TestNothingWrittenNothingTold(t *testing.T) {
	w, store := newFaultyWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	id := ana.group("Port", bob)
	seq := ana.say(id, "one")
	w.events()
	for name, do := range ana.chatOps(id, bob.User, seq) {
		switch name {
		case "chat", "participants", "messages", "message", "changes", "typing", "leave":
			continue
		}
		store.Next(storetest.NotWritten)
		if err := do(); chat.CodeOf(err) != chat.CodeUnavailable || !errors.Is(err, storetest.ErrFault) {
			t.Errorf("%s: %v", name, err)
		}
	}
	store.Next(storetest.NotWritten)
	refused(t, w.EndSession(ctx, ana.Actor), chat.CodeUnavailable)
	w.hears()
	same(t, []int{len(w.news.reads), len(w.endedSessions())}, []int{0, 0})
	same(t, ana.at(id), seq)
	_, err := w.Authenticate(ctx, ana.token)
	ok(t, err)
}

// Somebody who cannot wait any longer is told so; what they did happens, or
// not, without them.
func TestWaitingEnds(t *testing.T) {
	w, store := newFaultyWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	id := ana.group("Port", bob)
	w.events()
	release := store.Hold()
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, err := w.UpdateChat(short, ana.Actor, id, chat.ChatPatch{Title: ptr("Harbour")})
	refused(t, err, chat.CodeTimeout)
	_, err = w.Chat(short, ana.Actor, id) // nor does a read begin
	refused(t, err, chat.CodeTimeout)
	release()
	w.hears(told{chat.ChatUpdated, 3, 0, ana.User})
	_, err = w.UpdateChat(short, ana.Actor, id, chat.ChatPatch{Title: ptr("Port")})
	refused(t, err, chat.CodeTimeout)
	same(t, ana.at(id), int64(3)) // too late to even begin
}

// A store that broke takes nothing more, and still lets people read.
func TestBrokenStore(t *testing.T) {
	w, store := newFaultyWorld(t)
	w.large = true
	ana := w.people("ana")[0]
	id := ana.group("Port")
	ana.say(id, "one")
	store.Break(errors.New("fsync: input/output error"))
	_, err := ana.trySend(chat.NewMessage{Chat: id, Content: "two", ClientMsgID: "k"})
	refused(t, err, chat.CodeUnavailable)
	_, err = w.LoginPassword(ctx, home, "ana", secret("ana"), "", "")
	refused(t, err, chat.CodeUnavailable)
	same(t, ana.reads(id), []string{"one"})
	w.clock.pass(48 * time.Hour)
	_, err = w.Authenticate(ctx, ana.token) // its use cannot be noted, which keeps nobody out
	ok(t, err)

	store.FailViews(errors.New("disk gone"))
	_, err = w.Chat(ctx, ana.Actor, id)
	refused(t, err, chat.CodeUnavailable)
	_, err = w.Authenticate(ctx, ana.token)
	refused(t, err, chat.CodeUnavailable)
	store.FailViews(nil)
}

// A store may run a transaction again. Whatever that does to ids and times, the
// world hears of it once (news watches the numbers).
func TestEverythingRunsTwice(t *testing.T) {
	w, store := newFaultyWorld(t)
	list := w.people("ana", "bob")
	store.Always(storetest.RunTwice)
	ana, bob := list[0], list[1]
	id := ana.group("Port", bob)
	r, err := ana.trySend(chat.NewMessage{Chat: id, Content: "one", ClientMsgID: "k"})
	ok(t, err)
	same(t, r.Duplicate, false)
	_, err = w.RemoveParticipant(ctx, ana.Actor, id, bob.User)
	ok(t, err)
	ana.add(id, "", bob)
	_, err = w.SetRead(ctx, bob.Actor, id, 5)
	ok(t, err)
	w.hears(
		told{chat.ChatCreated, 1, ana.User, ana.User}, told{chat.ParticipantAdded, 2, bob.User, ana.User},
		told{chat.MessageCreated, 3, 0, 0}, told{chat.ParticipantRemoved, 4, bob.User, ana.User}, told{chat.ParticipantAdded, 5, bob.User, ana.User})
	phone := w.login("ana")
	ok(t, w.RevokeSession(ctx, ana.Actor, phone.Session))
	same(t, w.endedSessions(), []chat.SessionID{phone.Session})
	u, err := w.Register(ctx, operator, home, newcomer("cem", ""))
	ok(t, err)
	got, err := w.User(ctx, ana.Actor, u.ID)
	ok(t, err)
	same(t, got, u)
}

// forgiving is a store that outlives a done that panics, as the real ones do.
type forgiving struct{ chat.Store }

func (f forgiving) Update(op chat.Op, done func(error)) {
	f.Store.Update(op, func(err error) {
		defer func() { _ = recover() }()
		done(err)
	})
}

// Who hears of their write and panics keeps nobody else from hearing of it:
// what is stored was not published then, and readers had a silent hole.
func TestPanicOfDoneLeavesNoHole(t *testing.T) {
	w := newWorld(t, onStore(func(s chat.Store) chat.Store { return forgiving{s} }))
	ana := w.people("ana")[0]
	id := ana.group("Port")
	w.events()
	w.Send(ana.Actor, chat.NewMessage{Chat: id, Content: "one"}, nil, func(chat.SendResult, error) { panic("oh") })
	w.Edit(ana.Actor, chat.MessageEdit{Chat: id, Seq: 2, Content: "one!"}, nil, func(int64, error) { panic("oh") })
	w.Delete(ana.Actor, id, 2, nil, func(int64, error) { panic("oh") })
	w.hears(told{chat.MessageCreated, 2, 0, 0}, told{chat.MessageUpdated, 3, 0, 0}, told{chat.MessageDeleted, 4, 0, 0})
}
