package batch

import "slices"

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

// Updates are the buckets for how many updates a batch has.
var Updates = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, MostOps}
