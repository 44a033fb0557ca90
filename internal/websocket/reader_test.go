package websocket

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// frame is a client's frame.
func frame(first byte, payload string) []byte {
	b := appendHeader(nil, 0, len(payload))
	b[0] = first
	b[1] |= masked
	mask := [4]byte{1, 0x80, 0xff, 0x37}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

// heard is all that a Reader makes of some bytes.
type heard struct {
	lines string
	pings string
	code  int // of the client's close
	err   error
}

func read(r io.Reader, buffer int) (h heard) {
	d := NewReader(r, 1<<16, func(p []byte) { h.pings += string(p) + ";" })
	p := make([]byte, buffer)
	var lines []byte
	for {
		n, err := d.Read(p)
		lines = append(lines, p[:n]...)
		if err != nil {
			h.lines, h.code, h.err = string(lines), d.CloseCode(), err
			return h
		}
	}
}

func TestMessagesAreLines(t *testing.T) {
	long := strings.Repeat("long ", 200)
	var in []byte
	for _, f := range [][]byte{
		frame(0x81, "one"), frame(0x81, ""), frame(0x01, "t"), frame(0x89, "ping"), frame(0x00, "w"), frame(0x80, "o"),
		frame(0x81, "a\nb\n"), frame(0x81, "\xc3\xbc"), frame(0x8a, "unasked"), frame(0x81, long), frame(0x88, "\x03\xe9bye"), frame(0x81, "too late"),
	} {
		in = append(in, f...)
	}
	want := heard{lines: "one\n\ntwo\na\rb\r\nü\n" + long + "\n", pings: "ping;", code: 1001, err: io.EOF}
	for _, buffer := range []int{1, 2, 3, 7, 4096} {
		if got := read(bytes.NewReader(in), buffer); got != want {
			t.Errorf("with a buffer of %d: %.80v", buffer, got)
		}
		if got := read(iotest.OneByteReader(bytes.NewReader(in)), buffer); got != want {
			t.Errorf("byte by byte, with a buffer of %d: %.80v", buffer, got)
		}
	}
	for i := range len(in) - len(frame(0x88, "\x03\xe9bye")) - len(frame(0x81, "too late")) {
		got := read(bytes.NewReader(in[:i]), 512)
		if !strings.HasPrefix(want.lines, got.lines) || !errors.Is(got.err, io.EOF) && !errors.Is(got.err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut off at %d: %.80v", i, got)
		}
		if got.err == io.EOF && got.lines != "" && !strings.HasSuffix(got.lines, "\n") {
			t.Fatalf("cut off at %d: part of a message counts as one: %.80v", i, got)
		}
	}
}

// What passes is passed on, and nothing is lost by it.
func TestErrorsThatPass(t *testing.T) {
	first, second := frame(0x81, "hello"), frame(0x81, "again")
	passing := errors.New("not now")
	parts := []io.Reader{bytes.NewReader(first[:8]), iotest.ErrReader(passing), bytes.NewReader(append(first[8:], second...))}
	d := NewReader(readerFunc(func(p []byte) (int, error) {
		for len(parts) > 0 {
			n, err := parts[0].Read(p)
			if err == io.EOF {
				parts = parts[1:]
				continue
			}
			if err != nil {
				parts = parts[1:]
			}
			return n, err
		}
		return 0, io.EOF
	}), 100, nil)
	var lines []byte
	passed := 0
	for {
		p := make([]byte, 64)
		n, err := d.Read(p)
		lines = append(lines, p[:n]...)
		if err == passing {
			passed++
		} else if err != nil {
			break
		}
	}
	if string(lines) != "hello\nagain\n" || passed != 1 {
		t.Errorf("%q, %d", lines, passed)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestAppendClose(t *testing.T) {
	for _, reason := range []string{"", "bye", strings.Repeat("x", 200), strings.Repeat("ü", 100), strings.Repeat("x", 122) + "ü"} {
		b := AppendClose(nil, 4000, reason)
		if len(b) > 2+maxControl || int(b[1]) != len(b)-2 || b[2] != 0x0f || b[3] != 0xa0 || !strings.HasPrefix(reason, string(b[4:])) || !utf8.Valid(b[4:]) {
			t.Errorf("%q: % x", reason, b)
		}
	}
}

// Whatever comes: no panic, the same however it is cut up, and no line that is
// not UTF-8 or over the bound.
func FuzzReader(f *testing.F) {
	f.Add([]byte(nil), uint8(1))
	f.Add(append(frame(0x81, "hello"), frame(0x88, "\x03\xe8")...), uint8(3))
	f.Add(append(append(frame(0x01, "\xe2\x82"), frame(0x89, "ping")...), frame(0x80, "\xac\n")...), uint8(5))
	f.Add(frame(0x82, "binary"), uint8(9))
	f.Add([]byte("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask"), uint8(4))
	f.Add([]byte("\x81\xfe\x00\x80maskxxxx"), uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, buffer uint8) {
		want := read(bytes.NewReader(bytes.Clone(in)), 4096)
		got := read(iotest.OneByteReader(bytes.NewReader(in)), int(buffer)+1)
		wantErr, gotErr := want.err.Error(), got.err.Error()
		want.err, got.err = nil, nil
		if gotErr != wantErr || got.pings != want.pings || got.code != want.code {
			t.Fatalf("%+v, %s\n%+v, %s", want, wantErr, got, gotErr)
		}
		// Of a message that turns out bad, more or less may have been given.
		whole := func(s string) string { return s[:strings.LastIndexByte(s, '\n')+1] }
		if whole(got.lines) != whole(want.lines) {
			t.Fatalf("%q\n%q", want.lines, got.lines)
		}
		for line := range strings.Lines(whole(got.lines)) {
			if !utf8.ValidString(line) || len(line) > 1<<16+1 {
				t.Fatalf("%q", line)
			}
		}
	})
}

// Messages, cut into frames anyhow, with pings between, come out as they went in.
func FuzzMessages(f *testing.F) {
	f.Add("hello\x00world\x00ü", []byte{1, 0, 2, 200}, uint8(3))
	f.Fuzz(func(t *testing.T, messages string, cuts []byte, buffer uint8) {
		if !utf8.ValidString(messages) || len(messages) > 1<<12 || len(cuts) > 1<<12 {
			return
		}
		var in []byte
		want := heard{err: io.EOF, code: CloseNormal}
		for m := range strings.SplitSeq(messages, "\x00") {
			want.lines += strings.ReplaceAll(m, "\n", "\r") + "\n"
			first := byte(opText)
			for {
				n := len(m)
				if len(cuts) > 0 {
					n, cuts = min(n, int(cuts[0])), cuts[1:]
				}
				if n == len(m) {
					in = append(in, frame(fin|first, m)...)
					break
				}
				in = append(in, frame(first, m[:n])...)
				in = append(in, frame(fin|opPing, "p")...)
				want.pings += "p;"
				m, first = m[n:], opContinuation
			}
		}
		in = append(in, frame(fin|opClose, "")...)
		if got := read(bytes.NewReader(in), int(buffer)+1); got != want {
			t.Fatalf("%+v\n%+v", got, want)
		}
	})
}
