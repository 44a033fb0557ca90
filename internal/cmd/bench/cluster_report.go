//go:build linux

package main

import (
	"fmt"
)

// Names of the arrangements where there is little room.
var shortNames = map[string]string{
	oneOnSQLite: "SQLite, 1", oneOnPG: "PG, 1", threeOnPG: "PG, 3", oneLargeOnPG: "PG, 1 large",
}

func (c *clusterRun) figure(a *arrangement, what, figure string) series {
	return c.live.found.get(clusterKey(a.name, what), figure)
}

// tell writes the report.
func (c *clusterRun) tell() {
	c.tellClusterAims()
	c.tellMissing()
	c.tellDeliveries()
	c.tellSends()
	c.tellQuiet()
	c.tellCosts()
}

func (c *clusterRun) tellClusterAims() {
	s := section{
		title: "Aims",
		note:  "Each is a lower bound. Three nodes have three times the processors of one: each node its own share.",
		head:  []string{"what", "at least", "found", ""},
	}
	aim := func(what string, least float64, got series, format func(float64) string) {
		if len(got) == 0 {
			return // among what failed
		}
		verdict := "met"
		if v := got.median(); v < least {
			verdict = fmt.Sprintf("missed, %.2f of it", v/least)
		}
		s.row(what, format(least), got.spread(format), verdict)
	}
	found := c.live.found
	for _, what := range []string{teamsCast, hallsCast} {
		aim("deliveries/s, "+what+": three nodes / one, both on PostgreSQL", 2.4,
			found.ratio(clusterKey(threeOnPG, what), clusterKey(oneOnPG, what), "rate"), ratio)
	}
	for _, a := range c.ways {
		if !a.bounded {
			aim("sends/s to one chat, "+a.name, 5000, c.figure(a, sendsHot, "rate"), rate)
		}
	}
	c.report.section(s)
}

func (c *clusterRun) tellDeliveries() {
	z := c.size
	s := section{
		title: "Deliveries per second, each node bounded to a share of a processor",
		note: fmt.Sprintf("teams: %d rooms of %d people; halls: %d rooms of %d. Everybody is connected, spread evenly over the nodes, and in each room one message of about %d bytes is under way: the next is sent when all have it, durably as always. "+
			"Every node is a process in a control group of the kernel's that gets no more than its share in any %s; PostgreSQL, NATS and the clients have the rest of the machine. "+
			"CPU is that of all nodes, of PostgreSQL (all its processes) and of NATS, as the kernel counts it, per message received by one client. "+
			"Taken is what the nodes used of what they might; machine is what everything together used, the clients too: near the number of processors it is the machine that bounds, and not the nodes.",
			z.teams, z.team, z.halls, z.hall, payload, boundEvery),
		head: []string{
			"work", "arrangement", "share per node", "deliveries/s", "/ PostgreSQL, one node", "node CPU, us per delivery", "PostgreSQL's", "NATS's", "all / PostgreSQL, one node",
			"to the sender's node p50 / p99, ms", "to others p50 / p99, ms", "taken", "machine",
		},
		image: "deliveries",
	}
	rates := panel{title: "deliveries/s", label: rate}
	costs := panel{title: "CPU, us per delivery, nodes", label: fine}
	others := panel{title: "CPU, us per delivery, PostgreSQL", label: fine}
	for i, what := range []string{teamsCast, hallsCast} {
		for _, a := range c.ways {
			all := c.figure(a, what, "nodes").plus(c.figure(a, what, "pg")).plus(c.figure(a, what, "nats"))
			one := c.ways[1]
			allOne := c.figure(one, what, "nodes").plus(c.figure(one, what, "pg")).plus(c.figure(one, what, "nats"))
			s.row(what, a.name, ratio(a.share), c.figure(a, what, "rate").spread(rate),
				c.live.found.ratio(clusterKey(a.name, what), clusterKey(oneOnPG, what), "rate").spread(ratio),
				c.figure(a, what, "nodes").spread(fineMicros), c.figure(a, what, "pg").spread(fineMicros), c.figure(a, what, "nats").spread(fineMicros),
				all.over(allOne).spread(ratio),
				c.twoOf(a, what, "same p50", "same p99"), c.twoOf(a, what, "other p50", "other p99"),
				c.figure(a, what, "taken").times(1/(a.share*float64(a.nodes))).middle(ratio), c.figure(a, what, "machine").middle(ratio))
		}
		line := func(figure string, scale float64) line {
			return lineOf(i, what, len(c.ways), func(p int) series { return c.figure(c.ways[p], what, figure).times(scale) })
		}
		rates.lines = append(rates.lines, line("rate", 1))
		costs.lines = append(costs.lines, line("nodes", 1e6))
		others.lines = append(others.lines, line("pg", 1e6))
	}
	for _, a := range c.ways {
		for _, p := range []*panel{&rates, &costs, &others} {
			p.places = append(p.places, shortNames[a.name])
		}
	}
	s.plot = plot{[]panel{rates, costs, others}}
	c.report.section(s)
}

// twoOf prints the medians of two figures that are times.
func (c *clusterRun) twoOf(a *arrangement, what, one, two string) string {
	return c.figure(a, what, one).middle(fineMillis) + " / " + c.figure(a, what, two).middle(fineMillis)
}

// free are the arrangements that were measured with all the processors.
func (c *clusterRun) free() (ways []*arrangement) {
	for _, a := range c.ways {
		if !a.bounded {
			ways = append(ways, a)
		}
	}
	return ways
}

func (c *clusterRun) tellSends() {
	z := c.size
	s := section{
		title: "Durable sends per second",
		note: fmt.Sprintf("%d senders with one send under way each, spread evenly over the nodes, with all the processors there are; nobody listens. To many chats: %d rooms, two senders in each, both at the same node. To one chat: everybody into the same, whose row every commit locks and updates. "+
			"Commits are the nodes' transactions, log is what PostgreSQL wrote to its write-ahead log.", z.senders, z.teams),
		head: []string{
			"work", "arrangement", "sends/s", "ack p50 / p99, ms", "node CPU, us per send", "PostgreSQL's", "NATS's", "the clients'", "commits/s", "sends per commit", "log, bytes per send",
		},
		image: "sends",
	}
	rates := panel{title: "sends/s", label: rate, aim: 5000}
	costs := panel{title: "CPU, us per send, nodes and PostgreSQL", label: fine}
	for i, what := range []string{sendsMany, sendsHot} {
		ways := c.free()
		for _, a := range ways {
			s.row(what, a.name, c.figure(a, what, "rate").spread(rate), c.twoOf(a, what, "p50", "p99"),
				c.figure(a, what, "nodes").spread(fineMicros), c.figure(a, what, "pg").spread(fineMicros), c.figure(a, what, "nats").spread(fineMicros),
				c.figure(a, what, "ours").middle(fineMicros), c.figure(a, what, "commits").middle(rate), c.figure(a, what, "batch").middle(fine), c.figure(a, what, "log").middle(rate))
		}
		rates.lines = append(rates.lines, lineOf(i, what, len(ways), func(p int) series { return c.figure(ways[p], what, "rate") }))
		costs.lines = append(costs.lines, lineOf(i, what, len(ways), func(p int) series {
			return c.figure(ways[p], what, "nodes").plus(c.figure(ways[p], what, "pg")).times(1e6)
		}))
	}
	for _, a := range c.free() {
		rates.places = append(rates.places, shortNames[a.name])
		costs.places = append(costs.places, shortNames[a.name])
	}
	// Names of two works are longer than the room between the lines of a legend.
	for _, p := range []*panel{&rates, &costs} {
		for i, name := range []string{"many chats", "one chat"} {
			p.lines[i].name = name
		}
	}
	s.plot = plot{[]panel{rates, costs}}
	c.report.section(s)
}

func (c *clusterRun) tellQuiet() {
	s := section{
		title: "A lone message's way",
		note:  "One message under way in one room, three listeners, all the processors: one listener at each node where there are three. From the send to a listener's having it.",
		head:  []string{"arrangement", "to the sender's node p50 / p99, ms", "to others p50 / p99, ms", "node CPU, us per message", "PostgreSQL's", "NATS's"},
	}
	for _, a := range c.free() {
		perMessage := func(figure string) string { return c.figure(a, quietCast, figure).times(3).spread(fineMicros) }
		s.row(a.name, c.twoOf(a, quietCast, "same p50", "same p99"), c.twoOf(a, quietCast, "other p50", "other p99"),
			perMessage("nodes"), perMessage("pg"), perMessage("nats"))
	}
	c.report.section(s)
}

func (c *clusterRun) tellCosts() {
	s := section{
		title: "What else costs",
		note:  "With all senders at the first of three nodes and one listener of each room at the second, the third hears of every send and has nobody to tell. What is idle is everybody of the teams, logged in and subscribed, before anybody speaks.",
		head:  []string{"what", "found"},
	}
	var three, one *arrangement
	for _, a := range c.ways {
		switch a.name {
		case threeOnPG:
			three = a
		case oneOnPG:
			one = a
		}
	}
	s.row("sends/s then", c.figure(three, hintsOnly, "rate").spread(rate))
	s.row("CPU of the senders' node, us per send", c.figure(three, hintsOnly, "sender").spread(fineMicros))
	s.row("CPU of the node with a listener in every room, us per send", c.figure(three, hintsOnly, "listener").spread(fineMicros))
	s.row("deliveries there per send", c.figure(three, hintsOnly, "heard").spread(ratio))
	s.row("CPU of the node that hears hints alone, us per send", c.figure(three, hintsOnly, "hinted").spread(fineMicros))
	s.row("CPU of PostgreSQL, us per send", c.figure(three, hintsOnly, "pg").spread(fineMicros))
	s.row("CPU of NATS, us per send", c.figure(three, hintsOnly, "nats").spread(fineMicros))
	for _, a := range c.ways {
		s.row("CPU of the nodes per idle connection, us per second, "+a.name, c.figure(a, idleNodes, "nodes").spread(fineMicros))
	}
	s.row("bytes of a message in PostgreSQL's files: messages", c.figure(one, "disk", "messages").spread(fine))
	s.row("bytes of a message in PostgreSQL's files: sent", c.figure(one, "disk", "sent").spread(fine))
	c.report.section(s)
}

// plus adds round by round.
func (s series) plus(t series) series {
	var r series
	for i := range min(len(s), len(t)) {
		r = append(r, s[i]+t[i])
	}
	return r
}
