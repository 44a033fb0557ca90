package chat_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

func TestSend(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob", "cem")
	ana, bob, cem := list[0], list[1], list[2]
	id := ana.group("Port", bob)
	w.events()
	first := ana.say(id, "one")
	r, err := bob.trySend(chat.NewMessage{
		Chat: id, Content: " two\r\n\t", ReplyTo: first, Mentions: []chat.UserID{bob.User, ana.User, bob.User}, MentionAll: true,
	})
	ok(t, err)
	want := chat.Message{
		Chat: id, Seq: 4, UpdatedSeq: 4, Sender: bob.User, Content: " two\r\n\t", ReplyTo: first,
		Mentions: ids(bob, ana), MentionAll: true, CreatedAt: w.clock.Now(),
	}
	same(t, r, chat.SendResult{Seq: 4, CreatedAt: want.CreatedAt})
	m, err := w.Message(ctx, ana.Actor, id, 4)
	ok(t, err)
	same(t, m, want)
	events := w.events()
	same(t, events[1], chat.Event{Kind: chat.MessageCreated, Chat: id, Seq: 4, PrevSeq: 3, History: chat.HistoryAll, Message: &want})

	for name, bad := range map[string]chat.NewMessage{
		"empty":               {},
		"not UTF-8":           {Content: "a\xff"},
		"NUL":                 {Content: "a\x00"},
		"reply to nothing":    {Content: "x", ReplyTo: 99},
		"reply to no message": {Content: "x", ReplyTo: 1},
		"reply below zero":    {Content: "x", ReplyTo: -1},
		"a stranger":          {Content: "x", Mentions: ids(bob, cem)},
		"nobody":              {Content: "x", Mentions: []chat.UserID{99}},
		"many":                {Content: "x", Mentions: make([]chat.UserID, chat.MaxMentions+1)},
		"a long key":          {Content: "x", ClientMsgID: strings.Repeat("k", chat.MaxClientMsgID+1)},
		"a key of controls":   {Content: "x", ClientMsgID: "a\tb"},
		"a key not in UTF-8":  {Content: "x", ClientMsgID: "\xff"},
	} {
		bad.Chat = id
		_, err := ana.trySend(bad)
		if chat.CodeOf(err) != chat.CodeInvalidRequest || err == nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "a stranger" && !strings.Contains(err.Error(), "cem") {
			t.Errorf("%v does not say who", err)
		}
	}
	_, err = ana.trySend(chat.NewMessage{Chat: id, Content: strings.Repeat("x", chat.MaxContent+1)})
	refused(t, err, chat.CodeContentTooLarge)
	same(t, ana.at(id), int64(4)) // no number was used
	_, err = ana.trySend(chat.NewMessage{Chat: id, Content: strings.Repeat("é", chat.MaxContent/2), ClientMsgID: strings.Repeat("k", chat.MaxClientMsgID)})
	ok(t, err)
	_, err = bob.erase(id, 4)
	ok(t, err)
	_, err = ana.trySend(chat.NewMessage{Chat: id, Content: "what was it?", ReplyTo: 4}) // deleted, and still a message
	ok(t, err)
}

// The answer comes before the event: whoever sends knows what they said before
// they hear it.
func TestAnswerBeforeEvent(t *testing.T) {
	w := newWorld(t)
	ana := w.people("ana")[0]
	id := ana.group("Port")
	answered := make(chan int, 3)
	count := func() int { // how many events there were when an answer came
		w.news.mu.Lock()
		defer w.news.mu.Unlock()
		return len(w.news.events)
	}
	w.Send(ana.Actor, chat.NewMessage{Chat: id, Content: "one"}, nil, func(chat.SendResult, error) { answered <- count() })
	w.Edit(ana.Actor, chat.MessageEdit{Chat: id, Seq: 2, Content: "two"}, nil, func(int64, error) { answered <- count() })
	w.Delete(ana.Actor, id, 2, nil, func(int64, error) { answered <- count() })
	w.settle()
	same(t, []int{<-answered, <-answered, <-answered}, []int{1, 2, 3})
	w.hears(told{chat.ChatCreated, 1, ana.User, ana.User}, told{chat.MessageCreated, 2, 0, 0}, told{chat.MessageUpdated, 3, 0, 0}, told{chat.MessageDeleted, 4, 0, 0})
}

func TestSendTwice(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob", "cem")
	ana, bob, cem := list[0], list[1], list[2]
	id, other := ana.group("Port", bob, cem), ana.group("Harbour", bob, cem)
	said := ana.say(id, "one")
	m := chat.NewMessage{Chat: id, Content: "two", ClientMsgID: "k", ReplyTo: said, Mentions: ids(bob, cem), MentionAll: true}
	first, err := ana.trySend(m)
	ok(t, err)
	w.events()

	for name, change := range map[string]func(*chat.NewMessage){
		"chat":        func(m *chat.NewMessage) { m.Chat = other; m.ReplyTo = 0 },
		"content":     func(m *chat.NewMessage) { m.Content = "two!" },
		"reply":       func(m *chat.NewMessage) { m.ReplyTo = 0 },
		"mentions":    func(m *chat.NewMessage) { m.Mentions = ids(bob) },
		"mention all": func(m *chat.NewMessage) { m.MentionAll = false },
	} {
		n := m
		change(&n)
		_, err := ana.trySend(n)
		if chat.CodeOf(err) != chat.CodeIdempotencyConflict {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if _, err := bob.trySend(m); err != nil {
		t.Errorf("another's key: %v", err)
	}
	w.hears(told{chat.MessageCreated, 6, 0, 0})

	// Whatever happened since, the first result stands.
	w.clock.pass(1e18)
	_, err = w.RemoveParticipant(ctx, ana.Actor, id, bob.User)
	ok(t, err)
	_, err = ana.erase(id, first.Seq)
	ok(t, err)
	_, err = ana.erase(id, said)
	ok(t, err)
	first.Duplicate = true
	for range 2 {
		again, err := ana.trySend(m)
		ok(t, err)
		same(t, again, first)
	}
	// Whoever is out does not even hear of their own key.
	_, err = bob.trySend(m)
	refused(t, err, chat.CodeNotFound)

	// What was refused used no key up.
	m = chat.NewMessage{Chat: id, Content: "x", ClientMsgID: "new", Mentions: ids(bob)}
	_, err = ana.trySend(m)
	refused(t, err, chat.CodeInvalidRequest)
	m.Mentions = nil
	r, err := ana.trySend(m)
	ok(t, err)
	same(t, r.Duplicate, false)
}

// Eight impatient devices send one message; it is there once.
func TestConcurrentRetries(t *testing.T) {
	w := newWorld(t)
	ana := w.people("ana")[0]
	id := ana.group("Port")
	for round := range 20 {
		m := chat.NewMessage{Chat: id, Content: fmt.Sprint(round), ClientMsgID: fmt.Sprint(round)}
		results := make([]chat.SendResult, 8)
		var all sync.WaitGroup
		for i := range results {
			all.Go(func() {
				var err error
				if results[i], err = ana.trySend(m); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		fresh := 0
		for _, r := range results {
			if !r.Duplicate {
				fresh++
			}
			if r.Seq != results[0].Seq {
				t.Errorf("it stands at %d and at %d", r.Seq, results[0].Seq)
			}
		}
		if fresh != 1 {
			t.Errorf("%d first results", fresh)
		}
	}
	same(t, ana.at(id), int64(21))
}

func TestEdit(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob", "cem")
	ana, bob, cem := list[0], list[1], list[2]
	id := ana.group("Port", bob, cem)
	r, err := bob.trySend(chat.NewMessage{Chat: id, Content: "one", ReplyTo: 0, Mentions: ids(cem), MentionAll: true})
	ok(t, err)
	seq, born := r.Seq, w.clock.Now()
	_, err = w.RemoveParticipant(ctx, ana.Actor, id, cem.User)
	ok(t, err)
	w.events()
	w.clock.pass(1e9)

	edit := func(e chat.MessageEdit) int64 {
		t.Helper()
		e.Chat, e.Seq = id, seq
		at, err := bob.edit(e)
		ok(t, err)
		return at
	}
	same(t, edit(chat.MessageEdit{Content: "one"}), seq)
	same(t, edit(chat.MessageEdit{Content: "one", Mentions: ptr(ids(cem)), MentionAll: ptr(true)}), seq)
	w.hears()
	same(t, edit(chat.MessageEdit{Content: "two"}), int64(6))
	m, err := w.Message(ctx, ana.Actor, id, seq)
	ok(t, err)
	want := chat.Message{
		Chat: id, Seq: seq, UpdatedSeq: 6, Sender: bob.User, Content: "two", Mentions: ids(cem), MentionAll: true,
		CreatedAt: born, EditedAt: w.clock.Now(),
	}
	same(t, m, want)
	// cem is out; the old mention may stay, a new one may not be made.
	same(t, edit(chat.MessageEdit{Content: "two", Mentions: ptr(ids(cem, ana))}), int64(7))
	same(t, edit(chat.MessageEdit{Content: "two", Mentions: ptr(ids()), MentionAll: ptr(false)}), int64(8))
	_, err = bob.edit(chat.MessageEdit{Chat: id, Seq: seq, Content: "two", Mentions: ptr(ids(cem))})
	refused(t, err, chat.CodeInvalidRequest)
	w.hears(told{chat.MessageUpdated, 6, 0, 0}, told{chat.MessageUpdated, 7, 0, 0}, told{chat.MessageUpdated, 8, 0, 0})

	_, err = bob.edit(chat.MessageEdit{Chat: id, Seq: seq, Content: ""})
	refused(t, err, chat.CodeInvalidRequest)
	_, err = bob.edit(chat.MessageEdit{Chat: id, Seq: seq, Content: strings.Repeat("x", chat.MaxContent+1)})
	refused(t, err, chat.CodeContentTooLarge)
	_, err = ana.edit(chat.MessageEdit{Chat: id, Seq: seq, Content: "mine"})
	refused(t, err, chat.CodePermissionDenied)
	for _, none := range []int64{-1, 0, 1, 6, 99} {
		_, err = bob.edit(chat.MessageEdit{Chat: id, Seq: none, Content: "x"})
		same(t, refused(t, err, chat.CodeNotFound), "no such message")
		_, err = bob.erase(id, none)
		refused(t, err, chat.CodeNotFound)
		_, err = w.Message(ctx, bob.Actor, id, none)
		refused(t, err, chat.CodeNotFound)
	}
	_, err = bob.erase(id, seq)
	ok(t, err)
	_, err = bob.edit(chat.MessageEdit{Chat: id, Seq: seq, Content: "x"})
	refused(t, err, chat.CodeConflict)
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	id := ana.group("Port", bob)
	r, err := bob.trySend(chat.NewMessage{Chat: id, Content: "oops", Mentions: ids(ana), MentionAll: true})
	ok(t, err)
	mine := bob.say(id, "mine")
	w.events()
	for range 2 {
		at, err := ana.erase(id, r.Seq)
		ok(t, err)
		same(t, at, int64(5))
	}
	at, err := bob.erase(id, r.Seq) // its sender comes too late
	ok(t, err)
	same(t, at, int64(5))
	_, err = bob.erase(id, mine)
	ok(t, err)
	m, err := w.Message(ctx, bob.Actor, id, r.Seq)
	ok(t, err)
	same(t, m, chat.Message{Chat: id, Seq: r.Seq, UpdatedSeq: 5, Sender: bob.User, CreatedAt: r.CreatedAt, DeletedAt: w.clock.Now()})
	w.hears(told{chat.MessageDeleted, 5, 0, ana.User}, told{chat.MessageDeleted, 6, 0, 0})

	// In a private chat each has their own words only.
	two := ana.private(bob)
	_, err = ana.erase(two, bob.say(two, "hi"))
	refused(t, err, chat.CodePermissionDenied)
}

// Every page of every size, beside what a list in memory gives.
func TestPages(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	id := ana.group("Port")
	for i := range 12 {
		ana.say(id, fmt.Sprint(i))
		if i == 5 {
			_, err := w.UpdateChat(ctx, ana.Actor, id, chat.ChatPatch{Title: ptr("Harbour"), History: ptr(chat.HistoryJoined)})
			ok(t, err)
			ana.add(id, "", bob)
		}
		if i%4 == 3 { // numbers that are no messages
			_, err := ana.edit(chat.MessageEdit{Chat: id, Seq: ana.at(id), Content: "edited"})
			ok(t, err)
		}
	}
	last := ana.at(id)
	whole := map[*person][]int64{}
	for _, p := range list {
		page, err := w.Messages(ctx, p.Actor, id, chat.Anchor{}, chat.MaxPage)
		ok(t, err)
		same(t, []any{page.HasMoreBefore, page.HasMoreAfter, page.LastSeq}, []any{false, false, last})
		whole[p] = seqs(page.Messages)
	}
	same(t, []int{len(whole[ana]), len(whole[bob])}, []int{12, 6})

	type page struct {
		Seqs          []int64
		Before, After bool
	}
	of := func(all []int64, from, to int) page {
		return page{slices.Clone(all[from:to]), from > 0, to < len(all)}
	}
	for _, p := range list {
		all := whole[p]
		for limit := 1; limit <= len(all)+1; limit++ {
			check := func(at chat.Anchor, want page) {
				t.Helper()
				got, err := w.Messages(ctx, p.Actor, id, at, limit)
				ok(t, err)
				if len(want.Seqs) == 0 {
					want.Seqs = []int64{}
				}
				same(t, page{seqs(got.Messages), got.HasMoreBefore, got.HasMoreAfter}, want)
			}
			check(chat.Anchor{}, of(all, max(0, len(all)-limit), len(all)))
			for _, seq := range append([]int64{1 << 60}, numbers(0, last+3)...) {
				below, _ := slices.BinarySearch(all, seq)
				above, _ := slices.BinarySearch(all, seq+1)
				check(chat.Anchor{Before: &seq}, of(all, max(0, below-limit), below))
				check(chat.Anchor{After: &seq}, of(all, above, min(len(all), above+limit)))
				from := max(0, below-limit/2)
				to := min(len(all), from+limit)
				check(chat.Anchor{Around: &seq}, of(all, max(0, to-limit), to))
			}
		}
	}
	for _, bad := range []chat.Anchor{
		{Before: ptr(int64(-1))},
		{After: ptr(int64(-1))},
		{Around: ptr(int64(-1))},
		{Before: ptr(int64(1)), After: ptr(int64(1))},
		{After: ptr(int64(1)), Around: ptr(int64(1))},
	} {
		_, err := w.Messages(ctx, ana.Actor, id, bad, 0)
		refused(t, err, chat.CodeInvalidRequest)
	}
	for _, limit := range []int{-1, chat.MaxPage + 1} {
		_, err := w.Messages(ctx, ana.Actor, id, chat.Anchor{}, limit)
		refused(t, err, chat.CodeInvalidRequest)
	}
}

func numbers(from, to int64) []int64 {
	var list []int64
	for n := from; n <= to; n++ {
		list = append(list, n)
	}
	return list
}

// In a chat that shows newcomers nothing old, what is old is not there for
// them, by whichever way they ask.
func TestHistoryFromJoiningOn(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	st, _, err := w.CreateChat(ctx, ana.Actor, chat.NewChat{Kind: chat.KindGroup, Title: "Port", History: chat.HistoryJoined})
	ok(t, err)
	id := st.Chat.ID
	r, err := ana.trySend(chat.NewMessage{Chat: id, Content: "secret", MentionAll: true})
	ok(t, err)
	old := r.Seq
	ana.add(id, chat.RoleAdmin, bob)
	hidden := func(old int64) {
		t.Helper()
		_, err := w.Message(ctx, bob.Actor, id, old)
		refused(t, err, chat.CodeNotFound)
		_, err = bob.erase(id, old)
		refused(t, err, chat.CodeNotFound)
		_, err = bob.edit(chat.MessageEdit{Chat: id, Seq: old, Content: "x"})
		refused(t, err, chat.CodeNotFound)
		_, err = bob.trySend(chat.NewMessage{Chat: id, Content: "x", ReplyTo: old})
		refused(t, err, chat.CodeInvalidRequest)
		changes, err := w.Changes(ctx, bob.Actor, id, 0, 0)
		ok(t, err)
		page, err := w.Sync(ctx, bob.Actor, chat.SyncPos{}, 0, chat.MaxTimeline)
		ok(t, err)
		for _, m := range append(changes.Messages, page.Chats[0].Messages...) {
			if m.Seq == old {
				t.Errorf("%q is seen", m.Content)
			}
		}
		same(t, changes.Next, ana.at(id))
	}
	hidden(old)
	_, err = ana.edit(chat.MessageEdit{Chat: id, Seq: old, Content: "secret!"})
	ok(t, err)
	hidden(old)
	same(t, bob.reads(id), []string(nil))
	mine := bob.say(id, "hello")
	same(t, bob.reads(id), []string{"hello"})
	st, err = w.Chat(ctx, bob.Actor, id)
	ok(t, err)
	same(t, []int64{st.Unread, st.Mentions}, []int64{0, 0})

	// Who comes back begins anew; their own words are gone for them too.
	_, err = w.RemoveParticipant(ctx, ana.Actor, id, bob.User)
	ok(t, err)
	between := ana.say(id, "between")
	ana.add(id, "", bob)
	hidden(mine)
	hidden(between)
	_, err = w.UpdateChat(ctx, ana.Actor, id, chat.ChatPatch{History: ptr(chat.HistoryAll)})
	ok(t, err)
	same(t, bob.reads(id), []string{"secret!", "hello", "between"})
}

func TestReadMarks(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	id := ana.group("Port", bob)
	for i := range 3 {
		_, err := ana.trySend(chat.NewMessage{Chat: id, Content: fmt.Sprint(i), MentionAll: i == 1, Mentions: ids(bob)[:i%2]})
		ok(t, err)
	}
	bob.say(id, "mine")
	counts := func(p *person) []int64 {
		t.Helper()
		st, err := w.Chat(ctx, p.Actor, id)
		ok(t, err)
		return []int64{st.Participant.ReadSeq, st.Unread, st.Mentions}
	}
	set := func(seq, want int64) {
		t.Helper()
		got, err := w.SetRead(ctx, bob.Actor, id, seq)
		ok(t, err)
		same(t, got, want)
	}
	same(t, [][]int64{counts(ana), counts(bob)}, [][]int64{{0, 1, 0}, {0, 3, 1}})
	set(0, 0)
	set(3, 3)
	same(t, counts(bob), []int64{3, 2, 1})
	set(1, 3)
	set(3, 3)
	set(6, 6)
	same(t, counts(bob), []int64{6, 0, 0})
	for _, beyond := range []int64{-1, 7, 1 << 60} {
		_, err := w.SetRead(ctx, bob.Actor, id, beyond)
		refused(t, err, chat.CodeInvalidRequest)
	}
	same(t, ana.at(id), int64(6)) // a mark takes no number
	same(t, w.news.reads, []chat.Participant{{Chat: id, User: bob.User, ReadSeq: 3}, {Chat: id, User: bob.User, ReadSeq: 6}})
	_, err := ana.erase(id, 3)
	ok(t, err)
	ana.say(id, "more")
	same(t, [][]int64{counts(ana), counts(bob)}, [][]int64{{0, 1, 0}, {6, 1, 0}})

	ok(t, w.Typing(ctx, bob.Actor, id, false))
	same(t, w.news.typing, ids(bob))
}

func TestUnreadStopsCounting(t *testing.T) {
	w := newWorld(t)
	w.large = true
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	id := ana.private(bob)
	var last sync.WaitGroup
	for i := range chat.UnreadCap + 5 {
		last.Add(1)
		w.Send(ana.Actor, chat.NewMessage{Chat: id, Content: fmt.Sprint(i), MentionAll: true}, nil, func(_ chat.SendResult, err error) {
			if err != nil {
				t.Error(err)
			}
			last.Done()
		})
	}
	last.Wait()
	st, err := w.Chat(ctx, bob.Actor, id)
	ok(t, err)
	same(t, []int64{st.Unread, st.Mentions}, []int64{chat.UnreadCap, chat.UnreadCap})
}
