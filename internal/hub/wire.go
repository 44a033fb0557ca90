package hub

import "sync"

// Wire is a form in which lines go over a connection. There are a handful, made
// at init.
type Wire struct {
	wrap  func(dst, line []byte) []byte
	index int
}

var wires []*Wire

// NewWire makes a form: wrap appends a line in it; nil leaves lines as they are.
func NewWire(wrap func(dst, line []byte) []byte) *Wire {
	w := &Wire{wrap: wrap, index: len(wires)}
	wires = append(wires, w)
	return w
}

// Lines are lines as they are.
var Lines = NewWire(nil)

const maxWires = 8

// Run is what is delivered at once, encoded once for all who get it.
type Run struct {
	line  []byte
	wired [maxWires]struct {
		once  sync.Once
		bytes []byte
	}
}

// Bytes is the run as it goes over w. It must not be written to.
func (r *Run) Bytes(w *Wire) []byte {
	if w.wrap == nil {
		return r.line
	}
	in := &r.wired[w.index]
	in.once.Do(func() { in.bytes = w.wrap(nil, r.line) })
	return in.bytes
}

// Size is how many bytes its bare lines have.
func (r *Run) Size() int { return len(r.line) }
