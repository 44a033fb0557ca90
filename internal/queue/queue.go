// Package queue says which worker serves which client, and when. A client is a
// state machine that takes a bounded turn whenever there is something for it to
// do. Three designs give turns:
//
//   - per-client: a goroutine for each client, which waits without a buffer until
//     there is input; Go's scheduler is the queue;
//   - shared: one queue of clients that are ready, and goroutines that take the
//     first, give it a turn, and put it at the end if it has more to do;
//   - sharded: one such queue for each processor.
//
// The kernel says who is ready. In the last two a client that is idle has no
// goroutine, and who comes alone has its turn from who asked the kernel. Where it
// cannot be asked so (all but Linux) all are per-client, and Go says it.
package queue

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Design is a way to give turns.
type Design string

// The designs.
const (
	PerClient Design = "per-client"
	Shared    Design = "shared"
	Sharded   Design = "sharded"
)

// Designs lists them.
func Designs() []Design { return []Design{PerClient, Shared, Sharded} }

// Verdict is what a client says at the end of a turn.
type Verdict int

const (
	// Park: it has read all input there was, until a read would have had to
	// wait. The next turn comes with input or a Wake.
	Park Verdict = iota
	// Again: there is more to do, after everybody else had a turn.
	Again
	// Wait: whatever input there is, only a Wake helps.
	Wait
	// Done: no more turns.
	Done
)

// Client takes turns, one at a time. A turn does not wait for anything. It may
// come without a reason.
type Client interface{ Turn() Verdict }

// Source is where a client's input comes from: a TCP or a Unix connection.
type Source interface {
	syscall.Conn
	SetReadDeadline(t time.Time) error
}

// Waiter is a Client that also waits for its Source outside of turns, see
// [Handle.Await].
type Waiter interface {
	// Stirred says that something has happened to the Source: there may be
	// input, or room for output, or the end. It does not block.
	Stirred()
}

// Queue gives turns to clients. Its methods may be called from any goroutine.
type Queue interface {
	// Add gives c turns, the first at once, until its verdict is Done. h is c's
	// and zero. src says when there is input; while c has turns nobody else sets
	// its read deadline or waits for it. With src nil, [Handle.Ready] says it.
	// After an error c gets no turns; else its last words are [Handle.Leave],
	// before src is closed.
	Add(h *Handle, c Client, src Source) error
	// Polls reports whether the kernel is asked who has input. Then a Source need
	// be no more than a descriptor: only Control of its SyscallConn is called.
	Polls() bool
	// Stats is a snapshot.
	Stats() Stats
	// Close ends the giving of turns, and waits for those under way. Clients
	// that are not done get no more.
	Close()
}

// New makes the Queue of a design. It starts nothing before its first client.
func New(d Design) (Queue, error) {
	if !polls && (d == Shared || d == Sharded) {
		d = PerClient
	}
	switch d {
	case PerClient:
		return newPerClient(polls), nil
	case Shared:
		return newRing(1, 2*runtime.GOMAXPROCS(0)), nil
	case Sharded:
		return newRing(runtime.GOMAXPROCS(0), 2), nil
	}
	return nil, fmt.Errorf("no such way to give turns: %q; there are %v", d, Designs())
}

// Handle is a client's place in a Queue.
type Handle struct {
	state  atomic.Uint32
	fd     int32 // while it is polled; else -1
	since  int64 // when it was queued, by clock
	client Client
	home   home
}

// home is where a client whose turn it is goes.
type home interface {
	// push is called once for each change of h from state from to queued.
	push(h *Handle, from uint32)
	// leave ends the watching of h's source.
	leave(h *Handle)
	// await has the source watched for room for output, too.
	await(h *Handle) error
}

// The states of a client, and what is remembered with them.
const (
	fresh   uint32 = iota // not added yet
	parked                // until input or a Wake
	waiting               // until a Wake
	queued                // its turn comes
	running               // it has its turn
	done

	stateMask uint32 = 7

	woken  uint32 = 1 << 3 // while running: a Wake came
	input  uint32 = 1 << 4 // while running or waiting: input came
	hungUp uint32 = 1 << 5 // the other end is closed; stays
	awaits uint32 = 1 << 6 // somebody waits for the source outside of turns

	stays = hungUp | awaits
)

// Wake gives the client a turn, after the one it may be having.
func (h *Handle) Wake() {
	if from, push := h.signal(woken); push {
		h.home.push(h, from)
	}
}

// Ready says that there is input.
func (h *Handle) Ready() {
	if from, push := h.signal(input); push {
		h.home.push(h, from)
	}
}

// HungUp reports whether the other end is known to send nothing more than what
// is there. If not, a read that fills only a part of its buffer has taken all
// there is, and what comes later leads to another turn.
func (h *Handle) HungUp() bool { return h.state.Load()&hungUp != 0 }

// Polled reports whether the kernel says when there is input, each time anew.
func (h *Handle) Polled() bool { return h.fd >= 0 }

// Leave ends the watching of the client's Source, which is to be closed after
// it and not before. It has no turns any more, or never had one.
func (h *Handle) Leave() {
	if h.home != nil {
		h.home.leave(h)
	}
}

// Await has the client, which is a Waiter and Polled, told of what happens to its
// Source until Unwait. What happened before is not told: look after Await
// returned, and then wait.
func (h *Handle) Await() error {
	h.state.Or(awaits)
	return h.home.await(h)
}

// Unwait ends what Await began.
func (h *Handle) Unwait() { h.state.And(^awaits) }

// signal notes a reason for a turn, woken or input, possibly with hungUp, and
// says whether the client is to be pushed, and from which state.
func (h *Handle) signal(why uint32) (from uint32, push bool) {
	for {
		s := h.state.Load()
		next := s | why&hungUp
		switch s & stateMask {
		case fresh, done:
			return 0, false
		case queued: // the turn that comes will see it
		case running:
			next |= why
		case waiting:
			next |= why
			if why&woken != 0 {
				next, push = queued|next&stays, true
			}
		case parked:
			next, push = queued|next&stays, true
		}
		if next == s || h.state.CompareAndSwap(s, next) {
			return s & stateMask, push
		}
		push = false
	}
}

// begin begins a turn. Only who took h out of the queue may.
func (h *Handle) begin() {
	for {
		s := h.state.Load()
		if h.state.CompareAndSwap(s, running|s&stays) {
			return
		}
	}
}

// end ends a turn, and reports whether the next is due at once.
func (h *Handle) end(v Verdict) (again bool) {
	for {
		s := h.state.Load()
		var next uint32
		again = false
		switch {
		case v == Done:
			next = done
		case v == Again, s&woken != 0, v == Park && s&input != 0:
			next, again = queued, true
		case v == Park:
			next = parked
		default:
			next = waiting | s&input
		}
		if h.state.CompareAndSwap(s, next|s&stays) {
			return again
		}
	}
}

// init makes h that of a client whose first turn comes.
func (h *Handle) init(c Client, q home) {
	h.client, h.home, h.fd = c, q, -1
	h.since = clock()
	h.state.Store(queued)
}

var epoch = time.Now()

// clock is the time for measuring, in nanoseconds.
func clock() int64 { return int64(time.Since(epoch)) }

// Stats says how a queue fares.
type Stats struct {
	Clients int       // that get turns
	Depth   int       // of them, those whose turn comes
	Workers int       // goroutines that give turns
	Wait    Histogram // from being ready to the turn
	Turn    Histogram // length of turns
}

// Buckets is how many buckets a Histogram has.
const Buckets = 24

// Histogram counts durations. Bucket i has those below 2^i microseconds that
// are in none before it; the last has the rest.
type Histogram struct {
	Count [Buckets]uint64
	Sum   time.Duration
}

func (g *Histogram) add(d int64) {
	i := 0
	for us := d / 1000; us > 0 && i < Buckets-1; us >>= 1 {
		i++
	}
	g.Count[i]++
	g.Sum += time.Duration(d)
}

func (g *Histogram) merge(o *Histogram) {
	for i, n := range o.Count {
		g.Count[i] += n
	}
	g.Sum += o.Sum
}

// meter keeps Stats; for per-client, whose turns nobody sees in one place.
type meter struct {
	mu sync.Mutex
	Stats
}
