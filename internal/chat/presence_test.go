package chat_test

import (
	"slices"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

func TestPresence(t *testing.T) {
	online := func(users []chat.UserID) []chat.Status {
		return slices.Repeat([]chat.Status{chat.Online}, len(users))
	}
	w := newWorld(t, func(c *chat.Config) { c.Statuses = online })
	list := w.people("ana", "bob", "cem", "dan")
	ana, bob, cem, dan := list[0], list[1], list[2], list[3]
	all := append(ids(list...), 999, ana.User)
	sees := func(p *person, want ...chat.UserStatus) {
		t.Helper()
		var watched []chat.UserID
		got, err := w.Presence(ctx, p.Actor, all, func(users []chat.UserID) { watched = users })
		ok(t, err)
		same(t, got, want)
		var users []chat.UserID
		for _, s := range want {
			users = append(users, s.User)
		}
		same(t, watched, users)
	}
	is := func(p *person, s chat.Status) chat.UserStatus { return chat.UserStatus{User: p.User, Status: s} }

	sees(ana, is(ana, chat.Online), is(ana, chat.Online))
	port := ana.group("Port", bob)
	_, _, err := w.CreateChat(ctx, ana.Actor, chat.NewChat{Kind: chat.KindPrivate, Peer: cem.User})
	ok(t, err)
	sees(ana, is(ana, chat.Online), is(bob, chat.Online), is(cem, chat.Online), is(ana, chat.Online))
	sees(bob, is(ana, chat.Online), is(bob, chat.Online), is(ana, chat.Online))
	sees(dan, is(dan, chat.Online))

	hide := true
	u, err := w.UpdateUser(ctx, ana.Actor, 0, chat.UserPatch{HidesPresence: &hide})
	ok(t, err)
	same(t, u.HidesPresence, true)
	same(t, w.news.seen, ids(ana))
	sees(bob, is(ana, chat.Offline), is(bob, chat.Online), is(ana, chat.Offline))
	hidden, err := chat.NewLog(w.store).Hidden(ctx, all)
	ok(t, err)
	same(t, hidden, map[chat.UserID]bool{ana.User: true, bob.User: false, cem.User: false, dan.User: false, 999: true})
	// Only they themselves say so; the operator neither.
	for _, a := range []chat.Actor{bob.Actor, {Operator: true}} {
		_, err = w.UpdateUser(ctx, a, cem.User, chat.UserPatch{HidesPresence: &hide})
		refused(t, err, chat.CodePermissionDenied)
	}

	// A chat that is over is shared by nobody.
	ana.removes(port, bob)
	sees(bob, is(bob, chat.Online))
	ana.adds(port, bob)
	ok(t, w.DeleteChat(ctx, ana.Actor, port))
	sees(bob, is(bob, chat.Online))

	_, err = w.Presence(ctx, ana.Actor, make([]chat.UserID, chat.MaxPage+1), nil)
	refused(t, err, chat.CodeInvalidRequest)
	_, err = w.Presence(ctx, operator, all, nil)
	refused(t, err, chat.CodePermissionDenied)
	_, err = w.Presence(ctx, chat.Actor{}, all, nil)
	refused(t, err, chat.CodeUnauthenticated)
	off := newWorld(t)
	if off.HasPresence() {
		t.Error("presence without a hub")
	}
	_, err = off.Presence(ctx, chat.Actor{User: 1}, all, nil)
	refused(t, err, chat.CodePermissionDenied)
}

func TestFew(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob", "cem")
	id := list[0].group("Port", list[1:]...)
	list[0].removes(id, list[2])
	for most, want := range map[int]bool{1: false, 2: true, 50: true} {
		few, err := chat.NewLog(w.store).Few(ctx, id, most)
		ok(t, err)
		same(t, few, want)
	}
}
