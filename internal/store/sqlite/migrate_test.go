package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// toVersion1 takes a database back to the first schema, rows and all.
const toVersion1 = `
BEGIN;
DROP TABLE user_words;
DROP INDEX chats_listed;
ALTER TABLE chats DROP COLUMN listed;
ALTER TABLE participants DROP COLUMN notify;
DROP TABLE avatars;
UPDATE messages SET content = l.content FROM long_contents l WHERE l.chat_id = messages.chat_id AND l.seq = messages.seq;
DROP TABLE long_contents;
ALTER TABLE users DROP COLUMN avatar;
ALTER TABLE users DROP COLUMN status;
ALTER TABLE users DROP COLUMN hides_presence;
ALTER TABLE sent RENAME TO sent_by_id;
CREATE TABLE sent (
  sender_id     INTEGER NOT NULL,
  client_msg_id ANY NOT NULL,
  chat_id       INTEGER NOT NULL,
  seq           INTEGER NOT NULL,
  body_hash     BLOB NOT NULL CHECK (length(body_hash) = 16),
  created_at    INTEGER NOT NULL,
  PRIMARY KEY (sender_id, client_msg_id)
) STRICT, WITHOUT ROWID;
INSERT INTO sent (sender_id, client_msg_id, chat_id, seq, body_hash, created_at)
SELECT sender_id, client_msg_id, chat_id, seq, body_hash, created_at FROM sent_by_id;
DROP TABLE sent_by_id;
PRAGMA user_version = 1;
COMMIT;`

// The first schema becomes the newest with every key and every content in its
// place, whichever write or sync of it fails first.
func TestUpgradeThroughFaults(t *testing.T) {
	const people, each = 3, 40
	key := func(user chat.UserID, i int) string {
		if i%2 == 0 {
			return fmt.Sprintf("00000000-0000-7000-8000-%012d", i) // the same for everybody
		}
		return fmt.Sprint("text ", user, " ", i)
	}
	// Of every six one does not fit into its row, and one just does.
	content := func(seq int64) string {
		if seq%3 > 0 {
			return "hello"
		}
		return strings.Repeat("x", inRow+int(seq/3)%2*int(seq)*50)
	}
	old := t.TempDir()
	s := open(t, old)
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1, 2, 3)
		return err
	})
	want := map[batch.SentKey]int64{}
	for i := range each {
		for u := range chat.UserID(people) {
			mustUpdate(t, s, func(tx chat.Tx) error {
				c, err := tx.Chat(1)
				if err != nil {
					return err
				}
				seq, err := send(tx, 1, u+1, key(u+1, i), content(c.LastSeq+1))
				want[batch.SentKey{Sender: u + 1, ClientMsgID: key(u+1, i)}] = seq
				return err
			})
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(old, dbName)
	exec(t, file, toVersion1)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	check := func(s *Store, when string) {
		t.Helper()
		view(t, s, func(r chat.Reader) error {
			for k, seq := range want {
				if got, err := r.Sent(k.Sender, k.ClientMsgID); err != nil || got.Seq != seq || got.ClientMsgID != k.ClientMsgID {
					t.Fatalf("%s: %v gives %+v, %v, want seq %d", when, k, got, err, seq)
				}
				if m, err := r.Message(1, seq); err != nil || m.Content != content(seq) {
					t.Fatalf("%s: message %d has %d bytes, %v, want %d", when, seq, len(m.Content), err, len(content(seq)))
				}
			}
			return nil
		})
		if err := s.Check(t.Context()); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if err := update(s, func(tx chat.Tx) error {
			seq, err := send(tx, 1, 1, key(1, 0), "hello")
			if first := want[batch.SentKey{Sender: 1, ClientMsgID: key(1, 0)}]; seq != first {
				t.Errorf("%s: a retry got seq %d, want %d", when, seq, first)
			}
			return err
		}); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
	piece := func(c *Config) { c.piece = 6 }
	failed, halves := 0, 0
	for k := 1; ; k++ {
		dir := t.TempDir()
		overwrite(t, filepath.Join(dir, dbName), 0, before)
		d := newDisk(t)
		d.fails(func(a action) error {
			if a.n >= k {
				return syscall.EIO
			}
			return nil
		})
		s, err := tryOpen(dir, d.on, piece)
		d.mu.Lock()
		ops := d.ops
		d.mu.Unlock()
		if err == nil {
			check(s, fmt.Sprint("without a fault, after ", ops))
			d.fails(nil)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if ops >= k {
				t.Errorf("the upgrade succeeds although operation %d fails", k)
			}
			break
		}
		failed++
		if halfMoved(t, filepath.Join(dir, dbName)) {
			halves++
		}
		s = open(t, dir, piece)
		check(s, fmt.Sprint("after a fault at ", k))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if failed < 4 || halves < 4 {
		t.Errorf("an upgrade was stopped %d times only, %d of them while contents were moved, so this proves little", failed, halves)
	}
	t.Logf("stopped at each of %d writes and syncs, %d of them while contents were moved", failed, halves)
}

// halfMoved reports whether some of the long contents in the file are moved and
// some are not, and sees that whoever knows only one place for them is kept out.
func halfMoved(t *testing.T, file string) bool {
	t.Helper()
	db, err := sqlite3.Open(file)
	must(t, err)
	c := &conn{db: db, stmts: map[string]*stmt{}}
	defer func() { must(t, c.abandon()) }()
	version, err := c.int("PRAGMA user_version")
	must(t, err)
	if version < longContents {
		return false
	}
	moved, err := c.int("SELECT count(*) FROM long_contents")
	must(t, err)
	stay, err := c.int(fmt.Sprint("SELECT count(*) FROM messages WHERE octet_length(content) > ", inRow))
	must(t, err)
	moving, err := c.meta(metaMoving)
	must(t, err)
	if stay > 0 && moving == "" {
		t.Errorf("%d contents are to be moved, and nothing says so", stay)
	}
	return moved > 0 && stay > 0
}

// before5 makes a database of version 4 in dir, with n messages of that size.
func before5(t *testing.T, dir string, n, size int) {
	t.Helper()
	made(t, dir)
	exec(t, filepath.Join(dir, dbName), fmt.Sprintf(`DROP TABLE user_words; DROP TABLE long_contents; PRAGMA user_version = 4;
INSERT INTO messages (chat_id, seq, updated_seq, sender_id, content, mention_all, created_at)
WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
SELECT 1, i, i, 1, printf('%%.*c', %d, 'x'), 0, 0 FROM n;
UPDATE chats SET last_seq = %[1]d WHERE chat_id = 1`, n+99, size))
}

// An upgrade takes no more room than it asks for, and its log holds one piece.
func TestUpgradeTakesTheRoomItSays(t *testing.T) {
	for _, size := range []int{inRow + 1, 970, 1100, 5000, chat.MaxContent} {
		const bytes, piece = 4 << 20, 20
		dir, d := t.TempDir(), newDisk(t)
		before5(t, dir, bytes/size, size)
		length := func(file string) int64 {
			info, err := os.Stat(filepath.Join(dir, file))
			must(t, err)
			return info.Size()
		}
		before := length(dbName)
		var most, log int64
		d.fails(func(a action) error {
			if a.kind == write && a.file == dbName+"-wal" {
				log = max(log, a.off+int64(len(a.data)))
			}
			most = max(most, length(dbName)+length(dbName+"-wal"))
			return nil
		})
		asked := int64(-1)
		s := open(t, dir, d.on, func(c *Config) {
			c.piece = piece
			c.free = func(string) (int64, error) {
				c, err := openConn(*c, reading)
				must(t, err)
				defer func() { must(t, c.close()) }()
				asked, err = c.needToMigrate(4, "")
				return asked, err
			}
		})
		must(t, s.Check(t.Context()), s.Close())
		took := most - before
		t.Logf("%d bytes: took %d KiB, asked for %d beside a piece's room; its log %d KiB", size, took>>10, (asked-roomForPiece)>>10, log>>10)
		// A piece is small here: what it takes is three times its contents, and a page
		// of both trees for each.
		if room := int64(piece * (3*size + 4*pageSize)); asked < roomForPiece || took > asked-roomForPiece+room || log > room {
			t.Errorf("%d bytes: it took %d bytes with a log of %d, and asked for %d; a piece may take %d", size, took, log, asked-roomForPiece, room)
		}
	}
}

// So does one of the longest there are, each of which is among short ones, moved in
// pieces as large as they are.
func TestUpgradeTakesTheRoomItSaysForPieces(t *testing.T) {
	const long, short = 1200, 40
	dir, d := t.TempDir(), newDisk(t)
	before5(t, dir, long*short, 60)
	file := filepath.Join(dir, dbName)
	exec(t, file, fmt.Sprintf("UPDATE messages SET content = printf('%%.*c', %d, 'x') WHERE chat_id = 1 AND seq %% %d = 0 AND seq >= 100", chat.MaxContent, short))
	length := func(file string) int64 {
		info, err := os.Stat(file)
		must(t, err)
		return info.Size()
	}
	before, most, asked := length(file), int64(0), int64(0)
	d.fails(func(action) error {
		most = max(most, length(file)+length(file+"-wal"))
		return nil
	})
	s := open(t, dir, d.on, func(c *Config) {
		c.free = func(string) (int64, error) {
			c, err := openConn(*c, reading)
			must(t, err)
			defer func() { must(t, c.close()) }()
			asked, err = c.needToMigrate(4, "")
			return asked, err
		}
	})
	must(t, s.Close())
	t.Logf("took %d KiB, asked for %d", (most-before)>>10, asked>>10)
	if most-before > asked {
		t.Errorf("it took %d bytes and asked for %d", most-before, asked)
	}
}

// Where there is too little room for an upgrade it is not begun.
func TestUpgradeNeedsRoom(t *testing.T) {
	dir := t.TempDir()
	before5(t, dir, 5000, 970)
	file := filepath.Join(dir, dbName)
	before, err := os.ReadFile(file)
	must(t, err)
	_, err = tryOpen(dir, func(c *Config) { c.free = func(string) (int64, error) { return 44 << 20, nil } })
	if err == nil || !strings.Contains(err.Error(), "takes up to 46 MiB") || !strings.Contains(err.Error(), "44 MiB are free") ||
		!strings.Contains(err.Error(), "make room and start again, or go on with the grima from before") {
		t.Errorf("it says %v", err)
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("the database was changed, %v", err)
	}

	// It becomes full all the same.
	d := newDisk(t)
	moved := 0
	d.fails(func(a action) error {
		if a.kind == truncate && a.file == dbName+"-wal" {
			moved++
		}
		if moved > 10 && a.kind == write {
			return syscall.ENOSPC
		}
		return nil
	})
	piece := func(c *Config) { c.piece = 100 }
	if _, err = tryOpen(dir, d.on, piece); err == nil || !strings.Contains(err.Error(), "make room and start again; it goes on, and nothing is lost") {
		t.Errorf("it says %v", err)
	}
	if !halfMoved(t, file) {
		t.Error("not some are moved and some are not")
	}
	_, err = tryOpen(dir, func(c *Config) { c.free = func(string) (int64, error) { return 1 << 20, nil } })
	if err == nil || !strings.Contains(err.Error(), "make room and start again, and nothing is lost") {
		t.Errorf("it says %v", err)
	}
	s := open(t, dir, piece)
	view(t, s, func(r chat.Reader) error {
		n := 0
		for seq := int64(100); ; n++ {
			list, err := r.Messages(1, seq, 1<<60, 1, false)
			if err != nil || len(list) == 0 {
				if n != 5000 {
					t.Errorf("there are %d messages", n)
				}
				return err
			}
			if len(list[0].Content) != 970 {
				t.Fatalf("message %d has %d bytes", list[0].Seq, len(list[0].Content))
			}
			seq = list[0].Seq + 1
		}
	})
	must(t, s.Check(t.Context()), s.Close())
	if halfMoved(t, file) {
		t.Error("some are not moved")
	}
}

// Who copies the database meanwhile is no reason to give an upgrade up.
func TestUpgradeWhileSomebodyReads(t *testing.T) {
	const messages = 50
	dir := t.TempDir()
	before5(t, dir, messages, 5000)
	cfg := Config{Dir: dir, Log: slog.New(slog.DiscardHandler), piece: 20}
	cfg.setDefaults()
	other, err := openConn(cfg, reading)
	must(t, err)
	defer func() { must(t, other.close()) }()
	must(t, other.exec("BEGIN"))
	count := func(sql string) int64 {
		n, err := other.int(sql)
		must(t, err)
		return n
	}
	const stay = "SELECT count(*) FROM messages WHERE length(content) = 5000"
	if n := count(stay); n != messages {
		t.Fatalf("there are %d", n)
	}
	c, err := openConn(cfg, writing)
	must(t, err)
	defer func() { must(t, c.close()) }()
	must(t, c.db.BusyTimeout(time.Millisecond), migrate(c, cfg))
	if n := count(stay); n != messages {
		t.Errorf("who reads sees %d", n)
	}
	must(t, other.exec("COMMIT"))
	if n := count("SELECT count(*) FROM long_contents WHERE length(content) = 5000"); n != messages {
		t.Errorf("%d are moved", n)
	}
	if now, err := c.current(); err != nil || !now {
		t.Errorf("it is up to date: %v, %v", now, err)
	}
}

// What is stopped half way goes on with the next start.
func TestUpgradeIsInterrupted(t *testing.T) {
	dir := t.TempDir()
	before5(t, dir, 50, 5000)
	d := newDisk(t)
	ctx, stop := context.WithCancel(t.Context())
	moved := 0
	d.fails(func(a action) error {
		if a.kind == truncate && a.file == dbName+"-wal" {
			if moved++; moved == 3 {
				stop()
			}
		}
		return nil
	})
	cfg := Config{Dir: dir, Log: slog.New(slog.DiscardHandler), piece: 5}
	d.on(&cfg)
	_, err := Open(ctx, cfg)
	if !errors.Is(err, sqlite3.INTERRUPT) {
		t.Errorf("it says %v", err)
	}
	d.fails(nil)
	if !halfMoved(t, filepath.Join(dir, dbName)) {
		t.Error("not some are moved and some are not")
	}
	s := open(t, dir)
	must(t, s.Check(t.Context()), s.Close())
	if halfMoved(t, filepath.Join(dir, dbName)) {
		t.Error("some are not moved")
	}
}

// The keys of sends take the room that is asked for, as they get their new order.
func TestUpgradeTakesTheRoomItSaysForKeys(t *testing.T) {
	dir, d := t.TempDir(), newDisk(t)
	file := made(t, dir)
	exec(t, file, toVersion1)
	exec(t, file, `INSERT INTO sent (sender_id, client_msg_id, chat_id, seq, body_hash, created_at)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
SELECT i % 50 + 1, printf('%08x-0000-7000-8000-%012d', i * 2654435761 % 4294967296, i), 1, 1, zeroblob(16), 1764000000000 FROM n`)
	length := func(file string) int64 {
		info, err := os.Stat(file)
		must(t, err)
		return info.Size()
	}
	before, most, asked := length(file), int64(0), int64(0)
	d.fails(func(action) error {
		most = max(most, length(file)+length(file+"-wal"))
		return nil
	})
	s := open(t, dir, d.on, func(c *Config) {
		c.free = func(string) (int64, error) {
			c, err := openConn(*c, reading)
			must(t, err)
			defer func() { must(t, c.close()) }()
			asked, err = c.needToMigrate(1, "")
			return asked, err
		}
	})
	must(t, s.Close())
	t.Logf("took %d KiB, asked for %d", (most-before)>>10, asked>>10)
	if most-before > asked || most-before < asked/2 {
		t.Errorf("it took %d bytes and asked for %d", most-before, asked)
	}
}

// The memory that moving long contents takes does not grow with what there is.
func TestUpgradeInLittleMemory(t *testing.T) {
	const messages, memory = 30_000, 24 << 20
	path := filepath.Join(t.TempDir(), dbName)
	db, err := sqlite3.OpenContext(sqlite3.WithMaxMemory(t.Context(), memory), "file:"+filepath.ToSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{db: db, stmts: map[string]*stmt{}}
	defer func() {
		if err := c.abandon(); err != nil {
			t.Error(err)
		}
	}()
	steps, err := batch.Migrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	upgrade := func(from, to int) {
		t.Helper()
		for n := from; n <= to; n++ {
			if err := c.migrateTo(int64(n), steps[n-1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	do := func(sql string) {
		t.Helper()
		if err := c.exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	do("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -2000")
	upgrade(1, longContents-1)
	do(fmt.Sprintf(`INSERT INTO messages (chat_id, seq, updated_seq, sender_id, content, mention_all, created_at)
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
SELECT i / 900 + 1, i %% 900 + 1, i %% 900 + 1, 1, i || printf('%%.*c', %d, 'x'), 0, 0 FROM n`, messages-1, inRow+200))
	pages, err := c.int("PRAGMA page_count")
	if err != nil {
		t.Fatal(err)
	}
	if pages*pageSize < memory {
		t.Fatalf("%d pages fit into the memory", pages)
	}
	upgrade(longContents, longContents)
	must(t, c.moveLongContents(1000))
	upgrade(longContents+1, len(steps))
	n, err := c.int(`SELECT count(*) FROM long_contents l JOIN messages m ON m.chat_id = l.chat_id AND m.seq = l.seq
WHERE m.content = '' AND CAST(l.content AS INTEGER) = (l.chat_id - 1) * 900 + l.seq - 1`)
	if err != nil || n != messages {
		t.Errorf("%d contents are where they should be, want %d: %v", n, messages, err)
	}
}

// Who is there before there are words is found by them.
func TestUpgradeFindsPeople(t *testing.T) {
	const people = 2500
	dir := t.TempDir()
	s := open(t, dir)
	mustUpdate(t, s, func(tx chat.Tx) error {
		for i := range people {
			id, err := tx.NewUserID()
			if err != nil {
				return err
			}
			if err := tx.PutUser(chat.User{ID: id, Username: fmt.Sprint("user", i), Name: "Mária Silva", Role: chat.RoleMember}); err != nil {
				return err
			}
		}
		return nil
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	exec(t, filepath.Join(dir, dbName), fmt.Sprint("DROP TABLE user_words; PRAGMA user_version = ", userWords-1))
	s = open(t, dir)
	view(t, s, func(r chat.Reader) error {
		list, _, err := r.FindUsers("maria", chat.FoundPos{}, people+1)
		if len(list) != people {
			t.Errorf("%d are found by their names, want %d", len(list), people)
		}
		if list, _, err := r.FindUsers("user2499", chat.FoundPos{}, 2); len(list) != 1 {
			t.Errorf("by the last one's username %v are found, %v", list, err)
		}
		return err
	})
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
