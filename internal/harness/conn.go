// Package harness drives a real grima process from outside, for crash tests and
// benchmarks: it starts and kills the binary and speaks to it through a plain,
// cheap client that pipelines. It knows nothing of resuming; that is the SDK's
// business.
package harness

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/protocol"
)

// Conn is one live connection. Its methods may be called from any goroutine;
// answers arrive in the order of the requests, so no ids are needed to match
// them, only their presence to tell an answer from an event.
type Conn struct {
	nc      net.Conn
	onEvent func(line []byte)

	mu      sync.Mutex // guards the write side and pending
	out     []byte
	pending []func(protocol.Response, error)
	err     error

	done chan struct{} // closed when the reader has ended
}

// ErrClosed is what calls hear whose answer never came: their outcome is
// unknown.
var ErrClosed = errors.New("connection closed before the answer")

// Dial connects to a server's port for lines. onEvent, when not nil, is called
// with each event's line from the reader's goroutine; it must not keep it.
func Dial(addr string, onEvent func(line []byte)) (*Conn, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &Conn{nc: nc, onEvent: onEvent, done: make(chan struct{})}
	// A blank line asks for Hello at once (docs/protocol.md#connecting).
	if _, err := nc.Write([]byte("\n")); err != nil {
		nc.Close()
		return nil, err
	}
	go c.read()
	return c, nil
}

// Close drops the connection and waits for its reader; unanswered requests hear
// ErrClosed.
func (c *Conn) Close() {
	c.nc.Close()
	<-c.done
}

// Gone is closed when the connection has ended.
func (c *Conn) Gone() <-chan struct{} { return c.done }

// Start queues a request without waiting for anything; Flush sends what was
// queued. done is called from the reader's goroutine (or at once when the
// connection is gone already).
func (c *Conn) Start(t protocol.Type, op string, params any, done func(protocol.Response, error)) {
	raw, err := json.Marshal(params)
	if err != nil {
		done(protocol.Response{}, fmt.Errorf("encoding %s: %w", op, err))
		return
	}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		done(protocol.Response{}, ErrClosed)
		return
	}
	c.out = fmt.Appendf(c.out, `{"type":%q,"id":1,"op":%q,"params":%s}`+"\n", t, op, raw)
	c.pending = append(c.pending, done)
	c.mu.Unlock()
}

// Flush writes the queued requests in one write.
func (c *Conn) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	return err
}

// Call sends one request and decodes its result into result, which may be nil.
// An error answer is a *protocol.Error; ErrClosed leaves the outcome unknown.
func (c *Conn) Call(t protocol.Type, op string, params, result any) error {
	type answer struct {
		r   protocol.Response
		err error
	}
	ch := make(chan answer, 1)
	c.Start(t, op, params, func(r protocol.Response, err error) { ch <- answer{r, err} })
	if err := c.Flush(); err != nil {
		return ErrClosed
	}
	a := <-ch
	if a.err != nil {
		return a.err
	}
	if a.r.Error != nil {
		return a.r.Error
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(a.r.Result, result); err != nil {
		return fmt.Errorf("decoding the result of %s: %w", op, err)
	}
	return nil
}

// Data and Session are Call for the frames of those names.
func (c *Conn) Data(op string, params, result any) error {
	return c.Call(protocol.TypeDataRequest, op, params, result)
}

func (c *Conn) Session(op string, params, result any) error {
	return c.Call(protocol.TypeSessionRequest, op, params, result)
}

// Broadcast is Call for a BroadcastRequest.
func (c *Conn) Broadcast(op string, params, result any) error {
	return c.Call(protocol.TypeBroadcastRequest, op, params, result)
}

var (
	eventPrefix = []byte(`{"type":"BroadcastResponse","event":`)
	errorPrefix = []byte(`{"type":"Error"`)
	otherPrefix = [][]byte{[]byte(`{"type":"Hello"`), []byte(`{"type":"Goodbye"`), []byte(`{"type":"Ping"`)}
)

func (c *Conn) read() {
	defer close(c.done)
	r := bufio.NewReaderSize(c.nc, 64<<10)
	var err error
	for {
		var line []byte
		line, err = readLine(r)
		if err != nil {
			break
		}
		switch {
		case bytes.HasPrefix(line, eventPrefix):
			if c.onEvent != nil {
				c.onEvent(line)
			}
			continue
		case hasAnyPrefix(line, otherPrefix):
			continue
		}
		c.answer(line)
	}
	c.mu.Lock()
	c.err = err
	left := c.pending
	c.pending = nil
	c.mu.Unlock()
	for _, done := range left {
		done(protocol.Response{}, ErrClosed)
	}
}

func (c *Conn) answer(line []byte) {
	c.mu.Lock()
	if len(c.pending) == 0 {
		c.mu.Unlock()
		return
	}
	done := c.pending[0]
	c.pending[0] = nil
	c.pending = c.pending[1:]
	c.mu.Unlock()
	var resp protocol.Response
	if err := json.Unmarshal(line, &resp); err != nil {
		done(resp, fmt.Errorf("decoding an answer: %w", err))
		return
	}
	if bytes.HasPrefix(line, errorPrefix) && resp.Error == nil {
		resp.Error = protocol.NewError(protocol.CodeInternal, "an Error frame without an error")
	}
	done(resp, nil)
}

func hasAnyPrefix(line []byte, prefixes [][]byte) bool {
	for _, p := range prefixes {
		if bytes.HasPrefix(line, p) {
			return true
		}
	}
	return false
}

// readLine returns the next line without its newline; it is valid until the
// next call unless it was longer than r's buffer.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := append([]byte(nil), line...)
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = r.ReadSlice('\n')
			long = append(long, line...)
		}
		line = long
	}
	if err != nil {
		return nil, err
	}
	return line[:len(line)-1], nil
}
