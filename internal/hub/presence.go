package hub

import (
	"slices"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// Whoever has a subscribed connection is there: a connection is a lease, and its
// end, whatever it comes of, the end of it. A connection may say that nobody
// looks at it; who has no other is away.
const (
	// presenceEvery is how long changes are gathered: most are of somebody whose
	// connection was lost and is back.
	presenceEvery = time.Second
	// WatchLasts is how long somebody watches others. Then they ask again, and
	// are asked again whether they may.
	WatchLasts = 5 * time.Minute
)

// presence is guarded by hub.mu.
type presence struct {
	watchers map[chat.UserID]map[*Conn]struct{}
	told     map[chat.UserID]chat.Status // of those who are watched, if they were told of
	changed  map[chat.UserID]struct{}    // perhaps, since the last time
	waiting  bool                        // for the next time
}

// Statuses says which of users are there.
func (h *Hub) Statuses(users []chat.UserID) []chat.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]chat.Status, len(users))
	for i, user := range users {
		list[i] = h.statusLocked(user)
		// Who asked may have heard something else than what was told last.
		delete(h.presence.told, user)
	}
	return list
}

// statusLocked is the most that somebody is anywhere.
func (h *Hub) statusLocked(user chat.UserID) chat.Status {
	status := h.statusHereLocked(user)
	for _, other := range h.nodes.others {
		if status == chat.Online {
			break
		}
		if there := other.people[user].status; there == chat.Online || there == chat.Away {
			status = there
		}
	}
	return status
}

func (h *Hub) statusHereLocked(user chat.UserID) chat.Status {
	if h.users.first(int64(user)) == nil {
		return chat.Offline
	}
	for c := range h.users.of(int64(user)) {
		if !c.away {
			return chat.Online
		}
	}
	return chat.Away
}

// SetActive says whether a person looks at the connection. One is taken to do
// until it is said.
func (c *Conn) SetActive(active bool) {
	h := c.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.away == active {
		c.away = !active
		h.changedHereLocked(c.user)
	}
}

// Watch has the connection hear when the presence of users changes, of nobody
// else, and for WatchLasts.
func (c *Conn) Watch(users []chat.UserID) {
	h := c.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unwatchLocked(c)
	if !c.subscribed {
		return
	}
	a := c.extraLocked()
	a.watched, a.watches = h.cfg.Now().Add(WatchLasts), slices.Clone(users)
	for _, user := range users {
		if h.presence.watchers[user] == nil {
			h.presence.watchers[user] = make(map[*Conn]struct{})
		}
		h.presence.watchers[user][c] = struct{}{}
	}
}

func (h *Hub) unwatchLocked(c *Conn) {
	p := &h.presence
	for _, user := range c.watches {
		delete(p.watchers[user], c)
		if len(p.watchers[user]) == 0 {
			delete(p.watchers, user)
			delete(p.told, user)
			delete(p.changed, user)
		}
	}
	if len(c.watches) > 0 {
		c.watches = nil
	}
}

// PublishPresence says that user may look different to others now.
func (h *Hub) PublishPresence(user chat.UserID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changedHereLocked(user)
}

// changedHereLocked is changedLocked for what the other nodes do not know yet.
func (h *Hub) changedHereLocked(user chat.UserID) {
	h.changedLocked(user)
	h.standsAnewLocked(user)
}

func (h *Hub) changedLocked(user chat.UserID) {
	p := &h.presence
	if len(p.watchers[user]) == 0 {
		return
	}
	p.changed[user] = struct{}{}
	if !p.waiting && !h.closed {
		p.waiting = true
		time.AfterFunc(presenceEvery, h.begin(h.tellPresence))
	}
}

// begin is for timers: f in a goroutine that Close waits for, unless it is over.
func (h *Hub) begin(f func()) func() {
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if !h.closed {
			h.goLocked(f)
		}
	}
}

// tellPresence tells the watchers of those whose presence changed.
func (h *Hub) tellPresence() {
	h.mu.Lock()
	p := &h.presence
	var users []chat.UserID
	for user := range p.changed {
		users = append(users, user)
	}
	clear(p.changed)
	h.mu.Unlock()
	// One at a time: of two, the older might be told last.
	defer h.toldPresence()
	slices.Sort(users)

	ctx, cancel := h.reading()
	defer cancel()
	hidden, err := h.cfg.Source.Hidden(ctx, users)
	if err != nil {
		h.failed("finding who hides", err)
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, user := range users {
			h.changedLocked(user) // to be told with what comes next
		}
		return
	}
	news := h.presenceNews(users, hidden)
	lines := make(map[Subscriber][]byte)
	for _, n := range news {
		line := h.cfg.EncodePresence(nil, n.user, n.status)
		for _, sub := range n.watchers {
			lines[sub] = append(lines[sub], line...)
		}
	}
	for sub, b := range lines {
		h.notify(b, []Subscriber{sub})
	}
}

// toldPresence sees to what changed while it was told.
func (h *Hub) toldPresence() {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &h.presence
	if p.waiting = len(p.changed) > 0 && !h.closed; p.waiting {
		time.AfterFunc(presenceEvery, h.begin(h.tellPresence))
	}
}

// presenceNews is somebody's presence, which is news to those who watch.
type presenceNews struct {
	user     chat.UserID
	status   chat.Status
	watchers []Subscriber
}

func (h *Hub) presenceNews(users []chat.UserID, hidden map[chat.UserID]bool) (news []presenceNews) {
	p := &h.presence
	now := h.cfg.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, user := range users {
		n := presenceNews{user: user, status: h.statusLocked(user)}
		if hidden[user] {
			n.status = chat.Offline
		}
		if p.told[user] == n.status {
			continue
		}
		for c := range p.watchers[user] {
			if now.After(c.watched) {
				h.unwatchLocked(c)
				continue
			}
			n.watchers = append(n.watchers, c.sub)
		}
		if len(n.watchers) > 0 {
			p.told[user] = n.status
			news = append(news, n)
		}
	}
	return news
}
