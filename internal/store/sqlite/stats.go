package sqlite

import (
	"sync"
	"time"

	"github.com/grima-chat/grima/internal/store/batch"
)

// Stats is what a Store did since Open, and how it stands now. Counts and sums
// only grow.
type Stats struct {
	batch.Stats
	WALBytes int64 // length of the write-ahead log, as of the last commit

	// Checkpoints are those beside the writer, Stalls those it did itself
	// because the log had reached its bound, each with its time in seconds: a
	// stall holds up whoever sends meanwhile.
	Checkpoints, Stalls batch.Histogram
}

// stats is where they gather.
type stats struct {
	*batch.Counts

	mu                  sync.Mutex
	walBytes            int64
	checkpoints, stalls batch.Histogram
}

func newStats() *stats {
	return &stats{
		Counts:      batch.NewCounts(),
		checkpoints: batch.NewHistogram(batch.Seconds...),
		stalls:      batch.NewHistogram(batch.Seconds...),
	}
}

func (s *stats) committed(updates, pages int, took time.Duration) {
	s.Committed(updates, took)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.walBytes = int64(pages) * pageSize
}

func (s *stats) checkpointed(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkpoints.Observe(took.Seconds())
}

func (s *stats) stalled(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalls.Observe(took.Seconds())
}

// Stats gives a copy that nobody changes. It is cheap enough to be asked once a
// second, and works after Close.
func (s *Store) Stats() Stats {
	st := s.writer.stats
	now := Stats{Stats: st.Stats(s.writer.Queued())}
	st.mu.Lock()
	defer st.mu.Unlock()
	now.WALBytes, now.Checkpoints, now.Stalls = st.walBytes, st.checkpoints.Clone(), st.stalls.Clone()
	return now
}
