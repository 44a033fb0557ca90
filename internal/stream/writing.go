package stream

import (
	"errors"
	"os"
	"sync"
	"time"
)

// Here is how an outbox gets its bytes out. Whoever sets writing is the only
// one who writes, until they unset it.

// progress is how much, or all the rest, has to be written within the stall
// time. Less is none: a byte now and then would keep a large answer in memory
// for days.
const progress = 16 << 10

// batch is what is written at once.
type batch struct {
	sizes  [2]int // bytes, as queued counts them
	frames int
	buf    *[]byte // in which it was joined, to be given back; nil: it was not
}

func (b *batch) add(c *chunk) {
	b.sizes[c.kind] += c.size()
	b.frames++
}

// flush writes what there is, unless somebody else does or will.
func (o *outbox) flush() {
	o.mu.Lock()
	o.later = false
	o.asked = o.corked
	if o.writing || o.corked || len(o.queue) == 0 && len(o.pong) == 0 {
		o.mu.Unlock()
		return
	}
	o.writing = true
	o.mu.Unlock()
	o.write()
}

// write writes what there is, as long as nobody has to be waited for. writing is
// set.
func (o *outbox) write() {
	o.mu.Lock()
	b, of := o.takeLocked()
	if len(b) == 0 {
		o.endLocked()
	}
	o.mu.Unlock()
	if len(b) > 0 {
		o.writeNow(b, of)
	}
}

// writeNow writes b and what gathers meanwhile. If somebody has to be waited for
// there is a goroutine for it.
func (o *outbox) writeNow(b []byte, of batch) {
	for i := 0; len(b) > 0; i++ {
		if o.to.sock == nil || i == maxWrites {
			go o.writeOn(b, of)
			return
		}
		n, more, err := o.to.tryWrite(b)
		o.bounds.tally.wrote(n)
		if more && err == nil {
			go o.writeOn(b[n:], of)
			return
		}
		b, of = o.wrote(of, err, true)
	}
}

// writeOn writes b, which may be nothing but what TLS keeps, and then what
// gathers, until there is nothing left, waiting for the client as long as it
// makes progress, and once more after that.
func (o *outbox) writeOn(b []byte, of batch) {
	for {
		rest, err := o.to.write(b, o.arm)
		if errors.Is(err, os.ErrDeadlineExceeded) && o.part() {
			o.owner.stalled()
			_, err = o.to.write(rest, o.arm)
		}
		if err == nil {
			o.bounds.tally.wrote(len(b))
		}
		if b, of = o.wrote(of, err, false); len(b) == 0 {
			return
		}
	}
}

// part gives a client that makes no progress a last stall time. In that it may
// have the rest of what is being written, which ends with a line, and what the
// owner finishes with; all else is dropped now, and nothing more is taken. It
// reports whether that is so: of an outbox that is closed already there is no
// more patience.
func (o *outbox) part() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	o.ownLocked()
	if o.deadline.IsZero() {
		o.deadline = time.Now().Add(o.bounds.stall)
	}
	o.closeLocked()
	return true
}

// wrote accounts for what was written and gives what is to be written next. If
// that is nothing the writing is over: so it is, if leave is set, when a turn is
// under way, which is asked to end with a flush.
func (o *outbox) wrote(of batch, err error, leave bool) (b []byte, next batch) {
	if of.buf != nil {
		joinBuffers.Put(of.buf)
	}
	if err == nil {
		o.bounds.tally.framesOut.Add(uint64(of.frames))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queued[ofAnswer] -= of.sizes[ofAnswer]
	o.queued[ofEvent] -= of.sizes[ofEvent]
	failed := err != nil && !o.broken
	if failed {
		o.broken = true
		o.closeLocked()
	}
	room := o.full && !o.closed && o.queued[ofEvent] <= o.bounds.room/2
	if room {
		o.full = false
	}
	o.changedLocked()
	if failed || room {
		o.mu.Unlock()
		if failed {
			o.owner.writeFailed(err)
		}
		if room {
			o.owner.roomAgain()
		}
		o.mu.Lock()
	}
	if leave && o.corked && !o.broken {
		o.asked = true
	} else {
		b, next = o.takeLocked()
	}
	if len(b) == 0 {
		o.endLocked()
	}
	return b, next
}

// endLocked ends the writing.
func (o *outbox) endLocked() {
	if o.waiting != &nothingWaits && len(o.queue) == 0 {
		o.queue = nil
	}
	if o.armed {
		o.armed = false
		_ = o.to.conn().SetWriteDeadline(time.Time{}) // fails when it is closed
	}
	o.writing = false
	o.changedLocked()
	o.disownLocked()
}

// takeLocked takes off the queue what is to be written next: one chunk by
// itself, or as many as fit into a buffer.
func (o *outbox) takeLocked() (b []byte, of batch) {
	if len(o.queue) == 0 {
		if len(o.pong) > 0 {
			b, o.pong = o.pong, nil
			of.frames = 1
		}
		return b, of
	}
	if len(o.pong) == 0 {
		c := &o.queue[0]
		if len(o.queue) == 1 || c.size()+maxWrap > joined {
			b = o.bytesOf(c)
			of.add(c)
			o.queue[0] = chunk{}
			o.queue = o.queue[1:]
			return b, of
		}
	}
	of.buf = joinBuffers.Get().(*[]byte)
	b = append((*of.buf)[:0], o.pong...)
	if o.pong != nil {
		of.frames, o.pong = 1, nil
	}
	n := 0
	for i := range o.queue {
		c := &o.queue[i]
		var whole []byte
		if c.run != nil {
			whole = c.run.Bytes(o.form.wire)
		} else {
			whole = c.bytes
		}
		if len(b)+len(whole)+maxWrap > joined {
			break
		}
		if c.run == nil && !c.bare && o.form.wrap != nil {
			b = o.form.wrap(b, whole)
		} else {
			b = append(b, whole...)
		}
		of.add(c)
		n++
	}
	clear(o.queue[:n])
	o.queue = o.queue[n:]
	return b, of
}

// bytesOf is c as it goes over the wire.
func (o *outbox) bytesOf(c *chunk) []byte {
	switch {
	case c.run != nil:
		return c.run.Bytes(o.form.wire)
	case c.bare || o.form.wrap == nil:
		return c.bytes
	}
	return o.form.wrap(nil, c.bytes)
}

// arm gives the next step of writing its time.
func (o *outbox) arm() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.armed = true
	return o.armLocked()
}

func (o *outbox) armLocked() error {
	t := time.Now().Add(o.bounds.stall)
	if !o.deadline.IsZero() && o.deadline.Before(t) {
		t = o.deadline
	}
	return o.to.conn().SetWriteDeadline(t)
}

// flusher writes the answers that come from the store's goroutine, which is not
// to be held up by writing. What gathers meanwhile is one write for each
// connection.
type flusher struct {
	mu      sync.Mutex
	list    []*conn
	running bool
	closed  bool
	over    sync.WaitGroup
}

func (f *flusher) add(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.list = append(f.list, c)
	if !f.running {
		f.running = true
		f.over.Go(f.run)
	}
}

// close waits for what is being written. Then all connections are closed, and an
// answer that comes later has nobody to go to.
func (f *flusher) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.over.Wait()
}

func (f *flusher) run() {
	for {
		f.mu.Lock()
		list := f.list
		f.list = nil
		f.running = len(list) > 0
		f.mu.Unlock()
		if len(list) == 0 {
			return
		}
		for _, c := range list {
			c.out.flush()
		}
	}
}
