//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
)

// tellAims sets what was aimed at beside what was found, missed or not.
func (b *bench) tellAims() {
	s := section{
		title: "Aims",
		note:  "Each is an upper bound. Ratios are of server CPU, unless the aim says otherwise. Those of delivery are aims for the server with its store in memory, which pays for delivery alone as those beside it do; durable commits may add a cost per message, and none per delivery. So the durable server stands beside each, with how far it is from the same bound, and what a durable message costs is below. Where one message is under way nobody can join writes, and the kernel's part is the same for all; so the bare loop, which does nothing else, stands beside what is compared with other servers, too: a bound below it is one that this machine's kernel has passed already.",
		head:  []string{"what", "at most", "found", ""},
	}
	found := b.live.found
	beside := func(who, what string, most float64, got series) {
		if len(got) > 0 {
			s.row(what, "("+ratio(most)+")", got.spread(ratio), fmt.Sprintf("%s, beside it: %.2f of the bound", who, got.median()/most))
		}
	}
	aim := func(what string, most float64, got series, format func(float64) string) {
		if len(got) == 0 {
			return // not asked for, or among what failed below
		}
		verdict := "met"
		if v := got.median(); v > most {
			verdict = fmt.Sprintf("missed, %.2f times as much", v/most)
		}
		s.row(what, format(most), got.spread(format), verdict)
	}
	for _, how := range []struct {
		flight, name, over string
		most               map[int]float64
	}{
		{"lone", "one message under way", bareLoop, map[int]float64{100: 3.0, 1000: 1.8}},
		{"lone", "one message under way", "nats", map[int]float64{100: 0.6, 1000: 0.5}},
		{"lone", "one message under way", "redis", map[int]float64{100: 1.7, 1000: 1.4}},
		{"backlog", "32 publishers", bareLoop, map[int]float64{100: 0.4, 1000: 0.2}},
		{"backlog", "32 publishers", "nats", map[int]float64{1000: 0.2}},
		{"backlog", "32 publishers", "redis", map[int]float64{1000: 1.0}},
		{"one publisher", "one publisher with 32 under way", "raw loop, joined", map[int]float64{10_000: 2.0}},
	} {
		for _, n := range b.live.size.rooms {
			if how.most[n] == 0 {
				continue
			}
			over := func(name string) (string, series) {
				return fmt.Sprintf("%d receivers, %s: %s / %s", n, how.name, name, how.over),
					found.ratio(fanKey(name, n, how.flight), fanKey(how.over, n, how.flight), "cpu")
			}
			what, got := over(volatile)
			aim(what, how.most[n], got, ratio)
			what, got = over(durable)
			beside("durable", what, how.most[n], got)
			if how.flight == "lone" && how.over != bareLoop {
				what, got = over(bareLoop)
				beside("the bare loop", what, how.most[n], got)
			}
		}
	}
	designs := kindNames(b.grimas())
	for _, d := range designs {
		for _, wire := range wires {
			most := 5.0
			if wire == "TLS" {
				most = 16
			} else if inQueues(d) {
				most = 1
			}
			aim(fmt.Sprintf("KiB of memory per idle client, %s, %s", wire, d), most*1024, found.get(memoryKey(d, wire), "bytes"), kib)
		}
	}
	for _, d := range designs {
		for _, what := range lightRequests {
			for _, n := range b.live.size.active {
				if inQueues(d) {
					aim(fmt.Sprintf("CPU per %s with %d clients, %s / %s", what, n, d, designs[0]), 1.1,
						found.ratio(requestKey(d, what, n), requestKey(designs[0], what, n), "cpu"), ratio)
				}
			}
		}
	}
	for _, d := range kindNames(b.starved()) {
		quiet := starveKey(d, hostiles[0].name)
		for _, h := range hostiles[1:] {
			key := starveKey(d, h.name)
			if h.name == "four heavy" {
				aim("p99 of light requests beside four heavy clients, ms, "+d, 0.010, found.get(key, "p99"), fineMillis)
				aim("their p50 / quiet, "+d, 2, found.ratio(key, quiet, "p50"), ratio)
			}
			if inQueues(d) {
				aim(fmt.Sprintf("p99 of bystanders / quiet, %s, %s", h.name, d), 1.5, found.ratio(key, quiet, "p99"), ratio)
			}
		}
	}
	for _, d := range designs {
		aim("time of the reconnect storm / bare loop with look-up, "+d, 2, found.ratio(stormKey(d), stormKey(bareLookup), "time"), ratio)
	}
	b.report.section(s)
	b.tellDurable()
	b.tellMissing()
}

// tellDurable says what a durable message costs more than one that is kept in
// memory alone: as much in a small room as in a large one, if it is a cost per
// message.
func (b *bench) tellDurable() {
	s := section{
		title: "What a durable message costs more",
		note:  "Server CPU in microseconds, per message: the durable server's per delivery less the volatile one's, times the receivers. Where one message is under way each has a commit of its own, and if what durability costs is a cost per message, the figure is that of the smallest room in all; where 32 are, commits are shared. In large rooms it is a small difference of large figures: a tenth of a microsecond per delivery, which is less than rounds differ by, is 1000 per message to 10,000.",
		head:  []string{"under way", "receivers", "server", "us more per message", "of them per delivery", "as in the smallest room?"},
	}
	pairs := [][2]string{{durable, volatile}}
	if b.Before != "" {
		pairs = append(pairs, [2]string{before(durable), before(volatile)})
	}
	for _, how := range flights {
		for _, pair := range pairs {
			var least series
			for _, n := range b.live.size.rooms {
				more := b.live.found.more(fanKey(pair[0], n, how.name), fanKey(pair[1], n, how.name), "cpu").times(float64(n))
				if len(more) == 0 {
					continue
				}
				same := "-"
				if least == nil {
					least = more
				} else if how.publishers == 1 && how.slots == 1 {
					same = compareCosts(more, least)
				}
				s.row(how.about, fmt.Sprint(n), pair[0], more.spread(micros), more.times(1/float64(n)).spread(signedMicros), same)
			}
		}
	}
	if len(s.rows) > 0 {
		b.report.section(s)
	}
}

// compareCosts says whether one cost is about another: within half and double,
// or at least no further away than rounds lie apart.
func compareCosts(got, want series) string {
	g, w := got.median(), want.median()
	switch {
	case g >= w/2 && g <= 2*w:
		return fmt.Sprintf("yes, %.2f times", g/w)
	case got.least() <= 2*w && got.greatest() >= w/2:
		return fmt.Sprintf("%.2f times, but rounds differ by more than that", g/w)
	case g < w/2:
		return fmt.Sprintf("no, less: %.2f times", g/w)
	}
	return fmt.Sprintf("no, more: %.2f times", g/w)
}

// tellMissing says what could not be measured, and what failed.
func (b *bench) tellMissing() {
	gone := slices.Clone(b.live.missing)
	for _, step := range b.live.steps {
		if n := len(step.failed); n > 0 {
			why := strings.ReplaceAll(step.failed[0].Error(), "\n", " ")
			gone = append(gone, fmt.Sprintf("%s failed in %d of %d rounds: %.300s", step.name, n, b.Rounds, why))
		}
	}
	if len(gone) > 0 {
		b.report.section(section{title: "What is missing", note: "- " + strings.Join(gone, "\n- ")})
	}
}

// inQueues: idle clients of this design have no goroutine.
func inQueues(design string) bool {
	return strings.Contains(design, "shared") || strings.Contains(design, "sharded")
}
