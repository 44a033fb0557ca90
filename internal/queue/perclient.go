package queue

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// perClient is the design with a goroutine for each client. Where the kernel can
// be asked who has input, one more asks it and wakes them; elsewhere each waits
// for its own.
type perClient struct {
	meter

	asks    bool    // the kernel
	poll    *poller // guarded by mu, set once; nil: nobody came yet
	closing chan struct{}
	over    sync.WaitGroup
}

func newPerClient(asks bool) *perClient {
	return &perClient{asks: asks, closing: make(chan struct{})}
}

// seat is where a client's goroutine waits.
type seat struct {
	queue *perClient
	src   Source          // that it waits for itself; nil: none
	raw   syscall.RawConn // src's
	bell  chan struct{}
}

func (q *perClient) Add(h *Handle, c Client, src Source) error {
	s := &seat{queue: q, bell: make(chan struct{}, 1)}
	h.init(c, s)
	if err := s.watch(h, src); err != nil {
		return err
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

// watch sees that h hears of src's input.
func (s *seat) watch(h *Handle, src Source) (err error) {
	switch {
	case src == nil:
		return nil
	case !s.queue.asks:
		s.src = src
		s.raw, err = src.SyscallConn()
		return err
	}
	poll, err := s.queue.poller()
	if err != nil {
		return err
	}
	return poll.add(h, src)
}

func (q *perClient) poller() (_ *poller, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-q.closing:
		return nil, errClosed
	default:
	}
	if q.poll == nil {
		q.poll, err = newPoller(func(hs []*Handle) {
			for _, h := range hs {
				h.home.push(h, parked)
			}
		})
	}
	return q.poll, err
}

func (q *perClient) Polls() bool { return q.asks }

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

func (s *seat) leave(h *Handle) {
	if h.fd >= 0 {
		s.queue.poll.remove(h)
		h.fd = -1
	}
}

func (s *seat) await(h *Handle) error {
	if h.fd < 0 {
		return errors.ErrUnsupported
	}
	return s.queue.poll.await(h)
}

// deepen makes the stack as large as a turn needs it. Here that is cheap: later,
// there would be many calls to be looked through for what is to be adjusted.
//
//go:noinline
func deepen() byte {
	var room [turnStack]byte
	return room[uint(len(os.Args))%turnStack] // which the compiler does not know
}

// turnStack is what a turn uses, roughly.
const turnStack = 5 << 10

// serve gives h turns.
func (s *seat) serve(h *Handle) {
	deepen()
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
		case v == Park && (s.raw != nil || h.fd >= 0):
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
	if s.raw == nil {
		<-s.bell
	} else if errors.Is(s.raw.Read(hasInput), os.ErrDeadlineExceeded) {
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
	poll := q.poll
	q.mu.Unlock()
	if poll != nil {
		poll.close()
	}
	q.over.Wait()
}
