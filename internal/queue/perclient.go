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

func (q *perClient) Add(h *Handle, c Client, src Source) error {
	h.init(c, q, src)
	var raw syscall.RawConn
	if src != nil {
		var err error
		if raw, err = src.SyscallConn(); err != nil {
			return err
		}
	}
	h.bell = make(chan struct{}, 1)
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-q.closing:
		return errClosed
	default:
	}
	q.Clients++
	q.over.Go(func() { q.serve(h, raw) })
	return nil
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// push ends the waiting of h's goroutine.
func (q *perClient) push(h *Handle, from uint32) {
	h.since = clock()
	if from == parked && h.src != nil {
		_ = h.src.SetReadDeadline(past) // fails when it is closed, of which the goroutine hears
		return
	}
	select {
	case h.bell <- struct{}{}:
	default:
	}
}

// serve gives h turns.
func (q *perClient) serve(h *Handle, raw syscall.RawConn) {
	readable := func(fd uintptr) bool { return hasInput(fd) }
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
		case v == Park && raw != nil:
			if errors.Is(raw.Read(readable), os.ErrDeadlineExceeded) {
				_ = h.src.SetReadDeadline(time.Time{}) // as above
			}
		default:
			select {
			case <-h.bell:
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
