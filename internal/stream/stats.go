package stream

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/grima-chat/grima/internal/queue"
	"github.com/grima-chat/grima/protocol"
)

// Stats says what the connections of a Server have done and what they wait for.
type Stats struct {
	FramesIn, FramesOut uint64 // lines; events that came together count once
	BytesIn, BytesOut   uint64 // inside TLS; what was read early counts too
	Writes              uint64
	OutboxBytes         int64 // that wait to be written, or are being written
	Goodbyes            map[protocol.GoodbyeCode]uint64
}

// tally counts for some of the connections, so that processors do not all count
// in the same place.
type tally struct {
	framesIn, framesOut, bytesIn, bytesOut, writes atomic.Uint64

	_ [64]byte // of another's cache line
}

// tallies is how many there are.
const tallies = 16

func (t *tally) wrote(n int) {
	if n > 0 {
		t.bytesOut.Add(uint64(n))
		t.writes.Add(1)
	}
}

// said counts a Goodbye.
func (s *Server) said(code protocol.GoodbyeCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goodbyes[code]++
}

// Stats is a snapshot. It looks at every connection.
func (s *Server) Stats() Stats {
	var st Stats
	for i := range s.bounds {
		t := &s.bounds[i].tally
		st.FramesIn += t.framesIn.Load()
		st.FramesOut += t.framesOut.Load()
		st.BytesIn += t.bytesIn.Load()
		st.BytesOut += t.bytesOut.Load()
		st.Writes += t.writes.Load()
	}
	s.mu.Lock()
	st.Goodbyes = maps.Clone(s.goodbyes)
	open := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range open {
		st.OutboxBytes += int64(c.out.backlog())
	}
	return st
}

// Queue says how connections get their turns.
func (s *Server) Queue() queue.Stats { return s.queue.Stats() }
