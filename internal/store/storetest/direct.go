package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// What the stores' own tests, each about what only that store does, have in
// common: updates and views that are waited for, and the little of the rules
// that fills a store.

// Born is when what they make was made.
var Born = time.Date(2026, 9, 20, 10, 0, 0, 0, time.UTC)

// Do hands an op over and waits for its done.
func Do(s chat.Store, op chat.Op) error {
	heard := make(chan error, 1)
	s.Update(op, func(err error) { heard <- err })
	return <-heard
}

// Try is Do without hints.
func Try(s chat.Store, run func(chat.Tx) error) error { return Do(s, chat.Op{Run: run}) }

// Update is Try of what has to succeed.
func Update(t testing.TB, s chat.Store, run func(chat.Tx) error) {
	t.Helper()
	if err := Try(s, run); err != nil {
		t.Fatalf("update: %v", err)
	}
}

// View runs a view that has to succeed.
func View(t testing.TB, s chat.Store, fn func(chat.Reader) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatalf("view: %v", err)
	}
}

// NewGroup makes a group with these participants and gives its id.
func NewGroup(tx chat.Tx, users ...chat.UserID) (chat.ChatID, error) {
	id, err := tx.NewChatID()
	if err != nil {
		return 0, err
	}
	c := chat.Chat{
		ID: id, Kind: chat.KindGroup, Title: "harbour", History: chat.HistoryAll,
		CreatedBy: users[0], CreatedAt: Born, LastSeq: int64(len(users)), UpdatedSeq: 1,
	}
	for i, u := range users {
		p := chat.Participant{Chat: id, User: u, Role: chat.RoleMember, JoinedSeq: int64(i) + 1, UpdatedSeq: int64(i) + 1}
		if err := tx.PutParticipant(p); err != nil {
			return 0, err
		}
	}
	return id, tx.PutChat(c)
}

// Send does what the rules do for a message: look the sender's place and the
// client_msg_id (empty: none) up, take the next number, write.
func Send(tx chat.Tx, id chat.ChatID, sender chat.UserID, clientMsgID, content string) (int64, error) {
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
