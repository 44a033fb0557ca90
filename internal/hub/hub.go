// Package hub delivers what was committed to the connections that are live.
//
// It knows which connections are logged in (so that a revoked session loses
// its connections at once) and which chats each subscribed connection hears
// of. What it brings is news, not truth: the database keeps everything, and a
// client that missed something reads it there (docs/protocol.md#resume).
//
// Routing follows the log. A route begins at the seq where a membership begins
// and ends with the event that ends it, so that an event goes to the
// participants at its seq, and to the one it removes, and to nobody else.
// Events are encoded once and their bytes shared by all who get them.
//
// One mutex guards the maps. It is held neither while encoding nor while
// subscribers are called.
package hub

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// Config is what a Hub needs; all but Log and Now are required.
type Config struct {
	// Encode and its sisters append the line that delivers an event.
	Encode       func(dst []byte, e chat.Event) []byte
	EncodeRead   func(dst []byte, id chat.ChatID, user chat.UserID, seq int64) []byte
	EncodeTyping func(dst []byte, id chat.ChatID, user chat.UserID, stop bool) []byte
	// Memberships reads the chats a user is in, from committed state.
	Memberships func(ctx context.Context, user chat.UserID) ([]chat.Membership, error)
	Log         *slog.Logger     // nil: slog.Default()
	Now         func() time.Time // nil: time.Now
}

// Subscriber is a live connection as the hub sees it. Its methods must not
// block and must not call the hub. They may be called once more after
// [Conn.Close] has returned.
type Subscriber interface {
	// Deliver takes over all of the run, or nothing of it and reports false.
	Deliver(r *Run) bool
	// Notice is told what is ephemeral, and may drop it.
	Notice(r *Run)
	// End asks the connection to say why and to close.
	End(Reason)
}

// Reason says why the hub ends a connection.
type Reason string

// SessionRevoked means that the connection's session is over.
const SessionRevoked Reason = "session_revoked"

// Hub implements chat.Publisher for the connections of this process. Its
// methods may be called from any goroutine; the events of one chat must be
// published one after the other, in the order of their seq.
type Hub struct {
	cfg Config

	mu       sync.Mutex
	sessions map[chat.SessionID][]*Conn
	users    map[chat.UserID][]*Conn // subscribed ones
	rooms    map[chat.ChatID]*room
	loading  map[*Conn]struct{} // subscribed ones that are reading their memberships
}

// room is a chat that somebody connected is in.
type room struct {
	routes []route
	typing map[chat.UserID]typed
}

// route leads the events of a chat from seq on to a connection.
type route struct {
	conn *Conn
	from int64
}

// New makes a Hub.
func New(cfg Config) *Hub {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Hub{
		cfg:      cfg,
		sessions: make(map[chat.SessionID][]*Conn),
		users:    make(map[chat.UserID][]*Conn),
		rooms:    make(map[chat.ChatID]*room),
		loading:  make(map[*Conn]struct{}),
	}
}

// Conn is a logged-in connection's place in the hub.
type Conn struct {
	hub     *Hub
	session chat.SessionID
	user    chat.UserID
	sub     Subscriber

	// Guarded by hub.mu.
	closed     bool
	subscribed bool
	at         map[chat.ChatID]int      // where its routes stand in their rooms
	left       map[chat.ChatID]int64    // while loading: chats that were left meanwhile, and at which seq
	focus      map[chat.ChatID]struct{} // nil: none set
}

// Register lists a logged-in connection, so that EndSessions finds it. Close
// must be called when the connection is over.
func (h *Hub) Register(session chat.SessionID, user chat.UserID, sub Subscriber) *Conn {
	c := &Conn{hub: h, session: session, user: user, sub: sub}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sessions[session] = append(h.sessions[session], c)
	return c
}

// Subscribe makes the connection hear of its user's chats: of everything that
// is published after Subscribe returned, possibly of some that was published
// just before. It reads the memberships once; after an error the connection is
// registered but hears nothing.
func (c *Conn) Subscribe(ctx context.Context) error {
	h := c.hub
	// The connection is listed before its memberships are read: an addition
	// that the read is too early for is then seen by Publish.
	h.mu.Lock()
	if c.closed || c.subscribed {
		h.mu.Unlock()
		return nil
	}
	c.subscribed = true
	c.at = make(map[chat.ChatID]int)
	c.left = make(map[chat.ChatID]int64)
	h.users[c.user] = append(h.users[c.user], c)
	h.loading[c] = struct{}{}
	h.mu.Unlock()

	memberships, err := h.cfg.Memberships(ctx, c.user)

	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.unsubscribeLocked(c)
		return fmt.Errorf("reading the memberships of user %d: %w", c.user, err)
	}
	if c.closed {
		return nil
	}
	for _, m := range memberships {
		// A removal that was published while we read ended this membership,
		// unless it began after it.
		if m.JoinedSeq > c.left[m.Chat] {
			h.joinLocked(c, m.Chat, m.JoinedSeq)
		}
	}
	c.left = nil
	delete(h.loading, c)
	return nil
}

// SetFocus narrows the typing notices the connection gets to those of these
// chats. Nil widens them to all again.
func (c *Conn) SetFocus(chats []chat.ChatID) {
	var focus map[chat.ChatID]struct{}
	if chats != nil {
		focus = make(map[chat.ChatID]struct{}, len(chats))
		for _, id := range chats {
			focus[id] = struct{}{}
		}
	}
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	c.focus = focus
}

// Ready says that there is room again, after a Deliver that was refused.
func (c *Conn) Ready() {}

// Close forgets the connection. It may be called more than once.
func (c *Conn) Close() {
	h := c.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	remove(h.sessions, c.session, c)
	h.unsubscribeLocked(c)
}

func (h *Hub) unsubscribeLocked(c *Conn) {
	if !c.subscribed {
		return
	}
	c.subscribed = false
	for id := range c.at {
		h.leaveLocked(c, id)
	}
	c.left = nil
	delete(h.loading, c)
	remove(h.users, c.user, c)
}

// joinLocked routes chat id to c from seq on, if it is not routed yet.
func (h *Hub) joinLocked(c *Conn, id chat.ChatID, from int64) {
	if _, there := c.at[id]; there {
		return
	}
	r := h.rooms[id]
	if r == nil {
		r = &room{}
		h.rooms[id] = r
	}
	c.at[id] = len(r.routes)
	r.routes = append(r.routes, route{c, from})
}

// leaveLocked removes c's route from chat id, and the room with its last one.
func (h *Hub) leaveLocked(c *Conn, id chat.ChatID) {
	i, there := c.at[id]
	if !there {
		return
	}
	r := h.rooms[id]
	last := len(r.routes) - 1
	r.routes[i] = r.routes[last]
	r.routes[i].conn.at[id] = i
	r.routes[last] = route{}
	r.routes = r.routes[:last]
	delete(c.at, id)
	if last == 0 {
		delete(h.rooms, id)
	}
}

// remove takes c out of the list m[key], and the list with its last one.
func remove[K comparable](m map[K][]*Conn, key K, c *Conn) {
	list := m[key]
	i := slices.Index(list, c)
	if i < 0 {
		return
	}
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(m, key)
		return
	}
	m[key] = list
}
