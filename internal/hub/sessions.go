package hub

import (
	"slices"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// Sessions that end here end their connections at once (EndSessions). Where
// other nodes end sessions too, they say so, and a look at all that are
// connected, every few seconds, finds what they said in vain.

// sessionsEach are looked for in one snapshot.
const sessionsEach = 500

// EndSessions ends the live connections of these sessions, on all nodes.
func (h *Hub) EndSessions(ids []chat.SessionID) {
	h.endHere(ids)
	if !h.shared() || len(ids) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t := &h.telling
	if len(t.ended)+len(ids) > maxTold {
		h.lookOthersLocked()
		return
	}
	t.ended = append(t.ended, ids...)
	h.tellOthersLocked()
}

// Ended counts the times that sessions ended here; it is never 0, and alone
// says that nobody else ends any. If it is the same before a session is looked
// up and after its connection has registered, and alone, the session had not
// ended in between unheard.
func (h *Hub) Ended() (n uint64, alone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ends + 1, !h.shared() && h.cfg.Sessions == 0
}

func (h *Hub) endHere(ids []chat.SessionID) {
	var subs []Subscriber
	h.mu.Lock()
	h.ends++
	for _, id := range ids {
		for c := range h.sessions.of(int64(id)) {
			subs = append(subs, c.sub)
		}
	}
	h.mu.Unlock()
	for _, sub := range subs {
		sub.End(SessionRevoked)
	}
}

// endGone ends the connections of those sessions that the store has no more.
func (h *Hub) endGone(ids []chat.SessionID) error {
	for some := range slices.Chunk(ids, sessionsEach) {
		ctx, cancel := h.reading()
		live, err := h.cfg.Source.LiveSessions(ctx, some)
		cancel()
		if err != nil {
			return err
		}
		if len(live) == len(some) {
			continue
		}
		gone := slices.DeleteFunc(slices.Clone(some), func(id chat.SessionID) bool { return slices.Contains(live, id) })
		h.stats.foundEnded.Add(int64(len(gone)))
		h.endHere(gone)
	}
	return nil
}

// sessionChecks is guarded by hub.mu.
type sessionChecks struct {
	timer   *time.Timer // nil: nobody is connected
	running bool
	again   bool // at once
}

// startChecksLocked makes checks come, from one connection on.
func (h *Hub) startChecksLocked() {
	s := &h.checks
	if h.cfg.Sessions > 0 && s.timer == nil && !s.running && !h.closed {
		s.timer = time.AfterFunc(h.cfg.Sessions, h.beginCheck)
	}
}

// checkSessionsLocked has the next check come at once.
func (h *Hub) checkSessionsLocked(now bool) {
	s := &h.checks
	switch {
	case !now:
	case s.running:
		s.again = true
	case s.timer != nil:
		s.timer.Reset(0)
	}
}

func (h *Hub) beginCheck() {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &h.checks
	if h.closed || s.running {
		return
	}
	if s.timer != nil {
		s.timer.Stop() // as in beginScan
	}
	s.running, s.again = true, false
	ids := make([]chat.SessionID, 0, h.sessions.n)
	for c := range h.sessions.all() {
		ids = append(ids, c.session)
	}
	h.goLocked(func() {
		slices.Sort(ids)
		err := h.endGone(slices.Compact(ids))
		if err != nil {
			h.failed("looking for sessions that were ended", err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		s.running, s.timer = false, nil
		switch {
		case h.closed || h.sessions.n == 0:
		case s.again:
			s.timer = time.AfterFunc(0, h.beginCheck)
		default:
			h.startChecksLocked()
		}
	})
}
