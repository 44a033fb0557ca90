//go:build !linux

package server

import "net"

// port is the listening socket.
type port struct{ net.Listener }

func newPort(ln net.Listener) (*port, error) { return &port{ln}, nil }

// acceptPort serves who comes to the port, until it is closed.
func (s *Server) acceptPort() error { return s.accept(s.port, s.welcome) }
