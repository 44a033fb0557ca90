package batch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/internal/chat"
)

// A full queue refuses in bounded time. It used to keep callers for as long as
// the disk took, past every deadline of theirs.
func TestAFullQueueRefusesInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		if err := q.put(&Item{}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := q.put(&Item{}); chat.CodeOf(err) != chat.CodeUnavailable || time.Since(began) != putTimeout {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if got := q.take(nil); len(got) != 1 {
			t.Errorf("took %d", len(got))
		}
		if err := q.put(&Item{}); err != nil {
			t.Errorf("with room again: %v", err)
		}
		q.close()
		if err := q.put(&Item{}); chat.CodeOf(err) != chat.CodeUnavailable {
			t.Errorf("when closed: %v", err)
		}
	})
}

func TestHistogram(t *testing.T) {
	h := NewHistogram(1, 2, 4)
	for _, v := range []float64{0.5, 1, 1.5, 4, 100} {
		h.Observe(v)
	}
	want := Histogram{Count: 5, Sum: 107, Buckets: []Bucket{{1, 2}, {2, 3}, {4, 4}}}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Error(diff)
	}
}
