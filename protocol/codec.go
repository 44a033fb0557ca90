package protocol

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// DecodeRequest reads one line (without its newline) as a request. Bad input
// gives an *Error whose code says what is wrong with it
// (docs/protocol.md#strictness); the Request then holds what could be told of
// the line, so that the answer can carry it ([Refuse]), or is zero.
//
// Besides requests it takes Ping and Pong, which need no op. The Request shares
// no memory with line. Whether the server knows op is not looked at, and
// params are only known to be well formed until [DecodeParams].
func DecodeRequest(line []byte) (Request, *Error) {
	var (
		r          Request
		id, params []byte
		bad        *Error // the first thing wrong with a member
	)
	wrong := func(err *Error) {
		if bad == nil {
			bad = err
		}
	}
	err := readObject(line, func(name, value []byte) {
		switch string(name) {
		case "type":
			if value[0] != '"' {
				wrong(mismatch("type", "a string", value))
			} else if r.Type = internType(value); r.Type == "" {
				wrong(unknownType(value))
			}
		case "id":
			if !goodID(value) {
				wrong(invalidf("id: a string or a whole number of at most %d bytes is due", MaxID))
			} else {
				id = value
			}
		case "op":
			switch op := unquote(value); {
			case value[0] != '"':
				wrong(mismatch("op", "a string", value))
			case len(op) == 0:
				wrong(invalidf("op is empty"))
			case len(op) > maxOp:
				wrong(NewError(CodeUnknownOp, "no operation has so long a name"))
			default:
				r.Op = internOp(op)
			}
		case "params":
			if value[0] != '{' {
				wrong(mismatch("params", "an object", value))
			} else {
				params = value
			}
		case "strict":
			if value[0] != 't' && value[0] != 'f' {
				wrong(mismatch("strict", "true or false", value))
			}
			r.Strict = value[0] == 't'
		default:
			if known := foldsTo(name, envelope); known != "" {
				wrong(wrongCase(name, known))
			}
			r.Ignored = appendIgnored(r.Ignored, name)
		}
	})
	r.ID, r.Params = copyBoth(id, params)
	switch {
	case err != nil:
		// The answer obeys the rules that the line broke.
		if nulAt(r.ID) >= 0 {
			r.ID = nil
		}
		if strings.IndexByte(r.Op, 0) >= 0 {
			r.Op = ""
		}
		return r, err
	case bad != nil:
		return r, bad
	case r.Type == "":
		return r, invalidf("type is missing")
	}
	switch r.Type {
	case TypeSessionRequest, TypeDataRequest, TypeBroadcastRequest:
		if r.Op == "" {
			return r, invalidf("op is missing")
		}
	case TypePing, TypePong:
		if r.Op != "" {
			r.Ignored = appendIgnored(r.Ignored, []byte("op"))
		}
		if len(r.Params) > 0 {
			r.Ignored = appendIgnored(r.Ignored, []byte("params"))
		}
		r.Op, r.Params = "", nil
	default:
		return r, invalidTypeFromClient(r.Type)
	}
	if r.Strict && len(r.Ignored) > 0 {
		return r, UnknownMembers(r.Ignored)
	}
	return r, nil
}

// DecodeParams reads the params of a request into out, a pointer to one of this
// package's ...Params structs. ignored lists the members that out does not
// know, in their order and at most [MaxIgnored] of them; a strict request makes
// [UnknownMembers] of them. Absent params are an empty object. Members without
// omitzero are required. After an error out holds part of the params.
func DecodeParams(params jsontext.Value, out any) (ignored []string, err *Error) {
	if len(params) == 0 {
		params = emptyObject
	}
	return decodeInto(params, out)
}

var emptyObject = jsontext.Value("{}")

// UnknownMembers is what a strict request gets for members nobody knows.
func UnknownMembers(names []string) *Error {
	var b bytes.Buffer
	b.WriteString("unknown ")
	for i, n := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", n)
	}
	return invalidf("%s", b.Bytes())
}

// Refuse is the answer to a line that [DecodeRequest] refused with err: a
// *Response when r tells what would have answered it, else an *ErrorFrame.
func Refuse(r Request, err *Error) any {
	if t := r.Type.Response(); t != "" && t != TypePong {
		return &Response{Type: t, ID: r.ID, Op: r.Op, Error: err}
	}
	return &ErrorFrame{Type: TypeError, ID: r.ID, Error: err}
}

// AppendFrame appends frame as one compact line, newline included, to dst.
// Frame is a pointer to, or value of, one of this package's frame types. An
// error means that a string in it is not UTF-8 or a raw value in it not JSON;
// dst is then unchanged.
func AppendFrame(dst []byte, frame any) ([]byte, error) {
	w := writers.Get().(*frameWriter)
	defer writers.Put(w)
	w.buf.Reset()
	// An id is echoed as it came, escapes and all.
	w.enc.Reset(&w.buf, jsontext.PreserveRawStrings(true))
	if err := json.MarshalEncode(&w.enc, frame); err != nil {
		return dst, fmt.Errorf("encoding %T: %w", frame, err)
	}
	return append(dst, w.buf.Bytes()...), nil
}
