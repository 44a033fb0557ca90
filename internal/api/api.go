// Package api is the one table of operations: for each its name, frame, who may
// call it, what it costs, its HTTP route, and the handler that turns a
// protocol.Request into calls of chat.Service and the outcome back into a
// protocol.Response. Every door (TCP, TLS, HTTP, the control socket) goes
// through API.Do, so that they cannot differ.
package api

import (
	"context"
	"net/netip"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// Caller is who sends a request, and through which door.
type Caller struct {
	Actor chat.Actor
	Peer  netip.Addr // the client's address, for limits; zero: local

	// OnLogin is how a live connection learns of its session.start: it is
	// called after the credentials were accepted and before the answer. It
	// returns the heartbeat granted. Nil over HTTP, where the answer is all.
	OnLogin func(chat.Login, protocol.SessionStartParams) (heartbeatMS int64, err error)
	// OnUpdate carries out session.update. Nil over HTTP, which has nothing to
	// update.
	OnUpdate func(protocol.SessionUpdateParams) (protocol.SessionUpdateResult, error)
}

// API answers requests. Its methods may be called from any goroutine.
type API struct {
	svc *chat.Service
}

// New makes an API on svc.
func New(svc *chat.Service) *API { return &API{svc: svc} }

// Do answers req: it calls done exactly once, with the complete answer.
//
// Sends, edits and deletes of messages return at once and call done later, from
// the store's goroutine, after their commit and before their event is
// published; then done must not block. Everything else blocks and has called
// done when Do returns. ctx bounds the blocking ones.
func (a *API) Do(ctx context.Context, c Caller, req protocol.Request, done func(protocol.Response)) {
	panic("unwritten")
}

// Async reports whether Do returns before op is done.
func Async(op string) bool {
	switch op {
	case protocol.OpMessageSend, protocol.OpMessageEdit, protocol.OpMessageDelete:
		return true
	}
	return false
}

// AppendEvent appends the line, newline included, that delivers e.
func AppendEvent(dst []byte, e chat.Event) []byte { panic("unwritten") }

// AppendRead and AppendTyping append the lines of ephemeral events
// (docs/protocol.md#ephemera).
func AppendRead(dst []byte, id chat.ChatID, user chat.UserID, seq int64) []byte {
	panic("unwritten")
}
func AppendTyping(dst []byte, id chat.ChatID, user chat.UserID, stop bool) []byte {
	panic("unwritten")
}
