package sqlite

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// exec runs SQL on a database file behind the store's back.
func exec(t *testing.T, path, sql string) {
	t.Helper()
	db, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Exec(sql); err != nil {
		t.Fatal(err)
	}
}

// made makes a store with a chat in dir, closes it and gives the database's path.
func made(t *testing.T, dir string) string {
	t.Helper()
	s := open(t, dir)
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1, 2)
		return err
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, dbName)
}

func TestWhatIsNotOursIsRefusedAndLeftAlone(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, dir string)
		says string // what the error tells
	}{
		{"another program's database", func(t *testing.T, dir string) {
			exec(t, filepath.Join(dir, dbName), "CREATE TABLE songs (title); PRAGMA application_id = 7; PRAGMA user_version = 3")
		}, "another program"},
		{"a database of nobody's", func(t *testing.T, dir string) {
			exec(t, filepath.Join(dir, dbName), "CREATE TABLE songs (title)")
		}, "another program"},
		{"a newer schema", func(t *testing.T, dir string) {
			exec(t, made(t, dir), "PRAGMA user_version = 4711")
		}, "schema is version 4711"},
		{"no schema version", func(t *testing.T, dir string) {
			exec(t, made(t, dir), "PRAGMA user_version = 0")
		}, "damaged"},
		{"a text", func(t *testing.T, dir string) {
			overwrite(t, filepath.Join(dir, dbName), 0, []byte(strings.Repeat("Dear diary, ", 1000)))
		}, "not an SQLite database"},
		{"a few bytes", func(t *testing.T, dir string) {
			overwrite(t, filepath.Join(dir, dbName), 0, []byte("SQLite"))
		}, "not an SQLite database"},
		{"a damaged first page", func(t *testing.T, dir string) {
			overwrite(t, made(t, dir), 100, bytes.Repeat([]byte{0xff}, 200))
		}, "damaged"},
		{"a database cut off in the middle", func(t *testing.T, dir string) {
			if err := os.Truncate(made(t, dir), pageSize); err != nil {
				t.Fatal(err)
			}
		}, "damaged"},
		{"an empty file", func(t *testing.T, dir string) {
			if err := os.Truncate(made(t, dir), 0); err != nil {
				t.Fatal(err)
			}
		}, "is empty"},
		{"an empty file beside a log", func(t *testing.T, dir string) {
			overwrite(t, filepath.Join(dir, dbName), 0, nil)
			overwrite(t, filepath.Join(dir, dbName+"-wal"), 0, []byte("frames"))
		}, "cut off"},
		{"a directory by its name", func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, dbName), 0o700); err != nil {
				t.Fatal(err)
			}
		}, "no regular file"},
		{"a symbolic link", func(t *testing.T, dir string) {
			if err := os.Symlink(made(t, t.TempDir()), filepath.Join(dir, dbName)); err != nil {
				t.Fatal(err)
			}
		}, "no regular file"},
		{"a log that is a symbolic link", func(t *testing.T, dir string) {
			path := made(t, dir)
			if err := os.Remove(path + "-wal"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), path+"-wal"); err != nil {
				t.Fatal(err)
			}
		}, "no regular file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.make(t, dir)
			path := filepath.Join(dir, dbName)
			before, _ := os.ReadFile(path)
			s, err := tryOpen(dir)
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("the error is %q; it wants the path and %q", err, c.says)
			}
			after, _ := os.ReadFile(path)
			if !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

func overwrite(t *testing.T, path string, off int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, off); err != nil {
		t.Fatal(err)
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	_, err := tryOpen(dir)
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "in use by another process (pid ") {
		t.Errorf("a second Open gives %v", err)
	}
	mustUpdate(t, s, func(tx chat.Tx) error { // the first is none the worse
		_, err := newChat(tx, 1)
		return err
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestDirectoryThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	overwrite(t, file, 0, nil)
	_, err := tryOpen(filepath.Join(file, "data"))
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Open gives %v", err)
	}
	if _, err := tryOpen(""); err == nil {
		t.Error("Open without a directory succeeds")
	}
}

func TestFilesAreTheirOwnersAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // it has no such modes
	}
	dir := filepath.Join(t.TempDir(), "not", "there yet")
	s := open(t, dir)
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1)
		return err
	})
	view(t, s, func(r chat.Reader) error {
		_, err := r.Chat(1)
		return err
	})
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", e.Name(), info.Mode())
		}
		names = append(names, e.Name())
	}
	if want := []string{dbName, dbName + "-shm", dbName + "-wal", lockName}; !slices.Equal(names, want) {
		t.Errorf("the files are %q, want %q", names, want)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", info.Mode(), err)
	}
}

// schemaOf gives the statements that made a database's tables and indexes, with
// comments and spacing taken out.
func schemaOf(t *testing.T, statements ...string) []string {
	t.Helper()
	db, err := sqlite3.Open(":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	c := &conn{db: db}
	list, err := c.texts("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
	if err != nil {
		t.Fatal(err)
	}
	id, err := c.text("PRAGMA application_id")
	if err != nil {
		t.Fatal(err)
	}
	comments, spaces := regexp.MustCompile(`--[^\n]*`), regexp.MustCompile(`\s+`)
	for i := range list {
		list[i] = spaces.ReplaceAllString(comments.ReplaceAllString(list[i], ""), " ")
		list[i] = strings.NewReplacer(" ,", ",", " )", ")").Replace(list[i]) // as ALTER TABLE leaves it
	}
	return append(list, id)
}

func TestSchemaIsWhatTheMigrationsMake(t *testing.T) {
	page, err := os.ReadFile("schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	steps, err := batch.Migrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(schemaOf(t, string(page)), schemaOf(t, steps...)); d != "" {
		t.Errorf("schema.sql and the migrations differ (-schema.sql +migrations):\n%s", d)
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	for sql, says := range map[string]string{
		`UPDATE chats SET last_seq = 9`:                             "position of a chat",
		`DELETE FROM messages WHERE seq = 3`:                        "leads to no message",
		`UPDATE participants SET updated_seq = 3 WHERE user_id = 2`: "have one position",
		`DELETE FROM chats`:                                         "belongs to no chat",
		`INSERT INTO mentions VALUES (5, 1, 3)`:                     "mention",
		`UPDATE messages SET deleted_at = 1 WHERE seq = 3`:          "deleted message",
		`INSERT INTO long_contents VALUES (1, 3, 'more')`:           "long content",
		`UPDATE counters SET value = 0 WHERE name = 'stamp'`:        "stamp",
	} {
		dir := t.TempDir()
		s := open(t, dir)
		mustUpdate(t, s, func(tx chat.Tx) error {
			id, err := newChat(tx, 1, 2)
			if err != nil {
				return err
			}
			for _, text := range []string{"one", "two"} {
				if _, err := send(tx, id, 1, text, text); err != nil {
					return err
				}
			}
			return nil
		})
		if err := s.Check(t.Context()); err != nil {
			t.Fatalf("a sound store: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		exec(t, filepath.Join(dir, dbName), sql)
		s = open(t, dir)
		if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("after %s Check says %v, want %q", sql, err, says)
		}
	}
}

func TestOpenGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := Open(ctx, Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}); err == nil {
		s.Close()
		t.Error("Open succeeds with a context that is over")
	}
}
