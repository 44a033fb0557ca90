package sqlite

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/grima-chat/grima/internal/store/batch"
)

// How long the writer waits for readers that still look at the log when it
// wants to start it afresh: shortly while there is room, and longer, at most
// five times hardWait, the further the log is above its bound. Views are short.
// One that is not makes the log grow rather than stop writing.
const (
	softWait = 10 * time.Millisecond
	hardWait = 50 * time.Millisecond
)

// passes bounds how often the goroutine copies before it leaves the rest to the
// writer. Each pass finds what was written during the one before it.
const passes = 4

// wal keeps the write-ahead log bounded. When it is half full, a goroutine with
// a connection of its own copies its pages into the database while the writer
// goes on. The later that is, the better: a page that many commits changed is
// copied once. But the log starts afresh only when everything was copied, which
// under constant load never happens by itself; so when the goroutine left
// little, the writer does the rest. The goroutine also syncs what it copied:
// SQLite does that only when it copied everything, which would leave the whole
// sync to the writer.
type wal struct {
	c       *conn
	db      vfs.File // the database, as c has it open
	bound   int      // pages the log is kept below
	log     *slog.Logger
	failure *batch.Failure
	places  *places
	stats   *stats
	mu      sync.Mutex // held while checkpointing: SQLite refuses a second one; guards emptied
	wake    chan struct{}
	ready   atomic.Bool // what is left is for the writer
	emptied bool        // for good, see empty
	ended   chan struct{}
}

func newWAL(c *conn, cfg Config, f *batch.Failure, p *places) (*wal, error) {
	db, err := c.db.FileControl("main", sqlite3.FCNTL_FILE_POINTER)
	if err != nil {
		return nil, fmt.Errorf("find the database's file: %w", err)
	}
	w := &wal{
		c: c, db: db.(vfs.File), bound: max(int(cfg.WALBound/pageSize), 16), log: cfg.Log, failure: f, places: p, stats: newStats(),
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	go w.work()
	return w, nil
}

func (w *wal) work() {
	defer close(w.ended)
	// Whoever notices that files were moved, the log is emptied then and not with the
	// next write: that may be hours away, and who copies the database before it is
	// gone for good would miss what is in the log.
	moved := w.places.since
	for {
		select {
		case <-moved:
			moved = nil
		case _, more := <-w.wake:
			if !more {
				return
			}
		}
		if w.places.err() != nil {
			w.empty()
			continue
		}
		before := 0
		for range passes {
			pages := w.pass()
			few := pages-before <= w.bound/64
			before = pages
			if few {
				break
			}
		}
		select {
		case <-w.wake: // it came while we were at it
		default:
		}
		w.ready.Store(true)
	}
}

// pass copies what is in the log now, syncs it, and gives the log's length.
func (w *wal) pass() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	began := time.Now()
	pages := w.run(w.c, sqlite3.CHECKPOINT_PASSIVE)
	if w.failure.Err() == nil {
		if err := w.db.Sync(vfs.SYNC_NORMAL); err != nil {
			w.failure.Set(fmt.Errorf("sync the database: %w", err))
		}
	}
	w.stats.checkpointed(time.Since(began))
	return pages
}

// empty brings all that is in the log into the database, when the names of the
// files lead elsewhere. The database is then whole without its log, wherever it
// is; and a log that stayed where it was is not taken for that of another
// database.
func (w *wal) empty() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.emptied || w.failure.Err() != nil {
		return
	}
	_, err := w.copy(w.c, sqlite3.CHECKPOINT_TRUNCATE)
	switch {
	case err == nil:
		w.emptied = true
		w.log.Info("all that was stored is in the database's file, wherever that is; its write-ahead log is empty")
	case !errors.Is(err, sqlite3.BUSY): // readers are in the way; there is another time, at the end if not before
		w.log.Error("cannot bring what is in the write-ahead log into the database", "error", err)
	}
}

// stop waits for the goroutine. Nobody wakes it any more.
func (w *wal) stop() {
	close(w.wake)
	<-w.ended
}

// run checkpoints and gives the length of the log when it began; 0 if nothing
// could be done. The caller holds mu.
func (w *wal) run(c *conn, mode sqlite3.CheckpointMode) int {
	if w.failure.Err() != nil {
		return 0
	}
	pages, err := w.copy(c, mode)
	switch {
	case err == nil:
		return pages
	case errors.Is(err, sqlite3.BUSY), errors.Is(err, sqlite3.LOCKED): // readers are in the way
	case isFull(err):
		w.log.Warn("no space to checkpoint the database", "error", err)
	default:
		w.failure.Set(fmt.Errorf("checkpoint the database: %w", err))
	}
	return 0
}

// copy checkpoints and gives the length of the log when it began. The caller
// holds mu.
func (w *wal) copy(c *conn, mode sqlite3.CheckpointMode) (int, error) {
	c.busy = true
	pages, _, err := c.db.WALCheckpoint("main", mode)
	c.busy = false
	return pages, err
}

// checkpoint is what the writer does for the log between two batches.
func (w *writer) checkpoint() {
	if w.wal.places.err() != nil {
		select {
		case w.wal.wake <- struct{}{}:
		default:
		}
		return
	}
	bound := w.wal.bound
	if w.pages < w.last { // it started afresh
		w.wakeAt, w.pushAt = bound/2, bound
	}
	w.last = w.pages
	if w.pages >= w.wakeAt {
		w.wakeAt = w.pages + bound/8
		select {
		case w.wal.wake <- struct{}{}:
		default: // it is at it
		}
	}
	wait := softWait
	switch {
	case w.pages >= w.pushAt:
		wait = hardWait * time.Duration(min(w.pages/bound, 5))
		// If a reader keeps the log from starting afresh, not every batch need
		// try again, and the less so the longer it does.
		w.pushAt = w.pages * 5 / 4
	case !w.wal.ready.Load():
		return
	}
	w.wal.ready.Store(false)
	w.restart(wait)
}

// restart copies what is left of the log and makes the next commit begin it
// anew, unless readers look at it for longer than wait.
func (w *writer) restart(wait time.Duration) {
	began := time.Now()
	defer func() { w.stats.stalled(time.Since(began)) }()
	w.wal.mu.Lock()
	defer w.wal.mu.Unlock()
	if err := w.c.db.BusyTimeout(wait); err != nil {
		w.log.Warn("cannot bound the wait for readers", "error", err)
	}
	w.wal.run(w.c, sqlite3.CHECKPOINT_RESTART)
	if err := w.c.db.BusyTimeout(busyTimeout); err != nil {
		w.log.Warn("cannot restore the busy timeout", "error", err)
	}
}
