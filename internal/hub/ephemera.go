package hub

import (
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// The bounds of typing notices (docs/protocol.md#ephemera): in a crowd nobody
// can read who is typing, and the notices would outnumber the messages.
const (
	typingPeople = 100
	typingEvery  = 3 * time.Second
	typingLasts  = 10 * time.Second // a client forgets the notice by itself then
	maxTypists   = 1000             // whatever other nodes say
)

// The bounds of other people's read marks.
const (
	readPeople = 50
	readEvery  = 250 * time.Millisecond
)

// crowd says whether a room's chat has few enough people for read marks.
type crowd int8

const (
	uncounted crowd = iota
	few
	many
)

// typed is the last notice of somebody's that was passed on.
type typed struct {
	at   time.Time
	stop bool
}

// PublishTyping tells the others in the chat that user is typing, at most once
// every few seconds, or that they stopped, once per notice that they type.
func (h *Hub) PublishTyping(id chat.ChatID, user chat.UserID, stop bool) {
	note := typingNote{chat.Place{Chat: id, User: user}, stop}
	targets, news := h.routeTyping(note)
	if len(targets) > 0 {
		h.notify(h.cfg.EncodeTyping(nil, id, user, stop), targets)
	}
	if !news || !h.shared() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.telling.typing) < maxTold {
		h.telling.typing = append(h.telling.typing, note)
		h.tellOthersLocked()
	}
}

// typingElsewhere tells the people here that somebody is typing.
func (h *Hub) typingElsewhere(n typingNote) {
	if targets, _ := h.routeTyping(n); len(targets) > 0 {
		h.notify(h.cfg.EncodeTyping(nil, n.Chat, n.User, n.stop), targets)
	}
}

// routeTyping gives whom here a notice is for, and whether it may be news to
// others: it is also where nobody is here to count how often.
func (h *Hub) routeTyping(n typingNote) (targets []Subscriber, news bool) {
	id, user := n.Chat, n.User
	now := h.cfg.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[id]
	if r == nil {
		return nil, true
	}
	if r.crowded() || !r.mayType(user, n.stop, now) {
		return nil, false
	}
	for _, route := range r.members {
		c := route.conn
		if c.user == user {
			continue
		}
		if _, focused := c.focus[id]; c.focus == nil || focused {
			targets = append(targets, c.sub)
		}
	}
	return targets, true
}

// mayType reports whether user's notice is to be passed on, and remembers it
// if so. Notices too old to matter are forgotten on the way.
func (r *room) mayType(user chat.UserID, stop bool, now time.Time) bool {
	for u, t := range r.typing {
		if now.Sub(t.at) >= typingLasts {
			delete(r.typing, u)
		}
	}
	last, recent := r.typing[user]
	switch {
	case stop:
		if !recent || last.stop {
			return false
		}
		last.stop = true // at stays: a stop does not allow an earlier start
	case recent && now.Sub(last.at) < typingEvery, !recent && len(r.typing) >= maxTypists:
		return false
	default:
		last = typed{at: now}
	}
	if r.typing == nil {
		r.typing = make(map[chat.UserID]typed)
	}
	r.typing[user] = last
	return true
}

// crowded reports whether more than typingPeople are connected in the room.
func (r *room) crowded() bool {
	if len(r.members) <= typingPeople {
		return false
	}
	people := make(map[chat.UserID]struct{}, typingPeople+1)
	for _, route := range r.members {
		people[route.conn.user] = struct{}{}
		if len(people) > typingPeople {
			return true
		}
	}
	return false
}

// PublishPlace tells p's own connections at once how far they have read, and of
// what they want to be told; if they read on, it tells the others in the chat a
// little later, the last mark only, unless they are many.
func (h *Hub) PublishPlace(p chat.Participant, read bool) {
	if !h.shared() {
		h.tellPlace(p, read)
		return
	}
	m := mark{Place: chat.Place{Chat: p.Chat, User: p.User}}
	if read {
		m.seq = p.ReadSeq
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	// With what the others say, so that of two the older is not told last.
	h.markHereLocked(m)
	t := &h.telling
	if t.marks == nil {
		t.marks = make(map[chat.Place]int64)
	}
	if _, known := t.marks[m.Place]; known || len(t.marks) < maxTold {
		t.marks[m.Place] = max(t.marks[m.Place], m.seq)
		h.tellOthersLocked()
	}
}

// tellPlace is PublishPlace on this node.
func (h *Hub) tellPlace(p chat.Participant, read bool) {
	var own []Subscriber
	id, user := p.Chat, p.User
	h.mu.Lock()
	for c := range h.users.of(int64(user)) {
		own = append(own, c.sub)
	}
	if r := h.rooms[id]; read && r != nil && r.few != many && !h.closed {
		if h.marks == nil {
			h.marks = make(map[chat.ChatID]map[chat.UserID]int64)
			time.AfterFunc(readEvery, h.begin(h.tellMarks))
		}
		if h.marks[id] == nil {
			h.marks[id] = make(map[chat.UserID]int64)
		}
		h.marks[id][user] = max(h.marks[id][user], p.ReadSeq)
	}
	h.mu.Unlock()
	if len(own) > 0 {
		h.notify(h.cfg.EncodePlace(nil, p), own)
	}
}

// tellMarks tells the read marks that gathered.
func (h *Hub) tellMarks() {
	h.mu.Lock()
	marks := h.marks
	h.marks = nil
	h.mu.Unlock()
	for id, of := range marks {
		if !h.few(id) {
			continue
		}
		for user, seq := range of {
			var others []Subscriber
			h.mu.Lock()
			if r := h.rooms[id]; r != nil {
				for _, rt := range r.members {
					if rt.conn.user != user {
						others = append(others, rt.conn.sub)
					}
				}
			}
			h.mu.Unlock()
			if len(others) > 0 {
				h.notify(h.cfg.EncodeRead(nil, id, user, seq), others)
			}
		}
	}
}

// few reports whether few enough are in a chat for their read marks to be told.
// It is counted when somebody came or went since the last time.
func (h *Hub) few(id chat.ChatID) bool {
	h.mu.Lock()
	r := h.rooms[id]
	if r == nil || r.few != uncounted {
		defer h.mu.Unlock()
		return r != nil && r.few == few
	}
	moves := r.moves
	h.mu.Unlock()

	ctx, cancel := h.reading()
	defer cancel()
	is, err := h.cfg.Source.Few(ctx, id, readPeople)
	if err != nil {
		h.failed("counting participants", err)
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.moves == moves {
		r.few = many
		if is {
			r.few = few
		}
	}
	return is
}

func (h *Hub) notify(line []byte, targets []Subscriber) {
	run := &Run{lines: line, made: time.Now()}
	for _, sub := range targets {
		sub.Notice(run)
	}
	h.stats.notices.Add(int64(len(targets)))
}
