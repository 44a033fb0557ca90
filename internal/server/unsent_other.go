//go:build !linux

package server

import "net"

// boundUnsent: elsewhere the kernel's own bounds do.
func boundUnsent(net.Conn) error { return nil }
