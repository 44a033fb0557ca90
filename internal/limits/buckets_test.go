package limits

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
)

// nth is an IPv6 network of its own.
func nth(n int) netip.Addr {
	b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	b[4], b[5], b[6], b[7] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	return netip.AddrFrom16(b)
}

// Whoever has an IPv6 network can come from more addresses than there is memory
// for.
func TestFloodOfAddressesIsBounded(t *testing.T) {
	clock := newClock()
	const most = 1 << 10
	l := clock.limits(Config{Buckets: most})
	for n := range 100 * most {
		if _, err := l.TakeAddress(nth(n), api.Write); err != nil {
			t.Fatal(err)
		}
	}
	if s := l.Stats(); s.Buckets > most || s.Forgotten == 0 {
		t.Errorf("after %d addresses: %+v", 100*most, s)
	}
	for i := range l.known.shards {
		if s := &l.known.shards[i]; len(s.index) != len(s.all) {
			t.Errorf("shard %d: %d keys for %d buckets", i, len(s.index), len(s.all))
		}
	}
}

// Somebody who is refused floods us with other addresses, so that theirs may be
// forgotten: it is not.
func TestFloodDoesNotFreeWhoIsRefused(t *testing.T) {
	for _, each := range []int{1, 50} { // requests of each of the other addresses
		clock := newClock()
		const most = 1 << 10
		l := clock.limits(Config{Buckets: most})
		offender := netip.MustParseAddr("192.0.2.66")
		user := chat.UserID(66)
		refused := func() bool {
			_, byAddress := l.TakeAddress(offender, api.Write)
			_, byUser := l.TakeUser(user, api.Write)
			return byAddress != nil && byUser != nil
		}
		for !refused() {
		}
		for n := range 10 * most {
			for range each {
				if _, err := l.TakeAddress(nth(n), api.Write); err != nil {
					t.Fatal(err)
				}
			}
			if n%97 == 0 && !refused() {
				t.Fatalf("after %d addresses with %d requests each the offender is free", n, each)
			}
		}
	}
}

// What was needed during a flood is not kept for ever.
func TestSettledBucketsAreForgotten(t *testing.T) {
	clock := newClock()
	l := clock.limits(Config{})
	for n := range 10_000 {
		if _, err := l.TakeAddress(nth(n), api.Light); err != nil {
			t.Fatal(err)
		}
	}
	if s := l.Stats(); s.Buckets != 10_000 {
		t.Fatalf("%+v", s)
	}
	clock.pass(time.Minute)
	for n := range 11_000 {
		if _, err := l.TakeAddress(nth(20_000+n), api.Light); err != nil {
			t.Fatal(err)
		}
		clock.pass(time.Millisecond)
	}
	if s := l.Stats(); s.Buckets > 1000 || s.Forgotten != 0 {
		t.Errorf("a minute later: %+v", s)
	}
}

func TestManyAtOnce(t *testing.T) {
	const people, each = 8, 500
	l := New(Config{Buckets: 64, Rates: Rates{plenty, plenty, plenty}})
	var all sync.WaitGroup
	for p := range people {
		all.Go(func() {
			for n := range each {
				c := l.Client(nth(p*each + n))
				if err := c.Login(chat.UserID(1 + n%4)); err == nil {
					_, _ = c.Take(api.Cost(n % int(api.Costs)))
				}
				l.Stats()
				c.Close()
			}
		})
	}
	all.Wait()
	if len(l.live) != 0 {
		t.Errorf("left behind: %v", l.live)
	}
}

func BenchmarkTake(b *testing.B) {
	l := New(Config{})
	b.RunParallel(func(pb *testing.PB) {
		c := l.Client(netip.MustParseAddr("192.0.2.1"))
		_ = c.Login(1)
		defer c.Close()
		for pb.Next() {
			_, _ = c.Take(api.Light)
		}
	})
}
