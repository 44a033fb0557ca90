package stream

import (
	"net"
	"sync"
	"time"
)

// outbox is what a connection is yet to write. Its contract:
//
//   - no method but the wait ones blocks, and none writes: a goroutine of the
//     outbox's own does, for as long as there is something to write, and it
//     joins what has gathered into one write;
//   - answers leave in the order of their requests, whichever is ready first;
//   - events that come while there is no room for them are refused; when the
//     backlog has then fallen to half of the room, onReady is called, without
//     the outbox's lock;
//   - a write that fails, or makes no progress in time, closes it for good:
//     onFail is called, once.
type outbox struct {
	nc net.Conn
	// wrap appends a line as it goes over the wire, of at most maxWrap bytes
	// more. Nil: lines go as they are.
	wrap     func(dst, line []byte) []byte
	room     int           // bytes of events, and as many of answers
	inFlight int           // answers outstanding
	stall    time.Duration // longest time without progress, see there
	onReady  func()
	onFail   func(error)

	mu       sync.Mutex
	changed  sync.Cond // answers, queue, writing or closed changed
	answers  []answer  // outstanding, in the order of their requests
	first    uint64    // the number of answers[0]
	holding  bool      // events wait behind the answers outstanding
	held     []line
	queue    []line
	pong     []byte // goes out ahead of queue, as it is; a newer one replaces it
	queued   [2]int // bytes in queue and held, and being written: of answers, of events
	lastPut  time.Time
	deadline time.Time // of all writing to come; zero: none
	writing  bool
	owed     bool // events were refused, onReady is to be called
	hurried  bool // nobody is to wait for room any more
	closed   bool // takes no more answers and events
	broken   bool // cannot write any more
}

type answer struct {
	bytes []byte
	ready bool
	bare  bool
}

type line struct {
	bytes []byte
	kind  kind
	bare  bool // wrapped already, or not to be
}

type kind int

const (
	ofAnswer kind = iota
	ofEvent
)

const (
	// joined is how much is gathered for one write.
	joined = 64 << 10
	// maxWrap is how much wrapping adds to a line at most.
	maxWrap = 32
)

var joinBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, joined)
	return &b
}}

func (o *outbox) init() { o.changed.L = &o.mu }

// begin takes the next place among the answers.
func (o *outbox) begin() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers = append(o.answers, answer{})
	return o.first + uint64(len(o.answers)) - 1
}

// answer fills the place n with a line.
func (o *outbox) answer(n uint64, b []byte) { o.fill(n, answer{bytes: b, ready: true}) }

// answerBare is answer with bytes that are not to be wrapped.
func (o *outbox) answerBare(n uint64, b []byte) { o.fill(n, answer{bytes: b, ready: true, bare: true}) }

func (o *outbox) fill(n uint64, a answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers[n-o.first] = a
	for len(o.answers) > 0 && o.answers[0].ready {
		if !o.closed {
			o.putLocked(line{o.answers[0].bytes, ofAnswer, o.answers[0].bare})
		}
		o.answers[0] = answer{}
		o.answers = o.answers[1:]
		o.first++
	}
	if len(o.answers) == 0 {
		o.answers = nil
		if o.holding {
			o.holding = false
			for _, l := range o.held {
				o.queued[ofEvent] -= len(l.bytes)
				o.putLocked(l)
			}
			o.held = nil
		}
	}
	o.changed.Broadcast()
}

// hold keeps events back until no answer is outstanding.
func (o *outbox) hold() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holding = true
}

// events queues events, as they go over the wire: all of them or, reporting
// false, none.
func (o *outbox) events(b []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	backlog := o.queued[ofEvent]
	if o.closed {
		return false
	}
	if backlog > 0 && backlog+len(b) > o.room {
		o.owed = true
		return false
	}
	o.putEventLocked(b)
	return true
}

// notice queues an ephemeral event, rather not behind a backlog.
func (o *outbox) notice(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed && o.queued[ofEvent] <= o.room/4 {
		o.putEventLocked(b)
	}
}

func (o *outbox) putEventLocked(b []byte) {
	l := line{b, ofEvent, true}
	if o.holding {
		o.queued[ofEvent] += len(b)
		o.held = append(o.held, l)
		return
	}
	o.putLocked(l)
}

// put queues a line that neither answers nor delivers.
func (o *outbox) put(b []byte) { o.putLine(line{b, ofAnswer, false}) }

// putBare is put with bytes that are not to be wrapped.
func (o *outbox) putBare(b []byte) { o.putLine(line{b, ofAnswer, true}) }

func (o *outbox) putLine(l line) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.putLocked(l)
	}
}

// putPong queues the answer to a ping of the transport's. It takes the place of
// one that has not been written yet, so that pings nobody reads the answers of
// cost nothing.
func (o *outbox) putPong(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.pong = b
	o.startLocked()
}

// finish takes no more lines, save the last bytes, as they are (nil: none).
// What is there has to be written within that time; zero: as long as there is
// progress.
func (o *outbox) finish(last []byte, within time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if within > 0 && o.deadline.IsZero() {
		o.deadline = time.Now().Add(within)
		if o.writing && o.armLocked() != nil {
			o.broken = true // the connection is closed already
		}
	}
	if last != nil && !o.broken {
		o.putLocked(line{last, ofAnswer, true})
	}
}

// hurry ends the waiting for room: what is under way is still answered.
func (o *outbox) hurry() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hurried = true
	o.changed.Broadcast()
}

// abort gives up writing; the connection must be closed as well.
func (o *outbox) abort() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = true
	o.closeLocked()
}

func (o *outbox) closeLocked() {
	o.closed = true
	for _, l := range o.queue {
		o.queued[l.kind] -= len(l.bytes)
	}
	for _, l := range o.held {
		o.queued[l.kind] -= len(l.bytes)
	}
	o.queue, o.held, o.pong = nil, nil, nil
	o.changed.Broadcast()
}

func (o *outbox) putLocked(l line) {
	o.queue = append(o.queue, l)
	o.queued[l.kind] += len(l.bytes)
	o.lastPut = time.Now()
	o.startLocked()
}

func (o *outbox) startLocked() {
	if !o.writing {
		o.writing = true
		go o.write()
	}
}

// waitRoom waits until another request may be read. It returns at once when
// the connection is ending.
func (o *outbox) waitRoom() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && !o.hurried && (len(o.answers) >= o.inFlight || o.queued[ofAnswer] >= o.room) {
		o.changed.Wait()
	}
}

// waitAnswered waits until no answer is outstanding or none can be given.
func (o *outbox) waitAnswered() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && len(o.answers) > 0 {
		o.changed.Wait()
	}
}

// waitWritten waits until all is written or nothing can be, and the writing
// goroutine is over.
func (o *outbox) waitWritten() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.writing {
		o.changed.Wait()
	}
}

// idleSince is when the last line was queued.
func (o *outbox) idleSince() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lastPut
}

// write writes until there is nothing left.
func (o *outbox) write() {
	buf := joinBuffers.Get().(*[]byte)
	defer joinBuffers.Put(buf)
	for {
		o.mu.Lock()
		b, sizes := o.takeLocked((*buf)[:0])
		if len(b) == 0 {
			o.queue = nil
			o.writing = false
			o.changed.Broadcast()
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()

		err := o.writeAll(b)

		o.mu.Lock()
		o.queued[ofAnswer] -= sizes[ofAnswer]
		o.queued[ofEvent] -= sizes[ofEvent]
		failed := err != nil && !o.broken
		if failed {
			o.broken = true
			o.closeLocked()
		}
		ready := o.owed && !o.closed && o.queued[ofEvent] <= o.room/2
		if ready {
			o.owed = false
		}
		o.changed.Broadcast()
		o.mu.Unlock()
		if ready {
			o.onReady()
		}
		if failed {
			o.onFail(err)
		}
	}
}

// takeLocked takes lines off the queue: as many as fit into buf, or one that
// is larger than buf by itself.
func (o *outbox) takeLocked(buf []byte) (b []byte, sizes [2]int) {
	buf = append(buf, o.pong...)
	b, o.pong = buf, nil
	n := 0
	for _, l := range o.queue {
		wrap, size := o.wrap != nil && !l.bare, len(l.bytes)
		if wrap {
			size += maxWrap
		}
		if len(b) == 0 && size > cap(buf) {
			b, n = l.bytes, 1
			if wrap {
				b = o.wrap(nil, l.bytes)
			}
			sizes[l.kind] += len(l.bytes)
			break
		}
		if len(buf)+size > cap(buf) {
			break
		}
		if wrap {
			buf = o.wrap(buf, l.bytes)
		} else {
			buf = append(buf, l.bytes...)
		}
		b = buf
		sizes[l.kind] += len(l.bytes)
		n++
	}
	clear(o.queue[:n])
	o.queue = o.queue[n:]
	return b, sizes
}

// progress is how much, or all the rest, has to be written within the stall
// time. Less is none: a byte now and then would keep a large answer in memory
// for days.
const progress = 16 << 10

func (o *outbox) writeAll(b []byte) error {
	for len(b) > 0 {
		o.mu.Lock()
		err := o.armLocked()
		o.mu.Unlock()
		if err != nil {
			return err
		}
		n, err := o.nc.Write(b[:min(len(b), progress)])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (o *outbox) armLocked() error {
	t := time.Now().Add(o.stall)
	if !o.deadline.IsZero() && o.deadline.Before(t) {
		t = o.deadline
	}
	return o.nc.SetWriteDeadline(t)
}
