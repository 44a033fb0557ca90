//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/sqlite"
)

// rawServer is the limit that servers are compared with: a bare loop over
// sockets, one thread, no logic. It runs in a process of its own, so that its
// CPU is counted like a server's. What a connection says first says what it is:
//
//	S  a receiver, answered +
//	P  a publisher, answered +: each of its lines goes to every receiver as it is
//	E  an echo: answered +, and then each line with itself
//	T  a line with a token, answered with the line; the store, when there is one,
//	   is asked for the token's session
type rawServer struct {
	join      bool // all that is ready at once goes out in one write per receiver
	store     *sqlite.Store
	conns     []*rawConn // by descriptor
	receivers []int
	gathered  []byte
}

type rawConn struct {
	kind byte
	in   []byte // a line without its end
	out  []byte // of an echo: answers of this turn
}

// runRaw serves until it is killed. Arguments: "join" or "each", then perhaps a
// data directory.
func runRaw(args []string) error {
	s := &rawServer{join: len(args) > 0 && args[0] == "join"}
	if len(args) > 1 {
		var err error
		if s.store, err = sqlite.Open(context.Background(), sqlite.Config{Dir: args[1]}); err != nil {
			return err
		}
	}
	runtime.LockOSThread()
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(ln, 4096)); err != nil {
		return err
	}
	name, err := unix.Getsockname(ln)
	if err != nil {
		return err
	}
	in4, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return fmt.Errorf("listening at %T", name)
	}
	fmt.Printf("listening on 127.0.0.1:%d\n", in4.Port)
	return s.serve(ln)
}

func (s *rawServer) serve(ln int) error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	watch := func(fd int) error {
		return unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}
	if err := watch(ln); err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 1024)
	buf := make([]byte, 64<<10)
	parent := os.Getppid()
	for {
		n, err := unix.EpollWait(ep, events, 1000)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n <= 0 && os.Getppid() != parent {
			return nil // whoever measured is gone
		}
		for _, e := range events[:max(n, 0)] {
			fd := int(e.Fd)
			if fd != ln {
				if err := s.turn(fd, buf); err != nil {
					return err
				}
				continue
			}
			for {
				fd, _, err := unix.Accept4(ln, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
				if err != nil {
					break
				}
				_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
				for len(s.conns) <= fd {
					s.conns = append(s.conns, nil)
				}
				s.conns[fd] = &rawConn{}
				if err := watch(fd); err != nil {
					return err
				}
			}
		}
		if len(s.gathered) > 0 {
			s.fanOut(s.gathered)
			s.gathered = s.gathered[:0]
		}
	}
}

// turn takes what one connection has to say.
func (s *rawServer) turn(fd int, buf []byte) error {
	c := s.conns[fd]
	n, err := unix.Read(fd, buf)
	if errors.Is(err, unix.EAGAIN) {
		return nil
	}
	if err != nil || n == 0 {
		unix.Close(fd)
		s.conns[fd] = nil
		return nil
	}
	data := buf[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, data...)
		data = c.in
	}
	for {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			break
		}
		if err := s.line(fd, c, data[:i+1]); err != nil {
			return err
		}
		data = data[i+1:]
	}
	c.in = append(c.in[:0], data...)
	if len(c.out) > 0 {
		writeAll(fd, c.out)
		c.out = c.out[:0]
	}
	return nil
}

func (s *rawServer) line(fd int, c *rawConn, line []byte) error {
	if c.kind == 0 {
		c.kind = line[0]
		switch c.kind {
		case 'S':
			s.receivers = append(s.receivers, fd)
		case 'T':
			return s.login(c, line)
		}
		c.out = append(c.out, "+\n"...)
		return nil
	}
	switch {
	case c.kind == 'E':
		c.out = append(c.out, line...)
	case c.kind != 'P':
	case s.join:
		s.gathered = append(s.gathered, line...)
	default:
		s.fanOut(line)
	}
	return nil
}

// login looks a token up as a server has to, and says it back.
func (s *rawServer) login(c *rawConn, line []byte) error {
	if s.store != nil {
		hash := sha256.Sum256([]byte(strings.TrimSpace(string(line[1:]))))
		err := s.store.View(context.Background(), func(r chat.Reader) error {
			session, err := r.SessionByToken(hash)
			if err != nil {
				return err
			}
			_, err = r.User(session.User)
			return err
		})
		if err != nil {
			return fmt.Errorf("looking a token up: %w", err)
		}
	}
	c.out = append(c.out, line...)
	return nil
}

func (s *rawServer) fanOut(bytes []byte) {
	for _, fd := range s.receivers {
		writeAll(fd, bytes)
	}
}

// writeAll writes, and waits where there is no room: with a bounded number of
// messages under way that does not happen. A receiver that is gone is noticed
// when it is read.
func writeAll(fd int, b []byte) {
	for len(b) > 0 {
		// Without telling the scheduler: nothing else is to run here.
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if errno == unix.EAGAIN {
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 1000); err == nil || errors.Is(err, unix.EINTR) {
				continue
			}
		}
		if errno != 0 {
			return
		}
		b = b[n:]
	}
}
