// Package limits says how much a client may ask for: the one place for the
// rates of all doors (docs/protocol.md#rates), and for how many connections an
// account may have.
//
// Each request is counted three times: against its connection, its user, and
// its address, by what the operation costs (api.Cost). Who asks for more than
// the rate has some requests at once, then is slowed down to twice the rate,
// and when that goes on is refused down to the rate. Waiting is the caller's
// business: nothing here blocks, and nothing of a client's is held meanwhile.
//
// How dear a Heavy one is, is known when it is done: one that takes much processor
// time counts for several (Spent), so that the rate is one of work. That is the
// time of a processor and not the clock's, or whoever asks a busy server would
// pay for what the others do.
//
// A connection's own counts are in its Client. Those of users and addresses are
// in a table of bounded size, see buckets.
package limits

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
)

// Key is what requests are counted by.
type Key uint8

const (
	Connection Key = iota
	User           // on all connections, and over HTTP
	Address        // of IPv6 the network, see network
	keys
)

// String is the key's name in metrics.
func (k Key) String() string { return [keys]string{"connection", "user", "address"}[k] }

// Rate is what may be asked for.
type Rate struct {
	PerSecond float64 // in the long run
	Burst     int     // at once, after a pause
}

// Rates has the rates of each key, by cost. What has none of its own is counted
// as api.Light.
type Rates [keys][api.Costs]Rate

// Defaults are the rates of a server that nobody told otherwise. Why they are
// what they are is in docs/operations.md#rates.
var Defaults = Rates{
	Connection: {api.Light: {50, 500}, api.Heavy: {10, 300}, api.Write: {20, 300}},
	User:       {api.Light: {150, 1500}, api.Heavy: {30, 900}, api.Write: {60, 900}},
	Address:    {api.Light: {1000, 10_000}, api.Heavy: {200, 6000}, api.Write: {400, 6000}},
}

const (
	// defaultSlack is for how long a client that asks as fast as it is let is
	// slowed down before it is refused.
	defaultSlack = 30 * time.Second
	// refusalWait is how long who is refused waits for the refusal: saying no at
	// the speed of a flood would be work, too.
	refusalWait = 250 * time.Millisecond
	// leastRetry keeps those who come back from coming back for each request.
	leastRetry = time.Second
	// perUser is how many live connections an account may have: some devices,
	// with some windows each, and those that died and are not known to be dead.
	perUser = 50
	// maxBuckets is how many users and addresses are counted, in about 8 MB.
	maxBuckets = 1 << 16
	// heavyTime is what a Heavy request may take; one that takes more counts once
	// more for each time as much.
	heavyTime = 5 * time.Millisecond
	// mostHeavy is how often one counts again at most: what a database that does
	// not come forward makes of one is not the client's fault.
	mostHeavy = 20
)

// Config is what can be set. Zero means the value in parentheses.
type Config struct {
	Rates       Rates         // (Defaults)
	Factor      float64       // for all rates and bursts (1)
	NoRates     bool          // whoever asks as often as they like
	Slack       time.Duration // (30 s)
	Connections int           // live ones of an account; below zero: any number (50)
	// Nodes is how many servers share their users, and Elsewhere how many live
	// connections an account has on the others (one server, and none).
	Nodes     func() int
	Elsewhere func(chat.UserID) int
	Buckets   int              // users and addresses that are counted (65,536)
	Now       func() time.Time // (time.Now)
}

// Limits counts requests and connections. Its methods may be called from any
// goroutine. A nil *Limits limits nothing.
type Limits struct {
	cfg   Config
	rates [keys][api.Costs]bound
	as    [api.Costs]api.Cost // what each cost is counted as
	start time.Time
	known *buckets

	delayed, refused [keys][api.Costs]atomic.Uint64

	mu      sync.Mutex
	live    map[chat.UserID]int // connections
	tooMany uint64              // connections refused
}

// bound is a Rate in times: each request is a debt of every, which passes.
type bound struct {
	every, free, most int64 // ns; most: beyond it a debt is refused
}

// New makes Limits.
func New(cfg Config) *Limits {
	if cfg.Rates == (Rates{}) {
		cfg.Rates = Defaults
	}
	if cfg.Factor == 0 {
		cfg.Factor = 1
	}
	if cfg.Slack == 0 {
		cfg.Slack = defaultSlack
	}
	if cfg.Connections == 0 {
		cfg.Connections = perUser
	}
	if cfg.Buckets == 0 {
		cfg.Buckets = maxBuckets
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Limits{cfg: cfg, start: cfg.Now(), known: newBuckets(cfg.Buckets), live: make(map[chat.UserID]int)}
	for c := range api.Instant {
		if cfg.Rates[Connection][c] != (Rate{}) {
			l.as[c] = c // else Light, as is Instant
		}
	}
	for k := range l.rates {
		for c := range l.rates[k] {
			r := cfg.Rates[k][l.as[c]]
			every := int64(float64(time.Second) / (r.PerSecond * cfg.Factor))
			free := int64(float64(r.Burst)*cfg.Factor+0.5) * every
			l.rates[k][c] = bound{every: every, free: free, most: free + int64(cfg.Slack)}
		}
	}
	return l
}

// now is a time that no setting of the clock moves.
func (l *Limits) now() int64 { return int64(l.cfg.Now().Sub(l.start)) }

// take adds a request to what is owed until due. If that would be too much it
// adds nothing and says by how much.
func (b bound) take(due *int64, now int64) (wait, over time.Duration) {
	then := max(*due, now) + b.every
	debt := then - now
	if debt > b.most {
		return 0, time.Duration(debt - b.most)
	}
	*due = then
	if debt > b.free {
		return time.Duration(b.every / 2), 0
	}
	return 0, 0
}

// owe adds n requests to what is owed until due. It has nobody refused for longer
// than they may be slowed down before: how dear requests are shows when many
// have been let through already, and who shares an address did not ask for them.
func (b bound) owe(due *int64, n, now int64) {
	slack := b.most - b.free
	*due = max(*due, min(max(*due, now)+n*b.every, now+b.most+slack))
}

// bound is what a user or an address may ask this server for: where there are
// several, its share of their rate, and as much as a connection may in any case.
// Whoever spreads over all of them has the whole.
func (l *Limits) bound(k Key, c api.Cost) bound {
	b := l.rates[k][c]
	if l.cfg.Nodes == nil {
		return b
	}
	own := l.rates[Connection][c]
	if n := int64(l.cfg.Nodes()); n > 1 && b.every < own.every {
		if b.every *= n; b.every >= own.every {
			return bound{own.every, max(b.free, own.free), max(b.most, own.most)}
		}
	}
	return b
}

// said counts what a key had to say, and makes it what a client hears.
func (l *Limits) said(k Key, c api.Cost, wait, over time.Duration) (time.Duration, *chat.Error) {
	if over > 0 {
		l.refused[k][c].Add(1)
		return refusalWait, &chat.Error{Code: chat.CodeRateLimited, Message: tooMany[k], RetryAfter: max(over, leastRetry)}
	}
	if wait > 0 {
		l.delayed[k][c].Add(1)
	}
	return wait, nil
}

var tooMany = [keys]string{
	Connection: "too many requests on this connection; wait a little and send this one again",
	User:       "too many requests from your account; wait a little and send this one again",
	Address:    "too many requests from your address; wait a little and send this one again",
}

// TakeAddress counts a request from an address: over HTTP, before it is known
// who asks. Of an address that is not known (the zero Addr) it allows anything:
// behind a proxy that is everybody. It is answered as by Client.Take.
func (l *Limits) TakeAddress(peer netip.Addr, c api.Cost) (wait time.Duration, err *chat.Error) {
	if l == nil || l.cfg.NoRates || !peer.IsValid() {
		return 0, nil
	}
	c = l.as[c]
	wait, over := l.known.take(network(peer), int(c), l.now(), l.bound(Address, c))
	return l.said(Address, c, wait, over)
}

// TakeUser counts a user's request over HTTP. It is answered as by Client.Take.
func (l *Limits) TakeUser(user chat.UserID, c api.Cost) (wait time.Duration, err *chat.Error) {
	if l == nil || l.cfg.NoRates || user == 0 {
		return 0, nil
	}
	c = l.as[c]
	wait, over := l.known.take(account(user), int(c), l.now(), l.bound(User, c))
	return l.said(User, c, wait, over)
}

// moreOf is for how many more requests a Heavy one counts that took so much.
func moreOf(took time.Duration) int64 { return int64(min(took/heavyTime, mostHeavy)) }

// Spent counts what a user's Heavy request over HTTP took, which was let through
// (see api.Caller.OnSpent). It refuses nothing: it is felt by the next one.
func (l *Limits) Spent(user chat.UserID, peer netip.Addr, took time.Duration) {
	if l == nil || l.cfg.NoRates {
		return
	}
	n, now, c := moreOf(took), l.now(), l.as[api.Heavy]
	if n > 0 && user != 0 {
		l.known.owe(account(user), int(c), n, now, l.bound(User, c))
	}
	if n > 0 && peer.IsValid() {
		l.known.owe(network(peer), int(c), n, now, l.bound(Address, c))
	}
}

// Client is what a connection has asked for. Its methods are for one goroutine
// at a time. The zero Client is limited by nothing.
type Client struct {
	limits *Limits
	peer   netip.Addr // zero: not known
	user   chat.UserID
	due    [api.Instant]int64 // of all below: Instant counts as Light
	more   uint8              // requests for which the last Heavy one counted more than once
}

// Client makes the Client of a connection from peer; the zero Addr is one that
// is not known. Close must be called when the connection is over.
func (l *Limits) Client(peer netip.Addr) Client {
	return Client{limits: l, peer: peer}
}

// Peer is the address it was made with.
func (c *Client) Peer() netip.Addr { return c.peer }

// Take counts a request before it is carried out. After wait, and not before,
// it is to be carried out or, if there is an error, answered with that:
// rate_limited, with the time after which it would be let through. A wait is
// short: half of what the rate allows it every, or a quarter of a second. Behind
// a Heavy request that counted more than once it is as much longer.
func (c *Client) Take(cost api.Cost) (wait time.Duration, err *chat.Error) {
	l := c.limits
	if l == nil || l.cfg.NoRates {
		return 0, nil
	}
	now, cost := l.now(), l.as[cost]
	own, user := l.rates[Connection][cost], l.bound(User, cost)
	wait, over := own.take(&c.due[cost], now)
	worst := Connection
	if over == 0 && c.user != 0 {
		w, o := l.known.take(account(c.user), int(cost), now, user)
		if over = o; w > wait || o > 0 {
			wait, worst = w, User
		}
		if over > 0 {
			c.due[cost] -= own.every
		}
	}
	if over == 0 && c.peer.IsValid() {
		w, o := l.known.take(network(c.peer), int(cost), now, l.bound(Address, cost))
		if over = o; w > wait || o > 0 {
			wait, worst = w, Address
		}
		if over > 0 {
			c.due[cost] -= own.every
			if c.user != 0 {
				l.known.giveBack(account(c.user), int(cost), user)
			}
		}
	}
	if cost == l.as[api.Heavy] && over == 0 {
		wait *= time.Duration(1 + c.more)
		c.more = 0
	}
	return l.said(worst, cost, wait, over)
}

// Spent counts what a Heavy request took that was let through (see
// api.Caller.OnSpent). It refuses nothing: it is felt by the next one.
func (c *Client) Spent(took time.Duration) {
	l := c.limits
	if l == nil || l.cfg.NoRates {
		return
	}
	n, now, cost := moreOf(took), l.now(), l.as[api.Heavy]
	if n == 0 {
		return
	}
	c.more = uint8(n)
	l.rates[Connection][cost].owe(&c.due[cost], n, now)
	l.Spent(c.user, c.peer, took)
}

// Login says whose connection it is from now on, unless they have too many
// already: then the error is rate_limited, and the connection should end with
// too_many_connections.
func (c *Client) Login(user chat.UserID) *chat.Error {
	l := c.limits
	if l == nil || c.user != 0 {
		return nil
	}
	elsewhere := 0
	if l.cfg.Elsewhere != nil {
		elsewhere = l.cfg.Elsewhere(user)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if all := l.live[user] + elsewhere; l.cfg.Connections > 0 && all >= l.cfg.Connections {
		l.tooMany++
		err := chat.Errorf(chat.CodeRateLimited, "this account has %d connections already; close some", all)
		err.RetryAfter = refusedLogin
		return err
	}
	l.live[user]++
	c.user = user
	return nil
}

// refusedLogin is how long who has too many connections should wait: that long
// it takes at least to find that a connection is dead.
const refusedLogin = time.Minute

// Close gives the connection's place among its account's back. It may be called
// more than once.
func (c *Client) Close() {
	l := c.limits
	if l == nil || c.user == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live[c.user]--; l.live[c.user] == 0 {
		delete(l.live, c.user)
	}
	c.user = 0
}
