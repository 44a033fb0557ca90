package sqlite

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/internal/chat"
)

func TestStats(t *testing.T) {
	d := newDisk(t)
	s := open(t, t.TempDir(), d.on, func(c *Config) { c.WALBound = 16 * pageSize })
	if st := s.Stats(); st.BatchUpdates.Count != 0 || st.Failed != 0 || st.Queued != 0 {
		t.Errorf("before anything: %+v", st)
	}
	mustUpdate(t, s, func(tx chat.Tx) error {
		_, err := newChat(tx, 1)
		return err
	})
	before := s.Stats()

	// Three updates behind one that waits: two transactions, one of three.
	say := func(i int) func(chat.Tx) error {
		return func(tx chat.Tx) error {
			_, err := send(tx, 1, 1, fmt.Sprint(i), body)
			return err
		}
	}
	queued := -1
	errs := together(s, say(0), say(1), func(chat.Tx) error {
		queued = s.Stats().Queued
		return errors.New("this one fails, and is of the batch")
	})
	if errs[0] != nil || errs[1] != nil || errs[2] == nil {
		t.Fatalf("they heard %v", errs)
	}
	if queued < 1 || queued > 3 {
		t.Errorf("%d updates were under way, want those of the batch", queued)
	}
	st := s.Stats()
	if n, sum := st.BatchUpdates.Count-before.BatchUpdates.Count, st.BatchUpdates.Sum-before.BatchUpdates.Sum; n != 2 || sum != 4 {
		t.Errorf("%d transactions of %v updates, want 2 of 4", n, sum)
	}
	if st.CommitSeconds.Count != st.BatchUpdates.Count || st.CommitSeconds.Sum <= 0 {
		t.Errorf("commits took %+v", st.CommitSeconds)
	}
	if st.WALBytes <= 0 {
		t.Errorf("the log has %d bytes", st.WALBytes)
	}
	if diff := cmp.Diff(before.BatchUpdates.Buckets[0].Count+1, st.BatchUpdates.Buckets[0].Count); diff != "" {
		t.Error("transactions of one update:", diff)
	}

	// Enough for a log of sixteen pages to reach its bound.
	for i := range 100 {
		mustUpdate(t, s, say(i+10))
	}
	if st = s.Stats(); st.Stalls.Count == 0 {
		t.Errorf("the log never reached its bound: %+v", st)
	}
	if st.Failed != 0 {
		t.Errorf("%d transactions failed", st.Failed)
	}

	d.fails(func(a action) error {
		if a.kind == write && a.file == dbName+"-wal" {
			return syscall.ENOSPC
		}
		return nil
	})
	err := update(s, say(1000))
	d.fails(nil)
	if chat.CodeOf(err) != chat.CodeUnavailable {
		t.Fatalf("on a full disk: %v", err)
	}
	if st = s.Stats(); st.Failed != 1 {
		t.Errorf("%d transactions failed, want 1", st.Failed)
	}
	if err := s.Close(); err != nil { // ends the checkpoints beside the writer, too
		t.Fatal(err)
	}
	if st = s.Stats(); st.Checkpoints.Count == 0 || st.Queued != 0 {
		t.Errorf("at the end: %+v", st)
	}
}
