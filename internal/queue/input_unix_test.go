//go:build unix

package queue

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// pair gives two ends of a TCP connection.
func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return accepted.(*net.TCPConn), dialed.(*net.TCPConn)
}

// reader is a client that counts the bytes of a socket, and reads as stream
// does: not again when a read took less than it could.
type reader struct {
	turner

	raw  syscall.RawConn
	got  atomic.Int64
	done chan struct{}
}

func (r *reader) read() Verdict {
	buf := make([]byte, 64)
	for range 4 {
		n, err := 0, error(nil)
		if failed := r.raw.Read(func(fd uintptr) bool {
			n, err = syscall.Read(int(fd), buf)
			return true
		}); failed != nil {
			return Park // a Wake came late; the deadline is over
		}
		switch {
		case err == syscall.EAGAIN:
			return Park
		case err != nil, n == 0:
			close(r.done)
			return Done
		}
		r.got.Add(int64(n))
		if n < len(buf) && r.Polled() && !r.HungUp() {
			return Park
		}
	}
	return Again
}

// Bytes that come one by one, in lumps, together with the end, and with wakes in
// between are all read, and the end is seen.
func TestInputOfSockets(t *testing.T) {
	each(t, func(t *testing.T, q Queue) {
		var clients []*reader
		var writers sync.WaitGroup
		for i := range 30 {
			near, far := pair(t)
			raw, err := near.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			r := &reader{raw: raw, done: make(chan struct{})}
			r.t, r.turn = t, r.read
			if err := q.Add(&r.Handle, r, near); err != nil {
				t.Fatal(err)
			}
			clients = append(clients, r)
			t.Cleanup(func() { _ = near.Close() })
			writers.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), 3))
				sent := int64(0)
				for range 300 {
					n, err := far.Write(make([]byte, 1+random.IntN(200)))
					if err != nil {
						t.Error(err)
					}
					sent += int64(n)
					if random.IntN(3) == 0 {
						r.Wake()
					}
				}
				if err := far.Close(); err != nil {
					t.Error(err)
				}
				<-r.done
				if got := r.got.Load(); got != sent {
					t.Errorf("read %d of %d bytes", got, sent)
				}
			})
		}
		writers.Wait()
		for _, r := range clients {
			r.Wake() // nothing happens any more
		}
	})
}
