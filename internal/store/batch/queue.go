package batch

import (
	"container/list"
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
	most int

	mu      sync.Mutex
	work    sync.Cond // there is something to take, or the queue was closed
	items   []*Item
	waiting list.List // *waiter; only while there is no room
	closed  bool
}

// waiter is an update for which there is no room yet.
type waiter struct {
	item *Item
	over chan error // has room for the one that comes
}

// putTimeout is how long a full queue keeps callers waiting. It is shorter than
// a request may take, so that they hear why.
const putTimeout = 5 * time.Second

// ErrClosed is what is heard after Close.
var ErrClosed = chat.Unavailable("the server is shutting down", nil)

var errQueue = chat.Unavailable("more is being written than the store can take; nothing was stored, try again", nil)

func newQueue(most int) *queue {
	q := &queue{most: most}
	q.work.L = &q.mu
	return q
}

// put queues i, or says why not. If there is no room it is not done, and nothing
// has happened.
func (q *queue) put(i *Item) (done bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.putLocked(i)
}

func (q *queue) putLocked(i *Item) (done bool, err error) {
	switch {
	case q.closed:
		return true, ErrClosed
	case len(q.items) >= q.most: // so it is while others wait
		return false, nil
	}
	q.items = append(q.items, i)
	if len(q.items) == 1 {
		q.work.Signal()
	}
	return true, nil
}

// wait queues i when there is room, or says why not: the queue was closed, it
// took too long, or ctx ended.
func (q *queue) wait(ctx context.Context, i *Item) error {
	q.mu.Lock()
	if done, err := q.putLocked(i); done {
		q.mu.Unlock()
		return err
	}
	w := &waiter{i, make(chan error, 1)}
	at := q.waiting.PushBack(w)
	q.mu.Unlock()

	late := time.NewTimer(putTimeout)
	defer late.Stop()
	select {
	case err := <-w.over:
		return err
	case <-late.C:
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case err := <-w.over: // it was quicker
		return err
	default:
		q.waiting.Remove(at)
		return errQueue
	}
}

// admitLocked lets those in who wait, as far as there is room.
func (q *queue) admitLocked() {
	for at := q.waiting.Front(); at != nil && (q.closed || len(q.items) < q.most); at = q.waiting.Front() {
		w := q.waiting.Remove(at).(*waiter)
		_, err := q.putLocked(w.item)
		w.over <- err
	}
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
	clear(q.items)
	q.items = q.items[:0]
	q.admitLocked()
	return into
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.admitLocked()
	q.work.Broadcast()
}
