package chat

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// What strangers may try in a row, and how fast they get tries back. A
// success gives its try back, so only failures count.
var (
	// From one address, whoever they claim to be. Of logins from addresses that
	// are not known this and the next only slow down.
	ratePeer = rate{burst: 30, every: 10 * time.Second}
	// At one account from one address.
	rateAccountPeer = rate{burst: 10, every: 30 * time.Second}
	// At one account from anywhere. Beyond it a try is only slowed down, by
	// loginDelay: refusing would let strangers lock somebody out.
	rateAccount = rate{burst: 50, every: 30 * time.Second}
	// New accounts without an invite, and tries at invites, from one address.
	rateRegister = rate{burst: 60, every: 30 * time.Second}
	// Tries at one's own current password.
	rateCurrent = rate{burst: 10, every: 30 * time.Second}
)

const (
	loginDelay = 2 * time.Second
	maxBuckets = 1 << 16 // about 10 MB
)

// rate is a bucket of burst tries that gets one back per every.
type rate struct {
	burst int
	every time.Duration
}

// bucket names a bucket.
type bucket struct {
	rate    *rate
	account string // canonical, so of bounded length
	peer    netip.Prefix
}

// throttle counts tries in a bounded number of buckets.
type throttle struct {
	most int

	mu sync.Mutex
	// full says when each bucket will have all its tries again; a bucket that
	// is not there has them.
	full map[bucket]time.Time
}

func newThrottle(most int) *throttle { return &throttle{most: most, full: make(map[bucket]time.Time)} }

// take takes a try at now. When there is none left it takes nothing and says
// how long until there is.
func (t *throttle) take(now time.Time, b bucket) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	full, there := t.full[b]
	if full.Before(now) {
		full = now
	}
	full = full.Add(b.rate.every)
	if wait := full.Sub(now) - time.Duration(b.rate.burst)*b.rate.every; wait > 0 {
		return wait
	}
	if !there && len(t.full) >= t.most {
		t.evictLocked()
	}
	t.full[b] = full
	return 0
}

// giveBack undoes a take.
func (t *throttle) giveBack(b bucket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if full, there := t.full[b]; there {
		t.full[b] = full.Add(-b.rate.every)
	}
}

// evictLocked makes room for a bucket by forgetting the fullest of a few. The
// order of a map is random, so that nobody chooses which.
func (t *throttle) evictLocked() {
	const look = 16
	var (
		victim bucket
		first  time.Time
		seen   int
	)
	for b, full := range t.full {
		if seen == 0 || full.Before(first) {
			victim, first = b, full
		}
		if seen++; seen == look {
			break
		}
	}
	delete(t.full, victim)
}

// peerPrefix is what of a peer's address counts: all of IPv4, of IPv6 the
// network, within which one customer has all addresses.
func peerPrefix(peer netip.Addr) netip.Prefix {
	peer = peer.Unmap().WithZone("")
	bits := 32
	if peer.Is6() {
		bits = 64
	}
	p, err := peer.Prefix(bits)
	if err != nil { // the zero Addr: not known
		return netip.Prefix{}
	}
	return p
}

// try takes a try from each bucket, or none and says rate_limited. forgive
// gives them back.
func (s *Service) try(what string, buckets ...bucket) (forgive func(), err error) {
	if s.rates == nil {
		return func() {}, nil
	}
	now := s.cfg.Now()
	for i, b := range buckets {
		if wait := s.rates.take(now, b); wait > 0 {
			for _, b := range buckets[:i] {
				s.rates.giveBack(b)
			}
			e := Errorf(CodeRateLimited, "too many %s; wait %s and try again", what, wait.Round(time.Second)+time.Second)
			e.RetryAfter = wait
			return nil, e
		}
	}
	return func() {
		for _, b := range buckets {
			s.rates.giveBack(b)
		}
	}, nil
}

// tryLogin is try for a login of account's (canonical, or empty when the name
// cannot be one) from peer. From a peer that is not known (the zero Addr) it
// refuses nothing and only slows down: behind a proxy that may be everybody,
// and one stranger would lock them all out.
func (s *Service) tryLogin(ctx context.Context, account string, peer netip.Addr) (forgive func(), err error) {
	if s.rates == nil {
		return func() {}, nil
	}
	from := peerPrefix(peer)
	back := func() {}
	slowed := []bucket{{rate: &rateAccount, account: account}}
	all := []bucket{{rate: &ratePeer, peer: from}, {rate: &rateAccountPeer, account: account, peer: from}}
	if peer.IsValid() {
		if back, err = s.try("failed logins", all...); err != nil {
			return nil, err
		}
	} else {
		slowed = append(slowed, all...)
	}
	var taken []bucket
	for _, b := range slowed {
		if s.rates.take(s.cfg.Now(), b) == 0 {
			taken = append(taken, b)
		}
	}
	forgive = func() {
		back()
		for _, b := range taken {
			s.rates.giveBack(b)
		}
	}
	if len(taken) == len(slowed) {
		return forgive, nil
	}
	timer := time.NewTimer(loginDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return forgive, nil
	case <-ctx.Done():
		return nil, failed("waiting after failed logins", ctx.Err())
	}
}
