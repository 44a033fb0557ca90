// Package server is Grima's one port. It accepts connections, tells by their
// first bytes what they speak (lines, HTTP/1.1, or TLS with either inside),
// hands them to the rooms that serve them, and ends it all in order.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/protocol"
)

// Config says what to serve, and where. Lines and HTTP are required.
type Config struct {
	Listen  string // host:port; port 0 chooses one
	Control string // path of the operator's socket; empty: none. The data directory's lock must be held

	CertFile, KeyFile string // PEM files; empty: no TLS
	BehindProxy       bool   // something in front ends TLS, and only it can reach Listen
	Insecure          bool   // passwords in the clear are all right

	Lines *stream.Server
	HTTP  http.Handler

	// Failed, when not nil, is closed when the store can never write again; Err
	// then says why.
	Failed <-chan struct{}
	Err    func() error
	// Reach says why the store is out of reach though it has not failed: it is
	// elsewhere and cannot be asked now, or its files are not where they were. Nil:
	// that cannot be.
	Reach func() error
	// Tidy, when not nil, gives back what is not needed after a rush of
	// connections: what rooms keep beside the garbage that Go finds by itself.
	Tidy func()

	MaxConnections int           // 0: what the limit on open files allows
	MaxPerAddress  int           // connections of one address; 0: 1,000; below zero: any number; never more than half of all
	MaxStrangers   int           // connections of one address that are not logged in; 0: 128
	NoLimits       bool          // lift MaxPerAddress and MaxStrangers
	StopTimeout    time.Duration // of a clean stop; 0: 10 s
	Log            *slog.Logger
}

// ErrInTheClear is that passwords would cross a network in the clear and
// nobody said that this is meant.
var ErrInTheClear = errors.New("the address can be reached from other machines, and there is no TLS: passwords would cross the network in the clear; " +
	"give a certificate and its key, or say that a proxy in front ends TLS, or that this is meant, or listen on 127.0.0.1")

// Validate refuses to carry passwords over a network in the clear, unless told
// so in as many words: ErrInTheClear.
func (c Config) Validate() error {
	local, err := Loopback(c.Listen)
	if err != nil {
		return err
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return errors.New("TLS needs a certificate file and its key file: there is one without the other")
	}
	if c.CertFile != "" || c.BehindProxy || c.Insecure || local {
		return nil
	}
	return fmt.Errorf("%s: %w", c.Listen, ErrInTheClear)
}

// Loopback reports whether listen, a host:port, names this machine's loopback
// and nothing else.
func Loopback(listen string) (bool, error) {
	host, port, err := net.SplitHostPort(listen)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return false, fmt.Errorf("the address to listen on looks like 127.0.0.1:7007 or :7007, not like %q: %w", listen, err)
	}
	if host == "localhost" {
		return true, nil
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback(), nil
}

// Server serves one port and one control socket.
type Server struct {
	cfg  Config
	log  *slog.Logger
	cert *certificate // nil: no TLS
	gate *gate
	http *httpDoor

	port    *port
	control net.Listener

	ctx     context.Context // over when the server stops taking connections
	stop    context.CancelFunc
	serving sync.WaitGroup // connections
}

// New makes a Server from a valid Config. It reads the certificate.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = 10 * time.Second
	}
	s := &Server{cfg: cfg, log: cfg.Log}
	if cfg.CertFile != "" {
		s.cert = &certificate{certFile: cfg.CertFile, keyFile: cfg.KeyFile}
		if err := s.cert.reload(); err != nil {
			return nil, err
		}
	}
	s.gate = newGate(cfg)
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.http = newHTTPDoor(cfg.HTTP, s.log)
	return s, nil
}

// keepAlive finds out who is gone without a word.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}

// Listen takes the port and makes the control socket. After it, clients can
// connect; they are served from Serve on.
func (s *Server) Listen() error {
	ln, err := (&net.ListenConfig{KeepAliveConfig: keepAlive}).Listen(context.Background(), network(s.cfg.Listen), s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listening on %s%s: %w", s.cfg.Listen, listenHint(err), err)
	}
	port, err := newPort(ln)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", s.cfg.Listen, err)
	}
	if s.cfg.Control != "" {
		if s.control, err = listenControl(s.cfg.Control); err != nil {
			return errors.Join(err, port.Close())
		}
	}
	s.port = port
	return nil
}

// listenHint says what to look at when an address cannot be listened on.
func listenHint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return " (does something else have the port?)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return " (does this machine have that address?)"
	case errors.Is(err, syscall.EACCES):
		return " (ports below 1024 may be root's alone; one above needs no leave)"
	}
	return ""
}

// network is that of a host:port to listen on. To Go 0.0.0.0 means all addresses,
// also those of IPv6, which whoever wrote it may have no firewall before.
func network(listen string) string {
	if at, err := netip.ParseAddrPort(listen); err == nil && at.Addr().Is4() {
		return "tcp4"
	}
	return "tcp"
}

// Addr is where the server listens, once Listen has returned.
func (s *Server) Addr() net.Addr { return s.port.Addr() }

// Ready reports why the server should not be sent new clients; nil when it
// should.
func (s *Server) Ready() error {
	if s.ctx.Err() != nil {
		return errors.New("the server is stopping")
	}
	select {
	case <-s.cfg.Failed:
		return errors.New("the store has failed")
	default:
	}
	if s.cfg.Reach != nil {
		return s.cfg.Reach()
	}
	return nil
}

// ReloadCertificate reads the certificate files again. If that fails, the old
// certificate stays. Without TLS it does nothing.
func (s *Server) ReloadCertificate() error {
	if s.cert == nil {
		return nil
	}
	return s.cert.reload()
}

// Serve serves until ctx ends, and then stops: nothing new is accepted, what
// is under way is answered, everybody is told Goodbye, and all connections are
// closed, within Config.StopTimeout. It listens first if Listen has not been
// called. The error is nil after a clean stop; otherwise it says what ended
// the serving, or that not everybody was done in time.
func (s *Server) Serve(ctx context.Context) error {
	if s.port == nil {
		if err := s.Listen(); err != nil {
			return err
		}
	}
	broken := make(chan error, 3)
	var loops sync.WaitGroup
	loops.Go(func() { broken <- s.acceptPort() })
	if s.control != nil {
		loops.Go(func() { broken <- s.accept(s.control, s.welcomeOperator) })
	}
	loops.Go(func() { broken <- s.http.serve() })
	loops.Go(func() { s.cfg.Lines.CheckSessions(s.ctx) })
	loops.Go(func() { s.gate.tidyUp(s.ctx, allocatedBytes, s.tidy) })

	code, message := protocol.GoodbyeShutdown, "the server is stopping"
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-broken:
		code, message = protocol.GoodbyeInternal, "the server cannot go on"
	case <-s.cfg.Failed:
		failure = fmt.Errorf("the store has failed: %w", s.cfg.Err())
		code, message = protocol.GoodbyeInternal, "the server cannot store anything any more"
		s.log.Error("stopping", "error", failure)
	}

	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.StopTimeout)
	defer cancel()
	return errors.Join(failure, s.shutdown(bound, code, message, &loops))
}

func (s *Server) shutdown(ctx context.Context, code protocol.GoodbyeCode, message string, loops *sync.WaitGroup) error {
	s.stop()
	err := s.port.Close()
	if s.control != nil {
		err = errors.Join(err, s.control.Close())
	}
	web := make(chan error, 1)
	go func() { web <- s.http.shutdown(ctx) }()
	if late := s.cfg.Lines.Shutdown(ctx, code, message); late != nil {
		err = errors.Join(err, fmt.Errorf("some connections were cut off: %w", late))
	}
	if late := <-web; late != nil {
		err = errors.Join(err, fmt.Errorf("some HTTP requests were cut off: %w", late))
	}
	loops.Wait()
	s.serving.Wait()
	return err
}

// The pauses of accept when there is nothing to accept with.
const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

// accept hands what it accepts to serve, each on a goroutine, until the
// listener is closed.
func (s *Server) accept(ln net.Listener, serve func(net.Conn)) error {
	return s.acceptEach(func() error {
		nc, err := ln.Accept()
		if err != nil {
			return err
		}
		if err := boundUnsent(nc); err != nil {
			s.log.Debug("a connection keeps more than it should, or is closed already", "error", err)
		}
		s.serving.Go(func() { serve(nc) })
		return nil
	})
}

// acceptEach has accept accept, over and over, until the server stops or accept
// fails for good.
func (s *Server) acceptEach(accept func() error) error {
	pause := time.Duration(0)
	for {
		err := accept()
		switch {
		case err == nil:
			pause = 0
			continue
		case s.ctx.Err() != nil:
			return nil
		case !passing(err):
			return fmt.Errorf("accepting connections: %w", err)
		}
		// Out of files or memory: what is open may end soon.
		if pause == 0 {
			s.log.Warn("cannot accept connections for the moment", "error", err)
		}
		pause = min(max(2*pause, minPause), maxPause)
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return nil
		}
	}
}

// passing reports whether an error of Accept says something about the moment
// or about one client, rather than about the listener.
func passing(err error) bool {
	for _, e := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR, syscall.EPERM,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.Is(err, os.ErrDeadlineExceeded)
}

func (s *Server) welcomeOperator(nc net.Conn) {
	s.cfg.Lines.Take(nc, stream.Peer{Operator: true})
}
