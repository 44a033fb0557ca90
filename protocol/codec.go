package protocol

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// DecodeRequest reads one line (without its newline) as a request. Bad input
// gives an *Error whose code says what is wrong with it
// (docs/protocol.md#strictness); the Request then holds what could be told of
// the line, so that the answer can carry its id and op, or is zero.
func DecodeRequest(line []byte) (Request, *Error) {
	var r Request
	if err := json.Unmarshal(line, &r); err != nil {
		return Request{}, NewError(CodeParseError, err.Error())
	}
	return r, nil
}

// DecodeParams reads the params of a request into out, a pointer to one of this
// package's ...Params structs. ignored lists the members that out does not
// know, in their order. Absent params are an empty object.
func DecodeParams(params jsontext.Value, out any) (ignored []string, err *Error) {
	if len(params) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(params, out); err != nil {
		return nil, NewError(CodeInvalidRequest, err.Error())
	}
	return nil, nil
}

// AppendFrame appends frame as one compact line, newline included, to dst.
// Frame is a pointer to, or value of, one of this package's frame types.
func AppendFrame(dst []byte, frame any) ([]byte, error) {
	b, err := json.Marshal(frame)
	if err != nil {
		return dst, err
	}
	return append(append(dst, b...), '\n'), nil
}
