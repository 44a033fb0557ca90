package sqlite

import (
	"sync"
	"testing"

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
