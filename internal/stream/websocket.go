package stream

import (
	"github.com/grima-chat/grima/internal/websocket"
	"github.com/grima-chat/grima/protocol"
)

// pong answers a WebSocket's ping.
func (c *conn) pong(payload []byte) { c.out.putPong(websocket.AppendPong(nil, payload)) }

// violate ends the connection because of what a client did against the rules of
// WebSocket, which have close codes of their own for it.
func (c *conn) violate(closeCode int, reason string) {
	c.violated = uint16(closeCode)
	c.sendAway(protocol.GoodbyeProtocolViolation, reason)
}

// closeCode is what the client closed its WebSocket with; 0: it has not.
func (c *conn) closeCode() int {
	if c.input == nil || c.input.ws == nil {
		return 0
	}
	return c.input.ws.CloseCode()
}

// lastBytes gives the bytes that end the conversation. With bye nil it was the
// client who ended it.
func (c *conn) lastBytes(bye *protocol.Goodbye) []byte {
	switch web := c.out.form == messages; {
	case web && bye == nil:
		// RFC 6455: an end is answered with its own code.
		code := c.closeCode()
		if code == 0 {
			code = websocket.CloseNormal
		}
		return websocket.AppendClose(nil, code, "")
	case web:
		code := bye.Code.CloseCode()
		if c.violated != 0 && bye.Code == protocol.GoodbyeProtocolViolation {
			code = int(c.violated)
		}
		return websocket.AppendClose(websocket.AppendText(nil, encode(bye)), code, string(bye.Code))
	case bye == nil:
		return nil
	case c.listener != nil:
		return c.listener.last(bye)
	}
	return encode(bye)
}
