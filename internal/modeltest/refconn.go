package modeltest

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/protocol"
)

// refConn is a connection of a Reference's. All but out belongs to r.mu.
type refConn struct {
	r       *Reference
	nc      net.Conn
	calls   int
	asked   []func(*protocol.Response) // nil: the answer will not come
	greeted bool
	silent  bool // only syncs, see Reference.syncBefore
	synced  bool
	heard   map[string]int64 // until then: chats that only events have told of, and up to where

	mu   sync.Mutex
	more sync.Cond
	out  []byte
	over bool
}

func newRefConn(r *Reference, nc net.Conn) *refConn {
	c := &refConn{r: r, nc: nc, heard: map[string]int64{}}
	c.more.L = &c.mu
	return c
}

// serve speaks until the connection ends.
func (c *refConn) serve(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = c.nc.Close() }) // which is all there is to do
	defer stop()
	var writer sync.WaitGroup
	writer.Go(c.write)
	c.send([]byte("\n")) // Hello, at once
	lines := newLineReader(c.nc)
	for {
		line, err := lines.next()
		if err != nil {
			break
		}
		if c.r.cfg.Old {
			line = newer(line)
			c.take([]byte(`{"type":"Weather","wind":7}`))
		}
		if !c.take(line) {
			break
		}
	}
	_ = c.nc.Close() // it has ended
	c.mu.Lock()
	c.over = true
	c.more.Signal()
	c.mu.Unlock()
	writer.Wait()

	r := c.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == c {
		r.conn = nil
	}
	for _, answered := range c.asked {
		answered(nil)
	}
	c.asked = nil
	r.pokeLocked()
}

// write writes what is to be written. A server that does not read must not keep
// the client from reading.
func (c *refConn) write() {
	for {
		c.mu.Lock()
		for len(c.out) == 0 && !c.over {
			c.more.Wait()
		}
		out, over := c.out, c.over
		c.out = nil
		c.mu.Unlock()
		if over {
			return
		}
		if _, err := c.nc.Write(out); err != nil {
			return // the reader finds that out, too
		}
	}
}

func (c *refConn) send(line []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, line...)
	c.more.Signal()
}

// ask makes a request. answered hears of it with r.mu held.
func (c *refConn) ask(op string, params any, answered func(*protocol.Response)) {
	c.calls++
	c.asked = append(c.asked, answered)
	c.send(request(c.calls, op, params))
}

// take takes a line in. It reports whether to go on.
func (c *refConn) take(line []byte) bool {
	r := c.r
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.pokeLocked()
	frame, bad := protocol.DecodeFrame(line)
	if bad != nil {
		r.cfg.Unheard("strictness", bad.Error())
		return false
	}
	switch f := frame.(type) {
	case *protocol.Hello:
		c.login(f)
	case *protocol.Response:
		c.answered(f)
	case *protocol.ErrorFrame:
		c.answered(&protocol.Response{Error: f.Error})
	case *protocol.Event:
		r.event(c, f)
	case *protocol.Request:
		c.send([]byte(`{"type":"Pong"}` + "\n"))
	case *protocol.Goodbye:
		return false
	}
	return true
}

func (c *refConn) answered(f *protocol.Response) {
	if len(c.asked) == 0 {
		return // whoever listens to the connection has said so
	}
	answered := c.asked[0]
	c.asked = c.asked[1:]
	answered(f)
}

// login is steps 1 to 3 of resuming. The epoch is the answer's: it is that of
// the server that answers.
func (c *refConn) login(*protocol.Hello) {
	if c.greeted {
		return
	}
	c.greeted = true
	subscribe := !c.silent
	c.ask(protocol.OpSessionStart, protocol.SessionStartParams{Mechanism: protocol.MechanismToken, Token: c.r.cfg.Token, Subscribe: &subscribe},
		func(f *protocol.Response) {
			var started protocol.SessionStartResult
			if !c.good(f, protocol.OpSessionStart, &started) {
				return
			}
			r := c.r
			if r.epoch != started.Epoch && r.cfg.Without != Epoch {
				r.forget()
				r.epoch = started.Epoch
			}
			if r.cfg.Without == SubscribeFirst && !c.silent {
				c.ready()
				return
			}
			c.sync()
		})
}

// good reports whether there is an answer, and reads its result.
func (c *refConn) good(f *protocol.Response, op string, result any) bool {
	if f == nil {
		return false
	}
	if f.Error == nil {
		if err := json.Unmarshal(f.Result, result); err == nil {
			return true
		}
	}
	if f.Error == nil || !f.Error.Retryable {
		c.r.cfg.Unheard("errors", fmt.Sprintf("%s was answered with %v %s", op, f.Error, f.Result))
	}
	_ = c.nc.Close() // and begin again
	return false
}

// sync is step 4.
func (c *refConn) sync() {
	r := c.r
	p := protocol.SyncParams{Cursor: protocol.Opt[string]{Set: true, Null: true}, Limit: int64(r.cfg.Page)}
	if r.cursor != nil {
		p.Cursor = protocol.Some(*r.cursor)
	}
	c.ask(protocol.OpSync, p, func(f *protocol.Response) {
		if f != nil && f.Error != nil && f.Error.Code == protocol.CodeCursorInvalid && r.cfg.Without != Epoch {
			r.forget()
			c.sync()
			return
		}
		if f != nil && f.Error != nil && f.Error.Code == protocol.CodeCursorInvalid {
			r.cursor = nil
			c.sync()
			return
		}
		var page protocol.SyncResult
		if !c.good(f, protocol.OpSync, &page) {
			return
		}
		for range r.times() {
			for _, st := range page.Chats {
				r.state(c, st)
			}
		}
		r.cursor = &page.Cursor
		if page.HasMore {
			c.sync()
			return
		}
		c.ready()
	})
}

// ready is the end of step 4, and step 6.
func (c *refConn) ready() {
	r := c.r
	c.synced = true
	for id, seq := range c.heard {
		if r.chats[id] == nil && seq > r.gone[id] {
			r.begin(id)
		}
		if ch := r.chats[id]; ch != nil {
			ch.high = max(ch.high, seq)
		}
	}
	c.heard = nil
	for _, ch := range r.chats {
		r.catchUp(c, ch) // also what was stale before this connection
	}
	if c.silent {
		return
	}
	r.conn = c
	for _, s := range r.unsent {
		r.transmit(c, s)
	}
}

// newer makes a line one of a later version of the protocol.
func newer(line []byte) []byte {
	return append([]byte(`{"mood":{"of":["the",1,null]},`), line[1:]...)
}
