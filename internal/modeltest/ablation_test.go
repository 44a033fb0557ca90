package modeltest

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Whatever makes delivery safe is taken out here, one thing at a time, and the
// test has to find that out: in time, and as a broken promise of the right kind.
// Without this nobody would know what a scenario that passes is worth.
func TestGuards(t *testing.T) {
	if underRace {
		t.Skip("the race detector makes it slow; make test runs it without")
	}
	const (
		loss = "I7 no loss over reconnect"
		wire = "I6 wire order"
	)
	for _, c := range []struct {
		guard    Guard
		hints    bool
		crashes  bool
		comings  bool
		nodes    int
		postgres bool
		promises []string
	}{
		{guard: SubscribeFirst, promises: []string{loss}},
		{guard: HoleCheck, crashes: true, promises: []string{loss}},
		{guard: Epoch, crashes: true, promises: []string{loss, "I2 contiguous"}},
		{guard: Snapshot, promises: []string{loss, "I14 paging"}},
		{guard: Rescan, hints: true, promises: []string{loss}},
		{guard: Fill, hints: true, promises: []string{loss, wire}},
		{guard: DirtySet, promises: []string{loss, wire}},
		{guard: Settling, nodes: 2, promises: []string{"delivery"}},
		{guard: Rescan, nodes: 3, hints: true, promises: []string{loss}},
		{guard: Settling, nodes: 2, postgres: true, promises: []string{"delivery"}},
		{guard: Rescan, nodes: 3, postgres: true, hints: true, promises: []string{loss}},
		{guard: Fill, nodes: 3, postgres: true, hints: true, promises: []string{loss, wire}},
		{guard: ListFirst, comings: true, promises: []string{loss, wire, "I8 visibility"}},
		// A membership that was told and then lost is one that never was.
		{guard: Durable, crashes: true, promises: []string{"I19 live is durable", "I3 exactly once", "I1 durable ack", "I2 contiguous", loss, "I8 visibility"}},
	} {
		name := fmt.Sprintf("%s, %d nodes", c.guard, max(1, c.nodes))
		if c.postgres {
			name += " on PostgreSQL"
		}
		t.Run(name, func(t *testing.T) {
			const most = 20
			for seed := range uint64(most) {
				var v *Violation
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					o := scenario(seed)
					o.Without, o.Hints, o.Crashes, o.Comings = c.guard, c.hints, c.crashes, c.comings
					o.Nodes, o.Postgres = max(1, c.nodes), c.postgres
					o.Patience = 3 * time.Second
					v, _ = Run(t, o)
				})
				if v == nil {
					continue
				}
				if !slices.Contains(c.promises, v.Promise) {
					t.Errorf("without it another promise was broken than %q:\n%v", c.promises, v)
				}
				t.Logf("found out by seed %d: %s: %s", seed, v.Promise, v.What)
				return
			}
			t.Errorf("%d scenarios pass without it", most)
		})
	}
}
