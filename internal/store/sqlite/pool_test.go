package sqlite

import (
	"errors"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/chat"
)

// Rest closes readers that nobody uses, and no other; whoever reads meanwhile
// and after it does not notice.
func TestRest(t *testing.T) {
	s := open(t, t.TempDir())
	var id chat.ChatID
	mustUpdate(t, s, func(tx chat.Tx) (err error) {
		id, err = newChat(tx, 1, 2)
		return err
	})
	read := func(r chat.Reader) error {
		c, err := r.Chat(id)
		if err == nil && c.ID != id {
			t.Errorf("read %+v", c)
		}
		return err
	}
	idle := func() int {
		s.readers.mu.Lock()
		defer s.readers.mu.Unlock()
		return len(s.readers.idle)
	}
	view(t, s, func(r chat.Reader) error {
		view(t, s, read)
		if n := idle(); n != 1 {
			t.Errorf("%d readers are idle beside one at work", n)
		}
		s.Rest()
		if n := idle(); n != 0 {
			t.Errorf("%d readers are idle after Rest", n)
		}
		return read(r)
	})
	if n := idle(); n != 1 {
		t.Errorf("%d readers are idle, the one that was at work is to be", n)
	}
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for range 50 {
				if err := s.View(t.Context(), read); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		s.Rest()
	}
	readers.Wait()
}

// A statement is planned when it is prepared, and not again whenever it is asked
// with something else.
func TestStatementsArePlannedOnce(t *testing.T) {
	s := open(t, t.TempDir())
	var id chat.ChatID
	mustUpdate(t, s, func(tx chat.Tx) (err error) {
		id, err = newChat(tx, 1, 2, 3)
		return err
	})
	view(t, s, func(r chat.Reader) error {
		for user := range chat.UserID(3) {
			for seq := range int64(3) {
				_, err1 := r.CountUnread(id, user, seq, 10)
				_, err2 := r.CountMentions(id, user, seq, 10)
				_, err3 := r.Messages(id, seq, 10, 10, true)
				_, _, err4 := r.Changes(id, seq, 10, 0, 10)
				_, err5 := r.ListedChats(chat.ChatID(seq), 10)
				if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
					return err
				}
			}
		}
		for sql, q := range r.(*reader).c.stmts {
			if n := q.s.Status(sqlite3.STMTSTATUS_REPREPARE, false); n > 0 {
				t.Errorf("planned %d times more: %s", n, sql)
			}
		}
		return nil
	})
}
