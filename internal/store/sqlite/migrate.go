package sqlite

import (
	"embed"
	"errors"
	"fmt"
	"log/slog"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// applicationID marks our files: "Grma". The first migration sets it.
const applicationID = 0x47726d61

//go:embed migrations/*.sql
var migrationFiles embed.FS

// current says whether the schema is the newest.
func (c *conn) current() (bool, error) {
	steps, err := batch.Migrations(migrationFiles)
	if err != nil {
		return false, err
	}
	version, err := c.int("PRAGMA user_version")
	if err != nil {
		return false, fmt.Errorf("read the schema's version: %w", err)
	}
	return version == int64(len(steps)), nil
}

// migrate brings the schema up to date, each step in a transaction of its own
// together with its number, so that a crash leaves whole steps.
func migrate(c *conn, log *slog.Logger) error {
	steps, err := batch.Migrations(migrationFiles)
	if err != nil {
		return err
	}
	version, err := c.int("PRAGMA user_version")
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	if newest := int64(len(steps)); 0 < version && version < newest {
		log.Info("bringing the database schema up to date; with millions of messages that takes minutes", "from", version, "to", newest)
	}
	for n := version + 1; n <= int64(len(steps)); n++ {
		if err := c.migrateTo(n, steps[n-1]); err != nil {
			return fmt.Errorf("bring the schema to version %d: %w", n, err)
		}
	}
	return nil
}

func (c *conn) migrateTo(n int64, step string) (err error) {
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err = c.exec(step + fmt.Sprintf("\n;PRAGMA user_version = %d;", n))
	if err == nil {
		switch n {
		case longContents:
			err = c.moveLongContents()
		case userWords:
			err = c.addWords()
		}
	}
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
WHERE (chat_id, seq) > (?, ?) AND octet_length(content) > ? ORDER BY chat_id, seq LIMIT 1000`
	emptyLong = `UPDATE messages SET content = '' WHERE (chat_id, seq) IN (SELECT chat_id, seq FROM long_contents WHERE rowid > ?)`
	lastLong  = `SELECT chat_id, seq, rowid FROM long_contents ORDER BY rowid DESC LIMIT 1`
)

// moveLongContents moves long contents out of the rows of messages. Not all at
// once: SQLite keeps the pages that a statement changes, to undo it, and we have it
// do so in memory. And what pages some leave free others take.
func (c *conn) moveLongContents() error {
	for id, seq, row := int64(0), int64(0), int64(0); ; {
		if err := c.prep(copyLong).int(id).int(seq).int(inRow).run(); err != nil {
			return err
		}
		if c.db.Changes() == 0 {
			return nil
		}
		if err := c.prep(emptyLong).int(row).run(); err != nil {
			return err
		}
		q := c.prep(lastLong)
		if err := q.row(); err != nil {
			return err
		}
		id, seq, row = q.getInt(), q.getInt(), q.getInt()
		if q.reset(); q.err != nil {
			return q.err
		}
	}
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
