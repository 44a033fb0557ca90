package sqlite

import (
	"sync"

	"github.com/grima-chat/grima/internal/chat"
)

// item is one queued update.
type item struct {
	op   chat.Op
	done func(error)
	err  error // what done will hear
}

// queue holds updates in the order of the calls to Update. It is bounded: who
// finds it full waits.
type queue struct {
	mu     sync.Mutex
	work   sync.Cond // there is something to take, or the queue was closed
	room   sync.Cond // there is room, or the queue was closed
	items  []*item
	most   int
	closed bool
}

func newQueue(most int) *queue {
	q := &queue{most: most}
	q.work.L, q.room.L = &q.mu, &q.mu
	return q
}

// put reports whether it queued i; it does not once the queue is closed.
func (q *queue) put(i *item) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) >= q.most && !q.closed {
		q.room.Wait()
	}
	if q.closed {
		return false
	}
	q.items = append(q.items, i)
	if len(q.items) == 1 {
		q.work.Signal()
	}
	return true
}

// take moves everything that is queued to the end of into, and waits for
// something if into is empty. It gives nothing when the queue is closed and
// empty.
func (q *queue) take(into []*item) []*item {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(into) == 0 && len(q.items) == 0 && !q.closed {
		q.work.Wait()
	}
	into = append(into, q.items...)
	clear(q.items)
	q.items = q.items[:0]
	q.room.Broadcast()
	return into
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.work.Broadcast()
	q.room.Broadcast()
}
