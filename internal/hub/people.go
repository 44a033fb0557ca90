package hub

import (
	"maps"
	"slices"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// What people see of one another (names, pictures, statuses) is told to who
// shares a chat with them, as it is when it is told (docs/protocol.md#ephemera).

const (
	// peopleEvery is how long changes are gathered: of somebody's several in a
	// row the last is told, so that nobody is told of more often than that.
	peopleEvery = time.Second
	// peopleEach is how many rows are read in one snapshot.
	peopleEach = 100
)

// people is guarded by hub.mu.
type people struct {
	changed map[chat.UserID]struct{}
	waiting bool // for the next time, or telling
}

// PublishUser tells those who share a chat with user, on all nodes, and user's
// own connections what user's row has become.
func (h *Hub) PublishUser(user chat.UserID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rowLocked(user)
	if !h.shared() {
		return
	}
	t := &h.telling
	if t.people == nil {
		t.people = make(map[chat.UserID]struct{})
	}
	if len(t.people) < maxTold {
		t.people[user] = struct{}{}
		h.tellOthersLocked()
	}
}

// heardOfPeople hears whose rows changed. What they are is looked up.
func (h *Hub) heardOfPeople(list []chat.UserID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, user := range list {
		h.rowLocked(user)
	}
}

// rowLocked has it told here what user's row has become, if anybody is here.
func (h *Hub) rowLocked(user chat.UserID) {
	p := &h.people
	if h.users.n == 0 || h.closed || len(p.changed) >= maxTold {
		return
	}
	if p.changed == nil {
		p.changed = make(map[chat.UserID]struct{})
	}
	p.changed[user] = struct{}{}
	if !p.waiting {
		p.waiting = true
		time.AfterFunc(peopleEvery, h.begin(h.tellPeople))
	}
}

// tellPeople tells the rows that changed. One goroutine at a time does: of two,
// the older might be told last.
func (h *Hub) tellPeople() {
	h.mu.Lock()
	users := slices.Sorted(maps.Keys(h.people.changed))
	h.people.changed = nil
	h.mu.Unlock()

	for some := range slices.Chunk(users, peopleEach) {
		ctx, cancel := h.reading()
		profiles, err := h.cfg.Source.Profiles(ctx, some)
		cancel()
		if err != nil {
			h.failed("reading people's rows", err)
			h.mu.Lock()
			for _, user := range some {
				h.rowLocked(user) // with what comes next
			}
			h.mu.Unlock()
			continue
		}
		for _, p := range profiles {
			if targets := h.acquainted(p); len(targets) > 0 {
				h.notify(h.cfg.EncodeUser(nil, p.User), targets)
			}
		}
	}

	h.mu.Lock()
	defer h.mu.Unlock()
	if h.people.waiting = len(h.people.changed) > 0 && !h.closed; h.people.waiting {
		time.AfterFunc(peopleEvery, h.begin(h.tellPeople))
	}
}

// acquainted are the connections of those who share a chat with somebody, and
// their own, each once.
func (h *Hub) acquainted(p chat.Profile) []Subscriber {
	var (
		own   []Subscriber
		rooms [][]*route
	)
	h.mu.Lock()
	for c := range h.users.of(int64(p.User.ID)) {
		own = append(own, c.sub)
	}
	for _, id := range p.Chats {
		if r := h.rooms[id]; r != nil {
			rooms = append(rooms, slices.Clone(r.members))
		}
	}
	h.mu.Unlock()
	if len(rooms) == 0 {
		return own
	}
	seen := make(map[Subscriber]struct{})
	for _, sub := range own {
		seen[sub] = struct{}{}
	}
	for _, members := range rooms {
		for _, rt := range members {
			seen[rt.conn.sub] = struct{}{}
		}
	}
	return slices.Collect(maps.Keys(seen))
}
