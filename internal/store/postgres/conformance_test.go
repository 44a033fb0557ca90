package postgres

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/pgtest"
	"github.com/grima-chat/grima/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t testing.TB) chat.Store { return open(t, pgtest.New(t)) })
}

// open opens a store, and closes it at the end of the test if nobody did.
func open(t testing.TB, url string, change ...func(*Config)) *Store {
	t.Helper()
	s, err := tryOpen(url, change...)
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

func tryOpen(url string, change ...func(*Config)) (*Store, error) {
	cfg := Config{URL: url, Log: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&cfg)
	}
	return Open(context.Background(), cfg)
}

// update runs one update and waits for its done.
func update(s chat.Store, run func(chat.Tx) error) error {
	heard := make(chan error, 1)
	s.Update(chat.Op{Run: run}, func(err error) { heard <- err })
	return <-heard
}

func mustUpdate(t testing.TB, s chat.Store, run func(chat.Tx) error) {
	t.Helper()
	if err := update(s, run); err != nil {
		t.Fatalf("update: %v", err)
	}
}

func view(t testing.TB, s chat.Store, fn func(chat.Reader) error) {
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

// makeChat makes a group in an update of its own.
func makeChat(t testing.TB, s chat.Store, users ...chat.UserID) (id chat.ChatID) {
	t.Helper()
	mustUpdate(t, s, func(tx chat.Tx) (err error) {
		id, err = newChat(tx, users...)
		return err
	})
	return id
}

// send does what the rules do for a message: look the sender's place and the
// client_msg_id up, take the next number, write.
func send(tx chat.Tx, id chat.ChatID, sender chat.UserID, clientMsgID, content string) (int64, error) {
	if _, err := tx.Participant(id, sender); err != nil {
		return 0, err
	}
	c, err := tx.Chat(id)
	if err != nil {
		return 0, err
	}
	if clientMsgID != "" {
		if old, err := tx.Sent(sender, clientMsgID); err == nil {
			return old.Seq, nil
		} else if !errors.Is(err, chat.ErrNotFound) {
			return 0, err
		}
	}
	c.LastSeq++
	errs := []error{
		tx.PutMessage(chat.Message{
			Chat: id, Seq: c.LastSeq, UpdatedSeq: c.LastSeq, Sender: sender, Content: content, CreatedAt: tx.Now(),
		}),
		tx.PutChat(c),
	}
	if clientMsgID != "" {
		errs = append(errs, tx.PutSent(chat.Sent{
			Sender: sender, ClientMsgID: clientMsgID, Chat: id, Seq: c.LastSeq, CreatedAt: tx.Now(),
		}))
	}
	return c.LastSeq, errors.Join(errs...)
}

// sendOp is a send with the hints of the rules.
func sendOp(id chat.ChatID, sender chat.UserID, clientMsgID, content string, seq *int64) chat.Op {
	return chat.Op{Chat: id, User: sender, ClientMsgID: clientMsgID, Run: func(tx chat.Tx) error {
		at, err := send(tx, id, sender, clientMsgID, content)
		if seq != nil {
			*seq = at
		}
		return err
	}}
}

// do hands an op over and waits for its done.
func do(s chat.Store, op chat.Op) error {
	heard := make(chan error, 1)
	s.Update(op, func(err error) { heard <- err })
	return <-heard
}
