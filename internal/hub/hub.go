// Package hub delivers what was committed to the connections that are live.
//
// What is published is a hint: it may be lost, doubled or out of order. The
// store is the truth. For each chat that somebody connected is in, a room, the
// hub knows how far it has told the chat's log; a hint that continues it is
// told, one beyond it makes the hub read what is between from the store, one
// behind it is dropped, and a scan now and then finds what no hint told of. So
// every connection gets the events of its chats once, in order and without
// holes (docs/protocol.md#delivery).
//
// Routing follows the log. A route begins at the seq where a membership begins
// and ends with the event that ends it, so that an event goes to the
// participants at its seq, and to the one it removes, and to nobody else.
//
// A room writes in groups: while its flusher hands events to everybody, what
// comes is gathered, and leaves joined into one Run per 64 KiB. Events are
// encoded once and their bytes shared by all who get them. A connection without
// room for a Run costs a position per chat: it is skipped, and when there is
// room again reads from the store what it missed (catchup.go).
//
// One mutex guards all of it. It is held neither while encoding, nor while
// reading the store, nor while subscribers are called.
package hub

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// Config is what a Hub needs. Encode and its sisters and Source are required;
// of the rest, zero means the value in parentheses.
type Config struct {
	// Encode and its sisters append the line, newline included, that delivers an
	// event.
	Encode         func(dst []byte, e chat.Event) []byte
	EncodeRead     func(dst []byte, id chat.ChatID, user chat.UserID, seq int64) []byte // to others
	EncodePlace    func(dst []byte, p chat.Participant) []byte                          // to themselves
	EncodeTyping   func(dst []byte, id chat.ChatID, user chat.UserID, stop bool) []byte
	EncodePresence func(dst []byte, user chat.UserID, status chat.Status) []byte
	EncodeUser     func(dst []byte, u chat.User) []byte
	Source         Source

	// Bus ties the hubs of several nodes together, see Join. Then Source has to
	// know what this node has under way, see chat.NewSharedLog (nil: this is the
	// only node).
	Bus Bus
	// Deaf: nobody subscribes here, so there is nothing to be told of chats.
	Deaf bool
	// Lease is for how long a node is taken to live that is not heard (15 s).
	Lease time.Duration
	// Sessions is how often the store is asked for the sessions of connections,
	// where somebody else may end them (never).
	Sessions time.Duration

	// Scan is how often the rooms are compared with the store (5 s).
	Scan time.Duration
	// CatchUps is how many connections catch up at once (4).
	CatchUps int
	Log      *slog.Logger     // (slog.Default())
	Now      func() time.Time // (time.Now)

	// Ablate takes out guards, to see that tests notice. For tests only.
	Ablate Ablate
}

// Ablate says which guards are missing. For tests only.
type Ablate struct {
	NoRescan          bool // what no hint tells of is never looked for
	NoDirtySet        bool // what a connection has no room for is lost to it
	NoFill            bool // what is missing between hints is not read
	LoadBeforeListing bool // memberships are read before additions are listened for
	NoSettling        bool // rows of ours are told that may not be answered yet
}

// Source reads committed state; chat.Log is one. An error is logged, and the
// read tried again after the next scan.
type Source interface {
	Memberships(ctx context.Context, user chat.UserID) ([]chat.Membership, int64, error)
	Ended(ctx context.Context, user chat.UserID, after int64) ([]chat.Ended, int64, error)
	Commits(ctx context.Context) (int64, error)
	PeopleChanged(ctx context.Context, after int64, limit int) (list []chat.Place, upto int64, ok bool, err error)
	LastSeqs(ctx context.Context, ids []chat.ChatID) ([]int64, error)
	Settled(ctx context.Context) error
	SettledIn(ctx context.Context, id chat.ChatID) error
	Places(ctx context.Context, asked []chat.Place) ([]chat.Participant, []int64, error)
	LiveSessions(ctx context.Context, ids []chat.SessionID) ([]chat.SessionID, error)
	Changed(ctx context.Context, spans []chat.Span) ([]chat.Changed, error)
	Missed(ctx context.Context, id chat.ChatID, user chat.UserID, after, upto int64) (chat.Missed, error)
	Few(ctx context.Context, id chat.ChatID, most int) (bool, error)
	Hidden(ctx context.Context, users []chat.UserID) (map[chat.UserID]bool, error)
	Profiles(ctx context.Context, users []chat.UserID) ([]chat.Profile, error)
}

// Subscriber is a live connection as the hub sees it. Its methods must not
// block, and must not call the hub while they hold a lock that the hub's callers
// might wait for. Deliver and Notice may be called from several goroutines at
// once, for different chats; the runs of one chat come one after the other. They
// may be called once more per chat after [Conn.Close] has returned.
type Subscriber interface {
	// Deliver takes over all of the run, or nothing of it and reports false:
	// there is no room, or the connection is ending. After false the chat's
	// later runs are skipped, until [Conn.Ready] is called.
	Deliver(r *Run) bool
	// Notice takes an ephemeral line, or drops it.
	Notice(r *Run)
	// End asks the connection to say why and to close.
	End(Reason)
}

// Reason says why the hub ends a connection.
type Reason string

// SessionRevoked means that the connection's session is over.
const SessionRevoked Reason = "session_revoked"

// Hub implements chat.Publisher for the connections of this process, and, with
// a Bus, tells the other nodes. Its methods may be called from any goroutine
// and do not block, save Close.
type Hub struct {
	cfg    Config
	ctx    context.Context // of reading the store; over with Close
	cancel context.CancelFunc
	stats  counters

	mu       sync.Mutex
	sessions table
	ends     uint64 // times that some ended
	users    table  // those that are subscribed
	rooms    map[chat.ChatID]*room
	fresh    map[*room]struct{} // that came into being by a hint, until they told of it
	loading  map[*Conn]struct{} // those that are reading their memberships

	catching []*Conn // those whose turn it is to catch up, by age
	workers  int     // that let them
	dirty    int     // routes that are not live
	members  int     // routes in rooms

	telling      telling
	looks        looks
	fills        fills
	nodes        nodes
	nodesNow     atomic.Int64          // other ones
	before       map[chat.ChatID]int64 // while somebody is loading: hints of chats without a room
	lookedAround time.Time             // because somebody said so
	checks       sessionChecks

	presence presence
	people   people
	marks    map[chat.ChatID]map[chat.UserID]int64 // read marks to be told to others; nil: none

	scans      scans
	complaints map[string]complaint // by what was being done: the failure that was logged last
	closed     bool
	running    int       // goroutines of the hub's
	idle       sync.Cond // running fell to 0
	told       sync.Cond // a room's flusher looks for more
}

// New makes a Hub. It has goroutines only while there is something to do, and
// connections; Close waits for them.
func New(cfg Config) *Hub {
	if cfg.Scan == 0 {
		cfg.Scan = 5 * time.Second
	}
	if cfg.Lease == 0 {
		cfg.Lease = 15 * time.Second
	}
	if cfg.CatchUps == 0 {
		cfg.CatchUps = 4
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	h := &Hub{
		cfg:        cfg,
		complaints: make(map[string]complaint),
		sessions:   table{by: bySession},
		users:      table{by: byUser},
		rooms:      make(map[chat.ChatID]*room),
		fresh:      make(map[*room]struct{}),
		loading:    make(map[*Conn]struct{}),
		nodes:      newNodes(),
		presence: presence{
			watchers: make(map[chat.UserID]map[*Conn]struct{}),
			told:     make(map[chat.UserID]chat.Status),
			changed:  make(map[chat.UserID]struct{}),
		},
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.idle.L, h.told.L = &h.mu, &h.mu
	return h
}

// Close ends delivery and waits for the hub's goroutines. What is published
// later is dropped. It may be called more than once.
func (h *Hub) Close() {
	h.cancel()
	h.mu.Lock()
	defer h.mu.Unlock()
	again := h.closed
	h.closed = true
	h.scans.stop()
	for _, t := range []*time.Timer{h.nodes.timer, h.checks.timer} {
		if t != nil {
			t.Stop()
		}
	}
	for h.running > 0 {
		h.idle.Wait()
	}
	if h.nodes.timer != nil && !again {
		h.mu.Unlock()
		h.depart()
		h.mu.Lock()
	}
}

// Settle waits until all that was published before has been handed to those who
// have room, and nothing is under way. For tests.
func (h *Hub) Settle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.running > 0 {
		h.idle.Wait()
	}
}

// goLocked starts a goroutine that Close waits for.
func (h *Hub) goLocked(f func()) {
	h.running++
	go func() {
		defer h.done()
		f()
	}()
}

func (h *Hub) done() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running--; h.running == 0 {
		h.idle.Broadcast()
	}
}

// readTimeout bounds a read of the store's.
const readTimeout = 30 * time.Second

// reading gives the context of one read.
func (h *Hub) reading() (context.Context, context.CancelFunc) {
	return context.WithTimeout(h.ctx, readTimeout)
}

// sayAgain is how often it is said that a read failed that goes on failing in the
// same way: it is tried every few seconds, for as long as the store is not there.
const sayAgain = 10 * time.Minute

// complaint is a failure that was logged.
type complaint struct {
	text  string
	at    time.Time
	since int // how often it was so again
}

// failed logs why a read failed, unless it said so lately, and has the next scan
// look at everything.
func (h *Hub) failed(doing string, err error) {
	now, text := h.cfg.Now(), err.Error()
	h.mu.Lock()
	h.scans.again = true
	last := h.complaints[doing]
	if h.closed || last.text == text && now.Sub(last.at) < sayAgain {
		last.since++
		h.complaints[doing] = last
		h.mu.Unlock()
		return
	}
	h.complaints[doing] = complaint{text: text, at: now}
	h.mu.Unlock()
	if last.text != text {
		last.since = 0
	}
	h.cfg.Log.Warn("live delivery waits for the store", "doing", doing, "error", err, "unsaid", last.since)
}

// counters are what Stats counts.
type counters struct {
	published, dropped, filled        atomic.Int64
	runs, events, deliveries, refused atomic.Int64
	notices, catchUps, caughtUp, gaps atomic.Int64
	scans, foundBehind, foundMissing  atomic.Int64
	foundEnded                        atomic.Int64

	bus struct {
		sent, failed, received, garbage, missed atomic.Int64
		hints, useful, looks, entered           atomic.Int64
	}
}

// Stats says what the hub did since it was made, and what there is now.
type Stats struct {
	Published  int64 // hints that came
	Dropped    int64 // of them: told already, of no room, or false
	Filled     int64 // events that were read from the store because no hint told them in time
	Runs       int64 // runs that were made
	Events     int64 // events in them; more than Runs when they were joined
	Deliveries int64 // runs that subscribers took, ephemeral ones not among them
	Refused    int64 // and did not take
	Notices    int64 // ephemeral lines that were handed out
	CatchUps   int64 // reads for connections that lagged
	CaughtUp   int64 // routes that became live again
	Gaps       int64 // gap events, each counted once however many heard it

	Scans        int64 // looks at the store's positions
	FoundBehind  int64 // rooms that one of them found behind
	FoundMissing int64 // memberships that one of them found not routed

	FoundEnded int64 // sessions of connections that the store had no more

	Bus BusStats

	Conns, Subscribed, Rooms, Members, Dirty int // now
}

// BusStats says what went over the bus.
type BusStats struct {
	Sent     int64 // payloads
	Failed   int64 // that the bus did not take
	Received int64
	Garbage  int64 // of them: nothing that a node says
	Missed   int64 // times that some may not have come
	Hints    int64 // in them: chats that have got further
	Useful   int64 // of them: of rooms here that had not got so far
	Looks    int64 // places that were looked up because somebody named them
	Entered  int64 // connections that were let into a chat by that

	Nodes int // now, this one among them
}

// Stats is for metrics.
func (h *Hub) Stats() Stats {
	c := &h.stats
	s := Stats{
		Published: c.published.Load(), Dropped: c.dropped.Load(), Filled: c.filled.Load(),
		Runs: c.runs.Load(), Events: c.events.Load(), Deliveries: c.deliveries.Load(), Refused: c.refused.Load(),
		Notices: c.notices.Load(), CatchUps: c.catchUps.Load(), CaughtUp: c.caughtUp.Load(), Gaps: c.gaps.Load(),
		Scans: c.scans.Load(), FoundBehind: c.foundBehind.Load(), FoundMissing: c.foundMissing.Load(),
		FoundEnded: c.foundEnded.Load(),
		Bus: BusStats{
			Sent: c.bus.sent.Load(), Failed: c.bus.failed.Load(),
			Received: c.bus.received.Load(), Garbage: c.bus.garbage.Load(), Missed: c.bus.missed.Load(),
			Hints: c.bus.hints.Load(), Useful: c.bus.useful.Load(), Looks: c.bus.looks.Load(), Entered: c.bus.entered.Load(),
			Nodes: h.Nodes(),
		},
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Conns, s.Subscribed = h.sessions.n, h.users.n
	s.Rooms, s.Members, s.Dirty = len(h.rooms), h.members, h.dirty
	return s
}

// spread is among how many goroutines a large room is split.
func spread(members int) int {
	const alone = 1000 // handed to by one
	return min(runtime.GOMAXPROCS(0), max(0, members-1)/alone+1)
}
