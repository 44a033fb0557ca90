// Package batch is what the stores share: group commit. A loop takes everything
// that is queued and hands it to the store, which runs it in one transaction and
// commits once; a transaction of many updates keeps what they read and put in
// memory, so that an update that fails leaves nothing behind and each row is
// written once; and rows are read and written column by column, in one order for
// all stores. A store contributes its SQL.
package batch

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"github.com/grima-chat/grima/internal/chat"
)

// The bounds of a batch. It ends after whichever comes first; an update is
// never cut in two.
const (
	MostOps   = 512
	mostRows  = 4096
	mostBytes = 4 << 20
)

// Loop is a store's writer. Its goroutine takes what is queued and commits it;
// another calls the dones, so that the next batch runs meanwhile. Both end when
// the queue is closed and empty.
type Loop struct {
	commit func([]*Item) int
	after  func()
	queue  *queue
	ready  chan []*Item // batches whose dones are to be called, in order
	ended  chan struct{}
	log    *slog.Logger
	queued atomic.Int64 // updates whose fate is open
}

// NewLoop begins writing. commit deals with the first of the items it is given,
// at least one, and says with how many; what happened to each is then in its
// Err. after, unless nil, is called on the same goroutine when their dones are
// on their way. At most so many updates wait.
func NewLoop(most int, log *slog.Logger, commit func([]*Item) int, after func()) *Loop {
	l := &Loop{
		commit: commit, after: after, log: log,
		queue: newQueue(most), ready: make(chan []*Item, 4), ended: make(chan struct{}),
	}
	go l.write()
	go l.complete()
	return l
}

// Update queues an update, or refuses it. See chat.Store for who waits for room.
func (l *Loop) Update(op chat.Op, done func(error)) {
	l.queued.Add(1)
	i := &Item{Op: op, done: done}
	in, err := l.queue.put(i)
	switch {
	case err != nil:
		l.refuse(i, err)
	case in:
	case op.OnFull != nil:
		op.OnFull(func(ctx context.Context) { l.wait(ctx, i) })
	default:
		l.wait(context.Background(), i)
	}
}

// wait queues i when there is room, or refuses it.
func (l *Loop) wait(ctx context.Context, i *Item) {
	if err := l.queue.wait(ctx, i); err != nil {
		l.refuse(i, err)
	}
}

func (l *Loop) refuse(i *Item, err error) {
	l.queued.Add(-1)
	i.done(err)
}

// Queued is how many updates are not committed or refused yet.
func (l *Loop) Queued() int { return int(l.queued.Load()) }

// Stop waits for everything that is queued.
func (l *Loop) Stop() {
	l.queue.close()
	<-l.ended
}

func (l *Loop) write() {
	defer close(l.ready)
	var waiting []*Item
	for {
		if len(waiting) < MostOps {
			waiting = l.queue.take(waiting)
		}
		if len(waiting) == 0 {
			return
		}
		n := l.commit(waiting[:min(len(waiting), MostOps)])
		l.queued.Add(int64(-n))
		done := append([]*Item(nil), waiting[:n]...)
		waiting = slices.Delete(waiting, 0, n) // forgets what it moved, and so what the updates hold on to
		l.ready <- done
		if l.after != nil {
			l.after()
		}
	}
}

// complete calls the dones, in order.
func (l *Loop) complete() {
	defer close(l.ended)
	for items := range l.ready {
		for _, i := range items {
			l.finish(i)
		}
	}
}

func (l *Loop) finish(i *Item) {
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("a done of the store's panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	i.done(i.Err)
}

// Run runs one update. Its panic is its own affair.
func Run(op chat.Op, tx chat.Tx, log *slog.Logger) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("an update panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("an update panicked: %v", p)
		}
	}()
	return op.Run(tx)
}
