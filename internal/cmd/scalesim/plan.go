package main

import (
	"fmt"
	"math"
)

// machines are what one can have; all of it is assumed.
type machines struct {
	cores, coresDB       float64
	memory, disk         float64 // bytes: of a node, and of a database
	logRate              float64 // bytes per second that a database's log may get
	connections          float64 // of a node, such that another can take them over in a minute
	connectionsDB        float64 // of a database, without a pooler before it
	network              float64 // bytes per second of a node
	full                 float64 // how busy anything may be at the busiest hour
	copies               float64 // of what is on disk
	perCore, perGB, perT float64 // a month's price: of a processor, of a GB of memory, of a TB of disk
	perTraffic           float64 // of a TB sent
}

var assumed = machines{
	cores: 8, coresDB: 32, memory: 32e9, disk: 8e12, logRate: 200e6, connections: 100_000, connectionsDB: 2000, network: 1.25e8,
	full: 0.5, copies: 2, perCore: 15, perGB: 2, perT: 60, perTraffic: 5,
}

// apart are the costs between machines in one data centre, and with a disk that
// is somewhere else too; assumed.
func apart(p params) params {
	p.trip, p.flush = 200e-6, 1e-3
	return p
}

// architecture is a way of growing.
type architecture struct {
	name             string
	sqlite           bool
	nodes, databases int // at most; 0: any number
	relays           int // as design.relays
	directed         bool
	// directed: hints and who is there go to the nodes that want them, positions
	// are compared by what has changed, and each database has a pooler before it
}

var architectures = []architecture{
	{name: "one node, SQLite", sqlite: true, nodes: 1, databases: 1},
	{name: "one node, PostgreSQL", nodes: 1, databases: 1},
	{name: "nodes, one PostgreSQL, NATS", databases: 1},
	{name: "chats sharded over databases"},
	{name: "sharded, directed, relays for hot chats", relays: 16, directed: true},
}

// use is how much of something is used, of how much there is.
type use struct {
	what string
	of   float64 // 1: as much as it may
}

// plan is what an architecture needs for a workload.
type plan struct {
	arch             architecture
	w                workload
	nodes, databases int
	uses             []use // most used first; above 1: it cannot be done
	cpuNodes, cpuDB  float64
	cpuNATS          float64 // processors, busy, at the busiest hour
	besides          float64 // of a node: share of its time beside messages
	besidesDB        float64
	memory           float64 // bytes in use on all nodes
	diskYear         float64 // bytes that a year adds, one copy
	network          float64 // bytes per second to clients
	month            float64 // price
	batch            float64
}

func (p plan) feasible() bool { return p.uses[0].of <= 1 }

// bound is what is used most; of what cannot be done, also what is used up with
// it, and so keeps more machines from helping.
func (p plan) bound() string {
	what := p.uses[0].what
	for _, u := range p.uses[1:] {
		if !p.feasible() && u.of > 0.9 && u.of > p.uses[0].of*0.8 {
			what += ", and " + u.what
		}
	}
	return what
}

// perUser is a year's price per user.
func (p plan) perUser() float64 { return p.month * 12 / p.w.users }

// most is where the search for enough machines ends.
const most = 4096

// size finds the least databases, and for them the least nodes, that do.
func size(p params, m machines, a architecture, w workload) plan {
	var best plan
	spreads := map[int]spread{} // by nodes
	for databases := 1; databases <= most; databases = next(databases) {
		if a.databases > 0 && databases > a.databases {
			break
		}
		for nodes := 1; nodes <= most; nodes = next(nodes) {
			if a.nodes > 0 && nodes > a.nodes {
				break
			}
			if _, known := spreads[nodes]; !known {
				spreads[nodes] = w.spread(nodes, a.relays)
			}
			at := load(p, m, a, w, spreads[nodes], nodes, databases)
			if at.feasible() {
				return at
			}
			if best.nodes == 0 || at.uses[0].of < best.uses[0].of {
				best = at
			}
		}
	}
	return best
}

// next goes on by one, and by a twentieth where that is more.
func next(n int) int { return n + max(1, n/20) }

// load is what so many nodes and databases have to bear.
func load(p params, m machines, a architecture, w workload, over spread, nodes, databases int) plan {
	l := plan{arch: a, w: w, nodes: nodes, databases: databases}
	n, s := float64(nodes), float64(databases)
	rate := w.rate()
	hot := float64(w.hot) * w.hotRate
	hotNodes := n - 1
	deliveries := rate*over.listeners + hot*w.hotReaders
	reads := rate*over.others + hot*hotNodes
	passed := rate * over.relayed
	if a.relays > 0 {
		reads -= hot * hotNodes
		passed += hot * hotNodes
	}
	logins := w.users * w.logins / day * w.peak
	requests := w.users * w.requests / day * w.peak

	// A commit takes what came while the one before it was under way: two round
	// trips, the database's work, a flush. Directed, a chat's sends go through a
	// few writers of its database.
	writers := n * s
	if a.directed {
		writers = s * min(n, 4)
	}
	takes := 3*p.trip + p.flush + p.commitDB + p.commitNode
	if a.sqlite {
		takes = p.flush + p.commitSQLite
	}
	l.batch = max(1, (rate+hot)/writers*takes)
	send, commit := p.sendNode, p.commitNode
	if a.sqlite {
		send, commit = p.sendSQLite, p.commitSQLite
	}

	heard := (rate + hot) * (n - 1) // hints, by all nodes
	people := w.connections() * (n - 1)
	// A node has a room for every chat that somebody who is connected there is in;
	// a chat has five members in the mean.
	rooms := min(w.connections()*w.chats, w.users*w.chats/5*n)
	scans := rooms / scanEvery
	if a.directed {
		heard = reads
		people = w.connections() * w.chats // those who share chats of two, at most
		scans = rate * over.others         // what has changed, where somebody listens
	}
	if nodes == 1 {
		people = 0
	}
	comings := logins * (n - 1) // who is there, told to everybody
	if a.directed {
		comings = logins * min(n-1, w.chats/2)
	}

	scanNode := p.scanNode
	if a.sqlite {
		scanNode = p.scanSQLite
	}
	messages := (rate+hot)*(send+commit/l.batch) + (rate+hot)*p.tell + deliveries*p.delivery + reads*(p.read+p.tell) + passed*(p.relay+p.tell)
	beside := heard*p.hint + comings*p.hint + logins*p.login + requests*p.request + w.connections()*p.idle + scans*scanNode
	l.cpuNodes = messages + beside
	l.besides = beside / n / m.cores
	besideDB := 0.0
	if !a.sqlite {
		besideDB = requests*p.readDB + 2*logins*p.readDB + scans*p.scanDB
		l.cpuDB = (rate+hot)*(p.sendDB+p.commitDB/l.batch) + reads*p.readDB + besideDB
	}
	l.besidesDB = besideDB / s / m.coresDB
	if nodes > 1 {
		l.cpuNATS = (heard + comings) * p.copyNATS
	}
	l.memory = w.connections()*p.connBytes + w.connections()*w.chats*p.routeBytes + people*p.placeBytes + n*256e6
	yearly := w.users * w.perDay * 365
	l.diskYear = yearly * p.rowBytes
	l.network = deliveries * p.wireBytes

	full := m.full
	l.use("processors of the nodes", l.cpuNodes/n/(m.cores*full))
	l.use("connections of a node", w.connections()/n/m.connections)
	l.use("memory of a node", l.memory/n/(m.memory*0.7))
	l.use("network of a node", l.network/n/(m.network*full))
	if a.sqlite {
		// One writer, whose work no second processor shortens.
		l.use("the writer of SQLite", (rate+hot)*(send+commit/l.batch)/full)
	} else {
		l.use("processors of a database", l.cpuDB/s/(m.coresDB*full))
		l.use("log of a database", (rate+hot)*p.logBytes/s/(m.logRate*full))
		if !a.directed {
			l.use("connections of a database", n*(1+max(8, 4*m.cores))/m.connectionsDB)
		}
	}
	l.use("a year on the disk of a database", l.diskYear/s/m.disk)
	l.use("row of a hot chat", w.hotRate/5000)
	if nodes > 1 && !a.directed {
		l.use("NATS, one server of 8 processors", l.cpuNATS/(8*full))
	}

	boxes := n*m.box(l.cpuNodes/n, m.cores, l.memory/n/0.7) + l.cpuNATS/full*m.perCore
	if !a.sqlite {
		boxes += s * m.copies * m.box(l.cpuDB/s, m.coresDB, 4e9)
	}
	// Half of a day's traffic is in some six busy hours.
	traffic := l.network / w.peak * 30 * day / 1e12
	l.month = boxes + l.diskYear*m.copies/1e12*m.perT + traffic*m.perTraffic
	return l
}

// box is a month's price of a machine that is so busy: of the sizes there are, 1,
// 2, 4 and so on up to most processors, each with 4 GB of memory, or more memory
// if it must be.
func (m machines) box(busy, most, memory float64) float64 {
	cores := 1.0
	for cores < most && cores*m.full < busy {
		cores *= 2
	}
	return cores*m.perCore + max(cores*4, memory/1e9)*m.perGB
}

// use adds one, and keeps them in order.
func (l *plan) use(what string, of float64) {
	i := 0
	for i < len(l.uses) && l.uses[i].of >= of {
		i++
	}
	l.uses = append(l.uses, use{})
	copy(l.uses[i+1:], l.uses[i:])
	l.uses[i] = use{what, of}
}

// reach is for how many users an architecture does, and what bounds it then.
func reach(p params, m machines, a architecture, many func(float64) workload) (users float64, bound string) {
	lo, hi := 2.0, 9.0 // powers of ten
	if at := size(p, m, a, many(math.Pow(10, hi))); at.feasible() {
		return math.Pow(10, hi), ""
	}
	for range 24 {
		mid := (lo + hi) / 2
		if size(p, m, a, many(math.Pow(10, mid))).feasible() {
			lo = mid
		} else {
			hi = mid
		}
	}
	return math.Pow(10, lo), size(p, m, a, many(math.Pow(10, hi))).bound()
}

// simulate plays a plan's busiest hour, for about so many messages.
func simulate(p params, m machines, l plan, seed uint64, messages int) (*cluster, error) {
	d := design{
		params: p, sqlite: l.arch.sqlite, nodes: l.nodes, cores: int(m.cores), speed: 1,
		databases: l.databases, coresDB: int(m.coresDB), relays: l.arch.relays, besides: l.besides, besidesDB: l.besidesDB,
	}
	c := newCluster(d, seed)
	rate := l.w.rate()
	long := max(float64(messages)/rate, 0.2)
	c.from = long / 4
	var arrive func()
	arrive = func() {
		if c.now >= long {
			return
		}
		home := c.rng.IntN(l.nodes)
		at, readers := c.spread(l.w.listeners(c.rng) - 1)
		at, readers = withSender(at, readers, home)
		c.send(&message{chat: -1, home: home, database: c.rng.IntN(l.databases), at: at, readers: readers, measured: c.now >= c.from})
		c.at(c.now+c.rng.ExpFloat64()/rate, arrive)
	}
	c.at(c.rng.ExpFloat64()/rate, arrive)
	// A few of the hot chats' messages, however short the time.
	const few = 6
	for i := range few {
		c.at(c.from+(long-c.from)*float64(i)/few, func() {
			at, readers := c.spread(int(l.w.hotReaders))
			c.send(&message{chat: i, home: c.rng.IntN(l.nodes), database: i % l.databases, at: at, readers: readers, measured: true})
		})
	}
	c.run(long)
	c.run(math.Inf(1)) // what is under way comes to its end
	return c, c.check()
}

// withSender adds the sender's own connection.
func withSender(at, readers []int, home int) (places, counts []int) {
	for i, node := range at {
		if node == home {
			readers[i]++
			return at, readers
		}
	}
	return append(at, home), append(readers, 1)
}

// hotOnly plays a few messages of one chat with very many listeners, with nothing
// beside it.
func hotOnly(p params, m machines, nodes, relays, listeners int, seed uint64) (*cluster, error) {
	c := newCluster(design{
		params: p, nodes: nodes, cores: int(m.cores), speed: 1, databases: 1, coresDB: int(m.coresDB), relays: relays,
	}, seed)
	const few = 5
	for i := range few {
		c.at(float64(i)*10, func() {
			at, readers := c.spread(listeners)
			c.send(&message{chat: 0, home: c.rng.IntN(nodes), at: at, readers: readers, measured: true})
		})
	}
	c.run(math.Inf(1))
	return c, c.check()
}

// check sees that every message was answered and delivered once to everybody.
func (c *cluster) check() error {
	switch {
	case len(c.faults) > 0:
		return fmt.Errorf("%d faults, the first: %s", len(c.faults), c.faults[0])
	case c.acks != c.sent || c.complete != c.sent:
		return fmt.Errorf("%d messages sent, %d answered, %d delivered to everybody", c.sent, c.acks, c.complete)
	}
	return nil
}
