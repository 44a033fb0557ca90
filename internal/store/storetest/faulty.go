package storetest

import (
	"context"
	"errors"
	"sync"

	"github.com/grima-chat/grima/internal/chat"
)

// Fault is what goes wrong with one update of a [Faulty] store.
type Fault int

const (
	// NoFault: the update is carried out as usual.
	NoFault Fault = iota
	// NotWritten: Run runs, everything it put is undone, and done hears an
	// *Error with CodeUnavailable.
	NotWritten
	// AnswerLost: the update is committed, and done hears an *Error with
	// CodeUnavailable all the same, as when the store's machine died in between.
	// No store may do that while it runs; to whoever asked, a crash looks so.
	AnswerLost
	// RunTwice: Run runs, everything it put is undone, and it runs again for
	// good, as after a lost race. The two do not see the same Now and ids.
	RunTwice
)

// ErrFault is the cause of the errors that a Faulty store makes up.
var ErrFault = errors.New("this store fails on purpose")

// Faulty is a store that misbehaves on purpose, for tests of what must cope
// with it. Updates and dones keep their order, and whatever is not told to go
// wrong keeps the contract of the store inside. Its methods may be called from
// any goroutine.
type Faulty struct {
	inner chat.Store

	order sync.Mutex // keeps the runs of one update together on their way in

	mu     sync.Mutex
	next   []Fault
	always Fault
	views  error
	err    error
	failed chan struct{}
	gate   chan struct{} // dones wait until it is closed; nil: they do not

	dones queue[func()]
	owner sync.WaitGroup
}

var _ chat.Store = (*Faulty)(nil)

// NewFaulty makes a Faulty of store, which it closes with itself.
func NewFaulty(store chat.Store) *Faulty {
	f := &Faulty{inner: store, failed: make(chan struct{})}
	f.dones.init()
	f.owner.Go(func() {
		for {
			done, ok := f.dones.pop()
			if !ok {
				return
			}
			f.mu.Lock()
			gate := f.gate
			f.mu.Unlock()
			if gate != nil {
				<-gate
			}
			done()
		}
	})
	return f
}

// Next gives the next updates these faults, one each, in the order of the calls
// to Update.
func (f *Faulty) Next(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = append(f.next, faults...)
}

// Always gives every update that Next says nothing about this fault.
func (f *Faulty) Always(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.always = fault
}

// FailViews lets every View that begins from now on fail with err, before its
// function is called; nil ends that.
func (f *Faulty) FailViews(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.views = err
}

// Hold keeps dones back until release is called, though updates go on being
// committed. Close waits for release. One Hold at a time.
func (f *Faulty) Hold() (release func()) {
	gate := make(chan struct{})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gate = gate
	return sync.OnceFunc(func() { close(gate) })
}

// Break makes the store fail for good, with err: updates that were not carried
// out yet, and all that come, are refused with CodeUnavailable.
func (f *Faulty) Break(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
		close(f.failed)
	}
}

// Update implements chat.Store.
func (f *Faulty) Update(op chat.Op, done func(error)) {
	f.order.Lock()
	defer f.order.Unlock()
	fault := f.fault()
	run := op.Run
	op.Run = func(tx chat.Tx) error {
		if err := f.Err(); err != nil {
			return chat.Unavailable("the store cannot write", err)
		}
		if err := run(tx); err != nil {
			return err
		}
		if fault == NotWritten {
			return chat.Unavailable("the store could not write", ErrFault)
		}
		return nil
	}
	if fault == RunTwice {
		first := op
		first.OnFull = nil // done is called for the other one
		first.Run = func(tx chat.Tx) error {
			if err := op.Run(tx); err != nil {
				return err
			}
			return ErrFault
		}
		f.inner.Update(first, func(error) {})
	}
	f.inner.Update(op, func(err error) {
		if fault == AnswerLost && err == nil {
			err = chat.Unavailable("the store's answer was lost", ErrFault)
		}
		report := func() { done(err) }
		if !f.dones.push(report, func(*func()) {}) {
			report() // refused by a store that is closed, as is this one
		}
	})
}

func (f *Faulty) fault() Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.next) == 0 {
		return f.always
	}
	fault := f.next[0]
	f.next = f.next[1:]
	return fault
}

// View implements chat.Store.
func (f *Faulty) View(ctx context.Context, fn func(chat.Reader) error) error {
	f.mu.Lock()
	err := f.views
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return f.inner.View(ctx, fn)
}

// Epoch is the inner store's.
func (f *Faulty) Epoch() string { return f.inner.Epoch() }

// Failed is closed by Break, and by nothing else.
func (f *Faulty) Failed() <-chan struct{} { return f.failed }

// Err is what Break was told.
func (f *Faulty) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Close closes the inner store, and waits for dones.
func (f *Faulty) Close() error {
	err := f.inner.Close()
	f.dones.close()
	f.owner.Wait()
	return err
}
