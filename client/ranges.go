package client

import "slices"

// Range is the positions From to To, both included.
type Range struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Ranges is a set of positions: ascending ranges that neither overlap nor
// touch. The zero Ranges is empty.
type Ranges []Range

// find returns the index of the first range that ends at or after n.
func (r Ranges) find(n int64) int {
	i, _ := slices.BinarySearchFunc(r, n, func(r Range, n int64) int {
		if r.To < n {
			return -1
		}
		return 1
	})
	return i
}

// Has reports whether n is in the set.
func (r Ranges) Has(n int64) bool {
	_, ok := r.Around(n)
	return ok
}

// Around is the range that n is in.
func (r Ranges) Around(n int64) (Range, bool) {
	if i := r.find(n); i < len(r) && r[i].From <= n {
		return r[i], true
	}
	return Range{}, false
}

// Add puts from..to into the set; nothing when from is above to.
func (r *Ranges) Add(from, to int64) {
	if from > to {
		return
	}
	// Those that overlap from..to, or touch it, become one.
	i := r.find(from - 1)
	j := i
	for j < len(*r) && (*r)[j].From <= to+1 {
		from, to = min(from, (*r)[j].From), max(to, (*r)[j].To)
		j++
	}
	*r = slices.Replace(*r, i, j, Range{from, to})
}

// Remove takes from..to out of the set.
func (r *Ranges) Remove(from, to int64) {
	if from > to {
		return
	}
	i := r.find(from)
	j := i
	var rest []Range
	for j < len(*r) && (*r)[j].From <= to {
		if g := (*r)[j]; g.From < from {
			rest = append(rest, Range{g.From, from - 1})
		}
		if g := (*r)[j]; g.To > to {
			rest = append(rest, Range{to + 1, g.To})
		}
		j++
	}
	*r = slices.Replace(*r, i, j, rest...)
}
