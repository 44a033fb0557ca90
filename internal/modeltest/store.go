package modeltest

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// recorder stands before a store. It writes the truth down, and can go away as
// a machine does: at once, and in the middle.
type recorder struct {
	chat.Store

	truth *truth
	view  func(chat.Store, context.Context, func(chat.Reader) error) error // nil: the store's

	mu   sync.Mutex // of the way in, so that crash knows what is on it
	dead atomic.Bool
}

func (r *recorder) View(ctx context.Context, fn func(chat.Reader) error) error {
	if r.view != nil {
		return r.view(r.Store, ctx, fn)
	}
	return r.Store.View(ctx, fn)
}

var errDead = chat.Unavailable("the machine is gone", nil)

// Update carries an op out and writes down what it put. One that is committed
// after the crash is not answered: whoever asked never learns.
func (r *recorder) Update(op chat.Op, done func(error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead.Load() {
		done(errDead)
		return
	}
	var u update
	run := op.Run
	op.Run = func(tx chat.Tx) error {
		u = update{found: map[chat.ChatID]int64{}}
		return run(&recordingTx{tx, &u})
	}
	r.Store.Update(op, func(err error) {
		if err == nil {
			r.truth.commit(u)
		}
		if r.dead.Load() {
			err = errDead
		}
		done(err)
	})
}

// crash lets nothing be written any more, and waits for what is being written.
func (r *recorder) crash() {
	r.mu.Lock()
	r.dead.Store(true)
	r.mu.Unlock()
	r.settle()
}

// settle waits until what was asked for before it is done.
func (r *recorder) settle() {
	settled := make(chan struct{})
	r.Store.Update(chat.Op{Run: func(chat.Tx) error { return nil }}, func(error) { close(settled) })
	<-settled
}

// later is one server's side of a store that others write to as well: what it
// hears of its own updates comes some time after everybody may read them.
type later struct {
	chat.Store

	mu      sync.Mutex
	rng     *rand.Rand
	dones   []func()
	telling bool
}

func (l *later) Update(op chat.Op, done func(error)) {
	l.Store.Update(op, func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dones = append(l.dones, func() { done(err) })
		if !l.telling {
			l.telling = true
			go l.tell()
		}
	})
}

func (l *later) tell() {
	for {
		l.mu.Lock()
		if len(l.dones) == 0 {
			l.telling = false
			l.mu.Unlock()
			return
		}
		dones, wait := l.dones, time.Duration(l.rng.IntN(4000))*time.Microsecond
		l.dones = nil
		l.mu.Unlock()
		<-time.After(wait)
		for _, done := range dones {
			done()
		}
	}
}

type recordingTx struct {
	chat.Tx

	u *update
}

// found notes where a chat was before this update put something of it.
func (t *recordingTx) found(c chat.Chat, err error) (chat.Chat, error) {
	if _, known := t.u.found[c.ID]; err == nil && !known {
		t.u.found[c.ID] = c.LastSeq
	}
	return c, err
}

func (t *recordingTx) Chat(id chat.ChatID) (chat.Chat, error) { return t.found(t.Tx.Chat(id)) }

func (t *recordingTx) ChatByPair(pair [2]chat.UserID) (chat.Chat, error) {
	return t.found(t.Tx.ChatByPair(pair))
}

func (t *recordingTx) ChatByClientID(creator chat.UserID, id string) (chat.Chat, error) {
	return t.found(t.Tx.ChatByClientID(creator, id))
}

func (t *recordingTx) NewChatID() (chat.ChatID, error) {
	id, err := t.Tx.NewChatID()
	if err == nil {
		t.u.found[id] = 0
	}
	return id, err
}

func (t *recordingTx) PutChat(c chat.Chat) error {
	t.u.puts = append(t.u.puts, put{chat: &c})
	return t.Tx.PutChat(c)
}

func (t *recordingTx) PutParticipant(p chat.Participant) error {
	t.u.puts = append(t.u.puts, put{person: &p})
	return t.Tx.PutParticipant(p)
}

func (t *recordingTx) PutMessage(m chat.Message) error {
	t.u.puts = append(t.u.puts, put{message: &m})
	return t.Tx.PutMessage(m)
}
