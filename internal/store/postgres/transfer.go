package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/grima-chat/grima/internal/store/batch"
	"github.com/grima-chat/grima/internal/store/transfer"
)

// servingLock is the key of an advisory lock that each process which may write
// holds shared for as long as one of its connections lasts, and a copy alone.
const servingLock = 0x4772_6d61_0003

// errCopying says that a copy has the database for itself.
var errCopying = errors.New("grima copy has this database for itself; when it is done, start again")

// serving sees that a connection may write: nobody copies the database, nor was
// it moved, and for as long as the connection lasts nobody will.
func serving(ctx context.Context, c *pgx.Conn) error {
	r := &reader{ctx: ctx, conn: c}
	free, err := tryLock(ctx, c, `SELECT pg_try_advisory_lock_shared($1)`)
	if err != nil {
		return err
	}
	if !free {
		return ended{errCopying}
	}
	var made bool
	there := ask(hasMeta)
	there.row = func(v *columns) error {
		made = v.Bool()
		return nil
	}
	if err := r.send(there); err != nil {
		return fmt.Errorf("see whether the database is being copied: %w", err)
	}
	if !made {
		return nil
	}
	facts := map[string]string{}
	meta := ask(`SELECT name, value FROM meta`)
	meta.row = func(v *columns) error {
		name := v.Text()
		facts[name] = v.Text()
		return nil
	}
	if err := r.send(meta); err != nil {
		return fmt.Errorf("read the marks of copies: %w", err)
	}
	if err := transfer.Servable(facts[metaIncoming], facts[metaMoved]); err != nil {
		return ended{err}
	}
	return nil
}

// present has a connection that only reads hold the same lock, if it is free: a
// writer that has lost its connection, and is about to come back, is not to find
// that a copy took the database meanwhile.
func present(ctx context.Context, c *pgx.Conn) error {
	if _, err := c.Exec(ctx, `SELECT pg_try_advisory_lock_shared($1)`, int64(servingLock)); err != nil {
		return fmt.Errorf("keep copies away: %w", err)
	}
	return nil
}

// Transfer is a store that is copied from or into. It is no Store: nobody is
// served from it meanwhile.
type Transfer struct {
	c     *pgx.Conn
	alone bool // nobody else may write; otherwise c is in a transaction, with one snapshot
}

var _ transfer.Store = (*Transfer)(nil)

// OpenSource opens the store at cfg.URL to be copied. If servers have it open,
// what is read is its state at this moment; otherwise they are kept from writing
// to it until Close.
func OpenSource(ctx context.Context, cfg Config) (*Transfer, error) {
	return openTransfer(ctx, cfg, func(t *Transfer) error {
		facts, err := t.facts(ctx)
		if err != nil {
			return err
		}
		if len(facts) == 0 {
			return errors.New("there is nothing of Grima's in it")
		}
		steps, err := batch.Migrations(migrationFiles)
		if err != nil {
			return err
		}
		if v := facts["version"]; v != strconv.Itoa(len(steps)) {
			return fmt.Errorf("its schema has version %s, and this program's is %d: start a server of this version on it first, or copy with the one that wrote it", v, len(steps))
		}
		s, err := look(ctx, t.c, nil)
		if err == nil && s.home != facts["home"] {
			err = errors.New("it was restored, replaced or taken over by a standby: start a server on it first, which gives its history a new epoch")
		}
		if err == nil && !t.alone {
			_, err = t.c.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`)
		}
		return err
	})
}

// OpenDestination opens the store at cfg.URL to be copied into, and makes its
// tables if there are none.
func OpenDestination(ctx context.Context, cfg Config) (*Transfer, error) {
	return openTransfer(ctx, cfg, func(t *Transfer) error {
		if !t.alone {
			return errors.New("servers, or another grima copy, have it open: stop them, or choose another database")
		}
		return t.transact(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, lockAll, int64(schemaLock)); err != nil {
				return err
			}
			_, err := migrate(ctx, tx, cfg.Log)
			return err
		})
	})
}

func openTransfer(ctx context.Context, cfg Config, open func(*Transfer) error) (*Transfer, error) {
	cfg.setDefaults()
	conf, err := parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("the address of the database: %w", err) // without its password
	}
	t := &Transfer{}
	if t.c, _, err = connect(ctx, conf, settings(0, 0)); err == nil {
		if t.alone, err = tryLock(ctx, t.c, `SELECT pg_try_advisory_lock($1)`); err == nil {
			err = open(t)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the database %s on %s: %w", conf.Database, conf.Host, err), t.Close())
	}
	return t, nil
}

// lingering is how long a process that was killed may be thought to be there
// still: until the server has noticed.
const lingering = time.Second

// tryLock takes a lock in one of two ways, and says whether it is free.
func tryLock(ctx context.Context, c *pgx.Conn, sql string) (free bool, err error) {
	r := &reader{ctx: ctx, conn: c}
	try := ask(sql, int64(servingLock))
	try.row = func(v *columns) error {
		free = v.Bool()
		return nil
	}
	for late := time.Now().Add(lingering); ; {
		if err := r.send(try); err != nil {
			return false, fmt.Errorf("see who has the database open: %w", err)
		}
		if free || time.Now().After(late) {
			return free, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(leastBackoff):
		}
	}
}

// leave gives up what serving and a Transfer hold, and closes the connection.
// Closing alone would do it, a moment later.
func leave(c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), lingering)
	defer cancel()
	if !c.IsClosed() {
		_, err := c.Exec(ctx, `SELECT pg_advisory_unlock_all()`)
		ignore(err) // as is the case when it is in a transaction that failed
	}
	return drop(c)
}

// Close ends what was open. What was not finished stays as it is.
func (t *Transfer) Close() error {
	if t.c == nil {
		return nil
	}
	return leave(t.c)
}

const (
	metaIncoming = "incoming"
	metaMoved    = "moved"
)

func (t *Transfer) facts(ctx context.Context) (map[string]string, error) { return readFacts(ctx, t.c) }

// Facts implements transfer.Store, as does all that follows.
func (t *Transfer) Facts(ctx context.Context) (f transfer.Facts, err error) {
	facts, err := t.facts(ctx)
	if err != nil {
		return f, err
	}
	f = transfer.Facts{Epoch: facts["epoch"], Alone: t.alone, Counters: map[string]int64{}}
	var err1, err2 error
	f.Incoming, err1 = transfer.ParseIncoming(facts[metaIncoming])
	f.Moved, err2 = transfer.ParseMoved(facts[metaMoved])
	if err := errors.Join(err1, err2); err != nil {
		return f, err
	}
	newest, err := newestStamp(ctx, t.c)
	if err != nil {
		return f, err
	}
	// A position may lie among what is not final yet, which is one above (stamps.go).
	f.Stamp = newest + 1
	if err := t.c.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM users) AND NOT EXISTS (SELECT FROM chats)`).Scan(&f.Empty); err != nil {
		return f, err
	}
	rows, err := t.c.Query(ctx, `SELECT name, value FROM counters`)
	if err != nil {
		return f, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var last int64
		if err := rows.Scan(&name, &last); err != nil {
			return f, err
		}
		f.Counters[name] = last
	}
	return f, rows.Err()
}

// transferSQL is what copying does to a table.
type transferSQL struct {
	first, next, drop string
	columns           []string
}

var pgTypes = map[transfer.Kind]string{
	transfer.Int: "bigint", transfer.Bool: "boolean", transfer.Text: "text",
	transfer.Bytes: "bytea", transfer.ClientMsgID: "bytea",
}

var transfers = func() map[string]transferSQL {
	m := map[string]transferSQL{}
	for _, t := range transfer.Tables {
		var s transferSQL
		var some []string
		var types strings.Builder
		for i, c := range t.Columns {
			s.columns = append(s.columns, c.Name)
			if i < t.Keys {
				some = append(some, "$"+strconv.Itoa(i+1))
				types.WriteString(pgTypes[c.Kind] + " ")
			}
		}
		all, key, limit := strings.Join(s.columns, ", "), strings.Join(s.columns[:t.Keys], ", "), strconv.Itoa(t.Keys+1)
		s.first = "SELECT " + all + " FROM " + t.Name + " ORDER BY " + key + " LIMIT $1"
		s.next = "SELECT " + all + " FROM " + t.Name + " WHERE (" + key + ") > (" + strings.Join(some, ", ") + ") ORDER BY " + key + " LIMIT $" + limit
		s.drop = "DELETE FROM " + t.Name + " WHERE (" + key + ") IN (" + rowsFrom(types.String()) + ")"
		m[t.Name] = s
	}
	return m
}()

func (t *Transfer) Rows(ctx context.Context, table *transfer.Table, after transfer.Row, limit int) (list []transfer.Row, err error) {
	sql, args := transfers[table.Name].first, []any{}
	if after != nil {
		sql, args = transfers[table.Name].next, valuesOf(table, after[:table.Keys])
	}
	rows, err := t.c.Query(ctx, sql, append(args, int64(limit))...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list = make([]transfer.Row, 0, limit)
	for rows.Next() {
		row, err := rowOf(table, rows.RawValues())
		if err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, rows.Err()
}

func (t *Transfer) Write(ctx context.Context, table *transfer.Table, drop, put []transfer.Row) error {
	sql := transfers[table.Name]
	return t.transact(ctx, func(tx pgx.Tx) error {
		if len(drop) > 0 {
			if _, err := tx.Exec(ctx, sql.drop, keysOf(table, drop)...); err != nil {
				return err
			}
		}
		if len(put) == 0 {
			return nil
		}
		_, err := tx.CopyFrom(ctx, pgx.Identifier{table.Name}, sql.columns,
			pgx.CopyFromSlice(len(put), func(i int) ([]any, error) { return valuesOf(table, put[i]), nil }))
		return err
	})
}

func (t *Transfer) Begin(ctx context.Context, m transfer.Incoming) error {
	return t.transact(ctx, func(tx pgx.Tx) error { return setFact(ctx, tx, metaIncoming, m.String()) })
}

// Finish leaves the copy where its stamps go on above those that came along:
// nothing below can appear any more, and every position that was given out is
// at or below LastStamp (stamps.go).
func (t *Transfer) Finish(ctx context.Context, f transfer.Facts) error {
	err := t.transact(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockAll, int64(schemaLock)); err != nil {
			return err
		}
		s, err := look(ctx, tx.Conn(), nil) // with the tables that were made
		if err != nil {
			return err
		}
		newest := f.Stamp + f.Stamp%2
		// Of a process that comes back after this nothing may be written.
		if _, err := tx.Exec(ctx, `DELETE FROM writers WHERE writer_id > 0`); err != nil {
			return err
		}
		offset, err := goOnAbove(ctx, tx, newest)
		if err != nil {
			return err
		}
		for name, last := range f.Counters {
			if _, err := tx.Exec(ctx, `INSERT INTO counters (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, last); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `DELETE FROM meta WHERE name IN ($1, $2)`, metaIncoming, metaMoved); err != nil {
			return err
		}
		return errors.Join(setFact(ctx, tx, "epoch", f.Epoch), setFact(ctx, tx, "home", s.home),
			setFact(ctx, tx, "stamp_offset", strconv.FormatInt(offset, 10)))
	})
	if err != nil {
		return err
	}
	_, err = t.c.Exec(ctx, `ANALYZE`)
	return err
}

func (t *Transfer) Leave(ctx context.Context, m transfer.Moved) error {
	return t.transact(ctx, func(tx pgx.Tx) error { return setFact(ctx, tx, metaMoved, m.String()) })
}

func (t *Transfer) transact(ctx context.Context, do func(pgx.Tx) error) error {
	tx, err := t.c.Begin(ctx)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, ignore(tx.Rollback(context.WithoutCancel(ctx))))
	}
	return tx.Commit(ctx)
}

// valuesOf gives the first columns of a row to the driver.
func valuesOf(t *transfer.Table, row transfer.Row) []any {
	args := make([]any, len(row), len(row)+1)
	for i, v := range row {
		switch {
		case v.Null:
		case t.Columns[i].Kind == transfer.Int:
			args[i] = v.Int
		case t.Columns[i].Kind == transfer.Bool:
			args[i] = v.Int != 0
		case t.Columns[i].Kind == transfer.Text:
			args[i] = escape(string(v.Bytes))
		default:
			args[i] = v.Bytes
		}
	}
	return args
}

// keysOf gives the keys of rows, column by column.
func keysOf(t *transfer.Table, rows []transfer.Row) []any {
	ptrs := make([]*transfer.Row, len(rows))
	for i := range rows {
		ptrs[i] = &rows[i]
	}
	return gather(ptrs, func(b batch.Binder, row *transfer.Row) {
		for i, v := range (*row)[:t.Keys] {
			switch t.Columns[i].Kind {
			case transfer.Int:
				b.Int(v.Int)
			case transfer.Text:
				b.Text(string(v.Bytes))
			default:
				b.Bytes(v.Bytes)
			}
		}
	})
}

func rowOf(t *transfer.Table, raw [][]byte) (transfer.Row, error) {
	row := make(transfer.Row, len(t.Columns))
	for i, c := range t.Columns {
		v, r := &row[i], raw[i]
		switch {
		case r == nil:
			v.Null = true
		case c.Kind == transfer.Int && len(r) == 8:
			v.Int = int64(binary.BigEndian.Uint64(r))
		case c.Kind == transfer.Bool && len(r) == 1:
			v.Int = int64(r[0])
		case c.Kind == transfer.Int, c.Kind == transfer.Bool:
			return nil, fmt.Errorf("%w: %s has %d bytes", errFormat, c.Name, len(r))
		case c.Kind == transfer.Text:
			v.Bytes = []byte(unescape(string(r)))
		default:
			v.Bytes = append([]byte{}, r...)
		}
	}
	return row, nil
}
