package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

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
	failed := 0
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
		s, err := tryOpen(dir, d.on)
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
		s = open(t, dir)
		check(s, fmt.Sprint("after a fault at ", k))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if failed < 4 {
		t.Errorf("an upgrade was stopped %d times only, so this proves little", failed)
	}
	t.Logf("stopped at each of %d writes and syncs", failed)
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
	upgrade(longContents, len(steps))
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
