package stream

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Who has done one thing does the next; who has nothing to do for a while goes,
// and at the end nobody is left.
func TestCrew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w crew
		hands := func() int {
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.idle)
		}
		var done atomic.Int64
		for range 10 {
			w.do(func() { done.Add(1) })
			synctest.Wait()
		}
		if done.Load() != 10 || hands() != 1 {
			t.Fatalf("one after the other: %d done by %d", done.Load(), hands())
		}
		gate := make(chan struct{})
		for range 10 {
			w.do(func() { <-gate; done.Add(1) })
		}
		synctest.Wait()
		if hands() != 0 {
			t.Fatalf("%d are idle while all wait", hands())
		}
		close(gate)
		synctest.Wait()
		if done.Load() != 20 || hands() != 10 {
			t.Fatalf("at once: %d done by %d", done.Load(), hands())
		}
		time.Sleep(idleHand / 2) // of the bubble's time
		w.do(func() { done.Add(1) })
		time.Sleep(idleHand)
		synctest.Wait()
		if hands() > 1 {
			t.Errorf("%d stay", hands())
		}
		time.Sleep(2 * idleHand)
		synctest.Wait()
		if hands() != 0 {
			t.Errorf("%d stay for long", hands())
		}
		last := make(chan struct{})
		w.do(func() { <-last; done.Add(1) })
		time.AfterFunc(time.Minute, func() { close(last) })
		w.close()
		if done.Load() != 22 {
			t.Errorf("closed with %d done", done.Load())
		}
	})
}
