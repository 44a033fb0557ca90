package stream

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/websocket"
	"github.com/grima-chat/grima/protocol"
)

// The bounds of ending a connection.
const (
	// goodbyeTimeout is how long a client that is sent away may take to read
	// what is queued for it. A revoked session has to be gone in a second.
	goodbyeTimeout = 800 * time.Millisecond
	// patience is how long a request that is being carried out may hold up the
	// end of its connection.
	patience = 500 * time.Millisecond
	// lingering is how long, and lingerBytes how much of, what a client is
	// still sending is read and thrown away. Closing with unread input would
	// reset the connection, and the client might lose the Goodbye.
	lingering   = 300 * time.Millisecond
	lingerBytes = 256 << 10
	// endless is how much is skipped of one line that is too long. A client that
	// goes on beyond it does not speak in lines.
	endless = 16 << 20
	// loginBytes bounds what is read before login without a request in it.
	loginBytes = 64 << 10
)

// finish says what is left to say. err is why reading ended.
func (c *conn) finish(err error) {
	if c.closeCode() != 0 {
		err = io.EOF // also when it closed in the middle of a message
	}
	broken, against := errors.AsType[*websocket.Error](err)
	switch {
	case err == nil, errors.Is(err, io.EOF):
	case against:
		switch broken.Code {
		case websocket.CloseNotUTF8:
			c.refuse(protocol.Request{}, protocol.NewError(protocol.CodeInvalidUTF8, broken.Reason), nil)
		case websocket.CloseTooBig:
			c.refuse(protocol.Request{}, protocol.NewError(protocol.CodeFrameTooLarge, broken.Reason), nil)
		}
		c.violate(broken.Code, broken.Reason)
	case errors.Is(err, errFlood):
		c.sendAway(protocol.GoodbyeProtocolViolation, "too much input before login without a request in it")
	case errors.Is(err, protocol.ErrEndlessLine):
		c.sendAway(protocol.GoodbyeProtocolViolation, "a line without end")
	case !errors.Is(err, os.ErrDeadlineExceeded):
		c.debug("reading failed", "error", err)
		c.out.abort()
	case c.loggedIn.Load():
		c.sendAway(protocol.GoodbyeIdleTimeout, "nothing was heard for two heartbeats")
	default:
		c.sendAway(protocol.GoodbyeAuthTimeout, "no login in time")
	}
	c.out.waitAnswered()
	if place := c.place.Load(); place != nil {
		if errors.Is(err, io.EOF) {
			c.hearItself(place)
		}
		place.Close()
	}
	bye, _ := c.ending()
	if bye == nil {
		c.out.finish(c.lastBytes(nil), 0)
	} else {
		c.srv.said(bye.Code) // before the client knows
		within := goodbyeTimeout
		if bye.Code == protocol.GoodbyeShutdown || bye.Code == protocol.GoodbyeSlowConsumer {
			within = 0 // Shutdown has a bound of its own, as has who stalled
		}
		c.out.finish(c.lastBytes(bye), within)
	}
	c.out.waitWritten()
	if bye != nil && !errors.Is(err, io.EOF) {
		linger(c.out.to.conn(), lingering)
	}
}

// hearItself lets a client that has said all it wanted, as a pasted script,
// hear the events of that. What it sent last is published after its answer.
func (c *conn) hearItself(place *hub.Conn) {
	ctx, done := c.patient()
	defer done()
	if c.spoke {
		if err := c.srv.cfg.Service.Settle(ctx); err != nil {
			c.debug("its own events may be missing", "error", err)
			return
		}
	}
	place.Settle(ctx)
}

// close releases everything.
func (c *conn) close() {
	c.mu.Lock()
	last := c.lastLocked()
	last.over = true
	if last.grace != nil {
		last.grace.Stop()
	}
	code := protocol.GoodbyeCode("")
	if last.bye != nil {
		code = last.bye.Code
	}
	failed, times := last.failed, c.times
	c.mu.Unlock()
	if times != nil {
		c.srv.alarms.set(&times.alarm, 0)
	}
	c.out.abort()
	if failed != nil {
		c.out.to.cut()
	}
	c.asked.Close()
	c.out.waitWritten()
	err := c.out.to.conn().Close()
	if place := c.place.Load(); place != nil {
		place.Close()
	}
	tell := c.debug
	if code == protocol.GoodbyeSlowConsumer {
		tell = c.log().Info
	}
	tell("connection closed", "goodbye", code, "write", failed, "close", err)
}

// linger reads and forgets what the client is still sending.
func linger(nc net.Conn, d time.Duration) {
	until := time.Now().Add(d)
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	rest := io.LimitReader(nc, lingerBytes)
	for time.Now().Before(until) && nc.SetReadDeadline(until) == nil {
		// A Wake that came late may end a read before its time. Whatever else
		// ends it, the connection is closed next.
		if _, err := io.Copy(io.Discard, rest); !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// sendAway ends the connection with a Goodbye.
func (c *conn) sendAway(code protocol.GoodbyeCode, message string) { c.end(goodbye(code, message)) }

// end makes the connection say bye after the answers that are outstanding, and
// close. The first reason counts. It does not block.
func (c *conn) end(bye *protocol.Goodbye) {
	c.mu.Lock()
	last := c.lastLocked()
	if last.bye != nil || last.over {
		c.mu.Unlock()
		return
	}
	last.bye = bye
	last.grace = time.AfterFunc(patience, func() {
		// A shutdown waits for what is under way, within its own bound.
		if bye.Code != protocol.GoodbyeShutdown {
			c.giveUpRequest()
		}
	})
	c.mu.Unlock()
	c.out.hurry()
	c.turns.Wake()
}

func (c *conn) lastLocked() *ending {
	if c.last == nil {
		c.last = new(ending)
	}
	return c.last
}

// ending gives why the connection is ending: it was decided, or nothing can be
// written any more.
func (c *conn) ending() (bye *protocol.Goodbye, failed error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		return nil, nil
	}
	return c.last.bye, c.last.failed
}

// giveUpRequest cancels the request that is being carried out.
func (c *conn) giveUpRequest() {
	c.mu.Lock()
	last := c.lastLocked()
	last.over = true
	cancel := last.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// kill cuts the connection off.
func (c *conn) kill() {
	c.out.abort()
	c.giveUpRequest()
	c.out.to.cut()
	c.writeFailed(net.ErrClosed)
}

// wake implements owner.
func (c *conn) wake() { c.turns.Wake() }

// roomAgain implements owner.
func (c *conn) roomAgain() {
	if place := c.place.Load(); place != nil {
		place.Ready()
	}
}

// stalled implements owner: who begins to read again hears why it is over.
func (c *conn) stalled() {
	c.log().Info("a client does not read")
	c.sendAway(protocol.GoodbyeSlowConsumer, "nothing was read for too long")
}

// writeFailed implements owner: nothing can be written any more.
func (c *conn) writeFailed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.sendAway(protocol.GoodbyeSlowConsumer, "nothing was read for too long")
	}
	c.mu.Lock()
	if last := c.lastLocked(); last.failed == nil {
		last.failed = err
	}
	c.mu.Unlock()
	c.turns.Wake()
}

// past is a deadline that is over.
var past = time.Unix(1, 0)
