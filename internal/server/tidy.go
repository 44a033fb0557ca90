package server

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A rush of connections leaves garbage behind, of logins and handshakes, as much
// as what is kept of them or more. Go lets the heap grow to twice of what lives
// before it collects, keeps what it has, and when nothing happens any more looks
// at it only every two minutes. So when it is calm after a rush, what is not
// needed is given back. It costs two collections, since pools are empty after
// the second: some 2 ms of CPU each for each MB that lives, on every processor
// that is idle just then. Who asks for something meanwhile waits for one. So it
// is put off while many ask: their garbage has Go collect by itself before long,
// and once.
const (
	// A rush is so many connections that came or went, or that part of all.
	rushLeast = 1000
	rushPart  = 8
	// It is over when fewer than calmMoves came or went for calmTime, and less was
	// allocated than calmBytes, a hundred light requests a second, and calmEach for
	// everybody who is connected: the scan after they came takes 650 bytes each.
	calmMoves = 50
	calmBytes = 4 << 20
	calmEach  = 1 << 10
	calmTime  = 2 * time.Second
)

// movedLocked counts somebody who came or went.
func (g *gate) movedLocked() {
	if g.moved++; g.moved < max(rushLeast, g.open/rushPart) {
		return
	}
	select {
	case g.rush <- struct{}{}:
	default:
	}
}

// moves is how many came or went since it was called last, and how many are
// connected.
func (g *gate) moves() (moved, open int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	moved, g.moved = g.moved, 0
	return moved, g.open
}

// tidyUp calls tidy after each rush, until ctx ends. allocated is how many bytes
// were, since the program began.
func (g *gate) tidyUp(ctx context.Context, allocated func() uint64, tidy func()) {
	for {
		select {
		case <-g.rush:
		case <-ctx.Done():
			return
		}
		g.moves()
		for had := allocated(); ; {
			select {
			case <-time.After(calmTime):
			case <-ctx.Done():
				return
			}
			moved, open := g.moves()
			has := allocated()
			if moved < calmMoves && has-had < calmBytes+calmEach*uint64(open) {
				break
			}
			had = has
		}
		select {
		case <-g.rush: // was the same one
		default:
		}
		tidy()
	}
}

// allocatedBytes is how much was allocated since the program began.
func allocatedBytes() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func (s *Server) tidy() {
	if s.cfg.Tidy != nil {
		s.cfg.Tidy()
	}
	runtime.GC()
	debug.FreeOSMemory()
}
