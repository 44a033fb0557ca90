package hub

import (
	"runtime"

	"github.com/grima-chat/grima/internal/chat"
)

// Rooms that want to be filled at the same time are read together: a hint from
// another node costs a read, and a read's round trip and its share of the
// database's work cost more than a row.

const (
	// fillsAtOnce is how many reads are under way. While they are, what else is
	// wanted gathers; the second is there so that one long read holds up nobody.
	fillsAtOnce = 2
	// fillRooms is how many rooms are read in one.
	fillRooms = 64
)

// fills is guarded by hub.mu.
type fills struct {
	waiting []*filling
	readers int
}

// filling is a span that a room's flusher waits for.
type filling struct {
	span chat.Span
	done chan struct{}
	ch   chat.Changed
	err  error
}

// changed reads a span, together with what other rooms want.
func (h *Hub) changed(span chat.Span) (chat.Changed, error) {
	f := &filling{span: span, done: make(chan struct{})}
	h.mu.Lock()
	h.fills.waiting = append(h.fills.waiting, f)
	if h.fills.readers < fillsAtOnce {
		h.fills.readers++
		h.goLocked(h.readFills)
	}
	h.mu.Unlock()
	<-f.done
	return f.ch, f.err
}

// readFills reads what rooms wait for, until none does.
func (h *Hub) readFills() {
	runtime.Gosched() // a hint is of several rooms, whose flushers are about to ask
	for {
		h.mu.Lock()
		n := min(len(h.fills.waiting), fillRooms)
		some := h.fills.waiting[:n:n]
		if h.fills.waiting = h.fills.waiting[n:]; len(h.fills.waiting) == 0 {
			h.fills.waiting = nil
		}
		if n == 0 {
			h.fills.readers--
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		h.readTogether(some)
		for _, f := range some {
			close(f.done)
		}
	}
}

// readTogether reads spans at once. If that fails it may be the fault of one of
// them, such as a damaged row, and each is read alone.
func (h *Hub) readTogether(some []*filling) {
	ctx, cancel := h.reading()
	defer cancel()
	spans := make([]chat.Span, len(some))
	for i, f := range some {
		spans[i] = f.span
	}
	list, err := h.cfg.Source.Changed(ctx, spans)
	for i, f := range some {
		switch {
		case err == nil:
			f.ch = list[i]
		case len(some) == 1 || ctx.Err() != nil:
			f.err = err
		default:
			h.readTogether(some[i : i+1])
		}
	}
}
