package hub

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// Conn is a logged-in connection's place in the hub. It begins with what a
// delivery touches, which is to be one line of memory; so does route.
type Conn struct {
	sub     Subscriber
	readies atomic.Uint64 // calls of Ready; written under hub.mu
	first   route         // in one piece with the rest; see only

	hub     *Hub
	session chat.SessionID
	user    chat.UserID

	// Guarded by hub.mu.
	closed     bool
	subscribed bool
	away       bool  // nobody looks at it
	queued     bool  // it is, or will be, its turn to catch up
	blocked    bool  // it has no room until Ready
	since      int64 // the change stamp at which the memberships were read
	looked     int64 // and up to where a scan found those that ended
	*extra

	only [1]*route // the routes while there is one at most, which is first if that was never used
	many *[]*route // by chat; nil: there have not been two

	nextBySession, nextByUser *Conn // in hub.sessions and hub.users
}

// extra is what few connections need. What all others share is empty, and stays
// it: who changes something calls extraLocked before.
type extra struct {
	gone    map[chat.ChatID]int64    // while loading: chats that were left meanwhile, and at which seq
	later   []chat.Place             // while loading: where another node says that its user came in
	told    map[chat.ChatID]int64    // up to where it was told of chats that it left; nil: of none
	focus   map[chat.ChatID]struct{} // nil: none set
	watches []chat.UserID            // whose presence it hears of
	watched time.Time                // until when
	dirty   []*route                 // that have to catch up, in turn
}

var noExtra extra

func (c *Conn) extraLocked() *extra {
	if c.extra == &noExtra {
		c.extra = new(extra)
	}
	return c.extra
}

// plainLocked gives its extra up, if there is nothing in it.
func (c *Conn) plainLocked() {
	if c.gone == nil && c.told == nil && c.focus == nil && c.watches == nil && len(c.dirty) == 0 {
		c.extra = &noExtra
	}
}

// dirtyLocked adds a route that has to catch up.
func (c *Conn) dirtyLocked(rt *route) {
	a := c.extraLocked()
	a.dirty = append(a.dirty, rt)
}

// Register lists a logged-in connection, so that EndSessions finds it. Close
// must be called when the connection is over.
func (h *Hub) Register(session chat.SessionID, user chat.UserID, sub Subscriber) *Conn {
	c := new(Conn)
	h.Seat(c, session, user, sub)
	return c
}

// Seat is Register with c, which is zero, as the connection's place. It is not
// to be used again, not even after Close.
func (h *Hub) Seat(c *Conn, session chat.SessionID, user chat.UserID, sub Subscriber) {
	c.hub, c.session, c.user, c.sub, c.extra = h, session, user, sub, &noExtra
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sessions.add(c)
	h.startChecksLocked()
	h.countLocked(user, 1)
}

// Whose is what it was registered with.
func (c *Conn) Whose() (chat.SessionID, chat.UserID) { return c.session, c.user }

// Subscribe makes the connection hear of its user's chats: of everything that
// is committed after Subscribe returned, possibly of some that was committed
// just before. It reads the memberships once; after an error the connection is
// registered but hears nothing.
func (c *Conn) Subscribe(ctx context.Context) error {
	h := c.hub
	var (
		memberships []chat.Membership
		stamp       int64
		err         error
	)
	if h.cfg.Ablate.LoadBeforeListing {
		memberships, stamp, err = h.cfg.Source.Memberships(ctx, c.user)
	}
	// The connection is listed before its memberships are read: an addition
	// that the read is too early for is then seen by the room.
	h.mu.Lock()
	if c.closed || c.subscribed {
		h.mu.Unlock()
		return nil
	}
	c.subscribed = true
	c.extraLocked().gone = make(map[chat.ChatID]int64)
	h.users.add(c)
	h.loading[c] = struct{}{}
	h.changedHereLocked(c.user)
	h.scans.start(h)
	h.mu.Unlock()

	if !h.cfg.Ablate.LoadBeforeListing {
		memberships, stamp, err = h.cfg.Source.Memberships(ctx, c.user)
	}

	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.unsubscribeLocked(c)
		return fmt.Errorf("reading the memberships of user %d: %w", c.user, err)
	}
	if c.closed {
		return nil
	}
	c.since, c.looked = stamp, stamp
	if n := len(memberships); n > 1 {
		at := append(make([]*route, 0, n), c.at()...)
		c.many, c.only[0] = &at, nil
	}
	slices.SortFunc(memberships, func(a, b chat.Membership) int { return cmp.Compare(a.Chat, b.Chat) })
	for _, m := range memberships {
		// A removal that was told while we read ended this membership, unless
		// it began after it.
		if m.JoinedSeq > c.gone[m.Chat] {
			h.openLocked(c, m)
		}
	}
	c.gone = nil
	h.loadedLocked(c)
	c.plainLocked()
	return nil
}

// openLocked routes a chat that c's user is in, according to what was read.
func (h *Hub) openLocked(c *Conn, m chat.Membership) {
	if c.route(m.Chat) != nil {
		return // an addition was quicker
	}
	r := h.rooms[m.Chat]
	if r == nil {
		r = h.newRoomLocked(m.Chat, m.LastSeq)
		r.ahead = true
	}
	// What was committed before the read it need not hear.
	rt := h.joinLocked(c, r, m.JoinedSeq, max(m.LastSeq, r.emitted, m.JoinedSeq-1))
	if m.LastSeq < r.born {
		// Between the read and the room's beginning there may have been a
		// removal that nobody saw.
		rt.pos = m.LastSeq
		h.markLocked(rt)
	}
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
	c.extraLocked().focus = focus
}

// Ready says that the connection has room again: it has to be called when,
// after a Deliver that said false, the backlog of events has fallen to half of
// its room or less.
func (c *Conn) Ready() {
	c.hub.mu.Lock()
	defer c.hub.mu.Unlock()
	c.readies.Add(1)
	c.blocked = false
	c.hub.queueLocked(c)
}

// Close forgets the connection. It may be called more than once.
func (c *Conn) Close() {
	h := c.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	h.sessions.remove(c)
	h.unsubscribeLocked(c)
	h.countLocked(c.user, -1)
}

func (h *Hub) unsubscribeLocked(c *Conn) {
	if !c.subscribed {
		return
	}
	c.subscribed = false
	for at := c.at(); len(at) > 0; at = c.at() {
		h.endLocked(at[len(at)-1])
	}
	h.unwatchLocked(c)
	c.extra = &noExtra
	h.loadedLocked(c)
	h.users.remove(c)
	h.changedHereLocked(c.user)
}

// route leads the events of a chat to a connection, from the beginning of a
// membership on. It belongs to the flusher of its room while it is live, and
// else to whoever lets the connection catch up.
type route struct {
	conn *Conn
	chat chat.ChatID
	// from is where the membership begins. Written under hub.mu, by whom the
	// route belongs to.
	from  int64
	pos   int64 // what was told, or need not be; its owner's
	state atomic.Int32

	// Guarded by hub.mu.
	i    int32 // where it stands in the room
	room *room // nil: none; then it is not live
	end  int64 // up to where it is to catch up while it has no room
}

// The states of a route.
const (
	live  int32 = iota // the room's flusher hands it runs
	dirty              // it is skipped, and has to catch up
	over
)

// joinLocked makes c hear of a chat, of what comes after pos. There must be no
// such route.
func (h *Hub) joinLocked(c *Conn, r *room, from, pos int64) *route {
	rt := &c.first
	if rt.conn != nil {
		rt = new(route) // somebody may still have the first, even if it is over
	}
	rt.conn, rt.chat, rt.from, rt.pos = c, r.id, from, pos
	c.addLocked(rt)
	h.attachLocked(rt, r)
	return rt
}

// at are the routes, by chat.
func (c *Conn) at() []*route {
	switch {
	case c.many != nil:
		return *c.many
	case c.only[0] != nil:
		return c.only[:]
	}
	return nil
}

// find is where the route of a chat stands among c's, or would.
func (c *Conn) find(id chat.ChatID) (int, bool) {
	return slices.BinarySearchFunc(c.at(), id, func(rt *route, id chat.ChatID) int { return cmp.Compare(rt.chat, id) })
}

// route is c's route of a chat; nil: there is none.
func (c *Conn) route(id chat.ChatID) *route {
	if i, ok := c.find(id); ok {
		return c.at()[i]
	}
	return nil
}

// addLocked adds a route of a chat of which there is none.
func (c *Conn) addLocked(rt *route) {
	i, _ := c.find(rt.chat)
	switch {
	case c.many != nil:
		*c.many = slices.Insert(*c.many, i, rt)
	case c.only[0] == nil:
		c.only[0] = rt
	default:
		at := slices.Insert(c.only[:], i, rt)
		c.many, c.only[0] = &at, nil
	}
}

// dropLocked takes out the route that stands at i.
func (c *Conn) dropLocked(i int) {
	if c.many == nil {
		c.only[0] = nil
		return
	}
	*c.many = slices.Delete(*c.many, i, i+1)
}

func (h *Hub) attachLocked(rt *route, r *room) {
	rt.room, rt.i = r, int32(len(r.members))
	r.members = append(r.members, rt) // beyond what anybody who reads them sees
	h.members++
}

// detachLocked takes a route out of its room, and the room away with its last
// one.
func (h *Hub) detachLocked(rt *route) {
	r := rt.room
	if r == nil {
		return
	}
	rt.room = nil
	h.members--
	last := len(r.members) - 1
	if r.shared {
		r.members, r.shared = slices.Clone(r.members), false
	}
	r.members[rt.i] = r.members[last]
	r.members[rt.i].i = rt.i
	r.members[last] = nil
	r.members = r.members[:last]
	h.dropRoomLocked(r)
}

// leftLocked ends the route of a membership of which c was told to its end, at
// seq.
func (c *Conn) leftLocked(rt *route, seq int64) {
	if c.told == nil {
		c.extraLocked().told = make(map[chat.ChatID]int64)
	}
	c.told[rt.chat] = max(c.told[rt.chat], seq)
	c.hub.endLocked(rt)
}

// endLocked ends a route for good.
func (h *Hub) endLocked(rt *route) {
	h.detachLocked(rt)
	if rt.state.Swap(over) == dirty {
		h.dirty--
	}
	if c := rt.conn; c.route(rt.chat) == rt {
		i, _ := c.find(rt.chat)
		c.dropLocked(i)
	}
}

// markLocked makes a route that was live catch up. Only whom it belongs to may.
func (h *Hub) markLocked(rt *route) {
	c := rt.conn
	if c.closed || !rt.state.CompareAndSwap(live, dirty) {
		return
	}
	h.dirty++
	c.dirtyLocked(rt)
	h.queueLocked(c)
}
