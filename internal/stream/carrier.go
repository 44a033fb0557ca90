package stream

import (
	"net"
	"sync"

	"github.com/grima-chat/grima/internal/queue"
)

// carrier is what a connection's bytes go over: a socket, TLS on a socket, or
// something that can only be waited for.
type carrier struct {
	sock *Socket // nil: it can only be waited for
	over *over   // nil: nothing but the socket
}

// over is what a carrier has that is not a socket alone.
type over struct {
	nc   net.Conn // TLS on the socket, or all there is
	pump *pump    // nil: it is read when there is something
}

// carrierOf finds the socket below nc, under whatever is around it.
func carrierOf(nc net.Conn, room *Room) carrier {
	if sock, ok := lowest(nc).(*Socket); ok {
		if nc == net.Conn(sock) {
			return carrier{sock: sock}
		}
		return carrier{sock, &over{nc: nc}}
	}
	if sock := room.Socket(nc); sock != nil {
		return carrier{sock: sock}
	}
	return carrier{nil, &over{nc: nc}}
}

// conn is what is read and written.
func (c *carrier) conn() net.Conn {
	if c.over != nil {
		return c.over.nc
	}
	return c.sock
}

// waitFor has a goroutine read, and say when there is something.
func (c *carrier) waitFor(turns *queue.Handle) {
	if c.over == nil {
		c.over = &over{nc: c.sock}
	}
	c.over.pump = newPump(c.over.nc, turns)
	c.over.pump.start()
}

func (c *carrier) stopWaiting() {
	if c.over != nil && c.over.pump != nil {
		c.over.pump.stop()
	}
}

// read reads without waiting.
func (c *carrier) read(b []byte) (int, error) {
	if c.over != nil && c.over.pump != nil {
		return c.over.pump.Read(b)
	}
	return c.conn().Read(b)
}

// lowest is what is below TLS and the like.
func lowest(nc net.Conn) net.Conn {
	for {
		above, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc
		}
		nc = above.NetConn()
	}
}

// secure reports whether there is TLS between nc and the socket.
func (c *carrier) secure() bool {
	return c.over != nil && c.sock != nil && c.over.nc != net.Conn(c.sock)
}

// tryWrite writes what can be written without waiting. more says that not all
// went out: write what is left with write.
func (c *carrier) tryWrite(b []byte) (n int, more bool, err error) {
	switch {
	case c.sock == nil:
		return 0, true, nil
	case c.secure():
		n, err = c.conn().Write(b)
		return n, c.rest() > 0, err
	}
	n, err = c.sock.tryWrite(b)
	return n, n < len(b), err
}

// write writes b after what tryWrite left, and waits for the other end. After an
// error it gives what is left of b; that the time was over spoils nothing, and
// write may be called with it again, save for TLS that can only be waited for.
func (c *carrier) write(b []byte, before func() error) (rest []byte, err error) {
	switch {
	case c.sock == nil:
		return writeSlowly(c.conn().Write, b, before)
	case !c.secure():
		return writeSlowly(c.sock.writeWaiting, b, before)
	}
	if err := c.sock.drain(before); err != nil {
		return b, err
	}
	for len(b) > 0 {
		n, err := c.conn().Write(b[:min(len(b), progress)])
		b = b[n:]
		if err != nil {
			return b, err
		}
		if err := c.sock.drain(before); err != nil {
			return b, err
		}
	}
	return nil, nil
}

// cut ends the conversation below TLS. Closing TLS itself would first say so,
// and wait for a client that may not be reading. nc is to be closed as well.
func (c *carrier) cut() {
	if c.sock != nil {
		c.sock.cut()
		return
	}
	_ = lowest(c.conn()).Close() // whose goroutine closes it again and reports
}

func (c *carrier) full() bool { return c.sock != nil && c.sock.fed >= turnBytes }

func (c *carrier) rest() int {
	if !c.secure() {
		return 0
	}
	c.sock.mu.Lock()
	defer c.sock.mu.Unlock()
	if c.sock.more == nil {
		return 0
	}
	return len(c.sock.more.rest)
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
