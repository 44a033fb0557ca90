package stream

import (
	"container/heap"
	"sync"
	"time"
)

var started = time.Now()

// now is the time that things here are measured by, in nanoseconds; never 0.
func now() int64 { return int64(time.Since(started)) + 1 }

// at is what now gave at t.
func at(t time.Time) int64 { return int64(t.Sub(started)) + 1 }

// alarms wakes connections at their time. One timer serves all of them: one
// each would cost every connection more than the rest of its session.
type alarms struct {
	mu    sync.Mutex
	due   dueHeap
	timer *time.Timer // for the first of due
	at    int64       // when it rings; 0: it does not
}

// alarm is a connection's place in alarms.
type alarm struct {
	conn  *conn
	at    int64 // 0: none
	index int   // in due, while at is not 0
}

// set wakes l's connection at t, and not when it was to be woken before. 0: not
// at all.
func (a *alarms) set(l *alarm, t int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch had := l.at != 0; {
	case l.at == t:
		return
	case t == 0:
		heap.Remove(&a.due, l.index)
		l.at = t
	case had:
		l.at = t
		heap.Fix(&a.due, l.index)
	default:
		l.at = t
		heap.Push(&a.due, l)
	}
	a.windLocked()
}

// windLocked sees that the timer rings in time. It may ring too early.
func (a *alarms) windLocked() {
	if len(a.due) == 0 {
		if a.timer != nil {
			a.timer.Stop()
		}
		a.at = 0
		return
	}
	first := a.due[0].at
	if a.at != 0 && first >= a.at {
		return
	}
	a.at = first
	if a.timer == nil {
		a.timer = time.AfterFunc(time.Duration(first-now()), a.ring)
	} else {
		a.timer.Reset(time.Duration(first - now()))
	}
}

func (a *alarms) ring() {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := now()
	a.at = 0
	for len(a.due) > 0 && a.due[0].at <= t {
		l := heap.Pop(&a.due).(*alarm)
		l.at = 0
		l.conn.turns.Wake()
	}
	a.windLocked()
}

// dueHeap implements heap.Interface.
type dueHeap []*alarm

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *dueHeap) Push(x any) {
	l := x.(*alarm)
	l.index = len(*h)
	*h = append(*h, l)
}

func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return l
}
