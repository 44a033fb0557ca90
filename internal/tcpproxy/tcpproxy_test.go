package tcpproxy

import (
	"errors"
	"io"
	"net"
	"testing"
)

// sink is a server that gives every connection it gets to who asks.
func sink(t *testing.T) (addr string, conns <-chan net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got, over := make(chan net.Conn, 8), make(chan struct{})
	go func() {
		defer close(over)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			got <- c
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-over })
	return l.Addr().String(), got
}

func start(t *testing.T, connect func() (net.Conn, Pass, error)) *Proxy {
	p, err := Start("127.0.0.1", connect)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func dial(t *testing.T, p *Proxy) net.Conn {
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func everything(_ bool, b []byte) int { return len(b) }

// ended says that the other side is gone, and with what before.
func ended(t *testing.T, c net.Conn, want string) {
	t.Helper()
	if b, err := io.ReadAll(c); string(b) != want {
		t.Errorf("%q until %v, want %q", b, err, want)
	}
}

func TestWhatDoesNotGoOnCutsBehindIt(t *testing.T) {
	addr, conns := sink(t)
	p := start(t, func() (net.Conn, Pass, error) {
		c, err := net.Dial("tcp", addr)
		return c, func(fromClient bool, b []byte) int {
			if fromClient {
				return min(len(b), 3)
			}
			return len(b)
		}, err
	})
	c := dial(t, p)
	server := <-conns
	defer server.Close()
	if _, err := c.Write([]byte("abcdef")); err != nil {
		t.Fatal(err)
	}
	ended(t, server, "abc")
	ended(t, c, "")
}

// Who is on his way to the server when all is cut gets nowhere, as when he is
// through: else he were carried where nobody goes any more.
func TestCutWhileConnecting(t *testing.T) {
	for _, shut := range []bool{false, true} {
		addr, conns := sink(t)
		came, goOn := make(chan struct{}, 8), make(chan struct{})
		p := start(t, func() (net.Conn, Pass, error) {
			came <- struct{}{}
			<-goOn
			c, err := net.Dial("tcp", addr)
			return c, everything, err
		})
		c := dial(t, p)
		<-came
		p.Cut(shut)
		close(goOn)
		ended(t, c, "")
		server := <-conns
		ended(t, server, "")
		_ = server.Close()

		again := dial(t, p)
		if shut {
			ended(t, again, "")
			p.Cut(false)
			again = dial(t, p)
		}
		if _, err := again.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		server = <-conns
		if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
			t.Errorf("it is not carried again: %v", err)
		}
		_ = server.Close()
		ended(t, again, "")
	}
}

func TestCloseWaits(t *testing.T) {
	addr, conns := sink(t)
	p := start(t, func() (net.Conn, Pass, error) {
		c, err := net.Dial("tcp", addr)
		return c, everything, err
	})
	c := dial(t, p)
	server := <-conns
	defer server.Close()
	p.Close()
	if n := len(p.conns); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	ended(t, server, "")
	ended(t, c, "")
	if c, err := net.Dial("tcp", p.Addr()); err == nil {
		_ = c.Close()
		t.Error("somebody still listens")
	} else if errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
