package sqlite

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/chat"
)

// crashed leaves in dir what a process leaves that was killed with n messages of a
// chat in its log, which the database would have to grow for.
func crashed(t *testing.T, dir string, n int) {
	t.Helper()
	live := t.TempDir()
	s := open(t, live)
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1, 2)
		return err
	})
	for i := range n {
		mustUpdate(t, s, func(tx chat.Tx) error {
			_, err := send(tx, 1, 1, fmt.Sprint("id", i+1), fmt.Sprint("text ", i+1))
			return err
		})
	}
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(filepath.Join(live, dbName+suffix))
		must(t, err, os.WriteFile(filepath.Join(dir, dbName+suffix), data, 0o600))
	}
}

// noRoomFor has writes to the named files fail as on a full disk.
func noRoomFor(files ...string) func(action) error {
	return func(a action) error {
		for _, f := range files {
			if a.kind == write && a.file == f {
				return syscall.ENOSPC
			}
		}
		return nil
	}
}

// A server whose disk was full, and its log with it, did not start any more.
func TestOpenOnFullDisk(t *testing.T) {
	const messages = 40
	dir, d := t.TempDir(), newDisk(t)
	crashed(t, dir, messages)
	before := logSize(t, dir)
	d.record = true
	d.fails(noRoomFor(dbName))
	var now atomic.Int64
	now.Store(1e12)
	s := open(t, dir, d.on, func(c *Config) { c.Now = func() time.Time { return time.UnixMilli(now.Load()) } })

	// What is read from now on is durable, whatever the killed process had been
	// told of an fsync.
	var end int64
	synced := false
	d.mu.Lock()
	for _, a := range d.log {
		switch {
		case a.file != dbName+"-wal":
		case a.kind == write && a.off <= end:
			end, synced = max(end, a.off+int64(len(a.data))), false
		case a.kind == syncing:
			synced = true
		}
	}
	d.record = false
	d.mu.Unlock()
	if end < before || !synced {
		t.Errorf("of a log of %d bytes %d were written anew, synced: %v", before, end, synced)
	}

	write := func(id string) error {
		now.Add(2000)
		return update(s, func(tx chat.Tx) error {
			_, err := send(tx, 1, 1, id, fmt.Sprint("text ", id[2:]))
			return err
		})
	}
	for range 3 {
		if err := write("id41"); chat.CodeOf(err) != chat.CodeUnavailable || !strings.Contains(err.Error(), "the disk is full; nothing was stored") {
			t.Errorf("an update heard %v", err)
		}
		if got := contents(t, s); len(got) != messages || got[messages-1] != "text 40" {
			t.Errorf("read %q", got)
		}
	}
	// It is not tried for each update: each try writes what there is room for.
	d.mu.Lock()
	ops := d.ops
	d.mu.Unlock()
	for range 10 {
		now.Add(-1990)
		if err := write("id41"); chat.CodeOf(err) != chat.CodeUnavailable {
			t.Errorf("an update heard %v", err)
		}
	}
	d.mu.Lock()
	if d.ops != ops {
		t.Errorf("ten updates in 100 ms had the disk asked %d times", d.ops-ops)
	}
	d.mu.Unlock()

	d.fails(nil)
	must(t, write("id41"), write("id42"), s.Err(), s.Check(t.Context()), s.Close())
	var all []int
	for n := range messages + 2 {
		all = append(all, n+1)
	}
	holds(t, dir, all, "after the disk was full")
}

// Nothing may be written before what is in the log is in the database and synced,
// nor after a sync of that failed.
func TestFaultWhileCatchingUp(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(action) error
		ends  bool
	}{
		{"the database cannot be synced", func(a action) error {
			if a.kind == syncing && a.file == dbName {
				return syscall.EIO
			}
			return nil
		}, true},
		{"the database cannot be written", func(a action) error {
			if a.kind == write && a.file == dbName {
				return syscall.EIO
			}
			return nil
		}, true},
		{"there is room for some of it", func() func(action) error {
			left := 3
			return func(a action) error {
				if a.kind == write && a.file == dbName {
					if left--; left < 0 {
						return syscall.ENOSPC
					}
				}
				return nil
			}
		}(), false},
	} {
		dir, d := t.TempDir(), newDisk(t)
		crashed(t, dir, 10)
		d.fails(noRoomFor(dbName))
		s, err := tryOpen(dir, d.on)
		must(t, err)
		d.fails(c.fault)
		err = update(s, func(tx chat.Tx) error {
			_, err := send(tx, 1, 1, "id11", "text 11")
			return err
		})
		if chat.CodeOf(err) != chat.CodeUnavailable {
			t.Errorf("%s: an update heard %v", c.name, err)
		}
		if failed := s.Err() != nil; failed != c.ends {
			t.Errorf("%s: the store has failed: %v", c.name, s.Err())
		}
		d.fails(nil)
		must(t, s.Close())
		holds(t, dir, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, c.name)
	}
}

// Where a start needs room it says how much, and leaves everything as it is.
func TestOpenOnFullDiskThatNeedsRoom(t *testing.T) {
	for says, c := range map[string]struct {
		make  func(t *testing.T, dir string)
		fault func(action) error
	}{
		"make room": { // a file system that writes nothing in place
			func(*testing.T, string) {}, noRoomFor(dbName, dbName+"-wal"),
		},
		"bring the schema up to date": {
			func(t *testing.T, dir string) {
				db, err := sqlite3.Open(filepath.Join(dir, dbName))
				must(t, err, db.Exec("PRAGMA wal_autocheckpoint = 0; PRAGMA user_version = 4"))
				// Closing it would bring the log into the database.
				_, err = db.Config(sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, true)
				must(t, err, db.Close())
			}, noRoomFor(dbName),
		},
		"sync the write-ahead log": {
			func(*testing.T, string) {}, func() func(action) error {
				full := false // as SQLite syncs the log before it writes to the database
				return func(a action) error {
					if full && a.kind == syncing && a.file == dbName+"-wal" {
						return syscall.EIO
					}
					err := noRoomFor(dbName)(a)
					full = full || err != nil
					return err
				}
			}(),
		},
	} {
		dir, d := t.TempDir(), newDisk(t)
		crashed(t, dir, 10)
		c.make(t, dir)
		before, err := os.ReadFile(filepath.Join(dir, dbName))
		must(t, err)
		d.fails(c.fault)
		s, err := tryOpen(dir, d.on)
		if err == nil {
			t.Errorf("%s: it was opened: %v", says, s.Close())
			continue
		}
		if !strings.Contains(err.Error(), says) {
			t.Errorf("it says %v, want %q", err, says)
		}
		after, err := os.ReadFile(filepath.Join(dir, dbName))
		if err != nil || string(after) != string(before) {
			t.Errorf("%s: the database was changed, %v", says, err)
		}
	}
}

// A copy that stops its store to be moved needs the room, too.
func TestTransferOnFullDisk(t *testing.T) {
	dir, d := t.TempDir(), newDisk(t)
	crashed(t, dir, 10)
	d.fails(noRoomFor(dbName))
	cfg := Config{Dir: dir, Log: slog.New(slog.DiscardHandler)}
	d.on(&cfg)
	src, err := OpenSource(t.Context(), cfg)
	if err == nil {
		t.Fatal(errors.Join(errors.New("it was opened"), src.Close()))
	}
	if !strings.Contains(err.Error(), "make as much as it is large") {
		t.Errorf("it says %v", err)
	}
}
