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

// handle deals with one line, now or when the limits let it.
func (c *conn) handle(line []byte) {
	req, bad := protocol.DecodeRequest(line)
	if no, wait := c.count(req, bad, line); !wait {
		c.attend(req, bad, line, no)
	}
}

// attend carries a line out, or begins to; no: or refuses it with that.
func (c *conn) attend(req protocol.Request, bad *protocol.Error, line []byte, no *protocol.Error) {
	if req.Type == protocol.TypePong && bad == nil {
		return // the answer to our Ping; that it came is all we wanted
	}
	if bad != nil {
		c.refuse(req, bad, line)
		return
	}
	if no != nil {
		c.answer(c.out.begin(), protocol.Refuse(req, no))
		return
	}
	if c.stranger != nil {
		c.stranger.budget = loginBytes
	}
	switch {
	case req.Type == protocol.TypePing:
		c.answer(c.out.begin(), &protocol.Response{Type: protocol.TypePong, ID: req.ID, Ignored: req.Ignored})
	case req.Type == protocol.TypeBroadcastRequest && api.Async(req.Op):
		n := c.out.begin()
		c.spoke = true
		c.srv.cfg.API.Do(c.srv.ctx, c.speaker(), req, func(r protocol.Response) { c.answer(n, &r) })
		if !c.loggedIn.Load() {
			c.countError() // nobody may send before login
		}
	default:
		c.input.next = &req
	}
}

// answer fills a place among the answers, from any goroutine.
func (c *conn) answer(n uint64, frame any) {
	if c.out.answer(n, encode(frame)) {
		c.srv.flusher.add(c)
	}
}

// carryOut carries out a request that waits for its result: at once if that
// waits for nothing, else apart from the turns, during which no other is read.
func (c *conn) carryOut(req protocol.Request) {
	op, ok := api.Lookup(req.Op)
	if !ok || op.Cost == api.Instant {
		c.done(c.out.begin(), c.do(req))
		return
	}
	c.joined = joins(req.Op)
	n := c.out.begin()
	light := op != nil && op.Cost == api.Light
	c.apart(light && c.input.streak >= greedy, func(aside bool) {
		c.done(n, c.do(req))
		c.goOn(aside)
	})
}

// greedy is how many breaths in a row a client may ask for light things without
// a pause. Whoever has more on the way, 128 requests or 1.6 ms of them, waits for
// processors that nobody else wants, until all was read that it had sent.
const greedy = 8

// breath is how long answering goes on apart from the turns, as in a queue.
const breath = int64(200 * time.Microsecond)

// joins reports whether answers wait for that of op, to leave together: it comes
// soon, or API.Do says that it does not (see Caller.OnWait).
func joins(name string) bool {
	op, ok := api.Lookup(name)
	return ok && (op.Cost == api.Light || name == protocol.OpSync || name == protocol.OpSessionStart)
}

// goOn carries out, apart from the turns, what was read together with a request
// and waits for its result too, so that nobody is woken in between: light reads,
// or the sync of somebody who comes back and sent it with his login. It does so
// for a moment; then it is somebody else's turn.
//
// Aside, that is light reads alone: nothing else may wait there.
func (c *conn) goOn(aside bool) {
	began := now()
	for n := 0; n < maxTurn && now()-began < breath; n++ {
		bye, failed := c.ending()
		if bye != nil || failed != nil || !c.loggedIn.Load() || c.input == nil || !c.out.mayRead() {
			return
		}
		line, ok := c.input.lines.Buffered()
		if !ok {
			return
		}
		c.out.bounds.framesIn.Add(1)
		c.handle(line)
		if c.input.next == nil || c.input.room != nil || !c.out.answered() {
			return
		}
		req := *c.input.next
		if op, ok := api.Lookup(req.Op); aside && (!ok || op.Cost != api.Light) {
			return
		}
		c.input.next = nil
		if !joins(req.Op) {
			c.out.flush()
		}
		c.done(c.out.begin(), c.do(req))
	}
	if c.input.streak < greedy {
		c.input.streak++
	}
}

// apart does what may take its time on another goroutine, if it is to be aside
// on one of those for that. The turns wait for it.
func (c *conn) apart(aside bool, do func(aside bool)) {
	c.busy.Store(true)
	end := func() {
		c.out.flush()
		c.busy.Store(false)
		c.turns.Wake()
	}
	work := func(aside bool) {
		do(aside)
		if c.input == nil || c.input.room == nil {
			end()
			return
		}
		room := c.input.room
		c.input.room = nil
		c.out.flush()
		c.srv.crew.do(func() { room(); end() }) // nothing waits aside
	}
	if !aside {
		c.srv.crew.do(func() { work(false) })
		return
	}
	c.srv.crew.do(func() {
		// Behind others' work it waits like a request, which ends with the
		// connection: then there is little left to do, and nobody to wait for.
		ctx, begin := c.patient()
		if err := c.srv.cfg.API.Aside(ctx, c.out.flush, func() { begin(); work(true) }); err != nil {
			begin()
			work(false)
		}
	})
}

// aside has what was just read wait for room in the store. Nothing more is read
// meanwhile, so that what comes after it stays behind it.
func (c *conn) aside(wait func(context.Context)) {
	patiently := func() {
		ctx, done := c.patient()
		defer done()
		wait(ctx)
	}
	if c.busy.Load() { // it is apart from the turns already
		c.input.room = patiently
		return
	}
	c.joined = false
	c.apart(false, func(bool) { patiently() })
}

// done answers a request that waited for its result. The end of the turn, or of
// what is apart from it, flushes.
func (c *conn) done(n uint64, r protocol.Response) {
	c.out.answer(n, encodeResponse(&r))
	if r.Error != nil && (r.Error.Code == protocol.CodeUnauthenticated || r.Error.Code == protocol.CodeUnknownOp) {
		c.countError()
	}
}

// do carries out a request that waits for its result.
func (c *conn) do(req protocol.Request) (answer protocol.Response) {
	// What it causes, and what is delivered from a login on, follows its answer.
	// All others let events pass: held back behind a slow read, those of busy
	// chats would have no room before long.
	op, ok := api.Lookup(req.Op)
	if req.Op == protocol.OpSessionStart || ok && op.Told {
		c.out.hold()
	}
	if req.Op == protocol.OpSessionStart && c.stranger != nil {
		c.stranger.ends, _ = c.srv.cfg.Hub.Ended()
	}
	ctx, done := c.patient()
	defer done()
	caller := c.caller()
	if ok && op.Cost == api.Heavy {
		caller.OnSpent = c.asked.Spent
	}
	c.srv.cfg.API.Do(ctx, caller, req, func(r protocol.Response) { answer = r })
	return answer
}

// patient is the context of a request: it ends after RequestTimeout, or when
// the connection's end cannot wait any longer.
func (c *conn) patient() (ctx context.Context, done func()) {
	ctx, cancel := context.WithTimeout(c.srv.ctx, c.srv.cfg.RequestTimeout)
	c.mu.Lock()
	last := c.lastLocked()
	last.cancel = cancel
	if last.over {
		cancel()
	}
	c.mu.Unlock()
	return ctx, func() {
		c.mu.Lock()
		if c.last.cancel = nil; c.last.bye == nil && c.last.failed == nil && !c.last.over {
			c.last = nil
		}
		c.mu.Unlock()
		cancel()
	}
}

// caller is who asks.
func (c *conn) caller() api.Caller {
	caller := api.Caller{Actor: c.who(), Peer: c.asked.Peer(), Live: true, OnLogin: c.login, OnUpdate: c.update, OnWait: c.out.flush, OnWatch: c.watch}
	if c.stranger != nil {
		caller.Cookie = c.stranger.cookie
	}
	return caller
}

// speaker is who asks for what is answered later.
func (c *conn) speaker() api.Caller {
	c.mu.Lock()
	defer c.mu.Unlock()
	return api.Caller{Actor: c.who(), Peer: c.asked.Peer(), Live: true, Aside: c.aside}
}

// httpRequest is the first line of an HTTP request.
var httpRequest = regexp.MustCompile(`^[A-Z]{3,10} \S+ HTTP/\d`)

// refuse answers a line that is no request.
func (c *conn) refuse(req protocol.Request, bad *protocol.Error, line []byte) {
	if !c.loggedIn.Load() && httpRequest.Match(line) {
		bad = protocol.NewError(protocol.CodeParseError,
			"this is an HTTP request, but the connection was silent at first and so speaks Grima's lines; connect again and send the request at once")
		c.sendAway(protocol.GoodbyeProtocolViolation, "HTTP on a connection that speaks lines")
	}
	c.answer(c.out.begin(), protocol.Refuse(req, bad))
	c.countError()
}

// countError ends connections that only ever talk nonsense.
func (c *conn) countError() {
	if c.loggedIn.Load() {
		return
	}
	if c.stranger.errors++; c.stranger.errors >= c.srv.cfg.LoginErrors {
		c.sendAway(protocol.GoodbyeProtocolViolation, "too many errors before login")
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
