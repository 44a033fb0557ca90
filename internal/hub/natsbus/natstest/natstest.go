// Package natstest runs a NATS server inside a test, on a port of its own.
package natstest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Server is a NATS server that ends with its test.
type Server struct {
	t       testing.TB
	options server.Options
	srv     *server.Server // nil: stopped, or another's

	URL    string
	Prefix string // for subjects, of this test's own
}

// Start starts a server, set up by set if that is not nil. Without, and if
// GRIMA_TEST_NATS is the URL of another one, that is used.
func Start(t testing.TB, set func(*server.Options)) *Server {
	t.Helper()
	s := &Server{t: t, Prefix: fmt.Sprintf("grimatest%d", rand.Uint64())}
	if url := os.Getenv("GRIMA_TEST_NATS"); url != "" && set == nil {
		s.URL = url
		return s
	}
	port, err := Port()
	if err != nil {
		t.Fatalf("finding a port for NATS: %v", err)
	}
	s.options = server.Options{Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true}
	if set != nil {
		set(&s.options)
	}
	s.Restart()
	t.Cleanup(s.Stop)
	return s
}

// Own reports whether the server may be stopped.
func (s *Server) Own() bool { return s.options.Port != 0 }

// Stop ends the server, as kill does.
func (s *Server) Stop() {
	if s.srv == nil {
		return
	}
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	s.srv = nil
}

// Restart starts the server, at the port that it had if it had one.
func (s *Server) Restart() {
	s.t.Helper()
	options := s.options.Clone()
	srv, err := server.NewServer(options)
	if err != nil {
		s.t.Fatalf("starting NATS: %v", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(time.Minute) {
		s.t.Fatal("NATS does not start")
	}
	s.srv = srv
	scheme := "nats"
	if s.options.TLSConfig != nil {
		scheme = "tls"
	}
	s.URL = fmt.Sprintf("%s://%s", scheme, srv.Addr())
}

// Port finds a free port that stays free while a server that is to come back to
// it is stopped: none of those that systems hand out by themselves, which all
// others' connections and listeners get, on Linux from 32768 on.
func Port() (int, error) {
	var failed error
	for range 100 {
		port := 20_000 + rand.IntN(12_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
		failed = err
	}
	return 0, failed
}

// URLFor is the server's URL with a user's name and password.
func (s *Server) URLFor(user, password string) string {
	scheme, host, _ := strings.Cut(s.URL, "://")
	return scheme + "://" + user + ":" + password + "@" + host
}
