// Package aside carries out what others are not to wait for: on a few threads of
// their own, which the kernel lets run when nobody else wants to. All threads of
// a program have the same weight else, and who asks for something light waits
// behind pages of rows for a processor, however few of these there are at once.
//
// A thread of this kind holds a place in Go's scheduler also while the kernel has
// it wait, so there is one place more for each, as long as it is there. Where
// threads have no priorities of their own (all but Linux), or GOMAXPROCS in the
// environment says how many may run, jobs have goroutines like others, a few at a
// time.
package aside

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// ErrClosed is given to who comes after Close.
var ErrClosed = errors.New("nothing is carried out any more")

// stay is how long a thread stays without anything to do.
const stay = time.Second

// Pool is the threads, of which there are none when there is nothing to do, and
// who waits for them, in order. Its methods may be called from any goroutine.
type Pool struct {
	max int

	mu            sync.Mutex
	queue         []*job
	some          sync.Cond // there are jobs, or it is time to leave
	workers, idle int
	closed        bool
	over          sync.WaitGroup
}

type job struct {
	do       func()
	done     chan struct{} // closed when it is
	panicked any
}

// New makes a Pool of at most so many threads. It starts nothing before its
// first job.
func New(threads int) *Pool {
	p := &Pool{max: threads}
	p.some.L = &p.mu
	return p
}

// Do carries f out and waits for its end. waits is called before it waits for
// others' (nil: nobody is to know). If ctx ends before f has begun, it does not
// begin, and the error is ctx's. f may panic: then Do does.
func (p *Pool) Do(ctx context.Context, waits, f func()) error {
	j := &job{do: f, done: make(chan struct{})}
	soon, err := p.push(j)
	if err != nil {
		return err
	}
	if !soon && waits != nil {
		waits()
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if p.drop(j) {
			return ctx.Err()
		}
		<-j.done
	}
	if j.panicked != nil {
		panic(j.panicked)
	}
	return nil
}

// Close waits for the jobs there are.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.some.Broadcast()
	p.mu.Unlock()
	p.over.Wait()
}

// push puts j at the end. soon says that it has to wait for no other.
func (p *Pool) push(j *job) (soon bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false, ErrClosed
	}
	p.queue = append(p.queue, j)
	switch {
	case len(p.queue) <= p.idle:
		p.some.Signal()
		return true, nil
	case p.workers < p.max:
		p.workers++
		p.over.Go(p.work)
		return true, nil
	}
	return false, nil
}

// drop takes j back, if it has not begun.
func (p *Pool) drop(j *job) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.queue, j)
	if i < 0 {
		return false
	}
	p.queue = slices.Delete(p.queue, i, i+1)
	return true
}

// work is a thread. It ends with its goroutine, since that stays locked to it,
// and its priority with it.
func (p *Pool) work() {
	runtime.LockOSThread()
	defer lower()()
	alarm := time.AfterFunc(stay, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.some.Broadcast()
	})
	defer alarm.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		until := time.Now().Add(stay)
		alarm.Reset(stay)
		for len(p.queue) == 0 {
			if p.closed || !time.Now().Before(until) {
				p.workers--
				return
			}
			p.idle++
			p.some.Wait()
			p.idle--
		}
		j := p.queue[0]
		p.queue[0] = nil
		p.queue = p.queue[1:]
		p.mu.Unlock()
		j.run()
		p.mu.Lock()
	}
}

func (j *job) run() {
	defer close(j.done)
	defer func() {
		if v := recover(); v != nil {
			j.panicked = fmt.Errorf("%v\n%s", v, debug.Stack())
		}
	}()
	j.do()
}

// places are those in Go's scheduler that threads of all Pools have added.
var places struct {
	mu    sync.Mutex
	added int
}

// bounded: somebody said how many threads may run at once.
var bounded = os.Getenv("GOMAXPROCS") != ""

// lower gives the thread it is called on its low priority and a place of its
// own, and gives what undoes the latter.
func lower() (leave func()) {
	if bounded || !lowerThread() {
		return func() {}
	}
	places.mu.Lock()
	defer places.mu.Unlock()
	places.added++
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	return func() {
		places.mu.Lock()
		defer places.mu.Unlock()
		if places.added--; places.added == 0 {
			runtime.SetDefaultGOMAXPROCS() // which may have changed, as a container's does
		} else {
			runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) - 1)
		}
	}
}

// Processors is how many threads may run at once, without those of Pools.
func Processors() int {
	places.mu.Lock()
	defer places.mu.Unlock()
	return runtime.GOMAXPROCS(0) - places.added
}
