package server

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestTell(t *testing.T) {
	for _, tt := range []struct {
		begin string
		what  speech
		sure  bool
	}{
		{"", speaksLines, false},
		{"{", speaksLines, true},
		{"\n", speaksLines, true},
		{"\r\n", speaksLines, true},
		{" {", speaksLines, true},
		{"\t", speaksLines, true},
		{"\x16", speaksTLS, true},
		{"\x16\x03\x01", speaksTLS, true},
		{"G", speaksElse, false},
		{"GET", speaksElse, false},
		{"GET ", speaksHTTP, true},
		{"PROPFIND /", speaksHTTP, true},
		{"SSH-2.0-OpenSSH", speaksElse, true},
		{"A ", speaksElse, true},
		{"get /", speaksElse, true},
		{"hello", speaksElse, true},
		{"\x00", speaksElse, true},
		{"\xef\xbb\xbf{", speaksElse, true},
	} {
		what, sure := tell([]byte(tt.begin))
		if sure != tt.sure || sure && what != tt.what {
			t.Errorf("tell(%q) = %v, %v", tt.begin, what, sure)
		}
	}
}

// trickle sends s a byte at a time over a pipe whose other end it returns,
// until that is closed.
func trickle(s string, pause time.Duration) (here net.Conn, done *sync.WaitGroup) {
	here, there := net.Pipe()
	done = new(sync.WaitGroup)
	done.Go(func() {
		for i := range len(s) {
			time.Sleep(pause)
			if _, err := there.Write([]byte{s[i]}); err != nil {
				return
			}
		}
	})
	return here, done
}

func TestSniffWaitsAsLongAsItMust(t *testing.T) {
	for _, tt := range []struct {
		name, input string
		pause       time.Duration
		what        speech
		fails       bool
		after       time.Duration
	}{
		{"at once", "GET / HTTP/1.1", 0, speaksHTTP, false, 0},
		{"byte by byte", "GET / HTTP/1.1", 100 * time.Millisecond, speaksHTTP, false, 400 * time.Millisecond},
		{"a slow typist", "{", time.Second, speaksLines, false, silence},
		{"one letter and then nothing", "G", 0, 0, true, firstWords},
		{"letters without end", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", 0, speaksElse, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc, done := trickle(tt.input, tt.pause)
				defer done.Wait()
				defer func() { _ = nc.Close() }()
				began := time.Now()
				what, conn, err := sniff(t.Context(), nc, nil, silence)
				if (err != nil) != tt.fails || what != tt.what || time.Since(began) != tt.after {
					t.Fatalf("%v, %v after %v", what, err, time.Since(began))
				}
				if p, ok := conn.(*peeked); ok {
					head := p.head
					b := make([]byte, len(tt.input))
					n, err := p.Read(b)
					if err != nil || string(b[:n]) != tt.input[:n] || n != len(head) {
						t.Errorf("read %q, %v", b[:n], err)
					}
				}
			})
		})
	}
}

// Who sends a method a letter at a time has no more time for it than others.
func TestSniffBoundsWhoDrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		var done sync.WaitGroup
		defer done.Wait()
		defer func() { _ = here.Close() }()
		done.Go(func() {
			for range 16 {
				if _, err := there.Write([]byte{'A'}); err != nil {
					return
				}
				time.Sleep(firstWords / 2)
			}
		})
		began := time.Now()
		_, _, err := sniff(t.Context(), here, nil, silence)
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != firstWords {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// stopping is a connection during whose first read the server stops: the read
// has its bytes, and the deadline that comes with the stop is replaced by that
// of the next read.
type stopping struct {
	net.Conn

	stop func()
}

func (c *stopping) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.stop != nil {
		c.stop()
		synctest.Wait()
		c.stop = nil
	}
	return n, err
}

// A stop waited 10 s for half a method when it came between a read and the next
// one's deadline.
func TestStopBetweenTwoReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		nc, done := trickle("GE", 0)
		defer done.Wait()
		defer func() { _ = nc.Close() }()
		c := &stopping{nc, s.stop}
		defer s.hurried(c)()
		began := time.Now()
		_, _, err = sniff(s.ctx, c, nil, silence)
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// scripted is a listener that gives errors, then a connection, then the end.
type scripted struct {
	errs []error
	conn net.Conn
	end  chan struct{}
}

func (s *scripted) Accept() (net.Conn, error) {
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return nil, err
	}
	if nc := s.conn; nc != nil {
		s.conn = nil
		return nc, nil
	}
	<-s.end
	return nil, net.ErrClosed
}

func (s *scripted) Close() error   { close(s.end); return nil }
func (s *scripted) Addr() net.Addr { return &net.TCPAddr{} }

func TestAcceptOutlivesAMomentWithoutFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		here, there := net.Pipe()
		ln := &scripted{conn: here, end: make(chan struct{})}
		for range 12 {
			ln.errs = append(ln.errs, &net.OpError{Op: "accept", Err: syscall.EMFILE})
		}
		served := make(chan net.Conn)
		result := make(chan error)
		began := time.Now()
		go func() { result <- s.accept(ln, func(nc net.Conn) { served <- nc }) }()
		if <-served != here {
			t.Error("another connection")
		}
		if waited := time.Since(began); waited < time.Second || waited > 10*time.Second {
			t.Errorf("waited %v", waited)
		}
		s.stop()
		_ = ln.Close()
		if err := <-result; err != nil {
			t.Error(err)
		}
		_, _ = here.Close(), there.Close()
	})
}

func TestAcceptEndsWithItsListener(t *testing.T) {
	s, err := New(Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := s.accept(&scripted{errs: []error{broken}}, nil); !errors.Is(err, broken) {
		t.Error(err)
	}
}
