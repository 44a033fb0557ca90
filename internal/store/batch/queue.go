package batch

import (
	"context"
	"sync"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// Item is one queued update.
type Item struct {
	Op   chat.Op
	Err  error // what its done will hear
	done func(error)
}

// queue holds updates in the order of the calls to Update. It is bounded: who
// finds it full waits for a while, is let in by the order of coming, and is
// refused in the end. Nobody passes who waits.
type queue struct {
	room    chan struct{} // holds as much as items, and what is about to be put
	closing chan struct{} // closed with the queue

	mu     sync.Mutex
	work   sync.Cond // there is something to take, or the queue was closed
	items  []*Item
	closed bool
}

// putTimeout is how long a full queue keeps callers waiting. It is shorter than
// a request may take, so that they hear why.
const putTimeout = 5 * time.Second

var (
	errClosed = chat.Unavailable("the server is shutting down", nil)
	errQueue  = chat.Unavailable("more is being written than the store can take; nothing was stored, try again", nil)
)

func newQueue(most int) *queue {
	q := &queue{room: make(chan struct{}, most), closing: make(chan struct{})}
	q.work.L = &q.mu
	return q
}

// put queues i, or says why not. If there is no room it is not done, and nothing
// has happened.
func (q *queue) put(i *Item) (done bool, err error) {
	select {
	case q.room <- struct{}{}: // never while others wait to send
		return true, q.push(i)
	default:
		return false, nil
	}
}

// wait queues i when there is room, or says why not: the queue was closed, it
// took too long, or ctx ended.
func (q *queue) wait(ctx context.Context, i *Item) error {
	late := time.NewTimer(putTimeout)
	defer late.Stop()
	select {
	case q.room <- struct{}{}:
		return q.push(i)
	case <-q.closing:
		return errClosed
	case <-late.C:
	case <-ctx.Done():
	}
	return errQueue
}

// push queues i, for which there is room.
func (q *queue) push(i *Item) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return errClosed
	}
	q.items = append(q.items, i)
	if len(q.items) == 1 {
		q.work.Signal()
	}
	return nil
}

// take moves everything that is queued to the end of into, and waits for
// something if into is empty. It gives nothing when the queue is closed and
// empty.
func (q *queue) take(into []*Item) []*Item {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(into) == 0 && len(q.items) == 0 && !q.closed {
		q.work.Wait()
	}
	into = append(into, q.items...)
	for range q.items {
		<-q.room
	}
	clear(q.items)
	q.items = q.items[:0]
	return into
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	close(q.closing)
	q.work.Broadcast()
}
