package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// cached is how many rows of each hot table the writer remembers. Nobody else
// writes to the file, so what it remembers stays true.
const cached = 1 << 16

// fullEvery is how often the log hears that the disk is still full.
const fullEvery = time.Minute

var background = context.Background()

// writer owns the one connection that writes.
type writer struct {
	*batch.Loop
	c       *conn
	r       *reader
	tx      *batch.Tx
	now     func() time.Time
	log     *slog.Logger
	failure *batch.Failure
	wal     *wal
	stats   *stats

	behind   error     // the log must be copied before anything is written; nil: no
	caughtUp time.Time // when that was tried last

	dir      string    // what the log calls the disk
	full     int       // transactions that found no room since one did
	fullSaid time.Time // when the log was told of that last

	wrote  bool // the last commit did: it may have had nothing to write
	pages  int  // length of the WAL after the last commit
	last   int  // and after the one before it
	wakeAt int  // at which length to wake the checkpointer
	pushAt int  // at which length to checkpoint ourselves, whatever it left
}

func newWriter(c *conn, cfg Config, f *batch.Failure, w *wal, recent *recent, behind error) *writer {
	r := &reader{c: c, ctx: background, recent: recent}
	wr := &writer{
		c: c, r: r, tx: batch.NewTx(&source{r}, cached),
		now: cfg.Now, log: cfg.Log, failure: f, wal: w, stats: w.stats, dir: cfg.Dir,
		wakeAt: w.bound / 2, pushAt: w.bound, behind: behind,
	}
	c.db.WALHook(func(_ *sqlite3.Conn, _ string, pages int) error {
		wr.wrote, wr.pages = true, pages
		return nil
	})
	wr.Loop = batch.NewLoop(cfg.Queue, cfg.Log, wr.batch, wr.checkpoint)
	return wr
}

// batch runs the first of items and says how many it ran. What happened to each
// is in its err.
func (w *writer) batch(items []*batch.Item) int {
	n, err := w.transact(items)
	if err == nil {
		return n
	}
	if blames(err) && n > 1 {
		// Something of the batch cannot be stored, and SQLite does not say whose
		// it was: everybody gets a transaction of their own.
		for _, i := range items[:n] {
			if _, err := w.transact([]*batch.Item{i}); err != nil {
				i.Err = w.refusal(err)
			}
		}
		return n
	}
	err = w.refusal(err)
	for _, i := range items[:n] {
		i.Err = err
	}
	return n
}

// transact runs items in one transaction, as many as fit its bounds. After an
// error nothing of it is there.
func (w *writer) transact(items []*batch.Item) (n int, err error) {
	if err := w.failure.Err(); err != nil {
		return len(items), err
	}
	if err := w.wal.places.err(); err != nil {
		return len(items), err
	}
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			n, err = len(items), w.failed("write", w.brokenDriver(p))
		}
		if err != nil {
			w.stats.Failed()
			w.tx.Forget()
			w.rollback()
		}
	}()
	if w.behind != nil {
		if err := w.catchUp(); err != nil {
			return len(items), err
		}
	}
	if err := w.c.exec("BEGIN IMMEDIATE"); err != nil {
		return len(items), w.failed("begin", err)
	}
	w.r.failed = nil
	w.tx.Begin(w.now())
	for n < len(items) && !w.tx.Full() {
		items[n].Err = w.run(items[n].Op)
		w.tx.End(items[n].Err == nil)
		n++
		if err := w.r.failed; err != nil {
			return n, w.failed("read for an update", err)
		}
	}
	if err := w.tx.Flush(); err != nil {
		return n, w.failed("write", err)
	}
	w.wrote = false
	if err := w.c.exec("COMMIT"); err != nil {
		if !isFull(err) {
			// Whether it is on the disk is not known, nor what a later fsync
			// would say about it.
			err = fatal{err}
		}
		return n, w.failed("commit", err)
	}
	// Looked for afterwards, so that whatever is answered is in files that could
	// be found when it was there.
	if err := w.wal.places.look(); err != nil {
		return n, err
	}
	if w.full > 0 && w.wrote {
		w.log.Info("there is room on the disk again, and writing goes on", "dir", w.dir, "refused", w.full)
		w.full, w.fullSaid = 0, time.Time{}
	}
	w.stats.committed(n, w.pages, time.Since(began))
	w.tx.Settle()
	return n, nil
}

// run runs one update. Its panic is its own affair, unless it came from inside
// SQLite.
func (w *writer) run(op chat.Op) error {
	run := op.Run
	op.Run = func(tx chat.Tx) (err error) {
		defer func() {
			if !w.c.busy {
				return
			}
			if p := recover(); p != nil {
				w.r.failed = w.brokenDriver(p)
				err = w.r.failed
			}
		}()
		return run(tx)
	}
	return batch.Run(op, w.tx, w.log)
}

func (w *writer) brokenDriver(p any) error {
	w.log.Error("the database driver panicked", "panic", p, "stack", string(debug.Stack()))
	return fatal{fmt.Errorf("the database driver panicked: %v", p)}
}

func (w *writer) rollback() {
	if w.c.busy || w.c.db.GetAutocommit() { // SQLite may have done it already
		return
	}
	if err := w.c.exec("ROLLBACK"); err != nil {
		w.failure.Set(fmt.Errorf("roll a failed transaction back: %w", err))
	}
}

// fatal marks an error after which nothing may be written any more.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// failed gives an error its context and, if it is fatal, ends writing.
func (w *writer) failed(doing string, err error) error {
	err = fmt.Errorf("%s: %w", doing, err)
	if isFatal(err) {
		w.failure.Set(err)
	}
	return err
}

// isFatal says that the file, the disk or the driver cannot be trusted any
// more. Unknown errors are.
func isFatal(err error) bool {
	if _, ok := errors.AsType[fatal](err); ok {
		return true
	}
	return !isFull(err) && !errors.Is(err, sqlite3.BUSY) && !errors.Is(err, sqlite3.LOCKED) && !blames(err)
}

// blames says that err is about what was written, not about the store.
func blames(err error) bool {
	if _, ok := errors.AsType[fatal](err); ok {
		return false
	}
	if _, ok := errors.AsType[batch.Damaged](err); ok {
		return true
	}
	for _, code := range []sqlite3.ErrorCode{
		sqlite3.CONSTRAINT, sqlite3.TOOBIG, sqlite3.MISMATCH, sqlite3.RANGE, sqlite3.ERROR,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// refusal is what the updates of a failed transaction hear.
func (w *writer) refusal(err error) error {
	switch {
	case w.failure.Err() != nil || w.wal.places.err() != nil:
		return chat.Unavailable("the server cannot write any more and must be restarted", err)
	case isFull(err):
		// Not each time: the log may be on that disk, too.
		if w.full++; w.now().Sub(w.fullSaid) >= fullEvery {
			w.fullSaid = w.now()
			w.log.Error("the disk is full: nothing is written until there is room; reads go on", "dir", w.dir, "refused", w.full, "error", err)
		}
		return chat.Unavailable("the disk is full; nothing was stored", err)
	case blames(err):
		w.log.Error("an update could not be stored", "error", err)
		return fmt.Errorf("store an update: %w", err)
	default:
		w.log.Error("the database is busy", "error", err)
		return chat.Unavailable("another program is using the database; nothing was stored", err)
	}
}
