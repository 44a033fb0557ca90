package stream

import (
	"sync"
	"time"
)

// crew is the goroutines that carry out what may take its time. There are as
// many as there is to do at once, without a bound: some of it waits, for a
// commit or for hashing, and nobody is to wait for that. They stay for a moment
// when they are done and are used again, the last one first, since a new one's
// stack has to grow on the way into the store, by copying, which takes as long
// as looking a token up. Its zero value is ready.
type crew struct {
	mu     sync.Mutex
	idle   []*hand // who came last is last
	timer  *time.Timer
	closed bool
	over   sync.WaitGroup
}

// hand is a goroutine of a crew that is idle, or will be.
type hand struct {
	job   chan func() // closed: it is not needed
	since int64       // it is idle, as now counts
}

// idleHand is how long a hand stays without anything to do.
const idleHand = time.Second

// do has f done, at once and not here.
func (w *crew) do(f func()) {
	w.mu.Lock()
	if n := len(w.idle); n > 0 {
		h := w.idle[n-1]
		w.idle[n-1] = nil
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		h.job <- f // for which there is room
		return
	}
	w.mu.Unlock()
	w.over.Go(func() { w.work(&hand{job: make(chan func(), 1)}, f) })
}

func (w *crew) work(h *hand, f func()) {
	for ok := true; ok; f, ok = <-h.job {
		f()
		f = nil
		if !w.rest(h) {
			return
		}
	}
}

// rest puts h among the idle, unless the crew is closed.
func (w *crew) rest(h *hand) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	h.since = now()
	w.idle = append(w.idle, h)
	if w.timer == nil {
		w.timer = time.AfterFunc(idleHand, w.dismiss)
	}
	return true
}

// dismiss ends those who were idle for long.
func (w *crew) dismiss() {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, n := now()-int64(idleHand), 0
	for n < len(w.idle) && (w.closed || w.idle[n].since <= before) {
		close(w.idle[n].job)
		n++
	}
	// Who stays moves to a list of its own: after a rush the old one is long.
	w.idle = append([]*hand(nil), w.idle[n:]...)
	w.timer = nil
	if len(w.idle) > 0 {
		w.timer = time.AfterFunc(idleHand, w.dismiss)
	}
}

// close ends all that are idle, and waits for those at work. Nobody calls do
// any more.
func (w *crew) close() {
	w.mu.Lock()
	w.closed = true
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Unlock()
	w.dismiss()
	w.over.Wait()
}
