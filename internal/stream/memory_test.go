//go:build linux

package stream_test

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/grima-chat/grima/internal/queue"
	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// bareSocket is a client that is nothing but a file descriptor, so that what a
// process grows by is the server's.
func bareSocket(b *testing.B, addr string) int {
	b.Helper()
	to, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())})
	}
	if err != nil {
		b.Fatal(err)
	}
	return fd
}

// BenchmarkIdleConnection says what the server keeps in memory for a connection
// that is logged in, in a group, and does nothing: of the heap after a
// collection, and of stacks.
func BenchmarkIdleConnection(b *testing.B) {
	const n = 2000
	for _, d := range queue.Designs() {
		for _, over := range []string{"lines", "WebSocket"} {
			b.Run(fmt.Sprintf("%s/%s", d, over), func(b *testing.B) {
				srv := testserver.Start(b, testserver.Options{Stream: func(c *stream.Config) { c.Workers = d }})
				ana := srv.User("ana").Connect()
				ana.Group("Port")
				var handshake []byte
				start := []byte(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: ana.Token}) + "\n")
				if over == "WebSocket" {
					handshake = []byte("GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
						"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
					start = testserver.Frame(0x81, string(start[:len(start)-1]))
				}
				connect := func(n int) (fds []int) {
					buf := make([]byte, 4096)
					say := func(fd int, words []byte, answer string) {
						if _, err := unix.Write(fd, words); err != nil {
							b.Fatal(err)
						}
						for got := 0; !bytes.Contains(buf[:got], []byte(answer)); {
							m, err := unix.Read(fd, buf[got:])
							if err != nil || m == 0 {
								b.Fatalf("%q: %v", buf[:got], err)
							}
							got += m
						}
					}
					for range n {
						fd := bareSocket(b, srv.Addr)
						fds = append(fds, fd)
						if handshake != nil {
							say(fd, handshake, `"Hello"`)
						}
						say(fd, start, `"session.start"`)
					}
					return fds
				}
				measure := func() (heap, stacks uint64) {
					for range 3 {
						runtime.GC() // pools are empty after two
					}
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					return m.HeapAlloc, m.StackInuse
				}
				for b.Loop() {
					fds := connect(100)
					heap, stacks := measure()
					fds = append(fds, connect(n)...)
					heap2, stacks2 := measure()
					b.ReportMetric((float64(heap2)-float64(heap))/n, "heap-B/conn")
					b.ReportMetric((float64(stacks2)-float64(stacks))/n, "stack-B/conn")
					for _, fd := range fds {
						if err := unix.Close(fd); err != nil {
							b.Error(err)
						}
					}
				}
			})
		}
	}
}
