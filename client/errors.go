package client

import (
	"errors"
	"fmt"

	"github.com/grima-chat/grima/protocol"
)

// Errors of calls are *protocol.Error when the server refused, the context's
// when it ended, or wrap one of these.
var (
	// ErrClosed: the client was closed, or stopped for good (see Client.Err).
	ErrClosed = errors.New("the client is closed")
	// ErrDiscarded: somebody took the message out of the outbox.
	ErrDiscarded = errors.New("the message was taken out of the outbox")
	// ErrUnknownOutcome: the connection was lost after a write was sent and
	// before its answer came, and asking again might do it twice.
	ErrUnknownOutcome = errors.New("the connection was lost before the answer came; it may have happened")
	// ErrOffline: there is no connection, and the call makes no sense without
	// one, or later.
	ErrOffline = errors.New("not connected")
	// ErrOutboxFull: Config.MaxOutbox drafts wait already.
	ErrOutboxFull = errors.New("the outbox is full")
	// ErrOtherUser: the Store belongs to somebody else.
	ErrOtherUser = errors.New("the store belongs to another user")
	// ErrVersion: the server speaks another version of the protocol. The login
	// is as good as before.
	ErrVersion = errors.New("client and server do not speak the same protocol")
	// ErrStalePage: see Timeline.ApplyPage.
	ErrStalePage = errors.New("the page is older than changes that are lost")
	// ErrInsecure: a token would go over a network in the clear.
	ErrInsecure = errors.New("without TLS only this machine is talked to")
)

// LoginError: the server does not take the token (any more). Log in anew.
type LoginError struct{ Err *protocol.Error }

func (e *LoginError) Error() string { return fmt.Sprintf("logging in: %v", e.Err) }
func (e *LoginError) Unwrap() error { return e.Err }

// GoodbyeError: the server ended the connection with this Goodbye
// (docs/protocol.md#goodbye).
type GoodbyeError struct{ Goodbye protocol.Goodbye }

func (e *GoodbyeError) Error() string {
	return fmt.Sprintf("the server said goodbye: %s (%s)", e.Goodbye.Message, e.Goodbye.Code)
}

// ServerError: the server broke the protocol. The client ends such a connection
// and comes back later, as after any failure.
type ServerError struct{ Reason string }

func (e *ServerError) Error() string { return "the server broke the protocol: " + e.Reason }
