//go:build unix

package queue

import "syscall"

// hasInput reports whether a read of fd would not wait: there are bytes, the
// end, or an error.
func hasInput(fd uintptr) bool {
	var b [1]byte
	for {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		if err != syscall.EINTR {
			return err != syscall.EAGAIN
		}
	}
}
