package modeltest

import (
	"fmt"
	"reflect"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/protocol"
)

// fail reports that a promise was broken on this connection.
func (t *tap) fail(promise, format string, args ...any) {
	t.w.fail(promise, fmt.Sprintf("on %s of %s: %s", t.name, t.user, fmt.Sprintf(format, args...)), t.log)
}

func (t *tap) chat(id string) *told {
	c := t.chats[id]
	if c == nil {
		c = &told{}
		t.chats[id] = c
	}
	return c
}

// request is a line from the client.
func (t *tap) request(line []byte) {
	t.note("> ", line)
	var r struct {
		Type   protocol.Type `json:"type"`
		ID     any           `json:"id"`
		Op     string        `json:"op"`
		Params struct {
			ChatID    string `json:"chat_id"`
			Subscribe *bool  `json:"subscribe"`
		} `json:"params"`
	}
	a := asked{}
	t.rude = t.rude || len(line) > protocol.MaxFrame || !utf8.Valid(line)
	if json.Unmarshal(line, &r) == nil && (r.Type.Response() != "" || r.Type == protocol.TypePong) {
		if r.Type == protocol.TypePong {
			return
		}
		a = asked{kind: r.Type, op: r.Op, chat: r.Params.ChatID, silent: r.Params.Subscribe != nil && !*r.Params.Subscribe}
		if r.ID != nil {
			a.id = fmt.Sprint(r.ID)
		}
	}
	t.asked = append(t.asked, a)
}

// heard is a line from the server.
func (t *tap) heard(line []byte) {
	t.note("< ", line)
	frame, bad := protocol.DecodeFrame(line)
	if bad != nil {
		t.fail("strictness", "the server's own line breaks the rules: %v", bad)
		return
	}
	if !t.w.inProcess {
		t.w.truth.tick()
	}
	_, hello := frame.(*protocol.Hello)
	if _, refused := frame.(*protocol.Goodbye); refused {
		t.hello = true // with or without it
	}
	switch {
	case hello == t.hello:
		t.fail("Hello", "it is the first line and comes once")
	case t.bye:
		t.fail("Goodbye", "a line after it: %s", line)
	}
	t.hello = true
	switch f := frame.(type) {
	case *protocol.Event:
		t.event(f)
	case *protocol.Response:
		t.answer(f)
	case *protocol.ErrorFrame:
		t.answer(&protocol.Response{Type: f.Type, ID: f.ID, Error: f.Error})
	case *protocol.Goodbye:
		t.bye = true
		// What costs a line elsewhere ends a WebSocket.
		violated := f.Code == protocol.GoodbyeProtocolViolation && !(t.rude && t.over == overWebSocket)
		if f.Code == protocol.GoodbyeInternal || violated {
			t.fail("Goodbye", "with %s: %s", f.Code, f.Message)
		}
		t.w.count("Goodbye " + string(f.Code))
	}
}

// ended is the end of what comes from the server.
func (t *tap) ended() {
	if t.finished {
		return
	}
	t.finished = true
	t.note("< ", []byte("(the end)"))
	// Whoever is sent away, or cut off, is not owed an answer.
	if t.half && !t.bye && len(t.asked) > 0 && !t.cut() {
		t.fail("I11 answer", "it ended after the client's half-close, and %d lines were not answered", len(t.asked))
	}
}

func (t *tap) cut() bool {
	select {
	case <-t.wire.gone:
		return true
	default:
		return !t.w.serving(t)
	}
}

// answer is the answer to the oldest line that has none.
func (t *tap) answer(r *protocol.Response) {
	if len(t.asked) == 0 {
		t.fail("I11 answer", "nobody asked")
		return
	}
	a := t.asked[0]
	t.asked = t.asked[1:]
	id := ""
	if len(r.ID) > 0 {
		var v any
		if json.Unmarshal(r.ID, &v) == nil {
			id = fmt.Sprint(v)
		}
	}
	switch {
	case a.kind == "" && r.Error == nil:
		t.fail("I12 resync", "a line that is no request was answered with %s %s", r.Type, r.Op)
		return
	case a.kind == "":
		return
	case id != a.id || r.Type != a.kind.Response() || r.Op != a.op:
		t.fail("I11 answer", "%s %s %q is due, and got %s %s %q", a.kind, a.op, a.id, r.Type, r.Op, id)
		return
	}
	if e := r.Error; e != nil {
		switch {
		case e.Code == protocol.CodeInternal, e.Code == protocol.CodeTimeout:
			t.fail("errors", "%s: %v", a.op, e)
		case e.Code == protocol.CodeUnavailable && t.w.serving(t):
			t.fail("errors", "%s: %v", a.op, e)
		}
		return
	}
	t.result(a, r.Result)
}

// result looks at what an answer says of chats.
func (t *tap) result(a asked, raw []byte) {
	var res struct {
		Chats   []protocol.ChatState `json:"chats"`
		Chat    *protocol.ChatState  `json:"chat"`
		ChatID  string               `json:"chat_id"`
		Seq     int64                `json:"seq"`
		LastSeq int64                `json:"last_seq"`
		Next    int64                `json:"next"`
		HasMore bool                 `json:"has_more"`
		ReadSeq int64                `json:"read_seq"`
		Dup     bool                 `json:"duplicate"`
	}
	if err := json.Unmarshal(raw, &res); err != nil {
		t.fail("strictness", "the result of %s: %v", a.op, err)
		return
	}
	switch a.op {
	case protocol.OpSessionStart:
		t.w.host.Settle() // what is committed and not written down yet, need not come
		t.live, t.begun = !a.silent, t.w.truth.lengths()
	case protocol.OpSync, protocol.OpChatsList:
		for _, st := range res.Chats {
			t.state(st)
		}
	case protocol.OpChatsGet:
		t.state(*res.Chat)
	case protocol.OpChangesList:
		if !res.HasMore {
			t.position(a.chat, res.Next)
		}
	case protocol.OpMessagesList:
		t.position(a.chat, res.LastSeq)
	case protocol.OpReadSet:
		t.mark(t.chat(a.chat), res.ReadSeq)
	case protocol.OpMessageSend:
		c := t.chat(a.chat)
		if res.Dup {
			return
		}
		if res.Seq <= c.sent {
			t.fail("I5 order", "a message in %s got %d, and one sent before it got %d", a.chat, res.Seq, c.sent)
		}
		c.sent = res.Seq
		if c.heard && c.pos >= res.Seq {
			t.fail("delivery", "the event of message %d in %s came before the answer to its sender", res.Seq, a.chat)
		}
	}
}

// state is a chat state in an answer.
func (t *tap) state(st protocol.ChatState) {
	c := t.chat(st.ChatID)
	if st.Membership != "joined" {
		return
	}
	if st.JoinedSeq > c.joined {
		c.joined, c.marked = st.JoinedSeq, 0
	}
	if st.JoinedSeq == c.joined {
		t.mark(c, st.ReadSeq)
	}
	t.position(st.ChatID, st.LastSeq)
}

// mark is an own read mark in an answer. Answers come in the order of the
// requests, and so do their snapshots.
func (t *tap) mark(c *told, seq int64) {
	if seq < c.marked {
		t.fail("I13 monotonic", "a read mark fell from %d to %d", c.marked, seq)
	}
	c.marked = seq
}

// position is how far an answer says that a chat is.
func (t *tap) position(id string, seq int64) {
	if c := t.chat(id); c.base == 0 || seq < c.base {
		c.base = seq
	}
}

// event holds an event against what was told before it, and against the truth.
func (t *tap) event(e *protocol.Event) {
	if !t.live {
		t.fail("delivery", "an event before the answer to session.start: %s", e.Event)
		return
	}
	c := t.chat(e.ChatID)
	if e.Seq == 0 {
		t.ephemeral(c, e)
		return
	}
	prev := e.PrevSeq
	if prev == 0 {
		prev = e.Seq - 1
	}
	if prev >= e.Seq {
		t.fail("I6 wire order", "an event covers (%d, %d]", prev, e.Seq)
	}
	own := e.Participant != nil && e.Participant.UserID == t.user
	comes := own && (e.Event == protocol.EventParticipantAdded || e.Event == protocol.EventChatCreated)
	if own && e.Event == protocol.EventParticipantRemoved && (c.out || !c.heard) && e.Participant.JoinedSeq > c.pos {
		comes = true // and goes: a membership is one row, and may have ended when it is told
	}
	leaps := c.out && prev > c.pos || !c.heard && c.base > 0 && prev > c.base
	anew := !comes && prev < e.Seq-1 && (c.out || leaps)
	if anew {
		// The row of who came in has changed again, and is told at its later place:
		// what is told before covers the coming. So it is if an answer has told of an
		// earlier membership, of whose end nothing could be told. That it was a
		// coming, and that nothing else is left out, is for hold.
		comes = true
	}
	switch {
	case c.out && !comes:
		t.fail("I8 visibility", "%s %d of chat %s, which the user is not in any more", e.Event, e.Seq, e.ChatID)
	case comes && !c.heard, comes && e.Seq > c.pos:
		// A membership begins: the line may begin anew.
	case c.heard && prev < c.pos:
		t.fail("I6 wire order", "an overlap in chat %s: after %d comes (%d, %d]", e.ChatID, c.pos, prev, e.Seq)
	case c.heard && prev > c.pos:
		t.fail("I6 wire order", "a hole in chat %s: after %d comes (%d, %d]", e.ChatID, c.pos, prev, e.Seq)
	case !c.heard && c.base > 0 && prev > c.base:
		t.fail("I6 wire order", "a hole in chat %s: it was said to be at %d, and the first event is (%d, %d]", e.ChatID, c.base, prev, e.Seq)
	}
	c.heard, c.pos, c.out = true, e.Seq, false
	if own && e.Event == protocol.EventParticipantRemoved || e.Event == protocol.EventChatDeleted {
		c.out = true
		c.base, c.joined, c.marked, c.read = 0, 0, 0, 0
	}
	t.hold(e, prev, anew && leaps)
}

// ephemeral looks at an event without a number.
func (t *tap) ephemeral(c *told, e *protocol.Event) {
	if e.Event != protocol.EventRead || e.UserID != t.user {
		return
	}
	if e.ReadSeq < c.read && !c.out {
		t.fail("I13 monotonic", "a read mark fell from %d to %d", c.read, e.ReadSeq)
	}
	c.read = e.ReadSeq
}

// hold holds an event against what was committed. One that begins the line anew
// has to cover a coming of the user's.
func (t *tap) hold(e *protocol.Event, prev int64, anew bool) {
	truth := t.w.truth
	if !t.w.inProcess {
		t.w.live(e)
		return
	}
	truth.reach(e.ChatID, e.Seq, t.w.opts.Patience)
	from, left, hole, span := prev, "", "", span{}
	known := truth.read(e.ChatID, func(l *chatLog) {
		if e.Seq > l.last() {
			t.fail("I19 live is durable", "%s %d of chat %s, which is at %d", e.Event, e.Seq, e.ChatID, l.last())
			return
		}
		if anew && !l.begins(t.user, prev, e.Seq) {
			t.fail("I6 wire order", "a hole in chat %s: the first event of a membership, which began before it, is (%d, %d]", e.ChatID, prev, e.Seq)
			return
		}
		if anew {
			t.w.count("out and in unheard")
		}
		if e.Event == protocol.EventGap && l.comes(t.user, e.Seq+1) {
			return // all of it belongs to an earlier membership, or to none
		}
		s, in := l.at(t.user, e.Seq)
		if !in {
			t.fail("I8 visibility", "%s %d of chat %s goes to %s, who was not in it then", e.Event, e.Seq, e.ChatID, t.user)
			return
		}
		ch := l.changes[e.Seq-1]
		if e.Event == protocol.EventGap {
			t.w.count("gap")
			from = e.Seq
			if e.Seq-prev <= t.w.opts.GapBeyond {
				hole, span = l.skipped(s, prev, e.Seq), s
			}
		} else {
			if why := l.differs(e); why != "" {
				t.fail("I19 live is durable", "event %d of chat %s is not what was committed: %s", e.Seq, e.ChatID, why)
			}
			// What is read from the store is told as it may be seen then.
			if ch.message != nil && !slices.ContainsFunc(l.changes[e.Seq-1:], func(c change) bool { return !hidden(s, ch.message.Seq, c.history) }) {
				t.fail("I8 visibility", "message %d of chat %s goes to %s, who came at %d", ch.message.Seq, e.ChatID, t.user, s.from)
			}
		}
		// What was left out between prev and this event was told by a later one,
		// or is about to be.
		left, span, from = l.skipped(s, max(from, s.from-1), e.Seq-1), s, max(from, s.from-1)
	})
	if hole != "" {
		// Unless a new membership begins behind it, or the history was closed to
		// newcomers, and that is not written down yet.
		t.w.host.Settle()
		truth.read(e.ChatID, func(l *chatLog) {
			if hole = l.skipped(span, prev, e.Seq); hole != "" && !l.comes(t.user, e.Seq+1) {
				t.fail("I6 wire order", "a gap (%d, %d] in chat %s leaves out %s", prev, e.Seq, e.ChatID, hole)
			}
		})
	}
	if left != "" {
		// Unless it has changed again, and that is not written down yet.
		t.w.host.Settle()
		truth.read(e.ChatID, func(l *chatLog) {
			if row := l.skipped(span, from, e.Seq-1); row != "" {
				t.fail("I6 wire order", "(%d, %d] in chat %s leaves out %s", prev, e.Seq, e.ChatID, row)
			}
		})
	}
	if !known {
		t.fail("I19 live is durable", "%s of chat %s, which nobody made", e.Event, e.ChatID)
	}
}

// reached reports whether all that is due was told of a chat, which is at seq
// and which the user is in.
func (t *tap) reached(id string, seq int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.chats[id]
	switch {
	case c != nil && c.heard && !c.out:
		return c.pos >= seq
	case c != nil && c.base > 0:
		return c.base >= seq
	}
	return !t.w.inProcess || int64(t.begun[id]) >= seq
}

func rowDiffers[T any](name string, want, got *T) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	w, _ := json.Marshal(want)
	g, _ := json.Marshal(got)
	return fmt.Sprintf("its %s is %.300s, not %.300s", name, g, w)
}
