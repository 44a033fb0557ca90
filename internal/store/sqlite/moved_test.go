//go:build unix

package sqlite

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// logged is a log of which each line is heard as it comes.
type logged struct {
	slog.Handler

	lines chan slog.Record
}

func newLogged() logged {
	return logged{slog.DiscardHandler, make(chan slog.Record, 100)}
}

func (logged) Enabled(context.Context, slog.Level) bool { return true }

func (l logged) Handle(_ context.Context, r slog.Record) error {
	l.lines <- r
	return nil
}

// await gives the next line that has says in it.
func (l logged) await(t *testing.T, says string) slog.Record {
	t.Helper()
	for {
		select {
		case r := <-l.lines:
			if strings.Contains(r.Message, says) {
				return r
			}
		case <-t.Context().Done():
			t.Fatalf("nothing was logged about %q", says)
		}
	}
}

// Whatever is done to the files of a store that is in use: what was answered is in
// the file that was its database, and what takes its place is as it was put there.
func TestFilesThatAreMovedAreNoticed(t *testing.T) {
	for _, c := range []struct {
		name string
		// do does it to the store in dir; backup is an older database of it.
		do func(t *testing.T, dir, backup string)
		// after is how many messages the next start finds; -1: it refuses, 0: a new
		// database is made.
		after int
	}{
		{"the database is moved away", func(t *testing.T, dir, _ string) {
			must(t, os.Rename(filepath.Join(dir, dbName), filepath.Join(dir, "old.db")))
		}, 0},
		{"the database is deleted", func(t *testing.T, dir, _ string) {
			must(t, os.Remove(filepath.Join(dir, dbName)))
		}, 0},
		{"a backup takes its place", func(t *testing.T, dir, backup string) {
			must(t, os.Rename(backup, filepath.Join(dir, dbName)))
		}, 1},
		{"a backup takes its place, without its log", func(t *testing.T, dir, backup string) {
			must(t, os.Remove(filepath.Join(dir, dbName+"-wal")), os.Remove(filepath.Join(dir, dbName+"-shm")),
				os.Rename(backup, filepath.Join(dir, dbName)))
		}, 1},
		{"the log is deleted, as it is large", func(t *testing.T, dir, _ string) {
			must(t, os.Remove(filepath.Join(dir, dbName+"-wal")))
		}, 2},
		{"its index is deleted", func(t *testing.T, dir, _ string) {
			must(t, os.Remove(filepath.Join(dir, dbName+"-shm")))
		}, 2},
		{"the directory is moved away", func(t *testing.T, dir, _ string) {
			must(t, os.Rename(dir, dir+".old"))
		}, 0},
		{"a file takes the directory's place", func(t *testing.T, dir, _ string) {
			must(t, os.Rename(dir, dir+".old"), os.WriteFile(dir, nil, 0o600))
		}, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			dir, keep := filepath.Join(root, "data"), filepath.Join(root, "keep")
			write := func(s *Store, text string) error {
				return update(s, func(tx chat.Tx) error {
					_, err := send(tx, 1, 1, text, text)
					return err
				})
			}
			s := open(t, dir)
			mustUpdate(t, s, func(tx chat.Tx) error {
				_, err := newChat(tx, 1)
				return err
			})
			must(t, write(s, "one"), s.Close())
			backup := filepath.Join(root, "backup.db")
			content, err := os.ReadFile(filepath.Join(dir, dbName))
			must(t, err, os.WriteFile(backup, content, 0o600))

			log := newLogged()
			s = open(t, dir, func(c *Config) { c.Log, c.Readers = slog.New(log), 1 })
			must(t, write(s, "two"), s.Reach())
			contents(t, s) // opens the reader
			must(t, os.Mkdir(keep, 0o700), os.Link(filepath.Join(dir, dbName), filepath.Join(keep, dbName)))

			c.do(t, dir, backup)
			if err := write(s, "lost"); chat.CodeOf(err) != chat.CodeUnavailable {
				t.Fatalf("an update heard %v", err)
			}
			log.await(t, "stops writing")
			log.await(t, "all that was stored")
			if err := s.Reach(); err == nil {
				t.Error("nothing is wrong with the store")
			}
			s.Rest()
			if got := contents(t, s); len(got) < 2 || got[0] != "one" || got[1] != "two" {
				t.Errorf("read %q", got)
			}
			if err := write(s, "lost, too"); chat.CodeOf(err) != chat.CodeUnavailable {
				t.Errorf("an update heard %v", err)
			}
			if err := s.Err(); err != nil {
				t.Errorf("the store has failed: %v", err)
			}

			// Before it is closed, as of one that is deleted nothing is left later.
			kept, err := tryOpen(keep)
			if err != nil {
				t.Fatal(err)
			}
			if got := contents(t, kept); len(got) < 2 || got[1] != "two" {
				t.Errorf("the old database has %q", got)
			}
			must(t, kept.Check(t.Context()), kept.Close(), s.Close())

			s, err = tryOpen(dir)
			if c.after < 0 {
				if err == nil {
					t.Errorf("it was opened: %v", s.Close())
				}
				return
			}
			must(t, err)
			if got := contents(t, s); len(got) < c.after || c.after == 1 && len(got) > 1 || c.after == 0 && len(got) > 0 {
				t.Errorf("the next start finds %q", got)
			}
			must(t, s.Check(t.Context()), s.Close())
		})
	}
}

// Who only looks, as a probe does on a server where nobody writes, has the log
// emptied: a copy of the database by its descriptor is whole then.
func TestFilesThatAreMovedWhileNobodyWrites(t *testing.T) {
	root := t.TempDir()
	dir, away := filepath.Join(root, "data"), filepath.Join(root, "away")
	log := newLogged()
	s := open(t, dir, func(c *Config) { c.Log = slog.New(log) })
	mustUpdate(t, s, func(tx chat.Tx) error {
		if _, err := newChat(tx, 1); err != nil {
			return err
		}
		_, err := send(tx, 1, 1, "one", "one")
		return err
	})
	must(t, os.Mkdir(away, 0o700), os.Rename(filepath.Join(dir, dbName), filepath.Join(away, dbName)))
	if err := s.Reach(); err == nil {
		t.Fatal("nothing is wrong with the store")
	}
	log.await(t, "all that was stored")
	kept, err := tryOpen(away)
	must(t, err)
	if got := contents(t, kept); len(got) != 1 || got[0] != "one" {
		t.Errorf("the database has %q", got)
	}
	must(t, kept.Check(t.Context()), kept.Close(), s.Close())
}

// Files that come back are not trusted: somebody else may have written to them.
func TestFilesThatComeBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	path := filepath.Join(dir, dbName)
	write := func(tx chat.Tx) error {
		_, err := newChat(tx, 1)
		return err
	}
	mustUpdate(t, s, write)
	must(t, os.Rename(path, path+".away"))
	if err := s.Reach(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("looked for by name, it says %v", err)
	}
	must(t, os.Rename(path+".away", path))
	if err := s.Reach(); err == nil {
		t.Error("it took its files back")
	}
	if err := update(s, write); chat.CodeOf(err) != chat.CodeUnavailable {
		t.Errorf("an update heard %v", err)
	}
	must(t, s.Close())
	s = open(t, dir)
	mustUpdate(t, s, write)
}

// A connection that is opened late would be one to whatever is there by the name.
func TestReadersAreOfTheSameFile(t *testing.T) {
	root := t.TempDir()
	dir, other := filepath.Join(root, "data"), filepath.Join(root, "other")
	made(t, other)
	s := open(t, dir)
	must(t, os.Rename(filepath.Join(other, dbName), filepath.Join(dir, dbName)))
	err := s.View(t.Context(), func(r chat.Reader) error {
		c, err := r.Chat(1)
		return fmt.Errorf("read %v, %w", c, err)
	})
	if chat.CodeOf(err) != chat.CodeUnavailable {
		t.Errorf("a view heard %v", err)
	}
}

// What others do to the files without moving them is no reason to stop.
func TestFilesThatAreLookedAt(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, func(c *Config) { c.WALBound = 16 * pageSize })
	for n := range 60 {
		mustUpdate(t, s, func(tx chat.Tx) error {
			if n == 0 {
				_, err := newChat(tx, 1)
				return err
			}
			_, err := send(tx, 1, 1, fmt.Sprint(n), body)
			return err
		})
		for _, suffix := range []string{"", "-wal", "-shm"} {
			path := filepath.Join(dir, dbName+suffix)
			now, err := os.Stat(path)
			must(t, err, os.Chmod(path, 0o640), os.Chtimes(path, now.ModTime(), now.ModTime()))
		}
		src, err := OpenSource(t.Context(), Config{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		must(t, err, src.Close())
	}
	must(t, s.Reach())
}
