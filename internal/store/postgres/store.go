// Package postgres is a chat.Store in a PostgreSQL database, for any number of
// nodes.
//
// Each node has one connection that writes: it takes every update that is queued,
// reads what they need in one round trip with the chats locked, runs them in
// memory, and writes and commits in another (group commit). What keeps nodes from
// getting in each other's way is in source.go, what sync goes by in stamps.go.
// Views are transactions of their own, each on its snapshot, on a pool of
// connections.
//
// A lost connection is not the end: a batch that left nothing is tried again. If
// it was lost after COMMIT was sent, the server is asked what became of that
// transaction. Only when it cannot be reached for too long do the updates hear
// that nobody knows.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// Config says where the store is and what it may use. Only URL is required.
type Config struct {
	URL      string           // postgres://..., or a libpq connection string
	Readers  int              // connections for views; 0: four times GOMAXPROCS, at least 8
	Queue    int              // updates that may wait to be written; 0: 8192
	Patience time.Duration    // how long an update waits for a database that is away; 0: 5 s
	Log      *slog.Logger     // nil: slog.Default()
	Now      func() time.Time // nil: time.Now

	// Tests.
	idle         time.Duration // instead of idleInTransaction
	keep         time.Duration // instead of keepChanged
	recent       int           // instead of mostRecent; below 0: nothing is remembered
	alwaysLookUp bool          // what changed lately, however much
}

// Store is a chat.Store. Its methods may be called from any goroutine, but a
// done must not call Update, which may wait for the dones before it.
type Store struct {
	history history
	home    string
	failure *batch.Failure
	writer  *writer
	pool    *pgxpool.Pool
	lately  *lately

	close    sync.Once
	closeErr error
}

var _ chat.Store = (*Store)(nil)

// Open opens the store at cfg.URL: it makes the tables in a database that has
// none, or brings their schema up to date. It refuses, and leaves alone, a server
// that would not keep what is acknowledged, and a database that a newer Grima
// wrote.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg.setDefaults()
	conf, err := parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("the address of the database: %w", err) // without its password
	}
	s := &Store{failure: batch.NewFailure(cfg.Log), lately: newLately(cfg.recent)}
	switch {
	case cfg.recent < 0:
		s.lately = nil
	case cfg.alwaysLookUp:
		s.lately.always = true
	}
	where := fmt.Sprintf("%s on %s", conf.Database, conf.Host)
	if err := s.open(ctx, conf, cfg); err != nil {
		return nil, fmt.Errorf("open the database %s: %w", where, err)
	}
	return s, nil
}

func (cfg *Config) setDefaults() {
	if cfg.Readers == 0 {
		cfg.Readers = max(8, 4*runtime.GOMAXPROCS(0))
	}
	if cfg.Queue == 0 {
		cfg.Queue = 8192
	}
	if cfg.Patience == 0 {
		cfg.Patience = 5 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.keep == 0 {
		cfg.keep = keepChanged
	}
	if cfg.recent == 0 {
		cfg.recent = mostRecent
	}
	if cfg.idle == 0 {
		cfg.idle = idleInTransaction
	}
}

func (s *Store) open(ctx context.Context, conf *pgx.ConnConfig, cfg Config) error {
	c, _, err := connect(ctx, conf, settings(statementTimeout, cfg.idle))
	if err != nil {
		return err
	}
	if err := serving(ctx, c); err != nil {
		return errors.Join(err, ignore(drop(c)))
	}
	if s.history, err = prepare(ctx, c, cfg.Log); err != nil {
		return errors.Join(err, ignore(drop(c)))
	}
	now, err := look(ctx, c, nil) // with the table that was made
	if err != nil {
		return errors.Join(err, ignore(drop(c)))
	}
	s.home = now.home
	id, err := enrol(ctx, c)
	if err != nil {
		return errors.Join(err, ignore(drop(c)))
	}
	pool, err := pgxpool.ParseConfig("")
	if err != nil {
		return errors.Join(err, ignore(drop(c)))
	}
	pool.ConnConfig, pool.MaxConns = conf.Copy(), int32(cfg.Readers)
	pool.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		found, err := look(ctx, c, viewSettings())
		if err == nil {
			err = s.sameHome(found)
		}
		if err == nil {
			err = present(ctx, c)
		}
		if kindOf(err, true) == fatal {
			s.failure.Set(err)
		}
		return err
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, pool); err != nil {
		return errors.Join(err, ignore(drop(c)))
	}
	s.writer = newWriter(c, id, conf, cfg, s)
	return nil
}

// enrol gives this process its row in the table writers, and drops those of
// processes that have been gone for long. The newest stamp stays, how many
// transactions there were, and from where on the table changed is whole.
func enrol(ctx context.Context, c *pgx.Conn) (id int64, err error) {
	id = rand.Int64N(math.MaxInt64-1) + 1
	now := time.Now()
	r := &reader{ctx: ctx, conn: c}
	err = r.send(
		ask(`WITH old AS (DELETE FROM writers WHERE writer_id > 0 AND used_at < $1 AND stamp < (SELECT max(stamp) FROM writers) RETURNING batch, forgot)
UPDATE writers SET batch = batch + n.batches, forgot = greatest(writers.forgot, n.forgot)
FROM (SELECT sum(batch) AS batches, max(forgot) AS forgot FROM old) n WHERE writer_id = 0 AND n.batches IS NOT NULL`, now.Add(-gone).UnixMilli()),
		ask(`INSERT INTO writers (writer_id, batch, stamp, used_at) VALUES ($1, 0, 0, $2)`, id, now.UnixMilli()))
	if err != nil {
		return 0, fmt.Errorf("enrol among the writers: %w", err)
	}
	return id, nil
}

// gone is after what time without a transaction a process is. One that comes
// back later all the same cannot write, and has to be started again.
const gone = 30 * 24 * time.Hour

// sameHome says that a server still has the history that was opened.
func (s *Store) sameHome(found server) error {
	if found.home == s.home {
		return nil
	}
	return ended{fmt.Errorf("the database was restored, replaced or taken over by a standby (it is %s now, was %s): "+
		"start again, which gives its history a new epoch if need be", found.home, s.home)}
}

// unchanged says that the history is the one that was opened, and its schema ours.
func (s *Store) unchanged(epoch, version string) error {
	switch {
	case epoch != s.history.epoch:
		return ended{fmt.Errorf("the history got a new epoch from another node (%q, was %q), after a restore: start again", epoch, s.history.epoch)}
	case version != s.history.version:
		return newerSchema(version)
	}
	return nil
}

// Epoch implements chat.Store.
func (s *Store) Epoch() string { return s.history.epoch }

// Failed implements chat.Store.
func (s *Store) Failed() <-chan struct{} { return s.failure.Failed() }

// Err implements chat.Store.
func (s *Store) Err() error { return s.failure.Err() }

// Update implements chat.Store. After Close, done is called before Update
// returns.
func (s *Store) Update(op chat.Op, done func(error)) { s.writer.Update(op, done) }

// View implements chat.Store. ctx interrupts queries and the wait for a
// connection with CodeTimeout. Nothing is sent for a view that reads nothing.
func (s *Store) View(ctx context.Context, fn func(chat.Reader) error) error {
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return readError(ctx, "connect for a view", err)
	}
	defer func() { c.Release() }() // no harm if it was, and closes it if it is in a transaction still, as after a panic
	r := &reader{ctx: ctx, conn: c.Conn(), offset: s.history.offset, view: true, lately: s.lately}
	r.renew = func() error {
		s.pool.Reset() // the others were most likely lost with it
		c.Release()    // first: there may be room for one
		fresh, err := s.pool.Acquire(ctx)
		if err == nil {
			c, r.conn = fresh, fresh.Conn()
		}
		return err
	}
	r.pending = []query{ask(beginView)}
	err = fn(r)
	if r.begun && r.failed == nil && !r.alone {
		// Without this the connection could not be used again; what was read is
		// read, whether it works or not.
		_, end := c.Exec(ctx, "COMMIT")
		return errors.Join(err, ignore(end))
	}
	return err
}

const beginView = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`

// Close implements chat.Store. It also waits for views that are under way.
func (s *Store) Close() error {
	s.close.Do(func() {
		s.writer.Stop()
		s.pool.Close()
		if c := s.writer.conn; c != nil {
			s.closeErr = leave(c)
		}
	})
	return s.closeErr
}
