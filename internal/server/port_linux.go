package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// port is the listening socket, without Go's net in between. When everybody comes
// back at once, most say at once that they speak lines: to serve them takes a
// descriptor, and neither a net.Conn that Go polls nor a goroutine. What each is to
// have set is set on the listening socket, from which they have it.
//
// accept is for one goroutine; Addr and Close may be called from any.
type port struct {
	addr net.Addr
	file *os.File
	raw  syscall.RawConn

	come    []newcomer
	looked  bool // whether options are inherited is known
	inherit bool
	words   [firstWordBytes]byte // the first of who is being met
}

// newcomer is a connection that was accepted.
type newcomer struct {
	fd   int
	peer netip.Addr
}

// acceptAtOnce is how many are accepted before other goroutines run: it takes them
// some 200 us.
const acceptAtOnce = 16

// option is what connections have set.
type option struct{ level, name, value int }

var options = []option{
	{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
	{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAlive.Idle.Seconds())},
	{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAlive.Interval.Seconds())},
	{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAlive.Count},
}

// setOptions sets what can be set: MPTCP of before Linux 6.10 keeps nothing alive.
func setOptions(fd int) {
	for _, o := range options {
		_ = unix.SetsockoptInt(fd, o.level, o.name, o.value)
	}
}

func hasOptions(fd int) bool {
	for _, o := range options {
		if v, err := unix.GetsockoptInt(fd, o.level, o.name); err != nil || v != o.value {
			return false
		}
	}
	return true
}

// newPort takes the place of ln, which it closes.
func newPort(ln net.Listener) (_ *port, err error) {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("not a TCP port: %T", ln), ln.Close())
	}
	p := &port{addr: ln.Addr(), come: make([]newcomer, 0, acceptAtOnce)}
	p.file, err = tcp.File()
	if err = errors.Join(err, ln.Close()); err != nil {
		return nil, err
	}
	if p.raw, err = p.file.SyscallConn(); err == nil {
		err = p.raw.Control(func(fd uintptr) { setOptions(int(fd)) })
	}
	if err != nil {
		return nil, errors.Join(err, p.file.Close())
	}
	return p, nil
}

func (p *port) Addr() net.Addr { return p.addr }

func (p *port) Close() error { return p.file.Close() }

// accept waits for some to come, and gives each to meet.
func (p *port) accept(meet func(newcomer)) error {
	p.come = p.come[:0]
	var failed error
	err := p.raw.Read(func(ln uintptr) bool {
		for len(p.come) < acceptAtOnce {
			who, errno := acceptNow(ln)
			switch errno {
			case 0:
				p.come = append(p.come, who)
				continue
			case unix.EINTR:
				continue
			case unix.EAGAIN:
			default:
				failed = os.NewSyscallError("accept4", errno)
			}
			break
		}
		return len(p.come) > 0 || failed != nil
	})
	for _, who := range p.come {
		p.prepare(who.fd)
		meet(who)
	}
	if len(p.come) > 0 {
		runtime.Gosched()
		return nil // an error that stays comes again
	}
	return errors.Join(err, failed)
}

// prepare sees that a connection has set what it should and can have.
func (p *port) prepare(fd int) {
	if !p.looked {
		p.looked, p.inherit = true, hasOptions(fd)
	}
	if !p.inherit {
		setOptions(fd)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
}

// acceptNow accepts without waiting, of which Go's scheduler need not be told.
func acceptNow(ln uintptr) (newcomer, syscall.Errno) {
	var from unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	fd, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, ln, uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return newcomer{}, errno
	}
	who := newcomer{fd: int(fd)}
	switch from.Addr.Family {
	case unix.AF_INET:
		who.peer = netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&from)).Addr)
	case unix.AF_INET6:
		who.peer = netip.AddrFrom16((*unix.RawSockaddrInet6)(unsafe.Pointer(&from)).Addr).Unmap()
	}
	return who, 0
}
