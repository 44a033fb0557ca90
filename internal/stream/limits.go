package stream

import (
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// limited counts a line against the limits on rates (docs/protocol.md#rates)
// and lets the time pass that the client is to be slowed by. The error is what
// the request is to be answered with instead of being carried out. What is no
// request, and a Ping, is only slowed down: its answer is as short as a refusal.
func (c *conn) limited(req protocol.Request, bad *protocol.Error) *protocol.Error {
	cost := api.Light
	if bad == nil {
		cost = api.CostOf(req)
	}
	wait, no := c.asked.Take(cost)
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.ctx.Done():
		}
	}
	if no == nil || bad != nil || req.Type == protocol.TypePing || req.Type == protocol.TypePong {
		return nil
	}
	return api.ToError(no)
}

// enter takes a place among the live connections of user's, or ends this one.
func (c *conn) enter(user chat.UserID) error {
	if no := c.asked.Login(user); no != nil {
		c.sendAway(protocol.GoodbyeTooManyConnections, no.Message)
		return no
	}
	return nil
}
