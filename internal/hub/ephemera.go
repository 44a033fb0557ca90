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
)

// typed is the last notice of somebody's that was passed on.
type typed struct {
	at   time.Time
	stop bool
}

// PublishTyping tells the others in the chat that user is typing, at most once
// every few seconds, or that they stopped, once per notice that they type.
func (h *Hub) PublishTyping(id chat.ChatID, user chat.UserID, stop bool) {
	targets := h.routeTyping(id, user, stop)
	if len(*targets) > 0 {
		run := &Run{line: h.cfg.EncodeTyping(nil, id, user, stop)}
		for _, sub := range *targets {
			sub.Notice(run)
		}
	}
	release(targets)
}

func (h *Hub) routeTyping(id chat.ChatID, user chat.UserID, stop bool) *[]Subscriber {
	targets := acquire()
	now := h.cfg.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[id]
	if r == nil || !r.mayType(user, stop, now) || r.crowded() {
		return targets
	}
	for _, route := range r.routes {
		c := route.conn
		if c.user == user {
			continue
		}
		if _, focused := c.focus[id]; c.focus == nil || focused {
			*targets = append(*targets, c.sub)
		}
	}
	return targets
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
	case recent && now.Sub(last.at) < typingEvery:
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
	if len(r.routes) <= typingPeople {
		return false
	}
	people := make(map[chat.UserID]struct{}, typingPeople+1)
	for _, route := range r.routes {
		people[route.conn.user] = struct{}{}
		if len(people) > typingPeople {
			return true
		}
	}
	return false
}

// PublishRead tells user's own connections how far they have read.
func (h *Hub) PublishRead(id chat.ChatID, user chat.UserID, seq int64) {
	targets := acquire()
	h.mu.Lock()
	for _, c := range h.users[user] {
		*targets = append(*targets, c.sub)
	}
	h.mu.Unlock()
	if len(*targets) > 0 {
		run := &Run{line: h.cfg.EncodeRead(nil, id, user, seq)}
		for _, sub := range *targets {
			sub.Notice(run)
		}
	}
	release(targets)
}
