package server

import (
	"errors"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/grima-chat/grima/internal/stream"
)

// Defaults and bounds of the gate.
const (
	// maxStrangers leaves a class room to open the page at once: a browser asks
	// for its parts over six connections, and none of them is known yet.
	maxStrangers = 128
	// maxPerAddress is generous: behind one address there may be a school. No
	// address gets more than half of all, though.
	maxPerAddress = 1000
	// comeBack is when who was turned away may try again: strangers do not
	// stay long.
	comeBack = 10 * time.Second
	// reservedFiles is what the store, the log and the control socket need of
	// the limit on open files.
	reservedFiles = 128
	// maxTurningAway is how many clients may be told at once why they cannot
	// come in; the rest are just closed.
	maxTurningAway = 64
)

var (
	errFull      = errors.New("the server has as many connections as it can")
	errAddress   = errors.New("there are too many connections from your address")
	errStrangers = errors.New("too many connections from your address are not logged in yet")
)

// gate counts connections: all of them, and per address all and those that have
// not logged in.
type gate struct {
	max        int
	perAddress int // 0: no bound
	strangers  int // per address; 0: no bound

	mu          sync.Mutex
	open        int
	from        map[netip.Prefix]*count
	places      [places]int
	accepted    uint64
	refused     map[string]uint64
	turningAway int
	moved       int           // came or went since the last look
	rush        chan struct{} // many did, see tidyUp
}

// place is what is told of a connection in Stats: its kind, and flags.
type place uint8

const (
	flagTLS place = 1 << (3 + iota)
	flagKnown

	kindMask = flagTLS - 1
	places   = flagKnown << 1
)

// What a connection speaks, and how metrics have it.
const (
	kindNew place = iota // nothing yet
	kindLines
	kindHTTP
	kindWebSocket
	kindEvents
)

func (p place) kind() string {
	return [...]string{"new", "lines", "http", "websocket", "events"}[p&kindMask]
}

// count is an address's connections.
type count struct {
	gate         *gate
	origin       netip.Prefix
	all, unknown int
}

// ticket is a connection's place in the gate.
type ticket struct {
	from  *count
	place place // guarded by gate.mu
}

// arrival is what a connection needs here and in the room that serves it, in one
// piece, see stream.Room. It implements stream.Guest.
type arrival struct {
	ticket

	room stream.Room
}

// LoggedIn implements stream.Guest.
func (a *arrival) LoggedIn() { a.known() }

// Closed implements stream.Guest.
func (a *arrival) Closed() { a.leave() }

func newGate(cfg Config) *gate {
	g := &gate{
		max: cfg.MaxConnections, perAddress: cfg.MaxPerAddress, strangers: cfg.MaxStrangers,
		from: make(map[netip.Prefix]*count), refused: make(map[string]uint64),
		rush: make(chan struct{}, 1),
	}
	if g.max == 0 {
		g.max = max(openFiles()-reservedFiles, reservedFiles)
	}
	if g.perAddress == 0 {
		g.perAddress = maxPerAddress
	}
	g.perAddress = min(g.perAddress, max(1, g.max/2))
	if g.strangers == 0 {
		g.strangers = maxStrangers
	}
	// Behind a proxy everybody comes from one address.
	if cfg.NoLimits || cfg.BehindProxy {
		g.perAddress, g.strangers = 0, 0
	}
	return g
}

// admit makes t the ticket of a connection that it lets in, or says why not.
func (g *gate) admit(t *ticket, peer netip.Addr) error {
	from := origin(peer)
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.from[from]
	switch {
	case g.open >= g.max:
		g.refused["full"]++
		return errFull
	case n == nil:
		n = &count{gate: g, origin: from}
		g.from[from] = n
	case g.perAddress > 0 && n.all >= g.perAddress:
		g.refused["address"]++
		return errAddress
	case g.strangers > 0 && n.unknown >= g.strangers:
		g.refused["strangers"]++
		return errStrangers
	}
	g.open++
	g.accepted++
	g.places[kindNew]++
	n.all++
	n.unknown++
	g.movedLocked()
	*t = ticket{from: n, place: kindNew}
	return nil
}

// known says that a connection is not a stranger's any more.
func (t *ticket) known() {
	t.from.gate.mu.Lock()
	defer t.from.gate.mu.Unlock()
	t.knownLocked()
}

func (t *ticket) knownLocked() {
	if t.place&flagKnown != 0 {
		return
	}
	t.moveLocked(t.place | flagKnown)
	t.from.unknown--
}

// speaks says what a connection turned out to speak.
func (t *ticket) speaks(kind place, tls bool) {
	t.from.gate.mu.Lock()
	defer t.from.gate.mu.Unlock()
	to := kind | t.place&flagKnown
	if tls {
		to |= flagTLS
	}
	t.moveLocked(to)
}

func (t *ticket) moveLocked(to place) {
	t.from.gate.places[t.place]--
	t.place = to
	t.from.gate.places[to]++
}

// Stats is how the connections to the port stand, and what became of others.
type Stats struct {
	Connections []Connections
	Max         int               // connections that there can be
	Accepted    uint64            // all that were let in
	Refused     map[string]uint64 // by why: full, address, strangers
}

// Connections is how many are open of a kind: new (nothing is known yet), lines,
// http, websocket, events. Known: somebody is logged in, over HTTP with some
// request.
type Connections struct {
	Kind       string
	TLS, Known bool
	Open       int
}

// Stats gives a snapshot. The operator's own connections are not in it.
func (s *Server) Stats() Stats {
	g := s.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	now := Stats{Max: g.max, Accepted: g.accepted, Refused: map[string]uint64{"full": 0, "address": 0, "strangers": 0}}
	maps.Copy(now.Refused, g.refused)
	for i, n := range g.places {
		if p := place(i); n > 0 {
			now.Connections = append(now.Connections, Connections{p.kind(), p&flagTLS != 0, p&flagKnown != 0, n})
		}
	}
	return now
}

// stranger reports whether a connection counts among its address's strangers.
func (t *ticket) stranger() bool {
	t.from.gate.mu.Lock()
	defer t.from.gate.mu.Unlock()
	return t.from.gate.strangers > 0 && t.place&flagKnown == 0
}

// leave gives a connection's place back.
func (t *ticket) leave() {
	g := t.from.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	t.knownLocked()
	g.places[t.place]--
	g.open--
	g.movedLocked()
	if t.from.all--; t.from.all == 0 {
		delete(g.from, t.from.origin)
	}
}

func (g *gate) mayTurnAway() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.turningAway >= maxTurningAway {
		return false
	}
	g.turningAway++
	return true
}

func (g *gate) turnedAway() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turningAway--
}

// origin is the network that counts as one address: who has one IPv6 address
// has at least 2^64 of them.
func origin(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address: a local socket
	}
	return p
}
