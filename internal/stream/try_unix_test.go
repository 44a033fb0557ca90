//go:build unix

package stream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
)

// ends gives a connection: the descriptor of one end, and the other.
func ends(t *testing.T) (fd uintptr, far *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	near := accepted.(*net.TCPConn)
	far = dialed.(*net.TCPConn)
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(f uintptr) { fd = f }); err != nil {
		t.Fatal(err)
	}
	return fd, far
}

// What is tried does not wait, and says what it took and gave; the end, and an
// end that is closed, are told apart from what is not now.
func TestTrying(t *testing.T) {
	fd, far := ends(t)
	buf := make([]byte, 1<<16)
	if n, err := tryRead(fd, buf); n != 0 || err != errNotNow {
		t.Errorf("reading nothing: %d, %v", n, err)
	}
	if n, err := tryWrite(fd, nil); n != 0 || err != nil {
		t.Errorf("writing nothing: %d, %v", n, err)
	}
	sent := 0
	for {
		b := bytes.Repeat([]byte{byte(sent)}, 1<<16)
		n, err := tryWrite(fd, b)
		sent += n
		if err == errNotNow {
			break
		}
		if err != nil || n == 0 {
			t.Fatalf("writing: %d, %v", n, err)
		}
	}
	if n, err := io.ReadFull(far, make([]byte, sent)); err != nil {
		t.Errorf("of %d bytes %d came: %v", sent, n, err)
	}
	if _, err := far.Write([]byte("line\n")); err != nil {
		t.Fatal(err)
	}
	if err := far.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for {
		n, err := tryRead(fd, buf)
		got = append(got, buf[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil && err != errNotNow {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	if string(got) != "line\n" {
		t.Errorf("read %q", got)
	}
	closeBoth(fd)
	if n, err := tryWrite(fd, buf); n != 0 || !errors.Is(err, syscall.EPIPE) {
		t.Errorf("writing to what is closed: %d, %v", n, err)
	}
}
