package stream

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/limits"
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

// conn is one connection. Fields below mu are guarded by it, those above it
// belong to the reading goroutine or never change.
type conn struct {
	srv  *Server
	cfg  *Config
	nc   net.Conn
	peer Peer
	out  outbox

	ctx    context.Context
	cancel context.CancelFunc

	lines    *protocol.LineReader
	caller   api.Caller
	asked    limits.Client
	loggedIn bool
	budget   int // bytes that may still be read before login
	errors   int // bad lines before login
	place    *hub.Conn
	ready    atomic.Pointer[hub.Conn] // place, from before its first event on
	wire     *hub.Wire
	ws       *websocket.Reader // nil: lines come as they are
	violated int               // what to close a WebSocket with, if it is not the Goodbye's code
	heard    atomic.Bool       // of a client that only listens: an event since the last cursor

	mu        sync.Mutex
	log       *slog.Logger
	actor     chat.Actor        // as caller.Actor, once logged in
	bye       *protocol.Goodbye // set: the connection is ending
	failed    error             // of writing
	timed     bool              // the next read has a deadline
	heartbeat time.Duration
	beat      *time.Timer
	grace     *time.Timer
	over      bool
}

func newConn(s *Server, nc net.Conn, p Peer) *conn {
	c := &conn{srv: s, cfg: &s.cfg, nc: nc, peer: p, budget: loginBytes, wire: hub.Lines}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.out = outbox{nc: nc, room: s.cfg.Outbox, inFlight: s.cfg.InFlight, stall: s.cfg.WriteTimeout}
	c.out.onReady = func() {
		if place := c.ready.Load(); place != nil {
			place.Ready()
		}
	}
	c.out.onFail = c.writeFailed
	switch {
	case p.WebSocket:
		c.ws = websocket.NewReader(input{c}, protocol.MaxFrame, c.pong)
		c.out.wrap, c.wire = websocket.AppendText, overWebSocket
	case p.Events != nil:
		c.out.wrap, c.wire = p.Events.wrap, p.Events.wire()
	}
	c.out.init()
	c.caller = api.Caller{Peer: p.Addr, OnLogin: c.login, OnUpdate: c.update}
	if p.Operator {
		c.caller.Actor.Operator = true
		c.loggedIn = true
	} else {
		c.asked = s.cfg.Limits.Client(p.Addr)
	}
	return c
}

// serve speaks until either side ends the conversation.
func (c *conn) serve() {
	defer c.close()
	c.log.Debug("connection opened")
	if len(c.peer.Head) > 0 {
		c.out.putBare(c.peer.Head)
	}
	c.out.put(encode(c.hello()))

	bound := protocol.MaxFrameLogin
	if c.loggedIn {
		bound = protocol.MaxFrame
	} else {
		c.setReadDeadline(time.Now().Add(c.cfg.AuthTimeout))
	}
	var from io.Reader = input{c}
	if c.ws != nil {
		from = c.ws
	}
	c.lines = protocol.NewLineReader(from, bound)
	c.lines.SetMaxSkip(endless)

	if c.peer.Events != nil {
		c.finish(c.listen())
		return
	}
	c.finish(c.requests())
}

// requests reads and carries out requests until there are no more. It returns
// why: io.EOF, an error of reading, or nil when the connection is ending.
func (c *conn) requests() error {
	for {
		c.out.waitRoom()
		if c.ending() != nil {
			return nil
		}
		line, err := c.lines.Next()
		if bad, ok := errors.AsType[*protocol.Error](err); ok {
			c.refuse(protocol.Request{}, bad, nil)
			if c.ws != nil {
				c.violate(websocket.CloseTooBig, bad.Message)
			}
			continue
		}
		if err != nil {
			return err
		}
		c.handle(line)
	}
}

// handle carries out one line.
func (c *conn) handle(line []byte) {
	req, bad := protocol.DecodeRequest(line)
	if no := c.limited(req, bad); no != nil {
		c.out.answer(c.out.begin(), encode(protocol.Refuse(req, no)))
		return
	}
	if req.Type == protocol.TypePong && bad == nil {
		return // the answer to our Ping; that it came is all we wanted
	}
	if bad != nil {
		c.refuse(req, bad, line)
		return
	}
	c.budget = loginBytes

	switch {
	case req.Type == protocol.TypePing:
		c.out.answer(c.out.begin(), encode(&protocol.Response{Type: protocol.TypePong, ID: req.ID, Ignored: req.Ignored}))
	case req.Type == protocol.TypeBroadcastRequest && api.Async(req.Op):
		n := c.out.begin()
		c.cfg.API.Do(c.ctx, c.caller, req, func(r protocol.Response) { c.out.answer(n, encode(&r)) })
		if !c.loggedIn {
			c.countError() // nobody may send before login
		}
	default:
		c.out.waitAnswered()
		n := c.out.begin()
		r := c.do(req)
		c.out.answer(n, encode(&r))
		if r.Error != nil && (r.Error.Code == protocol.CodeUnauthenticated || r.Error.Code == protocol.CodeUnknownOp) {
			c.countError()
		}
	}
}

// do carries out a request that waits for its result.
func (c *conn) do(req protocol.Request) (answer protocol.Response) {
	// What it causes, and what is delivered from a login on, follows its answer.
	// All others let events pass: held back behind a slow read, those of busy
	// chats would have no room before long.
	if op, ok := api.Lookup(req.Op); req.Op == protocol.OpSessionStart || ok && op.Told {
		c.out.hold()
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.RequestTimeout)
	defer cancel()
	c.cfg.API.Do(ctx, c.caller, req, func(r protocol.Response) { answer = r })
	return answer
}

// httpRequest is the first line of an HTTP request.
var httpRequest = regexp.MustCompile(`^[A-Z]{3,10} \S+ HTTP/\d`)

// refuse answers a line that is no request.
func (c *conn) refuse(req protocol.Request, bad *protocol.Error, line []byte) {
	if !c.loggedIn && httpRequest.Match(line) {
		bad = protocol.NewError(protocol.CodeParseError,
			"this is an HTTP request, but the connection was silent at first and so speaks Grima's lines; connect again and send the request at once")
		c.sendAway(protocol.GoodbyeProtocolViolation, "HTTP on a connection that speaks lines")
	}
	c.out.answer(c.out.begin(), encode(protocol.Refuse(req, bad)))
	c.countError()
}

// countError ends connections that only ever talk nonsense.
func (c *conn) countError() {
	if c.loggedIn {
		return
	}
	if c.errors++; c.errors >= c.cfg.LoginErrors {
		c.sendAway(protocol.GoodbyeProtocolViolation, "too many errors before login")
	}
}

// finish says what is left to say. err is why reading ended.
func (c *conn) finish(err error) {
	if c.ws != nil && c.ws.CloseCode() != 0 {
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
		c.log.Debug("reading failed", "error", err)
		c.out.abort()
	case c.loggedIn:
		c.sendAway(protocol.GoodbyeIdleTimeout, "nothing was heard for two heartbeats")
	default:
		c.sendAway(protocol.GoodbyeAuthTimeout, "no login in time")
	}
	c.out.waitAnswered()
	if c.place != nil {
		c.place.Close()
	}
	bye := c.ending()
	if bye == nil {
		c.out.finish(c.last(nil), 0)
	} else {
		within := goodbyeTimeout
		if bye.Code == protocol.GoodbyeShutdown {
			within = 0 // Shutdown has a bound of its own
		}
		c.out.finish(c.last(bye), within)
	}
	c.out.waitWritten()
	if bye != nil && !errors.Is(err, io.EOF) {
		linger(c.nc, lingering)
	}
}

// close releases everything.
func (c *conn) close() {
	c.mu.Lock()
	c.over = true
	if c.beat != nil {
		c.beat.Stop()
	}
	if c.grace != nil {
		c.grace.Stop()
	}
	code := protocol.GoodbyeCode("")
	if c.bye != nil {
		code = c.bye.Code
	}
	failed := c.failed
	c.mu.Unlock()
	c.cancel()
	c.out.abort()
	if failed != nil {
		cut(c.nc)
	}
	c.asked.Close() // before the client sees the end, and comes back
	err := c.nc.Close()
	c.out.waitWritten()
	if c.place != nil {
		c.place.Close()
	}
	level := slog.LevelDebug
	if code == protocol.GoodbyeSlowConsumer {
		level = slog.LevelInfo
	}
	c.log.Log(context.Background(), level, "connection closed", "goodbye", code, "write", failed, "close", err)
}

// linger reads and forgets what the client is still sending.
func linger(nc net.Conn, d time.Duration) {
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || nc.SetReadDeadline(time.Now().Add(d)) != nil {
		return
	}
	// Whatever ends it, the connection is closed next.
	_, _ = io.Copy(io.Discard, io.LimitReader(nc, lingerBytes))
}

// sendAway ends the connection with a Goodbye.
func (c *conn) sendAway(code protocol.GoodbyeCode, message string) { c.end(goodbye(code, message)) }

// end makes the connection say bye after the answers that are outstanding, and
// close. The first reason counts. It does not block.
func (c *conn) end(bye *protocol.Goodbye) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bye != nil || c.over {
		return
	}
	c.bye = bye
	c.interruptLocked()
	c.grace = time.AfterFunc(patience, func() {
		// A shutdown waits for what is under way, within its own bound.
		if bye.Code != protocol.GoodbyeShutdown {
			c.cancel()
		}
	})
	c.out.hurry()
}

func (c *conn) ending() *protocol.Goodbye {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bye
}

// kill cuts the connection off.
func (c *conn) kill() {
	c.out.abort()
	c.cancel()
	cut(c.nc)
}

// cut closes what is below TLS. Closing TLS itself would first say so, and wait
// for a client that may not be reading.
func cut(nc net.Conn) {
	for {
		above, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		nc = above.NetConn()
	}
	_ = nc.Close() // whose goroutine closes it again and reports
}

// writeFailed is the outbox's news that nothing can be written any more.
func (c *conn) writeFailed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.sendAway(protocol.GoodbyeSlowConsumer, "nothing was read for too long")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = err
	c.interruptLocked()
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// interruptLocked wakes the reading goroutine from a read.
func (c *conn) interruptLocked() { c.setReadDeadlineLocked(past) }

func (c *conn) setReadDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bye == nil && c.failed == nil {
		c.setReadDeadlineLocked(t)
	}
}

func (c *conn) setReadDeadlineLocked(t time.Time) {
	_ = c.nc.SetReadDeadline(t) // fails on a closed connection, of which reading tells
}

// errFlood ends the reading of input that never gets to the point.
var errFlood = errors.New("too much input before login")

// input is what the connection's lines are read from.
type input struct{ c *conn }

func (in input) Read(b []byte) (int, error) {
	c := in.c
	c.mu.Lock()
	if c.bye == nil && c.failed == nil && c.timed {
		// Any byte counts as a sign of life: each read begins the wait anew.
		var t time.Time
		if c.heartbeat > 0 {
			t = time.Now().Add(2 * c.heartbeat)
		} else {
			c.timed = false
		}
		c.setReadDeadlineLocked(t)
	}
	c.mu.Unlock()
	if !c.loggedIn {
		if c.budget <= 0 {
			return 0, errFlood
		}
		b = b[:min(len(b), c.budget)]
	}
	n, err := c.nc.Read(b)
	if !c.loggedIn {
		c.budget -= n
	}
	return n, err
}
