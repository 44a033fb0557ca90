// Package fakebus is a hub.Bus in this process, for tests, that does everything
// to its payloads that a bus may. It does not import hub, whose own tests use
// it.
package fakebus

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
)

// Faults say what a Net does to payloads, each to so many of a hundred.
type Faults struct {
	Lose, Double, Hold int // Hold: keep until later ones have gone
}

// Net ties buses together in this process. What is published is heard before
// Publish returns, unless something befalls it.
type Net struct {
	mu      sync.Mutex
	rng     *rand.Rand
	faults  Faults
	members []*Port
	late    []parcel
}

type parcel struct {
	from    *Port
	kind    string
	payload []byte
}

// NewNet makes a Net that is as bad as faults say.
func NewNet(seed uint64, faults Faults) *Net {
	return &Net{rng: rand.New(rand.NewPCG(seed, 99)), faults: faults}
}

// Port is a node's hub.Bus.
type Port struct {
	net *Net

	// Guarded by net.mu.
	kinds   []string
	receive func(string, []byte)
	missed  func()
	cut     bool
}

// Join gives one more node its Bus.
func (n *Net) Join() *Port {
	p := &Port{net: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.members = append(n.members, p)
	return p
}

// SetFaults makes the Net better or worse.
func (n *Net) SetFaults(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// Subscribe implements hub.Bus.
func (p *Port) Subscribe(kinds []string, receive func(string, []byte), missed func()) error {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	p.kinds, p.receive, p.missed = kinds, receive, missed
	return nil
}

// errCut is that of who has no connection.
var errCut = errors.New("cut off from the others")

// Publish implements hub.Bus.
func (p *Port) Publish(kind string, payload []byte) error {
	n := p.net
	n.mu.Lock()
	if p.cut {
		n.mu.Unlock()
		return errCut
	}
	now := n.befallLocked(parcel{p, kind, bytes.Clone(payload)})
	n.mu.Unlock()
	for _, one := range now {
		n.deliver(one)
	}
	return nil
}

func (n *Net) befallLocked(p parcel) (now []parcel) {
	chance := n.rng.IntN(100)
	switch f := n.faults; {
	case chance < f.Lose:
	case chance < f.Lose+f.Double:
		now = append(now, p, p)
	case chance < f.Lose+f.Double+f.Hold:
		n.late = append(n.late, p)
	default:
		now = append(now, p)
	}
	for len(n.late) > 0 && n.rng.IntN(3) == 0 {
		i := n.rng.IntN(len(n.late))
		now = append(now, n.late[i])
		n.late = slices.Delete(n.late, i, i+1)
	}
	return now
}

func (n *Net) deliver(p parcel) {
	n.mu.Lock()
	var to []func(string, []byte)
	for _, m := range n.members {
		if m != p.from && !m.cut && m.receive != nil && slices.Contains(m.kinds, p.kind) {
			to = append(to, m.receive)
		}
	}
	n.mu.Unlock()
	for _, receive := range to {
		receive(p.kind, bytes.Clone(p.payload))
	}
}

// Cut takes the node's connection away.
func (p *Port) Cut() {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	p.cut = true
}

// Heal gives it back, of which the node hears.
func (p *Port) Heal() {
	p.net.mu.Lock()
	was, missed := p.cut, p.missed
	p.cut = false
	p.net.mu.Unlock()
	if was && missed != nil {
		missed()
	}
}

// Close ends the node: nothing is heard any more.
func (p *Port) Close() error {
	n := p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	n.members = slices.DeleteFunc(n.members, func(m *Port) bool { return m == p })
	return nil
}
