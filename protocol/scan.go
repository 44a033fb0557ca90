package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// This file reads JSON objects strictly. jsontext does the grammar, duplicate
// names and UTF-8; depth, U+0000 and numbers are judged here, once for every
// transport and operation (docs/protocol.md#strictness).

// objectReader is jsontext's decoder with the buffer it reads from.
type objectReader struct {
	src bytes.Buffer
	dec jsontext.Decoder
}

var readers = sync.Pool{New: func() any { return new(objectReader) }}

// frameWriter is jsontext's encoder with the buffer it writes to.
type frameWriter struct {
	buf bytes.Buffer
	enc jsontext.Encoder
}

var writers = sync.Pool{New: func() any { return new(frameWriter) }}

// readObject reads text, which must be one JSON object, and hands member the
// unquoted name and raw value of each of its members, in their order. Both
// alias text. Members before an error were handed over.
func readObject(text []byte, member func(name, value []byte)) *Error {
	var members [plainMembers]span
	if n, ok := readPlain(text, &members); ok {
		for _, m := range members[:n] {
			member(m.name, m.value)
		}
		return nil
	}
	return readAnyObject(text, member)
}

// readAnyObject is readObject without the short cut.
func readAnyObject(text []byte, member func(name, value []byte)) *Error {
	r := readers.Get().(*objectReader)
	err := r.walk(text, member)
	readers.Put(r)
	return verdict(text, err)
}

var errNotObject = errors.New("not an object")

// trailingError is the offset of what stands behind the object.
type trailingError int

func (trailingError) Error() string { return "more than one object" }

func (r *objectReader) walk(text []byte, member func(name, value []byte)) error {
	r.src = *bytes.NewBuffer(text)
	r.dec.Reset(&r.src)
	isObject := r.dec.PeekKind() == '{'
	if !isObject {
		if err := r.dec.SkipValue(); err != nil {
			return err
		}
	} else {
		if _, err := r.dec.ReadToken(); err != nil {
			return err
		}
		for r.dec.PeekKind() == '"' {
			name, err := r.read(text)
			if err != nil {
				return err
			}
			value, err := r.read(text)
			if err != nil {
				return err
			}
			if value[0] <= '9' && value[0] != '"' && !delimited(text, int(r.dec.InputOffset())) {
				continue // and the decoder stumbles over what follows
			}
			member(unquote(name), value)
		}
		if _, err := r.dec.ReadToken(); err != nil {
			return err
		}
	}
	end := int(r.dec.InputOffset())
	if rest := bytes.TrimLeft(text[end:], " \t\r\n"); len(rest) > 0 {
		return trailingError(len(text) - len(rest))
	}
	if !isObject {
		return errNotObject
	}
	return nil
}

// delimited reports whether a number that ends before text[end] really does: 01
// is no 0, and a line cut short may have cut a number.
func delimited(text []byte, end int) bool {
	return end < len(text) && strings.IndexByte(" \t\r\n,}", text[end]) >= 0
}

// read returns the next value as a part of text, which, unlike jsontext's own
// slice, is good for as long as text is.
func (r *objectReader) read(text []byte) ([]byte, error) {
	v, err := r.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := int(r.dec.InputOffset())
	return text[end-len(v) : end : end], nil
}

// verdict says what is wrong with text, given how walking it ended. What makes
// the whole line unreadable comes before what is wrong at a place in it.
func verdict(text []byte, walk error) *Error {
	// What was read to its end is UTF-8.
	if walk != nil && !utf8.Valid(text) {
		at := 0
		for r, n := rune(0), 0; at < len(text); at += n {
			if r, n = utf8.DecodeRune(text[at:]); r == utf8.RuneError && n == 1 {
				break
			}
		}
		return NewError(CodeInvalidUTF8, fmt.Sprintf("not UTF-8 at byte %d", at))
	}
	syntaxAt := len(text)
	var syntax *jsontext.SyntacticError
	if errors.As(walk, &syntax) {
		syntaxAt = int(syntax.ByteOffset)
	}
	if at := tooDeepAt(text); at >= 0 && at <= syntaxAt {
		return invalidf("nested deeper than %d at byte %d", MaxDepth, at)
	}
	if walk == nil {
		if at := nulAt(text); at >= 0 {
			return invalidf("U+0000 in a string at byte %d", at)
		}
		return nil
	}
	return syntaxError(text, walk, syntax)
}

func syntaxError(text []byte, walk error, syntax *jsontext.SyntacticError) *Error {
	var trailing trailingError
	switch {
	case errors.Is(walk, errNotObject):
		return invalidf("an object is due, not %s", kindOf(bytes.TrimLeft(text, " \t\r\n")))
	case errors.As(walk, &trailing):
		return NewError(CodeParseError, fmt.Sprintf("more than one object at byte %d", int(trailing)))
	case errors.Is(walk, jsontext.ErrDuplicateName):
		return invalidf("member %s stands twice, again at byte %d", quoteName(syntax.JSONPointer.LastToken()), syntax.ByteOffset)
	case errors.Is(walk, io.ErrUnexpectedEOF), errors.Is(walk, io.EOF):
		return NewError(CodeParseError, fmt.Sprintf("the line ends too early, at byte %d", len(text)))
	case syntax == nil || syntax.Err == nil:
		return NewError(CodeParseError, "not JSON")
	case isSurrogate(text[min(int(syntax.ByteOffset), len(text)):]):
		return NewError(CodeInvalidUTF8, fmt.Sprintf("half a surrogate pair at byte %d", syntax.ByteOffset))
	}
	what := strings.TrimPrefix(syntax.Err.Error(), "jsontext: ")
	return NewError(CodeParseError, clip(fmt.Sprintf("%s at byte %d", what, syntax.ByteOffset), maxMessage))
}

// isSurrogate reports whether b begins with the escape of a surrogate half. A
// pair of them is fine, but then nothing is reported here.
func isSurrogate(b []byte) bool {
	return len(b) >= 4 && b[0] == '\\' && b[1] == 'u' && b[2]|0x20 == 'd' && b[3] >= '8'
}

// tooDeepAt is the offset of the bracket that nests text deeper than MaxDepth,
// or -1.
func tooDeepAt(text []byte) int {
	if bytes.Count(text, []byte{'{'})+bytes.Count(text, []byte{'['}) <= MaxDepth {
		return -1
	}
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString:
			if c == '\\' {
				i++
			} else if c == '"' {
				inString = false
			}
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return i
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return -1
}

// nulAt is the offset of an escaped U+0000 in text, which is JSON, or -1.
// Not every store can keep one, so none may.
func nulAt(text []byte) int {
	nul := []byte(`\u0000`)
	for from := bytes.IndexByte(text, '\\'); from >= 0; {
		i := bytes.Index(text[from:], nul)
		if i < 0 {
			return -1
		}
		at, slashes := from+i, 0
		for slashes < at && text[at-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return at
		}
		from = at + len(nul)
	}
	return -1
}

// unquote is the text of raw, a valid JSON string; it aliases raw if it can.
// What is no string is returned as it is.
func unquote(raw []byte) []byte {
	if raw[0] != '"' {
		return raw
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	b, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		panic("protocol: unquoting what jsontext has read: " + err.Error())
	}
	return b
}

// parseInteger reads raw, a JSON value, as a plain integer within ±MaxInteger.
// plain tells a number that is too large from what is no integer.
func parseInteger(raw []byte) (n int64, plain, ok bool) {
	digits := raw
	if digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || string(raw) == "-0" {
		return 0, false, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false, false
		}
	}
	if len(digits) > len("9007199254740991") {
		return 0, true, false
	}
	for _, c := range digits {
		n = n*10 + int64(c-'0')
	}
	if n > MaxInteger {
		return 0, true, false
	}
	if raw[0] == '-' {
		n = -n
	}
	return n, true, true
}

func goodID(raw []byte) bool {
	if len(raw) > MaxID {
		return false
	}
	if raw[0] == '"' {
		return true
	}
	_, _, ok := parseInteger(raw)
	return ok
}

// copyBoth copies a and b, of which either may be nil, with one allocation.
func copyBoth(a, b []byte) (jsontext.Value, jsontext.Value) {
	if len(a)+len(b) == 0 {
		return nil, nil
	}
	both := append(append(make([]byte, 0, len(a)+len(b)), a...), b...)
	var va, vb jsontext.Value
	if len(a) > 0 {
		va = both[:len(a):len(a)]
	}
	if len(b) > 0 {
		vb = both[len(a):]
	}
	return va, vb
}

// What a request's envelope knows.
var envelope = []string{"type", "id", "op", "params", "strict"}

const (
	maxOp      = 64  // bytes of an op that is worth echoing
	maxMessage = 256 // bytes of an error's message
	maxName    = 64  // bytes of a name that a message or ignored repeats
)

var types = func() map[string]Type {
	m := map[string]Type{}
	for _, t := range []Type{
		TypeHello, TypeSessionRequest, TypeSessionResponse, TypeDataRequest, TypeDataResponse,
		TypeBroadcastRequest, TypeBroadcastResponse, TypePing, TypePong, TypeError, TypeGoodbye,
	} {
		m[string(t)] = t
	}
	return m
}()

func internType(raw []byte) Type { return types[string(unquote(raw))] }

// internOp saves the copy of the operations that are asked for all the time.
func internOp(op []byte) string {
	switch string(op) {
	case OpMessageSend:
		return OpMessageSend
	case OpReadSet:
		return OpReadSet
	case OpChangesList:
		return OpChangesList
	case OpMessagesList:
		return OpMessagesList
	case OpTyping:
		return OpTyping
	}
	return string(op)
}

func unknownType(raw []byte) *Error {
	return NewError(CodeUnknownType, "no frame has the type "+quoteName(string(unquote(raw))))
}

func invalidTypeFromClient(t Type) *Error {
	return NewError(CodeUnknownType, "a client does not send "+string(t))
}

func invalidf(format string, args ...any) *Error {
	return NewError(CodeInvalidRequest, clip(fmt.Sprintf(format, args...), maxMessage))
}

func mismatch(name, due string, raw []byte) *Error {
	return invalidf("%s: %s is due, not %s", name, due, kindOf(raw))
}

func wrongCase(name []byte, known string) *Error {
	return invalidf("member %s: did you mean %q?", quoteName(string(name)), known)
}

func kindOf(raw []byte) string {
	switch raw[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// foldsTo is the one of known that name would be if case did not matter, by
// Unicode's rules, under which "ſeq" is "seq"; or "".
func foldsTo(name []byte, known []string) string {
	for _, k := range known {
		if len(name) <= 3*len(k) && strings.EqualFold(string(name), k) {
			return k
		}
	}
	return ""
}

func appendIgnored(ignored []string, name []byte) []string {
	if len(ignored) == MaxIgnored {
		return ignored
	}
	return append(ignored, clip(string(name), maxName))
}

func quoteName(name string) string { return fmt.Sprintf("%q", clip(name, maxName)) }

// clip cuts s to at most n bytes, at the end of a code point, and says so.
func clip(s string, n int) string {
	const more = "…"
	if len(s) <= n {
		return s
	}
	cut := n - len(more)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + more
}

// parseStrings reads raw, a JSON value, as a list of strings.
func parseStrings(name string, raw []byte) ([]string, *Error) {
	if raw[0] != '[' {
		return nil, mismatch(name, "an array of strings", raw)
	}
	r := readers.Get().(*objectReader)
	defer readers.Put(r)
	r.src = *bytes.NewBuffer(raw)
	r.dec.Reset(&r.src)
	list := []string{}
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, invalidf("%s: %v", name, err)
	}
	for r.dec.PeekKind() != ']' {
		v, err := r.read(raw)
		if err != nil {
			return nil, invalidf("%s: %v", name, err)
		}
		if v[0] != '"' {
			return nil, mismatch(fmt.Sprintf("%s[%d]", name, len(list)), "a string", v)
		}
		list = append(list, string(unquote(v)))
	}
	return list, nil
}
