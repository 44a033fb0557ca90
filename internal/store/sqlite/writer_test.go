package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// together makes the writer take these updates in one batch and gives what they
// heard.
func together(s *Store, runs ...func(chat.Tx) error) []error {
	started, release := make(chan struct{}), make(chan struct{})
	s.Update(chat.Op{Run: func(chat.Tx) error {
		close(started)
		<-release
		return nil
	}}, func(error) {})
	<-started
	errs := make([]error, len(runs))
	var wg sync.WaitGroup
	for i, run := range runs {
		wg.Add(1)
		s.Update(chat.Op{Run: run}, func(err error) {
			errs[i] = err
			wg.Done()
		})
	}
	close(release)
	wg.Wait()
	return errs
}

func TestWhatCannotBeStoredCostsOnlyItsUpdate(t *testing.T) {
	d := newDisk(t)
	s := open(t, t.TempDir(), d.on)
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1)
		return err
	})
	good := func(id string) func(chat.Tx) error {
		return func(tx chat.Tx) error {
			_, err := send(tx, 1, 1, id, "hello")
			return err
		}
	}
	// The schema refuses it, and only when the batch is written.
	bad := func(tx chat.Tx) error {
		return tx.PutMessage(chat.Message{Chat: 1, Seq: 50, UpdatedSeq: 1, Sender: 1, CreatedAt: born})
	}
	errs := together(s, good("a"), bad, good("b"))
	if errs[0] != nil || errs[2] != nil {
		t.Errorf("the neighbours heard %v and %v", errs[0], errs[2])
	}
	if errs[1] == nil || chat.CodeOf(errs[1]) != chat.CodeInternal {
		t.Errorf("it heard %v", errs[1])
	}
	view(t, s, func(r chat.Reader) error {
		list, err := r.Messages(1, 0, 1<<60, 10, false)
		if len(list) != 2 || list[0].Seq != 2 || list[1].Seq != 3 {
			t.Errorf("there are %+v", list)
		}
		return err
	})
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestListsInTheMiddleOfAnUpdate(t *testing.T) {
	s := open(t, t.TempDir())
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1)
		return err
	})
	count := func(tx chat.Tx) int {
		list, err := tx.Messages(1, 0, 1<<60, 100, false)
		if err != nil {
			t.Error(err)
		}
		return len(list)
	}
	fails := errors.New("no")
	var seen []int
	errs := together(s,
		func(tx chat.Tx) error {
			_, err := send(tx, 1, 1, "a", "one")
			return err
		},
		func(tx chat.Tx) error { // lists after it put, and then fails
			if _, err := send(tx, 1, 1, "b", "two"); err != nil {
				return err
			}
			seen = append(seen, count(tx))
			if c, err := tx.Chat(1); err != nil || c.LastSeq != 3 {
				t.Errorf("after its list the update sees %+v, %v", c, err)
			}
			return fails
		},
		func(tx chat.Tx) error { // lists after it put, and succeeds
			if _, err := send(tx, 1, 1, "c", "three"); err != nil {
				return err
			}
			seen = append(seen, count(tx))
			return nil
		},
		func(tx chat.Tx) error {
			seen = append(seen, count(tx))
			return nil
		},
	)
	if errs[0] != nil || errs[1] != fails || errs[2] != nil || errs[3] != nil {
		t.Errorf("they heard %v", errs)
	}
	if !slices.Equal(seen, []int{1, 1, 2}) {
		t.Errorf("the lists had %v messages", seen)
	}
	view(t, s, func(r chat.Reader) error {
		if m, err := r.Message(1, 3); err != nil || m.Content != "three" {
			t.Errorf("message 3 is %+v, %v", m, err)
		}
		if _, err := r.Sent(1, "b"); !errors.Is(err, chat.ErrNotFound) {
			t.Errorf("the failed update's client_msg_id gives %v", err)
		}
		return nil
	})
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestBatchesAreBounded(t *testing.T) {
	s := open(t, t.TempDir())
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1)
		return err
	})
	// Each update puts a quarter of what a batch may hold.
	big := make([]byte, 1<<20)
	for i := range big {
		big[i] = 'a' + byte(i%26)
	}
	var runs []func(chat.Tx) error
	var times []time.Time
	for i := range 10 {
		runs = append(runs, func(tx chat.Tx) error {
			_, err := send(tx, 1, 1, fmt.Sprint(i), string(big))
			times = append(times, tx.Now())
			return err
		})
	}
	for i, err := range together(s, runs...) {
		if err != nil {
			t.Errorf("update %d: %v", i, err)
		}
	}
	if n := len(slices.Compact(times)); n < 2 {
		t.Errorf("ten large updates took %d batches", n)
	}
}

func TestViewsEndWithTheirContext(t *testing.T) {
	s := open(t, t.TempDir(), func(c *Config) { c.Readers = 1 })
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1)
		return err
	})

	// While the only connection is in use, another view waits as long as its
	// context lets it.
	view(t, s, func(chat.Reader) error {
		ctx, cancel := context.WithCancel(t.Context())
		waiting := make(chan error, 1)
		go func() { waiting <- s.View(ctx, func(chat.Reader) error { return nil }) }()
		cancel()
		if err := <-waiting; chat.CodeOf(err) != chat.CodeTimeout || !errors.Is(err, context.Canceled) {
			t.Errorf("the view that waited heard %v", err)
		}
		return nil
	})

	// A query stops in the middle.
	ctx, cancel := context.WithCancel(t.Context())
	err := s.View(ctx, func(r chat.Reader) error {
		if _, err := r.Chat(1); err != nil {
			return err
		}
		cancel()
		_, err := r.Chat(1)
		return err
	})
	if chat.CodeOf(err) != chat.CodeTimeout {
		t.Errorf("the view that was cancelled heard %v", err)
	}
	// So does one that SQLite would be at for ever.
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err = s.View(ctx, func(r chat.Reader) error {
		rr := r.(*reader)
		_, err := rr.count("count for ever", rr.c.prep(
			`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n`))
		return err
	})
	if chat.CodeOf(err) != chat.CodeTimeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the endless query gave %v", err)
	}
	// And the connection is as good as new.
	view(t, s, func(r chat.Reader) error {
		_, err := r.Chat(1)
		return err
	})
}

func TestPanicInAViewCostsOnlyTheView(t *testing.T) {
	s := open(t, t.TempDir(), func(c *Config) { c.Readers = 1 })
	func() {
		defer func() {
			if p := recover(); p != "oh" {
				t.Errorf("the panic is %v", p)
			}
		}()
		_ = s.View(t.Context(), func(chat.Reader) error { panic("oh") })
	}()
	view(t, s, func(r chat.Reader) error {
		_, err := r.LastStamp()
		return err
	})
}

func TestAfterCloseEverythingIsRefused(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := update(s, func(chat.Tx) error { return nil }); chat.CodeOf(err) != chat.CodeUnavailable {
		t.Errorf("an update heard %v", err)
	}
	if err := s.View(t.Context(), func(chat.Reader) error { return nil }); chat.CodeOf(err) != chat.CodeUnavailable {
		t.Errorf("a view heard %v", err)
	}
}

func TestClientMsgIDsAreStoredShortAndGivenBackExactly(t *testing.T) {
	s := open(t, t.TempDir())
	ids := map[string]string{
		"0f8c2a4e-7d11-4a0e-9f1c-3a1f0b6f8a11": "blob",
		"0F8C2A4E-7D11-4A0E-9F1C-3A1F0B6F8A11": "text",
		"0f8c2a4e7d114a0e9f1c3a1f0b6f8a11":     "text",
		"1":                                    "text",
		"nul \x00 inside":                      "text",
	}
	for id := range ids {
		mustUpdate(t, s, func(tx chat.Tx) error {
			return tx.PutSent(chat.Sent{Sender: 1, ClientMsgID: id, Chat: 1, Seq: 1, CreatedAt: born})
		})
	}
	view(t, s, func(r chat.Reader) error {
		for id, kind := range ids {
			if v, err := r.Sent(1, id); err != nil || v.ClientMsgID != id {
				t.Errorf("%q comes back as %+v, %v", id, v, err)
			}
			c := r.(*reader).c
			q := c.prep(`SELECT typeof(client_msg_id) FROM sent WHERE sender_id = 1 AND client_msg_id = ?`).clientID(id)
			if err := q.row(); err != nil {
				return err
			}
			if got := q.getText(); got != kind {
				t.Errorf("%q is stored as %s, want %s", id, got, kind)
			}
			q.reset()
		}
		return nil
	})
}

// A row that is damaged in the file costs whoever asks for it an error. It used
// to end all writing, again at every start, for the client tries again.
func TestADamagedRowIsNotTheStoresEnd(t *testing.T) {
	s := open(t, t.TempDir())
	mustUpdate(t, s, func(tx chat.Tx) error {
		if _, err := newChat(tx, 1); err != nil {
			return err
		}
		_, err := send(tx, 1, 1, "a", "hello")
		return err
	})
	mustUpdate(t, s, func(chat.Tx) error { // on the writer's goroutine, whose connection it is
		return s.writer.c.exec(`UPDATE messages SET mentions = 'rubbish'`)
	})
	for range 2 {
		err := update(s, func(tx chat.Tx) error {
			_, err := tx.Message(1, 2)
			return err
		})
		if chat.CodeOf(err) != chat.CodeInternal {
			t.Errorf("reading it in an update: %v", err)
		}
	}
	if err := s.Err(); err != nil {
		t.Errorf("the store stopped writing: %v", err)
	}
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := send(tx, 1, 1, "b", "and on")
		return err
	})
}
