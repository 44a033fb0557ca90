package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

func open(t testing.TB, dir string, change ...func(*Config)) *Store {
	t.Helper()
	s, err := tryOpen(dir, change...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}

func tryOpen(dir string, change ...func(*Config)) (*Store, error) {
	cfg := Config{Dir: dir, Log: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&cfg)
	}
	return Open(context.Background(), cfg)
}

// update runs one update and waits for its done.
func update(s *Store, run func(chat.Tx) error) error {
	heard := make(chan error, 1)
	s.Update(chat.Op{Run: run}, func(err error) { heard <- err })
	return <-heard
}

func mustUpdate(t testing.TB, s *Store, run func(chat.Tx) error) {
	t.Helper()
	if err := update(s, run); err != nil {
		t.Fatalf("update: %v", err)
	}
}

func view(t testing.TB, s *Store, fn func(chat.Reader) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatalf("view: %v", err)
	}
}

var born = time.Date(2026, 9, 20, 10, 0, 0, 0, time.UTC)

// newChat makes a group with these participants and gives its id.
func newChat(tx chat.Tx, users ...chat.UserID) (chat.ChatID, error) {
	id, err := tx.NewChatID()
	if err != nil {
		return 0, err
	}
	c := chat.Chat{
		ID: id, Kind: chat.KindGroup, Title: "harbour", History: chat.HistoryAll,
		CreatedBy: users[0], CreatedAt: born, LastSeq: int64(len(users)), UpdatedSeq: 1,
	}
	for i, u := range users {
		p := chat.Participant{Chat: id, User: u, Role: chat.RoleMember, JoinedSeq: int64(i) + 1, UpdatedSeq: int64(i) + 1}
		if err := tx.PutParticipant(p); err != nil {
			return 0, err
		}
	}
	return id, tx.PutChat(c)
}

// send does what the rules do for a message: look the sender's place and the
// client_msg_id up, take the next number, write.
func send(tx chat.Tx, id chat.ChatID, sender chat.UserID, clientMsgID, content string) (int64, error) {
	c, err := tx.Chat(id)
	if err != nil {
		return 0, err
	}
	if _, err := tx.Participant(id, sender); err != nil {
		return 0, err
	}
	if old, err := tx.Sent(sender, clientMsgID); err == nil {
		return old.Seq, nil
	} else if !errors.Is(err, chat.ErrNotFound) {
		return 0, err
	}
	c.LastSeq++
	return c.LastSeq, errors.Join(
		tx.PutMessage(chat.Message{
			Chat: id, Seq: c.LastSeq, UpdatedSeq: c.LastSeq, Sender: sender, Content: content, CreatedAt: tx.Now(),
		}),
		tx.PutSent(chat.Sent{
			Sender: sender, ClientMsgID: clientMsgID, Chat: id, Seq: c.LastSeq, CreatedAt: tx.Now(),
		}),
		tx.PutChat(c),
	)
}

func TestWhatWasAckedIsThereAfterReopening(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	epoch := s.Epoch()
	var id chat.ChatID
	mustUpdate(t, s, func(tx chat.Tx) (err error) {
		id, err = newChat(tx, 1, 2)
		return err
	})
	for i := range 10 {
		mustUpdate(t, s, func(tx chat.Tx) error {
			_, err := send(tx, id, 1, fmt.Sprint("m", i), fmt.Sprint("hello ", i))
			return err
		})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, dir)
	if s.Epoch() != epoch || epoch == "" {
		t.Errorf("the epoch is %q, was %q", s.Epoch(), epoch)
	}
	view(t, s, func(r chat.Reader) error {
		list, err := r.Messages(id, 1, 1<<60, 100, false)
		if err != nil {
			return err
		}
		if len(list) != 10 || list[0].Seq != 3 || list[9].Seq != 12 || list[9].Content != "hello 9" {
			t.Errorf("read %d messages: %+v", len(list), list)
		}
		return nil
	})
}
