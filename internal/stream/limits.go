package stream

import (
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// slowed is a line that has to wait because its client asks for much.
type slowed struct {
	until int64 // as now counts
	line  []byte
	req   protocol.Request
	bad   *protocol.Error // it is no request
	no    *protocol.Error // it is refused, when its time has come
}

// count counts a line against the limits on rates (docs/protocol.md#rates). If
// the client is to be slowed down it keeps the line until its time has come, and
// no other is read; else it gives what the request is to be answered with
// instead of being carried out, nil for most. What is no request, and a Ping, is
// only slowed down: its answer is as short as a refusal.
func (c *conn) count(req protocol.Request, bad *protocol.Error, line []byte) (no *protocol.Error, wait bool) {
	cost := api.Light
	if bad == nil {
		cost = api.CostOf(req)
	}
	pause, over := c.asked.Take(cost)
	if over != nil && bad == nil && req.Type != protocol.TypePing && req.Type != protocol.TypePong {
		no = api.ToError(over)
	}
	if pause <= 0 {
		return no, false
	}
	c.input.slow = &slowed{until: now() + int64(pause), line: line, req: req, bad: bad, no: no}
	time.AfterFunc(pause, c.turns.Wake) // which may come after the last turn
	return nil, true
}

// enter takes a place among the live connections of user's, or ends this one.
func (c *conn) enter(user chat.UserID) error {
	if no := c.asked.Login(user); no != nil {
		c.sendAway(protocol.GoodbyeTooManyConnections, no.Message)
		return no
	}
	return nil
}
