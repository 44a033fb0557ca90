// Package cache keeps a client's chats, history, positions and outbox in an
// SQLite file, so that a program can show and search them without a connection
// and goes on where it was. What an event tells and how far it brings the client
// is kept in one transaction: a process that is killed at any moment continues
// without loss.
package cache

import (
	"context"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// Cache is a [client.Store] and a [client.Historian]. All methods may be called
// from any goroutine.
type Cache struct {
	_ [0]func()
}

var (
	_ client.Store     = (*Cache)(nil)
	_ client.Historian = (*Cache)(nil)
)

// Open opens the file, or makes it, for its owner only. One file belongs to one
// user of one server, and to one process at a time.
func Open(path string) (*Cache, error) { panic("not yet") }

// Close closes the file.
func (c *Cache) Close() error { panic("not yet") }

// Load, Apply, Put and Drop are for [client.Client].
func (c *Cache) Load(ctx context.Context) (client.State, error)         { panic("not yet") }
func (c *Cache) Apply(ctx context.Context, events []client.Event) error { panic("not yet") }
func (c *Cache) Put(ctx context.Context, item client.Item) error        { panic("not yet") }
func (c *Cache) Drop(ctx context.Context, id string) error              { panic("not yet") }

// Page is a page of what is held, see [client.Historian].
func (c *Cache) Page(ctx context.Context, p protocol.MessagesListParams) (protocol.MessagesListResult, bool, error) {
	panic("not yet")
}

// PutPage keeps a page of the server's, see [client.Historian].
func (c *Cache) PutPage(ctx context.Context, p protocol.MessagesListParams, page protocol.MessagesListResult, joinedSeq int64) error {
	panic("not yet")
}

// Query is what Search looks for.
type Query struct {
	Text   string // words that all have to be there; the last may be a beginning
	ChatID string // empty: in all chats
	Before int64  // with ChatID: only messages before this seq; 0: all
	Limit  int    // 0: 50
}

// Search finds messages that are held, newest first.
func (c *Cache) Search(ctx context.Context, q Query) ([]protocol.Message, error) { panic("not yet") }

// Users are the people that were looked up with PutUsers, of these ids; none:
// all.
func (c *Cache) Users(ctx context.Context, ids ...string) ([]protocol.User, error) {
	panic("not yet")
}

// PutUsers keeps people's names.
func (c *Cache) PutUsers(ctx context.Context, users ...protocol.User) error { panic("not yet") }
