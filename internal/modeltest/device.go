package modeltest

import (
	"context"
	"errors"
	"net"

	"github.com/grima-chat/grima/protocol"
)

// Device is a client under test: it keeps somebody's chats on a machine of
// theirs, over any number of connections. Reference is one; an adapter makes
// one of any other client. Methods may be called from any goroutine.
type Device interface {
	// Send says something. p has a ClientMsgID; it is sent, again after each
	// lost connection, until it is answered, and done then hears of it once.
	// Sends of one device reach the server in their order, unless some are
	// answered and others are not when a connection is lost.
	Send(p protocol.MessageSendParams, done func(protocol.MessageSendResult, *protocol.Error))
	// Call makes a request on the present connection, waiting for one if there
	// is none. It is not made again: ErrLost says that nobody knows whether it
	// was carried out. A refusal is a *protocol.Error.
	Call(ctx context.Context, op string, params, result any) error
	// State is a copy of what the device holds.
	State() State
	// Changed is closed when State may say something else than it did.
	Changed() <-chan struct{}
	// Close ends the device and waits for its goroutines.
	Close()
}

// Connector is what a Device gets its connections from. Dial waits until the
// device may be online; what it gives has said nothing yet, and speaks lines.
type Connector interface {
	Dial(ctx context.Context) (net.Conn, error)
}

// ErrLost says that the connection ended before the answer.
var ErrLost = errors.New("the connection was lost before the answer")

// State is what a device holds.
type State struct {
	Chats map[string]View
	// Settled says that the device knows of nothing more to read, and that
	// everything it had to say was answered.
	Settled bool
}

// View is what somebody sees of a chat: all of it that they may read.
type View struct {
	LastSeq  int64
	From     int64 // what has not changed since need not be there
	ReadSeq  int64 // their own mark; not in the truth's views
	Chat     protocol.Chat
	Messages map[int64]protocol.Message
	People   map[string]protocol.Participant // who is in
}
