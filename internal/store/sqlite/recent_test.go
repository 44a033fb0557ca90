package sqlite

import (
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// A commit between the list and the rows is in neither, also when the list is
// the first thing that a view asks for.
func TestRecentIsAsOldAsItsSnapshot(t *testing.T) {
	s := open(t, t.TempDir(), func(c *Config) { c.alwaysLookUp = true })
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1, 2)
		return err
	})
	var before int64
	view(t, s, func(r chat.Reader) (err error) {
		before, err = r.LastStamp()
		return err
	})
	asked := 0
	s.readers.recent.asked = func() {
		asked++
		mustUpdate(t, s, func(tx chat.Tx) error {
			_, err := send(tx, 1, 1, "while they look", "hello")
			return err
		})
	}
	view(t, s, func(r chat.Reader) error {
		list, err := r.ChangedChats(2, chat.SyncPos{After: before}, 10)
		if err != nil {
			return err
		}
		last, err := r.LastStamp()
		if err != nil {
			return err
		}
		if len(list) != 0 || last != before {
			t.Errorf("%d chats are listed and the position is %d, it was %d", len(list), last, before)
		}
		return nil
	})
	s.readers.recent.asked = nil
	if asked != 1 {
		t.Fatalf("the list was asked %d times", asked)
	}
	view(t, s, func(r chat.Reader) error {
		list, err := r.ChangedChats(2, chat.SyncPos{After: before}, 10)
		if len(list) != 1 {
			t.Errorf("the next view lists %d chats, want 1", len(list))
		}
		return err
	})
}

// FewChanged knows without rows how many chats a sync has to look at.
func TestFewChanged(t *testing.T) {
	s := open(t, t.TempDir())
	var pos chat.SyncPos
	view(t, s, func(r chat.Reader) (err error) {
		pos.After, err = r.LastStamp()
		return err
	})
	for range 3 {
		mustUpdate(t, s, func(tx chat.Tx) error {
			_, err := newChat(tx, 1, 2)
			return err
		})
	}
	view(t, s, func(r chat.Reader) error {
		if _, err := r.LastStamp(); err != nil {
			return err
		}
		few := r.(chat.FewChanged)
		if few.FewChanged(2, pos, 2) || !few.FewChanged(2, pos, 3) {
			t.Error("three chats changed, and it does not know")
		}
		if few.FewChanged(2, chat.SyncPos{After: pos.After - 1}, 100) {
			t.Error("it claims to know what changed before the start")
		}
		return nil
	})
}
