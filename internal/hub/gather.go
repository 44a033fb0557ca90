package hub

import "time"

// A round through a room costs a write for each of its members, whether it
// brings one message or thirty. News come in bursts: several people answer the
// same message, or one says many things at once, and the first of them would
// have a round of its own while the others wait for its end.
const (
	// longRound is from when on a round is worth waiting before it.
	longRound = 2 * time.Millisecond
	// gathers is for which part of a round one waits for more.
	gathers    = 8
	mostGather = 8 * time.Millisecond
	// forgets is after how many rounds of silence nobody is waited for any more.
	forgets = 32
)

// pace is what a room keeps of its rounds. It is guarded by hub.mu.
type pace struct {
	round  time.Duration // how long the last one took
	ended  time.Time     // when it was over
	burst  int           // how many hints came together, lately
	enough chan struct{} // closed when so many have come again; nil: nobody waits
}

// gatherLocked waits until as many hints have come as lately did, for no longer
// than a part of a round, if rounds take long and hints come together. Who
// speaks alone is told at once. hub.mu is not held meanwhile.
func (h *Hub) gatherLocked(r *room) {
	p := &r.pace
	if p.round < longRound || len(r.hints) == 0 || len(r.hints) >= p.burst || h.closed {
		return
	}
	// Only who would wait looks at the clock.
	if time.Since(p.ended) > forgets*p.round {
		p.burst = 0
		return
	}
	enough := make(chan struct{})
	p.enough = enough
	late := time.NewTimer(min(p.round/gathers, mostGather))
	h.mu.Unlock()
	select {
	case <-enough:
	case <-late.C:
	}
	late.Stop()
	h.mu.Lock()
	p.enough = nil
}

// cameLocked says that there is one hint more.
func (p *pace) cameLocked(hints int) {
	if p.enough != nil && hints >= p.burst {
		close(p.enough)
		p.enough = nil
	}
}

// roundLocked notes a round that is over, and how many hints it brought. Bursts
// are forgotten by halves, as there may be stragglers, and after a silence at once.
func (p *pace) roundLocked(began time.Time, hints int) {
	p.ended = time.Now()
	p.round, p.burst = p.ended.Sub(began), max(hints, p.burst/2)
}
