package hub

import (
	"bytes"
	"sync/atomic"
	"time"
)

// Wire is a form in which lines go over a connection: bare lines, messages of a
// WebSocket, chunks of an HTTP answer. There are few, made when the program
// starts.
type Wire struct {
	form int // its place in a Run
	wrap func(dst, line []byte) []byte
}

const maxWires = 8

var wires atomic.Int32

// Lines is the form in which lines go as they are.
var Lines = NewWire(nil)

// NewWire makes a form. wrap appends a line, newline included, as it goes over
// the connection; nil: as it is. It panics at the ninth.
func NewWire(wrap func(dst, line []byte) []byte) *Wire {
	n := int(wires.Add(1)) - 1
	if n >= maxWires {
		panic("hub: too many wires")
	}
	return &Wire{form: n, wrap: wrap}
}

// maxRun is how many bytes of lines are joined into one Run.
const maxRun = 64 << 10

// Run is a run of consecutive events of one chat, or one ephemeral line, encoded
// once and shared by all who get it.
type Run struct {
	lines []byte
	made  time.Time
	forms [maxWires]atomic.Pointer[[]byte]
}

// Bytes gives the lines, joined, as they go over w. They are shared and must not
// be written to. They have at most 64 KiB before wrapping, unless one line alone
// has more.
func (r *Run) Bytes(w *Wire) []byte {
	if w.wrap == nil {
		return r.lines
	}
	if b := r.forms[w.form].Load(); b != nil {
		return *b
	}
	b := make([]byte, 0, len(r.lines)+len(r.lines)/8+64)
	for line := range bytes.Lines(r.lines) {
		b = w.wrap(b, line)
	}
	// Whoever else wrapped it meanwhile made the same bytes.
	r.forms[w.form].Store(&b)
	return b
}

// Made is when it was encoded.
func (r *Run) Made() time.Time { return r.made }

// Size is the number of bytes of the bare lines.
func (r *Run) Size() int { return len(r.lines) }
