package client

import (
	"context"
	"iter"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/protocol"
)

// Client is a user's connection to a server that comes back. All methods may be
// called from any goroutine.
type Client struct {
	_ [0]func()
}

// Open starts a client. It returns at once, also when the server cannot be
// reached: the connection is told of by events, and [Client.Ready] waits for
// it. Errors are those of the Config and of loading from its Store. The client
// runs until Close, or until it may not come back (see [Client.Err]).
func Open(cfg Config) (*Client, error) { panic("not yet") }

// Close ends the client and waits until everything of it has ended. What is in
// the outbox stays in the Store. Events that wait can still be read; then the
// stream ends.
func (c *Client) Close() error { panic("not yet") }

// Err says why the client stopped: nil while it runs and after Close, else a
// [*LoginError], a [*GoodbyeError] that does not invite it back, ErrOtherUser,
// or the Store's error.
func (c *Client) Err() error { panic("not yet") }

// Ready waits until the client is online and knows all chats. It returns the
// context's error, or why the client stopped.
func (c *Client) Ready(ctx context.Context) error { panic("not yet") }

// Connection is how the connection stands now.
func (c *Client) Connection() Connection { panic("not yet") }

// Self is who is logged in; zero before the first connection. The Store's
// UserID is in it from the start.
func (c *Client) Self() protocol.User { panic("not yet") }

// Hello is the server's greeting on the latest connection.
func (c *Client) Hello() protocol.Hello { panic("not yet") }

// Events yields the stream of events until ctx ends or the client stops; Err
// then says why. There is one stream: who reads an event takes it.
func (c *Client) Events(ctx context.Context) iter.Seq[Event] { panic("not yet") }

// Next is the next event. Its error is the context's, ErrClosed after Close, or
// that of Err.
func (c *Client) Next(ctx context.Context) (Event, error) { panic("not yet") }

// Batch waits until there is an event and returns all that wait, at most
// Config.Buffer and some. It is what a program that draws wants: one batch, one
// picture. Errors as of Next.
func (c *Client) Batch(ctx context.Context) ([]Event, error) { panic("not yet") }

// Chats are the chats the user is in, latest activity first, as they are now.
// They may be ahead of the events read so far; a program that follows events
// takes Event.State instead.
func (c *Client) Chats() []Chat { panic("not yet") }

// Chat is one of Chats.
func (c *Client) Chat(chatID string) (Chat, bool) { panic("not yet") }

// Users looks up people, from memory where they were looked up before. Those
// that do not exist are left out.
func (c *Client) Users(ctx context.Context, userIDs ...string) (map[string]protocol.User, error) {
	panic("not yet")
}

// Queue puts a message into the outbox and returns its ID. From here on it is
// sent until the server answers, in the order of its chat. What becomes of it
// is told by OutboxChanged: Pending now, then Sent or Failed; a failed one holds
// nothing up. Errors: ErrOutboxFull, ErrClosed, the Store's, and a
// *protocol.Error for what no server would take.
func (c *Client) Queue(ctx context.Context, d Draft) (string, error) { panic("not yet") }

// Send queues a message and waits until it is on the server's disk. When ctx
// ends it stops waiting, and the message stays in the outbox.
func (c *Client) Send(ctx context.Context, d Draft) (Item, error) { panic("not yet") }

// Outbox is what is in the outbox, pending and failed, in order.
func (c *Client) Outbox() []Item { panic("not yet") }

// Retry tries a failed item again, as it is.
func (c *Client) Retry(ctx context.Context, id string) error { panic("not yet") }

// Discard takes an item out of the outbox. It reports whether the item had
// never been tried, and so is certainly not sent.
func (c *Client) Discard(ctx context.Context, id string) (unsent bool, err error) { panic("not yet") }

// Focus says which chats are on the screen: they are caught up first, and
// typing is heard of these only. It is told to the server, now and after every
// reconnect. Never called: all.
func (c *Client) Focus(chatIDs ...string) { panic("not yet") }

// MarkRead moves one's read mark up to seq. It returns at once; the mark is told
// to the server when there is a connection, the highest one of each chat.
func (c *Client) MarkRead(chatID string, seq int64) { panic("not yet") }

// Typing tells the others that one is typing, at most every 5 s however often it
// is called, and not at all when offline. With stop, that one no longer is.
func (c *Client) Typing(chatID string, stop bool) { panic("not yet") }

// History is a page of messages: from the Store where it has them (it is a
// [Historian]) and the page lies in what it holds or there is no connection,
// else from the server, and then into the Store.
func (c *Client) History(ctx context.Context, p protocol.MessagesListParams) (protocol.MessagesListResult, error) {
	panic("not yet")
}

// Historian is a Store that keeps history.
type Historian interface {
	// Page gives a page from what is held. whole is false when more of the
	// server's rows would belong on it.
	Page(ctx context.Context, p protocol.MessagesListParams) (page protocol.MessagesListResult, whole bool, err error)
	// PutPage keeps a page that the server gave for p while the user's
	// membership was the one that began at joinedSeq.
	PutPage(ctx context.Context, p protocol.MessagesListParams, page protocol.MessagesListResult, joinedSeq int64) error
}

// Do calls any operation with params as JSON and returns its result. The typed
// calls are made of it: while there is no connection it waits, until ctx ends;
// if the connection is lost before the answer, reads and writes that are
// harmless to repeat are asked again, others return ErrUnknownOutcome.
func (c *Client) Do(ctx context.Context, op string, params jsontext.Value) (jsontext.Value, error) {
	panic("not yet")
}

// Credentials is what [Login] makes.
type Credentials struct {
	Token     string
	ExpiresAt string
	User      protocol.User
	SessionID string
}

// Login logs in with a password, over a connection of its own, for a token that
// a Client can be opened with. cfg's Token is not used.
func Login(ctx context.Context, cfg Config, username, password string) (Credentials, error) {
	panic("not yet")
}

// Register makes an account, with an invite where one is needed. It does not log
// in.
func Register(ctx context.Context, cfg Config, p protocol.UsersCreateParams) (protocol.User, error) {
	panic("not yet")
}
