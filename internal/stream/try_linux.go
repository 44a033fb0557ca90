package stream

import (
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notWaiting: tryRead and tryWrite do not wait, and so Go's scheduler is not told
// of them. If it were, its monitor would wake up, and look around every 20 us for
// as long as anything runs. What they are used on are sockets; asked as such the
// kernel does less than for any file, and touches less memory for each.
const notWaiting = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

func tryRead(fd uintptr, b []byte) (int, error) {
	for {
		n, errno := transfer(unix.SYS_RECVFROM, fd, b)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			return 0, errNotNow
		case errno != 0:
			return 0, os.NewSyscallError("recvfrom", errno)
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

func tryWrite(fd uintptr, b []byte) (int, error) {
	for {
		n, errno := transfer(unix.SYS_SENDTO, fd, b)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			return 0, errNotNow
		case errno != 0:
			return 0, os.NewSyscallError("sendto", errno)
		}
		return n, nil
	}
}

// transfer is recvfrom or sendto without an address.
func transfer(call, fd uintptr, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), notWaiting, 0, 0)
	return int(n), errno
}
