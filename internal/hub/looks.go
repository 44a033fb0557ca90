package hub

import (
	"maps"
	"slices"

	"github.com/grima-chat/grima/internal/chat"
)

// What other nodes say of memberships, of read marks and of sessions is looked
// up before anything comes of it, as is whose rows changed by the store's account.
// One goroutine does, with all that gathered while it was busy.

// looks is guarded by hub.mu.
type looks struct {
	places   map[chat.Place]heard
	sessions map[chat.SessionID]struct{}
	running  bool
}

// heard is why a place is looked up; each includes the ones before it.
type heard uint8

const (
	changed    heard = iota // whether they are in, as the store says that their row changed
	membership              // the same, as another node said so
	ownPlace                // it is told to themselves, too
	readOn                  // and to others
)

// lookLocked looks up where somebody stands in a chat.
func (h *Hub) lookLocked(at chat.Place, why heard) {
	l := &h.looks
	if l.places == nil {
		l.places = make(map[chat.Place]heard)
	}
	if _, known := l.places[at]; !known && len(l.places) == maxTold {
		h.scans.again, h.scans.now = true, true
		return
	}
	l.places[at] = max(l.places[at], why)
	h.startLookingLocked()
}

func (h *Hub) startLookingLocked() {
	if !h.looks.running && !h.closed {
		h.looks.running = true
		h.goLocked(h.look)
	}
}

// heardOfMarks hears how far people have read, and that they stand otherwise.
func (h *Hub) heardOfMarks(list []mark) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range list {
		h.markHereLocked(m)
	}
}

// markHereLocked looks up where somebody stands, if anybody here wants to know.
func (h *Hub) markHereLocked(m mark) {
	why := ownPlace
	if m.seq > 0 {
		why = readOn
	}
	r := h.rooms[m.Chat]
	if h.users.first(int64(m.User)) != nil || why == readOn && r != nil && r.few != many {
		h.lookLocked(m.Place, why)
	}
}

// heardOfEnded hears that sessions are over.
func (h *Hub) heardOfEnded(list []chat.SessionID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := &h.looks
	for _, id := range list {
		if h.sessions.first(int64(id)) == nil {
			continue
		}
		if l.sessions == nil {
			l.sessions = make(map[chat.SessionID]struct{})
		}
		l.sessions[id] = struct{}{}
		h.startLookingLocked()
	}
}

// lookEach is how many places are read in one snapshot.
const lookEach = 500

func (h *Hub) look() {
	for {
		h.mu.Lock()
		l := &h.looks
		sessions := slices.Collect(maps.Keys(l.sessions))
		l.sessions = nil
		var (
			asked []chat.Place
			whys  []heard
		)
		for at, why := range l.places {
			if len(asked) == lookEach {
				break
			}
			asked, whys = append(asked, at), append(whys, why)
			delete(l.places, at)
		}
		if len(sessions)+len(asked) == 0 || h.closed {
			l.running = false
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()

		if len(sessions) > 0 {
			if err := h.endGone(sessions); err != nil {
				h.failed("looking for sessions that were ended", err) // they are looked at again before long
			}
		}
		if len(asked) > 0 {
			if err := h.lookUp(asked, whys); err != nil {
				h.failed("looking up where people stand", err)
				h.mu.Lock()
				h.scans.now = true
				h.mu.Unlock()
			}
		}
	}
}

func (h *Hub) lookUp(asked []chat.Place, whys []heard) error {
	for _, why := range whys {
		if why > changed {
			h.stats.bus.looks.Add(1)
		}
	}
	ctx, cancel := h.reading()
	defer cancel()
	places, seqs, err := h.cfg.Source.Places(ctx, asked)
	if err != nil {
		return err
	}
	for i, p := range places {
		if whys[i] > membership && p.In() {
			h.tellPlace(p, whys[i] == readOn && p.ReadSeq > 0)
		}
		m := chat.Membership{Chat: p.Chat, LastSeq: seqs[i], JoinedSeq: p.JoinedSeq}
		if !p.In() {
			m.LastSeq = p.LeftSeq
		}
		for _, act := range []bool{false, true} {
			if !h.enterElsewhere(p, m, whys[i], act) || act {
				break
			}
			if err := h.cfg.Source.SettledIn(ctx, p.Chat); err != nil {
				return err
			}
		}
	}
	return nil
}

// enterElsewhere routes a chat to those of a person's connections that ought to
// have heard that they came in, if it is to act, and reports whether there are
// any.
func (h *Hub) enterElsewhere(p chat.Participant, m chat.Membership, why heard, act bool) (found bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.users.of(int64(p.User)) {
		switch {
		case c.route(p.Chat) != nil || p.JoinedSeq <= c.told[p.Chat]:
		case c.gone != nil: // it is reading, perhaps from before
			c.later = append(c.later, chat.Place{Chat: p.Chat, User: p.User})
		case p.In() || p.Stamp > c.since:
			if found = true; act {
				if why == changed {
					h.stats.foundMissing.Add(1)
				} else {
					h.stats.bus.entered.Add(1)
				}
				h.missedLocked(c, m)
			}
		}
	}
	return found
}

// loadedLocked is when a connection knows its memberships: what was heard
// meanwhile may be news.
func (h *Hub) loadedLocked(c *Conn) {
	delete(h.loading, c)
	for _, at := range c.later {
		h.lookLocked(at, membership)
	}
	if c.later != nil {
		c.later = nil
	}
	if len(h.loading) == 0 {
		h.before = nil
	}
}
