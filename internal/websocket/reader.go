package websocket

import (
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"
)

// Error is what a client did against the protocol. The connection has to be
// closed with Code.
type Error struct {
	Code   int
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (close code %d)", e.Reason, e.Code) }

// Reader reads a client's frames and gives its text messages as lines. A
// newline inside a message, which JSON takes for a blank outside of strings and
// refuses inside, becomes a carriage return, of which JSON thinks the same.
//
// It has no buffer: frames are taken apart where they were read to. Control
// frames are dealt with on the way. After a close frame it gives io.EOF, for
// whatever follows; an end in the middle of a message is io.ErrUnexpectedEOF;
// what is against the protocol is an *Error. Other errors are the underlying
// reader's, and may pass.
type Reader struct {
	r      io.Reader
	max    int
	onPing func(payload []byte)

	header  [14]byte
	have    int // bytes of header
	inFrame bool
	op      byte
	final   bool
	left    int // bytes of the frame's payload to come
	mask    [4]byte
	turn    int // in mask

	inMessage bool
	size      int // of the message, as far as its frames announced it
	text      utf8Checker
	owed      bool // a newline there was no room for

	control [maxControl]byte
	filled  int

	code int
	err  error
}

// NewReader reads from r messages of at most max bytes, however they are cut
// into frames. onPing is called by Read with what a ping brought, to be echoed
// in a pong; it must not keep it.
func NewReader(r io.Reader, max int, onPing func(payload []byte)) *Reader {
	return &Reader{r: r, max: max, onPing: onPing}
}

// Idle reports whether the reader is between two messages and two frames, and
// owes nothing. Another one can go on in its place.
func (d *Reader) Idle() bool {
	return d.have == 0 && !d.inFrame && !d.inMessage && !d.owed && d.err == nil
}

// CloseCode is what the client closed with, CloseNormal if it gave no code; 0
// when it has not closed.
func (d *Reader) CloseCode() int { return d.code }

// Read implements io.Reader.
func (d *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if d.owed {
		d.owed = false
		p[0] = '\n'
		return 1, nil
	}
	for {
		if d.err != nil {
			return 0, d.err
		}
		n, err := d.r.Read(p)
		n = d.decode(p[:n])
		switch {
		case d.err != nil:
		case err == io.EOF:
			d.err = io.EOF
			if d.inFrame || d.inMessage || d.have > 0 {
				d.err = io.ErrUnexpectedEOF
			}
		case err != nil:
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// decode takes b apart, moves what belongs to lines to its beginning, and says
// how much that is. What it cannot go on with is left in d.err.
func (d *Reader) decode(b []byte) int {
	out, in := 0, 0
	for d.err == nil {
		if !d.inFrame {
			if in == len(b) {
				break
			}
			d.header[d.have] = b[in]
			d.have++
			in++
			if d.owed { // now there is room
				d.owed = false
				b[out] = '\n'
				out++
			}
			d.err = d.begin()
			continue
		}
		n := min(d.left, len(b)-in)
		part := b[in : in+n]
		d.unmask(part)
		d.left -= n
		in += n
		if d.op >= opClose {
			d.filled += copy(d.control[d.filled:], part)
		} else {
			if !d.text.write(part) {
				d.err = errNotUTF8
				break
			}
			for i, c := range part {
				if c == '\n' {
					part[i] = '\r'
				}
			}
			out += copy(b[out:], part)
		}
		if d.left > 0 {
			break
		}
		d.inFrame = false
		if d.op >= opClose {
			d.err = d.endControl()
		} else if d.final {
			d.inMessage = false
			if !d.text.end() {
				d.err = errNotUTF8
				break
			}
			if out < in {
				b[out] = '\n'
				out++
			} else {
				d.owed = true
			}
		}
	}
	return out
}

func (d *Reader) unmask(b []byte) {
	for i := range b {
		b[i] ^= d.mask[d.turn&3]
		d.turn++
	}
}

func violation(reason string) error { return &Error{CloseProtocol, reason} }

var (
	errNotUTF8 = &Error{CloseNotUTF8, "a text message is not UTF-8"}
	errTooBig  = &Error{CloseTooBig, "a message is over the limit"}
)

// begin looks at what there is of a header, and begins the frame when it is
// all there. A bad header is refused as soon as it shows.
func (d *Reader) begin() error {
	first := d.header[0]
	op := first & 0x0f
	if d.have == 1 {
		switch {
		case first&reserved != 0:
			return violation("a reserved bit is set; no extension was agreed on")
		case op == opBinary:
			return &Error{CloseUnsupported, "a binary message; frames are text"}
		case op == opText && d.inMessage:
			return violation("a new message inside of another")
		case op == opContinuation && !d.inMessage:
			return violation("the continuation of nothing")
		case op > opBinary && op < opClose || op > opPong:
			return violation("an opcode that there is not")
		case op >= opClose && first&fin == 0:
			return violation("a control frame in pieces")
		}
		return nil
	}
	short := int(d.header[1] &^ masked)
	if d.have == 2 {
		switch {
		case d.header[1]&masked == 0:
			return violation("a client's frame that is not masked")
		case op >= opClose && short > maxControl:
			return violation("a control frame that is too long")
		}
	}
	long := 0 // bytes of a longer length
	switch short {
	case 126:
		long = 2
	case 127:
		long = 8
	}
	if d.have < 2+long+4 {
		return nil
	}
	size := uint64(short)
	switch long {
	case 2:
		size = uint64(binary.BigEndian.Uint16(d.header[2:]))
	case 8:
		size = binary.BigEndian.Uint64(d.header[2:])
	}
	switch {
	case long == 2 && size < 126, long == 8 && size <= 0xffff:
		return violation("a length that is longer than it need be")
	case size>>63 != 0:
		return violation("a length beyond 63 bits")
	}
	if op < opClose {
		if op == opText {
			d.inMessage, d.size = true, 0
		}
		if d.size > d.max || size > uint64(d.max-d.size) {
			return errTooBig
		}
		d.size += int(size)
		d.final = first&fin != 0
		if size == 0 && !d.final {
			d.size++ // or empty pieces could go on for ever
		}
	}
	copy(d.mask[:], d.header[2+long:])
	d.turn, d.have, d.filled = 0, 0, 0
	d.inFrame, d.op, d.left = true, op, int(size)
	return nil
}

// endControl deals with a control frame that is complete.
func (d *Reader) endControl() error {
	payload := d.control[:d.filled]
	switch d.op {
	case opPing:
		d.onPing(payload)
	case opClose:
		code := CloseNormal
		if len(payload) == 1 {
			return violation("half a close code")
		}
		if len(payload) >= 2 {
			code = int(binary.BigEndian.Uint16(payload))
			if !validCode(code) {
				return violation("a close code that there is not")
			}
			if !utf8.Valid(payload[2:]) {
				return &Error{CloseNotUTF8, "a close reason is not UTF-8"}
			}
		}
		d.code = code
		if d.inMessage {
			return io.ErrUnexpectedEOF
		}
		return io.EOF
	}
	return nil
}

// validCode reports whether a client may close with code: one of the
// registered ones that go over the wire, or a program's own.
func validCode(code int) bool {
	switch {
	case code >= 3000 && code <= 4999:
		return true
	case code < CloseNormal, code > 1014, code == 1004, code == closeNoStatus, code == 1006:
		return false
	}
	return true
}

// utf8Checker checks text that comes in pieces.
type utf8Checker struct {
	cut [utf8.UTFMax]byte // the beginning of a character
	n   int
}

// write reports whether the text is good up to here, save for its last
// character, of which more may come.
func (u *utf8Checker) write(b []byte) bool {
	for u.n > 0 && len(b) > 0 {
		u.cut[u.n] = b[0]
		u.n++
		b = b[1:]
		if utf8.FullRune(u.cut[:u.n]) {
			if !utf8.Valid(u.cut[:u.n]) {
				return false
			}
			u.n = 0
		}
	}
	for i := 1; i <= min(utf8.UTFMax-1, len(b)); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				u.n = copy(u.cut[:], b[len(b)-i:])
				b = b[:len(b)-i]
			}
			break
		}
	}
	return utf8.Valid(b)
}

// end reports whether the text is complete.
func (u *utf8Checker) end() bool { return u.n == 0 }
