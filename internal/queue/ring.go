package queue

import (
	"errors"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// errClosed is given to who comes after Close.
var errClosed = errors.New("the queue is closed")

// ring is the designs with queues: each client belongs to one of the lanes.
type ring struct {
	lanes []*lane
	next  atomic.Uint32
}

func newRing(lanes, workers int) *ring {
	r := &ring{}
	for range lanes {
		r.lanes = append(r.lanes, &lane{max: workers})
	}
	return r
}

func (r *ring) Add(h *Handle, c Client, src Source) error {
	return r.lanes[int(r.next.Add(1))%len(r.lanes)].add(h, c, src)
}

func (r *ring) Polls() bool { return true }

func (r *ring) Stats() Stats {
	var s Stats
	for _, l := range r.lanes {
		l.mu.Lock()
		s.Clients += l.stats.Clients
		s.Depth += l.ready.len()
		s.Workers += l.workers
		s.Wait.merge(&l.stats.Wait)
		s.Turn.merge(&l.stats.Turn)
		l.mu.Unlock()
	}
	return s
}

func (r *ring) Close() {
	for _, l := range r.lanes {
		l.close()
	}
}

// lane is one queue of clients that are ready, and who gives them turns: as
// many goroutines as there is work for, up to max, and none when there is none.
type lane struct {
	max int

	mu      sync.Mutex
	ready   fifo
	workers int
	stats   Stats // Clients, Wait and Turn
	poll    *poller
	closed  bool
	working sync.WaitGroup
}

func (l *lane) add(h *Handle, c Client, src Source) error {
	h.init(c, l)
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errClosed
	}
	if src != nil && l.poll == nil {
		p, err := newPoller(l.come)
		if err != nil {
			l.mu.Unlock()
			return err
		}
		l.poll = p
	}
	poll := l.poll
	l.mu.Unlock()
	if src != nil {
		if err := poll.add(h, src); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.stats.Clients++
	l.mu.Unlock()
	l.push(h, queued)
	return nil
}

// push puts h at the end.
func (l *lane) push(h *Handle, _ uint32) {
	h.since = clock()
	l.mu.Lock()
	l.ready.push(h)
	l.staffLocked()
	l.mu.Unlock()
}

// come takes those who have input. Who comes alone has its turn here.
func (l *lane) come(hs []*Handle) {
	if l.pushAll(hs) {
		l.work(1)
	}
}

// pushAll puts all of them at the end. If that is one alone, and nobody is at
// work, the caller is to give it its turn, by work(1): for that nobody need be
// woken.
func (l *lane) pushAll(hs []*Handle) (yours bool) {
	if len(hs) == 0 {
		return false
	}
	now := clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range hs {
		h.since = now
		l.ready.push(h)
	}
	if len(hs) == 1 && l.workers == 0 && l.ready.len() == 1 && !l.closed {
		l.workers++
		return true
	}
	l.staffLocked()
	return false
}

// staffLocked sees that there are workers for who is ready.
func (l *lane) staffLocked() {
	if l.closed {
		return
	}
	for n := min(l.max-l.workers, l.ready.len()); n > 0; n-- {
		l.workers++
		l.working.Go(func() { l.work(math.MaxInt) })
	}
}

// breath is how long a worker goes on before it lets other goroutines run,
// which would else wait until Go takes the processor away: 10 ms.
const breath = int64(200 * time.Microsecond)

// work gives turns while somebody is ready, up to so many; somebody else goes on
// then.
func (l *lane) work(most int) {
	began := clock()
	l.mu.Lock()
	for n := 0; n < most && l.ready.len() > 0 && !l.closed; n++ {
		h := l.ready.pop()
		now := clock()
		l.stats.Wait.add(now - h.since)
		l.mu.Unlock()

		h.begin()
		v := h.client.Turn()
		again := h.end(v)
		then := clock()
		if then-began > breath {
			runtime.Gosched()
			began = then
		}

		l.mu.Lock()
		l.stats.Turn.add(then - now)
		if again {
			h.since = then
			l.ready.push(h)
		}
		if v == Done {
			l.stats.Clients--
		}
	}
	l.workers--
	l.staffLocked()
	l.mu.Unlock()
}

func (l *lane) leave(h *Handle) {
	if h.fd >= 0 {
		l.poll.remove(h)
		h.fd = -1
	}
}

func (l *lane) await(h *Handle) error {
	if h.fd < 0 {
		return errors.ErrUnsupported
	}
	return l.poll.await(h)
}

func (l *lane) close() {
	l.mu.Lock()
	l.closed = true
	poll := l.poll
	l.mu.Unlock()
	if poll != nil {
		poll.close()
	}
	l.working.Wait()
}

// fifo is a queue in a ring that grows.
type fifo struct {
	items   []*Handle
	head, n int
}

func (f *fifo) len() int { return f.n }

func (f *fifo) push(h *Handle) {
	if f.n == len(f.items) {
		grown := make([]*Handle, max(16, 2*f.n))
		for i := range f.n {
			grown[i] = f.items[(f.head+i)%len(f.items)]
		}
		f.items, f.head = grown, 0
	}
	f.items[(f.head+f.n)%len(f.items)] = h
	f.n++
}

func (f *fifo) pop() *Handle {
	h := f.items[f.head]
	f.items[f.head] = nil
	f.head = (f.head + 1) % len(f.items)
	f.n--
	if f.n == 0 && len(f.items) > 1024 {
		f.items = nil // after a rush
	}
	return h
}
