// Package storetest holds what tests of, and with, a chat.Store need: one suite
// that every store passes ([Run]), a comparison over random operations
// ([RunRandom]), the store in memory they are compared with ([Memory]), a store
// that misbehaves on purpose ([Faulty]), and a check of what is in a store at
// the end of a test ([CheckLog]).
package storetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// Memory is a chat.Store that forgets everything when it is closed: the
// simplest thing that keeps the contract, for reading beside it and for tests of
// what is built on a store.
//
// Every row keeps all its versions, each with the number of the update that put
// it. A View is then nothing but a number: it sees the versions up to it.
type Memory struct {
	now    func() time.Time
	epoch  string
	failed chan struct{} // never closed

	queue  queue[update]
	writer sync.WaitGroup

	mu        sync.RWMutex // of what follows; held for one read or put at a time
	committed int64        // the number of the last update; it is also the change stamp
	tables
}

type update struct {
	op      chat.Op
	done    func(error)
	refused bool
}

// Option changes how NewMemory makes a store.
type Option func(*Memory)

// WithNow sets the clock that transactions read. Without it they read time.Now.
func WithNow(now func() time.Time) Option { return func(m *Memory) { m.now = now } }

// WithEpoch names the store's history. Without it that is "memory".
func WithEpoch(epoch string) Option { return func(m *Memory) { m.epoch = epoch } }

// NewMemory makes an empty store. Close ends its goroutine.
func NewMemory(opts ...Option) *Memory {
	m := &Memory{now: time.Now, epoch: "memory", failed: make(chan struct{}), tables: newTables()}
	for _, opt := range opts {
		opt(m)
	}
	m.queue.init()
	m.writer.Go(m.write)
	return m
}

var _ chat.Store = (*Memory)(nil)

func (m *Memory) View(ctx context.Context, fn func(chat.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.RLock()
	at := m.committed
	m.mu.RUnlock()
	r := &reader{m: m, at: at, listAt: at}
	defer r.over.Store(true)
	return fn(r)
}

// Update queues op; the queue has no bound. Once Close has returned, done is
// called before Update returns.
func (m *Memory) Update(op chat.Op, done func(error)) {
	if !m.queue.push(update{op: op, done: done}, func(u *update) { u.refused = true }) {
		done(errClosed)
	}
}

var errClosed = chat.Unavailable("the store is closed", nil)

// write carries updates out, one after the other, until Close.
func (m *Memory) write() {
	for {
		u, ok := m.queue.pop()
		if !ok {
			return
		}
		if u.refused {
			u.done(errClosed)
		} else {
			u.done(m.carryOut(u.op))
		}
	}
}

func (m *Memory) carryOut(op chat.Op) error {
	before := m.committed // only this goroutine writes it
	t := &tx{reader: reader{m: m, at: before + 1, listAt: before}, now: m.now().UTC().Truncate(time.Millisecond)}
	err := run(op, t)
	t.over.Store(true)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		for i := len(t.undo) - 1; i >= 0; i-- {
			t.undo[i]()
		}
		return err
	}
	m.committed++
	return nil
}

func run(op chat.Op, tx chat.Tx) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("an update panicked: %v", v)
		}
	}()
	return op.Run(tx)
}

// Epoch is "memory", unless WithEpoch said otherwise.
func (m *Memory) Epoch() string { return m.epoch }

// Failed is never closed: see [Faulty] for a store that fails.
func (m *Memory) Failed() <-chan struct{} { return m.failed }
func (m *Memory) Err() error              { return nil }

// Close waits for queued updates. It may be called again.
func (m *Memory) Close() error {
	m.queue.close()
	m.writer.Wait()
	return nil
}

// queue hands values from many goroutines to one.
type queue[T any] struct {
	mu     sync.Mutex
	more   sync.Cond
	items  []T
	closed bool // what comes now is late
	ended  bool // and now nobody takes it any more
}

func (q *queue[T]) init() { q.more.L = &q.mu }

// push adds v, after late has marked it if the queue is closed already. It
// reports false when the last pop was.
func (q *queue[T]) push(v T, late func(*T)) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return false
	}
	if q.closed {
		late(&v)
	}
	q.items = append(q.items, v)
	q.more.Signal()
	return true
}

// pop takes the oldest value; false when the queue is closed and empty.
func (q *queue[T]) pop() (v T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.more.Wait()
	}
	if len(q.items) == 0 {
		q.ended = true
		return v, false
	}
	v, q.items = q.items[0], q.items[1:]
	return v, true
}

func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.more.Broadcast()
}
