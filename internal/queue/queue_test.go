package queue

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// each runs test with every design.
func each(t *testing.T, test func(t *testing.T, q Queue)) {
	for _, d := range Designs() {
		t.Run(string(d), func(t *testing.T) {
			q, err := New(d)
			if err != nil {
				t.Fatal(err)
			}
			test(t, q)
			q.Close()
		})
	}
	t.Run("per-client, the kernel not asked", func(t *testing.T) {
		q := newPerClient(false)
		test(t, q)
		q.Close()
	})
}

// turner is a client that is a function. It sees that it has one turn at a time.
type turner struct {
	Handle

	t     *testing.T
	inUse atomic.Bool
	turn  func() Verdict
}

func (c *turner) Turn() Verdict {
	if c.inUse.Swap(true) {
		c.t.Error("two turns at once")
	}
	v := c.turn()
	c.inUse.Store(false)
	return v
}

// Every message that is put into a box before a Wake is taken out of it, by
// whichever verdicts and however the wakes come.
func TestNoWakeIsLost(t *testing.T) {
	each(t, func(t *testing.T, q Queue) {
		const clients, wakers, each = 20, 4, 500
		var all, over sync.WaitGroup
		for i := range clients {
			var box, taken atomic.Int64
			all.Add(1)
			random := rand.New(rand.NewPCG(uint64(i), 7))
			c := &turner{t: t}
			c.turn = func() Verdict {
				taken.Add(box.Swap(0))
				switch {
				case taken.Load() == wakers*each:
					all.Done()
					return Done
				case random.IntN(4) == 0:
					return Again
				case random.IntN(2) == 0:
					return Park
				}
				return Wait
			}
			if err := q.Add(&c.Handle, c, nil); err != nil {
				t.Fatal(err)
			}
			for range wakers {
				over.Go(func() {
					for range each {
						box.Add(1)
						c.Wake()
					}
				})
			}
		}
		all.Wait()
		over.Wait()
		if s := q.Stats(); s.Depth != 0 {
			t.Errorf("%d are ready", s.Depth)
		}
	})
}

// Ready wakes who is parked at once, and who waits only when it parks again.
func TestInputDoesNotWakeWhoWaits(t *testing.T) {
	for _, d := range Designs() {
		synctest.Test(t, func(t *testing.T) {
			q, err := New(d)
			if err != nil {
				t.Fatal(err)
			}
			turns, verdict := 0, Wait
			c := &turner{t: t}
			c.turn = func() Verdict { turns++; return verdict }
			want := func(n int) {
				t.Helper()
				synctest.Wait()
				if turns != n {
					t.Fatalf("%s: %d turns, want %d", d, turns, n)
				}
			}
			if err := q.Add(&c.Handle, c, nil); err != nil {
				t.Fatal(err)
			}
			want(1)
			c.Ready()
			c.Ready()
			want(1)
			verdict = Park
			c.Wake()
			want(2) // whose turn reads what is there
			c.Ready()
			want(3)
			verdict = Done
			c.Ready()
			want(4)
			c.Wake()
			c.Ready()
			want(4)
			q.Close()
		})
	}
}

// Who always has more to do does not keep others from their turns, nor are there
// more workers than there may be.
func TestTurnsAreShared(t *testing.T) {
	each(t, func(t *testing.T, q Queue) {
		var stop atomic.Bool
		var busy sync.WaitGroup
		for range 50 {
			c := &turner{t: t}
			busy.Add(1)
			c.turn = func() Verdict {
				if stop.Load() {
					busy.Done()
					return Done
				}
				return Again
			}
			if err := q.Add(&c.Handle, c, nil); err != nil {
				t.Fatal(err)
			}
		}
		turned := make(chan struct{}, 1)
		quiet := &turner{t: t}
		turns := 0
		quiet.turn = func() Verdict {
			if turns++; turns == 100 {
				close(turned)
				return Done
			}
			turned <- struct{}{}
			return Wait
		}
		if err := q.Add(&quiet.Handle, quiet, nil); err != nil {
			t.Fatal(err)
		}
		for range turned {
			quiet.Wake()
		}
		if r, ok := q.(*ring); ok {
			for _, l := range r.lanes {
				if s := q.Stats(); s.Workers > l.max*len(r.lanes) {
					t.Errorf("%d workers", s.Workers)
				}
			}
		}
		stop.Store(true)
		busy.Wait()
	})
}

func TestAfterClose(t *testing.T) {
	each(t, func(t *testing.T, q Queue) {
		q.Close()
		c := &turner{t: t, turn: func() Verdict { t.Error("a turn"); return Done }}
		if err := q.Add(&c.Handle, c, nil); err == nil {
			t.Error("added")
		}
	})
}

func TestNoSuchDesign(t *testing.T) {
	if _, err := New("fastest"); err == nil {
		t.Error("made")
	}
}

func TestHistogram(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{0, 999, 1000, 3999, 4000, time.Hour} {
		h.add(int64(d))
	}
	want := map[int]uint64{0: 2, 1: 1, 2: 1, 3: 1, Buckets - 1: 1}
	for i, n := range h.Count {
		if n != want[i] {
			t.Errorf("bucket %d has %d, want %d", i, n, want[i])
		}
	}
	if fmt.Sprint(h.Sum) != "1h0m0.000009998s" {
		t.Errorf("sum %v", h.Sum)
	}
}
