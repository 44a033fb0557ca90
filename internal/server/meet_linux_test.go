package server

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/stream"
)

// noStore is there for the Hello.
type noStore struct{ chat.Store }

func (noStore) Epoch() string { return "e" }

// Who is gone without a word before they are met, as port scanners and some
// health checks are, has no address that could be asked for any more. The server
// goes on with the next.
func TestGoneBeforeTheyAreMet(t *testing.T) {
	for name, cfg := range map[string]Config{
		"all may come": {},
		"nobody may":   {MaxConnections: 1}, // and the first is there for good
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Listen, cfg.Log, cfg.HTTP = "127.0.0.1:0", slog.New(slog.DiscardHandler), http.NotFoundHandler()
			service := chat.NewService(chat.Config{Store: noStore{}})
			cfg.Lines = stream.New(stream.Config{Service: service, API: api.New(service)})
			s, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Listen(); err != nil {
				t.Fatal(err)
			}
			come := func(says string) net.Conn {
				t.Helper()
				c, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Write([]byte(says)); err != nil {
					t.Fatal(err)
				}
				return c
			}
			if cfg.MaxConnections > 0 {
				var place ticket
				if err := s.gate.admit(&place, addrOf(come(""))); err != nil {
					t.Fatal(err)
				}
				defer place.leave()
			}
			for _, says := range []string{"", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01", "{"} {
				c := come(says)
				if err := c.(*net.TCPConn).SetLinger(0); err != nil {
					t.Fatal(err)
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
			}
			ctx, stop := context.WithCancel(t.Context())
			over := make(chan error)
			go func() { over <- s.Serve(ctx) }()
			next := come("\x00\x00")
			if err := next.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(next).ReadString('\n'); err != nil || !strings.Contains(line, `"type"`) {
				t.Errorf("the next one hears %q, %v", line, err)
			}
			stop()
			if err := <-over; err != nil {
				t.Error(err)
			}
			_ = next.Close()
		})
	}
}

// Beyond those who can be told why, whoever cannot come in is closed at once: a
// crowd takes no more files than that.
func TestACrowdBeforeAFullServer(t *testing.T) {
	s, err := New(Config{MaxConnections: 1, Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler), HTTP: http.NotFoundHandler(), Lines: stream.New(stream.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	var place ticket
	if err := s.gate.admit(&place, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	s.gate.turningAway = maxTurningAway
	for range 8 {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fd := -1
		if err := s.port.accept(func(who newcomer) {
			fd = who.fd
			s.meet(who)
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
			t.Errorf("descriptor %d is open: %v", fd, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if s.gate.turningAway != maxTurningAway {
		t.Errorf("%d are being turned away, want %d", s.gate.turningAway, maxTurningAway)
	}
	if err := s.port.Close(); err != nil {
		t.Error(err)
	}
}
