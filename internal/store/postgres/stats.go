package postgres

import (
	"sync"
	"time"

	"github.com/grima-chat/grima/internal/store/batch"
)

// Stats is what a Store did since Open, and how it stands now. Counts and sums
// only grow.
type Stats struct {
	BatchUpdates  batch.Histogram // updates in each committed transaction
	CommitSeconds batch.Histogram // from its begin to the answer to its commit
	Failed        uint64          // transactions that ended otherwise; most were tried again
	Queued        int             // updates that are not committed or refused yet
}

// stats is where they gather: a lock per batch.
type stats struct {
	mu  sync.Mutex
	now Stats
}

func newStats() *stats {
	return &stats{now: Stats{BatchUpdates: batch.NewHistogram(batch.Updates...), CommitSeconds: batch.NewHistogram(batch.Seconds...)}}
}

func (s *stats) committed(updates int, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.BatchUpdates.Observe(float64(updates))
	s.now.CommitSeconds.Observe(took.Seconds())
}

func (s *stats) failed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Failed++
}

// Stats gives a copy that nobody changes. It is cheap enough to be asked once a
// second, and works after Close.
func (s *Store) Stats() Stats {
	st := s.writer.stats
	st.mu.Lock()
	now := st.now
	now.BatchUpdates, now.CommitSeconds = now.BatchUpdates.Clone(), now.CommitSeconds.Clone()
	st.mu.Unlock()
	now.Queued = s.writer.Queued()
	return now
}
