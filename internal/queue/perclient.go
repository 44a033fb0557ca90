package queue

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// perClient is the design with a goroutine for each client.
type perClient struct {
	meter

	closing chan struct{}
	over    sync.WaitGroup
}

func newPerClient() *perClient { return &perClient{closing: make(chan struct{})} }

// seat is where a client's goroutine waits.
type seat struct {
	queue *perClient
	src   Source          // nil: none
	raw   syscall.RawConn // src's
	bell  chan struct{}
}

func (q *perClient) Add(h *Handle, c Client, src Source) error {
	s := &seat{queue: q, src: src, bell: make(chan struct{}, 1)}
	h.init(c, s)
	if src != nil {
		var err error
		if s.raw, err = src.SyscallConn(); err != nil {
			return err
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-q.closing:
		return errClosed
	default:
	}
	q.Clients++
	q.over.Go(func() { s.serve(h) })
	return nil
}

func (q *perClient) Polls() bool { return false }

// past is a deadline that is over.
var past = time.Unix(1, 0)

// push ends the waiting of h's goroutine.
func (s *seat) push(h *Handle, from uint32) {
	h.since = clock()
	if from == parked && s.src != nil {
		_ = s.src.SetReadDeadline(past) // fails when it is closed, of which the goroutine hears
		return
	}
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

func (*seat) leave(*Handle)       {}
func (*seat) await(*Handle) error { return errors.ErrUnsupported }

// serve gives h turns.
func (s *seat) serve(h *Handle) {
	q := s.queue
	for {
		h.begin()
		began := clock()
		v := h.client.Turn()
		again := h.end(v)
		q.mu.Lock()
		q.Turn.add(clock() - began)
		if v == Done {
			q.Clients--
		}
		q.mu.Unlock()
		switch {
		case v == Done:
			return
		case v == Again:
			runtime.Gosched()
		case again:
		case v == Park && s.raw != nil:
			// Waiting needs little of a stack, and a turn has made this one
			// larger, which it stays: another goroutine waits.
			q.over.Go(func() { s.wait(h) })
			return
		default:
			select {
			case <-s.bell:
			case <-q.closing:
				return
			}
		}
		select {
		case <-q.closing:
			return
		default:
		}
	}
}

// wait waits for input, and goes on with turns.
func (s *seat) wait(h *Handle) {
	if errors.Is(s.raw.Read(hasInput), os.ErrDeadlineExceeded) {
		_ = s.src.SetReadDeadline(time.Time{}) // as above
	}
	select {
	case <-s.queue.closing:
	default:
		s.serve(h)
	}
}

func (q *perClient) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.meter.Stats
	s.Workers = s.Clients
	return s
}

// Close does not end a wait for input: clients are done before.
func (q *perClient) Close() {
	q.mu.Lock()
	select {
	case <-q.closing:
	default:
		close(q.closing)
	}
	q.mu.Unlock()
	q.over.Wait()
}
