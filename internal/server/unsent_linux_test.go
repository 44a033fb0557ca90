package server

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// A client that does not read leaves little with the kernel: after that, writing
// to it has to wait, and it is the outbox that bounds what it gets.
func TestKernelKeepsLittle(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if err := far.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	if err := boundUnsent(near); err != nil {
		t.Fatal(err)
	}
	if err := near.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	taken := 0
	for chunk := make([]byte, 4<<10); ; {
		n, err := near.Write(chunk)
		taken += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if taken > 64*unsent {
			t.Fatal("it takes everything")
		}
	}
	// What the other end's kernel has taken is not unsent.
	if taken > 4*unsent {
		t.Errorf("%d bytes of a client that does not read, want about %d", taken, unsent)
	}
	if err := boundUnsent(near); err != nil {
		t.Error(err)
	}
	unix, other := net.Pipe()
	defer unix.Close()
	defer other.Close()
	if err := boundUnsent(unix); err != nil {
		t.Errorf("of what is no TCP: %v", err)
	}
}
