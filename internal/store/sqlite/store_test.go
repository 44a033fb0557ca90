package sqlite

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/storetest"
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

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func contents(t *testing.T, s *Store) (list []string) {
	t.Helper()
	view(t, s, func(r chat.Reader) error {
		messages, err := r.Messages(1, 0, 1<<60, 100, false)
		for _, m := range messages {
			list = append(list, m.Content)
		}
		return err
	})
	return list
}

var (
	update     = storetest.Try
	mustUpdate = storetest.Update
	view       = storetest.View
	newChat    = storetest.NewGroup
	send       = storetest.Send
	born       = storetest.Born
)

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
