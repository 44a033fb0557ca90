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

// greeting is a Hello's line, which serves all who come in the same millisecond.
type greeting struct {
	ms   int64
	line []byte
}

// hello gives the line that begins the conversation. It must not be written to.
func (c *conn) hello() []byte {
	kept := &c.srv.hellos[0]
	if c.stranger.cookie != "" {
		kept = &c.srv.hellos[1]
	}
	at := time.Now()
	g := kept.Load()
	if g == nil || g.ms != at.UnixMilli() {
		g = &greeting{at.UnixMilli(), encode(c.helloAt(at))}
		kept.Store(g)
	}
	return g.line
}

func (c *conn) helloAt(at time.Time) *protocol.Hello {
	return &protocol.Hello{
		Type:         protocol.TypeHello,
		Protocol:     protocol.Version,
		Server:       c.srv.cfg.Software,
		ServerID:     c.srv.cfg.ServerID,
		Epoch:        c.srv.cfg.Service.Epoch(),
		Auth:         c.mechanisms(),
		Capabilities: c.capabilities(),
		Limits: protocol.Limits{
			MaxFrame:      protocol.MaxFrame,
			MaxContent:    protocol.MaxContent,
			MaxPage:       protocol.MaxPage,
			AuthTimeoutMS: int(c.srv.cfg.AuthTimeout.Milliseconds()),
		},
		Time:      at.UTC().Format("2006-01-02T15:04:05.000Z"),
		DataURL:   c.srv.cfg.API.Roles.DataURL,
		StreamURL: c.srv.cfg.API.Roles.StreamURL,
	}
}

func (c *conn) mechanisms() []string {
	list := []string{protocol.MechanismPlain, protocol.MechanismToken}
	if c.stranger.cookie != "" {
		list = append(list, protocol.MechanismCookie)
	}
	return list
}

func (c *conn) capabilities() []string {
	list := []string{"edit", "delete", "typing", "find"}
	if c.srv.cfg.Service.HasPresence() {
		list = append(list, "presence")
	}
	return list
}

// login makes the connection its session's: the API calls it while it carries
// out session.start, apart from the turns.
func (c *conn) login(l chat.Login, p protocol.SessionStartParams) (int64, error) {
	heartbeat, err := grantHeartbeat(p.HeartbeatMS)
	if err != nil {
		return 0, err
	}
	if err := c.enter(l.Actor.User); err != nil {
		return 0, err
	}
	place := &c.seat
	if c.seated {
		place = new(hub.Conn) // of a login that came to nothing somebody may still know
	}
	c.seated = true
	c.srv.cfg.Hub.Seat(place, l.Actor.Session, l.Actor.User, c)
	former := c.place.Swap(place) // before there is an event to refuse
	ctx, cancel := context.WithTimeout(c.srv.ctx, c.srv.cfg.RequestTimeout)
	defer cancel()
	// A revocation before the registration went unheard: ask, if there was any.
	if ends, alone := c.srv.cfg.Hub.Ended(); !alone || c.stranger == nil || ends != c.stranger.ends {
		err = c.srv.cfg.Service.CheckSession(ctx, l.Actor)
	}
	if err == nil && (p.Subscribe == nil || *p.Subscribe) {
		err = place.Subscribe(ctx)
	}
	if err != nil {
		c.place.Store(former)
		place.Close()
		c.asked.Close() // it may log in again, as somebody else
		return 0, err
	}
	if c.stranger != nil {
		c.stranger.cookie = ""
	}
	c.loggedIn.Store(true)
	if c.input != nil {
		c.input.lines.SetMax(c.maxLine())
	}
	c.debug("logged in")
	if c.guest != nil {
		c.guest.LoggedIn()
	}
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
	actor := c.who()
	if actor.Session == 0 {
		return // not logged in, or the operator
	}
	ctx, cancel := context.WithTimeout(ctx, c.srv.cfg.RequestTimeout)
	defer cancel()
	switch err := c.srv.cfg.Service.CheckSession(ctx, actor); chat.CodeOf(err) {
	case chat.CodeTokenExpired, chat.CodeUnauthenticated:
		c.sendAway(protocol.GoodbyeSessionRevoked, "this session has come to its end; log in again")
	default:
		if err != nil {
			c.log().Warn("could not check a session", "error", err)
		}
	}
}

// update carries out session.update.
func (c *conn) update(p protocol.SessionUpdateParams) (protocol.SessionUpdateResult, error) {
	if p.Focus != nil && len(*p.Focus) > protocol.MaxPage {
		return protocol.SessionUpdateResult{}, chat.Errorf(chat.CodeInvalidRequest, "at most %d chats are in focus", protocol.MaxPage)
	}
	if p.HeartbeatMS != nil {
		heartbeat, err := grantHeartbeat(*p.HeartbeatMS)
		if err != nil {
			return protocol.SessionUpdateResult{}, err
		}
		c.setHeartbeat(heartbeat)
	}
	if place := c.place.Load(); p.Focus != nil && place != nil {
		focus := make([]chat.ChatID, 0, len(*p.Focus))
		for _, s := range *p.Focus {
			focus = append(focus, api.ParseChat(s))
		}
		place.SetFocus(focus)
	}
	if place := c.place.Load(); p.Active != nil && place != nil {
		place.SetActive(*p.Active)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	heartbeat := time.Duration(0)
	if c.times != nil {
		heartbeat = c.times.heartbeat
	}
	return protocol.SessionUpdateResult{HeartbeatMS: heartbeat.Milliseconds()}, nil
}

// watch carries out presence.watch. On a connection without events there is
// nothing to hear.
func (c *conn) watch(users []chat.UserID) time.Duration {
	if place := c.place.Load(); place != nil {
		place.Watch(users)
	}
	return hub.WatchLasts
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
	if d > 0 || c.times != nil {
		c.timesLocked().heartbeat = d
	}
	c.mu.Unlock()
	c.setLimit(2 * d)
}

func (c *conn) timesLocked() *times {
	if c.times == nil {
		c.times = &times{alarm: alarm{conn: c}}
	}
	return c.times
}

// setLimit ends the connection in d, unless something happens before; 0: never.
func (c *conn) setLimit(d time.Duration) {
	c.mu.Lock()
	t := c.timesLocked()
	t.limit = 0
	if d > 0 {
		t.limit = now() + int64(d)
	}
	t.ring = t.limit
	if t.heartbeat > 0 {
		t.ring = c.out.idleSince() + int64(t.heartbeat)
	}
	ring := t.ring
	if ring == 0 {
		c.times = nil
	}
	c.mu.Unlock()
	c.srv.alarms.set(&t.alarm, ring)
}

// alive puts off the end of a connection that was heard of.
func (c *conn) alive() {
	if !c.loggedIn.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.times; t != nil && t.heartbeat > 0 {
		t.limit = now() + 2*int64(t.heartbeat)
	}
}

// late reports whether the time has come that setLimit set.
func (c *conn) late() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.times != nil && c.times.limit != 0 && now() >= c.times.limit
}

var ping = encode(&protocol.Request{Type: protocol.TypePing})

// pulse sends a Ping when nothing else has been sent for a heartbeat, and sees
// that there is a turn when the next thing is due. What is sent and heard puts
// that off, of which the alarm is told when it rings.
func (c *conn) pulse() {
	c.mu.Lock()
	t, now := c.times, now()
	if t == nil || t.heartbeat == 0 || c.last != nil && c.last.bye != nil || now < t.ring {
		c.mu.Unlock()
		return
	}
	next := c.out.idleSince() + int64(t.heartbeat)
	due := next <= now
	if due {
		next = now + int64(t.heartbeat)
	}
	if t.limit > now {
		next = min(next, t.limit)
	}
	t.ring = next
	c.mu.Unlock()
	if due {
		c.out.put(ping)
	}
	c.srv.alarms.set(&t.alarm, next)
}

// Deliver implements hub.Subscriber.
func (c *conn) Deliver(r *hub.Run) bool {
	if c.listener != nil {
		c.listener.heard.Store(true)
	}
	return c.out.event(r)
}

// Notice implements hub.Subscriber.
func (c *conn) Notice(r *hub.Run) { c.out.notice(r) }

// End implements hub.Subscriber.
func (c *conn) End(hub.Reason) {
	c.sendAway(protocol.GoodbyeSessionRevoked, "this session is over")
}
