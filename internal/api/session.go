package api

import (
	"context"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// docs/protocol.md#session.start
func (a *API) sessionStart(ctx context.Context, c Caller, p *protocol.SessionStartParams) (res protocol.SessionStartResult, err error) {
	if a.Observer != nil {
		defer func() {
			var failed *protocol.Error
			if err != nil {
				failed = ToError(err)
			}
			a.Observer.Login(p.Mechanism, codeOf(failed))
		}()
	}
	if c.OnLogin != nil && (c.Actor.User != 0 || c.Actor.Operator) {
		return protocol.SessionStartResult{}, protocol.NewError(protocol.CodeConflict, "this connection is logged in already; open another one")
	}
	if p.Cookie && c.OnCookie == nil {
		return protocol.SessionStartResult{}, protocol.NewError(protocol.CodeInvalidRequest, "cookie makes sense only over HTTP")
	}
	if c.Live && (p.Subscribe == nil || *p.Subscribe) {
		if err := a.Roles.NotLive(); err != nil {
			return protocol.SessionStartResult{}, err
		}
	}
	var (
		l     chat.Login
		token string // for a cookie
	)
	switch p.Mechanism {
	case protocol.MechanismPlain:
		c.waits()
		l, err = a.svc.LoginPassword(ctx, c.Peer, p.Username, p.Password, p.Device, p.Client)
		token = l.Token
	case protocol.MechanismToken:
		l, err = a.svc.LoginToken(ctx, p.Token)
		token = p.Token
	case protocol.MechanismCookie:
		if c.Cookie == "" {
			return protocol.SessionStartResult{}, protocol.NewError(protocol.CodeUnauthenticated, "no cookie of a session came along; log in")
		}
		l, err = a.svc.LoginToken(ctx, c.Cookie)
		token = c.Cookie
	default:
		err = protocol.NewError(protocol.CodeInvalidRequest, "mechanism must be PLAIN, TOKEN or COOKIE")
	}
	if err != nil {
		return protocol.SessionStartResult{}, err
	}
	res = protocol.SessionStartResult{
		SessionID: FormatSession(l.Session.ID), User: toUser(l.User), Token: l.Token,
		ExpiresAt: formatTime(l.Session.ExpiresAt), Epoch: a.svc.Epoch(),
	}
	if c.OnCookie != nil && (p.Cookie || p.Mechanism == protocol.MechanismCookie) {
		res.Token = ""
		c.OnCookie(token, l.Session.LastEnd())
	}
	if c.OnLogin != nil {
		if res.HeartbeatMS, err = c.OnLogin(l, *p); err != nil {
			a.undo(ctx, l)
			return protocol.SessionStartResult{}, err
		}
	}
	return res, nil
}

// undoTimeout bounds what is done for somebody who has been refused already.
const undoTimeout = 5 * time.Second

// undo ends the session of a login that came to nothing, if it was begun for
// that: nobody was told its token, and it would take the place of one that is in
// use.
func (a *API) undo(ctx context.Context, l chat.Login) {
	if l.Token == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := a.svc.EndSession(ctx, l.Actor); err != nil && chat.CodeOf(err) != chat.CodeNotFound {
		a.log().Warn("a session that nobody uses is left until it expires", "session", FormatSession(l.Session.ID), "error", err)
	}
}

// docs/protocol.md#session.update
func (a *API) sessionUpdate(_ context.Context, c Caller, p *protocol.SessionUpdateParams) (protocol.SessionUpdateResult, error) {
	if c.OnUpdate == nil {
		return protocol.SessionUpdateResult{}, protocol.NewError(protocol.CodeInvalidRequest, "session.update makes sense only on a live connection")
	}
	return c.OnUpdate(*p)
}

// docs/protocol.md#session.end
func (a *API) sessionEnd(ctx context.Context, c Caller, _ *protocol.Empty) (protocol.Empty, error) {
	return protocol.Empty{}, a.svc.EndSession(ctx, c.Actor)
}

// docs/protocol.md#sessions.list
func (a *API) sessionsList(ctx context.Context, c Caller, _ *protocol.Empty) (protocol.SessionsListResult, error) {
	list, err := a.svc.Sessions(ctx, c.Actor)
	return protocol.SessionsListResult{Sessions: convert(list, func(s chat.Session) protocol.Session {
		return toSession(s, c.Actor.Session)
	})}, err
}

// docs/protocol.md#sessions.revoke
func (a *API) sessionsRevoke(ctx context.Context, c Caller, p *protocol.SessionParams) (protocol.Empty, error) {
	return protocol.Empty{}, a.svc.RevokeSession(ctx, c.Actor, sessionID(p.SessionID))
}

// docs/protocol.md#tokens.create
func (a *API) tokensCreate(ctx context.Context, c Caller, p *protocol.TokensCreateParams) (protocol.TokensCreateResult, error) {
	l, err := a.svc.NewToken(ctx, c.Actor, p.Device, milliseconds(p.TTLMS))
	return protocol.TokensCreateResult{Token: l.Token, Session: toSession(l.Session, c.Actor.Session)}, err
}
