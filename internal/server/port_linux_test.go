package server

import (
	"context"
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// Connections have set what they should, whether the listening socket speaks MPTCP
// or not, and whether they have it from there or not.
func TestOptionsOfConnections(t *testing.T) {
	for _, multipath := range []bool{true, false} {
		for _, inherits := range []bool{true, false} {
			var lc net.ListenConfig
			lc.SetMultipathTCP(multipath)
			ln, err := lc.Listen(t.Context(), "tcp", "[::]:0")
			if err != nil {
				t.Skip("no IPv6: ", err)
			}
			p, err := newPort(ln)
			if err != nil {
				t.Fatal(err)
			}
			if !inherits {
				p.looked = true
				if err := p.raw.Control(func(fd uintptr) {
					for _, o := range options {
						if err := unix.SetsockoptInt(int(fd), o.level, o.name, 1-o.value&1); err != nil {
							t.Log(err) // some values are not taken
						}
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			_, number, err := net.SplitHostPort(p.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			for _, host := range []string{"127.0.0.1", "::1"} {
				far, err := new(net.Dialer).DialContext(context.Background(), "tcp", net.JoinHostPort(host, number))
				if err != nil {
					t.Fatal(err)
				}
				met := 0
				for met == 0 {
					if err := p.accept(func(who newcomer) {
						met++
						if got := who.peer.String(); got != host {
							t.Errorf("from %s, want %s", got, host)
						}
						if !hasOptions(who.fd) {
							t.Errorf("multipath %t, inherits %t: options are missing", multipath, inherits)
						}
						if v, err := unix.GetsockoptInt(who.fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT); err != nil || v != unsent {
							t.Errorf("the kernel keeps %d of what is not sent: %v", v, err)
						}
						if err := unix.Close(who.fd); err != nil {
							t.Error(err)
						}
					}); err != nil {
						t.Fatal(err)
					}
				}
				if err := far.Close(); err != nil {
					t.Error(err)
				}
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if err := p.accept(nil); err == nil {
				t.Error("a closed port accepts")
			}
		}
	}
}

// Who has a kernel that does not know an option is served without it.
func TestOptionsThatThereAreNot(t *testing.T) {
	defer func(all []option) { options = all }(options)
	options = append([]option{{unix.IPPROTO_TCP, 1 << 20, 1}}, options...)
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPort(ln)
	if err != nil {
		t.Fatal(err)
	}
	far, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.accept(func(who newcomer) {
		for _, o := range options[1:] {
			if v, err := unix.GetsockoptInt(who.fd, o.level, o.name); err != nil || v != o.value {
				t.Errorf("option %d is %d, want %d: %v", o.name, v, o.value, err)
			}
		}
		if err := unix.Close(who.fd); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Error(err)
	}
	if err := errors.Join(far.Close(), p.Close()); err != nil {
		t.Error(err)
	}
}
