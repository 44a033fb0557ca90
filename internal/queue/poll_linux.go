package queue

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// polls says whether the kernel can be asked who is ready.
const polls = true

// poller says which clients have input. It has an epoll instance of its own, in
// which each is once, edge-triggered. That instance is a file which Go's own
// poller watches, so that no thread waits in it.
type poller struct {
	tell func([]*Handle) // who has input, and is to be pushed
	file *os.File
	raw  syscall.RawConn
	over sync.WaitGroup

	mu     sync.Mutex
	byFile []*Handle // index: file descriptor
}

func newPoller(tell func([]*Handle)) (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), unix.Close(fd))
	}
	p := &poller{tell: tell, file: os.NewFile(uintptr(fd), "epoll")}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), p.file.Close())
	}
	p.over.Go(p.run)
	return p, nil
}

// add begins to watch h's source.
func (p *poller) add(h *Handle, src Source) error {
	raw, err := src.SyscallConn()
	if err != nil {
		return fmt.Errorf("polling: %w", err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		h.fd = int32(fd)
		p.mu.Lock()
		for len(p.byFile) <= int(fd) {
			p.byFile = append(p.byFile, make([]*Handle, max(64, len(p.byFile)/4))...)
		}
		p.byFile[fd] = h
		p.mu.Unlock()
		failed = p.control(unix.EPOLL_CTL_ADD, h, 0)
	})
	if err = errors.Join(err, failed); err != nil {
		p.forget(h)
		return fmt.Errorf("polling: %w", err)
	}
	return nil
}

// await has h's source, which is watched, watched for room for output as well.
func (p *poller) await(h *Handle) error {
	if err := p.control(unix.EPOLL_CTL_MOD, h, unix.EPOLLOUT); err != nil {
		return fmt.Errorf("polling: %w", err)
	}
	return nil
}

// remove ends the watching of h's source.
func (p *poller) remove(h *Handle) {
	_ = p.control(unix.EPOLL_CTL_DEL, h, 0) // fails when the poller is closed
	p.forget(h)
}

func (p *poller) forget(h *Handle) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.fd >= 0 && int(h.fd) < len(p.byFile) && p.byFile[h.fd] == h {
		p.byFile[h.fd] = nil
	}
}

// control changes for what h's source is watched beside its input, unless the
// epoll instance is closed.
func (p *poller) control(op int, h *Handle, also uint32) error {
	var failed error
	err := p.raw.Control(func(epoll uintptr) {
		failed = unix.EpollCtl(int(epoll), op, int(h.fd), &unix.EpollEvent{
			Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET | also, Fd: h.fd,
		})
	})
	return errors.Join(err, failed)
}

// run queues who has input, until the poller is closed.
func (p *poller) run() {
	events := make([]unix.EpollEvent, 256)
	ready := make([]*Handle, 0, len(events))
	var stirred []*Handle
	for {
		n := 0
		var failed error
		err := p.raw.Read(func(epoll uintptr) bool {
			n, failed = epollNow(epoll, events)
			if failed == unix.EINTR {
				n, failed = 0, nil
			}
			return n > 0 || failed != nil
		})
		if err != nil || failed != nil {
			return // closed
		}
		ready = ready[:0]
		p.mu.Lock()
		for _, e := range events[:n] {
			// It may be one who came to the file of another: then this is a
			// turn for nothing.
			h := p.byFile[e.Fd]
			if h == nil {
				continue
			}
			if h.state.Load()&awaits != 0 {
				stirred = append(stirred, h)
			}
			if e.Events&^unix.EPOLLOUT == 0 {
				continue
			}
			why := input
			if e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
				why |= hungUp
			}
			if _, push := h.signal(why); push {
				ready = append(ready, h)
			}
		}
		p.mu.Unlock()
		for _, h := range stirred {
			if w, ok := h.client.(Waiter); ok {
				w.Stirred()
			}
		}
		stirred = nil
		p.tell(ready)
		clear(ready)
	}
}

// epollNow is EpollWait without waiting, of which Go's scheduler need not be
// told.
func epollNow(epoll uintptr, events []unix.EpollEvent) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, epoll, uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (p *poller) close() {
	_ = p.file.Close() // of which run hears
	p.over.Wait()
}
