package batch

import (
	"slices"
	"sync"
	"time"
)

// Stats is what a store's writer did since it began, and how it stands now. Counts
// and sums only grow.
type Stats struct {
	BatchUpdates  Histogram // updates in each committed transaction
	CommitSeconds Histogram // from its begin until it was durable
	Failed        uint64    // transactions that ended otherwise
	Queued        int       // updates that are not committed or refused yet
}

// Counts is where they gather: a lock per batch, which is nothing beside its
// commit. Its methods may be called from any goroutine.
type Counts struct {
	mu  sync.Mutex
	now Stats
}

// NewCounts begins with nothing.
func NewCounts() *Counts {
	return &Counts{now: Stats{BatchUpdates: NewHistogram(updates...), CommitSeconds: NewHistogram(Seconds...)}}
}

// Committed counts a transaction that is durable.
func (c *Counts) Committed(updates int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.BatchUpdates.Observe(float64(updates))
	c.now.CommitSeconds.Observe(took.Seconds())
}

// Failed counts one that is not.
func (c *Counts) Failed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Failed++
}

// Stats gives a copy that nobody changes, with the updates that are queued.
func (c *Counts) Stats(queued int) Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now
	now.BatchUpdates, now.CommitSeconds = now.BatchUpdates.Clone(), now.CommitSeconds.Clone()
	now.Queued = queued
	return now
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

// NewHistogram makes one with buckets up to these sizes.
func NewHistogram(most ...float64) Histogram {
	h := Histogram{Buckets: make([]Bucket, len(most))}
	for i, m := range most {
		h.Buckets[i].Most = m
	}
	return h
}

// Observe counts one.
func (h *Histogram) Observe(v float64) {
	h.Count++
	h.Sum += v
	for i := len(h.Buckets) - 1; i >= 0 && v <= h.Buckets[i].Most; i-- {
		h.Buckets[i].Count++
	}
}

// Clone gives a copy that nobody changes.
func (h Histogram) Clone() Histogram {
	h.Buckets = slices.Clone(h.Buckets)
	return h
}

// Seconds are the buckets for how long a commit or a copy takes.
var Seconds = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}

// updates are the buckets for how many updates a batch has.
var updates = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, MostOps}
