package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrEndlessLine ends the reading of a stream: a line went on beyond what
// [LineReader.SetMaxSkip] allows.
var ErrEndlessLine = errors.New("a line without end")

// smallBuffer is what a reader starts with and goes back to after a long line.
const smallBuffer = 4 << 10

// smallBuffers are lent to readers that have something to read.
var smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}

// LineReader cuts a stream into lines (docs/protocol.md#frames). It holds no
// buffer before its first read, then one of 4 KiB that grows for long lines to
// the bound on lines, never beyond.
//
// An error of the underlying reader that may pass, as a read deadline's, loses
// nothing: the next call of Next goes on in the middle of the line. Who then
// waits for long calls Release.
type LineReader struct {
	r       io.Reader
	max     int
	maxSkip int64 // 0: no bound

	buf        []byte
	start, end int   // buf[start:end] is read but not returned
	scanned    int   // buf[start:scanned] holds no newline
	skipping   bool  // inside a line over the bound
	skipped    int64 // bytes of it so far
	err        error // of the reader, due once buf holds no complete line
}

// NewLineReader reads lines of at most max bytes (newline not counted) from r.
func NewLineReader(r io.Reader, max int) *LineReader {
	return &LineReader{r: r, max: max}
}

// SetMax changes the bound for the lines to come.
func (l *LineReader) SetMax(max int) { l.max = max }

// SetMaxSkip bounds what may be skipped of one over-long line, in bytes; 0, the
// start, is no bound. Beyond it Next returns [ErrEndlessLine], for good.
func (l *LineReader) SetMaxSkip(n int64) { l.maxSkip = n }

// Next returns the next line without its "\n" or "\r\n", skipping blank lines
// (nothing but spaces, tabs and "\r"). It stays valid until the next call. A
// line over the bound is skipped to its end and then reported once as an *Error
// with CodeFrameTooLarge; the reader goes on with the line after it. At the end
// of the stream it is io.EOF, also after an unfinished last line, which is
// returned first. Other errors are the underlying reader's, unwrapped.
func (l *LineReader) Next() ([]byte, error) {
	for {
		line, found := l.cut()
		switch {
		case !found:
		case l.skipping:
			return nil, l.tooLarge()
		case len(line) > l.max:
			return nil, l.tooLarge()
		case !blank(line):
			return line, nil
		default:
			continue
		}

		if err := l.skip(); err != nil {
			return nil, err
		}
		if l.err == nil {
			l.fill()
			continue
		}
		if l.err != io.EOF {
			err := l.err
			if err != ErrEndlessLine {
				l.err = nil
			}
			return nil, err
		}
		// The end: what is left is the last line.
		rest := trimCR(l.buf[l.start:l.end])
		l.start, l.end, l.scanned = 0, 0, 0
		switch {
		case l.skipping, len(rest) > l.max:
			return nil, l.tooLarge()
		case !blank(rest):
			return rest, nil
		}
		l.buf = nil
		return nil, io.EOF
	}
}

// Buffered is Next for a line that has been read already, as long as nothing is
// to be said against it; if there is none, it is not ok.
func (l *LineReader) Buffered() (line []byte, ok bool) {
	for !l.skipping {
		i := bytes.IndexByte(l.buf[l.scanned:l.end], '\n')
		if i < 0 || l.scanned+i-l.start > l.max {
			return nil, false
		}
		if line, _ := l.cut(); !blank(line) {
			return line, true
		}
	}
	return nil, false
}

// Idle reports whether the reader holds nothing: no part of a line, and no error
// that is due. Another one can go on in its place.
func (l *LineReader) Idle() bool { return l.start == l.end && !l.skipping && l.err == nil }

// Release gives the buffer away, unless it holds a part of a line. The line
// that Next returned last is not valid any more.
func (l *LineReader) Release() {
	if l.start < l.end {
		return
	}
	l.giveBack()
	l.start, l.end, l.scanned = 0, 0, 0
}

// giveBack leaves the reader without a buffer.
func (l *LineReader) giveBack() {
	if len(l.buf) == smallBuffer {
		smallBuffers.Put((*[smallBuffer]byte)(l.buf))
	}
	l.buf = nil
}

// cut takes the next complete line from the buffer, without its end.
func (l *LineReader) cut() (line []byte, found bool) {
	i := bytes.IndexByte(l.buf[l.scanned:l.end], '\n')
	if i < 0 {
		l.scanned = l.end
		return nil, false
	}
	line = l.buf[l.start : l.scanned+i]
	l.start = l.scanned + i + 1
	l.scanned = l.start
	return trimCR(line), true
}

// skip drops the unfinished line in the buffer if it is, or has become, too
// long to be returned.
func (l *LineReader) skip() error {
	pending := l.end - l.start
	if !l.skipping {
		// One more may be the "\r" of its end.
		if pending <= l.max || pending == l.max+1 && l.buf[l.end-1] == '\r' {
			return nil
		}
		l.skipping = true
	}
	l.skipped += int64(pending)
	l.start, l.end, l.scanned = 0, 0, 0
	if l.maxSkip > 0 && l.skipped > l.maxSkip {
		l.err = ErrEndlessLine
		return l.err
	}
	return nil
}

// fill reads once into the buffer, making room first. There is no complete line
// in it, and the unfinished one is within the bound.
func (l *LineReader) fill() {
	pending := l.buf[l.start:l.end]
	switch {
	case len(pending) == 0 && len(l.buf) != min(smallBuffer, l.max+2):
		l.giveBack()
		if l.max+2 < smallBuffer {
			l.buf = make([]byte, l.max+2)
		} else {
			l.buf = smallBuffers.Get().(*[smallBuffer]byte)[:]
		}
		pending = nil
	case len(pending) == len(l.buf):
		l.buf = make([]byte, min(2*len(l.buf), l.max+2))
	}
	l.end = copy(l.buf, pending)
	l.start, l.scanned = 0, l.end

	for range 100 {
		n, err := l.r.Read(l.buf[l.end:])
		l.end += n
		l.err = err
		if n > 0 || err != nil {
			return
		}
	}
	l.err = io.ErrNoProgress
}

func (l *LineReader) tooLarge() *Error {
	l.skipping, l.skipped = false, 0
	return NewError(CodeFrameTooLarge, fmt.Sprintf("the line is longer than %d bytes", l.max))
}

func trimCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

func blank(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}
