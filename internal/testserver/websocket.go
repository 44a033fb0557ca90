package testserver

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// WebSocket is a client's end of a WebSocket. As a net.Conn it is one of lines,
// so that whoever speaks lines can speak through it: each is a text message.
// It knows nothing of how the server does the same.
type WebSocket struct {
	net.Conn // raw frames go here

	Protocol string // the subprotocol that was agreed on

	in   *bufio.Reader
	rest []byte // of the message being read

	mu     sync.Mutex
	closed int // the code the server closed with; 0: it has not
	reason string
}

// DialWebSocket opens a WebSocket over the connection that dial makes. headers,
// "Name: value", go with the handshake.
func DialWebSocket(dial func() (net.Conn, error), headers ...string) (*WebSocket, error) {
	nc, err := dial()
	if err != nil {
		return nil, err
	}
	key := make([]byte, 16)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(nc, "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: grima.v1.json\r\nSec-WebSocket-Key: %s\r\n%s\r\n",
		base64.StdEncoding.EncodeToString(key), strings.Join(append(slices.Clone(headers), ""), "\r\n"))
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	in := bufio.NewReader(nc)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, errors.Join(fmt.Errorf("the handshake was answered with %s", res.Status), nc.Close())
	}
	return &WebSocket{Conn: nc, Protocol: res.Header.Get("Sec-WebSocket-Protocol"), in: in}, nil
}

// NewWebSocket makes a WebSocket of a connection on which the handshake is over.
func NewWebSocket(nc net.Conn) *WebSocket { return &WebSocket{Conn: nc, in: bufio.NewReader(nc)} }

// Frame is a client's frame: masked, and as wrong as first and payload make it.
func Frame(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{0x5a, 0xc3, 0x0f, 0x99}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

// Write sends lines, which must be whole.
func (w *WebSocket) Write(b []byte) (int, error) {
	var out []byte
	for line := range bytes.Lines(b) {
		out = append(out, Frame(0x81, string(bytes.TrimRight(line, "\r\n")))...)
	}
	if _, err := w.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Read gives the server's messages as lines, and io.EOF after its close frame.
func (w *WebSocket) Read(b []byte) (int, error) {
	for len(w.rest) == 0 {
		op, payload, err := w.ReadFrame()
		if err != nil {
			return 0, err
		}
		switch op {
		case 0x81:
			if bytes.IndexByte(payload, '\n') >= 0 {
				return 0, errors.New("a message with a newline in it")
			}
			w.rest = append(payload, '\n')
		case 0x88:
			w.mu.Lock()
			w.closed, w.reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
			w.mu.Unlock()
			return 0, io.EOF
		case 0x8a:
		default:
			return 0, fmt.Errorf("a frame that begins with %#x", op)
		}
	}
	n := copy(b, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// ReadFrame gives the server's next frame: its first byte and its payload.
func (w *WebSocket) ReadFrame() (first byte, payload []byte, err error) {
	head, err := w.in.Peek(2)
	if err != nil {
		return 0, nil, err
	}
	first = head[0]
	size, length := 2, uint64(head[1])
	switch length {
	case 126:
		size = 4
	case 127:
		size = 10
	}
	// Peeked, so that a deadline in between loses nothing.
	if head, err = w.in.Peek(size); err != nil {
		return 0, nil, err
	}
	switch size {
	case 4:
		length = uint64(binary.BigEndian.Uint16(head[2:]))
	case 10:
		length = binary.BigEndian.Uint64(head[2:])
	}
	if length > 32<<20 { // a masked one would also seem long
		return 0, nil, fmt.Errorf("a frame of %d bytes", length)
	}
	if _, err := w.in.Discard(size); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, length, length+1)
	_, err = io.ReadFull(w.in, payload)
	return first, payload, err
}

// CloseWrite says, as WebSockets do, that nothing more will come.
func (w *WebSocket) CloseWrite() error {
	_, err := w.Conn.Write(Frame(0x88, "\x03\xe8")) // 1000
	return err
}

// Closed is what the server closed with.
func (w *WebSocket) Closed() (code int, reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed, w.reason
}

// DialWebSocket opens a WebSocket to the port.
func (s *Server) DialWebSocket() *Conn {
	s.t.Helper()
	return s.DialWebSocketWith()
}

// DialWebSocketWith is DialWebSocket with more headers, "Name: value".
func (s *Server) DialWebSocketWith(headers ...string) *Conn {
	s.t.Helper()
	return s.webSocket(func() (net.Conn, error) { return net.Dial("tcp", s.Addr) }, headers...)
}

// DialWebSocketTLS opens one inside TLS.
func (s *Server) DialWebSocketTLS() *Conn {
	s.t.Helper()
	return s.webSocket(func() (net.Conn, error) { return tls.Dial("tcp", s.Addr, TLSConfig()) })
}

func (s *Server) webSocket(dial func() (net.Conn, error), headers ...string) *Conn {
	s.t.Helper()
	ws, err := DialWebSocket(dial, headers...)
	if err != nil {
		s.t.Fatal(err)
	}
	return NewConn(s.t, ws)
}

// ConnectWebSocket logs in over a WebSocket.
func (u *User) ConnectWebSocket() *Client {
	u.srv.t.Helper()
	return u.Login(u.srv.DialWebSocket())
}

// WantClosed checks that the server closes its WebSocket with code, and then
// the connection.
func (c *Conn) WantClosed(code int) {
	c.t.Helper()
	c.WantEnd()
	ws := c.Conn.(*WebSocket)
	if got, reason := ws.Closed(); got != code {
		c.t.Fatalf("closed with %d %q, want %d", got, reason, code)
	}
	if b, err := ws.in.ReadByte(); !errors.Is(err, io.EOF) {
		c.t.Fatalf("after the close frame: %x %v", b, err)
	}
}
