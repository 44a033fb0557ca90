package modeltest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"

	"github.com/grima-chat/grima/internal/testserver"
)

// errCut is what a client finds whose connection was cut.
var errCut = errors.New("the connection was cut")

// line is what carries a connection's lines.
type line string

const (
	plain         line = "lines"
	overTLS       line = "TLS"
	overWebSocket line = "WebSocket"
)

// faultyConn is a client's end of a connection that goes away after a number of
// bytes in one of its directions, wherever in a line, a WebSocket frame or a TLS
// record that is, and that can stop reading.
type faultyConn struct {
	net.Conn

	gone chan struct{} // closed when the connection was cut

	mu      sync.Mutex
	in, out int64         // bytes that still get through; negative: all
	stalled chan struct{} // reading waits until it is closed; nil: it does not
	over    bool
}

func newFaultyConn(nc net.Conn, in, out int64) *faultyConn {
	return &faultyConn{Conn: nc, gone: make(chan struct{}), in: in, out: out}
}

func (c *faultyConn) Read(b []byte) (int, error) {
	c.mu.Lock()
	stalled, left := c.stalled, c.in
	c.mu.Unlock()
	if stalled != nil {
		select {
		case <-stalled:
		case <-c.gone:
			return 0, errCut
		}
	}
	if left == 0 {
		c.cut()
		return 0, errCut
	}
	if left > 0 && int64(len(b)) > left {
		b = b[:left]
	}
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	if c.in > 0 {
		c.in = max(0, c.in-int64(n))
	}
	over := c.over
	c.mu.Unlock()
	if over {
		return 0, errCut
	}
	return n, err
}

func (c *faultyConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	left := c.out
	if left > 0 {
		c.out = max(0, left-int64(len(b)))
	}
	c.mu.Unlock()
	if left < 0 || int64(len(b)) <= left {
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(b[:left])
	c.cut()
	if err == nil {
		err = errCut
	}
	return n, err
}

// cut ends the connection as a network does: without a word.
func (c *faultyConn) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.over = true
	close(c.gone)
	_ = c.Conn.Close() // nobody hears of it
}

// Close is cut: a client that closes does not wait for anything either.
func (c *faultyConn) Close() error {
	c.cut()
	return nil
}

// CloseWrite says that nothing more will come.
func (c *faultyConn) CloseWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// stall stops reading, until it is called again with false.
func (c *faultyConn) stall(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case on && c.stalled == nil:
		c.stalled = make(chan struct{})
	case !on && c.stalled != nil:
		close(c.stalled)
		c.stalled = nil
	}
}

// calm lets everything through from now on.
func (c *faultyConn) calm() {
	c.stall(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.in, c.out = -1, -1
	}
}

// outlet is where a device gets its connections from.
type outlet struct {
	w      *World
	device string
	user   string // its id
	past   past

	mu      sync.Mutex // is locked before World.mu, where both are
	rng     *rand.Rand
	away    bool
	changed chan struct{} // closed, and made anew, when away or the server's place changes
	wire    *faultyConn   // the latest connection
	tap     *tap          // and what was said on it
	dials   int
	conns   int // those that came to something
}

func (o *outlet) poke() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// setAway keeps the device offline, or lets it back.
func (o *outlet) setAway(away bool) {
	o.mu.Lock()
	o.away = away
	wire := o.wire
	o.poke()
	o.mu.Unlock()
	if away && wire != nil {
		wire.cut()
	}
}

// Dial waits until the device may be online and there is a server, and gives a
// connection that speaks lines.
func (o *outlet) Dial(ctx context.Context) (net.Conn, error) {
	for {
		o.mu.Lock()
		away, changed := o.away, o.changed
		o.mu.Unlock()
		addrs, moved := o.w.place()
		if len(addrs) > 0 && !away {
			o.mu.Lock()
			addr := addrs[0]
			if len(addrs) > 1 {
				addr = addrs[o.rng.IntN(len(addrs))]
			}
			o.mu.Unlock()
			if nc, err := o.connect(ctx, addr); err == nil {
				return nc, nil
			} else if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			// Cut in the handshake, or the server has just gone.
			continue
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		case <-moved:
		}
	}
}

func (o *outlet) connect(ctx context.Context, addr string) (net.Conn, error) {
	o.mu.Lock()
	o.dials++
	in, out, small, over := int64(-1), int64(-1), o.w.opts.Script != nil, plain
	if o.w.stormy() {
		if o.rng.IntN(3) == 0 {
			in = int64(o.rng.IntN(1 << (6 + o.rng.IntN(9))))
		}
		if o.rng.IntN(4) == 0 {
			out = int64(o.rng.IntN(1 << (6 + o.rng.IntN(7))))
		}
		small = o.rng.IntN(2) == 0
	}
	if o.w.opts.Lines == nil {
		over = []line{plain, plain, overTLS, overWebSocket}[o.rng.IntN(4)]
	} else {
		over = o.w.opts.Lines[o.rng.IntN(len(o.w.opts.Lines))]
	}
	number := o.dials
	o.mu.Unlock()

	nc, err := dial(ctx, addr, small)
	if err != nil {
		return nil, err
	}
	wire := newFaultyConn(nc, in, out)
	defer context.AfterFunc(ctx, wire.cut)() // a handshake may not be answered
	var lines net.Conn = wire
	switch over {
	case overTLS:
		c := tls.Client(wire, testserver.TLSConfig())
		lines, err = c, c.HandshakeContext(ctx)
	case overWebSocket:
		lines, err = testserver.DialWebSocket(func() (net.Conn, error) { return wire, nil })
	}
	if err != nil {
		wire.cut()
		return nil, err
	}
	t := newTap(o.w, fmt.Sprintf("%s#%d (%s)", o.device, number, over), o.user, over, lines, wire)
	t.past = &o.past
	o.mu.Lock()
	defer o.mu.Unlock()
	// Cut off meanwhile? Then nobody else knows of this connection.
	if o.away || !o.w.admit(t, addr) {
		wire.cut()
		return nil, errCut
	}
	o.wire, o.tap = wire, t
	o.conns++
	return t, nil
}

// dial connects. What little a small client's kernel takes for it makes a
// reader that stops be felt by the server soon.
func dial(ctx context.Context, addr string, small bool) (net.Conn, error) {
	d := net.Dialer{}
	if small {
		d.Control = func(_, _ string, raw syscall.RawConn) error {
			var failed error
			err := raw.Control(func(fd uintptr) {
				failed = errors.Join(
					syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096),
					syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1000),
				)
			})
			return errors.Join(err, failed)
		}
	}
	return d.DialContext(ctx, "tcp", addr)
}

// lineReader gives lines without a bound.
type lineReader struct{ r *bufio.Reader }

func newLineReader(r io.Reader) *lineReader { return &lineReader{bufio.NewReaderSize(r, 4096)} }

func (l *lineReader) next() ([]byte, error) {
	b, err := l.r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	return b[:len(b)-1], nil
}
