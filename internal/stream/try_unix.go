//go:build unix

package stream

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// canTry says whether sockets can be read and written without waiting.
const canTry = true

// duplicate gives another descriptor of what fd is one of.
func duplicate(fd uintptr) (int32, error) {
	dup, err := unix.FcntlInt(fd, syscall.F_DUPFD_CLOEXEC, 0)
	return int32(dup), os.NewSyscallError("fcntl", err)
}

func closeFile(fd int) error { return os.NewSyscallError("close", syscall.Close(fd)) }

// closeHalf closes the sending half.
func closeHalf(fd uintptr) error {
	return os.NewSyscallError("shutdown", syscall.Shutdown(int(fd), syscall.SHUT_WR))
}

// closeBoth ends the conversation. It fails if the other end did so already.
func closeBoth(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RDWR) }
