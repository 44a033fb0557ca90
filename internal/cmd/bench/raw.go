//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"
	"golang.org/x/sys/unix"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
)

// driver is the bare driver on a store's own file: what the machine and the
// schema allow, without a server around them.
type driver struct {
	db    *sqlite3.Conn
	chats []int64 // keys
	last  []int64 // last_seq, by index into chats
	users []int64
	stamp int64

	begin, commit, check, message, sent, chat, counter *sqlite3.Stmt
	touched                                            []int // scratch: chats of the batch

	wal *checkpointer // nil while filling
}

// checkpointer bounds the WAL as the server does: a goroutine copies and syncs
// what has gathered, and the writer does the little that is left.
type checkpointer struct {
	db            *sqlite3.Conn
	file          *os.File   // the database
	mu            sync.Mutex // held while checkpointing
	wake          chan struct{}
	ready         atomic.Bool // what is left is for the writer
	ended         chan error
	pages, wakeAt int
}

// What the server's store has for defaults.
const (
	driverCache = 64 << 20 // bytes of page cache
	boundPages  = 32768    // of WAL: at half of it the goroutine begins, at all of it the writer
	passes      = 4        // of the goroutine, at most
)

func newCheckpointer(path string) (*checkpointer, error) {
	db, err := sqlite3.Open("file:" + path)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	c := &checkpointer{db: db, file: file, wake: make(chan struct{}, 1), ended: make(chan error, 1), wakeAt: boundPages / 2}
	go func() {
		var errs []error
		for range c.wake {
			before := 0
			for range passes {
				pages, err := c.pass()
				errs = append(errs, err)
				if pages-before <= boundPages/64 {
					break
				}
				before = pages
			}
			c.ready.Store(true)
		}
		c.ended <- errors.Join(errs...)
	}()
	return c, nil
}

// pass copies the WAL as it is now and syncs what it copied.
func (c *checkpointer) pass() (pages int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if pages, _, err = c.db.WALCheckpoint("main", sqlite3.CHECKPOINT_PASSIVE); err != nil && !errors.Is(err, sqlite3.BUSY) {
		return pages, err
	}
	return pages, unix.Fdatasync(int(c.file.Fd()))
}

// after is called by the writer, between two batches.
func (c *checkpointer) after(writer *sqlite3.Conn) error {
	if c.pages >= c.wakeAt {
		c.wakeAt = c.pages + boundPages/8
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	if !c.ready.Load() && c.pages < boundPages {
		return nil
	}
	c.ready.Store(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wakeAt = boundPages / 2 // nobody reads, so the WAL starts afresh
	_, _, err := writer.WALCheckpoint("main", sqlite3.CHECKPOINT_RESTART)
	return err
}

func (c *checkpointer) close() error {
	close(c.wake)
	return errors.Join(<-c.ended, c.file.Close(), c.db.Close())
}

// row is a message to insert: by whom of a world's people, into which chat.
type row struct {
	chat, sender int
	key          uuid
	content      string
	at           int64 // Unix ms
}

// openDriver opens the store in dir with the server's own settings, or, for
// filling, without waiting for the disk.
func openDriver(w *world, dir string, durable bool) (d *driver, err error) {
	path, err := databaseIn(dir)
	if err != nil {
		return nil, err
	}
	db, err := sqlite3.OpenContext(sqlite3.WithMaxMemory(context.Background(), 2<<30), "file:"+path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	d = &driver{db: db, chats: w.chatKeys()}
	if err := d.setUp(w, path, durable); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *driver) setUp(w *world, path string, durable bool) (err error) {
	pragmas := []string{"synchronous = FULL", fmt.Sprintf("cache_size = -%d", driverCache>>10), "wal_autocheckpoint = 0"}
	if !durable {
		pragmas = []string{"journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000"}
	}
	for _, p := range append(pragmas, "cell_size_check = ON", "mmap_size = 0", "temp_store = MEMORY") {
		if err := d.db.Exec("PRAGMA " + p); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	for _, s := range []struct {
		stmt **sqlite3.Stmt
		sql  string
	}{
		{&d.begin, `BEGIN IMMEDIATE`},
		{&d.commit, `COMMIT`},
		{&d.check, `SELECT chat_id, seq, body_hash FROM sent WHERE sender_id = ? AND client_msg_id = ?`},
		{&d.message, `INSERT INTO messages (chat_id, seq, updated_seq, sender_id, content, mention_all, created_at) VALUES (?, ?, ?, ?, ?, 0, ?)`},
		{&d.sent, `INSERT INTO sent (sender_id, client_msg_id, chat_id, seq, body_hash, created_at) VALUES (?, ?, ?, ?, ?, ?)`},
		{&d.chat, `UPDATE chats SET last_seq = ?, stamp = ? WHERE chat_id = ?`},
		{&d.counter, `UPDATE counters SET value = ? WHERE name = 'stamp'`},
	} {
		if *s.stmt, _, err = d.db.PrepareFlags(s.sql, sqlite3.PREPARE_PERSISTENT); err != nil {
			return fmt.Errorf("%s: %w", s.sql, err)
		}
	}
	if err := d.load(w); err != nil {
		return err
	}
	if durable {
		if d.wal, err = newCheckpointer(path); err != nil {
			return err
		}
		d.db.WALHook(func(_ *sqlite3.Conn, _ string, pages int) error {
			d.wal.pages = pages
			return nil
		})
	}
	return nil
}

func (d *driver) load(w *world) error {
	if err := each(d.db, `SELECT value FROM counters WHERE name = 'stamp'`, func(s *sqlite3.Stmt) {
		d.stamp = s.ColumnInt64(0)
	}); err != nil {
		return err
	}
	last := make(map[int64]int64, len(d.chats))
	if err := each(d.db, `SELECT chat_id, last_seq FROM chats`, func(s *sqlite3.Stmt) {
		last[s.ColumnInt64(0)] = s.ColumnInt64(1)
	}); err != nil {
		return err
	}
	d.last = make([]int64, len(d.chats))
	for i, key := range d.chats {
		if last[key] < founders {
			return fmt.Errorf("the store has no chat %s", w.ChatID[i])
		}
		d.last[i] = last[key]
	}
	byID := map[string]int64{}
	if err := each(d.db, `SELECT user_id FROM users`, func(s *sqlite3.Stmt) {
		byID[api.FormatUser(chat.UserID(s.ColumnInt64(0)))] = s.ColumnInt64(0)
	}); err != nil {
		return err
	}
	for _, id := range w.Users {
		if byID[id] == 0 {
			return fmt.Errorf("the store has no user %s", id)
		}
		d.users = append(d.users, byID[id])
	}
	return nil
}

func (d *driver) close() error {
	var errs []error
	if d.wal != nil {
		errs = append(errs, d.wal.close())
	}
	for _, s := range []*sqlite3.Stmt{d.begin, d.commit, d.check, d.message, d.sent, d.chat, d.counter} {
		errs = append(errs, s.Close()) // a nil one is fine
	}
	return errors.Join(append(errs, d.db.Close())...)
}

// insert commits the rows in one transaction: each message takes its chat's
// next number, each key is looked for and kept, each chat is written once.
func (d *driver) insert(rows []row) error {
	if err := d.begin.Exec(); err != nil {
		return err
	}
	d.touched = d.touched[:0]
	for i := range rows {
		if err := d.put(&rows[i]); err != nil {
			return fmt.Errorf("inserting a message: %w", err)
		}
		d.touched = append(d.touched, rows[i].chat)
	}
	slices.Sort(d.touched)
	for _, c := range slices.Compact(d.touched) {
		d.stamp++
		if err := execWith(d.chat, d.last[c], d.stamp, d.chats[c]); err != nil {
			return fmt.Errorf("updating a chat: %w", err)
		}
	}
	if err := execWith(d.counter, d.stamp); err != nil {
		return err
	}
	if err := d.commit.Exec(); err != nil || d.wal == nil {
		return err
	}
	return d.wal.after(d.db)
}

func (d *driver) put(r *row) error {
	sender := d.users[r.sender]
	if d.wal == nil { // filling: the primary key is check enough
		return d.add(r, sender)
	}
	if err := errors.Join(d.check.BindInt64(1, sender), d.check.BindBlob(2, r.key[:])); err != nil {
		return err
	}
	taken := d.check.Step()
	if err := errors.Join(d.check.Err(), d.check.Reset()); err != nil {
		return err
	}
	if taken {
		return fmt.Errorf("the key %v was used already", r.key)
	}
	return d.add(r, sender)
}

func (d *driver) add(r *row, sender int64) error {
	d.last[r.chat]++
	seq := d.last[r.chat]
	m := d.message
	if err := errors.Join(m.BindInt64(1, d.chats[r.chat]), m.BindInt64(2, seq), m.BindInt64(3, seq),
		m.BindInt64(4, sender), m.BindText(5, r.content), m.BindInt64(6, r.at)); err != nil {
		return err
	}
	if err := m.Exec(); err != nil {
		return err
	}
	s := d.sent
	if err := errors.Join(s.BindInt64(1, sender), s.BindBlob(2, r.key[:]), s.BindInt64(3, d.chats[r.chat]),
		s.BindInt64(4, seq), s.BindBlob(5, r.key[:]), s.BindInt64(6, r.at)); err != nil {
		return err
	}
	return s.Exec()
}

func execWith(s *sqlite3.Stmt, args ...int64) error {
	for i, a := range args {
		if err := s.BindInt64(i+1, a); err != nil {
			return err
		}
	}
	return s.Exec()
}

// each calls row for every row of a query.
func each(db *sqlite3.Conn, sql string, row func(*sqlite3.Stmt)) error {
	s, _, err := db.Prepare(sql)
	if err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	for s.Step() {
		row(s)
	}
	return errors.Join(s.Err(), s.Close())
}

func queryText(db *sqlite3.Conn, sql string) (v string, err error) {
	err = each(db, sql, func(s *sqlite3.Stmt) { v = s.ColumnText(0) })
	return v, err
}

// checkpoint moves a store's WAL into its database, so that one file is all
// there is.
func checkpoint(dir string) (err error) {
	path, err := databaseIn(dir)
	if err != nil {
		return err
	}
	db, err := sqlite3.Open("file:" + path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, _, err := db.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE); err != nil {
		return fmt.Errorf("checkpointing %s: %w", path, err)
	}
	return nil
}

// batchLoad inserts batch after batch for a while; the bare driver and the bare
// log are each one write function. The latencies are those of the commits.
func batchLoad(next func([]row), write func([]row) error, batch int, warm, long time.Duration) (r result, err error) {
	rows := make([]row, batch)
	settle()
	for began := time.Now(); time.Since(began) < warm; {
		next(rows)
		if err := write(rows); err != nil {
			return r, err
		}
	}
	cpu, err := ownCPU()
	if err != nil {
		return r, err
	}
	for began := time.Now(); r.elapsed < long; r.elapsed = time.Since(began) {
		next(rows)
		start := time.Now()
		if err := write(rows); err != nil {
			return r, err
		}
		r.latencies = append(r.latencies, time.Since(start))
		r.sent += batch
	}
	if r.clientCPU, err = ownCPU(); err != nil {
		return r, err
	}
	r.clientCPU -= cpu
	slices.Sort(r.latencies)
	return r, nil
}

// rowsFor makes rows as the senders of a workload would send them.
func rowsFor(rng *rand.Rand, groups int, key func(*rand.Rand) uuid, bodies []string) func([]row) {
	return func(rows []row) {
		now := time.Now().UnixMilli()
		for i := range rows {
			g := rng.IntN(groups)
			rows[i] = row{chat: g, sender: membersOf(g)[2+rng.IntN(perGroup)], key: key(rng), content: bodies[rng.IntN(len(bodies))], at: now}
		}
	}
}

// bareLog appends the same rows to a file and syncs each batch: the least that
// durable can cost.
type bareLog struct {
	f   *os.File
	buf []byte
}

func openLog(path string) (*bareLog, error) {
	f, err := os.Create(path)
	return &bareLog{f: f}, err
}

func (l *bareLog) write(rows []row) error {
	l.buf = l.buf[:0]
	for i := range rows {
		r := &rows[i]
		l.buf = binary.BigEndian.AppendUint32(l.buf, uint32(len(r.content)))
		for _, v := range []int64{int64(r.chat), int64(i), int64(i), int64(r.sender), r.at} {
			l.buf = binary.BigEndian.AppendUint64(l.buf, uint64(v))
		}
		l.buf = append(append(append(l.buf, r.key[:]...), r.key[:]...), r.content...)
	}
	if _, err := l.f.Write(l.buf); err != nil {
		return err
	}
	return unix.Fdatasync(int(l.f.Fd()))
}

func (l *bareLog) close() error { return l.f.Close() }

// fill brings the store in dir from have to want messages, with the server's
// own tables and invariants: batches as large as SQLite likes them, each in the
// order of the chats.
func (b *bench) fill(w *world, dir string, have, want int) (err error) {
	const batch = 100_000
	d, err := openDriver(w, dir, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	rng := rand.New(rand.NewPCG(b.Seed, uint64(want)))
	// Who talks much stays the same from one size to the next.
	z := newZipf(rand.New(rand.NewPCG(b.Seed, 0)), len(d.chats))
	z.rng = rng
	bodies := makeBodies(rng, b.Body)
	// History: a message each 10 ms, up to now.
	at := time.Now().UnixMicro() - int64(want-have)*10_000
	rows := make([]row, 0, batch)
	groups := make([]int, 0, batch)
	began := time.Now()
	for n := have; n < want; n += len(rows) {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		groups, rows = groups[:0], rows[:0]
		for range min(batch, want-n) {
			groups = append(groups, z.next())
		}
		slices.SortFunc(groups, func(x, y int) int { return int(d.chats[x] - d.chats[y]) })
		for _, g := range groups {
			at += 10_000
			rows = append(rows, row{
				chat: g, sender: membersOf(g)[rng.IntN(founders)], key: timeIDAt(rng, at),
				content: bodies[rng.IntN(len(bodies))], at: at / 1000,
			})
		}
		if err := d.insert(rows); err != nil {
			return err
		}
		done := n + len(rows)
		b.progress("filling: %d of %d messages, %.0f/s", done, want, float64(done-have)/time.Since(began).Seconds())
	}
	if err := d.db.Exec("PRAGMA journal_mode = WAL"); err != nil {
		return err
	}
	// Or the first case on this store would pay for writing it to the disk.
	return syncFile(dir)
}

func syncFile(dir string) error {
	path, err := databaseIn(dir)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
