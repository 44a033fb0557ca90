package client

// Range is the positions From to To, both included.
type Range struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// Ranges is a set of positions: ascending ranges that neither overlap nor
// touch. The zero Ranges is empty.
type Ranges []Range

// Has reports whether n is in the set.
func (r Ranges) Has(n int64) bool { panic("not yet") }

// Add puts from..to into the set.
func (r *Ranges) Add(from, to int64) { panic("not yet") }

// Remove takes from..to out of the set.
func (r *Ranges) Remove(from, to int64) { panic("not yet") }
