package sqlite

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// pushTimeout is how long the writer waits for old readers when the WAL has
// reached its bound; at most five times that the further the WAL is above it.
// Views are short. One that is not makes the WAL grow rather than stop writing.
const pushTimeout = 50 * time.Millisecond

// wal keeps the write-ahead log bounded. A goroutine with a connection of its
// own copies committed pages into the database while the writer goes on; but
// the log starts afresh only when everything was copied, which under constant
// load never happens by itself. So at the bound the writer does the rest, which
// by then is little.
type wal struct {
	c       *conn
	bound   int // pages the log is kept below
	step    int // pages it grows by before the goroutine looks at it
	log     *slog.Logger
	failure *failure
	stats   *stats
	mu      sync.Mutex // held while checkpointing: SQLite refuses a second one
	wake    chan struct{}
	ended   chan struct{}
}

func newWAL(c *conn, cfg Config, f *failure) *wal {
	bound := max(int(cfg.WALBound/pageSize), 16)
	w := &wal{
		c: c, bound: bound, step: bound / 8, log: cfg.Log, failure: f, stats: newStats(),
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	go w.work()
	return w
}

func (w *wal) work() {
	defer close(w.ended)
	for range w.wake {
		w.mu.Lock()
		began := time.Now()
		w.run(w.c, sqlite3.CHECKPOINT_PASSIVE)
		w.stats.checkpointed(time.Since(began))
		w.mu.Unlock()
	}
}

// stop waits for the goroutine. Nobody wakes it any more.
func (w *wal) stop() {
	close(w.wake)
	<-w.ended
}

// run checkpoints and reports whether all of the log was copied. The caller
// holds mu.
func (w *wal) run(c *conn, mode sqlite3.CheckpointMode) bool {
	if w.failure.get() != nil {
		return false
	}
	c.busy = true
	total, copied, err := c.db.WALCheckpoint("main", mode)
	c.busy = false
	switch {
	case err == nil:
		return copied == total
	case errors.Is(err, sqlite3.BUSY), errors.Is(err, sqlite3.LOCKED): // readers are in the way
	case isFull(err):
		w.log.Warn("no space to checkpoint the database", "error", err)
	default:
		w.failure.set(fmt.Errorf("checkpoint the database: %w", err))
	}
	return false
}

// checkpoint is what the writer does for the WAL between two batches.
func (w *writer) checkpoint() {
	if w.pages < w.woken { // it started afresh
		w.woken, w.pushAt = 0, w.wal.bound
	}
	if w.pages-w.woken >= w.wal.step {
		w.woken = w.pages
		select {
		case w.wal.wake <- struct{}{}:
		default: // it is at it
		}
	}
	if w.pages < w.pushAt {
		return
	}
	began := time.Now()
	defer func() { w.stats.stalled(time.Since(began)) }()
	w.wal.mu.Lock()
	defer w.wal.mu.Unlock()
	over := min(w.pages/w.wal.bound, 5)
	if err := w.c.db.BusyTimeout(time.Duration(over) * pushTimeout); err != nil {
		w.log.Warn("cannot bound the wait for readers", "error", err)
	}
	w.wal.run(w.c, sqlite3.CHECKPOINT_RESTART)
	if err := w.c.db.BusyTimeout(busyTimeout); err != nil {
		w.log.Warn("cannot restore the busy timeout", "error", err)
	}
	// If a reader kept the log from starting afresh, not every batch need try
	// again, and the less so the longer it does.
	w.pushAt = w.pages * 5 / 4
}
