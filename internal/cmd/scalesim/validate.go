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
			{arrangement: lite, sqlite: true, nodes: 1, share: 0.25},
			{arrangement: one, nodes: 1, share: 0.25},
			{arrangement: three, nodes: 3, share: 0.25},
			{arrangement: large, nodes: 1, share: 0.75},
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
	// Other runs, of other versions: bench.md sends, from clients that cost more,
	// and bench-live.md tells one room.
	for _, senders := range []string{"10", "100"} {
		n, e := parseNumber(senders)
		if e != nil {
			return nil, e
		}
		client, e := m.number("Durable sends per second: hot", "", senders, "client CPU, us per send")
		if e != nil {
			return nil, e
		}
		q := p
		q.clientSend = client * 1e-6
		got := outcomeOf(closed(q, closedCase{work: "sends to many chats", sqlite: true, nodes: 1, share: 1, senders: int(n)}, seed, 4), 4)
		add("bench.md: sends of "+senders+", SQLite, per second", "Durable sends per second: hot", "", senders, "end to end, /s", 1, got.rate, short)
	}
	for _, people := range []string{"100", "1000", "10000"} {
		n, e := parseNumber(people)
		if e != nil {
			return nil, e
		}
		got := outcomeOf(closed(p, closedCase{work: "one room", sqlite: true, nodes: 1, share: 1, rooms: 1, people: int(n)}, seed, 4), 4)
		add("bench-live.md: deliveries to "+people+", SQLite, per second", "Fan-out, one message under way", people, "Grima", "deliveries/s", 1, got.rate, short)
	}
	return list, err
}
