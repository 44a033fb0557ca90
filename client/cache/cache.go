// Package cache keeps a client's chats, history, positions and outbox in an
// SQLite file, so that a program can show and search them without a connection
// and goes on where it was. What an event tells and how far it brings the client
// is kept in one transaction: a process that is killed at any moment continues
// without loss.
//
//	kept, err := cache.Open(filepath.Join(dir, "chat.example.com-ana.db"))
//	...
//	defer kept.Close()
//	c, err := client.Open(client.Config{Server: server, Token: token, Store: kept})
package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/client"
)

// Cache is a [client.Store], a [client.Historian] and a [client.Directory]. All
// methods may be called from any goroutine.
type Cache struct {
	mu    sync.Mutex
	db    *sqlite3.Conn
	stmts map[string]*sqlite3.Stmt
	held  map[string]client.Ranges // what the table held says
}

var (
	_ client.Store     = (*Cache)(nil)
	_ client.Historian = (*Cache)(nil)
	_ client.Directory = (*Cache)(nil)
)

// applicationID marks our files: "Grmc".
const applicationID = 0x47726d63

// schema makes user_version 1. State, row and item are JSON as of package
// client.
const schema = `
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE chats (
	chat_id TEXT PRIMARY KEY,
	floor   INTEGER NOT NULL, -- pages from before this position may be older than changes that are lost
	state   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE messages (
	id          INTEGER PRIMARY KEY,
	chat_id     TEXT NOT NULL,
	seq         INTEGER NOT NULL,
	updated_seq INTEGER NOT NULL,
	row         TEXT NOT NULL,
	folded      TEXT NOT NULL, -- its content as Search looks for it
	UNIQUE (chat_id, seq)
) STRICT;
-- Positions whose messages are all there. Rows outside of it are there to be
-- newer than those of a page that is under way.
CREATE TABLE held (chat_id TEXT, lo INTEGER, hi INTEGER, PRIMARY KEY (chat_id, lo)) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (ordinal INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, item TEXT NOT NULL) STRICT;
CREATE TABLE users (user_id TEXT PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;
`

// Open opens the file, or makes it, for its owner only. One file belongs to one
// user of one server, and to one process at a time: another is told that it is
// in use.
func Open(path string) (*Cache, error) {
	c := &Cache{stmts: map[string]*sqlite3.Stmt{}}
	if err := c.open(path); err != nil {
		if c.db != nil {
			err = errors.Join(err, c.Close())
		}
		return nil, fmt.Errorf("opening the cache %s: %w", path, err)
	}
	return c, nil
}

func (c *Cache) open(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	// The WAL gets the file's mode.
	query := url.Values{"mode": {"rw"}, "modeof": {path}}
	name := url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(path), "/"), RawQuery: strings.ReplaceAll(query.Encode(), "+", "%20")}
	if c.db, err = sqlite3.Open(name.String()); err != nil {
		return err
	}
	if err := c.db.BusyTimeout(200 * time.Millisecond); err != nil {
		return err
	}
	for _, p := range []string{
		"locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL", "trusted_schema = OFF", "cache_size = -4096", "temp_store = MEMORY",
	} {
		if err := c.db.Exec("PRAGMA " + p); err != nil {
			return inUse(err)
		}
	}
	if err := c.migrate(); err != nil {
		return inUse(err)
	}
	return c.loadHeld()
}

// inUse says more plainly that another process has the file.
func inUse(err error) error {
	if errors.Is(err, sqlite3.BUSY) {
		return errors.New("another program has it open")
	}
	return err
}

func (c *Cache) migrate() error {
	return c.transact(func() error {
		version, err := c.int("PRAGMA user_version")
		if err != nil {
			return err
		}
		id, err := c.int("PRAGMA application_id")
		if err != nil {
			return err
		}
		tables, err := c.int("SELECT count(*) FROM sqlite_schema")
		switch {
		case err != nil:
			return err
		case version == 1 && id == applicationID:
			return nil
		case version > 1 && id == applicationID:
			return fmt.Errorf("it was made by a newer version (%d)", version)
		case tables > 0:
			return errors.New("it is no cache of Grima's")
		}
		return c.db.Exec(schema + fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 1;", applicationID))
	})
}

// Close closes the file.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.db == nil {
		return nil
	}
	for _, s := range c.stmts {
		_ = s.Close() // repeats the statement's last error
	}
	c.stmts = nil
	err := c.db.Close()
	c.db = nil
	return err
}

// locked runs do with the file to itself.
func (c *Cache) locked(ctx context.Context, what string, do func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.db == nil {
		return fmt.Errorf("%s: %w", what, fs.ErrClosed)
	}
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// transact does all of do or nothing.
func (c *Cache) transact(do func() error) error {
	if err := c.db.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := do()
	if err == nil {
		err = c.db.Exec("COMMIT")
	}
	if err != nil && !c.db.GetAutocommit() {
		err = errors.Join(err, c.db.Exec("ROLLBACK"))
	}
	return err
}

// run runs a statement with arguments and calls row, if any, for each row.
func (c *Cache) run(sql string, args []any, row func(*sqlite3.Stmt) error) (err error) {
	s := c.stmts[sql]
	if s == nil {
		if s, _, err = c.db.Prepare(sql); err != nil {
			return err
		}
		c.stmts[sql] = s
	}
	defer func() { err = errors.Join(err, s.Reset(), s.ClearBindings()) }()
	for i, a := range args {
		switch a := a.(type) {
		case string:
			err = s.BindText(i+1, a)
		case []byte:
			err = s.BindRawText(i+1, a)
		case int64:
			err = s.BindInt64(i+1, a)
		case int:
			err = s.BindInt(i+1, a)
		default:
			err = fmt.Errorf("an argument of type %T", a)
		}
		if err != nil {
			return err
		}
	}
	for s.Step() {
		if row != nil {
			if err := row(s); err != nil {
				return err
			}
		}
	}
	return s.Err()
}

func (c *Cache) exec(sql string, args ...any) error { return c.run(sql, args, nil) }

// int is the one number that sql gives; 0 if there is none.
func (c *Cache) int(sql string, args ...any) (n int64, err error) {
	err = c.run(sql, args, func(s *sqlite3.Stmt) error {
		n = s.ColumnInt64(0)
		return nil
	})
	return n, err
}
