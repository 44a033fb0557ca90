package modeltest

import (
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/protocol"
)

// request is the line that asks for op.
func request(id int, op string, params any) []byte {
	kind := protocol.TypeDataRequest
	switch {
	case strings.HasPrefix(op, "session."):
		kind = protocol.TypeSessionRequest
	case strings.HasPrefix(op, "message."), op == protocol.OpTyping:
		kind = protocol.TypeBroadcastRequest
	}
	if params == nil {
		params = protocol.Empty{}
	}
	raw, err := json.Marshal(params)
	if err != nil {
		panic(err) // parameters are our own
	}
	idRaw, err := json.Marshal(id)
	if err != nil {
		panic(err)
	}
	line, err := protocol.AppendFrame(nil, &protocol.Request{Type: kind, ID: idRaw, Op: op, Params: raw})
	if err != nil {
		panic(err)
	}
	return line
}
