package stream

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/grima-chat/grima/internal/queue"
)

// errNotNow is what a read gives that would have to wait. It passes: crypto/tls
// keeps what it has of a record, and goes on with it at the next call.
var errNotNow net.Error = notNow{}

type notNow struct{}

func (notNow) Error() string   { return "nothing to read for now" }
func (notNow) Timeout() bool   { return true }
func (notNow) Temporary() bool { return true }

// Socket is a TCP or Unix connection that can be read and written without
// waiting. At first it is a net.Conn like others; once it is parked, its reads
// give an error that passes instead of waiting, and of its writes it keeps what
// does not fit into the kernel's buffer, until somebody drains it. TLS goes on
// top of one.
//
// Where the kernel is asked who has input, a parked Socket is a descriptor and no
// net.Conn any more: that is as large as all else of an idle client, and Go would
// hear of each of its packets, too. Who has to wait for it all the same, for room
// or at its end, hears from the queue when something happens to it.
type Socket struct {
	file  *file         // nil: it is a descriptor
	turns *queue.Handle // once parked

	mu   sync.Mutex // also for the writes of TLS, which come from its reader too
	more *unsent    // nil: none

	fd     int32 // if it is a descriptor; else -1
	fed    int32 // bytes read in this turn
	parked bool  // writes do not wait
	waits  bool  // reads wait all the same
	empty  bool  // nothing to read before another turn
}

// file is a connection that Go polls.
type file struct {
	net.Conn

	raw syscall.RawConn
}

// unsent is what a Socket has when somebody has to wait for it.
type unsent struct {
	rest     []byte // written, and not yet taken by the kernel
	draining bool

	// Of a descriptor:
	until   [2]time.Time  // deadlines of reads and of writes
	stirred chan struct{} // closed when something happens to it; nil: nobody waits
}

const (
	reads = iota
	writes
)

// of makes s, which is zero, the Socket of a connection that has a file, and gives
// nil for others.
func (s *Socket) of(nc net.Conn) *Socket {
	src, ok := nc.(queue.Source)
	if !ok || !canTry {
		return nil
	}
	raw, err := src.SyscallConn()
	if err != nil {
		return nil
	}
	s.file, s.fd = &file{nc, raw}, -1
	return s
}

// bare makes s, which is zero, the Socket of a descriptor that does not block. It
// can be tried to read, and be parked where the queue polls; for all else it is to
// be adopted first.
func (s *Socket) bare(fd int) *Socket {
	s.fd = int32(fd)
	return s
}

// Adopt makes the Socket of a bare descriptor one of a connection that Go polls.
// After an error it is closed.
func (s *Socket) Adopt() error {
	f := os.NewFile(uintptr(s.fd), "socket")
	nc, err := net.FileConn(f)
	_ = f.Close() // it was duplicated
	s.fd = -1
	if err == nil && s.of(nc) == nil {
		err = errors.Join(errors.ErrUnsupported, nc.Close())
	}
	return err
}

// park makes c, whose turns these are, a client of q, with s as its input. If
// that fails s is what it was.
func (s *Socket) park(turns *queue.Handle, c queue.Client, q queue.Queue) error {
	s.turns, s.parked = turns, true
	own := s.file
	if own != nil && q.Polls() {
		if fd, err := own.duplicate(); err == nil { // else out of files, perhaps
			s.become(nil, fd)
		}
	}
	err := q.Add(turns, c, s)
	switch {
	case s.file != nil, own == nil:
	case err == nil:
		_ = own.Close() // of the two descriptors, the one that is not used any more
	default:
		err = errors.Join(err, closeFile(int(s.fd)))
		s.become(own, -1)
	}
	return err
}

// become makes it a file or a descriptor.
func (s *Socket) become(f *file, fd int32) {
	s.mu.Lock() // somebody may want to cut it off
	defer s.mu.Unlock()
	s.file, s.fd = f, fd
}

// duplicate gives another descriptor of the same connection.
func (f *file) duplicate() (fd int32, err error) {
	failed := f.raw.Control(func(old uintptr) { fd, err = duplicate(old) })
	return fd, errors.Join(failed, err)
}

// Read implements net.Conn.
func (s *Socket) Read(b []byte) (int, error) {
	switch {
	case s.parked && !s.waits:
	case s.file != nil:
		return s.file.Read(b)
	default:
		return s.patiently(reads, func() (int, error) { return tryRead(uintptr(s.fd), b) })
	}
	if s.empty || s.fed >= turnBytes {
		return 0, errNotNow
	}
	n, err := s.tryRead(b)
	s.fed += int32(n)
	if n > 0 && n < len(b) && s.turns.Polled() && !s.turns.HungUp() {
		s.empty = true // and when something comes, there will be another turn
	}
	return n, err
}

// TryRead reads what there is, before the Socket is parked. If there is nothing,
// the error is one that passes.
func (s *Socket) TryRead(b []byte) (int, error) { return s.tryRead(b) }

// tryRead reads what there is.
func (s *Socket) tryRead(b []byte) (int, error) {
	if s.file == nil {
		return tryRead(uintptr(s.fd), b)
	}
	t := tries.Get().(*try)
	t.b = b
	err := s.file.raw.Read(t.read)
	n, err := t.result(err)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errNotNow // somebody wants the turn to end
	}
	return n, err
}

// tryWrite writes what fits into the kernel's buffer.
func (s *Socket) tryWrite(b []byte) (n int, err error) {
	if s.file == nil {
		n, err = tryWrite(uintptr(s.fd), b)
	} else {
		t := tries.Get().(*try)
		t.b = b
		err = s.file.raw.Write(t.write)
		n, err = t.result(err)
	}
	if err == errNotNow {
		err = nil
	}
	return n, err
}

// Write implements net.Conn.
func (s *Socket) Write(b []byte) (int, error) {
	if !s.parked {
		return s.file.Write(b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	if s.more == nil || !s.more.draining && len(s.more.rest) == 0 {
		var err error
		if n, err = s.tryWrite(b); err != nil || n == len(b) {
			return n, err
		}
	}
	m := s.moreLocked()
	m.rest = append(m.rest, b[n:]...)
	return len(b), nil
}

// writeWaiting writes as net.Conn does, but perhaps not all.
func (s *Socket) writeWaiting(b []byte) (int, error) {
	if s.file != nil {
		return s.file.Write(b)
	}
	return s.patiently(writes, func() (int, error) { return tryWrite(uintptr(s.fd), b) })
}

// patiently tries to read or to write until that is done or its deadline over.
// Only one of both waits at a time.
func (s *Socket) patiently(what int, try func() (int, error)) (int, error) {
	if err := s.turns.Await(); err != nil {
		return 0, err
	}
	defer s.turns.Unwait()
	for {
		s.mu.Lock()
		m := s.moreLocked()
		if m.stirred == nil {
			m.stirred = make(chan struct{})
		}
		stirred, until := m.stirred, m.until[what]
		s.mu.Unlock()
		if n, err := try(); n > 0 || err != errNotNow {
			return n, err
		}
		if err := wait(stirred, until); err != nil {
			return 0, err
		}
	}
}

// wait waits until something happens, or until then; zero: for as long as it
// takes.
func wait(stirred <-chan struct{}, until time.Time) error {
	if until.IsZero() {
		<-stirred
		return nil
	}
	patience := time.NewTimer(time.Until(until))
	defer patience.Stop()
	select {
	case <-stirred:
		return nil
	case <-patience.C:
		return os.ErrDeadlineExceeded
	}
}

func (s *Socket) moreLocked() *unsent {
	if s.more == nil {
		s.more = new(unsent)
	}
	return s.more
}

// stir ends a wait, to look again.
func (s *Socket) stir() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stirLocked()
}

func (s *Socket) stirLocked() {
	if m := s.more; m != nil && m.stirred != nil {
		close(m.stirred)
		m.stirred = nil
	}
}

// SetReadDeadline implements net.Conn.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.setDeadline(reads, t) }

// SetWriteDeadline implements net.Conn.
func (s *Socket) SetWriteDeadline(t time.Time) error { return s.setDeadline(writes, t) }

// SetDeadline implements net.Conn.
func (s *Socket) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func (s *Socket) setDeadline(of int, t time.Time) error {
	switch {
	case s.file == nil:
	case of == reads:
		return s.file.SetReadDeadline(t)
	default:
		return s.file.SetWriteDeadline(t)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return net.ErrClosed
	}
	if s.more != nil || !t.IsZero() {
		s.moreLocked().until[of] = t
		s.stirLocked()
	}
	return nil
}

// SyscallConn implements queue.Source.
func (s *Socket) SyscallConn() (syscall.RawConn, error) {
	if s.file != nil {
		return s.file.raw, nil
	}
	return descriptor(s.fd), nil
}

// descriptor is the RawConn of a connection that Go does not poll.
type descriptor int32

func (d descriptor) Control(f func(fd uintptr)) error { f(uintptr(d)); return nil }
func (descriptor) Read(func(uintptr) bool) error      { return errors.ErrUnsupported }
func (descriptor) Write(func(uintptr) bool) error     { return errors.ErrUnsupported }

// LocalAddr implements net.Conn. A descriptor has forgotten it.
func (s *Socket) LocalAddr() net.Addr {
	if s.file != nil {
		return s.file.LocalAddr()
	}
	return &net.TCPAddr{}
}

// RemoteAddr implements net.Conn. A descriptor has forgotten it, and who was gone
// when Go first heard of them, see Adopt, has none any more.
func (s *Socket) RemoteAddr() net.Addr {
	if s.file != nil {
		if a := s.file.RemoteAddr(); a != nil {
			return a
		}
	}
	return &net.TCPAddr{}
}

// CloseWrite closes the sending half, if there are halves.
func (s *Socket) CloseWrite() error {
	if s.file == nil {
		return closeHalf(uintptr(s.fd))
	}
	if half, ok := s.file.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// cut ends the conversation for both sides: whoever waits for it hears of that.
// It may come while others use the Socket, and after Close.
func (s *Socket) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.file != nil:
		_ = s.file.raw.Control(closeBoth)
	case s.fd >= 0:
		closeBoth(uintptr(s.fd))
	}
}

// Close implements net.Conn. Once it is parked, nobody may be reading or writing.
func (s *Socket) Close() error {
	if s.parked {
		s.turns.Leave()
	}
	if s.file != nil {
		return s.file.Close()
	}
	s.mu.Lock()
	fd := s.fd
	s.fd = -1
	s.mu.Unlock()
	if fd < 0 {
		return net.ErrClosed
	}
	return closeFile(int(fd))
}

// turnBytes is how much is read in one turn.
const turnBytes = 64 << 10

// drain writes what was kept, waiting for the other end. before is called
// before every few KiB. What an error leaves unwritten is kept.
func (s *Socket) drain(before func() error) error {
	for {
		s.mu.Lock()
		var b []byte
		if m := s.more; m != nil {
			b = m.rest
			m.rest, m.draining = nil, len(b) > 0
		}
		s.mu.Unlock()
		if len(b) == 0 {
			return nil
		}
		if rest, err := writeSlowly(s.writeWaiting, b, before); err != nil {
			s.mu.Lock()
			m := s.moreLocked()
			m.rest, m.draining = append(rest, m.rest...), false
			s.mu.Unlock()
			return err
		}
	}
}

// writeSlowly writes all of b, and calls before at every step on the way. After
// an error it gives what is left.
func writeSlowly(write func([]byte) (int, error), b []byte, before func() error) (rest []byte, err error) {
	for len(b) > 0 {
		if err := before(); err != nil {
			return b, err
		}
		// Within a step there may be several writes; they share its time.
		for step := b[:min(len(b), progress)]; len(step) > 0; {
			n, err := write(step)
			step, b = step[n:], b[n:]
			if err != nil {
				return b, err
			}
		}
	}
	return nil, nil
}

// try is one attempt to read or to write. Its functions are made once: a new
// one for each attempt would be garbage for each.
type try struct {
	b           []byte
	n           int
	err         error
	read, write func(fd uintptr) (done bool)
}

var tries = sync.Pool{New: func() any {
	t := new(try)
	t.read = func(fd uintptr) bool {
		t.n, t.err = tryRead(fd, t.b)
		return true
	}
	t.write = func(fd uintptr) bool {
		t.n, t.err = tryWrite(fd, t.b)
		return true
	}
	return t
}}

// result gives t back. err is what kept it from being tried.
func (t *try) result(err error) (int, error) {
	n := t.n
	if err == nil {
		err = t.err
	}
	t.b, t.n, t.err = nil, 0, nil
	tries.Put(t)
	return n, err
}
