package hub

import (
	"sync"

	"github.com/grima-chat/grima/internal/chat"
)

// Publish delivers a committed event to the connections of those who were in
// the chat at its seq (docs/protocol.md#events).
//
// Whoever joined after a message that now changes, in a chat that shows
// newcomers nothing older than themselves, is told that there was a change and
// not which.
func (h *Hub) Publish(e chat.Event) {
	targets, newcomers := h.route(e)
	h.deliver(e, targets)
	h.deliver(chat.Event{Kind: chat.Gap, Chat: e.Chat, Seq: e.Seq, PrevSeq: e.PrevSeq}, newcomers)
}

// deliver gives e to targets, and the list back.
func (h *Hub) deliver(e chat.Event, targets *[]Subscriber) {
	if len(*targets) > 0 {
		run := &Run{line: h.cfg.Encode(nil, e)}
		for _, sub := range *targets {
			sub.Deliver(run)
		}
	}
	release(targets)
}

// route collects who is to get e, and who is only to know that it happened, and
// lets e change who gets what comes next.
func (h *Hub) route(e chat.Event) (targets, newcomers *[]Subscriber) {
	targets, newcomers = acquire(), acquire()
	born := e.Seq // of what e tells
	if e.Message != nil && e.History == chat.HistoryJoined {
		born = e.Message.Seq
	}
	h.mu.Lock()
	defer h.mu.Unlock()

	if e.Kind == chat.ChatCreated || e.Kind == chat.ParticipantAdded {
		for _, c := range h.users[e.Participant.User] {
			h.joinLocked(c, e.Chat, e.Seq)
		}
	}
	if r := h.rooms[e.Chat]; r != nil {
		for _, route := range r.routes {
			// A route may begin above e: its connection read a membership
			// whose beginning is committed and not published yet.
			switch {
			case route.from <= born:
				*targets = append(*targets, route.conn.sub)
			case route.from <= e.Seq:
				*newcomers = append(*newcomers, route.conn.sub)
			}
		}
	}
	switch e.Kind {
	case chat.ParticipantRemoved:
		for _, c := range h.users[e.Participant.User] {
			h.endLocked(c, e.Chat, e.Seq)
		}
	case chat.ChatDeleted:
		if r := h.rooms[e.Chat]; r != nil {
			for i := len(r.routes) - 1; i >= 0; i-- {
				h.endLocked(r.routes[i].conn, e.Chat, e.Seq)
			}
		}
		for c := range h.loading {
			c.left[e.Chat] = e.Seq
		}
	}
	return targets, newcomers
}

// endLocked ends c's membership of chat id at seq, unless a later one has
// begun already.
func (h *Hub) endLocked(c *Conn, id chat.ChatID, seq int64) {
	if c.left != nil {
		c.left[id] = seq
	}
	if i, there := c.at[id]; there && h.rooms[id].routes[i].from <= seq {
		h.leaveLocked(c, id)
	}
}

// EndSessions ends the live connections of these sessions.
func (h *Hub) EndSessions(ids []chat.SessionID) {
	var subs []Subscriber
	h.mu.Lock()
	for _, id := range ids {
		for _, c := range h.sessions[id] {
			subs = append(subs, c.sub)
		}
	}
	h.mu.Unlock()
	for _, sub := range subs {
		sub.End(SessionRevoked)
	}
}

// targetLists keeps lists of subscribers between publishes: a busy room would
// otherwise allocate one per message.
var targetLists = sync.Pool{New: func() any { return new([]Subscriber) }}

func acquire() *[]Subscriber { return targetLists.Get().(*[]Subscriber) }

func release(targets *[]Subscriber) {
	clear(*targets)
	*targets = (*targets)[:0]
	targetLists.Put(targets)
}
