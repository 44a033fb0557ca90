package stream

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/limits"
	"github.com/grima-chat/grima/internal/queue"
	"github.com/grima-chat/grima/internal/websocket"
	"github.com/grima-chat/grima/protocol"
)

// conn is one connection: a state machine that takes turns. times and last are
// guarded by mu. The others never change, or belong to whoever has the turn;
// while a request is being carried out by one of the crew, to that goroutine,
// and turns do nothing. What an idle client does not need is behind pointers, and
// they are nil.
//
// The order is that of memory: what a delivery touches are the first line of
// seat, listener with out, and the socket behind them in a Room. With thousands
// of connections each line has to be fetched.
type conn struct {
	srv    *Server
	serial uint64 // in the log
	place  atomic.Pointer[hub.Conn]
	guest  Guest    // nil: nobody
	seat   hub.Conn // of the first login, to which place leads
	turns  queue.Handle

	asked    limits.Client
	loggedIn atomic.Bool // what was read before, is bounded
	busy     atomic.Bool // a request is being carried out
	spoke    bool        // it sent, edited or deleted a message
	joined   bool        // the answer that is being made leaves with those before it
	seated   bool        // seat is or was in use
	waited   bool        // the last turn ended before it had read everything
	violated uint16      // what to close a WebSocket with, if it is not the Goodbye's code
	operator bool        // logged in from the start, as whoever runs the server
	stranger *stranger   // before login, and as long as there is something in it
	input    *reading    // while there is input

	mu    sync.Mutex
	times *times  // nil: nothing is due
	last  *ending // nil: nothing of it

	listener *listener // a client that only listens
	out      outbox
}

// stranger is what a connection has before login.
type stranger struct {
	early  []byte // was read before all else
	errors int    // bad lines
	budget int    // bytes that may still be read
	cookie string // see Peer.Cookie; empty once logged in
	ends   uint64 // hub.Ended before the session was looked up; 0: it was not here
}

// reading is what takes lines out of what is read, and those that it took and
// that are not yet dealt with.
type reading struct {
	lines  *protocol.LineReader
	ws     *websocket.Reader // nil: lines come as they are
	slow   *slowed           // waits for its time; nil: nothing does
	next   *protocol.Request // waits for the answers before it
	room   func()            // waits for room in the store; nil: nothing does
	streak uint8             // breaths in a row after which more was there, see greedy
}

// listener is a client that only listens.
type listener struct {
	*Events

	heard  atomic.Bool // an event since the last cursor
	cursor string
}

// times are those at which something is due, as now counts.
type times struct {
	alarm     alarm // guarded by srv.alarms.mu
	limit     int64 // when something has to have happened: login, input, or for who only listens the next beat; 0: never
	ring      int64 // when there is a turn at the latest, to look at these times
	heartbeat time.Duration
}

// ending is how a connection ends, and what can be ended of it.
type ending struct {
	bye    *protocol.Goodbye  // set: the connection is ending
	failed error              // of writing
	cancel context.CancelFunc // of the request that is being carried out
	grace  *time.Timer
	over   bool
}

func newConn(s *Server, nc net.Conn, p Peer) *conn {
	room := p.Room
	if room == nil {
		room = new(Room)
	}
	c := &room.conn
	c.srv, c.guest, c.asked = s, p.Guest, s.cfg.Limits.Client(p.Addr)
	c.stranger = &stranger{early: p.Early, cookie: p.Cookie, budget: loginBytes}
	c.out = outbox{to: carrierOf(nc, room), form: formOf(p), owner: c, waiting: &nothingWaits}
	if p.Operator {
		c.operator = true
		c.loggedIn.Store(true)
	}
	if p.Events != nil {
		c.listener = &listener{Events: p.Events}
	}
	return c
}

// reader is what takes lines out of the input.
func (c *conn) reader() *reading {
	if c.input == nil {
		c.input = new(reading)
		var from io.Reader = input{c}
		if c.out.form == messages {
			c.input.ws = websocket.NewReader(from, protocol.MaxFrame, c.pong)
			from = c.input.ws
		}
		c.input.lines = protocol.NewLineReader(from, c.maxLine())
		c.input.lines.SetMaxSkip(endless)
	}
	return c.input
}

// maxLine bounds the length of a line.
func (c *conn) maxLine() int {
	if c.loggedIn.Load() {
		return protocol.MaxFrame
	}
	return protocol.MaxFrameLogin
}

// who is whose connection it is; the zero Actor before login.
func (c *conn) who() chat.Actor {
	switch {
	case c.operator:
		return chat.Actor{Operator: true}
	case !c.loggedIn.Load():
		return chat.Actor{}
	}
	session, user := c.place.Load().Whose()
	return chat.Actor{Session: session, User: user}
}

// allRead ends the reading of what there was, when it has been dealt with.
func (c *conn) allRead() {
	r := c.input
	r.streak = 0
	r.lines.Release()
	if r.lines.Idle() && (r.ws == nil || r.ws.Idle()) {
		c.input = nil
	}
}

// log is the connection's log. It is made anew each time: little is logged of a
// connection, and there are many.
func (c *conn) log() *slog.Logger {
	log := c.srv.cfg.Log.With("conn", c.serial, "peer", c.asked.Peer())
	if actor := c.who(); actor.Session != 0 {
		log = log.With("user", api.FormatUser(actor.User), "session", api.FormatSession(actor.Session))
	}
	return log
}

// debug logs what few want to read, and costs nothing when nobody does.
func (c *conn) debug(message string, args ...any) {
	if c.srv.cfg.Log.Enabled(context.Background(), slog.LevelDebug) {
		c.log().Debug(message, args...)
	}
}

// start begins the conversation.
func (c *conn) start(head []byte) {
	c.debug("connection opened")
	c.out.cork() // until the first turn
	if len(head) > 0 {
		c.out.putBare(head)
	}
	c.out.put(c.hello())
	if !c.loggedIn.Load() && c.listener == nil {
		c.setLimit(c.srv.cfg.AuthTimeout)
	}
	var err error
	if sock := c.out.to.sock; sock != nil {
		if err = sock.park(&c.turns, c, c.srv.queue); err == nil {
			return
		}
		c.log().Warn("a connection cannot be polled", "error", err)
		if sock.file == nil {
			c.out.uncork()
			go c.depart(err)
			return
		}
		// Out of files, perhaps. A goroutine that waits needs none.
		sock.waits = true
	}
	// Before there are turns, of which one may be the last and stops it. What it
	// reads before the first is seen by that.
	c.out.to.waitFor(&c.turns)
	if err = c.srv.queue.Add(&c.turns, c, nil); err != nil {
		c.out.uncork()
		go c.depart(err)
	}
}

// Stirred implements queue.Waiter.
func (c *conn) Stirred() { c.out.to.sock.stir() }

// maxTurn is how many lines are dealt with in one turn.
const maxTurn = 16

// Turn implements queue.Client.
func (c *conn) Turn() queue.Verdict {
	if sock := c.out.to.sock; sock != nil {
		sock.empty, sock.fed = false, 0
	}
	c.out.cork()
	verdict, why := c.turn()
	if c.joined && c.busy.Load() {
		c.out.loosen() // what is apart from the turn flushes, before long
	} else {
		c.out.uncork()
	}
	c.waited = verdict == queue.Wait
	if verdict == queue.Done {
		go c.depart(why)
	}
	return verdict
}

// depart ends the connection, whose turns are over.
func (c *conn) depart(why error) {
	c.out.to.stopWaiting()
	if c.out.to.sock != nil {
		c.out.to.sock.waits = true
	}
	c.finish(why)
	c.close()
	c.srv.gone(c)
}

// turn is Turn without its frame. Done comes with the reason: io.EOF, an error
// of reading, or nil when the connection is ending.
func (c *conn) turn() (queue.Verdict, error) {
	c.pulse()
	for n := 0; ; n++ {
		if c.busy.Load() {
			return queue.Wait, nil // which wakes us
		}
		bye, failed := c.ending()
		switch in := c.input; {
		case failed != nil:
			return queue.Done, failed
		case in != nil && in.next != nil:
			if !c.out.answered() {
				return queue.Wait, nil
			}
			req := *in.next
			in.next = nil
			c.carryOut(req)
			continue
		case in != nil && in.slow != nil:
			if bye == nil && now() < in.slow.until {
				return queue.Wait, nil // for its timer
			}
			l := in.slow
			in.slow = nil
			c.attend(l.req, l.bad, l.line, l.no)
			continue
		case bye != nil:
			return queue.Done, nil
		case c.listener != nil:
			return c.listening()
		case !c.loggedIn.Load() && c.late():
			return queue.Done, os.ErrDeadlineExceeded
		case !c.out.mayRead():
			return queue.Wait, nil
		case n == maxTurn:
			return queue.Again, nil
		}
		line, err := c.reader().lines.Next()
		if err == errNotNow {
			c.allRead()
			if c.waited {
				c.waited = false
				c.alive() // it was we who did not read
			}
			if c.late() {
				return queue.Done, os.ErrDeadlineExceeded
			}
			if c.out.to.full() {
				return queue.Again, nil
			}
			return queue.Park, nil
		}
		if bad, ok := errors.AsType[*protocol.Error](err); ok {
			c.refuse(protocol.Request{}, bad, nil)
			if c.out.form == messages {
				c.violate(websocket.CloseTooBig, bad.Message)
			}
			continue
		}
		if err != nil {
			return queue.Done, err
		}
		c.out.bounds.framesIn.Add(1)
		c.handle(line)
	}
}

// errFlood ends the reading of input that never gets to the point.
var errFlood = errors.New("too much input before login")

// input is what the connection's lines are read from, without waiting.
type input struct{ c *conn }

func (in input) Read(b []byte) (n int, err error) {
	c := in.c
	st := c.stranger
	before := !c.loggedIn.Load()
	if before {
		if st.budget <= 0 {
			return 0, errFlood
		}
		b = b[:min(len(b), st.budget)]
	}
	switch {
	case st != nil && len(st.early) > 0:
		n = copy(b, st.early)
		if st.early = st.early[n:]; len(st.early) == 0 {
			st.early = nil
		}
	default:
		n, err = c.out.to.read(b)
	}
	if before {
		st.budget -= n
	} else if st != nil && len(st.early) == 0 {
		c.stranger = nil
	}
	if n > 0 {
		c.out.bounds.bytesIn.Add(uint64(n))
		c.alive()
	}
	return n, err
}
