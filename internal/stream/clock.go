package stream

import (
	"container/heap"
	"sync"
	"time"
)

var started = time.Now()

// now is the time that things here are measured by, in nanoseconds; never 0.
func now() int64 { return int64(time.Since(started)) + 1 }

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
	at    int64 // 0: none
	index int   // in due, while at is not 0
}

// set wakes c at t, and not when it was to be woken before. 0: not at all.
func (a *alarms) set(c *conn, t int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch had := c.alarm.at != 0; {
	case c.alarm.at == t:
		return
	case t == 0:
		heap.Remove(&a.due, c.alarm.index)
		c.alarm.at = t
	case had:
		c.alarm.at = t
		heap.Fix(&a.due, c.alarm.index)
	default:
		c.alarm.at = t
		heap.Push(&a.due, c)
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
	first := a.due[0].alarm.at
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
	for len(a.due) > 0 && a.due[0].alarm.at <= t {
		c := heap.Pop(&a.due).(*conn)
		c.alarm.at = 0
		c.turns.Wake()
	}
	a.windLocked()
}

// dueHeap implements heap.Interface.
type dueHeap []*conn

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].alarm.at < h[j].alarm.at }

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].alarm.index, h[j].alarm.index = i, j
}

func (h *dueHeap) Push(x any) {
	c := x.(*conn)
	c.alarm.index = len(*h)
	*h = append(*h, c)
}

func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return c
}
