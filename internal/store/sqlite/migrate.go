package sqlite

import (
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// applicationID marks our files: "Grma". The first migration sets it.
const applicationID = 0x47726d61

//go:embed migrations/*.sql
var migrationFiles embed.FS

// current says whether the schema is the newest, and nothing is left to be moved.
func (c *conn) current() (bool, error) {
	steps, err := batch.Migrations(migrationFiles)
	if err != nil {
		return false, err
	}
	version, err := c.int("PRAGMA user_version")
	if err != nil {
		return false, fmt.Errorf("read the schema's version: %w", err)
	}
	if version != int64(len(steps)) {
		return false, nil
	}
	moving, err := c.meta(metaMoving)
	return moving == "", err
}

// migrate brings the schema up to date, or says that there is no room for it.
func migrate(c *conn, cfg Config) error {
	steps, err := batch.Migrations(migrationFiles)
	if err != nil {
		return err
	}
	version, err := c.int("PRAGMA user_version")
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	if version == 0 {
		return c.migrateFrom(cfg, 0, "", steps)
	}
	moving, err := c.meta(metaMoving)
	if err != nil {
		return fmt.Errorf("read what is being moved: %w", err)
	}
	if version == int64(len(steps)) && moving == "" {
		return nil
	}
	if err := c.roomToMigrate(cfg, version, moving); err != nil {
		return err
	}
	began := time.Now()
	// An operator's command that finds no server running comes here as well, and
	// shows warnings only.
	cfg.Log.Warn("bringing the database schema up to date, after which no older grima opens it; with millions of messages that takes minutes",
		"from", version, "to", len(steps))
	if err := c.migrateFrom(cfg, version, moving, steps); err != nil {
		if isFull(err) {
			err = fmt.Errorf("the disk became full while the schema was brought up to date: make room and start again; it goes on, and nothing is lost: %w", err)
		}
		return err
	}
	cfg.Log.Info("the database schema is up to date", "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// migrateFrom takes the steps after version, each in a transaction of its own
// together with its number, so that a crash leaves whole steps. The one that makes
// long_contents leaves contents to be moved, as moving says, if it is not empty,
// of one that a process before this took.
func (c *conn) migrateFrom(cfg Config, version int64, moving string, steps []string) error {
	if moving != "" {
		if err := c.moveLongContents(cfg.piece); err != nil {
			return err
		}
	}
	for n := version + 1; n <= int64(len(steps)); n++ {
		if err := c.migrateTo(n, steps[n-1]); err != nil {
			return fmt.Errorf("bring the schema to version %d: %w", n, err)
		}
		if n == longContents {
			if err := c.moveLongContents(cfg.piece); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *conn) migrateTo(n int64, step string) error {
	return c.inTransaction(func() error {
		if err := c.exec(step + fmt.Sprintf("\n;PRAGMA user_version = %d;", n)); err != nil {
			return err
		}
		switch n {
		case longContents:
			return c.setMeta(metaMoving, "long contents")
		case userWords:
			return c.addWords()
		}
		return nil
	})
}

// inTransaction runs do in a transaction, and undoes what it did if it fails.
func (c *conn) inTransaction(do func() error) error {
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := do()
	if err == nil {
		err = c.exec("COMMIT")
	}
	if err != nil && !c.db.GetAutocommit() {
		err = errors.Join(err, c.exec("ROLLBACK"))
	}
	return err
}

// The steps that SQL alone does not take: they make long_contents and user_words.
const (
	longContents = 5
	userWords    = 6
)

const (
	copyLong = `INSERT INTO long_contents (chat_id, seq, content) SELECT chat_id, seq, content FROM messages
WHERE (chat_id, seq) > (?, ?) AND octet_length(content) > ? ORDER BY chat_id, seq LIMIT ?`
	emptyLong = `UPDATE messages SET content = '' WHERE (chat_id, seq) IN (SELECT chat_id, seq FROM long_contents WHERE rowid > ?)`
	lastLong  = `SELECT chat_id, seq, rowid FROM long_contents ORDER BY rowid DESC LIMIT 1`
	lastRow   = `SELECT ifnull(max(rowid), 0) FROM long_contents`
)

// moveLongContents moves long contents out of the rows of messages, piece of them
// in each transaction: the log takes no more than those, nor does memory, in which
// we have SQLite keep the pages that a statement changes, to undo it. Whatever ends
// it, the next start goes on, since metaMoving stands until all are moved.
// Meanwhile a content is in one place or the other, where readers find it; and the
// version keeps out every program that knows only the first.
func (c *conn) moveLongContents(piece int) error {
	row, err := c.int(lastRow)
	if err != nil {
		return fmt.Errorf("find the last long message: %w", err)
	}
	for id, seq, more := int64(0), int64(0), true; more; {
		err := c.inTransaction(func() error {
			if err := c.prep(copyLong).int(id).int(seq).int(inRow).int(int64(piece)).run(); err != nil {
				return err
			}
			if more = c.db.Changes() > 0; !more {
				return c.setMeta(metaMoving, "")
			}
			if err := c.prep(emptyLong).int(row).run(); err != nil {
				return err
			}
			q := c.prep(lastLong)
			if err := q.row(); err != nil {
				return err
			}
			id, seq, row = q.getInt(), q.getInt(), q.getInt()
			q.reset()
			return q.err
		})
		if err != nil {
			return fmt.Errorf("move long messages: %w", err)
		}
		// Without it the log would grow to all that is moved. So it does while somebody
		// else reads, as who makes a copy: they are waited for a little at each piece.
		if _, _, err := c.db.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE); err != nil && !errors.Is(err, sqlite3.BUSY) {
			return fmt.Errorf("checkpoint the database: %w", err)
		}
	}
	return nil
}

// addWords adds the words by which those are found who are there already.
func (c *conn) addWords() error {
	for after, more := int64(0), true; more; {
		var people []chat.User
		q := c.prep(`SELECT user_id, username, name FROM users WHERE user_id > ? ORDER BY user_id LIMIT 1000`).int(after)
		for q.next() {
			people = append(people, chat.User{ID: chat.UserID(q.getInt()), Username: q.getText(), Name: q.getText()})
		}
		if q.err != nil {
			return q.err
		}
		for i := range people {
			for _, w := range batch.WordsOf(&people[i]) {
				if err := c.prep(putWord).text(w.Word).int(int64(w.User)).run(); err != nil {
					return err
				}
			}
			after = int64(people[i].ID)
		}
		more = len(people) > 0
	}
	return nil
}
