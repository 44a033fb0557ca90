package protocol

import (
	"strings"

	"github.com/go-json-experiment/json"
)

// Unknown is a frame of a type that this version does not know. A client
// ignores it (docs/protocol.md#versions).
type Unknown struct {
	Type Type `json:"type"`
}

// DecodeFrame reads one line (without its newline) as a client does: what a
// server sends. It returns a *Hello, *Response (also for Pong), *Event,
// *ErrorFrame, *Goodbye, *Request (only a Ping, which the client answers with a
// Pong), or *Unknown. Members, events and frame types it does not know are no
// error, so that servers can grow; what makes a line ambiguous or unreadable is
// one, as for [DecodeRequest].
func DecodeFrame(line []byte) (any, *Error) {
	var (
		t                                   Type
		typed, hasID, hasEvent, hasR, hasEr bool
	)
	err := readObject(line, func(name, value []byte) {
		switch string(name) {
		case "type":
			typed = value[0] == '"'
			t = Type(unquote(value))
		case "id":
			hasID = true
		case "event":
			hasEvent = true
		case "result":
			hasR = true
		case "error":
			hasEr = value[0] != 'n'
		}
	})
	switch {
	case err != nil:
		return nil, err
	case !typed:
		return nil, invalidf("a frame has a type, which is a string")
	}

	switch t {
	case TypeHello:
		return decodeAs[Hello](line)
	case TypeSessionResponse, TypeDataResponse, TypeBroadcastResponse:
		// No id and an event: pushed. Everything else answers a request.
		if t == TypeBroadcastResponse && hasEvent && !hasID {
			return decodeAs[Event](line)
		}
		if hasR == hasEr {
			return nil, invalidf("an answer has either a result or an error")
		}
		return decodeAs[Response](line)
	case TypePong:
		return decodeAs[Response](line)
	case TypePing:
		return decodeAs[Request](line)
	case TypeError:
		if !hasEr {
			return nil, invalidf("an Error frame has an error")
		}
		return decodeAs[ErrorFrame](line)
	case TypeGoodbye:
		return decodeAs[Goodbye](line)
	}
	return &Unknown{Type: t}, nil
}

// decodeAs reads line, which is sound JSON, as a T. It shares no memory with
// line.
func decodeAs[T any](line []byte) (any, *Error) {
	frame := new(T)
	if err := json.Unmarshal(line, frame); err != nil {
		return nil, invalidf("%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return frame, nil
}
