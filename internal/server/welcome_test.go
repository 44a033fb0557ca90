package server

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/stream"
)

// from is a connection from another machine.
type from struct {
	net.Conn

	addr net.TCPAddr
}

func (f from) RemoteAddr() net.Addr { return &f.addr }

// visit lets a client at addr in and returns its end of the connection.
func visit(t *testing.T, cfg Config, addr string) net.Conn {
	t.Helper()
	cfg.Listen, cfg.Log = "127.0.0.1:0", slog.New(slog.DiscardHandler)
	cfg.Lines = stream.New(stream.Config{}) // nobody gets as far
	if cfg.HTTP == nil {
		cfg.HTTP = http.NotFoundHandler()
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.cert = &certificate{}
	here, there := net.Pipe()
	var serving sync.WaitGroup
	serving.Go(func() { s.welcome(from{here, net.TCPAddr{IP: net.ParseIP(addr), Port: 7}}) })
	serving.Go(func() { _ = s.http.serve() })
	t.Cleanup(func() {
		_ = there.Close()
		if err := s.http.shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		serving.Wait()
		if s.gate.open != 0 {
			t.Errorf("%d connections are still counted", s.gate.open)
		}
	})
	return there
}

// A handshake whose first packet was lost comes after some hundred milliseconds.
// It found a Hello, in the clear, which ended it.
func TestALateHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc := visit(t, Config{}, "192.0.2.1")
		time.Sleep(firstWords - time.Second)
		if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\n"); err != nil {
			t.Fatal(err)
		}
		const want = "HTTP/1.1 403"
		got := make([]byte, len(want))
		if _, err := io.ReadFull(nc, got); err != nil || string(got) != want {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestPlainTextFromAnotherMachine(t *testing.T) {
	t.Run("lines", func(t *testing.T) {
		nc := visit(t, Config{}, "192.0.2.1")
		if _, err := io.WriteString(nc, "\n"); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(nc)
		if want := `"code":"protocol_violation","message":"use TLS"`; err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	})
	t.Run("HTTP", func(t *testing.T) {
		nc := visit(t, Config{}, "192.0.2.1")
		if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if res.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "https") || err != nil {
			t.Errorf("%s %s %v", res.Status, body, err)
		}
	})
	for name, tt := range map[string]struct {
		cfg  Config
		addr string
	}{
		"insecure on purpose": {Config{Insecure: true}, "192.0.2.1"},
		"behind a proxy":      {Config{BehindProxy: true}, "192.0.2.1"},
		"from this machine":   {Config{}, "127.0.0.1"},
		"IPv6, this machine":  {Config{}, "::1"},
	} {
		t.Run(name, func(t *testing.T) {
			nc := visit(t, tt.cfg, tt.addr)
			if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != http.StatusNotFound {
				t.Error(res.Status)
			}
		})
	}
}

func TestSilenceAfterTheFirstByte(t *testing.T) {
	for name, first := range map[string]string{
		"TLS handshake": "\x16",
		"HTTP method":   "GET",
		"HTTP headers":  "GET / HTTP/1.1\r\nHost: local",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc := visit(t, Config{Insecure: true}, "192.0.2.1")
				began := time.Now()
				if _, err := io.WriteString(nc, first); err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(nc); err != nil && len(got) > 0 {
					t.Errorf("%s, %v", got, err)
				}
				if waited := time.Since(began); waited < 9*time.Second || waited > 11*time.Second {
					t.Errorf("after %v", waited)
				}
			})
		})
	}
}

// Who has not shown a good token is not idle for long.
func TestIdleStranger(t *testing.T) {
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    time.Duration
	}{
		"a stranger": {http.NotFound, strangerIdle},
		"with a good token": {func(w http.ResponseWriter, r *http.Request) {
			c := r.Context().Value(connKey{}).(*webConn)
			c.arrival.known()
			http.NotFound(w, r)
		}, idleTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc := visit(t, Config{Insecure: true, HTTP: tt.handler}, "192.0.2.1")
				if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				r := bufio.NewReader(nc)
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadAll(res.Body); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
					t.Errorf("%s, %v", rest, err)
				}
				if waited := time.Since(began); waited != tt.want {
					t.Errorf("idle for %v, want %v", waited, tt.want)
				}
			})
		})
	}
}
