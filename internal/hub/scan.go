package hub

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// A hint that is lost shows when the next one comes. The last one of all does
// not, nor does the addition of somebody to a chat that nobody else connected is
// in. So now and then the rooms' positions are compared with the store's, and
// the memberships of those who are connected with their routes. If no chat has
// changed at all, that is one read of a number.
//
// What is committed may be not yet answered, and so not told: before it acts on
// what it saw, a scan waits until that has been answered.

const (
	// scanRooms is how many positions are read in one snapshot, or compared at once.
	scanRooms = 500
	// scanChanges is how many changes are read at once.
	scanChanges = 1 << 17
	// Where the store does not say whose have changed, memberships are read in
	// turn: per scan for at least so many people, and for all within so many scans,
	// but for as many as this part of the time between two scans allows.
	scanUsers  = 64
	scanRounds = 12
	scanShare  = 10
)

// scans is guarded by hub.mu.
type scans struct {
	timer   *time.Timer // nil: nobody is connected
	running bool
	again   bool    // look although nothing changed
	now     bool    // and at all memberships, at once
	stalled []*Conn // whose reads failed

	// A scan's own, while it runs.
	commits int64       // in the store, at the last look at the rooms
	after   chat.UserID // whose memberships were read last
	began   int64       // the commits when the present round of memberships began
	done    int64       // and when the last complete one did
	due     int64       // the commits at which one has to have begun at least
	listed  int64       // the commits when changes were read last
	upto    int64       // the stamp up to which they were
}

// start makes scans come, from one connection on.
func (s *scans) start(h *Hub) {
	if s.timer == nil && !s.running && !h.closed {
		s.timer = time.AfterFunc(h.cfg.Scan, h.beginScan)
	}
}

func (s *scans) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

// Rescan looks for everything that hints did not tell of, now: after they
// cannot have come for a while.
func (h *Hub) Rescan() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.scans.again, h.scans.now = true, true
	if h.scans.timer != nil {
		h.scans.timer.Reset(0)
	}
}

func (h *Hub) beginScan() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.scans.running {
		return // it will look at again
	}
	h.scans.stop() // whoever comes late finds another wound up, and both would go on
	h.scans.running = true
	h.goLocked(func() {
		h.scan()
		h.mu.Lock()
		defer h.mu.Unlock()
		s := &h.scans
		s.running, s.timer = false, nil
		switch {
		case h.closed || h.users.n == 0:
		case s.now:
			s.timer = time.AfterFunc(0, h.beginScan)
		default:
			s.start(h)
		}
	})
}

func (h *Hub) scan() {
	s := &h.scans
	h.mu.Lock()
	again, all := s.again, s.now
	s.again, s.now = false, false
	for _, c := range s.stalled {
		h.queueLocked(c)
	}
	s.stalled = nil
	ids := slices.Collect(maps.Keys(h.rooms))
	h.mu.Unlock()
	if h.cfg.Ablate.NoRescan {
		return
	}
	h.stats.scans.Add(1)
	ctx, cancel := h.reading()
	commits, err := h.cfg.Source.Commits(ctx)
	cancel()
	if err == nil && (commits != s.commits || again) {
		err = h.scanRooms(ids)
	}
	if err == nil {
		s.commits = commits
		err = h.lookAtChanges(commits)
	}
	if err == nil {
		err = h.scanMembers(commits, all)
	}
	if err != nil {
		if all { // what that was for is still to be found, in turns when the store is back
			s.after, s.done = 0, -1
		}
		h.failed("looking for what no hint told of", err)
	}
}

// settled waits until what was read has been answered.
func (h *Hub) settled() error {
	ctx, cancel := h.reading()
	defer cancel()
	return h.cfg.Source.Settled(ctx)
}

// scanRooms has those rooms read what is missing that are behind the store.
func (h *Hub) scanRooms(ids []chat.ChatID) error {
	behind := make(map[chat.ChatID]int64)
	for some := range slices.Chunk(ids, scanRooms) {
		ctx, cancel := h.reading()
		seqs, err := h.cfg.Source.LastSeqs(ctx, some)
		cancel()
		if err != nil {
			return err
		}
		h.mu.Lock()
		for i, id := range some {
			if r := h.rooms[id]; r != nil && r.emitted < seqs[i] {
				behind[id] = seqs[i]
			}
		}
		h.mu.Unlock()
	}
	if len(behind) == 0 {
		return nil
	}
	if err := h.settled(); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, seq := range behind {
		r := h.rooms[id]
		switch {
		case r == nil || r.emitted >= seq:
		case r.flushing:
			h.scans.again = true // a hint came, perhaps that of this
		default:
			r.wanted = max(r.wanted, seq)
			h.stats.foundBehind.Add(1)
			h.flushLocked(r)
		}
	}
	return nil
}

// lookAtChanges has places looked up that are not routed, of people who are
// connected, and whose rows have changed since the last time. Where the store does
// not know whose these are, or not since then, a round through all memberships is
// due.
func (h *Hub) lookAtChanges(commits int64) error {
	s := &h.scans
	if s.listed == commits {
		return nil
	}
	ctx, cancel := h.reading()
	defer cancel()
	list, upto, ok, err := h.cfg.Source.PeopleChanged(ctx, s.upto, scanChanges)
	if err != nil {
		return err
	}
	if !ok {
		s.due = commits
	}
	for some := range slices.Chunk(list, scanRooms) { // others want the lock, too
		h.mu.Lock()
		for _, at := range some {
			for c := range h.users.of(int64(at.User)) {
				if c.route(at.Chat) == nil {
					h.lookLocked(at, changed)
					break
				}
			}
		}
		h.mu.Unlock()
	}
	s.listed, s.upto = commits, upto
	return nil
}

// scanMembers looks for memberships that are not routed: of some of those who
// are connected, until all were looked at since that was due.
func (h *Hub) scanMembers(commits int64, all bool) error {
	s := &h.scans
	if s.done >= s.due && !all {
		return nil
	}
	h.mu.Lock()
	users := make([]chat.UserID, 0, h.users.n)
	for c := range h.users.all() {
		users = append(users, c.user)
	}
	h.mu.Unlock()
	slices.Sort(users)
	users = slices.Compact(users)
	least := max(scanUsers, len(users)/scanRounds)
	if all {
		s.after, least = 0, len(users)
	}
	if s.after == 0 {
		s.began = commits
	}
	first, _ := slices.BinarySearch(users, s.after+1)
	began := time.Now()
	for i, user := range users[first:] {
		if i >= least && time.Since(began) >= h.cfg.Scan/scanShare {
			return nil
		}
		if err := h.recheck(user); err != nil {
			return err
		}
		s.after = user
	}
	s.after, s.done = 0, s.began
	return nil
}

// recheck looks for chats of user's that are not routed, also those that they
// came into and are out of again. They begin with what was missed.
func (h *Hub) recheck(user chat.UserID) error {
	h.mu.Lock()
	var conns []*Conn
	looked := int64(math.MaxInt64)
	for c := range h.users.of(int64(user)) {
		if c.gone == nil {
			conns = append(conns, c)
			looked = min(looked, c.looked)
		}
	}
	h.mu.Unlock()
	if len(conns) == 0 {
		return nil
	}
	ctx, cancel := h.reading()
	defer cancel()
	memberships, _, err := h.cfg.Source.Memberships(ctx, user)
	if err != nil {
		return err
	}
	// Second, so that a membership that ends meanwhile is in one of them.
	ended, stamp, err := h.cfg.Source.Ended(ctx, user, looked)
	if err != nil {
		return err
	}
	for _, act := range []bool{false, true} {
		found := false
		h.mu.Lock()
		for _, c := range conns {
			for _, m := range memberships {
				// What was told of, and ended, is over, whatever was read.
				if !c.subscribed || c.route(m.Chat) != nil || m.JoinedSeq <= c.told[m.Chat] {
					continue
				}
				if found = true; act {
					h.stats.foundMissing.Add(1)
					h.missedLocked(c, m)
				}
			}
			for _, m := range ended {
				if !c.subscribed || c.route(m.Chat) != nil || m.JoinedSeq <= c.told[m.Chat] || m.Stamp <= c.since {
					continue
				}
				if found = true; act {
					h.stats.foundMissing.Add(1)
					h.missedLocked(c, m.Membership)
				}
			}
			if act || !found {
				c.looked = max(c.looked, stamp)
			}
		}
		h.mu.Unlock()
		if !found || act {
			return nil
		}
		if err := h.settled(); err != nil {
			return err
		}
	}
	return nil
}

// missedLocked routes a chat that c ought to have heard of.
func (h *Hub) missedLocked(c *Conn, m chat.Membership) {
	rt := &route{conn: c, chat: m.Chat, from: m.JoinedSeq, pos: m.JoinedSeq - 1, end: m.LastSeq}
	c.addLocked(rt)
	if r := h.rooms[m.Chat]; r != nil {
		h.attachLocked(rt, r)
	}
	h.markLocked(rt)
}
