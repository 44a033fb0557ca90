package limits

import "github.com/grima-chat/grima/internal/api"

// Stats is what Limits has done since it was made, and what it keeps.
type Stats struct {
	Rates     []RateStats // one for each key and cost
	Buckets   int         // users and addresses counted at this moment
	Forgotten uint64      // buckets that had to go while they still counted for something

	Users   int    // with live connections
	TooMany uint64 // connections refused because their account had enough
}

// RateStats is how often a rate was exceeded.
type RateStats struct {
	Key              Key
	Cost             api.Cost
	Delayed, Refused uint64 // requests
}

// Stats gives a snapshot. It is cheap enough to be asked once a second.
func (l *Limits) Stats() Stats {
	var s Stats
	if l == nil {
		return s
	}
	for k := range keys {
		for c := range api.Costs {
			s.Rates = append(s.Rates, RateStats{k, c, l.delayed[k][c].Load(), l.refused[k][c].Load()})
		}
	}
	for i := range l.known.shards {
		sh := &l.known.shards[i]
		sh.mu.Lock()
		s.Buckets += len(sh.all)
		s.Forgotten += sh.forgotten
		sh.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Users, s.TooMany = len(l.live), l.tooMany
	return s
}
