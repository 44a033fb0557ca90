package aside

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// So many at once, the others in order, and each hears whether it has to wait.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const threads = 2
		p := New(threads)
		defer p.Close()
		gate := make(chan struct{})
		var running, waited atomic.Int64
		order := make(chan int, 10)
		for i := range 6 {
			go func() {
				err := p.Do(t.Context(), func() { waited.Add(1) }, func() {
					running.Add(1)
					<-gate
					order <- i
				})
				if err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		if r, w := running.Load(), waited.Load(); r != threads || w != 6-threads {
			t.Fatalf("%d run and %d wait", r, w)
		}
		for i := range 6 {
			gate <- struct{}{}
			got := <-order
			if i >= threads && got != i {
				t.Errorf("%d came as number %d", got, i)
			}
			synctest.Wait()
		}
	})
}

// Who has no time left does not begin; what has begun is waited for.
func TestNoTimeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1)
		defer p.Close()
		gate := make(chan struct{})
		ended := make(chan error)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { ended <- p.Do(short, nil, func() { <-gate }) }()
		synctest.Wait()
		if err := p.Do(short, nil, func() { t.Error("it began") }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		close(gate)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestPanicIsTheCallers(t *testing.T) {
	p := New(1)
	defer p.Close()
	func() {
		defer func() {
			if v, ok := recover().(error); !ok || !strings.Contains(v.Error(), "of mine") || !strings.Contains(v.Error(), "TestPanicIsTheCallers") {
				t.Errorf("it panicked with %v", v)
			}
		}()
		_ = p.Do(t.Context(), nil, func() { panic("of mine") })
	}()
	if err := p.Do(t.Context(), nil, func() {}); err != nil {
		t.Error(err)
	}
}

func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1)
		gate := make(chan struct{})
		var done atomic.Int64
		for range 2 {
			go func() {
				if err := p.Do(t.Context(), nil, func() { <-gate; done.Add(1) }); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		var closed atomic.Bool
		go func() { p.Close(); closed.Store(true) }()
		synctest.Wait()
		if closed.Load() {
			t.Error("it did not wait")
		}
		close(gate)
		synctest.Wait()
		if !closed.Load() || done.Load() != 2 {
			t.Errorf("closed: %v, after %d jobs", closed.Load(), done.Load())
		}
		if err := p.Do(t.Context(), nil, func() { t.Error("after the end") }); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// Threads go when there is nothing to do, and with them their places.
func TestThreadsGo(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	synctest.Test(t, func(t *testing.T) {
		p := New(1)
		if err := p.Do(t.Context(), nil, func() {}); err != nil {
			t.Error(err)
		}
		if n := Processors(); n != before {
			t.Errorf("%d processors without ours, want %d", n, before)
		}
		time.Sleep(stay + time.Millisecond)
		synctest.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.workers != 0 {
			t.Errorf("%d threads are left", p.workers)
		}
	})
	if now := runtime.GOMAXPROCS(0); now != before {
		t.Errorf("GOMAXPROCS is %d, and was %d", now, before)
	}
}
