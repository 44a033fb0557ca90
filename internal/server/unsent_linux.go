package server

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent is how much the kernel keeps of what has not been sent to a client yet.
// By itself it keeps megabytes of each client that does not read, and a room of a
// thousand such clients has as many of its messages written for nothing. Twice
// as much as is written at once keeps those busy who read.
const unsent = 128 << 10

// boundUnsent is for a listener; connections have it of theirs.
func boundUnsent(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("bounding what is not sent: %w", err)
	}
	return nil
}
