// Package sqlite is a chat.Store in one SQLite file, for one server.
//
// One goroutine writes. It takes every update that is queued, runs them in one
// transaction and commits once (group commit), so that a hundred senders share
// one fsync; synchronous=FULL makes that commit survive a power cut. A pool of
// read-only connections serves views, each on its snapshot.
//
// A full disk costs the batch and nothing else, or, met when the store is opened,
// what comes until there is room. Any other error of a commit or
// of an fsync ends writing for good, because nobody can say what the disk holds
// then: the process has to be started again, and Open puts what the log holds
// into the database afresh.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

const (
	dbName   = "grima.db"
	lockName = "lock"
	pageSize = 4096
)

// Config says where the store is and what it may use. Only Dir is required.
type Config struct {
	Dir         string           // the data directory; it is made if it is not there
	Readers     int              // connections for views; 0: twice GOMAXPROCS, at least 4
	WriterCache int              // bytes of page cache for the writer; 0: 64 MiB
	ReaderCache int              // bytes of page cache for each reader; 0: 2 MiB
	WALBound    int64            // bytes the write-ahead log is kept below; 0: 128 MiB
	Queue       int              // updates that may wait to be written; 0: 8192
	Log         *slog.Logger     // nil: slog.Default()
	Now         func() time.Time // nil: time.Now

	free         func(dir string) (int64, error) // bytes that the disk has left; nil: as the system says
	piece        int                             // long contents that are moved in one transaction; 0: 1000
	vfs          string                          // tests put faults between SQLite and the disk
	recent       int                             // how many changed chats are remembered, and as many marks; 0: 131,072, some 25 MiB when they are all in use
	alwaysLookUp bool                            // a sync looks at what changed lately, however little its user is in
}

// Store is a chat.Store. Its methods may be called from any goroutine, but a
// done must not call Update, which may wait for the dones before it.
type Store struct {
	epoch   string
	lock    *os.File
	failure *batch.Failure
	places  *places
	wal     *wal
	writer  *writer
	readers *pool

	close    sync.Once
	closeErr error
}

var _ chat.Store = (*Store)(nil)

// Open opens the store in cfg.Dir, makes it if there is none, and brings its
// schema up to date. It refuses, and leaves alone, a directory that another
// process has open, a database that is not Grima's or damaged, and one that a
// newer Grima wrote.
func Open(ctx context.Context, cfg Config) (_ *Store, err error) {
	cfg.setDefaults()
	if cfg.Dir, err = makeDir(cfg.Dir, cfg.Log); err != nil {
		return nil, err
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Store{lock: lock, failure: batch.NewFailure(cfg.Log)}
	if err := s.open(ctx, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("open the database %s: %w", filepath.Join(cfg.Dir, dbName), err), lock.Close())
	}
	return s, nil
}

func (cfg *Config) setDefaults() {
	if cfg.Readers == 0 {
		cfg.Readers = max(4, 2*runtime.GOMAXPROCS(0))
	}
	if cfg.WriterCache == 0 {
		cfg.WriterCache = 64 << 20
	}
	if cfg.ReaderCache == 0 {
		cfg.ReaderCache = 2 << 20
	}
	if cfg.WALBound == 0 {
		cfg.WALBound = 128 << 20
	}
	if cfg.recent == 0 {
		cfg.recent = 1 << 17
	}
	if cfg.Queue == 0 {
		cfg.Queue = 8192
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.piece == 0 {
		cfg.piece = 1000
	}
	if cfg.free == nil {
		cfg.free = diskFree
	}
}

func (s *Store) open(ctx context.Context, cfg Config) (err error) {
	if err := create(cfg); err != nil {
		return err
	}
	if err := makeFiles(cfg.Dir, dbName+"-wal", dbName+"-shm"); err != nil {
		return err
	}
	if s.places, err = newPlaces(cfg.Dir, cfg.Log); err != nil {
		return err
	}
	if err := inspect(cfg); err != nil {
		return err
	}
	w, err := openConn(cfg, writing)
	if err != nil {
		return refine(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(refine(err), w.close())
		}
	}()
	old := w.db.SetInterrupt(ctx)
	behind, err := prepare(w, cfg)
	if err != nil {
		return err
	}
	if behind != nil {
		cfg.Log.Error("the store is read only until there is room", "error", behind)
	}
	w.db.SetInterrupt(old)
	if err := w.servable(); err != nil {
		return err
	}
	if s.epoch, err = w.meta(metaEpoch); err != nil {
		return fmt.Errorf("read the epoch: %w", err)
	}
	stamp, err := w.int(selStamp)
	if err != nil {
		return fmt.Errorf("read the change stamp: %w", err)
	}
	recent := newRecent(stamp, cfg.recent)
	if cfg.alwaysLookUp {
		recent.cost = 0
	}
	c, err := openConn(cfg, checkpointing)
	if err != nil {
		return err
	}
	if err := s.places.look(); err != nil {
		return errors.Join(err, c.close())
	}
	if s.wal, err = newWAL(c, cfg, s.failure, s.places); err != nil {
		return errors.Join(err, c.close())
	}
	s.readers = newPool(cfg, recent, s.places)
	s.writer = newWriter(w, cfg, s.failure, s.wal, recent, behind)
	return nil
}

// prepare makes the database what the writer needs it to be. behind, if not nil,
// is that the disk has no room for it: then the store is read only until
// [writer.catchUp].
func prepare(c *conn, cfg Config) (behind, err error) {
	if err := turnWALOn(c); err != nil {
		return nil, err
	}
	if err := c.exec(fmt.Sprintf("PRAGMA journal_size_limit = %d", cfg.WALBound)); err != nil {
		return nil, fmt.Errorf("bound the write-ahead log: %w", err)
	}
	// What a crash left in the log is written to the database and synced before
	// anything builds on it: if it was an fsync of the log that failed, pages of
	// it that look fine may never reach the disk.
	_, _, err = c.db.WALCheckpoint("main", sqlite3.CHECKPOINT_TRUNCATE)
	if err == nil {
		return nil, migrate(c, cfg)
	}
	err = fmt.Errorf("recover the write-ahead log: %w", err)
	if !isFull(err) {
		return nil, err
	}
	const room = "make room, as much as the write-ahead log is large, and start again; nothing is lost"
	if current, why := c.current(); why != nil {
		return nil, errors.Join(err, why)
	} else if !current {
		return nil, fmt.Errorf("there is no room on the disk to bring the schema up to date: %s: %w", room, err)
	}
	if unsettled := settleLog(c); unsettled != nil {
		return nil, fmt.Errorf("there is no room on the disk: %s: %w", room, errors.Join(err, unsettled))
	}
	return fmt.Errorf("there is no room on the disk for what is in the write-ahead log: make as much as it is large; nothing is lost: %w", err), nil
}

func turnWALOn(c *conn) error {
	mode, err := c.text("PRAGMA journal_mode = WAL")
	if err != nil {
		return fmt.Errorf("turn the write-ahead log on: %w", err)
	}
	if mode != "wal" {
		return fmt.Errorf("turn the write-ahead log on: the journal mode stays %q", mode)
	}
	return nil
}

// Epoch implements chat.Store.
func (s *Store) Epoch() string { return s.epoch }

// Failed implements chat.Store.
func (s *Store) Failed() <-chan struct{} { return s.failure.Failed() }

// Err implements chat.Store.
func (s *Store) Err() error { return s.failure.Err() }

// Reach reports that the files of the store were moved, replaced or deleted under
// it, after which it refuses updates with CodeUnavailable, and reads go on as far
// as they need no file opened anew. It looks, and so costs some microseconds.
func (s *Store) Reach() error { return s.places.look() }

// Update implements chat.Store. After Close, done is called before Update
// returns.
func (s *Store) Update(op chat.Op, done func(error)) { s.writer.Update(op, done) }

// View implements chat.Store. ctx interrupts queries and the wait for a
// connection with CodeTimeout.
func (s *Store) View(ctx context.Context, fn func(chat.Reader) error) error {
	return s.readers.view(ctx, fn)
}

// Rest gives back the memory that readers keep of what they read last, some
// 2 MiB each. It is for when little is to be done after much was, and not to be
// called with Close or after it.
func (s *Store) Rest() { s.readers.rest() }

// Close implements chat.Store. It also waits for views that are under way.
func (s *Store) Close() error {
	s.close.Do(func() { s.closeErr = s.shut() })
	return s.closeErr
}

func (s *Store) shut() error {
	s.writer.Stop()
	s.wal.stop()
	errs := []error{s.readers.close(), s.wal.c.close()}
	if s.failure.Err() == nil {
		// Leave one file behind, not two.
		s.wal.run(s.writer.c, sqlite3.CHECKPOINT_TRUNCATE)
	}
	return errors.Join(append(errs, s.writer.c.close(), s.lock.Close())...)
}
