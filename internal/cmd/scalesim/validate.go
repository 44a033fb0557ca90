package main

import "fmt"

// comparison is a figure as it was measured and as the simulation has it.
type comparison struct {
	what                string
	measured, simulated float64
	format              func(float64) string
}

func (c comparison) factor() float64 { return c.simulated / c.measured }

// within is by what factor the simulation may miss: it knows neither what a cold
// cache costs a node that is let run for milliseconds, nor what four processes
// cost one another on two processors, nor that a commit begins as soon as the
// scheduler likes, and then with little in it.
const within = 2.5

// validate plays what bench-cluster did. What the costs were taken from is not
// among it: those were CPU per send and per delivery; these are rates, and times
// of nodes in company.
func validate(p params, m measured, seed uint64) (list []comparison, err error) {
	const (
		lite  = "SQLite, one node"
		one   = "PostgreSQL, one node"
		three = "PostgreSQL + NATS, three nodes"
		large = "PostgreSQL, one node with the share of three"
	)
	add := func(what, table, work, arrangement, column string, scale, simulated float64, format func(float64) string) {
		v, e := m.number(table, work, arrangement, column)
		if e != nil && err == nil {
			err = e
		}
		list = append(list, comparison{what, v * scale, simulated, format})
	}
	for _, a := range []closedCase{{arrangement: lite, sqlite: true, nodes: 1}, {arrangement: one, nodes: 1}, {arrangement: three, nodes: 3}} {
		for _, work := range []string{"sends to many chats", "sends to one chat"} {
			k := a
			k.work, k.share = work, 1
			got := outcomeOf(closed(p, k, seed, 4), 4)
			add(fmt.Sprintf("%s, %s, per second", work, k.arrangement), "Durable sends", work, k.arrangement, "sends/s", 1, got.rate, short)
		}
	}
	for _, work := range []string{"teams", "halls"} {
		for _, k := range []closedCase{
			{arrangement: lite, sqlite: true, nodes: 1, share: 0.25}, {arrangement: one, nodes: 1, share: 0.25},
			{arrangement: three, nodes: 3, share: 0.25}, {arrangement: large, nodes: 1, share: 0.75},
		} {
			k.work = work
			got := outcomeOf(closed(p, k, seed, 4), 4)
			add(fmt.Sprintf("deliveries, %s, %s, per second", work, k.arrangement), "Deliveries", work, k.arrangement, "deliveries/s", 1, got.rate, short)
			if k.nodes > 1 {
				add("their median to other nodes, ms", "Deliveries", work, k.arrangement, "to others p50 / p99, ms", 1e-3, got.other, millis)
			}
		}
	}
	got := outcomeOf(closed(p, closedCase{work: "quiet", arrangement: three, nodes: 3, share: 1}, seed, 4), 4)
	add("a lone message to the sender's node, three nodes, ms", "A lone", "", three, "to the sender's node p50 / p99, ms", 1e-3, got.same, millis)
	add("a lone message to other nodes, ms", "A lone", "", three, "to others p50 / p99, ms", 1e-3, got.other, millis)
	return list, err
}
