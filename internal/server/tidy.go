package server

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

// A rush of connections leaves garbage behind, of logins and handshakes, as much
// as what is kept of them or more. Go lets the heap grow to twice of what lives
// before it collects, keeps what it has, and when nothing happens any more looks
// at it only every two minutes. So when it is calm after a rush, what is not
// needed is given back. It costs two collections, since pools are empty after
// the second: some 2 ms of CPU each for each MB that lives, beside requests that
// go on.
const (
	// A rush is so many connections that came or went, or that part of all.
	rushLeast = 1000
	rushPart  = 8
	// It is over when fewer than calmMoves came or went for calmTime.
	calmMoves = 50
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

// moves is how many came or went since it was called last.
func (g *gate) moves() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.moved
	g.moved = 0
	return n
}

// tidyUp calls tidy after each rush, until ctx ends.
func (g *gate) tidyUp(ctx context.Context, tidy func()) {
	for {
		select {
		case <-g.rush:
		case <-ctx.Done():
			return
		}
		for g.moves(); ; {
			select {
			case <-time.After(calmTime):
			case <-ctx.Done():
				return
			}
			if g.moves() < calmMoves {
				break
			}
		}
		select {
		case <-g.rush: // was the same one
		default:
		}
		tidy()
	}
}

func (s *Server) tidy() {
	if s.cfg.Tidy != nil {
		s.cfg.Tidy()
	}
	runtime.GC()
	debug.FreeOSMemory()
}
