package client

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grima-chat/grima/protocol"
)

// again is another connection of k's, logged in.
func (k *talk) again() {
	k.t.Helper()
	k.s.Lost(k.now, errors.New("gone"))
	k.s.Connected(k.now)
	k.says(strings.Replace(started, `"id":1`, fmt.Sprintf(`"id":%d`, k.s.lastID), 1))
	k.asks("session.start", "sync")
	k.s.Take(1000)
}

// synced answers the sync that was asked last.
func (k *talk) synced(chats ...string) {
	k.t.Helper()
	k.says(fmt.Sprintf(`{"type":"DataResponse","id":%d,"op":"sync","result":{"chats":[%s],"cursor":"k2","has_more":false}}`, k.s.lastID, strings.Join(chats, ",")))
}

func stateOf(id string, joined, last int64) string {
	return fmt.Sprintf(`{"chat_id":%q,"kind":"group","title":"x","created_at":"t","updated_seq":1,"last_seq":%d,"membership":"joined","role":"member","joined_seq":%d,"read_seq":%d,"unread":0,"mentions":0}`, id, last, joined, last)
}

// A new client begins when it subscribes, not when it has synced.
func TestBeginningIsTheSubscription(t *testing.T) {
	k := startTalk(t, Config{})
	k.s.Connected(k.now)
	k.says(hello, started, created(6))
	k.asks("session.start", "sync")
	k.says(strings.Replace(page, `"last_seq":5`, `"last_seq":6`, 1))
	k.asks("changes.list")
	k.says(`{"type":"DataResponse","id":3,"op":"changes.list","result":{"messages":[` + message(6, 6, "hi") + `],"participants":[],"next":6,"has_more":false}}`)
	evs := k.tells(ChatAdded, CursorMoved, ConnectionChanged, Synced, MessageCreated)
	if evs[0].State.Pos != 5 || !evs[1].Complete {
		t.Errorf("told %+v", evs[:2])
	}
}

// A chat that one came to while away is told from there on.
func TestNewChatWhileAway(t *testing.T) {
	k := online(t, Config{})
	k.again()
	k.synced(stateOf("c_2", 3, 9))
	if line := k.asks("changes.list")[0]; !strings.Contains(line, `"chat_id":"c_2","after":2`) {
		t.Errorf("asked %s", line)
	}
	k.tells(ChatAdded, CursorMoved, ConnectionChanged, Synced)
}

// What a cursor covers is told before it: it may be all that is kept.
func TestCursorComesLast(t *testing.T) {
	k := online(t, Config{Lazy: true})
	k.again()
	k.s.removals["c_7"], k.s.removals["c_8"] = true, true
	k.synced(stateOf("c_1", 2, 9), stateOf("c_8", 9, 9))
	evs := k.s.Take(1000)
	at := func(kind Kind, id string) int {
		return slices.IndexFunc(evs, func(ev Event) bool { return ev.Kind == kind && ev.ChatID == id })
	}
	cursor := at(CursorMoved, "")
	state, removed, gone, added := at(ChatState, "c_1"), at(ChatRemoved, "c_7"), at(ChatRemoved, "c_8"), at(ChatAdded, "c_8")
	if min(state, removed, gone) < 0 || max(state, removed, added) > cursor || gone > added {
		t.Errorf("told %+v", evs)
	}
	if evs[state].State.LastSeq != 9 || evs[state].State.Pos != 5 {
		t.Errorf("told %+v", evs[state].State)
	}
	k.asks() // lazy
	k.s.Focus(k.now, "c_1")
	k.tells()
	k.asks("session.update", "changes.list")
}

// That nobody looks is told again on a new connection, where else the server
// takes it that somebody does.
func TestAwayIsToldAgain(t *testing.T) {
	k := online(t, Config{})
	k.s.Active(k.now, true) // as it is
	k.asks()
	k.s.Active(k.now, false)
	said := func(lines []string, active string) {
		t.Helper()
		if last := lines[len(lines)-1]; !strings.Contains(last, `"active":`+active) || strings.Contains(last, "focus") {
			t.Errorf("told %s", last)
		}
	}
	said(k.asks("session.update"), "false")
	k.s.Lost(k.now, errors.New("gone"))
	k.s.Connected(k.now)
	k.says(strings.Replace(started, `"id":1`, fmt.Sprintf(`"id":%d`, k.s.lastID), 1))
	said(k.asks("session.start", "session.update", "sync")[:2], "false")
	k.s.Active(k.now, true)
	said(k.asks("session.update"), "true")
}

// Nobody knows what a gap left out.
func TestGapIsAskedFor(t *testing.T) {
	k := online(t, Config{})
	k.says(`{"type":"BroadcastResponse","event":"gap","chat_id":"c_1","seq":8,"prev_seq":5}`)
	k.asks("changes.list")
	k.says(`{"type":"DataResponse","id":3,"op":"changes.list","result":{"messages":[],"participants":[],"next":8,"has_more":false}}`)
	if evs := k.tells(Moved); evs[0].PrevSeq != 5 || evs[0].Seq != 8 {
		t.Errorf("told %+v", evs)
	}
}

// Who left and came back while away hears of it first by a page of changes, if a
// live event comes before the sync. The chat is another one then.
func TestRejoinedUnheard(t *testing.T) {
	k := online(t, Config{})
	k.again()
	k.says(created(20))
	k.asks("changes.list")
	k.says(fmt.Sprintf(`{"type":"DataResponse","id":%d,"op":"changes.list","result":{"messages":[%s],"participants":[{"user_id":"u_1","role":"member","joined_seq":15,"updated_seq":15}],"next":20,"has_more":false}}`, k.s.lastID, message(20, 20, "hi")))
	k.tells(ChatRemoved)
	k.says(fmt.Sprintf(`{"type":"DataResponse","id":%d,"op":"sync","result":{"chats":[%s],"cursor":"k2","has_more":false}}`, k.s.lastID-1, stateOf("c_1", 15, 20)))
	if evs := k.tells(ChatAdded, CursorMoved, ConnectionChanged, Synced); evs[0].State.Pos != 14 {
		t.Errorf("told %+v", evs[0].State)
	}
	// And by the sync, if that comes first.
	k = online(t, Config{})
	k.again()
	k.synced(stateOf("c_1", 15, 20))
	k.tells(ChatRemoved, ChatAdded, CursorMoved, ConnectionChanged, Synced)
}

// Too much to tell is skipped.
func TestSkipped(t *testing.T) {
	k := online(t, Config{MaxCatchUp: 10})
	k.again()
	k.synced(stateOf("c_1", 2, 99))
	evs := k.tells(ChatState, CursorMoved, ConnectionChanged, Synced, Skipped)
	if ev := evs[4]; ev.PrevSeq != 5 || ev.Seq != 99 || ev.State.Pos != 99 {
		t.Errorf("told %+v", ev)
	}
	k.asks()
	k.says(created(100))
	k.tells(MessageCreated)
}

func TestTimeline(t *testing.T) {
	msg := func(seq, updated int64) protocol.Message {
		return protocol.Message{ChatID: "c_1", Seq: seq, UpdatedSeq: updated}
	}
	told := func(seq, updated int64) Event {
		m := msg(seq, updated)
		return Event{Kind: MessageUpdated, ChatID: "c_1", Seq: updated, PrevSeq: updated - 1, Message: &m}
	}
	var tl Timeline
	tl.Apply(Event{Kind: ChatAdded, State: &Chat{Pos: 50}})
	if p, ok := tl.Before(0, 20); !ok || p.Before != nil || p.Limit != 20 {
		t.Errorf("at first it asks for %+v, %v", p, ok)
	}
	page := protocol.MessagesListResult{Messages: []protocol.Message{msg(40, 40), msg(45, 45)}, HasMoreBefore: true, LastSeq: 49}
	if err := tl.ApplyPage(protocol.MessagesListParams{}, page); !errors.Is(err, ErrStalePage) {
		t.Errorf("a page from before the chat was known: %v", err)
	}
	// The page was under way when 40 changed.
	tl.Apply(told(40, 51))
	page.LastSeq = 50
	if err := tl.ApplyPage(protocol.MessagesListParams{}, page); err != nil {
		t.Fatal(err)
	}
	if ms := tl.Messages(0); len(ms) != 2 || ms[0].UpdatedSeq != 51 {
		t.Errorf("it has %+v", ms)
	}
	if p, ok := tl.Before(0, 20); !ok || *p.Before != 40 {
		t.Errorf("it goes back with %+v, %v", p, ok)
	}
	if p, ok := tl.After(0, 20); ok {
		t.Errorf("it goes forward with %+v", p)
	}
	// So many changes of what is not held that they are let go.
	at := int64(51)
	for seq := int64(1); seq <= 39; seq++ {
		for range 20 {
			at++
			tl.Apply(told(seq, at))
		}
	}
	before := int64(40)
	page = protocol.MessagesListResult{Messages: []protocol.Message{msg(1, 1)}, LastSeq: 51, HasMoreAfter: true}
	if err := tl.ApplyPage(protocol.MessagesListParams{Before: &before}, page); !errors.Is(err, ErrStalePage) {
		t.Errorf("a page from before changes that were let go: %v", err)
	}
	page.LastSeq = at
	if err := tl.ApplyPage(protocol.MessagesListParams{Before: &before}, page); err != nil {
		t.Error(err)
	}
	if _, more := tl.Before(0, 20); more {
		t.Error("there is nothing before the beginning")
	}
	// A jump to somewhere else, and on from there.
	tl = Timeline{}
	around := int64(10)
	page = protocol.MessagesListResult{Messages: []protocol.Message{msg(9, 9), msg(12, 12)}, HasMoreBefore: true, HasMoreAfter: true, LastSeq: 99}
	if err := tl.ApplyPage(protocol.MessagesListParams{Around: &around}, page); err != nil {
		t.Fatal(err)
	}
	tl.Apply(told(100, 100))
	if p, ok := tl.After(10, 20); !ok || *p.After != 12 {
		t.Errorf("it goes forward with %+v, %v", p, ok)
	}
	if p, ok := tl.Before(10, 20); !ok || *p.Before != 9 {
		t.Errorf("it goes back with %+v, %v", p, ok)
	}
	if ms := tl.Messages(10); len(ms) != 2 {
		t.Errorf("around 10 it has %+v", ms)
	}
	if _, ok := tl.Message(50); ok {
		t.Error("it has what it does not hold")
	}
	// What is far away goes, the present and what is around 10 stay.
	tl.Apply(told(101, 101))
	tl.Forget(12, 200)
	if ms := tl.Messages(10); len(ms) != 1 || ms[0].Seq != 9 {
		t.Errorf("around 10 it has %+v", ms)
	}
	if p, ok := tl.After(10, 20); !ok || *p.After != 11 {
		t.Errorf("it goes forward with %+v, %v", p, ok)
	}
	if ms := tl.Messages(0); len(ms) != 1 || ms[0].Seq != 101 {
		t.Errorf("of the present it has %+v", ms)
	}
	tl.Apply(Event{Kind: Skipped, PrevSeq: 101, Seq: 200})
	if ms := tl.Messages(0); len(ms) > 0 {
		t.Errorf("after a skip it has %+v", ms)
	}
	page.LastSeq = 199
	if err := tl.ApplyPage(protocol.MessagesListParams{Around: &around}, page); !errors.Is(err, ErrStalePage) {
		t.Errorf("a page from before a skip: %v", err)
	}
}

// A login that is refused is the end, one that is put off is not, and neither is
// a state of somebody else's overwritten.
func TestRefusedLogin(t *testing.T) {
	answer := func(e string) string {
		return `{"type":"SessionResponse","id":1,"op":"session.start","error":` + e + `}`
	}
	for _, c := range []struct {
		name, line string
		user       string
		stops      bool
		wait       time.Duration
	}{
		{name: "a token that is none", line: answer(`{"code":"unauthenticated","message":"","retryable":false}`), stops: true},
		{name: "a token that is over", line: answer(`{"code":"token_expired","message":"","retryable":false}`), stops: true},
		{name: "too often", line: answer(`{"code":"rate_limited","message":"","retryable":true,"retry_after_ms":5000}`), wait: 6 * time.Second},
		{name: "not now", line: answer(`{"code":"of a later version","message":"","retryable":true}`), wait: time.Second},
		{name: "somebody else", line: started, user: "u_2", stops: true},
		{name: "nobody", line: strings.Replace(started, `"user_id":"u_1"`, `"user_id":""`, 1), wait: time.Second},
	} {
		k := startTalk(t, Config{})
		k.s.user.UserID = c.user
		k.s.Connected(k.now)
		k.says(hello)
		err := k.try(c.line)
		if err == nil {
			t.Errorf("%s: it goes on", c.name)
			continue
		}
		k.s.Lost(k.now, err)
		link := k.s.Connection()
		if (link.Link == Stopped) != c.stops || !c.stops && link.Retry.Sub(k.now) != c.wait {
			t.Errorf("%s: %v leads to %+v", c.name, err, link)
		}
	}
}
