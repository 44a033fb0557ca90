package stream_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// dripping is a connection whose writes arrive a byte at a time, each in a
// packet of its own.
type dripping struct {
	*net.TCPConn

	drip bool
}

func (d *dripping) Write(b []byte) (int, error) {
	if !d.drip {
		return d.TCPConn.Write(b)
	}
	for i := range b {
		if _, err := d.TCPConn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

// A TLS connection parks in the middle of records, and goes on.
func TestTLSByteByByte(t *testing.T) {
	srv := testserver.Start(t)
	ana := srv.User("ana").Connect()
	port := ana.Group("Port")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			nc, err := net.Dial("tcp", srv.Addr)
			if err != nil {
				t.Fatal(err)
			}
			drops := &dripping{TCPConn: nc.(*net.TCPConn)}
			cfg := testserver.TLSConfig()
			cfg.MinVersion, cfg.MaxVersion = version, version
			secure := tls.Client(drops, cfg)
			if err := secure.HandshakeContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			drops.drip = true
			c := testserver.NewConn(t, secure)
			c.Want(`{"type":"Hello"}`)
			c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: ana.Token}))
			c.Want(`{"id":1,"result":{}}`)
			for i := range 5 {
				c.Line(testserver.Request(fmt.Sprint(i+2), "message.send", protocol.MessageSendParams{
					ChatID: port, Content: strings.Repeat("x", 500*i+1),
				}))
				c.Want(fmt.Sprintf(`{"id":%d,"result":{}}`, i+2), `{"event":"message.created"}`)
			}
			if err := secure.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Records that the kernel does not take at once arrive whole and in order, also
// while the client goes on asking.
func TestTLSBacklog(t *testing.T) {
	srv := testserver.Start(t)
	ana := srv.User("ana").ConnectTLS()
	port := ana.Group("Port")
	for range 60 {
		ana.Send(port, strings.Repeat("x", 16_000))
	}
	ana.Forget()
	const n = 30 // pages of nearly 1 MB: much more than sockets hold
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for i := range n {
			ana.Line(testserver.Request(fmt.Sprint(1000+i), "messages.list", protocol.MessagesListParams{ChatID: port, Limit: 60}))
			ana.Line(`{"type":"Ping"}`)
		}
	}()
	<-asked
	for i := range n {
		for {
			line := ana.Next()
			if strings.Contains(line, `"type":"Pong"`) {
				continue
			}
			if want := fmt.Sprintf(`{"id":%d,"result":{}}`, 1000+i); testserver.Differs(want, line) != "" || !strings.HasSuffix(line, "}") {
				t.Fatalf("got %.200s, want %s", line, want)
			}
			break
		}
	}
}
