package sqlite

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/chat"
)

// The bounds of a batch. It ends after whichever comes first; an update is
// never cut in two.
const (
	batchOps   = 512
	batchRows  = 4096
	batchBytes = 4 << 20
)

// writer owns the one connection that writes. Its goroutine takes what is
// queued, runs it in one transaction and commits; another calls the dones, so
// that the next batch runs meanwhile. Both end when the queue is closed and
// empty.
type writer struct {
	c       *conn
	tx      *tx
	queue   *queue
	ready   chan []*item // batches whose dones are to be called, in order
	ended   chan struct{}
	now     func() time.Time
	log     *slog.Logger
	failure *failure
	wal     *wal
	stats   *stats
	queued  atomic.Int64 // updates whose fate is open

	pages  int // length of the WAL after the last commit
	last   int // and after the one before it
	wakeAt int // at which length to wake the checkpointer
	pushAt int // at which length to checkpoint ourselves, whatever it left
}

func newWriter(c *conn, cfg Config, f *failure, w *wal, recent *recent) *writer {
	wr := &writer{
		c: c, tx: newTx(&reader{c: c, ctx: background, recent: recent}),
		queue: newQueue(cfg.Queue), ready: make(chan []*item, 4), ended: make(chan struct{}),
		now: cfg.Now, log: cfg.Log, failure: f, wal: w, stats: w.stats,
		wakeAt: w.bound / 2, pushAt: w.bound,
	}
	c.db.WALHook(func(_ *sqlite3.Conn, _ string, pages int) error {
		wr.pages = pages
		return nil
	})
	go wr.write()
	go wr.complete()
	return wr
}

// update queues an update, or refuses it.
func (w *writer) update(op chat.Op, done func(error)) {
	w.queued.Add(1)
	if err := w.queue.put(&item{op: op, done: done}); err != nil {
		w.queued.Add(-1)
		done(err)
	}
}

// stop waits for everything that is queued.
func (w *writer) stop() {
	w.queue.close()
	<-w.ended
}

func (w *writer) write() {
	defer close(w.ready)
	var waiting []*item
	for {
		if len(waiting) < batchOps {
			waiting = w.queue.take(waiting)
		}
		if len(waiting) == 0 {
			return
		}
		n := w.batch(waiting)
		w.queued.Add(int64(-n))
		batch := append([]*item(nil), waiting[:n]...)
		waiting = slices.Delete(waiting, 0, n) // forgets what it moved, and so what the updates hold on to
		w.ready <- batch
		w.checkpoint()
	}
}

// complete calls the dones, in order.
func (w *writer) complete() {
	defer close(w.ended)
	for batch := range w.ready {
		for _, i := range batch {
			w.finish(i)
		}
	}
}

func (w *writer) finish(i *item) {
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("a done of the store's panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	i.done(i.err)
}

// batch runs the first of items and says how many it ran. What happened to each
// is in its err.
func (w *writer) batch(items []*item) int {
	n, err := w.transact(items[:min(len(items), batchOps)])
	if err == nil {
		return n
	}
	if blames(err) && n > 1 {
		// Something of the batch cannot be stored, and SQLite does not say whose
		// it was: everybody gets a transaction of their own.
		for _, i := range items[:n] {
			if _, err := w.transact([]*item{i}); err != nil {
				i.err = w.refusal(err)
			}
		}
		return n
	}
	err = w.refusal(err)
	for _, i := range items[:n] {
		i.err = err
	}
	return n
}

// transact runs items in one transaction, as many as fit its bounds. After an
// error nothing of it is there.
func (w *writer) transact(items []*item) (n int, err error) {
	if err := w.failure.get(); err != nil {
		return len(items), err
	}
	began := time.Now()
	defer func() {
		if p := recover(); p != nil {
			n, err = len(items), w.failed("write", w.brokenDriver(p))
		}
		if err != nil {
			w.stats.failed()
			w.tx.forget()
			w.rollback()
		}
	}()
	if err := w.c.exec("BEGIN IMMEDIATE"); err != nil {
		return len(items), w.failed("begin", err)
	}
	w.tx.begin(w.now())
	for n < len(items) && w.tx.rows < batchRows && w.tx.size < batchBytes {
		items[n].err = w.run(items[n].op)
		w.tx.end(items[n].err == nil)
		n++
		if err := w.tx.r.failed; err != nil {
			return n, w.failed("read for an update", err)
		}
	}
	if err := w.tx.flush(); err != nil {
		return n, w.failed("write", err)
	}
	if err := w.c.exec("COMMIT"); err != nil {
		if !isFull(err) {
			// Whether it is on the disk is not known, nor what a later fsync
			// would say about it.
			err = fatal{err}
		}
		return n, w.failed("commit", err)
	}
	w.stats.committed(n, w.pages, time.Since(began))
	w.tx.settle()
	return n, nil
}

// run runs one update. Its panic is its own affair, unless it came from inside
// SQLite.
func (w *writer) run(op chat.Op) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if w.c.busy {
			w.tx.r.failed = w.brokenDriver(p)
			err = w.tx.r.failed
			return
		}
		w.log.Error("an update panicked", "panic", p, "stack", string(debug.Stack()))
		err = fmt.Errorf("an update panicked: %v", p)
	}()
	return op.Run(w.tx)
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
		w.failure.set(fmt.Errorf("roll a failed transaction back: %w", err))
	}
}

// fatal marks an error after which nothing may be written any more.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// failed gives an error its context and, if it is fatal, ends writing.
func (w *writer) failed(doing string, err error) error {
	err = fmt.Errorf("%s: %w", doing, err)
	if isFatal(err) {
		w.failure.set(err)
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
	if _, ok := errors.AsType[damaged](err); ok {
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
	case w.failure.get() != nil:
		return chat.Unavailable("the server cannot write any more and must be restarted", err)
	case isFull(err):
		w.log.Error("the disk is full", "error", err)
		return chat.Unavailable("the disk is full; nothing was stored", err)
	case blames(err):
		w.log.Error("an update could not be stored", "error", err)
		return fmt.Errorf("store an update: %w", err)
	default:
		w.log.Error("the database is busy", "error", err)
		return chat.Unavailable("another program is using the database; nothing was stored", err)
	}
}
