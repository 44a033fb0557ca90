package chat_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

func TestCreateGroup(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob", "cem")
	ana, bob, cem := list[0], list[1], list[2]
	st, duplicate, err := w.CreateChat(ctx, bob.Actor, chat.NewChat{
		Kind: chat.KindGroup, Title: " Port ", Topic: "ships", Users: ids(cem, ana, bob, cem),
	})
	ok(t, err)
	id := st.Chat.ID
	want := chat.Chat{
		ID: id, Kind: chat.KindGroup, Title: "Port", Topic: "ships", History: chat.HistoryAll,
		CreatedBy: bob.User, BodyHash: st.Chat.BodyHash, CreatedAt: w.clock.Now(), LastSeq: 3, UpdatedSeq: 1,
	}
	same(t, []any{st.Chat, duplicate}, []any{want, false})
	same(t, st.Participant, chat.Participant{Chat: id, User: bob.User, Role: chat.RoleOwner, JoinedSeq: 1, UpdatedSeq: 1})
	events := w.events()
	same(t, *events[0].ChatRow, want)
	w.news.events = events
	w.hears(
		told{chat.ChatCreated, 1, bob.User, bob.User},
		told{chat.ParticipantAdded, 2, ana.User, bob.User},
		told{chat.ParticipantAdded, 3, cem.User, bob.User})
	same(t, cem.roles(id), map[string]chat.Role{"ana": chat.RoleMember, "bob": chat.RoleOwner, "cem": chat.RoleMember})
	seen, err := w.Chat(ctx, cem.Actor, id)
	ok(t, err)
	same(t, []int64{seen.Chat.LastSeq, seen.Participant.JoinedSeq, seen.Unread}, []int64{3, 3, 0})
}

func TestCreateGroupRefuses(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "dis")
	ana, dis := list[0], list[1]
	_, err := w.UpdateUser(ctx, operator, dis.User, chat.UserPatch{Disabled: ptr(true)})
	ok(t, err)
	group := func(change func(*chat.NewChat)) chat.NewChat {
		n := chat.NewChat{Kind: chat.KindGroup, Title: "Port"}
		change(&n)
		return n
	}
	for code, bad := range map[chat.Code][]chat.NewChat{
		chat.CodeInvalidRequest: {
			group(func(n *chat.NewChat) { n.Kind = "" }),
			group(func(n *chat.NewChat) { n.Kind = "channel" }),
			group(func(n *chat.NewChat) { n.Title = " " }),
			group(func(n *chat.NewChat) { n.Topic = "a\x00" }),
			group(func(n *chat.NewChat) { n.History = "some" }),
			group(func(n *chat.NewChat) { n.Peer = dis.User }),
			group(func(n *chat.NewChat) { n.Users = make([]chat.UserID, chat.MaxPage+1) }),
			group(func(n *chat.NewChat) { n.ClientChatID = strings.Repeat("x", chat.MaxClientMsgID+1) }),
			group(func(n *chat.NewChat) { n.ClientChatID = "a\nb" }),
		},
		chat.CodeNotFound: {
			group(func(n *chat.NewChat) { n.Users = ids(dis) }),
			group(func(n *chat.NewChat) { n.Users = []chat.UserID{99} }),
			group(func(n *chat.NewChat) { n.Users = []chat.UserID{ana.User, -1} }),
		},
	} {
		for _, n := range bad {
			_, _, err := w.CreateChat(ctx, ana.Actor, n)
			refused(t, err, code)
		}
	}
	_, _, err = w.CreateChat(ctx, nobody, group(func(*chat.NewChat) {}))
	refused(t, err, chat.CodeUnauthenticated)
	_, _, err = w.CreateChat(ctx, operator, group(func(*chat.NewChat) {}))
	refused(t, err, chat.CodePermissionDenied)
	w.hears()
}

func TestCreateGroupTwice(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob", "cem")
	ana, bob, cem := list[0], list[1], list[2]
	n := chat.NewChat{Kind: chat.KindGroup, Title: "Port", Users: ids(bob, cem), ClientChatID: "draft 1"}
	first, _, err := w.CreateChat(ctx, ana.Actor, n)
	ok(t, err)
	ana.say(first.Chat.ID, "hi")
	_, err = w.UpdateChat(ctx, ana.Actor, first.Chat.ID, chat.ChatPatch{Title: ptr("Harbour")})
	ok(t, err)
	w.events()

	n.Users = ids(cem, bob, cem) // says the same
	again, duplicate, err := w.CreateChat(ctx, ana.Actor, n)
	ok(t, err)
	same(t, []any{again.Chat.ID, again.Chat.Title, again.Chat.LastSeq, duplicate}, []any{first.Chat.ID, "Harbour", int64(5), true})
	for _, other := range []func(*chat.NewChat){
		func(n *chat.NewChat) { n.Title = "Harbour" }, func(n *chat.NewChat) { n.Topic = "t" },
		func(n *chat.NewChat) { n.History = chat.HistoryJoined }, func(n *chat.NewChat) { n.Users = ids(bob) },
	} {
		changed := n
		other(&changed)
		_, _, err = w.CreateChat(ctx, ana.Actor, changed)
		refused(t, err, chat.CodeIdempotencyConflict)
	}
	w.hears()
	theirs, duplicate, err := w.CreateChat(ctx, bob.Actor, chat.NewChat{Kind: chat.KindGroup, Title: "Port", ClientChatID: "draft 1"})
	ok(t, err)
	if duplicate || theirs.Chat.ID == first.Chat.ID {
		t.Error("another's key found the chat")
	}
	ok(t, w.DeleteChat(ctx, ana.Actor, first.Chat.ID))
	_, _, err = w.CreateChat(ctx, ana.Actor, n)
	refused(t, err, chat.CodeNotFound)
}

func TestPrivateChat(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob", "cem")
	ana, bob, cem := list[0], list[1], list[2]
	st, duplicate, err := w.CreateChat(ctx, bob.Actor, chat.NewChat{Kind: chat.KindPrivate, Peer: ana.User})
	ok(t, err)
	id := st.Chat.ID
	same(t, []any{st.Chat.Pair, st.Chat.LastSeq, st.Participant.Role, duplicate},
		[]any{[2]chat.UserID{ana.User, bob.User}, int64(2), chat.RoleMember, false})
	w.hears(told{chat.ChatCreated, 1, bob.User, bob.User}, told{chat.ParticipantAdded, 2, ana.User, bob.User})
	for _, x := range [][2]*person{{ana, bob}, {bob, ana}} {
		st, duplicate, err = w.CreateChat(ctx, x[0].Actor, chat.NewChat{Kind: chat.KindPrivate, Peer: x[1].User})
		ok(t, err)
		same(t, []any{st.Chat.ID, st.Participant.User, duplicate}, []any{id, x[0].User, true})
	}
	same(t, ana.roles(id), map[string]chat.Role{"ana": chat.RoleMember, "bob": chat.RoleMember})

	for code, bad := range map[chat.Code][]chat.NewChat{
		chat.CodeInvalidRequest: {
			{},
			{Peer: ana.User},
			{Peer: bob.User, Title: "x"},
			{Peer: bob.User, Topic: "x"},
			{Peer: bob.User, Users: ids(cem)},
			{Peer: bob.User, History: chat.HistoryAll},
			{Peer: bob.User, ClientChatID: "x"},
		},
		chat.CodeNotFound: {{Peer: 99}, {Peer: -1}},
	} {
		for _, n := range bad {
			n.Kind = chat.KindPrivate
			_, _, err := w.CreateChat(ctx, ana.Actor, n)
			refused(t, err, code)
		}
	}
	// Nothing about it changes.
	_, err = w.UpdateChat(ctx, ana.Actor, id, chat.ChatPatch{Title: ptr("x")})
	refused(t, err, chat.CodePermissionDenied)
	refused(t, w.DeleteChat(ctx, ana.Actor, id), chat.CodePermissionDenied)
	_, err = w.AddParticipants(ctx, ana.Actor, id, ids(cem), "")
	refused(t, err, chat.CodePermissionDenied)
	_, err = w.UpdateParticipant(ctx, ana.Actor, id, bob.User, chat.RoleOwner)
	refused(t, err, chat.CodePermissionDenied)
	for _, who := range []*person{ana, bob} {
		_, err = w.RemoveParticipant(ctx, ana.Actor, id, who.User)
		refused(t, err, chat.CodePermissionDenied)
	}
	w.hears()
	// The chat outlives an account; a new one with it is not made.
	_, err = w.UpdateUser(ctx, operator, bob.User, chat.UserPatch{Disabled: ptr(true)})
	ok(t, err)
	same(t, ana.private(bob), id)
	_, _, err = w.CreateChat(ctx, cem.Actor, chat.NewChat{Kind: chat.KindPrivate, Peer: bob.User})
	refused(t, err, chat.CodeNotFound)
}

func TestUpdateAndDeleteChat(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	id := ana.group("Port", bob)
	w.events()
	st, err := w.UpdateChat(ctx, ana.Actor, id, chat.ChatPatch{Title: ptr("Harbour"), Topic: ptr("ships"), History: ptr(chat.HistoryJoined)})
	ok(t, err)
	same(t, []any{st.Chat.Title, st.Chat.Topic, st.Chat.History, st.Chat.LastSeq, st.Chat.UpdatedSeq},
		[]any{"Harbour", "ships", chat.HistoryJoined, int64(3), int64(3)})
	for _, p := range []chat.ChatPatch{{}, {Title: ptr(" Harbour ")}, {Topic: ptr("ships"), History: ptr(chat.HistoryJoined)}} {
		st, err = w.UpdateChat(ctx, ana.Actor, id, p)
		ok(t, err)
		same(t, st.Chat.LastSeq, int64(3))
	}
	_, err = w.UpdateChat(ctx, ana.Actor, id, chat.ChatPatch{History: ptr(chat.History("some"))})
	refused(t, err, chat.CodeInvalidRequest)
	ok(t, w.DeleteChat(ctx, ana.Actor, id))
	w.hears(told{chat.ChatUpdated, 3, 0, ana.User}, told{chat.ChatDeleted, 4, 0, ana.User})
	refused(t, w.DeleteChat(ctx, ana.Actor, id), chat.CodeNotFound)
}

// Whether a chat is there, somebody who is not in it cannot tell: not by any
// operation, not by what they left there, not by a word of the error.
func TestNoSuchChat(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob", "eve")
	ana, bob, eve := list[0], list[1], list[2]
	private, group, left, deleted := ana.private(bob), ana.group("Port", bob), ana.group("Left", eve), ana.group("Gone", eve)
	_, err := eve.trySend(chat.NewMessage{Chat: left, Content: "hi", ClientMsgID: "k"})
	ok(t, err)
	_, err = w.RemoveParticipant(ctx, eve.Actor, left, eve.User)
	ok(t, err)
	ok(t, w.DeleteChat(ctx, ana.Actor, deleted))

	var first error
	for _, id := range []chat.ChatID{99, -1, 0, private, group, left, deleted} {
		for name, do := range eve.chatOps(id, bob.User, 1) {
			err := do()
			if first == nil {
				first = err
			}
			if !reflect.DeepEqual(err, first) {
				t.Errorf("%s of chat %d: %v; elsewhere %v", name, id, err, first)
			}
		}
	}
	if refused(t, first, chat.CodeNotFound) != "no such chat" {
		t.Error(first)
	}
	for name, do := range eve.chatOps(deleted, bob.User, 1) {
		eve := *eve
		eve.Actor = nobody
		if err := do(); err != first {
			t.Errorf("%s: %v", name, err)
		}
		for name, do := range eve.chatOps(group, bob.User, 1) {
			if chat.CodeOf(do()) != chat.CodeUnauthenticated {
				t.Errorf("%s without a login", name)
			}
		}
	}
}

// chatOps are all operations on a chat, with params that are fine if the rest
// is.
func (p *person) chatOps(id chat.ChatID, user chat.UserID, seq int64) map[string]func() error {
	w := p.w
	return map[string]func() error{
		"chat":         func() error { _, err := w.Chat(ctx, p.Actor, id); return err },
		"update":       func() error { _, err := w.UpdateChat(ctx, p.Actor, id, chat.ChatPatch{Title: ptr("New")}); return err },
		"delete":       func() error { return w.DeleteChat(ctx, p.Actor, id) },
		"participants": func() error { _, _, err := w.Participants(ctx, p.Actor, id, 0, 0); return err },
		"add":          func() error { _, err := w.AddParticipants(ctx, p.Actor, id, []chat.UserID{user}, ""); return err },
		"role":         func() error { _, err := w.UpdateParticipant(ctx, p.Actor, id, user, chat.RoleAdmin); return err },
		"remove":       func() error { _, err := w.RemoveParticipant(ctx, p.Actor, id, user); return err },
		"leave":        func() error { _, err := w.RemoveParticipant(ctx, p.Actor, id, p.User); return err },
		"messages":     func() error { _, err := w.Messages(ctx, p.Actor, id, chat.Anchor{}, 0); return err },
		"message":      func() error { _, err := w.Message(ctx, p.Actor, id, seq); return err },
		"changes":      func() error { _, err := w.Changes(ctx, p.Actor, id, 0, 0); return err },
		"read":         func() error { _, err := w.SetRead(ctx, p.Actor, id, seq); return err },
		"typing":       func() error { return w.Typing(ctx, p.Actor, id, false) },
		"send":         func() error { _, err := p.trySend(chat.NewMessage{Chat: id, Content: "hi"}); return err },
		"send again": func() error {
			_, err := p.trySend(chat.NewMessage{Chat: id, Content: "hi", ClientMsgID: "k"})
			return err
		},
		"edit":  func() error { _, err := p.edit(chat.MessageEdit{Chat: id, Seq: seq, Content: "hm"}); return err },
		"erase": func() error { _, err := p.erase(id, seq); return err },
	}
}

// The table of rights in a group (docs/protocol.md#rights), played: every
// operation by every role, and by every role on every role.
func TestGroupRights(t *testing.T) {
	const owner, admin, member = 1, 2, 4
	roles := map[int]chat.Role{owner: chat.RoleOwner, admin: chat.RoleAdmin, member: chat.RoleMember}
	type play struct {
		by int // which roles may
		do func(id chat.ChatID, me, other *person, said int64) error
	}
	w := newWorld(t)
	boss, spare := w.people("boss")[0], w.people("spare")[0]
	add := func(role chat.Role) func(id chat.ChatID, me, _ *person, _ int64) error {
		return func(id chat.ChatID, me, _ *person, _ int64) error {
			_, err := w.AddParticipants(ctx, me.Actor, id, ids(spare), role)
			return err
		}
	}
	patch := func(p chat.ChatPatch) func(id chat.ChatID, me, _ *person, _ int64) error {
		return func(id chat.ChatID, me, _ *person, _ int64) error {
			_, err := w.UpdateChat(ctx, me.Actor, id, p)
			return err
		}
	}
	plays := map[string]play{
		"title":      {owner | admin, patch(chat.ChatPatch{Title: ptr("New")})},
		"topic":      {owner | admin, patch(chat.ChatPatch{Topic: ptr("New")})},
		"history":    {owner | admin, patch(chat.ChatPatch{History: ptr(chat.HistoryJoined)})},
		"delete":     {owner, func(id chat.ChatID, me, _ *person, _ int64) error { return w.DeleteChat(ctx, me.Actor, id) }},
		"add member": {owner | admin, add("")},
		"add admin":  {owner, add(chat.RoleAdmin)},
		"add owner":  {owner, add(chat.RoleOwner)},
		"leave": {owner | admin | member, func(id chat.ChatID, me, _ *person, _ int64) error {
			_, err := w.RemoveParticipant(ctx, me.Actor, id, me.User)
			return err
		}},
		"send": {owner | admin | member, func(id chat.ChatID, me, _ *person, said int64) error {
			_, err := me.trySend(chat.NewMessage{Chat: id, Content: "hi", ReplyTo: said, MentionAll: true})
			return err
		}},
		"read": {owner | admin | member, func(id chat.ChatID, me, _ *person, said int64) error {
			_, err := w.SetRead(ctx, me.Actor, id, said)
			return err
		}},
		"type": {owner | admin | member, func(id chat.ChatID, me, _ *person, _ int64) error { return w.Typing(ctx, me.Actor, id, false) }},
		"edit one's own": {owner | admin | member, func(id chat.ChatID, me, _ *person, _ int64) error {
			_, err := me.edit(chat.MessageEdit{Chat: id, Seq: me.say(id, "mine"), Content: "mine!"})
			return err
		}},
		"delete one's own": {owner | admin | member, func(id chat.ChatID, me, _ *person, _ int64) error {
			_, err := me.erase(id, me.say(id, "mine"))
			return err
		}},
		"edit another's": {0, func(id chat.ChatID, me, _ *person, said int64) error {
			_, err := me.edit(chat.MessageEdit{Chat: id, Seq: said, Content: "yours"})
			return err
		}},
	}
	for _, role := range roles {
		who := owner
		if role == chat.RoleMember {
			who = owner | admin
		}
		plays["remove "+string(role)] = play{who, func(id chat.ChatID, me, other *person, _ int64) error {
			_, err := w.RemoveParticipant(ctx, me.Actor, id, other.User)
			return err
		}}
		plays["delete a message of "+string(role)] = play{owner | admin, func(id chat.ChatID, me, _ *person, said int64) error {
			_, err := me.erase(id, said)
			return err
		}}
		for _, to := range roles {
			if to != role {
				plays[fmt.Sprintf("make %s %s", role, to)] = play{owner, func(id chat.ChatID, me, other *person, _ int64) error {
					_, err := w.UpdateParticipant(ctx, me.Actor, id, other.User, to)
					return err
				}}
			}
		}
	}
	n := 0
	for name, p := range plays {
		otherRole := chat.RoleMember
		for _, role := range roles {
			if strings.HasPrefix(name, "remove "+string(role)) || strings.HasPrefix(name, "make "+string(role)) || strings.HasSuffix(name, "of "+string(role)) {
				otherRole = role
			}
		}
		for bit, role := range roles {
			n++
			two := w.people(fmt.Sprintf("me%d", n), fmt.Sprintf("other%d", n))
			me, other := two[0], two[1]
			id := boss.group("Port")
			boss.add(id, role, me)
			boss.add(id, otherRole, other)
			said := other.say(id, "theirs")
			before := boss.at(id)
			err := p.do(id, me, other, said)
			if p.by&bit != 0 {
				if err != nil {
					t.Errorf("%s by %s: %v", name, role, err)
				}
				continue
			}
			if chat.CodeOf(err) != chat.CodePermissionDenied || err == nil {
				t.Errorf("%s by %s: %v", name, role, err)
			}
			if at := boss.at(id); at != before {
				t.Errorf("%s by %s was refused and took %d numbers", name, role, at-before)
			}
		}
	}
}

// at is the chat's position.
func (p *person) at(id chat.ChatID) int64 {
	p.w.t.Helper()
	st, err := p.w.Chat(ctx, p.Actor, id)
	ok(p.w.t, err)
	return st.Chat.LastSeq
}
