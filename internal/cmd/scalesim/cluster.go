package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// design is how servers and databases are arranged.
type design struct {
	params
	sqlite    bool
	nodes     int
	cores     int     // of a node
	speed     float64 // of one of them
	databases int
	coresDB   int
	// relays: a message to more nodes than so many is read from the database
	// once and goes on over a tree; 0: every node reads it.
	relays int
	// besides is how much of every node's time other things take, which are not
	// simulated one by one: 0..1.
	besides, besidesDB float64
	// machine, when not 0, is how many processors all of it shares, with the
	// clients, but for nodes of a speed of their own.
	machine int
}

const fanOut = 16 // children in a tree of relays

// message is one that is sent.
type message struct {
	chat     int // one of few, whose row is fought for and whose readings are joined; -1: any
	home     int // the sender's node
	database int
	readers  []int // how many listen at each node; of many nodes, see at
	at       []int // which nodes readers stands for
	sent     float64

	expected, delivered int
	told                map[int]bool // nodes that told it
	measured            bool         // its latencies count
	acked               func()
	complete            func()
}

// cluster is a run of the simulation.
type cluster struct {
	design
	clock
	rng       *rand.Rand
	nodes     []*station
	databases []*station
	disks     []*disk
	clients   *station // nil: they cost nothing
	writers   map[[2]int]*writer
	rows      map[int]*row
	rooms     map[[2]int]*room

	// sent and complete count messages, and delivered what was delivered of them.
	sent, acks, complete, delivered int
	from                            float64 // when measuring began
	acked, same, other, hot         histogram
	commits                         int
	faults                          []string
}

// writer is a node's one connection that writes to a database.
type writer struct {
	queue []*message
	busy  bool
}

// row is a hot chat's, locked by one transaction at a time.
type row struct {
	held    bool
	waiting []func()
}

// room is a chat on a node that is being read: what comes meanwhile is read with
// the next reading.
type room struct {
	reading bool
	waiting []*message
}

func newCluster(d design, seed uint64) *cluster {
	c := &cluster{
		design: d, rng: rand.New(rand.NewPCG(seed, 1)),
		writers: map[[2]int]*writer{}, rows: map[int]*row{}, rooms: map[[2]int]*room{},
	}
	var machine *station
	if d.machine > 0 {
		machine = newStation(d.machine, 1)
		c.clients = machine
	}
	for range d.nodes {
		s := machine
		if s == nil || d.speed != 1 {
			s = newStation(d.cores, d.speed*(1-d.besides))
		}
		c.nodes = append(c.nodes, s)
	}
	for range d.databases {
		s := machine
		if s == nil {
			s = newStation(d.coresDB, 1-d.besidesDB)
		}
		c.databases = append(c.databases, s)
		c.disks = append(c.disks, &disk{c: &c.clock, flush: d.flush})
	}
	return c
}

// work gives a station something to do now, and has then run when it is done.
func (c *cluster) work(s *station, cost float64, then func()) {
	_, done := s.serve(c.now, cost)
	c.at(done, then)
}

// send has a message come to its node.
func (c *cluster) send(m *message) {
	c.sent++
	m.sent = c.now
	for _, n := range m.readers {
		m.expected += n
	}
	cost := c.sendNode
	if c.sqlite {
		cost = c.sendSQLite
	}
	arrive := func() { c.work(c.nodes[m.home], cost, func() { c.enqueue(m) }) }
	if c.clients != nil {
		c.work(c.clients, c.clientSend, arrive)
		return
	}
	arrive()
}

func (c *cluster) enqueue(m *message) {
	key := [2]int{m.home, m.database}
	w := c.writers[key]
	if w == nil {
		w = &writer{}
		c.writers[key] = w
	}
	w.queue = append(w.queue, m)
	if !w.busy {
		c.commit(key, w)
	}
}

// commit takes what has gathered into one transaction.
func (c *cluster) commit(key [2]int, w *writer) {
	if len(w.queue) == 0 {
		w.busy = false
		return
	}
	w.busy = true
	if c.sqlite {
		batch := w.queue
		w.queue = nil
		c.work(c.nodes[key[0]], c.commitSQLite, func() {
			c.disks[0].sync(func() { c.committed(key, w, batch) })
		})
		return
	}
	// The begin of a transaction names its rows; what comes while it waits for
	// them is for the next.
	batch := w.queue
	w.queue = nil
	half := (c.commitDB + c.sendDB*float64(len(batch))) / 2
	db := c.databases[key[1]]
	c.work(c.nodes[key[0]], c.commitNode, func() {
		c.at(c.now+c.trip, func() {
			c.lock(hotOnes(batch), func() {
				c.work(db, half, func() {
					c.at(c.now+c.trip, func() {
						c.work(db, half, func() {
							c.disks[key[1]].sync(func() {
								c.unlock(hotOnes(batch))
								c.at(c.now+c.trip, func() { c.committed(key, w, batch) })
							})
						})
					})
				})
			})
		})
	})
}

// hotOnes are the fought-for chats of a batch, ascending.
func hotOnes(batch []*message) (chats []int) {
	for _, m := range batch {
		if m.chat >= 0 {
			chats = append(chats, m.chat)
		}
	}
	slices.Sort(chats)
	return slices.Compact(chats)
}

// lock takes the rows one after the other, always in the same order.
func (c *cluster) lock(chats []int, then func()) {
	if len(chats) == 0 {
		then()
		return
	}
	r := c.rows[chats[0]]
	if r == nil {
		r = &row{}
		c.rows[chats[0]] = r
	}
	next := func() {
		r.held = true
		c.lock(chats[1:], then)
	}
	if r.held {
		r.waiting = append(r.waiting, next)
		return
	}
	next()
}

func (c *cluster) unlock(chats []int) {
	for _, id := range chats {
		r := c.rows[id]
		if len(r.waiting) == 0 {
			r.held = false
			continue
		}
		next := r.waiting[0]
		r.waiting = r.waiting[1:]
		c.at(c.now, next)
	}
}

// committed answers a batch's messages and tells of them.
func (c *cluster) committed(key [2]int, w *writer, batch []*message) {
	c.commits++
	for _, m := range batch {
		c.acks++
		if m.measured {
			c.acked.add(c.now-m.sent, 1)
		}
		if m.acked != nil {
			m.acked()
		}
		c.publish(m)
	}
	c.commit(key, w)
}

// publish tells the sender's node at once, and the others by a hint.
func (c *cluster) publish(m *message) {
	if m.expected == 0 {
		c.ended(m)
	}
	var others []int // places in m.at
	own := -1
	for i, node := range m.at {
		switch {
		case m.readers[i] == 0:
		case node == m.home:
			own = i
		default:
			others = append(others, i)
		}
	}
	relayed := c.relays > 0 && len(others) > c.relays
	if relayed {
		// The sender's node has it in memory: it is the root of the tree.
		c.pass(m, m.home, others)
	}
	if own >= 0 {
		c.tell(m, own)
	}
	if relayed {
		return
	}
	for _, i := range others {
		// There and to NATS and on: a trip.
		c.at(c.now+c.trip, func() { c.work(c.nodes[m.at[i]], c.hint, func() { c.hinted(m, i) }) })
	}
}

// pass hands a message to the nodes of a subtree.
func (c *cluster) pass(m *message, from int, below []int) {
	children := min(fanOut, len(below))
	if children == 0 {
		return
	}
	c.work(c.nodes[from], c.relay*float64(children), func() {
		size := (len(below) + children - 1) / children
		for subtree := range slices.Chunk(below, size) {
			c.at(c.now+c.trip/2, func() {
				c.pass(m, m.at[subtree[0]], subtree[1:]) // others first, then one's own
				c.tell(m, subtree[0])
			})
		}
	})
}

// hinted has a node read what another committed.
func (c *cluster) hinted(m *message, i int) {
	if m.chat < 0 {
		c.read(m, i, []*message{m}, func() {})
		return
	}
	key := [2]int{m.at[i], m.chat}
	r := c.rooms[key]
	if r == nil {
		r = &room{}
		c.rooms[key] = r
	}
	r.waiting = append(r.waiting, m)
	if !r.reading {
		c.readRoom(key, r)
	}
}

func (c *cluster) readRoom(key [2]int, r *room) {
	all := r.waiting
	r.waiting = nil
	r.reading = len(all) > 0
	if !r.reading {
		return
	}
	place := slices.Index(all[0].at, key[0])
	c.read(all[0], place, all, func() { c.readRoom(key, r) })
}

// read is one reading of one chat, once there and back, for all that gathered.
// That those of several chats share one is in what it costs.
func (c *cluster) read(m *message, i int, all []*message, then func()) {
	node := c.nodes[m.at[i]]
	c.work(node, c.design.read, func() {
		c.at(c.now+c.trip, func() {
			c.work(c.databases[m.database], c.readDB, func() {
				for _, one := range all {
					c.tell(one, slices.Index(one.at, m.at[i]))
				}
				then()
			})
		})
	})
}

const chunk = 1000 // deliveries that a processor does by itself; internal/hub

// tell delivers a message to who listens at a node.
func (c *cluster) tell(m *message, i int) {
	node := m.at[i]
	if m.told == nil {
		m.told = map[int]bool{}
	}
	if m.told[node] {
		c.faults = append(c.faults, fmt.Sprintf("node %d was told a message twice", node))
		return
	}
	m.told[node] = true
	to := &c.other
	if node == m.home {
		to = &c.same
	}
	if m.chat >= 0 {
		to = &c.hot
	}
	cost := c.design.tell
	for left := m.readers[i]; left > 0; {
		n := min(left, chunk)
		left -= n
		begun, done := c.nodes[node].serve(c.now, cost+c.delivery*float64(n))
		cost = 0
		c.at(done, func() {
			if m.measured {
				// One after the other: a few of them stand for all.
				const points = 8
				for k := range points {
					t := begun + (done-begun)*(float64(k)+0.5)/points
					to.add(t-m.sent, float64(n)/points)
				}
			}
			if c.clients != nil {
				c.work(c.clients, c.client*float64(n), func() { c.arrived(m, n) })
				return
			}
			c.arrived(m, n)
		})
	}
}

func (c *cluster) arrived(m *message, n int) {
	m.delivered += n
	if c.now >= c.from {
		c.delivered += n
	}
	if m.delivered > m.expected {
		c.faults = append(c.faults, fmt.Sprintf("%d deliveries of %d", m.delivered, m.expected))
	}
	if m.delivered == m.expected {
		c.ended(m)
	}
}

func (c *cluster) ended(m *message) {
	c.complete++
	if m.complete != nil {
		m.complete()
	}
}

// spread says where n listeners of a chat are connected: each at some node.
func (c *cluster) spread(n int) (at, readers []int) {
	if n < 4*c.design.nodes {
		count := map[int]int{}
		for range n {
			count[c.rng.IntN(c.design.nodes)]++
		}
		for node := range count {
			at = append(at, node)
		}
		slices.Sort(at)
		for _, node := range at {
			readers = append(readers, count[node])
		}
		return at, readers
	}
	// Many: near the mean, with a binomial's spread, and the right sum.
	mean := float64(n) / float64(c.design.nodes)
	left := n
	for node := range c.design.nodes {
		k := left
		if node < c.design.nodes-1 {
			k = min(max(int(math.Round(mean+math.Sqrt(mean)*c.rng.NormFloat64())), 0), left)
		}
		left -= k
		at, readers = append(at, node), append(readers, k)
	}
	return at, readers
}
