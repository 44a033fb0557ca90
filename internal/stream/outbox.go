package stream

import (
	"sync"
	"time"

	"github.com/grima-chat/grima/internal/hub"
)

// outbox is what a connection is yet to write. Its contract:
//
//   - no method but the wait ones blocks. What can be written without waiting is
//     written by who brings it, if nobody is writing: a lone line costs one
//     write and no change of goroutine. What does not fit into the kernel's
//     buffer gets a goroutine of its own, for as long as there is a backlog;
//   - whoever writes joins what has gathered into one write;
//   - while it is corked nothing is written: a turn's answers leave together;
//   - answers leave in the order of their requests, whichever is ready first;
//   - events for which there is no room are refused, and once their backlog has
//     fallen to half, the owner hears of it;
//   - a write that fails closes it for good: the owner hears of it, once;
//   - a write that makes no progress in time closes it, too. For as long again
//     the client may read the rest of what was being written and the owner's
//     last word; then it has failed.
type outbox struct {
	// Down to broken it is what a delivery touches.
	to     carrier
	form   *form
	bounds *bounds

	mu sync.Mutex
	*waiting
	queued  [2]int // bytes in queue and held, and being written: of answers, of events
	lastPut int64  // as now counts; of a run alone, when that was made
	owed    need   // what the owner is woken for
	holding bool   // events wait behind the answers outstanding
	corked  bool
	asked   bool // while it was corked somebody wanted it flushed, or left that to the turn
	writing bool
	later   bool // somebody was told to flush
	armed   bool // the connection has a deadline for writing
	full    bool // an event was refused; the owner will hear of room
	hurried bool // nobody is to wait for room any more
	closed  bool // takes no more answers and events
	broken  bool // cannot write any more

	first uint64 // the number of answers[0]
	owner owner
}

// waiting is what an outbox has while something waits in it. What all others
// share is empty, and stays it: who puts something in calls ownLocked before.
type waiting struct {
	changed  chan struct{} // closed when answers, queue, writing or closed change; nil: nobody waits
	answers  []answer      // outstanding, in the order of their requests
	held     []chunk
	queue    []chunk
	pong     []byte    // goes out ahead of queue, as it is; a newer one replaces it
	deadline time.Time // of all writing to come; zero: none
}

var (
	nothingWaits waiting
	waitings     = sync.Pool{New: func() any { return new(waiting) }}
)

// ownLocked gives the outbox a waiting of its own.
func (o *outbox) ownLocked() {
	if o.waiting == &nothingWaits {
		o.waiting = waitings.Get().(*waiting)
	}
}

// disownLocked gives it back, if nothing waits in it.
func (o *outbox) disownLocked() {
	w := o.waiting
	if w == &nothingWaits || len(w.answers)+len(w.held)+len(w.queue)+len(w.pong) > 0 || w.changed != nil || !w.deadline.IsZero() {
		return
	}
	o.waiting = &nothingWaits
	*w = waiting{}
	waitings.Put(w)
}

// bounds are those of many outboxes of a server.
type bounds struct {
	tally
	room     int           // bytes of events, and as many of answers
	inFlight int           // answers outstanding
	stall    time.Duration // longest time without progress, see there
}

// owner is whose an outbox is. Its methods do not block.
type owner interface {
	wake()             // what it waits for has come; called under outbox.mu
	roomAgain()        // for events
	stalled()          // nothing is read: it is closed, but for finish; once
	writeFailed(error) // once
}

// need is what an owner waits for.
type need int8

const (
	nothing     need = iota
	forRoom          // to read another request
	forAnswered      // until no answer is outstanding
)

// form is how lines go over a connection: as runs of the hub's, and one by one.
type form struct {
	wire *hub.Wire
	wrap func(dst, line []byte) []byte // appends at most maxWrap bytes more; nil: lines go as they are
}

// run is a run of events, encoded for all who get it. It is the hub's.
type run interface {
	Bytes(w *hub.Wire) []byte
	Size() int
	Made() time.Time
}

type answer struct {
	bytes []byte
	ready bool
	bare  bool
}

// chunk is a line, or a run of events.
type chunk struct {
	bytes []byte
	run   run // instead of bytes
	kind  kind
	bare  bool // wrapped already, or not to be
}

func (c *chunk) size() int {
	if c.run != nil {
		return c.run.Size()
	}
	return len(c.bytes)
}

type kind int8

const (
	ofAnswer kind = iota
	ofEvent
)

const (
	// joined is how much is gathered for one write.
	joined = 64 << 10
	// maxWrap is how much wrapping adds to a line at most.
	maxWrap = 32
	// maxWrites is how often who brings something writes what others bring
	// meanwhile, before a goroutine goes on with it.
	maxWrites = 8
)

var joinBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, joined)
	return &b
}}

// begin takes the next place among the answers.
func (o *outbox) begin() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ownLocked()
	o.answers = append(o.answers, answer{})
	return o.first + uint64(len(o.answers)) - 1
}

// answer fills the place n with a line. It does not write: if it says so,
// somebody has to call flush.
func (o *outbox) answer(n uint64, b []byte) (flush bool) {
	return o.fill(n, answer{bytes: b, ready: true})
}

// answerBare is answer with bytes that are not to be wrapped.
func (o *outbox) answerBare(n uint64, b []byte) (flush bool) {
	return o.fill(n, answer{bytes: b, ready: true, bare: true})
}

func (o *outbox) fill(n uint64, a answer) (flush bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers[n-o.first] = a
	for len(o.answers) > 0 && o.answers[0].ready {
		if !o.closed {
			o.putLocked(chunk{bytes: o.answers[0].bytes, kind: ofAnswer, bare: o.answers[0].bare})
		}
		o.answers[0] = answer{}
		o.answers = o.answers[1:]
		o.first++
	}
	if len(o.answers) == 0 {
		o.answers = nil
		if o.holding {
			o.holding = false
			for _, c := range o.held {
				o.queued[ofEvent] -= c.size()
				o.putLocked(c)
			}
			o.held = nil
		}
	}
	o.changedLocked()
	if len(o.queue) == 0 || o.writing || o.corked || o.later {
		o.disownLocked()
		return false
	}
	o.later = true
	return true
}

// changedLocked tells who waits for a change.
func (o *outbox) changedLocked() {
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
	if o.owed == forRoom && o.mayReadLocked() || o.owed == forAnswered && o.answeredLocked() {
		o.owed = nothing
		o.owner.wake()
	}
}

func (o *outbox) mayReadLocked() bool {
	return o.closed || o.hurried || len(o.answers) < o.bounds.inFlight && o.queued[ofAnswer] < o.bounds.room && o.to.rest() < o.bounds.room
}

func (o *outbox) answeredLocked() bool { return o.closed || len(o.answers) == 0 }

// mayRead reports whether another request may be read. If not, the owner is
// woken when it may.
func (o *outbox) mayRead() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mayReadLocked() {
		return true
	}
	o.owed = forRoom
	if !o.writing && o.to.rest() > 0 {
		o.writing = true
		go o.writeOn(nil, batch{})
	}
	return false
}

// answered reports whether no answer is outstanding, or none can be given. If
// not, the owner is woken when it is so.
func (o *outbox) answered() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.answeredLocked() {
		return true
	}
	o.owed = forAnswered
	return false
}

// hold keeps events back until no answer is outstanding.
func (o *outbox) hold() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holding = true
}

// event takes over a run of events, or refuses it: there is no room, or the
// outbox is closed.
func (o *outbox) event(r run) bool {
	size := r.Size()
	o.mu.Lock()
	backlog := o.queued[ofEvent]
	switch {
	case o.closed:
		o.mu.Unlock()
		return false
	case backlog > 0 && backlog+size > o.bounds.room:
		o.full = true
		o.mu.Unlock()
		return false
	case o.holding:
		o.queued[ofEvent] += size
		o.ownLocked()
		o.held = append(o.held, chunk{run: r, kind: ofEvent})
		o.mu.Unlock()
		return true
	}
	o.eventLocked(r, size)
	return true
}

// notice is event for what may be dropped rather than queued behind a backlog.
func (o *outbox) notice(r run) {
	size := r.Size()
	o.mu.Lock()
	switch {
	case o.closed, o.queued[ofEvent] > o.bounds.room/4:
		o.mu.Unlock()
	case o.holding:
		o.queued[ofEvent] += size
		o.ownLocked()
		o.held = append(o.held, chunk{run: r, kind: ofEvent})
		o.mu.Unlock()
	default:
		o.eventLocked(r, size)
	}
}

// eventLocked sends r, at once if nothing is in its way, and unlocks.
func (o *outbox) eventLocked(r run, size int) {
	if o.writing || o.corked || o.to.sock == nil || len(o.queue) > 0 || len(o.pong) > 0 {
		o.putLocked(chunk{run: r, kind: ofEvent})
		o.mu.Unlock()
		o.flush()
		return
	}
	o.writing = true
	o.queued[ofEvent] += size
	o.lastPut = max(o.lastPut, at(r.Made())) // asking the clock for each is a hundredth of a delivery
	o.mu.Unlock()
	o.writeNow(r.Bytes(o.form.wire), batch{sizes: [2]int{ofEvent: size}, frames: 1})
}

// put queues a line that neither answers nor delivers.
func (o *outbox) put(b []byte) { o.putChunk(chunk{bytes: b}) }

// putBare is put with bytes that are not to be wrapped.
func (o *outbox) putBare(b []byte) { o.putChunk(chunk{bytes: b, bare: true}) }

func (o *outbox) putChunk(c chunk) {
	o.mu.Lock()
	if !o.closed {
		o.putLocked(c)
	}
	o.mu.Unlock()
	o.flush()
}

// putPong queues the answer to a ping of the transport's. It takes the place of
// one that has not been written yet, so that pings nobody reads the answers of
// cost nothing.
func (o *outbox) putPong(b []byte) {
	o.mu.Lock()
	if !o.closed {
		o.ownLocked()
		o.pong = b
	}
	o.mu.Unlock()
	o.flush()
}

// cork lets lines gather, until uncork writes them.
func (o *outbox) cork() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.corked, o.asked = true, false
}

func (o *outbox) uncork() {
	o.mu.Lock()
	o.corked, o.asked = false, false
	o.mu.Unlock()
	o.flush()
}

// loosen is uncork that leaves the writing to a flush to come, unless there was
// one already, as after an event.
func (o *outbox) loosen() {
	o.mu.Lock()
	o.corked = false
	asked := o.asked
	o.asked = false
	o.mu.Unlock()
	if asked {
		o.flush()
	}
}

// finish takes no more lines, save the last bytes, as they are (nil: none).
// What is there has to be written within that time, whatever patience there was;
// zero: as long as there is progress, or what part gave.
func (o *outbox) finish(last []byte, within time.Duration) {
	o.mu.Lock()
	o.closed = true
	if at := time.Now().Add(within); within > 0 && (o.deadline.IsZero() || at.Before(o.deadline)) {
		o.ownLocked()
		o.deadline = at
		if o.writing && o.armed && o.armLocked() != nil {
			o.broken = true // the connection is closed already
		}
	}
	if last != nil && !o.broken {
		o.putLocked(chunk{bytes: last, bare: true})
	}
	o.changedLocked()
	o.mu.Unlock()
	o.flush()
}

// hurry ends the waiting for room: what is under way is still answered.
func (o *outbox) hurry() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hurried = true
	o.changedLocked()
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
	for i := range o.queue {
		o.queued[o.queue[i].kind] -= o.queue[i].size()
	}
	for i := range o.held {
		o.queued[o.held[i].kind] -= o.held[i].size()
	}
	if o.waiting != &nothingWaits {
		o.queue, o.held, o.pong = nil, nil, nil
	}
	o.changedLocked()
}

func (o *outbox) putLocked(c chunk) {
	o.ownLocked()
	o.queue = append(o.queue, c)
	o.queued[c.kind] += c.size()
	o.lastPut = now()
}

// waitLocked waits for a change.
func (o *outbox) waitLocked() {
	o.ownLocked()
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	changed := o.changed
	o.mu.Unlock()
	<-changed
	o.mu.Lock()
}

// waitRoom waits until another request may be read. It returns at once when
// the connection is ending.
func (o *outbox) waitRoom() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.mayReadLocked() {
		o.waitLocked()
	}
}

// waitAnswered waits until no answer is outstanding or none can be given.
func (o *outbox) waitAnswered() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.answeredLocked() {
		o.waitLocked()
	}
}

// waitWritten waits until all is written or nothing can be, and nobody writes.
func (o *outbox) waitWritten() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.writing || !o.broken && (len(o.queue) > 0 || len(o.pong) > 0) {
		o.waitLocked()
	}
}

// backlog is how many bytes wait to be written, or are being written.
func (o *outbox) backlog() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queued[ofAnswer] + o.queued[ofEvent]
}

// idleSince is when the last line was queued.
func (o *outbox) idleSince() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lastPut
}
