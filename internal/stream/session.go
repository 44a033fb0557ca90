package stream

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/protocol"
)

// The bounds of a heartbeat (docs/protocol.md#heartbeat).
const (
	minHeartbeat = 5 * time.Second
	maxHeartbeat = 10 * time.Minute
)

func (c *conn) hello() *protocol.Hello {
	return &protocol.Hello{
		Type:         protocol.TypeHello,
		Protocol:     protocol.Version,
		Server:       c.cfg.Software,
		ServerID:     c.cfg.ServerID,
		Epoch:        c.cfg.Service.Epoch(),
		Auth:         []string{protocol.MechanismPlain, protocol.MechanismToken},
		Capabilities: []string{"edit", "delete", "typing"},
		Limits: protocol.Limits{
			MaxFrame:      protocol.MaxFrame,
			MaxContent:    protocol.MaxContent,
			MaxPage:       protocol.MaxPage,
			AuthTimeoutMS: int(c.cfg.AuthTimeout.Milliseconds()),
		},
		Time: time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
	}
}

// login makes the connection its session's: the API calls it while it carries
// out session.start, on the reading goroutine.
func (c *conn) login(l chat.Login, p protocol.SessionStartParams) (int64, error) {
	heartbeat, err := grantHeartbeat(p.HeartbeatMS)
	if err != nil {
		return 0, err
	}
	if err := c.enter(l.Actor.User); err != nil {
		return 0, err
	}
	place := c.cfg.Hub.Register(l.Actor.Session, l.Actor.User, c)
	c.ready.Store(place)
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.RequestTimeout)
	defer cancel()
	// A revocation before the registration went unheard: ask.
	err = c.cfg.Service.CheckSession(ctx, l.Actor)
	if err == nil && (p.Subscribe == nil || *p.Subscribe) {
		err = place.Subscribe(ctx)
	}
	if err != nil {
		place.Close()
		return 0, err
	}
	c.place = place
	c.caller.Actor = l.Actor
	c.loggedIn = true
	c.lines.SetMax(protocol.MaxFrame)
	log := c.log.With("user", l.Actor.User, "session", l.Actor.Session)
	log.Debug("logged in")
	c.mu.Lock()
	c.log, c.actor = log, l.Actor
	c.mu.Unlock()
	if c.peer.LoggedIn != nil {
		c.peer.LoggedIn()
	}
	c.setReadDeadline(time.Time{})
	c.setHeartbeat(heartbeat)
	return heartbeat.Milliseconds(), nil
}

// checkEvery is how often the sessions of open connections are looked at
// (docs/protocol.md#sessions).
const checkEvery = time.Hour

// CheckSessions ends connections whose session has expired, and counts being
// connected as a use of all others. It goes on until ctx ends.
func (s *Server) CheckSessions(ctx context.Context) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		open := slices.Collect(maps.Keys(s.conns))
		s.mu.Unlock()
		for _, c := range open {
			c.checkSession(ctx)
		}
	}
}

func (c *conn) checkSession(ctx context.Context) {
	c.mu.Lock()
	actor := c.actor
	c.mu.Unlock()
	if actor.Session == 0 {
		return // not logged in, or the operator
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	switch err := c.cfg.Service.CheckSession(ctx, actor); chat.CodeOf(err) {
	case chat.CodeTokenExpired, chat.CodeUnauthenticated:
		c.sendAway(protocol.GoodbyeSessionRevoked, "this session has come to its end; log in again")
	default:
		if err != nil {
			c.log.Warn("could not check a session", "session", actor.Session, "error", err)
		}
	}
}

// update carries out session.update.
func (c *conn) update(p protocol.SessionUpdateParams) (protocol.SessionUpdateResult, error) {
	if p.HeartbeatMS != nil {
		heartbeat, err := grantHeartbeat(*p.HeartbeatMS)
		if err != nil {
			return protocol.SessionUpdateResult{}, err
		}
		c.setHeartbeat(heartbeat)
	}
	if p.Focus != nil && c.place != nil {
		focus := make([]chat.ChatID, 0, len(*p.Focus))
		for _, s := range *p.Focus {
			focus = append(focus, api.ParseChat(s))
		}
		c.place.SetFocus(focus)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return protocol.SessionUpdateResult{HeartbeatMS: c.heartbeat.Milliseconds()}, nil
}

// grantHeartbeat is the heartbeat given to who asks for one: the nearest
// within the bounds. 0 asks for none.
func grantHeartbeat(ms int64) (time.Duration, error) {
	switch {
	case ms < 0:
		return 0, chat.Errorf(chat.CodeInvalidRequest, "heartbeat_ms must not be negative")
	case ms == 0:
		return 0, nil
	}
	ms = min(ms, maxHeartbeat.Milliseconds())
	return max(time.Duration(ms)*time.Millisecond, minHeartbeat), nil
}

func (c *conn) setHeartbeat(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.heartbeat = d
	c.timed = true
	if c.beat != nil {
		c.beat.Stop()
		c.beat = nil
	}
	if d > 0 {
		c.beat = time.AfterFunc(d, c.pulse)
	}
}

var ping = encode(&protocol.Request{Type: protocol.TypePing})

// pulse sends a Ping when nothing else has been sent for a heartbeat.
func (c *conn) pulse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.bye != nil || c.heartbeat == 0 || c.beat == nil {
		return
	}
	next := c.heartbeat - time.Since(c.out.idleSince())
	if next <= 0 {
		c.out.put(ping)
		next = c.heartbeat
	}
	c.beat.Reset(next)
}

// Deliver implements hub.Subscriber.
func (c *conn) Deliver(r *hub.Run) bool {
	if c.peer.Events != nil {
		c.heard.Store(true)
	}
	return c.out.events(r.Bytes(c.wire))
}

// Notice implements hub.Subscriber.
func (c *conn) Notice(r *hub.Run) { c.out.notice(r.Bytes(c.wire)) }

// End implements hub.Subscriber.
func (c *conn) End(hub.Reason) {
	c.sendAway(protocol.GoodbyeSessionRevoked, "this session is over")
}
