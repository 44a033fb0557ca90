package stream

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

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
type Socket struct {
	net.Conn

	raw    syscall.RawConn
	parked atomic.Bool   // writes do not wait
	waits  atomic.Bool   // reads wait all the same
	turns  *queue.Handle // once parked
	empty  bool          // nothing to read before another turn
	fed    int           // bytes read in this turn

	mu       sync.Mutex // for the writes of TLS, which come from its reader too
	rest     []byte     // written, and not yet taken by the kernel
	draining bool
}

// NewSocket makes a Socket of a connection that has a file, and nil of others.
func NewSocket(nc net.Conn) *Socket {
	src, ok := nc.(queue.Source)
	if !ok || !canTry {
		return nil
	}
	raw, err := src.SyscallConn()
	if err != nil {
		return nil
	}
	return &Socket{Conn: nc, raw: raw}
}

// NetConn is the connection below.
func (s *Socket) NetConn() net.Conn { return s.Conn }

// CloseWrite closes the sending half, if there are halves.
func (s *Socket) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (s *Socket) park(turns *queue.Handle) {
	s.turns = turns
	s.parked.Store(true)
}

// Read implements net.Conn.
func (s *Socket) Read(b []byte) (int, error) {
	if !s.parked.Load() || s.waits.Load() {
		return s.Conn.Read(b)
	}
	if s.empty || s.fed >= turnBytes {
		return 0, errNotNow
	}
	n, err := s.TryRead(b)
	s.fed += n
	if n > 0 && n < len(b) && s.turns.Polled() && !s.turns.HungUp() {
		s.empty = true // and when something comes, there will be another turn
	}
	return n, err
}

// TryRead reads what there is. When there is nothing, the error is a
// net.Error that passes.
func (s *Socket) TryRead(b []byte) (int, error) {
	t := tries.Get().(*try)
	t.b = b
	err := s.raw.Read(t.read)
	n, err := t.result(err)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errNotNow // somebody wants the turn to end
	}
	return n, err
}

// tryWrite writes what fits into the kernel's buffer.
func (s *Socket) tryWrite(b []byte) (int, error) {
	t := tries.Get().(*try)
	t.b = b
	err := s.raw.Write(t.write)
	n, err := t.result(err)
	if err == errNotNow {
		err = nil
	}
	return n, err
}

// Write implements net.Conn.
func (s *Socket) Write(b []byte) (int, error) {
	if !s.parked.Load() {
		return s.Conn.Write(b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	if !s.draining && len(s.rest) == 0 {
		var err error
		if n, err = s.tryWrite(b); err != nil {
			return n, err
		}
	}
	s.rest = append(s.rest, b[n:]...)
	return len(b), nil
}

// turnBytes is how much is read in one turn.
const turnBytes = 64 << 10

func (c *carrier) full() bool { return c.sock != nil && c.sock.fed >= turnBytes }

func (c *carrier) rest() int {
	if !c.secure {
		return 0
	}
	c.sock.mu.Lock()
	defer c.sock.mu.Unlock()
	return len(c.sock.rest)
}

// behind reports whether there is something to drain.
func (s *Socket) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rest) > 0
}

// drain writes what was kept, waiting for the other end. before is called
// before every few KiB.
func (s *Socket) drain(before func() error) error {
	for {
		s.mu.Lock()
		b := s.rest
		s.rest, s.draining = nil, len(b) > 0
		s.mu.Unlock()
		if len(b) == 0 {
			return nil
		}
		if err := writeSlowly(s.Conn, b, before); err != nil {
			return err
		}
	}
}

// writeSlowly writes all of b, and calls before at every step on the way.
func writeSlowly(nc net.Conn, b []byte, before func() error) error {
	for len(b) > 0 {
		if err := before(); err != nil {
			return err
		}
		n, err := nc.Write(b[:min(len(b), progress)])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
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

// carrier is what a connection's bytes go over: a socket, TLS on a socket, or
// something that can only be waited for.
type carrier struct {
	nc     net.Conn
	sock   *Socket // nil: it can only be waited for
	secure bool    // there is TLS between nc and sock
}

// carrierOf finds the socket below nc, under whatever is around it.
func carrierOf(nc net.Conn) carrier {
	if sock := NewSocket(nc); sock != nil {
		nc = sock
	}
	c := carrier{nc: nc}
	for {
		if sock, ok := nc.(*Socket); ok {
			c.sock = sock
			break
		}
		above, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		nc = above.NetConn()
	}
	c.secure = c.sock != nil && c.nc != net.Conn(c.sock)
	return c
}

// tryWrite writes what can be written without waiting. more says that not all
// went out: write what is left with finish.
func (c *carrier) tryWrite(b []byte) (n int, more bool, err error) {
	switch {
	case c.sock == nil:
		return 0, true, nil
	case c.secure:
		n, err = c.nc.Write(b)
		return n, c.sock.behind(), err
	}
	n, err = c.sock.tryWrite(b)
	return n, n < len(b), err
}

// write writes b after what tryWrite left, and waits for the other end.
func (c *carrier) write(b []byte, before func() error) error {
	switch {
	case c.sock == nil:
		return writeSlowly(c.nc, b, before)
	case !c.secure:
		return writeSlowly(c.sock.Conn, b, before)
	}
	if err := c.sock.drain(before); err != nil {
		return err
	}
	for len(b) > 0 {
		n, err := c.nc.Write(b[:min(len(b), progress)])
		if err != nil {
			return err
		}
		if err := c.sock.drain(before); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// pump reads for a client whose connection can only be waited for. It has a
// goroutine, which waits until what it read was taken.
type pump struct {
	nc    net.Conn
	turns *queue.Handle
	over  sync.WaitGroup

	mu    sync.Mutex
	buf   []byte
	taken sync.Cond // buf is empty, or nobody wants more
	err   error
	quit  bool
}

func newPump(nc net.Conn, turns *queue.Handle) *pump {
	p := &pump{nc: nc, turns: turns}
	p.taken.L = &p.mu
	return p
}

func (p *pump) start() { p.over.Go(p.run) }

func (p *pump) run() {
	buf := make([]byte, 4<<10)
	for {
		n, err := p.nc.Read(buf)
		p.mu.Lock()
		p.buf, p.err = buf[:n], err
		p.mu.Unlock()
		p.turns.Ready()
		p.mu.Lock()
		for len(p.buf) > 0 && !p.quit {
			p.taken.Wait()
		}
		quit := p.quit || err != nil
		p.mu.Unlock()
		if quit {
			return
		}
	}
}

// Read gives what was read, without waiting.
func (p *pump) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := copy(b, p.buf)
	p.buf = p.buf[n:]
	if len(p.buf) == 0 {
		p.taken.Signal()
	}
	switch {
	case n > 0:
		return n, nil
	case p.err != nil:
		return 0, p.err
	}
	return 0, errNotNow
}

// stop ends the reading.
func (p *pump) stop() {
	p.mu.Lock()
	p.quit = true
	p.taken.Signal()
	p.mu.Unlock()
	_ = p.nc.SetReadDeadline(past) // fails when it is closed, of which run hears
	p.over.Wait()
}
