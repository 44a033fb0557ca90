//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
)

func isGrima(name string) bool { return strings.HasPrefix(name, "Grima") }

func kindNames(kinds []kind) []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// fine prints seconds as microseconds, and bytes as KiB, with what digits they
// need.
func fine(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func fineMicros(v float64) string { return fine(v * 1e6) }
func fineMillis(v float64) string { return fine(v * 1e3) }
func kib(v float64) string        { return fine(v / 1024) }

// times scales a series.
func (s series) times(f float64) series {
	r := slices.Clone(s)
	for i := range r {
		r[i] *= f
	}
	return r
}

// middle is the median alone.
func (s series) middle(format func(float64) string) string {
	if len(s) == 0 {
		return "-"
	}
	return format(s.median())
}

// lineOf is a line of a plot, over places.
func lineOf(i int, name string, places int, at func(place int) series) line {
	l := line{name: name, class: i % classes}
	for p := range places {
		l.at = append(l.at, at(p))
	}
	return l
}

func (b *bench) tellFanOut() {
	found, sizes := b.live.found, b.live.size.rooms
	names := kindNames(b.fanOutKinds())
	for fi, how := range flights {
		s := section{
			title: "Fan-out, " + map[string]string{
				"lone": "one message under way", "backlog": "32 publishers with one message under way each",
				"one publisher": "one publisher with 32 messages under way",
			}[how.name],
			head: []string{
				"receivers", "server", "server CPU, us per delivery", "deliveries/s", "send to last delivery p50 / p99, ms",
				"bytes per delivery", "CPU / raw loop", "CPU / nats", "CPU / redis",
			},
		}
		if fi == 0 {
			s.note = fmt.Sprintf("Messages of about %d bytes; a message is sent again when all have it. The raw loop is one thread in Go that writes with bare system calls (the research behind the aims used C), one write per message and receiver, or one per receiver for all that is there. Grima is `grima serve --dev`, durable as always, every receiver somebody else; volatile is the same server, built for this alone with its store in memory. The CPU is that of the server's threads, per message received by one client.", payload)
			q := []panel{}
			for _, p := range []struct{ flight, title string }{{"lone", "CPU, us per delivery, one under way"}, {"backlog", "CPU, us per delivery, 32 publishers"}} {
				q = append(q, b.fanPanel(p.title, p.flight, "cpu", 1e6, fine, names))
			}
			for _, p := range []struct{ flight, title string }{{"lone", "deliveries/s, one under way"}, {"backlog", "deliveries/s, 32 publishers"}} {
				q = append(q, b.fanPanel(p.title, p.flight, "rate", 1, rate, names))
			}
			s.plot, s.image = plot{q}, "fanout"
		}
		for _, n := range sizes {
			if how.only != 0 && how.only != n {
				continue
			}
			for _, name := range names {
				key := fanKey(name, n, how.name)
				over := func(other string) string {
					if name == other {
						return "1"
					}
					return found.ratio(key, fanKey(other, n, how.name), "cpu").spread(ratio)
				}
				s.row(fmt.Sprint(n), name, found.get(key, "cpu").spread(fineMicros), found.get(key, "rate").middle(rate),
					found.get(key, "p50").middle(fineMillis)+" / "+found.get(key, "p99").middle(fineMillis),
					found.get(key, "bytes").middle(func(v float64) string { return fmt.Sprintf("%.0f", v) }),
					over(bareLoop), over("nats"), over("redis"))
			}
		}
		if len(s.rows) > 0 {
			b.report.section(s)
		}
	}
}

func (b *bench) fanPanel(title, flight, figure string, scale float64, label func(float64) string, names []string) panel {
	sizes := b.live.size.rooms
	p := panel{title: title, log: true, label: label}
	for _, n := range sizes {
		p.places = append(p.places, fmt.Sprint(n))
	}
	for i, name := range names {
		p.lines = append(p.lines, lineOf(i, name, len(sizes), func(at int) series {
			return b.live.found.get(fanKey(name, sizes[at], flight), figure).times(scale)
		}))
	}
	return p
}

func (b *bench) tellMemory() {
	found := b.live.found
	s := section{
		title: fmt.Sprintf("Memory per idle client, of %d", b.live.size.idle),
		note: fmt.Sprintf("What the server's resident memory grows by, %s after the last came, divided by the clients. Grima's are different people, each logged in by token, in a room of 100, and listening; those of other servers have subscribed to one channel. The kernel's own memory for a socket is not in it.",
			b.live.size.settle),
		head:  []string{"server", "over", "KiB per client", "server CPU, us per login", "/ nats", "/ redis"},
		image: "memory",
	}
	if b.Later > 0 {
		s.head = append(s.head, fmt.Sprintf("KiB per client, %.0f s later (first round)", b.Later))
	}
	p := panel{title: "KiB per idle client", places: wires, label: fine, log: true}
	for i, name := range append(kindNames(b.grimas()), kindNames(b.live.peers)...) {
		for _, wire := range wires {
			key := memoryKey(name, wire)
			if !isGrima(name) && wire != "plain" {
				continue
			}
			cells := []string{
				name, wire, found.get(key, "bytes").spread(kib), found.get(key, "login").spread(fineMicros),
				found.ratio(key, memoryKey("nats", "plain"), "bytes").middle(ratio), found.ratio(key, memoryKey("redis", "plain"), "bytes").middle(ratio),
			}
			if b.Later > 0 {
				cells = append(cells, found.get(key, "later").middle(kib))
			}
			s.row(cells...)
		}
		p.lines = append(p.lines, lineOf(i, name, len(wires), func(at int) series {
			return found.get(memoryKey(name, wires[at]), "bytes").times(1.0 / 1024)
		}))
	}
	s.plot = plot{[]panel{p}}
	b.report.section(s)
}

func (b *bench) tellRequests() {
	found := b.live.found
	names := append(append([]string{echoName}, kindNames(b.grimas())...), kindNames(b.live.peers)...)
	s := section{
		title: "Light requests",
		note:  "Every client asks again when it has its answer. ping is Grima's `Ping`, a line echoed by a bare loop, and the like of other servers; read is `chats.get` of one's own room, which asks the store for two rows. Time in which goroutines wait for locks is shown where the server tells it.",
		head: []string{
			"clients", "request", "server", "requests/s", "server CPU, us per request", "/ raw echo", "/ first design", "p50 / p99, ms",
			"switches per request, voluntary / not", "lock wait, us per request",
		},
		image: "requests",
	}
	first := kindNames(b.grimas())[0]
	for _, what := range lightRequests {
		p := panel{title: "CPU, us per " + what, label: fine}
		for _, n := range b.live.size.active {
			p.places = append(p.places, fmt.Sprintf("%d clients", n))
		}
		for i, name := range names {
			if what == "read" && !isGrima(name) {
				continue
			}
			p.lines = append(p.lines, lineOf(i, name, len(p.places), func(at int) series {
				return found.get(requestKey(name, what, b.live.size.active[at]), "cpu").times(1e6)
			}))
			for _, n := range b.live.size.active {
				key := requestKey(name, what, n)
				s.row(fmt.Sprint(n), what, name, found.get(key, "rate").middle(rate), found.get(key, "cpu").spread(fineMicros),
					found.ratio(key, requestKey(echoName, what, n), "cpu").middle(ratio), found.ratio(key, requestKey(first, what, n), "cpu").middle(ratio),
					found.get(key, "p50").middle(fineMillis)+" / "+found.get(key, "p99").middle(fineMillis),
					found.get(key, "voluntary").middle(ratio)+" / "+found.get(key, "involuntary").middle(ratio),
					found.get(key, "lock").middle(fineMicros))
			}
		}
		s.plot.panels = append(s.plot.panels, p)
	}
	b.report.section(s)
}

func (b *bench) tellStorm() {
	found := b.live.found
	names := append(append([]string{bareAccept, bareLookup}, kindNames(b.grimas())...), kindNames(b.live.peers)...)
	s := section{
		title: fmt.Sprintf("Reconnect storm of %d", b.live.size.storm),
		note: fmt.Sprintf("Everybody comes back at once, at most %d of them in the middle of it: connects, logs in by token, asks `sync` since their cursor, and is live with its answer. The bare loops accept and answer one line; the second also asks the same store for the token's session and its person. Clients of other servers connect and subscribe.",
			b.live.size.storming),
		head: []string{"server", "until all are live, s", "server CPU, us per client", "one client p50 / p99, ms", "time / bare loop with look-up"},
	}
	for _, name := range names {
		key := stormKey(name)
		s.row(name, found.get(key, "time").spread(ratio), found.get(key, "cpu").spread(fineMicros),
			found.get(key, "p50").middle(fineMillis)+" / "+found.get(key, "p99").middle(fineMillis),
			found.ratio(key, stormKey(bareLookup), "time").spread(ratio))
	}
	b.report.section(s)
}

func (b *bench) tellStarvation() {
	found := b.live.found
	designs := kindNames(b.starved())
	var abouts []string
	for _, h := range hostiles[1:] {
		abouts = append(abouts, h.name+": "+h.about)
	}
	s := section{
		title: "Bystanders beside hostile clients",
		note: fmt.Sprintf("%d bystanders ask %d light requests (`chats.get`) a second between them, at fixed times, whether answered or not. Beside them, %s. All share the same cores; hostile clients run when nobody else wants to, and the thread of the bystanders before everybody%s. Beside each case, as many clients ask a bare echo in a process of its own %d times a second: what those wait is what the machine makes everybody wait. Servers let everybody ask for as much as they like (`--dev`), save those with default limits, which are as operators have them: beside these it is measured from when each hostile client has spent what may be asked for at once and is slowed down, which takes as long as is shown. Each is looked at %d times in a round, shortly after the same server with nobody beside, and figures are medians of all looks. Switches are of all the server's threads, per request answered to anybody.",
			b.live.size.bystanders, lightPerSecond, strings.Join(abouts, "; "),
			map[bool]string{true: " (which this machine did not grant)"}[b.live.noPriority.Load()], echoPerSecond, b.live.size.looks),
		head: []string{
			"beside", "server", "p50, ms", "p99, ms", "worst, ms", "p50 / quiet", "p99 / quiet", "the echo's p50, p99, ms", "p99 / the echo's", "hostile answers/s", "slowed down after, s",
			"switches per request, voluntary / not", "lock wait, us per request",
		},
		image: "starvation",
	}
	panels := []panel{{title: "p50 of bystanders, ms", label: fine, log: true}, {title: "p99 of bystanders, ms", label: fine, log: true}}
	for i, figure := range []string{"p50", "p99"} {
		for _, h := range hostiles {
			panels[i].places = append(panels[i].places, strings.Fields(h.name)[len(strings.Fields(h.name))-1])
		}
		for k, d := range designs {
			panels[i].lines = append(panels[i].lines, lineOf(k, d, len(hostiles), func(at int) series {
				return found.get(starveKey(d, hostiles[at].name), figure).times(1e3)
			}))
		}
	}
	s.plot = plot{panels}
	for _, h := range hostiles {
		for _, d := range designs {
			key, quiet, spent := starveKey(d, h.name), starveKey(d, hostiles[0].name), "-"
			if h.name != hostiles[0].name && strings.HasSuffix(d, asDeployed("")) {
				spent = found.get(key, "spent").middle(ratio)
			}
			s.row(h.name, d, found.get(key, "p50").spread(fineMillis), found.get(key, "p99").spread(fineMillis), found.get(key, "worst").middle(fineMillis),
				found.ratio(key, quiet, "p50").spread(ratio), found.ratio(key, quiet, "p99").spread(ratio),
				found.get(key, "echo p50").middle(fineMillis)+" / "+found.get(key, "echo p99").middle(fineMillis),
				found[key]["p99"].over(found[key]["echo p99"]).spread(ratio), found.get(key, "hostile").middle(rate), spent,
				found.get(key, "voluntary").middle(ratio)+" / "+found.get(key, "involuntary").middle(ratio), found.get(key, "lock").middle(fineMicros))
		}
	}
	b.report.section(s)
}
