package modeltest

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// ablation is a guard that is taken out, and of which world.
type ablation struct {
	guard    Guard
	hints    bool
	crashes  bool
	comings  bool
	nodes    int
	postgres bool
	promises []string // that may be the first to be broken
}

func (a ablation) String() string {
	name := fmt.Sprintf("%s, %d nodes", a.guard, max(1, a.nodes))
	if a.postgres {
		name += " on PostgreSQL"
	}
	return name
}

func (a ablation) scenario(seed uint64) Options {
	o := scenario(seed)
	o.Without, o.Hints, o.Crashes, o.Comings = a.guard, a.hints, a.crashes, a.comings
	o.Nodes, o.Postgres = max(1, a.nodes), a.postgres
	if slices.Contains(a.promises, loss) { // which is found by waiting
		o.Arrives = 3 * time.Second
	}
	return o
}

const (
	loss       = "I7 no loss over reconnect"
	wire       = "I6 wire order"
	visibility = "I8 visibility"
	paging     = "I14 paging"
)

var ablations = []ablation{
	{guard: SubscribeFirst, promises: []string{loss}},
	{guard: HoleCheck, crashes: true, promises: []string{loss}},
	{guard: Epoch, crashes: true, promises: []string{loss, "I2 contiguous"}},
	{guard: Snapshot, promises: []string{loss, paging}},
	{guard: Rescan, hints: true, promises: []string{loss}},
	// Of a removal that is left out whoever is out does not hear, and hears on.
	{guard: Fill, hints: true, promises: []string{loss, wire, visibility}},
	{guard: DirtySet, promises: []string{loss, wire}},
	{guard: Settling, nodes: 2, promises: []string{"delivery"}},
	{guard: Rescan, nodes: 3, hints: true, promises: []string{loss}},
	{guard: Settling, nodes: 2, postgres: true, promises: []string{"delivery"}},
	{guard: Rescan, nodes: 3, postgres: true, hints: true, promises: []string{loss}},
	{guard: Fill, nodes: 3, postgres: true, hints: true, promises: []string{loss, wire, visibility}},
	{guard: ListFirst, comings: true, promises: []string{loss, wire, visibility}},
	// What was told and then lost is missing in whatever is looked at first. A
	// membership that was lost is one that never was.
	{guard: Durable, crashes: true, promises: []string{"I19 live is durable", "I3 exactly once", "I1 durable ack", "I2 contiguous", loss, wire, visibility, paging}},
}

// Whatever makes delivery safe is taken out here, one thing at a time, and the
// test has to find that out: in time, and as a broken promise of the right kind.
// Without this nobody would know what a scenario that passes is worth.
func TestGuards(t *testing.T) {
	if underRace {
		t.Skip("the race detector makes it slow; make test runs it without")
	}
	for _, a := range ablations {
		t.Run(a.String(), func(t *testing.T) {
			const most = 40
			for seed := range uint64(most) {
				var v *Violation
				t.Run(fmt.Sprint(seed), func(t *testing.T) { v, _ = Run(t, a.scenario(seed)) })
				if v == nil {
					continue
				}
				if !slices.Contains(a.promises, v.Promise) {
					t.Errorf("without it another promise was broken than %q:\n%v", a.promises, v)
				}
				t.Logf("found out by seed %d: %s: %s", seed, v.Promise, v.What)
				return
			}
			t.Errorf("%d scenarios pass without it", most)
		})
	}
}
