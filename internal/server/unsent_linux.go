package server

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// unsent is how much the kernel keeps of what has not been sent to a client yet.
// By itself it keeps a megabyte and more of each client that does not read: a
// thousand such clients in a room have its messages written to them as if they
// did, until the kernel is out of memory for connections. Twice as much as is
// written at once keeps those busy who read.
const unsent = 128 << 10

// boundUnsent bounds it for a connection. It is not set on the listener: what
// that has of MPTCP is not what a connection has that speaks TCP.
func boundUnsent(nc net.Conn) error {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return fmt.Errorf("bounding what is not sent: %w", err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("bounding what is not sent: %w", err)
	}
	return nil
}
