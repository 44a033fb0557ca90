package main

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/grima-chat/grima/internal/chart"
)

// report is everything that was worked out.
type report struct {
	o       options
	p       params
	valid   []comparison
	reaches []reached
	plans   []simulated
	hot     []hotCase
}

// hotCase is one chat with a million listeners.
type hotCase struct {
	nodes, relays int
	p50, p99      float64 // seconds
	node, db      float64 // processor seconds per message
}

type reached struct {
	a     architecture
	users float64
	bound string
}

// simulated is a plan with its busiest hour.
type simulated struct {
	plan
	same, other, hot [2]float64 // p50 and p99, seconds
}

var usersOf = []float64{1e4, 1e5, 1e6, 1e7, 1e8}

// reports are the files with measurements.
func (o options) reports() (files []string) {
	for _, name := range []string{"bench-cluster.md", "bench.md", "bench-live.md"} {
		files = append(files, filepath.Join(o.docs, name))
	}
	return files
}

func (o options) report() (*report, error) {
	m, err := readMeasured(o.reports()...)
	if err != nil {
		return nil, err
	}
	r := &report{o: o}
	if r.p, err = calibrate(m); err != nil {
		return nil, err
	}
	if r.valid, err = validate(r.p, m, o.seed); err != nil {
		return nil, err
	}
	paper := apart(r.p)
	for _, a := range architectures {
		users, bound := reach(paper, assumed, a, o.many)
		r.reaches = append(r.reaches, reached{a, users, bound})
	}
	for _, nodes := range []int{10, 30, 100, 300} {
		for _, relays := range []int{0, 1} {
			c, err := hotOnly(paper, assumed, nodes, relays, 1e6, o.seed)
			if err != nil {
				return nil, fmt.Errorf("a hot chat on %d nodes: %w", nodes, err)
			}
			h := hotCase{nodes: nodes, relays: relays, p50: c.hot.quantile(0.5), p99: c.hot.quantile(0.99), db: c.databases[0].busy / float64(c.sent)}
			for _, s := range c.nodes {
				h.node += s.busy / float64(c.sent)
			}
			r.hot = append(r.hot, h)
		}
	}
	for _, users := range usersOf {
		for _, a := range architectures {
			l := size(paper, assumed, a, o.many(users))
			s := simulated{plan: l}
			if l.feasible() {
				c, err := simulate(paper, assumed, l, o.seed, o.messages)
				if err != nil {
					return nil, fmt.Errorf("%s, %s users: %w", a.name, short(users), err)
				}
				s.same = [2]float64{c.same.quantile(0.5), c.same.quantile(0.99)}
				s.other = [2]float64{c.other.quantile(0.5), c.other.quantile(0.99)}
				s.hot = [2]float64{c.hot.quantile(0.5), c.hot.quantile(0.99)}
			}
			r.plans = append(r.plans, s)
		}
	}
	return r, nil
}

func (r *report) markdown() string {
	var b strings.Builder
	p := r.p
	fmt.Fprintf(&b, `# Worked out

`+"`go run ./internal/cmd/scalesim -seed %d -messages %d -per-day %g -connected %g`"+`: nothing here is measured but what says so; it is arithmetic and a simulation, with costs from [bench-cluster.md](bench-cluster.md) and assumptions that stand below. What follows from it is in [scale.md](scale.md).

![Users, machines and money](scalesim.svg)

`, r.o.seed, r.o.messages, r.o.perDay, r.o.share)
	r.writePlans(&b)
	b.WriteString("## How far each goes\n\n| architecture | users | what bounds then |\n|---|---|---|\n")
	for _, x := range r.reaches {
		bound := x.bound
		if bound == "" {
			bound = "the search ends here"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", x.a.name, short(x.users), bound)
	}
	r.writeHot(&b)
	b.WriteString(`
## Held against what was measured

What bench-cluster did, played in the simulation: 256 senders, or rooms with one message under way each, on two processors that servers, PostgreSQL and clients share, or with nodes bounded to a share; and some of what [bench.md](bench.md) and [bench-live.md](bench-live.md) did. The costs come from other figures of the same run (CPU per send, alone and with many; CPU per delivery in the largest arrangement). The simulation knows no scheduler, no cold cache and no processes in one another's way, and so it is the faster one: by a factor of ` + fmt.Sprintf("%.2f", r.middling()) + ` in the median of all rates; the plans leave half of every processor free for that and for bad hours. A test sees that no figure is off by more than a factor of ` + fmt.Sprint(within) + `.

| what | measured | simulated | simulated / measured |
|---|---|---|---|
`)
	for _, v := range r.valid {
		fmt.Fprintf(&b, "| %s | %s | %s | %.2f |\n", v.what, v.format(v.measured), v.format(v.simulated), v.factor())
	}
	b.WriteString("\n## What things cost\n\n| what | found or assumed |\n|---|---|\n")
	us := func(what string, v float64) { fmt.Fprintf(&b, "| %s, us | %s |\n", what, digits(v*1e6)) }
	us("node: a send, on PostgreSQL", p.sendNode)
	us("node: a commit, however many sends are in it", p.commitNode)
	us("node: a send, SQLite", p.sendSQLite)
	us("node: a commit, SQLite", p.commitSQLite)
	us("node: to tell a message to a room (assumed: three deliveries)", p.tell)
	us("node: a delivery", p.delivery)
	us("node: a hint", p.hint)
	us("node: to read what another committed", p.read)
	us("node: an idle connection, per second", p.idle)
	us("node: a login with sync ([bench-live.md](bench-live.md))", p.login)
	us("node: a request ([bench-live.md](bench-live.md))", p.request)
	us("node: a message to a child in a tree of relays (assumed: a delivery)", p.relay)
	us("PostgreSQL: a send", p.sendDB)
	us("PostgreSQL: a commit", p.commitDB)
	us("PostgreSQL: to read a message for a node", p.readDB)
	us("PostgreSQL: to look at a chat's position (`go test -bench LastSeqs ./internal/store/postgres`, its process alone)", p.scanDB)
	us("node: to compare it (assumed)", p.scanNode)
	us("NATS: a hint to a node", p.copyNATS)
	us("a flush of the log, waiting; in the plans 1 ms (assumed)", p.flush)
	us("there and back between processes, waiting; in the plans 200 us (assumed: machines of one data centre)", p.trip)
	fmt.Fprintf(&b, "| PostgreSQL: bytes of a message in its files, and in its log | %.0f, %.0f |\n", p.rowBytes, p.logBytes)
	fmt.Fprintf(&b, "| node: bytes of an idle connection with TLS ([bench-live.md](bench-live.md)), of each chat of its user, of each person connected elsewhere (the last assumed) | %.0f, %.0f, %.0f |\n", p.connBytes, p.routeBytes, p.placeBytes)
	r.writeAssumptions(&b)
	return b.String()
}

// middling is the median of simulated over measured, of rates.
func (r *report) middling() float64 {
	var factors []float64
	for _, c := range r.valid {
		if !strings.HasSuffix(c.what, "ms") {
			factors = append(factors, c.factor())
		}
	}
	slices.Sort(factors)
	return factors[len(factors)/2]
}

func (r *report) writePlans(b *strings.Builder) {
	b.WriteString("## Plans\n\n`-` is what cannot be done; then the last column says what is used up first and how many times over. Processors are busy ones at the busiest hour; times are to a delivery at the sender's node, at others, and in the hot chats, p50 / p99 in ms, as simulated, inside one data centre.\n\n" +
		"| users | architecture | nodes | databases | processors: nodes, PostgreSQL, NATS | sends per commit | memory of the nodes, GB | disk a year, TB, one copy | to clients, Gbit/s | own node, ms | others, ms | hot chats, ms | per user and year | most used |\n|" + strings.Repeat("---|", 14) + "\n")
	for _, s := range r.plans {
		if !s.feasible() {
			fmt.Fprintf(b, "| %s | %s | - | - | - | - | - | - | - | - | - | - | - | %s, %s times |\n", short(s.w.users), s.arch.name, s.bound(), digits(s.uses[0].of))
			continue
		}
		two := func(t [2]float64) string {
			if t[1] == 0 {
				return "-"
			}
			return millis(t[0]) + " / " + millis(t[1])
		}
		databases := fmt.Sprint(s.databases)
		if s.arch.sqlite {
			databases = "-"
		}
		fmt.Fprintf(b, "| %s | %s | %d | %s | %s, %s, %s | %s | %s | %s | %s | %s | %s | %s | %.4f | %s, %.2f |\n", short(s.w.users), s.arch.name, s.nodes, databases,
			digits(s.cpuNodes), digits(s.cpuDB), digits(s.cpuNATS), digits(s.batch), digits(s.memory/1e9), digits(s.diskYear/1e12), digits(s.network*8/1e9),
			two(s.same), two(s.other), two(s.hot), s.perUser(), s.bound(), s.uses[0].of)
	}
	b.WriteString("\n")
}

func (r *report) writeHot(b *strings.Builder) {
	fmt.Fprintf(b, `
## A chat of a million listeners

Alone on so many nodes of %g processors: every node reads each message by its hint, or it is handed on from the sender's node over a tree of %d children each. The last column is how many messages a second its nodes can tell, and its database can be read for, at %g of their processors.

| nodes | by | to a listener p50 / p99, ms | node CPU, s per message | PostgreSQL's CPU, ms per message | messages/s: nodes, database |
|---|---|---|---|---|---|
`, assumed.cores, fanOut, assumed.full)
	for _, h := range r.hot {
		by := "reading"
		if h.relays > 0 {
			by = "a tree"
		}
		fmt.Fprintf(b, "| %d | %s | %s / %s | %s | %s | %s, %s |\n", h.nodes, by, millis(h.p50), millis(h.p99), digits(h.node), millis(h.db),
			digits(float64(h.nodes)*assumed.cores*assumed.full/h.node), short(assumed.coresDB*assumed.full/h.db))
	}
}

func (r *report) writeAssumptions(b *strings.Builder) {
	w, m := r.o.many(1e8), assumed
	fmt.Fprintf(b, `
## What people do (assumed)

| what | value |
|---|---|
| connections per user at the busiest hour | %g |
| messages per user and day; the busiest hour's rate over the day's | %g; %g |
| logins, and pages or looks at chats, per user and day | %g; %g |
| chats that a user is in | %g |
| messages in chats of two | %g |
| size of the group of another message | Pareto, at least %g, exponent %g, cut off at %s or a tenth of all users |
| connections per member of a chat in which somebody speaks | %g |
| hot chats: how many, messages per second in each, readers connected to each | %d; %g; a hundredth of the users, at most %s |
| that makes listeners per message in the mean | %.2f |
`, w.connected, w.perDay, w.peak, w.logins, w.requests, w.chats, w.private, w.smallest, w.alpha, short(w.largest), w.listening,
		w.hot, w.hotRate, short(w.hotReaders), w.mean(func(x float64) float64 { return x }))
	fmt.Fprintf(b, `
## What can be had (assumed)

| what | value |
|---|---|
| a node | at most %g processors, %g GB, %g Gbit/s, %s connections |
| a database | at most %g processors, %g TB for a year, %g MB of log per second, %s connections; %g copies |
| how busy any of it may be at the busiest hour | %g |
| price a month: a processor, a GB of memory, a TB of disk, a TB sent | %g; %g; %g; %g |
`, m.cores, m.memory/1e9, m.network*8/1e9, short(m.connections), m.coresDB, m.disk/1e12, m.logRate/1e6, short(m.connectionsDB), m.copies, m.full, m.perCore, m.perGB, m.perT, m.perTraffic)
}

// plot is what it takes by the number of users.
func (r *report) plot() chart.Plot {
	names := []string{"SQLite", "one on PG", "one PG", "sharded", "directed"}
	panel := func(title string, log bool, label func(float64) string, of func(simulated) float64) chart.Panel {
		q := chart.Panel{Title: title, Log: log, Label: label}
		for _, users := range usersOf {
			q.Places = append(q.Places, short(users))
		}
		for i := range architectures {
			l := chart.Line{Name: names[i], Class: i}
			for k := range usersOf {
				s := r.plans[k*len(architectures)+i]
				v := of(s)
				l.At = append(l.At, chart.Point{Least: v, Middle: v, Greatest: v, None: !s.feasible() || v <= 0})
			}
			q.Lines = append(q.Lines, l)
		}
		return q
	}
	return chart.Plot{Panels: []chart.Panel{
		panel("a year per user", true, digits, func(s simulated) float64 { return s.perUser() }),
		panel("busy processors, all together", true, short, func(s simulated) float64 { return s.cpuNodes + s.cpuDB + s.cpuNATS }),
		panel("p99 to other nodes, ms", true, digits, func(s simulated) float64 { return s.other[1] * 1e3 }),
	}}
}

// short prints a number with a letter for its thousands.
func short(v float64) string {
	for _, u := range []struct {
		of   float64
		name string
	}{{1e9, " G"}, {1e6, " M"}, {1e3, " k"}} {
		if v >= u.of*0.9995 {
			return digits(v/u.of) + u.name
		}
	}
	return digits(v)
}

// digits prints three of them.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100 || a == 0:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

func millis(v float64) string { return digits(v * 1e3) }
