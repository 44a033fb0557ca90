package postgres

import (
	"context"
	"log/slog"
	"testing"

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

var (
	do         = storetest.Do
	update     = storetest.Try
	mustUpdate = storetest.Update
	view       = storetest.View
	send       = storetest.Send
	born       = storetest.Born
)

// makeChat makes a group in an update of its own.
func makeChat(t testing.TB, s chat.Store, users ...chat.UserID) (id chat.ChatID) {
	t.Helper()
	mustUpdate(t, s, func(tx chat.Tx) (err error) {
		id, err = storetest.NewGroup(tx, users...)
		return err
	})
	return id
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
