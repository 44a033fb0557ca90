package sqlite

import (
	"sync"
	"time"

	"github.com/grima-chat/grima/internal/store/batch"
)

// Stats is what a Store did since Open, and how it stands now. Counts and sums
// only grow.
type Stats struct {
	BatchUpdates  batch.Histogram // updates in each committed transaction
	CommitSeconds batch.Histogram // from its begin to the end of its fsync
	Failed        uint64          // transactions of which nothing was stored
	Queued        int             // updates that are not committed or refused yet
	WALBytes      int64           // length of the write-ahead log, as of the last commit

	// Checkpoints are those beside the writer, Stalls those it did itself
	// because the log had reached its bound, each with its time in seconds: a
	// stall holds up whoever sends meanwhile.
	Checkpoints, Stalls batch.Histogram
}

// stats is where they gather: a lock per batch, which is nothing beside its
// fsync.
type stats struct {
	mu  sync.Mutex
	now Stats
}

func newStats() *stats {
	return &stats{now: Stats{
		BatchUpdates:  batch.NewHistogram(batch.Updates...),
		CommitSeconds: batch.NewHistogram(batch.Seconds...),
		Checkpoints:   batch.NewHistogram(batch.Seconds...),
		Stalls:        batch.NewHistogram(batch.Seconds...),
	}}
}

func (s *stats) committed(updates, pages int, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.BatchUpdates.Observe(float64(updates))
	s.now.CommitSeconds.Observe(took.Seconds())
	s.now.WALBytes = int64(pages) * pageSize
}

func (s *stats) failed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Failed++
}

func (s *stats) checkpointed(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Checkpoints.Observe(took.Seconds())
}

func (s *stats) stalled(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Stalls.Observe(took.Seconds())
}

// Stats gives a copy that nobody changes. It is cheap enough to be asked once a
// second, and works after Close.
func (s *Store) Stats() Stats {
	w := s.writer
	w.stats.mu.Lock()
	now := w.stats.now
	now.BatchUpdates, now.CommitSeconds = now.BatchUpdates.Clone(), now.CommitSeconds.Clone()
	now.Checkpoints, now.Stalls = now.Checkpoints.Clone(), now.Stalls.Clone()
	w.stats.mu.Unlock()
	now.Queued = w.Queued()
	return now
}
