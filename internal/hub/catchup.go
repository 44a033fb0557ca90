package hub

import "github.com/grima-chat/grima/internal/chat"

// A connection that lags has a position per chat, and nothing else. When it has
// room, a few goroutines read what it missed from the store, a page of one chat
// per turn, each connection and each of its chats in turn, so that many slow
// readers neither hold up one another for long nor keep the store busy.
//
// A route goes live again when it was told as much as its room, which may have
// gone on meanwhile: then it has another turn. What the store says of the
// membership counts, so that the end of one is told, and what lies between two is
// not, whatever happened meanwhile.

// queueLocked gives c its turn, if there is something to catch up on and room.
func (h *Hub) queueLocked(c *Conn) {
	if c.queued || c.blocked || c.closed || h.closed || len(c.dirty) == 0 {
		return
	}
	c.queued = true
	h.catching = append(h.catching, c)
	if h.workers < h.cfg.CatchUps {
		h.workers++
		h.goLocked(h.catchUp)
	}
}

// catchUp lets connections catch up until none has to.
func (h *Hub) catchUp() {
	for {
		h.mu.Lock()
		if len(h.catching) == 0 || h.closed {
			h.workers--
			h.mu.Unlock()
			return
		}
		c := h.catching[0]
		h.catching[0] = nil
		h.catching = h.catching[1:]
		if c.closed || c.blocked || len(c.dirty) == 0 {
			c.queued = false
			h.mu.Unlock()
			continue
		}
		rt := c.dirty[0]
		c.dirty[0] = nil
		c.dirty = c.dirty[1:]
		upto := rt.end
		var ahead *room
		if r := rt.room; r != nil {
			upto = r.emitted
			if r.ahead {
				ahead = r
			}
		}
		h.mu.Unlock()

		h.turn(rt, upto, ahead)
	}
}

// turn tells a route a page of what it missed, up to where its room stood when
// the turn began: what is beyond that may be committed and not yet answered. If
// the room is itself ahead of the answers it waits for them, and so it does with
// a gap that leads further, to a membership that the room has yet to come to.
func (h *Hub) turn(rt *route, upto int64, ahead *room) {
	c := rt.conn
	ctx, cancel := h.reading()
	m, err := h.cfg.Source.Missed(ctx, rt.chat, c.user, rt.pos, upto)
	cancel()
	h.stats.catchUps.Add(1)
	n := len(m.Events)
	if wait := n > 0 && (ahead != nil || m.Events[n-1].Seq > upto); wait && err == nil && !h.cfg.Ablate.NoSettling {
		err = h.answeredIn(rt.chat, ahead)
	}
	if err != nil {
		h.failed("reading what a connection missed", err)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.stallLocked(rt)
		return
	}
	readies, ok := h.tell(rt, m.Events)

	h.mu.Lock()
	defer h.mu.Unlock()
	c.queued = false
	switch {
	case rt.state.Load() == over: // it was closed
	case !ok:
		h.stats.refused.Add(1)
		c.refusedLocked(readies)
		c.dirtyLocked(rt)
	case m.More:
		c.dirtyLocked(rt)
	case m.Over && rt.from <= m.Next:
		c.leftLocked(rt, m.Next)
	case m.Over: // and another membership has begun meanwhile
		c.dirtyLocked(rt)
	case m.Next < upto: // the room was told what the store has not: a false hint
		h.stallLocked(rt)
		return
	default:
		h.resumeLocked(rt, m)
	}
	h.queueLocked(c)
}

// answeredIn waits until what was read of a chat has been answered, up to where
// its room was born if that is ahead.
func (h *Hub) answeredIn(id chat.ChatID, ahead *room) error {
	if err := h.settledIn(id); err != nil || ahead == nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	ahead.ahead = false
	return nil
}

// stallLocked ends a turn that came to nothing. The next scan gives another.
func (h *Hub) stallLocked(rt *route) {
	c := rt.conn
	c.queued = false
	if rt.state.Load() != over {
		c.dirtyLocked(rt)
		h.scans.stalled = append(h.scans.stalled, c)
	}
}

// tell hands a route events that continue what it was told. If one of them finds
// no room it is not ok, and the connection had been ready so often before.
func (h *Hub) tell(rt *route, events []chat.Event) (readies uint64, ok bool) {
	for len(events) > 0 {
		b := h.encode(events)
		events = events[len(b.events):]
		readies = rt.conn.readies.Load()
		if !rt.conn.sub.Deliver(b.run) {
			return readies, false
		}
		h.stats.deliveries.Add(1)
		rt.pos = b.last
	}
	return readies, true
}

// resumeLocked makes a route that was told what it missed live, unless the room
// has gone on meanwhile.
func (h *Hub) resumeLocked(rt *route, m chat.Missed) {
	rt.from = max(rt.from, m.Joined)
	if rt.room == nil {
		if m.Next < rt.end { // it ended meanwhile, beyond what was read
			rt.conn.dirtyLocked(rt)
			return
		}
		r := h.rooms[rt.chat]
		if r == nil {
			r = h.newRoomLocked(rt.chat, m.Next)
		}
		h.attachLocked(rt, r)
	}
	// It may have been told less than m.Next: what is between is told by the
	// next event, whose rows those are.
	if m.Next < rt.room.emitted {
		rt.conn.dirtyLocked(rt)
		return
	}
	rt.state.Store(live)
	h.dirty--
	rt.conn.plainLocked()
	h.stats.caughtUp.Add(1)
}
