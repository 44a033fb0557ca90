package hub

import (
	"crypto/rand"
	"slices"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// Who is connected to which node is nowhere but in the nodes. Each tells the
// others what changes, numbered, and that it lives: a node that says nothing for
// a Lease has nobody any more. Whoever missed a number asks, and is told
// everybody. None of it can be looked up; what is false of it is gone with the
// next beat, or with the lease.

const (
	// maxNodes bounds what made-up nodes cost.
	maxNodes = 256
	// askEvery is how often a node asks for everybody, and answers that.
	askEvery = time.Second
	// standingsEach go into one payload.
	standingsEach = 1000
	// maxParts is how many of them all of a node's people take.
	maxParts = 1 << 10
)

// nodeID is a process, not a machine: who restarts is somebody else.
type nodeID [8]byte

// everybody is whom one asks that knows nobody.
var everybody nodeID

// nodes is guarded by hub.mu.
type nodes struct {
	self     nodeID
	version  int64                // of what was told of our people
	accounts map[chat.UserID]int  // our connections, also those that hear nothing
	others   map[nodeID]*node     // that live
	asking   map[nodeID]time.Time // when
	answered time.Time
	owed     bool // an answer, before long
	beaten   time.Time
	timer    *time.Timer
}

// node is another one.
type node struct {
	until   time.Time // it has a lease
	version int64     // up to which it was heard; unheard: it has yet to be
	people  map[chat.UserID]place

	coming map[chat.UserID]place // everybody, as of a version, in parts
	as     int64
	missed map[int64]struct{} // parts that did not come yet
}

const unheard = -1

// place is how somebody stands on a node.
type place struct {
	status chat.Status
	conns  int
}

type standing struct {
	user chat.UserID

	place
}

// saying is what a node says of itself.
type saying byte

const (
	changes saying = 'c' // some of its people stand so now; the next version
	all     saying = 'a' // and nobody else does, as of a version
	beats   saying = 'b' // it lives, and is at a version
	asks    saying = 'q' // what a node's people are
	leaves  saying = 'x' // it stops
)

type said struct {
	node        nodeID
	what        saying
	whom        nodeID // of asks
	version     int64
	part, parts int64 // of all
	list        []standing
}

var statuses = []chat.Status{chat.Offline, chat.Online, chat.Away}

func (s standing) code() int64 { return int64(slices.Index(statuses, s.status)) }

func (d *decoder) standing() standing {
	s := standing{user: chat.UserID(d.id())}
	code, conns := d.int(), d.int()
	if code >= int64(len(statuses)) || conns > 1<<20 {
		d.fail()
		return s
	}
	s.status, s.conns = statuses[code], int(conns)
	return s
}

func (d *decoder) node() (id nodeID) {
	if len(d.b) < len(id) {
		d.fail()
		return id
	}
	d.b = d.b[copy(id[:], d.b):]
	return id
}

func (d *decoder) presence() (s said) {
	if len(d.b) == 0 {
		d.fail()
		return s
	}
	s.what = saying(d.b[0])
	d.b = d.b[1:]
	s.node = d.node()
	if s.node == everybody {
		d.fail()
	}
	switch s.what {
	case asks:
		s.whom = d.node()
	case leaves:
	case beats:
		s.version = d.int()
	case changes:
		s.version = d.id()
		s.list = decodeAll(d, (*decoder).standing)
	case all:
		s.version, s.part, s.parts = d.int(), d.int(), d.id()
		if s.part >= s.parts || s.parts > maxParts {
			d.fail()
		}
		if len(d.b) > 0 {
			s.list = decodeAll(d, (*decoder).standing)
		}
	default:
		d.fail()
	}
	return s
}

// presencePayloadsLocked says what there is to say of our people, and takes
// their state for it now.
func (h *Hub) presencePayloadsLocked(t *telling) (payloads []*payload) {
	n := &h.nodes
	begin := func(what saying) *payload {
		p := newPayload(Presence)
		p.node(n.self, what)
		payloads = append(payloads, p)
		return p
	}
	var list []standing
	for user := range t.presence {
		list = append(list, h.standsLocked(user))
	}
	for some := range slices.Chunk(list, standingsEach) {
		n.version++
		p := begin(changes)
		p.int(n.version)
		p.standings(some...)
	}
	for whom := range t.ask {
		begin(asks).b = append(payloads[len(payloads)-1].b, whom[:]...)
	}
	if t.tell {
		list = list[:0]
		for user := range n.accounts {
			list = append(list, h.standsLocked(user))
		}
		parts := slices.Collect(slices.Chunk(list, standingsEach))
		if len(parts) == 0 {
			parts = append(parts, nil)
		}
		for i, some := range parts {
			p := begin(all)
			p.int(n.version)
			p.int(int64(i))
			p.int(int64(len(parts)))
			p.standings(some...)
		}
	}
	if t.beat {
		begin(beats).int(n.version)
	}
	return payloads
}

func (h *Hub) standsLocked(user chat.UserID) standing {
	return standing{user, place{h.statusHereLocked(user), h.nodes.accounts[user]}}
}

// countLocked counts a connection of user's that came or went, for the others.
func (h *Hub) countLocked(user chat.UserID, by int) {
	if !h.shared() {
		return
	}
	n := &h.nodes
	if n.accounts[user] += by; n.accounts[user] == 0 {
		delete(n.accounts, user)
	}
	h.standsAnewLocked(user)
}

// standsAnewLocked tells the others how user stands here.
func (h *Hub) standsAnewLocked(user chat.UserID) {
	if !h.shared() {
		return
	}
	t := &h.telling
	if t.presence == nil {
		t.presence = make(map[chat.UserID]struct{})
	}
	t.presence[user] = struct{}{}
	h.tellOthersLocked()
}

// beat tells the others that we live, and forgets who does not.
func (h *Hub) beat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, now := &h.nodes, h.cfg.Now()
	// Whoever was stopped for a while hears the others before they are given up.
	frozen := !n.beaten.IsZero() && now.Sub(n.beaten) >= h.cfg.Lease
	n.beaten = now
	for id, other := range n.others {
		switch {
		case frozen:
			other.until = now.Add(h.cfg.Lease)
		case !now.Before(other.until):
			h.forgetNodeLocked(id)
		}
	}
	for id, at := range n.asking {
		if now.Sub(at) >= askEvery {
			delete(n.asking, id)
		}
	}
	h.telling.beat = true
	h.tellOthersLocked()
	if !h.closed {
		n.timer = time.AfterFunc(h.cfg.Lease/3, h.begin(h.beat))
	}
}

// forgetNodeLocked has nobody on a node any more.
func (h *Hub) forgetNodeLocked(id nodeID) {
	other := h.nodes.others[id]
	delete(h.nodes.others, id)
	h.nodesNow.Store(int64(len(h.nodes.others)))
	for user := range other.people {
		h.changedLocked(user)
	}
}

// heardFromNode takes what a node says of itself.
func (h *Hub) heardFromNode(s said) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, now := &h.nodes, h.cfg.Now()
	if s.node == n.self || h.closed {
		return
	}
	if s.what == asks {
		h.answerLocked(s.whom, now)
		return
	}
	other := n.others[s.node]
	if other == nil {
		if s.what == leaves || len(n.others) == maxNodes {
			return
		}
		other = &node{version: unheard, people: make(map[chat.UserID]place)}
		n.others[s.node] = other
		h.nodesNow.Store(int64(len(n.others)))
	}
	other.until = now.Add(h.cfg.Lease)
	switch s.what {
	case leaves:
		h.forgetNodeLocked(s.node)
	case beats:
		if other.version != s.version {
			// Ours may be the wrong one: whatever it says next counts.
			other.version = unheard
			h.askLocked(s.node, now)
		}
	case changes:
		if s.version <= other.version {
			return
		}
		for _, at := range s.list {
			h.standsElsewhereLocked(other, at)
		}
		if other.version+1 == s.version {
			other.version = s.version
		} else {
			h.askLocked(s.node, now)
		}
	case all:
		h.wholeLocked(other, s)
	}
}

func (h *Hub) standsElsewhereLocked(other *node, at standing) {
	if at.conns == 0 {
		delete(other.people, at.user)
	} else {
		other.people[at.user] = at.place
	}
	h.changedLocked(at.user)
}

// wholeLocked takes a part of all of a node's people, and believes it when the
// last one has come.
func (h *Hub) wholeLocked(other *node, s said) {
	if s.version < other.version {
		return
	}
	if other.coming == nil || other.as != s.version || s.part == 0 {
		other.coming, other.as = make(map[chat.UserID]place), s.version
		other.missed = make(map[int64]struct{}, s.parts)
		for i := range s.parts {
			other.missed[i] = struct{}{}
		}
	}
	for _, at := range s.list {
		other.coming[at.user] = at.place
	}
	if delete(other.missed, s.part); len(other.missed) > 0 {
		return
	}
	former := other.people
	other.people, other.coming, other.version = other.coming, nil, s.version
	for user, at := range other.people {
		if former[user] != at {
			h.changedLocked(user)
		}
	}
	for user := range former {
		if _, still := other.people[user]; !still {
			h.changedLocked(user)
		}
	}
}

// askLocked asks a node for all of its people, unless it was asked just now:
// then the next beat shows whether it is still needed.
func (h *Hub) askLocked(whom nodeID, now time.Time) {
	n := &h.nodes
	if at, asked := n.asking[whom]; asked && now.Sub(at) < askEvery {
		return
	}
	n.asking[whom] = now
	if h.telling.ask == nil {
		h.telling.ask = make(map[nodeID]struct{})
	}
	h.telling.ask[whom] = struct{}{}
	h.tellOthersLocked()
}

// answerLocked tells all of our people to who asks, at most now and then.
func (h *Hub) answerLocked(whom nodeID, now time.Time) {
	n := &h.nodes
	if whom != n.self && whom != everybody {
		return
	}
	if wait := askEvery - now.Sub(n.answered); wait <= 0 {
		n.answered = now
		h.telling.tell = true
		h.tellOthersLocked()
	} else if !n.owed {
		n.owed = true
		time.AfterFunc(wait, h.begin(h.answer))
	}
}

// answer tells all of our people to those who asked too early.
func (h *Hub) answer() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nodes.owed, h.nodes.answered = false, h.cfg.Now()
	h.telling.tell = true
	h.tellOthersLocked()
}

// depart tells the others, when all has ended here, that nobody is here.
func (h *Hub) depart() {
	p := newPayload(Presence)
	p.node(h.nodes.self, leaves)
	if err := h.cfg.Bus.Publish(p.kind, p.b); err != nil {
		h.stats.bus.failed.Add(1) // the lease ends
		return
	}
	h.stats.bus.sent.Add(1)
}

// Nodes is how many nodes there are, as far as they were heard; this one among
// them.
func (h *Hub) Nodes() int { return 1 + int(h.nodesNow.Load()) }

// Elsewhere is how many connections of user's there are on other nodes, as far
// as they have told.
func (h *Hub) Elsewhere(user chat.UserID) (conns int) {
	if !h.shared() {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, other := range h.nodes.others {
		conns += other.people[user].conns
	}
	return conns
}

func newNodes() nodes {
	n := nodes{
		accounts: make(map[chat.UserID]int), others: make(map[nodeID]*node), asking: make(map[nodeID]time.Time),
	}
	_, _ = rand.Read(n.self[:]) // never fails: it would end the program
	return n
}
