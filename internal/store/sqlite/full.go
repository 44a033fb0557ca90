package sqlite

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// A store whose disk is full can be left with a log that the database has no room
// for. It is opened all the same: what is in the log is read there, and before
// anything is written it has to be brought over, which is tried with updates that
// come, at most once per catchUpEvery.
const catchUpEvery = time.Second

// settleLog makes durable what the log holds, where it is: a process that met a
// failed fsync may have left pages there that can be read and are on no disk, and
// nobody may be told of those. It takes no room where files are written in place.
func settleLog(c *conn) error {
	f, err := c.db.FileControl("main", sqlite3.FCNTL_JOURNAL_POINTER)
	if err != nil {
		return fmt.Errorf("find the write-ahead log's file: %w", err)
	}
	log := f.(vfs.File)
	size, err := log.Size()
	if err != nil {
		return fmt.Errorf("look at the write-ahead log: %w", err)
	}
	buf := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), size-off)]
		n, err := log.ReadAt(buf, off)
		if err != nil && !(errors.Is(err, io.EOF) && n == len(buf)) {
			return fmt.Errorf("read the write-ahead log: %w", err)
		}
		if _, err := log.WriteAt(buf, off); err != nil {
			return fmt.Errorf("write the write-ahead log anew: %w", err)
		}
	}
	if err := log.Sync(vfs.SYNC_NORMAL); err != nil {
		return fmt.Errorf("sync the write-ahead log: %w", err)
	}
	return nil
}

// catchUp brings into the database what was left in the log when the store was
// opened, and syncs it. Until that has worked nothing may be written.
func (w *writer) catchUp() error {
	if w.now().Sub(w.caughtUp) < catchUpEvery {
		return w.behind
	}
	w.wal.mu.Lock()
	_, err := w.wal.copy(w.c, sqlite3.CHECKPOINT_FULL)
	w.wal.mu.Unlock()
	w.caughtUp = w.now()
	switch {
	case err == nil:
		w.behind = nil
		w.log.Info("there is room on the disk again: what was left in the write-ahead log is in the database")
		return nil
	case isFull(err):
		return w.behind // as it was
	}
	return w.failed("recover the write-ahead log", err)
}
