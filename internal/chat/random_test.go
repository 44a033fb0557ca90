package chat_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/storetest"
)

// Random people do random things, well and badly. What must hold whatever they
// do: nobody gets an error that is not theirs; each chat's events come without
// holes, and applying them gives the rows that are stored; a client that syncs
// now and then, a page at a time, ends with what a full read gives; and the log
// is sound (see world's end).
//
// The store runs some updates twice and fails others; then nothing of them is
// there.
func TestRandomPeople(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { randomPeople(t, rt) })
}

func randomPeople(t *testing.T, rt *rapid.T) {
	w, store := newFaultyWorld(t)
	w.t, w.news.t = rapidTB{t, rt}, rapidTB{t, rt}
	people := w.people("ana", "bob", "cem")
	clients := make([]*client, len(people))
	for i, p := range people {
		p.w = w
		clients[i] = &client{p: p, chats: map[chat.ChatID]*replica{}}
	}
	who := func() *person { return rapid.SampledFrom(people).Draw(rt, "who") }
	whom := func() chat.UserID { return rapid.SampledFrom(people).Draw(rt, "whom").User }
	some := func() []chat.UserID { return rapid.SliceOfN(rapid.SampledFrom(ids(people...)), 0, 3).Draw(rt, "some") }
	which := func() chat.ChatID { return chat.ChatID(rapid.IntRange(1, 4).Draw(rt, "chat")) }
	seq := func() int64 { return rapid.Int64Range(-1, 25).Draw(rt, "seq") }
	role := func() chat.Role {
		return rapid.SampledFrom([]chat.Role{chat.RoleMember, chat.RoleAdmin, chat.RoleOwner}).Draw(rt, "role")
	}
	history := func() chat.History {
		return rapid.SampledFrom([]chat.History{chat.HistoryAll, chat.HistoryJoined}).Draw(rt, "history")
	}
	word := func() string { return rapid.SampledFrom([]string{"hi", "hm", "ho", ""}).Draw(rt, "word") }
	key := func() string { return rapid.SampledFrom([]string{"", "", "k1", "k2"}).Draw(rt, "key") }
	theirs := func(err error) {
		switch chat.CodeOf(err) {
		case chat.CodeInternal, chat.CodeUnavailable, chat.CodeTimeout:
			if err != nil && !errors.Is(err, storetest.ErrFault) {
				rt.Fatalf("not a user's error: %v", err)
			}
		}
	}
	rt.Repeat(map[string]func(*rapid.T){
		"group": func(*rapid.T) {
			_, _, err := w.CreateChat(ctx, who().Actor, chat.NewChat{
				Kind: chat.KindGroup, Title: word(), History: history(), Users: some(), ClientChatID: key(),
			})
			theirs(err)
		},
		"private": func(*rapid.T) {
			_, _, err := w.CreateChat(ctx, who().Actor, chat.NewChat{Kind: chat.KindPrivate, Peer: whom()})
			theirs(err)
		},
		"update": func(*rapid.T) {
			_, err := w.UpdateChat(ctx, who().Actor, which(), chat.ChatPatch{Topic: ptr(word()), History: ptr(history())})
			theirs(err)
		},
		"delete chat": func(rt *rapid.T) {
			if rapid.IntRange(0, 4).Draw(rt, "really") == 0 {
				theirs(w.DeleteChat(ctx, who().Actor, which()))
			}
		},
		"add":    func(*rapid.T) { _, err := w.AddParticipants(ctx, who().Actor, which(), some(), role()); theirs(err) },
		"role":   func(*rapid.T) { _, err := w.UpdateParticipant(ctx, who().Actor, which(), whom(), role()); theirs(err) },
		"remove": func(*rapid.T) { _, err := w.RemoveParticipant(ctx, who().Actor, which(), whom()); theirs(err) },
		"send": func(rt *rapid.T) {
			p := who()
			for range rapid.IntRange(1, 3).Draw(rt, "times") {
				_, err := p.trySend(chat.NewMessage{
					Chat: which(), Content: word(), ClientMsgID: key(), Mentions: some(), MentionAll: rapid.Bool().Draw(rt, "all"),
				})
				theirs(err)
			}
		},
		"reply": func(*rapid.T) {
			_, err := who().trySend(chat.NewMessage{Chat: which(), Content: word(), ReplyTo: seq()})
			theirs(err)
		},
		"edit": func(*rapid.T) {
			_, err := who().edit(chat.MessageEdit{Chat: which(), Seq: seq(), Content: word(), Mentions: ptr(some())})
			theirs(err)
		},
		"erase": func(*rapid.T) { _, err := who().erase(which(), seq()); theirs(err) },
		"read":  func(*rapid.T) { _, err := w.SetRead(ctx, who().Actor, which(), seq()); theirs(err) },
		"fault": func(rt *rapid.T) {
			const fine, twice, not = storetest.NoFault, storetest.RunTwice, storetest.NotWritten
			store.Always(rapid.SampledFrom([]storetest.Fault{fine, fine, twice, twice, not}).Draw(rt, "fault"))
		},
		"sync": func(rt *rapid.T) {
			c := rapid.SampledFrom(clients).Draw(rt, "client")
			c.syncPage(rapid.IntRange(1, 2).Draw(rt, "limit"))
		},
		"open": func(rt *rapid.T) {
			c := rapid.SampledFrom(clients).Draw(rt, "client")
			if r := c.chats[which()]; r != nil {
				c.catchUp(r, rapid.IntRange(1, 3).Draw(rt, "limit"))
			}
		},
	})

	store.Always(storetest.NoFault)
	events := w.events()
	for _, c := range clients {
		for c.syncPage(2) {
		}
		c.checkAll(rapid.IntRange(1, 3).Draw(rt, "limit"))
	}
	checkEvents(rt, w, events)
}

// rapidTB sends failures to rapid, which then looks for the least that fails.
type rapidTB struct {
	testing.TB
	rt *rapid.T
}

func (t rapidTB) Errorf(format string, args ...any) { t.rt.Errorf(format, args...) }
func (t rapidTB) Fatalf(format string, args ...any) { t.rt.Fatalf(format, args...) }
func (t rapidTB) Fatal(args ...any)                 { t.rt.Fatal(args...) }

// replica is what a client holds of a chat.
type replica struct {
	id       chat.ChatID
	joined   int64
	history  chat.History
	pos      int64
	row      chat.Chat
	messages map[int64]chat.Message
	people   map[chat.UserID]chat.Participant
}

func newReplica(st chat.ChatState) *replica {
	return &replica{
		id: st.Chat.ID, joined: st.Participant.JoinedSeq, history: st.Chat.History,
		messages: map[int64]chat.Message{}, people: map[chat.UserID]chat.Participant{},
	}
}

func (r *replica) apply(messages []chat.Message, people []chat.Participant, row *chat.Chat) {
	for _, m := range messages {
		if m.UpdatedSeq >= r.messages[m.Seq].UpdatedSeq {
			r.messages[m.Seq] = m
		}
	}
	for _, p := range people {
		if p.UpdatedSeq >= r.people[p.User].UpdatedSeq {
			r.people[p.User] = p
		}
	}
	if row != nil && row.UpdatedSeq >= r.row.UpdatedSeq {
		r.row = *row
	}
}

// client is somebody's device as docs/protocol.md#resume wants it, without live
// events.
type client struct {
	p      *person
	cursor chat.SyncPos
	chats  map[chat.ChatID]*replica
}

func (c *client) syncPage(limit int) (more bool) {
	page, err := c.p.w.Sync(ctx, c.p.Actor, c.cursor, limit, 0)
	ok(c.p.w.t, err)
	for _, st := range page.Chats {
		r := c.chats[st.Chat.ID]
		switch {
		case !st.Participant.In() || !st.Chat.DeletedAt.IsZero():
			delete(c.chats, st.Chat.ID)
		case r == nil || r.joined != st.Participant.JoinedSeq || r.history != st.Chat.History:
			// A new membership, or another view of the past, begins anew.
			c.chats[st.Chat.ID] = newReplica(st)
		}
	}
	c.cursor = page.Next
	return page.More
}

// catchUp reads what changed. A chat that ended since the last sync is not
// found; the next sync says so.
func (c *client) catchUp(r *replica, limit int) {
	for {
		page, err := c.p.w.Changes(ctx, c.p.Actor, r.id, r.pos, limit)
		if err != nil {
			refused(c.p.w.t, err, chat.CodeNotFound)
			return
		}
		r.apply(page.Messages, page.Participants, page.Chat)
		r.pos = page.Next
		if !page.More {
			return
		}
	}
}

// checkAll compares what the client ends with, once it has caught up, with what
// it would read if it began now.
func (c *client) checkAll(limit int) {
	t, w := c.p.w.t, c.p.w
	t.Helper()
	memberships, _, err := chat.NewLog(w.store).Memberships(ctx, c.p.User)
	ok(t, err)
	in := 0
	for _, m := range memberships {
		st, err := w.Chat(ctx, c.p.Actor, m.Chat)
		if err != nil {
			refused(t, err, chat.CodeNotFound) // deleted
			continue
		}
		in++
		r := c.chats[m.Chat]
		if r == nil {
			t.Fatalf("%s does not know of chat %d", c.p.name, m.Chat)
		}
		c.catchUp(r, limit)
		same(t, r.pos, st.Chat.LastSeq)
		same(t, r.row, st.Chat, cmpopts.IgnoreFields(chat.Chat{}, "LastSeq", "Stamp"))

		var messages []chat.Message
		for before, more := st.Chat.LastSeq+1, true; more; {
			page, err := w.Messages(ctx, c.p.Actor, m.Chat, chat.Anchor{Before: &before}, limit)
			ok(t, err)
			messages = append(page.Messages, messages...)
			if more = page.HasMoreBefore; more {
				before = messages[0].Seq
			}
		}
		same(t, sortedRows(r.messages, func(m chat.Message) int64 { return m.Seq }), messages, cmpopts.EquateEmpty())

		var people []chat.Participant
		for after, more := chat.UserID(0), true; more; {
			var page []chat.Member
			page, more, err = w.Participants(ctx, c.p.Actor, m.Chat, after, limit)
			ok(t, err)
			for _, p := range page {
				people, after = append(people, p.Participant), p.User
			}
		}
		held := slices.DeleteFunc(sortedRows(r.people, func(p chat.Participant) int64 { return int64(p.User) }),
			func(p chat.Participant) bool { return !p.In() })
		same(t, held, people, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(chat.Participant{}, "ReadSeq", "Stamp"))
	}
	if in != len(c.chats) {
		t.Fatalf("%s is in %d chats and holds %d", c.p.name, in, len(c.chats))
	}
}

func sortedRows[K comparable, V any](rows map[K]V, key func(V) int64) []V {
	list := make([]V, 0, len(rows))
	for _, v := range rows {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b V) int { return int(key(a) - key(b)) })
	return list
}

// checkEvents applies all events and compares with what is stored.
func checkEvents(rt *rapid.T, w *world, events []chat.Event) {
	chats := map[chat.ChatID]*replica{}
	for _, e := range events {
		r := chats[e.Chat]
		if r == nil {
			r = newReplica(chat.ChatState{Chat: chat.Chat{ID: e.Chat}})
			chats[e.Chat] = r
		}
		rows := 0
		if e.Message != nil {
			rows++
			r.messages[e.Message.Seq] = *e.Message
		}
		if e.Participant != nil {
			rows++
			r.people[e.Participant.User] = *e.Participant
		}
		if e.ChatRow != nil {
			rows++
			r.row = *e.ChatRow
		}
		if (e.Kind == chat.ChatCreated) != (rows == 2) || rows == 0 {
			rt.Fatalf("%s brings %d rows", e.Kind, rows)
		}
		r.pos = e.Seq
	}
	err := w.store.View(ctx, func(rd chat.Reader) error {
		for id, r := range chats {
			c, err := rd.Chat(id)
			if err != nil {
				return err
			}
			same(w.t, r.row, c, cmpopts.IgnoreFields(chat.Chat{}, "LastSeq", "Stamp"))
			same(w.t, r.pos, c.LastSeq)
			messages, people, err := rd.Changes(id, 0, math.MaxInt64, 0, 1000)
			if err != nil {
				return err
			}
			stored := newReplica(chat.ChatState{})
			stored.apply(messages, people, nil)
			same(w.t, r.messages, stored.messages, cmpopts.EquateEmpty())
			same(w.t, r.people, stored.people, cmpopts.IgnoreFields(chat.Participant{}, "ReadSeq", "Stamp"))
		}
		return nil
	})
	ok(w.t, err)
}
