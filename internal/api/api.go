// Package api is the one table of operations: for each its name, frame, who may
// call it, what it costs, its HTTP route, and the handler that turns a
// protocol.Request into calls of chat.Service and the outcome back into a
// protocol.Response. Every door (TCP, TLS, HTTP, the control socket) goes
// through API.Do, so that they cannot differ.
package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/internal/aside"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// Caller is who sends a request, and through which door.
type Caller struct {
	Actor chat.Actor
	Peer  netip.Addr // the client's address, for limits; zero: not known, or local

	// Live: it comes from a live connection, or belongs to one.
	Live bool
	// Cookie is the token that a browser's cookie brought, from a page of ours;
	// empty: none came.
	Cookie string
	// OnCookie has the browser keep a token as a cookie, at most until it can be
	// of no use any more. Nil on live connections, which have no cookies to set.
	OnCookie func(token string, until time.Time)
	// OnLogin is how a live connection learns of its session.start: it is
	// called after the credentials were accepted and before the answer. It
	// returns the heartbeat granted. Nil over HTTP, where the answer is all.
	OnLogin func(chat.Login, protocol.SessionStartParams) (heartbeatMS int64, err error)
	// OnUpdate carries out session.update. Nil over HTTP, which has nothing to
	// update.
	OnUpdate func(protocol.SessionUpdateParams) (protocol.SessionUpdateResult, error)
	// OnWait is told before a request waits for its turn or hashes a password.
	OnWait func()
	// OnFull takes the wait for room in the store away from Do, of what Do answers
	// later. Nil: Do waits.
	OnFull chat.OnFull
	// OnSpent is told what a Heavy operation took: processor time, and the work of
	// a database elsewhere (aside.Meter). Nil: it is of no account.
	OnSpent func(time.Duration)
	// OnWatch has a live connection hear when the presence of these users
	// changes, for as long as it says. Nil over HTTP.
	OnWatch func([]chat.UserID) time.Duration
}

// waits tells whoever wants to know that the request is going to take a while.
func (c *Caller) waits() {
	if c.OnWait != nil {
		c.OnWait()
	}
}

// API answers requests. Its methods may be called from any goroutine.
type API struct {
	svc   *chat.Service
	aside *aside.Pool // runs Heavy operations

	// Roles are what is served here. Set them before the first Do.
	Roles Roles
	// Log gets what answers hide: panics and the causes of internal errors.
	// Nil: slog.Default(). Set it before the first Do.
	Log *slog.Logger
	// Observer hears of every answer, for metrics (nil: nobody does). Set it
	// before the first Do.
	Observer Observer
}

// Observer hears of what was answered, on any goroutine, and must not block.
type Observer interface {
	// Request was answered after that time. Code is its error's; empty: it
	// succeeded. Op may be anything that a client wrote.
	Request(op string, code protocol.Code, took time.Duration)
	// Login was tried with a mechanism, which may be anything too.
	Login(mechanism string, code protocol.Code)
}

// New makes an API on svc.
func New(svc *chat.Service) *API {
	// One processor stays free of pages of rows, for sends and whatever is light.
	return &API{svc: svc, aside: aside.New(max(1, aside.Processors()-1))}
}

// Close waits for what is carried out aside. Nobody calls Do any more.
func (a *API) Close() { a.aside.Close() }

// Aside carries f out where Heavy operations are, behind who waits there, and
// waits for its end. waits is called before it waits for others'. f waits for
// nothing but reads of the store. If ctx ends before f has begun, or after Close,
// it does not begin, and there is an error.
func (a *API) Aside(ctx context.Context, waits, f func()) error { return a.aside.Do(ctx, waits, f) }

// Do answers req: it calls done exactly once, with the complete answer.
//
// Sends, edits and deletes of messages return at once (see Caller.OnFull) and
// call done later, from the store's goroutine, after their commit and before
// their event is published; then done must not block. Everything else blocks
// and has called done when Do returns. ctx bounds the blocking ones.
//
// A Ping is answered with a Pong here too, but a live connection does well to
// do that itself.
func (a *API) Do(ctx context.Context, c Caller, req protocol.Request, done func(protocol.Response)) {
	x := &call{api: a, req: req, ignored: req.Ignored, done: done}
	if a.Observer != nil {
		x.began = time.Now()
	}
	defer func() {
		if v := recover(); v != nil {
			a.log().Error("a handler panicked", "op", req.Op, "panic", v, "stack", string(debug.Stack()))
			x.finish(nil, protocol.NewError(protocol.CodeInternal, internalMessage))
		}
	}()
	if req.Type == protocol.TypePing {
		if !x.answered.Swap(true) {
			done(protocol.Response{Type: protocol.TypePong, ID: req.ID, Ignored: req.Ignored})
		}
		return
	}
	op, err := a.admit(c, req)
	if err != nil {
		x.finish(nil, err)
		return
	}
	params, err := x.decode(op)
	if err != nil {
		x.finish(nil, err)
		return
	}
	if op.start != nil {
		op.start(a, c, params, x.end)
		return
	}
	x.end(a.run(ctx, c, op, params))
}

// run carries out an operation that blocks and encodes its result; Heavy ones
// in their turn.
func (a *API) run(ctx context.Context, c Caller, op *Operation, params any) ([]byte, error) {
	if op.brief != nil {
		if result, ok, err := op.brief(a, ctx, c, params); err != nil {
			return nil, err
		} else if ok {
			return json.Marshal(result)
		}
	}
	if op.Cost != Heavy {
		return a.result(ctx, c, op, params)
	}
	var (
		result []byte
		failed error
		took   time.Duration
	)
	if err := a.aside.Do(ctx, c.waits, func() {
		meter := aside.Start()
		result, failed = a.result(chat.WithElsewhere(ctx, meter.Elsewhere), c, op, params)
		took = meter.Took()
	}); err != nil {
		return nil, fmt.Errorf("waiting for other reads: %w", err)
	}
	if c.OnSpent != nil {
		c.OnSpent(took)
	}
	return result, failed
}

// result carries an operation out and encodes what comes of it.
func (a *API) result(ctx context.Context, c Caller, op *Operation, params any) ([]byte, error) {
	result, err := op.run(a, ctx, c, params)
	if err != nil {
		return nil, err
	}
	return json.Marshal(result)
}

// Async reports whether Do returns before op is done.
func Async(op string) bool {
	o, ok := Lookup(op)
	return ok && o.start != nil
}

// admit finds the operation of req and checks that it came in the right frame
// and from somebody who may try it, at a node that serves it.
func (a *API) admit(c Caller, req protocol.Request) (*Operation, *protocol.Error) {
	op, ok := Lookup(req.Op)
	if !ok {
		if req.Op == "" {
			return nil, protocol.NewError(protocol.CodeInvalidRequest, "op is missing")
		}
		return nil, protocol.NewError(protocol.CodeUnknownOp, "no such operation")
	}
	if req.Type != op.Frame {
		return nil, protocol.NewError(protocol.CodeInvalidRequest, fmt.Sprintf("%s goes in a %s", op.Name, op.Frame))
	}
	if err := a.Roles.misdirected(c, op); err != nil {
		return nil, err
	}
	switch {
	case op.Access == Anyone:
	case c.Actor.User == 0 && !c.Actor.Operator:
		return nil, protocol.NewError(protocol.CodeUnauthenticated, "log in first: session.start on a connection, a bearer token over HTTP")
	case c.Actor.User == 0 && op.Access == Account:
		return nil, protocol.NewError(protocol.CodePermissionDenied, "the operator has no account, and so no chats or sessions of their own")
	}
	return op, nil
}

// call is one request under way.
type call struct {
	api      *API
	req      protocol.Request
	ignored  []string
	done     func(protocol.Response)
	began    time.Time // if somebody observes
	answered atomic.Bool
}

// decode reads the params of the request, and notes what it does not know.
func (x *call) decode(op *Operation) (any, *protocol.Error) {
	params := op.newParams()
	ignored, err := protocol.DecodeParams(x.req.Params, params)
	if len(ignored) > 0 {
		x.ignored = slices.Concat(x.ignored, ignored)
		x.ignored = x.ignored[:min(len(x.ignored), protocol.MaxIgnored)]
	}
	switch {
	case err != nil:
		return nil, err
	case x.req.Strict && len(x.ignored) > 0:
		return nil, protocol.UnknownMembers(x.ignored)
	}
	if err = checkZeros(params, x.req.Params); err == nil && op.limit >= 0 {
		err = checkLimit(params, op.limit, x.req.Params)
	}
	return params, err
}

// end answers with what a handler came to.
func (x *call) end(result []byte, err error) {
	if err != nil {
		x.finish(nil, x.api.Error(x.req.Op, err))
		return
	}
	x.finish(result, nil)
}

// finish answers once; what comes after the first answer is dropped.
func (x *call) finish(result jsontext.Value, err *protocol.Error) {
	if x.answered.Swap(true) {
		return
	}
	if o := x.api.Observer; o != nil {
		o.Request(x.req.Op, codeOf(err), time.Since(x.began))
	}
	x.done(protocol.Response{
		Type: x.req.Type.Response(), ID: x.req.ID, Op: x.req.Op,
		Result: result, Error: err, Ignored: x.ignored,
	})
}

// codeOf is err's code; empty for none.
func codeOf(err *protocol.Error) protocol.Code {
	if err == nil {
		return ""
	}
	return err.Code
}

func (a *API) log() *slog.Logger {
	if a.Log != nil {
		return a.Log
	}
	return slog.Default()
}
