package chat

import (
	"net/netip"
	"strconv"
	"testing"
	"time"
)

// However many buckets strangers make up, no more than so many are kept, and
// those that matter longest.
func TestThrottleIsBounded(t *testing.T) {
	const most = 100
	th := newThrottle(most)
	r := &rate{burst: 3, every: time.Minute}
	now := time.Date(2026, 9, 20, 10, 0, 0, 0, time.UTC)
	guilty := bucket{rate: r, account: "guilty"}
	for range 3 {
		if wait := th.take(now, guilty); wait != 0 {
			t.Fatalf("wait %v", wait)
		}
	}
	for i := range 100 * most {
		th.take(now, bucket{rate: r, account: strconv.Itoa(i)})
		if len(th.full) > most {
			t.Fatalf("%d buckets", len(th.full))
		}
	}
	if wait := th.take(now, guilty); wait != time.Minute {
		t.Errorf("wait %v", wait)
	}
	if wait := th.take(now.Add(time.Minute), guilty); wait != 0 {
		t.Errorf("wait %v after a minute", wait)
	}
	th.giveBack(guilty)
	if wait := th.take(now.Add(time.Minute), guilty); wait != 0 {
		t.Errorf("wait %v for what was given back", wait)
	}
}

func TestPeerPrefix(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32",
		"2001:db8:1:2:3::4": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64", "::1": "::/64",
	} {
		if got := peerPrefix(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("%s counts as %s, want %s", in, got, want)
		}
	}
	if got := peerPrefix(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("nowhere counts as %s", got)
	}
}
