package limits

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
)

// clock is a time that stands still until it is moved.
type clock struct{ now time.Time }

func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }

func newClock() *clock { return &clock{time.Date(2026, 9, 20, 10, 0, 0, 0, time.UTC)} }

func (c *clock) limits(cfg Config) *Limits {
	cfg.Now = func() time.Time { return c.now }
	return New(cfg)
}

func all(r Rate) (rates [api.Costs]Rate) {
	for i := range rates {
		rates[i] = r
	}
	return rates
}

var plenty = all(Rate{1e6, 1e6})

// client is one who asks again as soon as they have got their answer, and whose
// answers take no time.
type client struct {
	*testing.T
	*clock
	take func() (time.Duration, *chat.Error)
}

// ask makes n requests and says what became of them.
func (c client) ask(n int) (slowed, refused int, took time.Duration) {
	c.Helper()
	began := c.now
	for range n {
		wait, err := c.take()
		if wait > refusalWait {
			c.Fatalf("a wait of %v", wait)
		}
		if err != nil {
			if err.Code != chat.CodeRateLimited || err.RetryAfter < leastRetry {
				c.Fatalf("refused with %v, after %v", err, err.RetryAfter)
			}
			refused++
		} else if wait > 0 {
			slowed++
		}
		c.pass(wait)
	}
	return slowed, refused, c.now.Sub(began)
}

func (c client) want(n, slowed, refused int) (took time.Duration) {
	c.Helper()
	s, r, took := c.ask(n)
	if s != slowed || r != refused {
		c.Fatalf("of %d requests %d were slowed and %d refused, want %d and %d", n, s, r, slowed, refused)
	}
	return took
}

func onConnection(t *testing.T, r Rate) client {
	clock := newClock()
	l := clock.limits(Config{Rates: Rates{Connection: all(r), User: plenty, Address: plenty}})
	conn := l.Client(netip.MustParseAddr("192.0.2.1"))
	t.Cleanup(conn.Close)
	return client{t, clock, func() (time.Duration, *chat.Error) { return conn.Take(api.Write) }}
}

// Ten a second, and fifty at once: the first fifty at once, then at twenty a
// second for thirty seconds, and from then on at ten.
func TestSlowedAndThenRefused(t *testing.T) {
	c := onConnection(t, Rate{10, 50})
	if took := c.want(50, 0, 0); took != 0 {
		t.Errorf("the burst took %v", took)
	}
	if took := c.want(599, 599, 0); took.Round(time.Second) != 30*time.Second {
		t.Errorf("599 slowed ones took %v", took)
	}
	slowed, refused, took := c.ask(1000)
	if refused == 0 || slowed == 0 {
		t.Fatalf("then %d were slowed and %d refused", slowed, refused)
	}
	if rate := float64(slowed) / took.Seconds(); math.Abs(rate-10) > 0.5 {
		t.Errorf("a flood comes through at %.1f a second", rate)
	}
}

func TestRetryWhenToldSucceeds(t *testing.T) {
	c := onConnection(t, Rate{10, 50})
	c.want(649, 599, 0)
	for {
		_, err := c.take()
		if err == nil {
			continue
		}
		c.pass(err.RetryAfter)
		if _, err := c.take(); err != nil {
			t.Errorf("after the time that was named: %v", err)
		}
		return
	}
}

func TestPauseGivesTheBurstBack(t *testing.T) {
	c := onConnection(t, Rate{10, 50})
	c.want(649, 599, 0)
	c.pass(time.Minute)
	c.want(50, 0, 0)
	c.want(1, 1, 0)
}

// What a rate allows for ever is not slowed, ever.
func TestSteadyClientNoticesNothing(t *testing.T) {
	c := onConnection(t, Rate{20, 1})
	for range 100_000 {
		c.want(1, 0, 0)
		c.pass(50 * time.Millisecond)
	}
}

// A catch-up after a night must not be noticed: 300 pages at once, while
// somebody types.
func TestDefaultsLetEverydayLifeBe(t *testing.T) {
	clock := newClock()
	l := clock.limits(Config{})
	home := netip.MustParseAddr("192.0.2.1")
	for device := range 3 {
		conn := l.Client(home)
		if err := conn.Login(1); err != nil {
			t.Fatal(err)
		}
		at := func(cost api.Cost) client {
			return client{t, clock, func() (time.Duration, *chat.Error) { return conn.Take(cost) }}
		}
		at(api.Write).want(1, 0, 0)
		at(api.Heavy).want(300, 0, 0)
		at(api.Light).want(500, 0, 0)
		at(api.Write).want(100, 0, 0)
		if device == 2 {
			break // live with what the others asked for just now
		}
	}
	// A school: 1,000 people behind one address come back in one minute.
	school := netip.MustParseAddr("198.51.100.1")
	for user := range 1000 {
		conn := l.Client(school)
		if wait, err := conn.Take(api.Write); wait > 0 || err != nil {
			t.Fatalf("login of %d: %v %v", user, wait, err)
		}
		if err := conn.Login(chat.UserID(100 + user)); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if wait, err := conn.Take(api.Heavy); wait > 0 || err != nil {
				t.Fatalf("page of %d: %v %v", user, wait, err)
			}
		}
		clock.pass(60 * time.Millisecond)
	}
	for _, r := range l.Stats().Rates {
		if r.Delayed+r.Refused > 0 {
			t.Errorf("%+v", r)
		}
	}
}

// Of three keys the strictest counts, and a refusal by one takes nothing from
// the others.
func TestEachKeyCounts(t *testing.T) {
	one, many := all(Rate{1, 2}), all(Rate{10, 100})
	for _, tt := range []struct {
		by    Key
		rates Rates
	}{
		{Connection, Rates{one, many, many}},
		{User, Rates{many, one, many}},
		{Address, Rates{many, many, one}},
	} {
		clock := newClock()
		l := clock.limits(Config{Rates: tt.rates, Slack: time.Second})
		conn := l.Client(netip.MustParseAddr("192.0.2.1"))
		if err := conn.Login(7); err != nil {
			t.Fatal(err)
		}
		other := l.Client(netip.MustParseAddr("192.0.2.1"))
		if err := other.Login(7); err != nil {
			t.Fatal(err)
		}
		take := func(c *Client, slowed, refused bool) {
			t.Helper()
			wait, err := c.Take(api.Light)
			if (wait > 0) != slowed || (err != nil) != refused {
				t.Fatalf("by %v: %v, %v", tt.by, wait, err)
			}
		}
		take(&conn, false, false)
		take(&conn, false, false)
		take(&conn, true, false)
		for range 1000 {
			take(&conn, true, true)
		}
		// Another connection of theirs shares all but the connection's own.
		shares := tt.by != Connection
		take(&other, shares, shares)
		clock.pass(time.Second)
		take(&conn, true, false)
		for _, r := range l.Stats().Rates {
			if strict := r.Key == tt.by && r.Cost == api.Light; strict != (r.Refused > 0) || strict != (r.Delayed > 0) {
				t.Errorf("by %v: %+v", tt.by, r)
			}
		}
		// One cost's debts are not another's.
		if wait, err := conn.Take(api.Write); wait > 0 || err != nil {
			t.Errorf("by %v, another cost: %v, %v", tt.by, wait, err)
		}
	}
}

// A neighbour at another address, or of another account at the same one, does
// not notice a flood.
func TestNeighbours(t *testing.T) {
	clock := newClock()
	l := clock.limits(Config{})
	home := netip.MustParseAddr("192.0.2.1")
	flooder := l.Client(home)
	if err := flooder.Login(1); err != nil {
		t.Fatal(err)
	}
	client{t, clock, func() (time.Duration, *chat.Error) { return flooder.Take(api.Write) }}.ask(5000)
	for i, from := range []netip.Addr{home, netip.MustParseAddr("192.0.2.2"), {}} {
		c := l.Client(from)
		if err := c.Login(chat.UserID(2 + i)); err != nil {
			t.Fatal(err)
		}
		if wait, err := c.Take(api.Write); wait > 0 || err != nil {
			t.Errorf("from %v: %v, %v", from, wait, err)
		}
	}
}

func TestAddressesAreNetworks(t *testing.T) {
	for _, pair := range [][2]string{{"2001:db8::1", "2001:db8::2"}, {"::ffff:192.0.2.1", "192.0.2.1"}, {"fe80::1%eth0", "fe80::1%eth1"}} {
		if a, b := network(netip.MustParseAddr(pair[0])), network(netip.MustParseAddr(pair[1])); a != b {
			t.Errorf("%s and %s count apart", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]string{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8:0:1::1"}, {"0.0.0.1", "::1"}} {
		if a, b := network(netip.MustParseAddr(pair[0])), network(netip.MustParseAddr(pair[1])); a == b {
			t.Errorf("%s and %s count as one", pair[0], pair[1])
		}
	}
	if account(1) == network(netip.MustParseAddr("0.0.0.1")) {
		t.Error("a user and an address count as one")
	}
}

// Behind a proxy addresses are not known; then there is one client, and it is
// everybody.
func TestUnknownAddressesAreNotCounted(t *testing.T) {
	l := newClock().limits(Config{Rates: Rates{plenty, plenty, all(Rate{1, 1})}, Slack: 1})
	for range 100 {
		c := l.Client(netip.Addr{})
		if _, err := c.Take(api.Light); err != nil {
			t.Fatal(err)
		}
		if _, err := l.TakeAddress(netip.Addr{}, api.Light); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoLimits(t *testing.T) {
	for name, l := range map[string]*Limits{"none": nil, "no rates": New(Config{NoRates: true, Rates: Rates{all(Rate{1, 1}), all(Rate{1, 1}), all(Rate{1, 1})}})} {
		home := netip.MustParseAddr("192.0.2.1")
		c := l.Client(home)
		if err := c.Login(1); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			wait, err := c.Take(api.Write)
			wait2, err2 := l.TakeAddress(home, api.Write)
			wait3, err3 := l.TakeUser(1, api.Write)
			if wait+wait2+wait3 > 0 || err != nil || err2 != nil || err3 != nil {
				t.Fatalf("%s: limited", name)
			}
		}
		c.Close()
		if s := l.Stats(); s.Users != 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// What takes much counts for several: the rate is one of work. Each of these
// takes three times what one may, and so counts for four.
func TestWorkIsCounted(t *testing.T) {
	clock := newClock()
	l := clock.limits(Config{Rates: Rates{Connection: all(Rate{10, 40}), User: plenty, Address: plenty}})
	conn := l.Client(netip.MustParseAddr("192.0.2.1"))
	c := client{t, clock, func() (time.Duration, *chat.Error) {
		wait, err := conn.Take(api.Heavy)
		if err == nil {
			conn.Spent(3*heavyTime + time.Millisecond)
		}
		return min(wait, refusalWait), err
	}}
	if took := c.want(10, 0, 0); took != 0 {
		t.Errorf("the burst took %v", took)
	}
	wait, err := conn.Take(api.Heavy)
	if err != nil || wait != 4*50*time.Millisecond {
		t.Errorf("then a wait of %v, %v: not as if each were four", wait, err)
	}
	// Nothing else feels it.
	for _, cost := range []api.Cost{api.Light, api.Write} {
		if wait, err := conn.Take(cost); wait > 0 || err != nil {
			t.Errorf("%v: %v, %v", cost, wait, err)
		}
	}
	// In the long run so much work comes through, and no more.
	slowed, refused, took := c.ask(2000)
	if rate := float64(4*slowed) / took.Seconds(); refused == 0 || rate < 9 || rate > 12 {
		t.Errorf("a flood comes through at %.1f a second; %d were refused", rate, refused)
	}
}

// What is asked over HTTP, and on other connections, is the user's and the
// address's work, too; and of one request there is a limit to what counts.
func TestWorkIsCountedForAll(t *testing.T) {
	home := netip.MustParseAddr("192.0.2.1")
	for by, rates := range map[Key]Rates{
		User:    {Connection: plenty, User: all(Rate{1, 1 + mostHeavy}), Address: plenty},
		Address: {Connection: plenty, User: plenty, Address: all(Rate{1, 1 + mostHeavy})},
	} {
		clock := newClock()
		l := clock.limits(Config{Rates: rates})
		conn := l.Client(home)
		if err := conn.Login(7); err != nil {
			t.Fatal(err)
		}
		take := func(slowed bool) {
			t.Helper()
			w1, err1 := l.TakeAddress(home, api.Heavy)
			w2, err2 := l.TakeUser(7, api.Heavy)
			if (w1+w2 > 0) != slowed || err1 != nil || err2 != nil {
				t.Fatalf("by %v: %v %v, %v %v", by, w1, w2, err1, err2)
			}
		}
		take(false)
		l.Spent(7, home, time.Hour)
		take(true)
		clock.pass(time.Hour)
		take(false)
		conn.Spent(time.Hour)
		take(true)
		clock.pass(time.Hour)
		take(false)
		conn.Spent(heavyTime - 1)
		take(false)
	}
	for name, l := range map[string]*Limits{"none": nil, "no rates": New(Config{NoRates: true})} {
		c := l.Client(home)
		c.Spent(time.Hour)
		l.Spent(7, home, time.Hour)
		if wait, err := c.Take(api.Heavy); wait > 0 || err != nil {
			t.Errorf("%s: %v, %v", name, wait, err)
		}
	}
}

// What somebody has under way at once is let through before anybody knows how dear
// it is. Others at their address wait for that no longer than for a flood: with
// three servers it was two minutes, for one account's burst over HTTP.
func TestOneBurstDoesNotShutAnAddressOut(t *testing.T) {
	school := netip.MustParseAddr("192.0.2.1")
	for _, nodes := range []int{1, 3} {
		clock := newClock()
		l := clock.limits(Config{Nodes: func() int { return nodes }})
		burst := 0
		for ; burst < 1000; burst++ {
			if _, err := l.TakeAddress(school, api.Heavy); err != nil {
				break
			}
			if _, err := l.TakeUser(1, api.Heavy); err != nil {
				break
			}
		}
		for range burst {
			l.Spent(1, school, time.Second)
		}
		pupil := l.Client(school)
		if err := pupil.Login(2); err != nil {
			t.Fatal(err)
		}
		_, err := pupil.Take(api.Heavy)
		if err == nil {
			t.Fatalf("%d servers: a burst of %d is let through, and nobody feels it", nodes, burst)
		}
		if err.RetryAfter > defaultSlack+time.Second {
			t.Errorf("%d servers: others are to wait for %v after a burst of %d", nodes, err.RetryAfter, burst)
		}
		clock.pass(err.RetryAfter)
		if _, err := pupil.Take(api.Heavy); err != nil {
			t.Errorf("%d servers: %v after the time it said", nodes, err)
		}
	}
}

// A cost that nobody gave a rate is as good as light, rather than free.
func TestCostWithoutRate(t *testing.T) {
	clock := newClock()
	rates := Defaults
	for k := range rates {
		rates[k][api.Write] = Rate{}
	}
	l := clock.limits(Config{Rates: rates})
	conn := l.Client(netip.MustParseAddr("192.0.2.1"))
	c := client{t, clock, func() (time.Duration, *chat.Error) { return conn.Take(api.Write) }}
	c.want(500, 0, 0)
	c.want(1, 1, 0)
	if wait, _ := conn.Take(api.Light); wait == 0 {
		t.Error("counted apart from light ones")
	}
}

func TestFactor(t *testing.T) {
	clock := newClock()
	l := clock.limits(Config{Factor: 2, Rates: Rates{all(Rate{10, 50}), plenty, plenty}})
	conn := l.Client(netip.Addr{})
	c := client{t, clock, func() (time.Duration, *chat.Error) { return conn.Take(api.Heavy) }}
	c.want(100, 0, 0)
	if took := c.want(1199, 1199, 0); took.Round(time.Second) != 30*time.Second {
		t.Errorf("the slowed ones took %v", took)
	}
}

func TestConnectionsOfAnAccount(t *testing.T) {
	l := New(Config{Connections: 2})
	enter := func(user chat.UserID, ok bool) *Client {
		t.Helper()
		c := l.Client(netip.Addr{})
		if err := c.Login(user); (err == nil) != ok {
			t.Fatalf("user %d: %v", user, err)
		}
		return &c
	}
	first, second := enter(1, true), enter(1, true)
	enter(1, false).Close() // gives no place back that it has not got
	enter(1, false)
	other := enter(2, true)
	first.Close()
	first.Close()
	third := enter(1, true)
	enter(1, false)
	if s := l.Stats(); s.Users != 2 || s.TooMany != 3 {
		t.Errorf("%+v", s)
	}
	for _, c := range []*Client{second, third, other} {
		c.Close()
	}
	if len(l.live) != 0 {
		t.Errorf("left behind: %v", l.live)
	}
}

// Of several servers each gives users and addresses their share, but not less
// than a connection may have, and counts an account's connections everywhere.
func TestSeveralServers(t *testing.T) {
	clock, nodes, elsewhere := newClock(), 1, 0
	rates := Rates{Connection: all(Rate{10, 10}), User: all(Rate{30, 30}), Address: all(Rate{120, 120})}
	l := clock.limits(Config{
		Rates: rates, Slack: time.Nanosecond, Connections: 3,
		Nodes: func() int { return nodes }, Elsewhere: func(chat.UserID) int { return elsewhere },
	})
	addr := netip.MustParseAddr("192.0.2.1")
	// count is what is let through at once, after a long pause.
	count := func(take func() (time.Duration, *chat.Error)) (n int) {
		clock.pass(time.Hour)
		for {
			if _, err := take(); err != nil {
				return n
			}
			n++
		}
	}
	for _, c := range []struct{ nodes, user, address int }{{1, 30, 120}, {2, 15, 60}, {3, 10, 40}, {12, 10, 10}, {100, 10, 10}} {
		nodes = c.nodes
		if got := count(func() (time.Duration, *chat.Error) { return l.TakeUser(1, api.Write) }); got != c.user {
			t.Errorf("%d servers: %d of a user's, want %d", nodes, got, c.user)
		}
		if got := count(func() (time.Duration, *chat.Error) { return l.TakeAddress(addr, api.Write) }); got != c.address {
			t.Errorf("%d servers: %d of an address's, want %d", nodes, got, c.address)
		}
		one := l.Client(addr)
		if err := one.Login(2); err != nil {
			t.Fatal(err)
		}
		if got := count(func() (time.Duration, *chat.Error) { return one.Take(api.Write) }); got != 10 {
			t.Errorf("%d servers: %d of a connection's", nodes, got)
		}
		one.Close()
	}
	elsewhere = 2
	a, b := l.Client(addr), l.Client(addr)
	if err := a.Login(1); err != nil {
		t.Error(err)
	}
	if err := b.Login(1); err == nil || err.Code != chat.CodeRateLimited {
		t.Errorf("a fourth connection: %v", err)
	}
	elsewhere = 0
	if err := b.Login(1); err != nil {
		t.Error(err)
	}
	a.Close()
	b.Close()
}
