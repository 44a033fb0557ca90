//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// loop is a client with many connections in one thread: a set of epoll and one
// buffer. It is what every server is measured with, so that the client costs the
// same beside all of them. Its methods are for one goroutine.
type loop struct {
	ctx     context.Context
	ep      int
	byFD    []*client
	events  []unix.EpollEvent
	buf     []byte
	dirty   []*client // have something to write
	scripts int       // connections whose script is under way
	err     error
	// onEnd is told of a connection that the server ended; nil: that is an error.
	onEnd func(*client)
}

// client is one connection of a loop.
type client struct {
	fd      int
	id      int // the caller's
	out     []byte
	gone    int  // bytes of out that are written
	queued  bool // in dirty
	waits   bool // for room to write
	mute    bool // never reads
	leaving bool // the caller's: its end is expected

	script []step
	in     []byte        // what came for the first step of script
	ready  func(*client) // called at the end of script, nil: nobody
	late   func(*client) // called if it was taken for somebody silent, see tooLate; nil: that is an error
	on     func(*client, []byte)

	// Of on: where in a mark the last bytes ended, see marks.
	part, acc int
	due       time.Time // of the oldest request that is not answered
}

// step is something said and what must be heard before the next step.
type step struct {
	say  []byte
	hear string
	each func(heard []byte) // looks at what was heard; nil: nobody
}

func newLoop(ctx context.Context) (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making an epoll set: %w", err)
	}
	return &loop{ctx: ctx, ep: ep, events: make([]unix.EpollEvent, 1024), buf: make([]byte, 256<<10)}, nil
}

// close drops every connection; without lingering, so that no port stays taken.
func (l *loop) close() {
	for _, c := range l.byFD {
		if c != nil {
			l.drop(c)
		}
	}
	unix.Close(l.ep)
}

func (l *loop) drop(c *client) {
	_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	l.forget(c)
}

// forget closes a connection as a program does that has heard enough.
func (l *loop) forget(c *client) {
	if l.byFD[c.fd] == c {
		l.byFD[c.fd] = nil
		unix.Close(c.fd)
		if len(c.script) > 0 {
			l.scripts--
		}
		c.script = nil
	}
}

// sources is over how many addresses clients are spread, so that ports do not
// run short and nobody is taken for a single busy neighbour.
const sources = 200

// dial begins a connection, which then goes through its script.
func (l *loop) dial(addr string, id int, script []step, on func(*client, []byte)) (*client, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a socket: %w", err)
	}
	fail := func(what string, err error) (*client, error) {
		unix.Close(fd)
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if err := errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 1, byte(1 + id%sources)}}),
	); err != nil {
		return fail("preparing a socket", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fail("connecting to "+addr, err)
	}
	c := &client{fd: fd, id: id, script: script, on: on}
	for len(l.byFD) <= fd {
		l.byFD = append(l.byFD, nil)
	}
	l.byFD[fd] = c
	c.waits = true
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT, Fd: int32(fd)}); err != nil {
		l.byFD[fd] = nil
		return fail("watching a socket", err)
	}
	if len(script) > 0 {
		l.scripts++
		c.out = append(c.out, script[0].say...)
	}
	return c, nil
}

// open dials n connections, at most window of them in the middle of their
// scripts, and returns when all have ended theirs.
func (l *loop) open(n, window int, dial func(i int) (*client, error)) ([]*client, error) {
	all := make([]*client, 0, n)
	last := time.Now()
	for done := -1; len(all) < n || l.scripts > 0; {
		for len(all) < n && l.scripts < window {
			c, err := dial(len(all))
			if err != nil {
				return nil, err
			}
			all = append(all, c)
		}
		if err := l.poll(100); err != nil {
			return nil, err
		}
		if left := n - len(all) + l.scripts; left != done {
			done, last = left, time.Now()
		} else if time.Since(last) > patience {
			return nil, fmt.Errorf("%d of %d clients do not get on: no answer for %s", left, n, patience)
		}
	}
	return all, nil
}

// send queues bytes, which leave at the end of the poll.
func (l *loop) send(c *client, bytes []byte) {
	c.out = append(c.out, bytes...)
	l.wants(c)
}

func (l *loop) wants(c *client) {
	if !c.queued && !c.waits {
		c.queued = true
		l.dirty = append(l.dirty, c)
	}
}

// poll waits for at most so many ms and handles what there is.
func (l *loop) poll(ms int) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	l.write()
	n, err := unix.EpollWait(l.ep, l.events, ms)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("waiting for sockets: %w", err)
	}
	for _, e := range l.events[:max(n, 0)] {
		c := l.byFD[e.Fd]
		if c == nil {
			continue
		}
		if e.Events&unix.EPOLLOUT != 0 && c.waits {
			c.waits = false
			l.watch(c)
			l.wants(c)
		}
		if e.Events&^unix.EPOLLOUT != 0 {
			l.read(c, e.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0)
		}
	}
	l.write()
	return l.err
}

// pollUntil polls to a moment.
func (l *loop) pollUntil(end time.Time) error {
	for {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		if err := l.poll(int(min(left/time.Millisecond+1, 100))); err != nil {
			return err
		}
	}
}

// count polls for as long as figures are to be gathered, and on until there are
// any: on a busy machine the first may come late.
func (l *loop) count(long time.Duration, any func() bool) error {
	began := time.Now()
	if err := l.pollUntil(began.Add(long)); err != nil {
		return err
	}
	for !any() {
		if time.Since(began) > long+patience {
			return fmt.Errorf("nothing came in %s", time.Since(began).Round(time.Second))
		}
		if err := l.poll(100); err != nil {
			return err
		}
	}
	return nil
}

// patience is how long a server may take for anything before it has failed.
const patience = time.Minute

func (l *loop) write() {
	dirty := l.dirty
	for _, c := range dirty {
		c.queued = false
		if l.byFD[c.fd] != c || len(c.out) == 0 {
			continue
		}
		n, err := unix.Write(c.fd, c.out[c.gone:])
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			l.ended(c, fmt.Errorf("writing: %w", err))
			continue
		}
		c.gone += max(n, 0)
		full := c.gone < len(c.out)
		if !full || c.gone > 1<<20 {
			c.out = c.out[:copy(c.out, c.out[c.gone:])]
			c.gone = 0
		}
		if full {
			c.waits = true
			l.watch(c)
		}
	}
	l.dirty = l.dirty[:0]
}

// watch tells the kernel what c waits for.
func (l *loop) watch(c *client) {
	var events uint32
	if !c.mute {
		events |= unix.EPOLLIN
	}
	if c.waits {
		events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: events, Fd: int32(c.fd)}); err != nil {
		l.fail(fmt.Errorf("watching a socket: %w", err))
	}
}

// silence makes c a client that does not read.
func (l *loop) silence(c *client) {
	c.mute = true
	l.watch(c)
}

func (l *loop) read(c *client, broken bool) {
	for !c.mute || broken {
		n, err := unix.Read(c.fd, l.buf)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil:
			l.ended(c, fmt.Errorf("reading: %w", err))
			return
		case n == 0:
			l.ended(c, errors.New("the server ended the connection"))
			return
		}
		l.heard(c, l.buf[:n])
		if n < len(l.buf) || l.byFD[c.fd] != c {
			return
		}
	}
}

func (l *loop) heard(c *client, data []byte) {
	if len(c.script) == 0 {
		if c.on != nil {
			c.on(c, data)
		}
		return
	}
	c.in = append(c.in, data...)
	s := c.script[0]
	if !bytes.Contains(c.in, []byte(s.hear)) {
		if c.late != nil && bytes.Contains(c.in, []byte(tooLate)) {
			l.forget(c)
			c.late(c)
			return
		}
		if bytes.Contains(c.in, []byte(`"error":{`)) || bytes.Contains(c.in, []byte(`"Goodbye"`)) {
			l.fail(fmt.Errorf("client %d was refused: %.3000s", c.id, c.in))
		}
		return
	}
	if s.each != nil {
		s.each(c.in)
	}
	c.in = nil
	c.script = c.script[1:]
	if len(c.script) > 0 {
		l.send(c, c.script[0].say)
		return
	}
	c.script = nil
	l.scripts--
	if c.ready != nil {
		c.ready(c)
	}
}

// tooLate is what Grima tells a client of HTTP's whose first byte came more than
// 200 ms after it connected (docs/protocol.md#one-port): on a busy machine this
// program may be kept from saying it for longer. It may try again.
const tooLate = "the connection was silent at first"

func (l *loop) ended(c *client, why error) {
	l.forget(c)
	if l.onEnd != nil {
		l.onEnd(c)
		return
	}
	l.fail(fmt.Errorf("client %d: %w: %.300s", c.id, why, c.in))
}

func (l *loop) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// A mark says in a message which of those under way it is: a tilde and two
// hexadecimal digits. Nothing else that a server says to who listens has a tilde,
// so that receivers of any protocol can be counted by them alone.
func appendMark(dst []byte, slot int) []byte {
	const digits = "0123456789abcdef"
	return append(dst, '~', digits[slot>>4&15], digits[slot&15])
}

// marks calls found for each mark in the bytes that come on c, however they are
// cut up.
func (c *client) marks(data []byte, found func(slot int)) {
	for {
		if c.part == 0 {
			i := bytes.IndexByte(data, '~')
			if i < 0 {
				return
			}
			data, c.part, c.acc = data[i+1:], 1, 0
		}
		for ; c.part < 3; c.part++ {
			if len(data) == 0 {
				return
			}
			c.acc = c.acc<<4 | hexDigit(data[0])
			data = data[1:]
		}
		c.part = 0
		found(c.acc)
	}
}

func hexDigit(b byte) int {
	if b >= 'a' {
		return int(b-'a'+10) & 15
	}
	return int(b-'0') & 15
}
