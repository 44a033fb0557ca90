package client_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"net/http"
	"sync"

	"github.com/grima-chat/grima/internal/websocket"
)

// A hostile server's lines over a WebSocket: what a test writes becomes one
// message per line, each write a frame of it, so that a line that drips or does
// not end is a message that drips or does not end.
type wsEnd struct {
	net.Conn

	in     *websocket.Reader
	mu     sync.Mutex
	inside bool // a message has begun
}

// upgrade answers the handshake of a WebSocket.
func upgrade(c net.Conn) (net.Conn, error) {
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return nil, err
	}
	head, no := websocket.Accept(req, websocket.Offer{Protocol: "grima.v1.json"})
	if no != nil {
		return nil, net.ErrClosed
	}
	if _, err := c.Write(head); err != nil {
		return nil, err
	}
	w := &wsEnd{Conn: c}
	w.in = websocket.NewReader(r, 1<<20, func([]byte) {})
	return w, nil
}

func (w *wsEnd) Read(p []byte) (int, error) { return w.in.Read(p) }

func (w *wsEnd) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for rest := p; len(rest) > 0; {
		part, after, ends := bytes.Cut(rest, []byte("\n"))
		if !ends {
			after = nil
		}
		if err := w.frame(part, ends); err != nil {
			return 0, err
		}
		w.inside, rest = !ends, after
	}
	return len(p), nil
}

// frame writes a frame of a text message, the last one if final.
func (w *wsEnd) frame(payload []byte, final bool) error {
	var head []byte
	first := byte(0x01)
	if w.inside {
		first = 0
	}
	if final {
		first |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		head = []byte{first, byte(n)}
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(n))
	default:
		head = binary.BigEndian.AppendUint64([]byte{first, 127}, uint64(n))
	}
	_, err := w.Conn.Write(append(head, payload...))
	return err
}
