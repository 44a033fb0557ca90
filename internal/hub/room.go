package hub

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// The bounds of what a room keeps while its flusher is busy. What is beyond
// them is read from the store.
const (
	maxHints     = 4096
	maxHintBytes = 4 << 20 // of contents
)

// room is a chat that somebody connected is in. Its fields are guarded by
// hub.mu; emitted and born change only by its flusher, and when it is made.
type room struct {
	id chat.ChatID
	// emitted is up to where the chat's log was told, or is being told, to the
	// members.
	emitted int64
	// born is from where on the room has seen every event.
	born int64
	// unsure: it came into being by a hint, which may be old. What the store
	// says counts.
	unsure bool
	// ahead: it was born where a read found the store, and has told nothing since.
	// What is up to there may be committed and not yet answered.
	ahead bool

	hints    []chat.Event // that came, as they came
	size     int          // of their contents
	wanted   int64        // the log goes on at least up to here, somebody said
	flushing bool
	passes   uint64 // how often a flusher has looked for more
	members  []*route
	shared   bool // the flusher reads members; they must not be written to

	typing map[chat.UserID]typed
	few    crowd
	moves  int // times that somebody may have come or gone
	// pace is also what makes a room of a size that what comes and goes with a
	// login has not: each would else keep the page of memory that it is on, and
	// little is left on that.
	pace pace
}

// movedLocked notes that somebody may have come or gone.
func (r *room) movedLocked() {
	r.few = uncounted
	r.moves++
}

func (h *Hub) newRoomLocked(id chat.ChatID, at int64) *room {
	r := &room{id: id, emitted: at, born: at}
	h.rooms[id] = r
	h.scans.again = true // it begins where the store was, and no hint was heard since
	if seq := h.before[id]; seq > at {
		r.wanted = seq
		h.flushLocked(r)
	}
	return r
}

// dropRoomLocked forgets a room that nobody is in.
func (h *Hub) dropRoomLocked(r *room) {
	if len(r.members) == 0 && !r.flushing {
		delete(h.rooms, r.id)
	}
}

// Publish hints at a committed event (docs/protocol.md#events). It may come
// late, twice or never.
func (h *Hub) Publish(e chat.Event) {
	h.stats.published.Add(1)
	if e.PrevSeq < 0 || e.Seq <= e.PrevSeq {
		h.stats.dropped.Add(1) // no position of any log
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.shared() {
		h.hintOthersLocked(e)
	}
	r := h.rooms[e.Chat]
	if r == nil && (e.Kind == chat.ChatCreated || e.Kind == chat.ParticipantAdded) && h.users.first(int64(e.Participant.User)) != nil {
		r = h.newRoomLocked(e.Chat, e.PrevSeq)
		r.unsure = true
		h.fresh[r] = struct{}{}
	}
	if r == nil {
		h.leftLocked(e)
	}
	if r == nil || e.Seq <= r.emitted || h.closed {
		h.stats.dropped.Add(1)
		return
	}
	h.hintLocked(r, e)
}

func (h *Hub) hintLocked(r *room, e chat.Event) {
	size := 0
	if e.Message != nil {
		size = len(e.Message.Content)
	}
	if len(r.hints) == maxHints || r.size+size > maxHintBytes {
		r.wanted = max(r.wanted, e.Seq)
		h.stats.dropped.Add(1)
	} else {
		r.hints = append(r.hints, e)
		r.size += size
		r.pace.cameLocked(len(r.hints))
	}
	h.flushLocked(r)
}

// flushLocked has the room's flusher look at it.
func (h *Hub) flushLocked(r *room) {
	if !r.flushing && !h.closed {
		r.flushing = true
		h.goLocked(func() { h.flush(r) })
	}
}

// flush tells the room's members what there is to tell, until there is nothing.
// A room has one flusher at a time: what it does with the room it does in the
// order of the log.
func (h *Hub) flush(r *room) {
	var (
		began time.Time
		n     int // hints of the last round
	)
	for {
		h.mu.Lock()
		if !began.IsZero() {
			r.pace.roundLocked(began, n)
		}
		r.passes++
		h.told.Broadcast()
		h.gatherLocked(r)
		hints, wanted := r.hints, r.wanted
		r.hints, r.size, r.wanted = nil, 0, 0
		if len(hints) == 0 && wanted <= r.emitted || h.closed {
			r.flushing = false
			h.told.Broadcast() // who looked while it waited for a burst would not hear of its end
			delete(h.fresh, r)
			h.dropRoomLocked(r)
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()

		began, n = time.Now(), len(hints)
		h.take(r, hints)
		if wanted > r.emitted {
			// Other nodes may have said so, and what is ours up to there may be not
			// yet answered.
			h.fill(r, wanted, nil, h.shared())
		}
	}
}

// Settle waits until what had been published when it was called, of the chats
// that the connection hears of, has been handed to it, if it has room, or until
// ctx ends. It must not be called where Publish is.
func (c *Conn) Settle(ctx context.Context) {
	h := c.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	// What a flusher took already is told when its next pass begins, what it will
	// take next with the one after that.
	due := make(map[*room]uint64)
	for _, rt := range c.at() {
		if r := h.rooms[rt.chat]; r != nil && r.flushing {
			due[r] = r.passes + 2
		}
	}
	for r := range h.fresh { // perhaps of a chat that the connection is to enter
		if r.flushing {
			due[r] = r.passes + 2
		}
	}
	if len(due) == 0 {
		return
	}
	over := context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told.Broadcast()
	})
	defer over()
	for len(due) > 0 && ctx.Err() == nil {
		h.told.Wait()
		maps.DeleteFunc(due, func(r *room, pass uint64) bool { return !r.flushing || r.passes >= pass })
	}
}

// take tells what hints tell of. What is missing before one of them is read from
// the store, and no more than that: what is behind it may be committed and not
// yet answered. Those that the store knows nothing of are false.
func (h *Hub) take(r *room, hints []chat.Event) {
	total, told := len(hints), 0
	if r.unsure && total > 0 {
		hints = slices.Concat(inOrder(hints, r.emitted))
		told += h.fill(r, hints[len(hints)-1].Seq, hints, false)
		hints = nil
	}
	for !r.unsure {
		next, later := inOrder(hints, r.emitted)
		told += len(next)
		h.emit(r, next)
		if len(later) == 0 {
			break
		}
		if h.cfg.Ablate.NoFill {
			h.emit(r, later)
			told += len(later)
			break
		}
		h.fill(r, later[0].PrevSeq, nil, false)
		if later[0].PrevSeq != r.emitted {
			break
		}
		hints = later
	}
	h.stats.dropped.Add(int64(total - told))
}

// inOrder sorts hints into those that continue a log from a position on and
// those that come later, by seq, and drops the others.
func inOrder(hints []chat.Event, at int64) (next, later []chat.Event) {
	slices.SortStableFunc(hints, func(a, b chat.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	kept := hints[:0]
	n := 0
	for _, e := range hints {
		switch {
		case e.Seq <= at:
			continue
		case e.PrevSeq == at && n == len(kept):
			n++
			at = e.Seq
		case len(kept) > n && kept[len(kept)-1].Seq == e.Seq:
			continue
		}
		kept = append(kept, e)
	}
	return kept[:n], kept[n:]
}

// fill reads from the store what is missing up to a position, and tells it. It
// gives the number of hints that were told instead of their rows: they say more,
// who did it. With settle it waits until what it read is answered, and takes the
// hints that came with that.
func (h *Hub) fill(r *room, upto int64, hints []chat.Event, settle bool) (told int) {
	for more := true; more && r.emitted < upto; {
		ch, err := h.changed(chat.Span{Chat: r.id, After: r.emitted, Upto: upto})
		if err != nil {
			h.failed("reading what a room missed", err)
			return told
		}
		r.unsure = false
		if ch.Next <= r.emitted {
			return told
		}
		if settle && !h.cfg.Ablate.NoSettling {
			if err := h.settledIn(r.id); err != nil {
				h.failed("waiting for answers", err)
				return told
			}
			hints = h.came(r)
		}
		h.rejoin(r, ch)
		for i, e := range ch.Events {
			k, ok := slices.BinarySearchFunc(hints, e.Seq, func(hint chat.Event, seq int64) int { return cmp.Compare(hint.Seq, seq) })
			if ok {
				ch.Events[i] = hints[k]
				ch.Events[i].PrevSeq = e.PrevSeq
				told++
			} else {
				h.stats.filled.Add(1)
			}
		}
		h.emit(r, ch.Events)
		// The rows of the last numbers may have changed again beyond.
		h.mu.Lock()
		r.emitted, r.ahead = max(r.emitted, ch.Next), false
		h.mu.Unlock()
		more = ch.More
	}
	return told
}

// settledIn waits until what was read of a chat has been answered here.
func (h *Hub) settledIn(id chat.ChatID) error {
	ctx, cancel := h.reading()
	defer cancel()
	return h.cfg.Source.SettledIn(ctx, id)
}

// came gives the hints that wait for the room's flusher, by seq.
func (h *Hub) came(r *room) []chat.Event {
	h.mu.Lock()
	hints := slices.Clone(r.hints)
	h.mu.Unlock()
	slices.SortFunc(hints, func(a, b chat.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	return hints
}

// rejoin routes a chat to those who came into it in what is about to be told.
// Whose route is older was out in between, since when is not known: they catch
// up, and so do all if there is too much to tell.
func (h *Hub) rejoin(r *room, ch chat.Changed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.movedLocked() // in the pages to come, or in what is not told
	for _, p := range ch.Joined {
		for c := range h.users.of(int64(p.User)) {
			rt := c.route(r.id)
			switch {
			case rt == nil && p.JoinedSeq > c.told[r.id] && (p.In() || p.Stamp > c.since):
				h.joinLocked(c, r, p.JoinedSeq, p.JoinedSeq-1)
			case rt != nil && rt.from < p.JoinedSeq:
				h.markLocked(rt)
				rt.from = p.JoinedSeq
				if rt.room == nil {
					h.attachLocked(rt, r)
				}
			}
		}
	}
	if ch.TooMany {
		for _, rt := range r.members {
			h.markLocked(rt)
		}
		r.emitted, r.born, r.ahead = ch.Next, ch.Next, false
	}
}

// leftLocked remembers for those who are reading their memberships which of
// them e has ended.
func (h *Hub) leftLocked(e chat.Event) {
	switch e.Kind {
	case chat.ParticipantRemoved:
		for c := range h.users.of(int64(e.Participant.User)) {
			if c.gone != nil {
				c.gone[e.Chat] = max(c.gone[e.Chat], e.Seq)
			}
		}
	case chat.ChatDeleted:
		for c := range h.loading {
			c.gone[e.Chat] = max(c.gone[e.Chat], e.Seq)
		}
	}
}

// enterLocked routes the chat to those whom e brings in.
func (h *Hub) enterLocked(r *room, e chat.Event) {
	if e.Kind != chat.ChatCreated && e.Kind != chat.ParticipantAdded {
		return
	}
	r.movedLocked()
	for c := range h.users.of(int64(e.Participant.User)) {
		rt := c.route(r.id)
		switch {
		case rt == nil && e.Seq > c.told[r.id]:
			h.joinLocked(c, r, e.Seq, e.Seq-1)
		case rt != nil && rt.state.Load() == dirty: // it may be catching up on an earlier membership
			rt.from = max(rt.from, e.Seq)
			if rt.room == nil {
				h.attachLocked(rt, r)
			}
		}
	}
}

// leave ends the routes of those whom e takes out.
func (h *Hub) leave(r *room, e chat.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leftLocked(e)
	r.movedLocked()
	switch e.Kind {
	case chat.ParticipantRemoved:
		for c := range h.users.of(int64(e.Participant.User)) {
			if rt := c.route(r.id); rt != nil {
				h.leaveLocked(rt, e.Seq)
			}
		}
	case chat.ChatDeleted:
		for i := len(r.members) - 1; i >= 0; i-- {
			h.leaveLocked(r.members[i], e.Seq)
		}
	}
}

// leaveLocked ends a route at seq, unless a later membership has begun already.
// One that is catching up stays until it has told of its end.
func (h *Hub) leaveLocked(rt *route, seq int64) {
	switch {
	case rt.room == nil || rt.from > seq:
	case rt.state.Load() == live:
		rt.conn.leftLocked(rt, seq)
	default:
		rt.end = seq
		h.detachLocked(rt)
	}
}
