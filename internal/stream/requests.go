package stream

import (
	"context"
	"regexp"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/protocol"
)

// Here is what becomes of a line: it is carried out where its turn is, by the
// store, or apart from the turns, and answered.

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

// waitForRoom has what was just read wait for room in the store. Nothing more is read
// meanwhile, so that what comes after it stays behind it.
func (c *conn) waitForRoom(wait func(context.Context)) {
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
	return api.Caller{Actor: c.who(), Peer: c.asked.Peer(), Live: true, OnFull: c.waitForRoom}
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
