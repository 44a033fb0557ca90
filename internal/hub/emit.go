package hub

import (
	"strconv"
	"sync"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// batch is consecutive events of one chat, encoded.
type batch struct {
	prev   int64 // it covers (prev, last]
	last   int64
	events []chat.Event
	lines  []byte
	ends   []int // of the events' lines
	run    *Run  // all of them
	born   int64 // whoever joined by then may see all of them
}

// emit tells events, which continue the room's log, to its members.
func (h *Hub) emit(r *room, events []chat.Event) {
	for len(events) > 0 {
		b := h.encode(events)
		events = events[len(b.events):]

		h.mu.Lock()
		for _, e := range b.events {
			h.enterLocked(r, e)
		}
		r.emitted, r.ahead = b.last, false
		members := r.members
		r.shared = true
		h.mu.Unlock()

		h.hand(b, members)

		h.mu.Lock()
		r.shared = false
		h.mu.Unlock()
		switch e := b.events[len(b.events)-1]; e.Kind {
		case chat.ParticipantRemoved, chat.ChatDeleted:
			h.leave(r, e)
		}
	}
}

// encode makes a batch of the first events: as many as fit into a Run, and none
// after one that takes somebody out.
func (h *Hub) encode(events []chat.Event) *batch {
	b := &batch{prev: events[0].PrevSeq, born: events[0].Seq, lines: make([]byte, 0, roughly(events))}
	for i, e := range events {
		n := len(b.lines)
		b.lines = h.cfg.Encode(b.lines, e)
		if i > 0 && len(b.lines) > maxRun {
			b.lines = b.lines[:n]
			break
		}
		b.ends = append(b.ends, len(b.lines))
		b.events = events[:i+1]
		b.last = e.Seq
		b.born = min(b.born, born(e))
		if e.Kind == chat.Gap {
			h.stats.gaps.Add(1)
		}
		if e.Kind == chat.ParticipantRemoved || e.Kind == chat.ChatDeleted {
			break
		}
	}
	b.run = h.newRun(b.lines, len(b.events))
	return b
}

// roughly is how much room the lines of the first of events may need, up to a
// Run.
func roughly(events []chat.Event) (size int) {
	for _, e := range events {
		size += 256
		if e.Message != nil {
			size += len(e.Message.Content)
		}
		if size > maxRun {
			break
		}
	}
	return size
}

func (h *Hub) newRun(lines []byte, events int) *Run {
	h.stats.runs.Add(1)
	h.stats.events.Add(int64(events))
	return &Run{lines: lines, made: time.Now()}
}

// born is since when one has to be in the chat to see what e tells of. Whoever
// joined after a message that now changes, in a chat that shows newcomers
// nothing older than themselves, is told that there was a change and not which.
func born(e chat.Event) int64 {
	if e.Message != nil && e.History == chat.HistoryJoined {
		return e.Message.Seq
	}
	return e.Seq
}

// refused is a route whose connection had no room.
type refused struct {
	route *route
	// readies is how often its connection had been ready before.
	readies uint64
	kept    bool // it had room: it has to catch up for another reason
}

// hand gives a batch to the members that are live, large rooms in parts at once.
func (h *Hub) hand(b *batch, members []*route) {
	n := spread(len(members))
	if n == 1 {
		h.handPart(b, members)
		return
	}
	var parts sync.WaitGroup
	for i := range n {
		parts.Go(func() { h.handPart(b, members[i*len(members)/n:(i+1)*len(members)/n]) })
	}
	parts.Wait()
}

func (h *Hub) handPart(b *batch, members []*route) {
	var (
		full  []refused
		forms map[string]*Run
		took  int64
	)
	for _, rt := range members {
		if rt.state.Load() != live {
			continue
		}
		run := b.run
		if rt.pos != b.prev || rt.from > b.born {
			var whole bool
			if run, whole = h.own(b, rt, &forms); !whole {
				full = append(full, refused{route: rt, kept: true})
				continue
			}
			if run == nil {
				continue
			}
		}
		n := rt.conn.readies.Load()
		switch {
		case rt.conn.sub.Deliver(run):
			took++
			rt.pos = b.last
		case h.cfg.Ablate.NoDirtySet:
			rt.pos = b.last
		default:
			full = append(full, refused{route: rt, readies: n})
		}
	}
	h.stats.deliveries.Add(took)
	if len(full) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range full {
		if !f.kept {
			h.stats.refused.Add(1)
			f.route.conn.refusedLocked(f.readies)
		}
		h.markLocked(f.route)
	}
}

// refusedLocked notes that Deliver said false. Unless Ready was called since
// before, the connection waits for it.
func (c *Conn) refusedLocked(readies uint64) {
	if c.readies.Load() == readies {
		c.blocked = true
	}
}

// own is the part of a batch that a route has not been told of, and may see:
// nil if that is nothing. Its first event covers what the route was not told of
// before, because the rows of those changes are yet to come. It is not whole
// when the route stands in the middle of what an event covers. Those who see the
// same share it.
func (h *Hub) own(b *batch, rt *route, forms *map[string]*Run) (run *Run, whole bool) {
	first := 0
	for first < len(b.events) && b.events[first].Seq <= rt.pos {
		first++
	}
	if first == len(b.events) {
		return nil, true
	}
	prev := b.events[first].PrevSeq
	switch {
	case prev < rt.pos:
		return nil, false
	case prev > rt.pos && first == 0:
		prev = rt.pos
	}
	events := b.events[first:]
	shown := make([]byte, len(events))
	for i, e := range events {
		if rt.from <= born(e) {
			shown[i] = 1
		}
	}
	key := string(strconv.AppendInt(shown, prev, 10)) // its length says where it begins, too
	if run := (*forms)[key]; run != nil {
		return run, true
	}
	var lines []byte
	n := 0
	for i := 0; i < len(events); n++ {
		if i == 0 && shown[i] == 1 && prev != events[i].PrevSeq {
			e := events[i]
			e.PrevSeq = prev
			lines = h.cfg.Encode(lines, e)
			i++
			continue
		}
		if shown[i] == 1 {
			at := first + i
			begin := 0
			if at > 0 {
				begin = b.ends[at-1]
			}
			lines = append(lines, b.lines[begin:b.ends[at]]...)
			i++
			continue
		}
		gap := chat.Event{Kind: chat.Gap, Chat: events[i].Chat, PrevSeq: events[i].PrevSeq}
		if i == 0 {
			gap.PrevSeq = prev
		}
		for ; i < len(events) && shown[i] == 0; i++ {
			gap.Seq = events[i].Seq
		}
		lines = h.cfg.Encode(lines, gap)
		h.stats.gaps.Add(1)
	}
	run = h.newRun(lines, n)
	if *forms == nil {
		*forms = make(map[string]*Run)
	}
	(*forms)[key] = run
	return run, true
}
