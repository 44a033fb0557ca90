package limits

import (
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
)

// bucketKey is a user or a network, without a pointer for the garbage collector
// to follow.
type bucketKey struct {
	id   uint64
	kind uint8
}

const (
	kindUser uint8 = 1 + iota
	kindIPv4
	kindIPv6
)

func account(user chat.UserID) bucketKey { return bucketKey{uint64(user), kindUser} }

// network is what of an address counts: all of IPv4, of IPv6 the /64, within
// which one customer has all addresses.
func network(a netip.Addr) bucketKey {
	a = a.Unmap()
	b := a.As16()
	if a.Is4() {
		return bucketKey{uint64(b[12])<<24 | uint64(b[13])<<16 | uint64(b[14])<<8 | uint64(b[15]), kindIPv4}
	}
	var id uint64
	for _, x := range b[:8] {
		id = id<<8 | uint64(x)
	}
	return bucketKey{id, kindIPv6}
}

// buckets counts for a bounded number of keys. A key that is not there owes
// nothing, so that those whose debts have passed can be forgotten without
// anybody noticing. When there are too many all the same, one that owes little
// has to go: who floods us with addresses that ask for little each pushes out
// others of that kind, and nobody who owes more. To push out somebody who is
// refused, each of these many addresses would have to be nearly as busy.
//
// They are in shards, each with its lock; nobody chooses which.
type buckets struct {
	seed   maphash.Seed
	shards [16]shard
}

type shard struct {
	most int

	mu        sync.Mutex
	index     map[bucketKey]int32 // into all
	all       []bucket
	hand      int    // where the next look for settled ones begins
	forgotten uint64 // that still owed something
}

type bucket struct {
	key bucketKey
	due [api.Costs]int64 // ns; up to when what was asked for is a debt
}

// owes is until when the bucket counts for anything.
func (b *bucket) owes() int64 {
	most := b.due[0]
	for _, d := range b.due[1:] {
		most = max(most, d)
	}
	return most
}

func newBuckets(most int) *buckets {
	b := &buckets{seed: maphash.MakeSeed()}
	for i := range b.shards {
		b.shards[i].most = max(1, most/len(b.shards))
		b.shards[i].index = make(map[bucketKey]int32)
	}
	return b
}

func (b *buckets) shard(k bucketKey) *shard {
	return &b.shards[maphash.Comparable(b.seed, k)%uint64(len(b.shards))]
}

// take is bound.take for a key.
func (b *buckets) take(k bucketKey, cost int, now int64, r bound) (wait, over time.Duration) {
	s := b.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, there := s.index[k]
	if !there {
		i = s.addLocked(k, now)
	}
	return r.take(&s.all[i].due[cost], now)
}

// owe is bound.owe for a key; one that was forgotten meanwhile owes nothing.
func (b *buckets) owe(k bucketKey, cost int, n, now int64, r bound) {
	s := b.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, there := s.index[k]; there {
		r.owe(&s.all[i].due[cost], n, now)
	}
}

// giveBack undoes a take.
func (b *buckets) giveBack(k bucketKey, cost int, r bound) {
	s := b.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, there := s.index[k]; there {
		s.all[i].due[cost] -= r.every
	}
}

func (s *shard) addLocked(k bucketKey, now int64) int32 {
	// Two steps of the hand for each newcomer: what was needed once does not
	// stay for ever.
	for range 2 {
		if len(s.all) == 0 {
			break
		}
		s.hand %= len(s.all)
		if s.all[s.hand].owes() <= now {
			s.dropLocked(s.hand)
		} else {
			s.hand++
		}
	}
	if len(s.all) >= s.most {
		i := s.leastLocked()
		if s.all[i].owes() > now {
			s.forgotten++
		}
		s.dropLocked(i)
	}
	i := int32(len(s.all))
	s.all = append(s.all, bucket{key: k})
	s.index[k] = i
	return i
}

// leastLocked is the one that owes least of a few.
func (s *shard) leastLocked() int {
	const look = 8
	least := rand.IntN(len(s.all))
	for range look - 1 {
		if i := rand.IntN(len(s.all)); s.all[i].owes() < s.all[least].owes() {
			least = i
		}
	}
	return least
}

func (s *shard) dropLocked(i int) {
	last := len(s.all) - 1
	delete(s.index, s.all[i].key)
	if i != last {
		s.all[i] = s.all[last]
		s.index[s.all[i].key] = int32(i)
	}
	s.all = s.all[:last]
}
