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

	"github.com/grima-chat/grima/protocol"
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

// Who comes as a descriptor when the server stops is told so; one that cannot be
// made a net.Conn any more is closed.
func TestBareWhileStopping(t *testing.T) {
	s := New(Config{})
	if err := s.Shutdown(t.Context(), protocol.GoodbyeShutdown, "the server is stopping"); err != nil {
		t.Fatal(err)
	}
	own, far := ends(t)
	fd, err := duplicate(own)
	if err != nil {
		t.Fatal(err)
	}
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		room := new(Room)
		s.Take(room.Bare(int(fd)), Peer{Room: room})
	}()
	buf := make([]byte, 1<<10)
	n, err := far.Read(buf)
	if err != nil || !bytes.Contains(buf[:n], []byte(`"Goodbye"`)) {
		t.Errorf("%q, %v", buf[:n], err)
	}
	if err := far.Close(); err != nil {
		t.Error(err)
	}
	<-taken

	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pipe[0])
	room := new(Room)
	s.Take(room.Bare(pipe[1]), Peer{Room: room}) // no connection at all
	if n, err := syscall.Read(pipe[0], buf); n != 0 || err != nil {
		t.Errorf("what cannot be told stays open: %d, %v", n, err)
	}
}
