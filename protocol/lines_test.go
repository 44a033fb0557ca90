package protocol

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// script is a reader that gives one piece per call; an error is a piece too.
type script []any

func (s *script) Read(p []byte) (int, error) {
	if len(*s) == 0 {
		return 0, io.EOF
	}
	switch piece := (*s)[0].(type) {
	case error:
		*s = (*s)[1:]
		return 0, piece
	case string:
		n := copy(p, piece)
		if n == len(piece) {
			*s = (*s)[1:]
		} else {
			(*s)[0] = piece[n:]
		}
		return n, nil
	}
	panic("unknown piece")
}

func expectLine(t *testing.T, l *LineReader, want string) {
	t.Helper()
	got, err := l.Next()
	if err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

func expectError(t *testing.T, l *LineReader, want error) {
	t.Helper()
	if got, err := l.Next(); !errors.Is(err, want) {
		t.Fatalf("got %q, %v; want %v", got, err, want)
	}
}

func expectTooLarge(t *testing.T, l *LineReader) {
	t.Helper()
	got, err := l.Next()
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeFrameTooLarge {
		t.Fatalf("got %q, %v; want %s", got, err, CodeFrameTooLarge)
	}
}

func TestDeadlineInTheMiddleOfALineLosesNothing(t *testing.T) {
	l := NewLineReader(&script{"ab", os.ErrDeadlineExceeded, "c\nd", os.ErrDeadlineExceeded, os.ErrDeadlineExceeded, "ef\n"}, 8)
	expectError(t, l, os.ErrDeadlineExceeded)
	expectLine(t, l, "abc")
	expectError(t, l, os.ErrDeadlineExceeded)
	expectError(t, l, os.ErrDeadlineExceeded)
	expectLine(t, l, "def")
	expectError(t, l, io.EOF)
	expectError(t, l, io.EOF)
}

// What was read already is there without reading, save what there is something
// to say against.
func TestBuffered(t *testing.T) {
	l := NewLineReader(&script{"a\n \r\nb\r\n0123456789\nc\nd", "e\n"}, 8)
	if line, ok := l.Buffered(); ok {
		t.Fatalf("before anything was read: %q", line)
	}
	expectLine(t, l, "a")
	if line, ok := l.Buffered(); !ok || string(line) != "b" {
		t.Fatalf("%q, %v", line, ok)
	}
	if line, ok := l.Buffered(); ok {
		t.Fatalf("a line that is too long: %q", line)
	}
	expectTooLarge(t, l)
	if line, ok := l.Buffered(); !ok || string(line) != "c" {
		t.Fatalf("%q, %v", line, ok)
	}
	if line, ok := l.Buffered(); ok {
		t.Fatalf("half a line: %q", line)
	}
	expectLine(t, l, "de")
}

func TestDeadlineInTheMiddleOfAnOverLongLine(t *testing.T) {
	l := NewLineReader(&script{strings.Repeat("x", 20), os.ErrDeadlineExceeded, "xxx", os.ErrDeadlineExceeded, "\nabc\n"}, 8)
	expectError(t, l, os.ErrDeadlineExceeded)
	expectError(t, l, os.ErrDeadlineExceeded)
	expectTooLarge(t, l)
	expectLine(t, l, "abc")
}

func TestLineWithoutEndEndsTheReading(t *testing.T) {
	r := &script{"a\n", strings.Repeat("x", 100<<20), "\nb\n"}
	l := NewLineReader(r, 8<<10)
	l.SetMaxSkip(1 << 20)
	expectLine(t, l, "a")
	expectError(t, l, ErrEndlessLine)
	expectError(t, l, ErrEndlessLine)
	if left := len((*r)[0].(string)); left < 98<<20 {
		t.Errorf("read on to the last %d bytes", left)
	}
	if len(l.buf) > 8<<10+2 {
		t.Errorf("a buffer of %d bytes", len(l.buf))
	}
}

func TestBufferGrowsToTheBoundAndShrinksAgain(t *testing.T) {
	long := strings.Repeat("x", MaxFrame)
	l := NewLineReader(&script{"a\n", long + "\n", long + "y\n", "b\n", "c\n"}, MaxFrame)
	if len(l.buf) != 0 {
		t.Errorf("a buffer of %d bytes before the first read", len(l.buf))
	}
	expectLine(t, l, "a")
	if len(l.buf) != smallBuffer {
		t.Errorf("a buffer of %d bytes for a short line", len(l.buf))
	}
	expectLine(t, l, long)
	expectTooLarge(t, l)
	if len(l.buf) > MaxFrame+2 {
		t.Errorf("a buffer of %d bytes for a long line", len(l.buf))
	}
	expectLine(t, l, "b")
	if len(l.buf) != smallBuffer {
		t.Errorf("a buffer of %d bytes after the long lines", len(l.buf))
	}
	expectLine(t, l, "c")
	expectError(t, l, io.EOF)
}

func TestBoundChangesForTheLinesToCome(t *testing.T) {
	l := NewLineReader(strings.NewReader("1234\n12345\n123456789\n12345\n123\n"), 4)
	expectLine(t, l, "1234")
	expectTooLarge(t, l)
	l.SetMax(9)
	expectLine(t, l, "123456789")
	l.SetMax(4)
	expectTooLarge(t, l)
	expectLine(t, l, "123")
}

func TestReaderThatGivesNothing(t *testing.T) {
	l := NewLineReader(readerFunc(func([]byte) (int, error) { return 0, nil }), 8)
	expectError(t, l, io.ErrNoProgress)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func BenchmarkLines(b *testing.B) {
	b.ReportAllocs()
	input := bytes.Repeat(append(sendLine, '\n'), 1000)
	b.SetBytes(int64(len(input)))
	for b.Loop() {
		l := NewLineReader(bytes.NewReader(input), MaxFrame)
		for {
			if _, err := l.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}
