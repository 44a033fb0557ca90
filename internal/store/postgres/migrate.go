package postgres

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// history is what a database says of itself.
type history struct {
	epoch, version string
	offset         int64
}

// prepare brings the schema up to date, and gives the history a new epoch if it
// was restored. All nodes wait, and all of it happens or nothing.
func prepare(ctx context.Context, c *pgx.Conn, log *slog.Logger) (h history, err error) {
	tx, err := c.Begin(ctx)
	if err != nil {
		return h, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignore(tx.Rollback(context.WithoutCancel(ctx))))
		}
	}()
	// Migrations may take long, as may waiting for another node's.
	if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0`); err != nil {
		return h, err
	}
	if _, err := tx.Exec(ctx, lockAll, int64(schemaLock)); err != nil {
		return h, fmt.Errorf("wait for other nodes: %w", err)
	}
	facts, err := migrate(ctx, tx, log)
	if err != nil {
		return h, err
	}
	if h, err = settle(ctx, tx, facts, log); err != nil {
		return h, err
	}
	return h, tx.Commit(ctx)
}

func migrate(ctx context.Context, tx pgx.Tx, log *slog.Logger) (facts map[string]string, err error) {
	steps, err := batch.Migrations(migrationFiles)
	if err != nil {
		return nil, err
	}
	facts, err = readFacts(ctx, tx)
	if err != nil {
		return nil, err
	}
	version := 0
	if v := facts["version"]; v != "" {
		if version, err = strconv.Atoi(v); err != nil {
			return nil, ended{fmt.Errorf("the schema's version is %q: %w", v, err)}
		}
	}
	if version > len(steps) {
		return nil, newerSchema(facts["version"])
	}
	if 0 < version && version < len(steps) {
		// Also for operators' commands, which show warnings only.
		log.Warn("bringing the database schema up to date, after which no older grima opens it and those that run stop; with millions of messages that takes minutes", "from", version, "to", len(steps))
	}
	for n := version + 1; n <= len(steps); n++ {
		if _, err := tx.Exec(ctx, steps[n-1]); err != nil {
			return nil, fmt.Errorf("bring the schema to version %d: %w", n, err)
		}
		if n == userWords {
			if err := addWords(ctx, tx); err != nil {
				return nil, fmt.Errorf("bring the schema to version %d: %w", n, err)
			}
		}
	}
	if version < len(steps) {
		if err := setFact(ctx, tx, "version", strconv.Itoa(len(steps))); err != nil {
			return nil, err
		}
	}
	return readFacts(ctx, tx)
}

// userWords is the step that makes user_words.
const userWords = 3

// addWords adds the words by which those are found who are there already.
func addWords(ctx context.Context, tx pgx.Tx) error {
	r := &reader{ctx: ctx, conn: tx.Conn()}
	for after, more := int64(0), true; more; {
		var people []chat.User
		q := ask(`SELECT user_id, username, name FROM users WHERE user_id > $1 ORDER BY user_id LIMIT 1000`, after)
		q.row = func(c *columns) error {
			people = append(people, chat.User{ID: chat.UserID(c.Int()), Username: c.Text(), Name: c.Text()})
			return nil
		}
		if err := r.send(q); err != nil {
			return err
		}
		var rows []*batch.Word
		for i := range people {
			for _, w := range batch.WordsOf(&people[i]) {
				rows = append(rows, &w)
			}
			after = int64(people[i].ID)
		}
		if more = len(people) > 0; !more || len(rows) == 0 {
			continue
		}
		if err := r.send(ask(putWords, gather(rows, batch.BindWord)...)); err != nil {
			return err
		}
	}
	return nil
}

func newerSchema(version string) error {
	return ended{fmt.Errorf("a newer Grima wrote this database (its schema has version %s); run that one", version)}
}

// settle sees whether the history is where it was written, and begins another if
// it is not.
func settle(ctx context.Context, tx pgx.Tx, facts map[string]string, log *slog.Logger) (h history, err error) {
	h.version = facts["version"]
	if h.offset, err = strconv.ParseInt(facts["stamp_offset"], 10, 64); err != nil {
		return h, ended{fmt.Errorf("the offset of change stamps: %w", err)}
	}
	s, err := look(ctx, tx.Conn(), nil)
	if err != nil {
		return h, err
	}
	if h.epoch = facts["epoch"]; h.epoch != "" && facts["home"] == s.home {
		return h, nil
	}
	if h.epoch != "" {
		log.Warn("this database was restored or moved, and may have gone back: it gets a new epoch, and clients begin anew",
			"was", facts["home"], "is", s.home)
	}
	newest, err := newestStamp(ctx, tx)
	if err != nil {
		return h, err
	}
	if h.offset, err = goOnAbove(ctx, tx, newest); err != nil {
		return h, err
	}
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return h, err
	}
	h.epoch = hex.EncodeToString(raw[:])
	return h, errors.Join(setFact(ctx, tx, "epoch", h.epoch), setFact(ctx, tx, "home", s.home),
		setFact(ctx, tx, "stamp_offset", strconv.FormatInt(h.offset, 10)))
}

// newestStamp is the newest change stamp there is, which is even.
func newestStamp(ctx context.Context, q querier) (newest int64, err error) {
	err = q.QueryRow(ctx, `SELECT greatest((SELECT max(stamp) FROM chats), (SELECT max(stamp) FROM participants), (SELECT max(stamp) FROM writers), 0)`).Scan(&newest)
	if err != nil {
		return 0, fmt.Errorf("look for the newest change stamp: %w", err)
	}
	return newest + newest%2, nil
}

// goOnAbove gives the offset with which all stamps to come are above newest,
// which is even, and makes it LastStamp. It goes by xmin: a transaction that is
// under way elsewhere in the cluster would otherwise keep LastStamp below what
// clients have seen.
func goOnAbove(ctx context.Context, tx pgx.Tx, newest int64) (offset int64, err error) {
	var xmin int64
	if err := tx.QueryRow(ctx, `SELECT least(pg_current_xact_id()::text::bigint, pg_snapshot_xmin(pg_current_snapshot())::text::bigint)`).Scan(&xmin); err != nil {
		return 0, fmt.Errorf("read the oldest transaction: %w", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE writers SET stamp = $1, forgot = $1 WHERE writer_id = 0`, newest); err != nil {
		return 0, fmt.Errorf("note the newest change stamp: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM changed`); err != nil {
		return 0, fmt.Errorf("forget what changed lately: %w", err)
	}
	return max(0, newest/2+1-xmin), nil
}

// querier is a connection, or a transaction on one.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// From the catalog itself: what to_regclass knows is as of the transaction's
// beginning, before the other node was waited for.
const hasMeta = `SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'meta' AND relnamespace = current_schema()::regnamespace)`

// readFacts reads the table meta; nothing if there is none.
func readFacts(ctx context.Context, tx querier) (map[string]string, error) {
	facts := map[string]string{}
	var there bool
	if err := tx.QueryRow(ctx, hasMeta).Scan(&there); err != nil || !there {
		return facts, err
	}
	rows, err := tx.Query(ctx, `SELECT name, value FROM meta`)
	if err != nil {
		return nil, fmt.Errorf("read the table meta: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		facts[name] = value
	}
	return facts, rows.Err()
}

func setFact(ctx context.Context, tx pgx.Tx, name, value string) error {
	_, err := tx.Exec(ctx, `INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
