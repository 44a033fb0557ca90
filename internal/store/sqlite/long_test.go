package sqlite

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/chat"
)

// A content is the same wherever it stands: in its row, beside it, or in a row
// of before there was a place beside. Edits move it, and its message's end ends
// it.
func TestLongContents(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var id chat.ChatID
	var seq int64
	long, longer := strings.Repeat("l", inRow+1), strings.Repeat("x", chat.MaxContent)
	mustUpdate(t, s, func(tx chat.Tx) (err error) {
		if id, err = newChat(tx, 1, 2); err == nil {
			seq, err = send(tx, id, 1, "a", long)
		}
		return err
	})
	check := func(when, want string, beside int64) {
		t.Helper()
		view(t, s, func(r chat.Reader) error {
			m, err := r.Message(id, seq)
			if err != nil || m.Content != want {
				t.Errorf("%s: %d bytes, %v, want %d", when, len(m.Content), err, len(want))
			}
			for _, newest := range []bool{false, true} {
				if list, err := r.Messages(id, 0, seq+1, 10, newest); err != nil || len(list) != 1 || list[0].Content != want {
					t.Errorf("%s, newest %v: %d messages, %v", when, newest, len(list), err)
				}
			}
			list, _, err := r.Changes(id, 0, 100, 0, 10)
			if err != nil || len(list) != 1 || list[0].Content != want {
				t.Errorf("%s: %d changes, %v", when, len(list), err)
			}
			n, err := r.(*reader).c.int("SELECT count(*) FROM long_contents")
			if err != nil || n != beside {
				t.Errorf("%s: %d contents beside, %v, want %d", when, n, err, beside)
			}
			return nil
		})
		if err := s.Check(t.Context()); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	edit := func(content string, over bool) {
		t.Helper()
		mustUpdate(t, s, func(tx chat.Tx) error {
			c, err := tx.Chat(id)
			if err != nil {
				return err
			}
			m, err := tx.Message(id, seq)
			if err != nil {
				return err
			}
			c.LastSeq++
			m.UpdatedSeq, m.Content = c.LastSeq, content
			if over {
				m.DeletedAt = tx.Now()
			}
			if err := tx.PutMessage(m); err != nil {
				return err
			}
			return tx.PutChat(c)
		})
	}
	check("sent", long, 1)
	edit(longer, false)
	check("edited", longer, 1)
	edit("short", false)
	check("shortened", "short", 0)
	edit(long, false)
	check("lengthened", long, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	exec(t, filepath.Join(dir, dbName), "UPDATE messages SET content = (SELECT content FROM long_contents); DELETE FROM long_contents")
	s = open(t, dir)
	check("as it was before", long, 0)
	edit(longer, false)
	check("edited then", longer, 1)
	edit("", true)
	check("deleted", "", 0)
}

// Who looks for what is unread in a chat between those of long messages reads
// none of these: the way through the tree is a few pages.
func TestLongContentsAreNotInTheWay(t *testing.T) {
	s := open(t, t.TempDir())
	var between chat.ChatID
	mustUpdate(t, s, func(tx chat.Tx) error {
		for i := range 3 {
			id, err := newChat(tx, 1, 2)
			if err != nil {
				return err
			}
			if i == 1 {
				between = id
				continue
			}
			for k := range 300 {
				if _, err := send(tx, id, 1, fmt.Sprint(i, " ", k), strings.Repeat("x", chat.MaxContent)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	const fits = 12 // pages: the schema, and the way through a tree of 600 short rows
	view(t, s, func(r chat.Reader) error {
		c := r.(*reader).c
		before, _, err := c.db.Status(sqlite3.DBSTATUS_CACHE_MISS, false)
		if err != nil {
			return err
		}
		if n, err := r.CountUnread(between, 2, 0, 100); n != 0 || err != nil {
			t.Errorf("%d unread, %v", n, err)
		}
		after, _, err := c.db.Status(sqlite3.DBSTATUS_CACHE_MISS, false)
		t.Logf("%d pages", after-before)
		if after-before > fits {
			t.Errorf("it took %d pages, at most %d do", after-before, fits)
		}
		return err
	})
}
