package chat_test

import (
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

func listedOf(t *testing.T, w *world, a chat.Actor, limit int) (chats []chat.ListedChat) {
	t.Helper()
	for after := chat.ChatID(0); ; {
		page, next, more, err := w.ListedChats(ctx, a, after, limit)
		ok(t, err)
		if chats = append(chats, page...); !more {
			return chats
		}
		after = next
	}
}

func TestListedGroups(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob", "cem")
	ana, bob, cem := list[0], list[1], list[2]
	st, _, err := w.CreateChat(ctx, ana.Actor, chat.NewChat{Kind: chat.KindGroup, Title: "Square", Listed: true, ClientChatID: "square"})
	ok(t, err)
	square := st.Chat.ID
	same(t, st.Chat.Listed, true)
	_, _, err = w.CreateChat(ctx, ana.Actor, chat.NewChat{Kind: chat.KindGroup, Title: "Square", ClientChatID: "square"})
	refused(t, err, chat.CodeIdempotencyConflict)
	_, _, err = w.CreateChat(ctx, ana.Actor, chat.NewChat{Kind: chat.KindPrivate, Peer: bob.User, Listed: true})
	refused(t, err, chat.CodeInvalidRequest)
	port, quay := ana.group("Port", cem), ana.group("Quay")
	w.events()

	// An unlisted one cannot be found, and not be come into.
	_, err = w.AddParticipants(ctx, bob.Actor, port, ids(bob), "")
	refused(t, err, chat.CodeNotFound)
	for limit := 1; limit <= 3; limit++ {
		got := listedOf(t, w, bob.Actor, limit)
		same(t, len(got), 1)
		same(t, []any{got[0].Chat.ID, got[0].Participants, got[0].Joined}, []any{square, 1, false})
	}
	_, err = w.UpdateChat(ctx, cem.Actor, port, chat.ChatPatch{Listed: ptr(true)})
	refused(t, err, chat.CodePermissionDenied)
	st, err = w.UpdateChat(ctx, ana.Actor, port, chat.ChatPatch{Listed: ptr(true)})
	ok(t, err)
	same(t, st.Chat.UpdatedSeq, int64(3))
	_, err = w.UpdateChat(ctx, ana.Actor, port, chat.ChatPatch{Listed: ptr(true)}) // no change, no number
	ok(t, err)
	same(t, len(listedOf(t, w, bob.Actor, 1)), 2)

	// Into a listed one everybody brings themselves, as a member, and nobody else.
	for _, try := range []struct {
		users []chat.UserID
		role  chat.Role
	}{{ids(cem), ""}, {ids(bob, cem), ""}, {ids(bob), chat.RoleAdmin}, {ids(bob), chat.RoleOwner}} {
		_, err = w.AddParticipants(ctx, bob.Actor, square, try.users, try.role)
		refused(t, err, chat.CodeNotFound)
	}
	for range 2 { // the second time it is so already
		got, err := w.AddParticipants(ctx, bob.Actor, square, ids(bob), chat.RoleMember)
		ok(t, err)
		same(t, got, []chat.Participant{{Chat: square, User: bob.User, Role: chat.RoleMember, JoinedSeq: 2, ReadSeq: 2, UpdatedSeq: 2}})
	}
	w.hears(told{chat.ChatUpdated, 3, 0, ana.User}, told{chat.ParticipantAdded, 2, bob.User, bob.User})
	same(t, listedOf(t, w, bob.Actor, 5)[0].Joined, true)
	_, err = w.AddParticipants(ctx, bob.Actor, square, ids(cem), "")
	refused(t, err, chat.CodePermissionDenied)
	_, err = w.AddParticipants(ctx, operator, square, ids(bob), "")
	refused(t, err, chat.CodePermissionDenied)

	// One that everybody has left, and one that is deleted, are nobody's any more.
	_, err = w.UpdateChat(ctx, ana.Actor, quay, chat.ChatPatch{Listed: ptr(true)})
	ok(t, err)
	_, err = w.RemoveParticipant(ctx, ana.Actor, quay, ana.User)
	ok(t, err)
	ok(t, w.DeleteChat(ctx, ana.Actor, port))
	for _, id := range []chat.ChatID{quay, port, 99} {
		_, err = w.AddParticipants(ctx, bob.Actor, id, ids(bob), "")
		refused(t, err, chat.CodeNotFound)
	}
	same(t, len(listedOf(t, w, bob.Actor, 1)), 1)

	// Who was removed may come back; that is for moderation to forbid.
	_, err = w.RemoveParticipant(ctx, ana.Actor, square, bob.User)
	ok(t, err)
	_, err = w.AddParticipants(ctx, bob.Actor, square, ids(bob), "")
	ok(t, err)
	_, _, _, err = w.ListedChats(ctx, chat.Actor{}, 0, 0)
	refused(t, err, chat.CodeUnauthenticated)
}

// Of what somebody is told is theirs, in every chat, and no change of the chat.
func TestNotify(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob", "cem")
	ana, bob, cem := list[0], list[1], list[2]
	port, pair := ana.group("Port", bob), ana.private(bob)
	w.events()
	now, err := w.Now(ctx, bob.Actor)
	ok(t, err)
	hers, err := w.Now(ctx, ana.Actor)
	ok(t, err)
	for _, id := range []chat.ChatID{port, pair} {
		one, err := w.SetNotify(ctx, bob.Actor, id, bob.User, chat.NotifyMentions)
		ok(t, err)
		same(t, []any{one.Notify, one.UpdatedSeq}, []any{chat.NotifyMentions, int64(2)})
	}
	w.hears()
	same(t, w.news.levels, []chat.Participant{ // told to bob alone
		{Chat: port, User: bob.User, Notify: chat.NotifyMentions},
		{Chat: pair, User: bob.User, Notify: chat.NotifyMentions},
	})
	same(t, len(w.news.reads), 0)
	page, err := w.Sync(ctx, bob.Actor, now, 0, 0)
	ok(t, err)
	same(t, len(page.Chats), 2)
	same(t, page.Chats[0].Participant.Notify, chat.NotifyMentions)
	page, err = w.Sync(ctx, ana.Actor, hers, 0, 0)
	ok(t, err)
	same(t, len(page.Chats), 0)
	_, err = w.SetNotify(ctx, bob.Actor, port, bob.User, chat.NotifyMentions) // is so already
	ok(t, err)
	page, err = w.Sync(ctx, bob.Actor, page.Next, 0, 0)
	ok(t, err)
	same(t, len(page.Chats), 0)
	same(t, len(w.news.levels), 2)

	_, err = w.SetNotify(ctx, ana.Actor, port, bob.User, chat.NotifyNone)
	refused(t, err, chat.CodePermissionDenied)
	_, err = w.SetNotify(ctx, bob.Actor, port, bob.User, "loudly")
	refused(t, err, chat.CodeInvalidRequest)
	_, err = w.SetNotify(ctx, cem.Actor, port, cem.User, chat.NotifyNone)
	refused(t, err, chat.CodeNotFound)

	// It outlasts a change of role, and a time away.
	_, err = w.UpdateParticipant(ctx, ana.Actor, port, bob.User, chat.RoleAdmin)
	ok(t, err)
	_, err = w.RemoveParticipant(ctx, bob.Actor, port, bob.User)
	ok(t, err)
	ana.add(port, chat.RoleMember, bob)
	st, err := w.Chat(ctx, bob.Actor, port)
	ok(t, err)
	same(t, st.Participant.Notify, chat.NotifyMentions)
	_, err = w.SetNotify(ctx, bob.Actor, port, bob.User, chat.NotifyAll)
	ok(t, err)
	st, err = w.Chat(ctx, bob.Actor, port)
	ok(t, err)
	same(t, st.Participant.Notify, chat.NotifyAll)
}

func TestMessagesAtATime(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	id := ana.group("Port")
	begin := w.clock.Now()
	var said []int64
	for i := range 40 {
		w.clock.pass(time.Hour)
		said = append(said, ana.say(id, letters(i)))
		if i%3 == 0 { // changes take numbers in between
			_, err := ana.edit(chat.MessageEdit{Chat: id, Seq: said[i], Content: letters(i) + "!"})
			ok(t, err)
		}
	}
	find := func(p *person, after time.Duration) chat.MessagePage {
		t.Helper()
		at := begin.Add(after)
		page, err := w.Messages(ctx, p.Actor, id, chat.Anchor{At: &at}, 5)
		ok(t, err)
		return page
	}
	for i, seq := range said {
		at := time.Duration(i+1) * time.Hour
		for _, before := range []time.Duration{0, time.Millisecond, time.Hour - time.Millisecond} {
			page := find(ana, at-before)
			same(t, page.AtSeq, seq)
			around, err := w.Messages(ctx, ana.Actor, id, chat.Anchor{Around: &seq}, 5)
			ok(t, err)
			same(t, seqs(page.Messages), seqs(around.Messages))
		}
	}
	same(t, find(ana, -1000*time.Hour).AtSeq, said[0])
	late := find(ana, 41*time.Hour)
	same(t, late.AtSeq, int64(0))
	same(t, seqs(late.Messages), said[35:])

	// What one may not read is not there.
	_, err := w.UpdateChat(ctx, ana.Actor, id, chat.ChatPatch{History: ptr(chat.HistoryJoined)})
	ok(t, err)
	ana.add(id, chat.RoleMember, bob)
	same(t, find(bob, 0).AtSeq, int64(0))
	last := ana.say(id, "welcome")
	same(t, find(bob, 0).AtSeq, last)

	at := begin
	_, err = w.Messages(ctx, ana.Actor, id, chat.Anchor{At: &at, Around: &last}, 5)
	refused(t, err, chat.CodeInvalidRequest)

	// Clocks jump: whatever is found is of that time or later.
	w.clock.pass(-20 * time.Hour)
	ana.say(id, "back then")
	w.clock.pass(40 * time.Hour)
	ana.say(id, "much later")
	for h := range 80 {
		page := find(ana, time.Duration(h)*time.Hour)
		for _, m := range page.Messages {
			if m.Seq == page.AtSeq && m.CreatedAt.Before(begin.Add(time.Duration(h)*time.Hour)) {
				t.Errorf("at hour %d: %+v", h, m)
			}
		}
	}
}

func letters(i int) string { return string(rune('a' + i%26)) }
