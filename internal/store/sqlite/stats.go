package sqlite

import (
	"slices"
	"sync"
	"time"
)

// Stats is what a Store did since Open, and how it stands now. Counts and sums
// only grow.
type Stats struct {
	BatchUpdates  Histogram // updates in each committed transaction
	CommitSeconds Histogram // from its begin to the end of its fsync
	Failed        uint64    // transactions of which nothing was stored
	Queued        int       // updates that are not committed or refused yet
	WALBytes      int64     // length of the write-ahead log, as of the last commit

	// Checkpoints are those beside the writer, Stalls those it did itself
	// because the log had reached its bound, each with its time in seconds: a
	// stall holds up whoever sends meanwhile.
	Checkpoints, Stalls Histogram
}

// Histogram counts observations by size.
type Histogram struct {
	Count   uint64
	Sum     float64
	Buckets []Bucket // by ascending Most; what is above the last is in Count alone
}

// Bucket is how many observations were at most Most, those of the buckets
// before it included.
type Bucket struct {
	Most  float64
	Count uint64
}

func newHistogram(most ...float64) Histogram {
	h := Histogram{Buckets: make([]Bucket, len(most))}
	for i, m := range most {
		h.Buckets[i].Most = m
	}
	return h
}

func (h *Histogram) observe(v float64) {
	h.Count++
	h.Sum += v
	for i := len(h.Buckets) - 1; i >= 0 && v <= h.Buckets[i].Most; i-- {
		h.Buckets[i].Count++
	}
}

func (h Histogram) clone() Histogram {
	h.Buckets = slices.Clone(h.Buckets)
	return h
}

// stats is where they gather: a lock per batch, which is nothing beside its
// fsync.
type stats struct {
	mu  sync.Mutex
	now Stats
}

func newStats() *stats {
	seconds := []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}
	return &stats{now: Stats{
		BatchUpdates:  newHistogram(1, 2, 4, 8, 16, 32, 64, 128, 256, batchOps),
		CommitSeconds: newHistogram(seconds...),
		Checkpoints:   newHistogram(seconds...),
		Stalls:        newHistogram(seconds...),
	}}
}

func (s *stats) committed(updates, pages int, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.BatchUpdates.observe(float64(updates))
	s.now.CommitSeconds.observe(took.Seconds())
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
	s.now.Checkpoints.observe(took.Seconds())
}

func (s *stats) stalled(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Stalls.observe(took.Seconds())
}

// Stats gives a copy that nobody changes. It is cheap enough to be asked once a
// second, and works after Close.
func (s *Store) Stats() Stats {
	w := s.writer
	w.stats.mu.Lock()
	now := w.stats.now
	now.BatchUpdates, now.CommitSeconds = now.BatchUpdates.clone(), now.CommitSeconds.clone()
	now.Checkpoints, now.Stalls = now.Checkpoints.clone(), now.Stalls.clone()
	w.stats.mu.Unlock()
	now.Queued = int(w.queued.Load())
	return now
}
