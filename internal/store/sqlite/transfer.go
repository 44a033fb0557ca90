package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/store/batch"
	"github.com/grima-chat/grima/internal/store/transfer"
)

// Transfer is a store that is copied from or into. It is no Store: nobody is
// served from it meanwhile.
type Transfer struct {
	c    *conn
	lock *os.File // nil: another process has it, and c is in a read transaction
}

var _ transfer.Store = (*Transfer)(nil)

// OpenSource opens the store in cfg.Dir to be copied. If another process serves
// it, what is read is its state at this moment; otherwise it is kept from
// being opened until Close.
func OpenSource(ctx context.Context, cfg Config) (_ *Transfer, err error) {
	cfg.forTransfer()
	path := filepath.Join(cfg.Dir, dbName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no database of Grima's at %s", cfg.Dir)
	}
	if cfg.Dir, err = makeDir(cfg.Dir, cfg.Log); err != nil {
		return nil, err
	}
	t := &Transfer{}
	if t.lock, err = lockDir(cfg.Dir); err == nil {
		err = t.openAlone(ctx, cfg)
	} else if _, used := errors.AsType[inUse](err); used {
		err = t.openSnapshot(cfg)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the database %s: %w", path, err), t.Close())
	}
	return t, nil
}

// OpenDestination opens the store in cfg.Dir to be copied into, and makes it if
// there is none.
func OpenDestination(ctx context.Context, cfg Config) (_ *Transfer, err error) {
	cfg.forTransfer()
	if cfg.Dir, err = makeDir(cfg.Dir, cfg.Log); err != nil {
		return nil, err
	}
	t := &Transfer{}
	if t.lock, err = lockDir(cfg.Dir); err != nil {
		return nil, err
	}
	if err = create(cfg); err == nil {
		err = t.openAlone(ctx, cfg)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the database %s: %w", filepath.Join(cfg.Dir, dbName), err), t.Close())
	}
	return t, nil
}

func (cfg *Config) forTransfer() {
	cfg.setDefaults()
	cfg.ReaderCache = cfg.WriterCache
}

func (t *Transfer) openAlone(ctx context.Context, cfg Config) (err error) {
	if err := makeFiles(cfg.Dir, dbName+"-wal", dbName+"-shm"); err != nil {
		return err
	}
	if err := inspect(cfg); err != nil {
		return err
	}
	if t.c, err = openConn(cfg, writing); err != nil {
		return refine(err)
	}
	t.c.db.SetInterrupt(ctx)
	behind, err := prepare(t.c, cfg)
	if err := errors.Join(err, behind); err != nil {
		return refine(err)
	}
	// There is no goroutine that would keep the log short.
	return t.c.exec(fmt.Sprintf("PRAGMA wal_autocheckpoint = %d", max(cfg.WALBound/pageSize/4, 16)))
}

func (t *Transfer) openSnapshot(cfg Config) error {
	if err := inspect(cfg); err != nil {
		return err
	}
	var err error
	if t.c, err = openConn(cfg, reading); err != nil {
		return refine(err)
	}
	steps, err := batch.Migrations(migrationFiles)
	if err != nil {
		return err
	}
	if err := t.c.exec("BEGIN"); err != nil {
		return err
	}
	version, err := t.c.int("PRAGMA user_version")
	if err == nil && version != int64(len(steps)) {
		err = fmt.Errorf("the server that has it open is an older Grima, or still brings the schema up to date (it is version %d, this program's is %d): stop it, start the new one, or wait", version, len(steps))
	}
	return err
}

// Close ends what was open. What was not finished stays as it is.
func (t *Transfer) Close() error {
	var errs []error
	if t.c != nil {
		t.c.db.SetInterrupt(background)
		if !t.c.db.GetAutocommit() {
			errs = append(errs, t.c.exec("ROLLBACK"))
		}
		if t.lock != nil {
			// Leave one file behind, not two.
			_, _, err := t.c.db.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE)
			errs = append(errs, err)
		}
		errs = append(errs, t.c.close())
	}
	if t.lock != nil {
		errs = append(errs, t.lock.Close())
	}
	return errors.Join(errs...)
}

const (
	metaEpoch    = "epoch"
	metaIncoming = "incoming"
	metaMoved    = "moved"
	metaMoving   = "moving" // while long contents are, see moveLongContents

	selMeta    = `SELECT value FROM meta WHERE name = ?`
	putMeta    = `INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`
	deleteMeta = `DELETE FROM meta WHERE name = ?`
)

// meta reads a fact; empty: there is none.
func (c *conn) meta(name string) (string, error) {
	q := c.prep(selMeta).text(name)
	if !q.next() {
		return "", q.err
	}
	v := q.getText()
	q.reset()
	return v, q.err
}

// setMeta writes a fact, or with an empty value deletes it.
func (c *conn) setMeta(name, value string) error {
	if value == "" {
		return c.prep(deleteMeta).text(name).run()
	}
	return c.prep(putMeta).text(name).text(value).run()
}

// servable refuses a store that is an unfinished copy, or was moved away.
func (c *conn) servable() error {
	incoming, err1 := c.meta(metaIncoming)
	moved, err2 := c.meta(metaMoved)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("read the marks of copies: %w", err)
	}
	return transfer.Servable(incoming, moved)
}

// Facts implements transfer.Store, as does all that follows.
func (t *Transfer) Facts(ctx context.Context) (f transfer.Facts, err error) {
	t.c.db.SetInterrupt(ctx)
	f = transfer.Facts{Alone: t.lock != nil, Counters: map[string]int64{}}
	var incoming, moved string
	var rows int64
	get := func(read func() error) {
		if err == nil {
			err = read()
		}
	}
	get(func() (err error) { f.Epoch, err = t.c.meta(metaEpoch); return err })
	get(func() (err error) { incoming, err = t.c.meta(metaIncoming); return err })
	get(func() (err error) { f.Incoming, err = transfer.ParseIncoming(incoming); return err })
	get(func() (err error) { moved, err = t.c.meta(metaMoved); return err })
	get(func() (err error) { f.Moved, err = transfer.ParseMoved(moved); return err })
	get(func() (err error) { f.Stamp, err = t.c.int(selStamp); return err })
	for _, name := range transfer.Counters {
		get(func() error {
			q := t.c.prep(selCounter).text(name)
			if err := q.row(); err != nil {
				return fmt.Errorf("the counter %s: %w", name, err)
			}
			f.Counters[name] = q.getInt()
			q.reset()
			return q.err
		})
	}
	get(func() (err error) {
		rows, err = t.c.int("SELECT EXISTS (SELECT 1 FROM users) + EXISTS (SELECT 1 FROM chats)")
		return err
	})
	f.Empty = rows == 0
	return f, err
}

// transferSQL is what copying does to a table.
type transferSQL struct{ first, next, drop, put string }

var transfers = func() map[string]transferSQL {
	m := map[string]transferSQL{}
	for _, t := range transfer.Tables {
		var names, params []string
		for _, c := range t.Columns {
			names, params = append(names, c.Name), append(params, "?")
		}
		all, some := strings.Join(names, ", "), strings.Join(params[:t.Keys], ", ")
		key := strings.Join(names[:t.Keys], ", ")
		m[t.Name] = transferSQL{
			first: "SELECT " + all + " FROM " + t.Name + " ORDER BY " + key + " LIMIT ?",
			next:  "SELECT " + all + " FROM " + t.Name + " WHERE (" + key + ") > (" + some + ") ORDER BY " + key + " LIMIT ?",
			drop:  "DELETE FROM " + t.Name + " WHERE (" + key + ") = (" + some + ")",
			put:   "INSERT INTO " + t.Name + " (" + all + ") VALUES (" + strings.Join(params, ", ") + ")",
		}
		if t.Name == "messages" {
			sql := m[t.Name]
			sql.first, sql.next = strings.Replace(sql.first, all, messageOf, 1), strings.Replace(sql.next, all, messageOf, 1)
			m[t.Name] = sql
		}
	}
	return m
}()

func (t *Transfer) Rows(ctx context.Context, table *transfer.Table, after transfer.Row, limit int) ([]transfer.Row, error) {
	t.c.db.SetInterrupt(ctx)
	q := t.c.prep(transfers[table.Name].first)
	if after != nil {
		q = t.c.prep(transfers[table.Name].next)
		q.values(table, after[:table.Keys])
	}
	q.int(int64(limit))
	list := make([]transfer.Row, 0, limit)
	for q.next() {
		list = append(list, q.getValues(table))
	}
	return list, refine(q.err)
}

func (t *Transfer) Write(ctx context.Context, table *transfer.Table, drop, put []transfer.Row) error {
	sql := transfers[table.Name]
	return t.transact(ctx, func() error {
		for _, row := range drop {
			q := t.c.prep(sql.drop)
			q.values(table, row[:table.Keys])
			if err := q.run(); err != nil {
				return err
			}
			if table.Name == "messages" {
				if err := t.c.prep(removeLong).int(row[0].Int).int(row[1].Int).run(); err != nil {
					return err
				}
			}
		}
		for _, row := range put {
			long := ""
			if table.Name == "messages" {
				row, long = splitMessage(row)
			}
			q := t.c.prep(sql.put)
			q.values(table, row)
			if err := q.run(); err != nil {
				return err
			}
			if long != "" {
				if err := t.c.prep(addLong).int(row[0].Int).int(row[1].Int).text(long).run(); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// splitMessage takes a long content out of a message's row.
func splitMessage(row transfer.Row) (short transfer.Row, long string) {
	const content = 4 // its column
	if len(row[content].Bytes) <= inRow {
		return row, ""
	}
	short = slices.Clone(row)
	short[content].Bytes = []byte{}
	return short, string(row[content].Bytes)
}

func (t *Transfer) Begin(ctx context.Context, m transfer.Incoming) error {
	return t.transact(ctx, func() error { return t.c.setMeta(metaIncoming, m.String()) })
}

func (t *Transfer) Finish(ctx context.Context, f transfer.Facts) error {
	return t.transact(ctx, func() error {
		err := errors.Join(t.c.setMeta(metaEpoch, f.Epoch), t.c.setMeta(metaIncoming, ""), t.c.setMeta(metaMoved, ""),
			t.c.prep(setCounter).int(f.Stamp).text("stamp").run())
		for name, last := range f.Counters {
			err = errors.Join(err, t.c.prep(setCounter).int(last).text(name).run())
		}
		return err
	})
}

func (t *Transfer) Leave(ctx context.Context, m transfer.Moved) error {
	return t.transact(ctx, func() error { return t.c.setMeta(metaMoved, m.String()) })
}

func (t *Transfer) transact(ctx context.Context, do func() error) error {
	t.c.db.SetInterrupt(ctx)
	err := t.c.exec("BEGIN IMMEDIATE")
	if err == nil {
		err = do()
	}
	if err == nil {
		err = t.c.exec("COMMIT")
	}
	if err != nil && !t.c.db.GetAutocommit() {
		t.c.db.SetInterrupt(background)
		err = errors.Join(err, t.c.exec("ROLLBACK"))
	}
	return err
}

// values binds the first columns of a table.
func (s *stmt) values(t *transfer.Table, row transfer.Row) {
	for i, v := range row {
		switch kind := t.Columns[i].Kind; {
		case v.Null:
			s.null()
		case kind == transfer.Text:
			s.text(string(v.Bytes))
		case kind == transfer.Bytes:
			s.blob(v.Bytes)
		case kind != transfer.ClientMsgID:
			s.int(v.Int)
		case len(v.Bytes) == 17 && v.Bytes[0] == 'u':
			s.blob(v.Bytes[1:])
		default:
			s.text(string(v.Bytes[1:]))
		}
	}
}

func (s *stmt) getValues(t *transfer.Table) transfer.Row {
	row := make(transfer.Row, len(t.Columns))
	for i, c := range t.Columns {
		v := &row[i]
		switch {
		case s.null1():
			v.Null = true
			s.col++
		case c.Kind == transfer.Int, c.Kind == transfer.Bool:
			v.Int = s.getInt()
		case c.Kind != transfer.ClientMsgID:
			v.Bytes = append([]byte{}, s.getRaw()...)
		case s.s.ColumnType(s.col) == sqlite3.BLOB:
			v.Bytes = slices.Concat([]byte{'u'}, s.getRaw())
		default:
			v.Bytes = slices.Concat([]byte{'t'}, s.getRaw())
		}
	}
	return row
}
