package client

import "context"

// Store keeps over restarts what a client has to remember. client/cache is one;
// without any the client begins anew each time it is opened, and its outbox is
// in memory. A Store belongs to one client at a time, which calls it from one
// goroutine at a time.
type Store interface {
	// Load returns what was kept; the zero State is a beginning.
	Load(ctx context.Context) (State, error)
	// Apply keeps what events tell, all of it or nothing: rows, the State of
	// each chat, the outbox, and the cursor of CursorMoved. It is called
	// before the application is given the events (after, with
	// Config.ApplyAfter). An error stops the client.
	Apply(ctx context.Context, events []Event) error
	// Put keeps an item of the outbox as it is now, behind all others. It is
	// called before the item is tried for the first time, and by Retry.
	Put(ctx context.Context, item Item) error
	// Drop forgets an item.
	Drop(ctx context.Context, id string) error
}

// State is what a client goes on from (docs/protocol.md#resume).
type State struct {
	// UserID says whose state it is, from the first login or Config.UserID on;
	// another user's is refused with ErrOtherUser.
	UserID string
	Epoch  string
	Cursor string // empty: from the beginning
	// Complete: the first sync came to its end, and a chat that is new since
	// is told from the user's coming on.
	Complete bool
	Chats    []Chat
	Outbox   []Item // in the order they were queued
}
