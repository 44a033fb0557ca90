package batch

import (
	"context"
	"slices"
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
		put := func(wantIn bool) {
			t.Helper()
			if in, err := q.put(&Item{}); in != wantIn || err != nil {
				t.Fatalf("it is in: %v, %v", in, err)
			}
		}
		wait := func(ctx context.Context, want time.Duration) {
			t.Helper()
			began := time.Now()
			if err := q.wait(ctx, &Item{}); chat.CodeOf(err) != chat.CodeUnavailable || time.Since(began) != want {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		}
		put(true)
		put(false)
		wait(t.Context(), putTimeout)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wait(ctx, time.Second)
		if got := q.take(nil); len(got) != 1 {
			t.Errorf("took %d", len(got))
		}
		put(true)
		time.AfterFunc(time.Second, q.close)
		wait(t.Context(), time.Second)
		q.take(nil)
		if in, err := q.put(&Item{}); !in || chat.CodeOf(err) != chat.CodeUnavailable {
			t.Errorf("when closed: %v, %v", in, err)
		}
	})
}

// Who waits for room is let in by the order of coming, and nobody passes them.
func TestNobodyPassesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		items := make([]*Item, 4)
		for i := range items {
			items[i] = new(Item)
			if i == 0 {
				if in, err := q.put(items[0]); !in || err != nil {
					t.Fatal(in, err)
				}
				continue
			}
			go func() {
				if err := q.wait(t.Context(), items[i]); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		for i := range items {
			got := q.take(nil)
			if len(got) != 1 || got[0] != items[i] {
				t.Errorf("%d: another one, of %d", i, len(got))
			}
			if i < len(items)-1 {
				if in, _ := q.put(&Item{}); in {
					t.Errorf("%d: somebody passed", i)
				}
			}
			synctest.Wait()
		}
	})
}

// Those for whom there is room at the same time are in their order, too. Each used
// to queue its update itself, once it had been let in.
func TestManyAreLetInInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 20
		q := newQueue(most)
		items := make([]*Item, 3*most)
		for i := range items {
			items[i] = new(Item)
			go func() {
				if err := q.wait(t.Context(), items[i]); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		for len(items) > 0 {
			got := q.take(nil)
			if !slices.Equal(got, items[:most]) {
				t.Fatalf("with %d to come, %d others came, or in another order", len(items), len(got))
			}
			items = items[most:]
			synctest.Wait()
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
