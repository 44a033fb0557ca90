//go:build linux

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// held is what a server holds at a moment of rest, when it has given back what
// it does not need. Memory is in bytes.
type held struct {
	files      float64
	threads    float64
	goroutines float64
	live       float64 // what Go's last collection found alive
	heap       float64 // what Go has for its heap and stacks
	anonymous  float64 // all that is resident and no file's
	resident   float64
}

func (h held) String() string {
	return fmt.Sprintf("%.0f descriptors, %.0f threads, %.0f goroutines, %s MB alive, %s MB resident", h.files, h.threads, h.goroutines, megabytes(h.live), megabytes(h.resident))
}

// day is what was found at equal distances of a soak, first before it.
type day struct {
	name string
	at   []held
	took time.Duration
	late int
}

const (
	// soakParts is how often a server is looked at: the last half is six times.
	soakParts = 10
	// soakRush is how many who come and go make a server tidy up when they have
	// (internal/server/tidy.go).
	soakRush = 1000
)

// Names of Go's own metrics.
const (
	liveMetric     = "go_gc_heap_live_bytes"
	forcedMetric   = "go_gc_cycles_forced_gc_cycles_total"
	heapMetric     = "go_memstats_heap_sys_bytes"
	releasedMetric = "go_memstats_heap_released_bytes"
	stacksMetric   = "go_memstats_stack_sys_bytes"
)

// rest lets everybody go and looks at the server when it has nothing to do and
// has tidied up, which it does after a rush: then a collection has just been.
func (s *soaking) rest(cameAndWent int) (h held, err error) {
	collected := metricsOf(s.t.addr)[forcedMetric]
	for _, c := range s.speakers {
		s.l.forget(c)
	}
	s.speakers = nil
	if err := s.l.pollUntil(time.Now().Add(s.bench.live.size.settle)); err != nil {
		return h, err
	}
	m := metricsOf(s.t.addr)
	// It collects twice. Nobody else asks for a collection.
	for limit := time.Now().Add(patience); cameAndWent >= soakRush && m[forcedMetric] < collected+2; m = metricsOf(s.t.addr) {
		if time.Now().After(limit) {
			return h, fmt.Errorf("after %d people came and went the server did not tidy up within %s", cameAndWent, patience)
		}
		if err := s.l.pollUntil(time.Now().Add(300 * time.Millisecond)); err != nil {
			return h, err
		}
	}
	files, err := openFilesOf(s.t.pid)
	if err != nil {
		return h, err
	}
	status := statusOf(fmt.Sprintf("/proc/%d/status", s.t.pid))
	h = held{
		files: float64(files), threads: status["Threads"], goroutines: m[goroutinesMetric],
		live: m[liveMetric], heap: m[heapMetric] - m[releasedMetric] + m[stacksMetric], anonymous: status["RssAnon"] * 1024, resident: status["VmRSS"] * 1024,
	}
	// What lives is 0 as long as nothing was collected.
	if _, says := m[liveMetric]; !says || h.threads == 0 || h.goroutines == 0 {
		return h, errors.New("the server does not say what it holds")
	}
	return h, nil
}

// figure is something that has to come back to where it was.
type figure struct {
	name    string
	of      func(held) float64
	print   func(float64) string
	allowed float64 // that it may rise in the last half
	// counted: it must also end no more than that above where it began. What
	// grows with what is stored, or with how many people there are, need not.
	counted bool
	// messages is how many a run must store, so that what is there for them has
	// filled up when half of it is over.
	messages int
}

func megabytes(v float64) string { return fmt.Sprintf("%.2f", v/1e6) }
func whole(v float64) string     { return fmt.Sprintf("%.0f", v) }

// figures are what a soak is judged by. A hundred thousand visits have fifty
// thousand in the last half, with half a million messages: what each leaves
// behind is found from 10 bytes that live on, or one thing in ten thousand. What
// lives may jump by a buffer that is as large as the largest batch so far, and
// of resident memory the writer's page cache is full after some 450,000
// messages.
func figures() []figure {
	return []figure{
		{"descriptors", func(h held) float64 { return h.files }, whole, 4, true, 0},
		{"goroutines", func(h held) float64 { return h.goroutines }, whole, 4, true, 0},
		{"live heap, MB", func(h held) float64 { return h.live }, megabytes, 0.5e6, false, 0},
		{"resident memory, MB", func(h held) float64 { return h.resident }, megabytes, 4e6, false, 900_000},
	}
}

// lastHalf are the looks of the last half, with the one it begins with.
func lastHalf(all []held) []held { return all[len(all)/2:] }

// rise is by how much a series rises from its first to its last, when what is
// out of line is left out: the median slope of all pairs (Theil and Sen).
func rise(s series) float64 {
	var slopes series
	for i := range s {
		for j := i + 1; j < len(s); j++ {
			slopes = append(slopes, (s[j]-s[i])/float64(j-i))
		}
	}
	return slopes.median() * float64(len(s)-1)
}

// verdict is a figure of a day by its rule.
type verdict struct {
	figure
	before, middle, after, rise float64
}

// broken says that the figure did not come back.
func (v verdict) broken() bool {
	return v.rise > v.allowed || v.counted && v.after > v.before+v.allowed
}

func (d day) judge() (all []verdict) {
	for _, f := range figures() {
		half := lastHalf(d.at)
		s := make(series, len(half))
		for i, h := range half {
			s[i] = f.of(h)
		}
		all = append(all, verdict{f, f.of(d.at[0]), s[0], s[len(s)-1], rise(s)})
	}
	return all
}

// errHeld is a run that went well and found that a server keeps what it should
// not.
var errHeld = errors.New("not everything came back")

// tellSoak adds what was found to the report, and if something did not come
// back, that.
func (b *bench) tellSoak(w *crowd, days []day) {
	// With less there is nothing to see in half of it, and no tidying up.
	judged := b.Cycles/soakParts >= soakRush
	sum := section{
		title: "What came back",
		note: fmt.Sprintf("%d people in %d rooms. %d times somebody comes, every fourth time one of %d who are in a room with a speaker, else one of the others, each %d times. Two in ten come over a WebSocket, one in ten to listen to server-sent events, one in ten with a request over HTTP, all others in lines; they log in by token, sync, one in seven writes something, says so before, moves the read mark and watches two others; they stay while %d others come, and go, one in three each by closing, by breaking off and by half-closing. Meanwhile %d speakers store %d messages. The server limits rates, a thousand times as wide as by itself.\n\n"+
			"A look is taken before, after a twentieth of all that, and then at %d equal distances, whenever everybody has gone and the server has given back what it does not need: two collections, then what is free goes back to the system. The rule: in the last half (nobody comes in it who was not there before) none may rise by more than what is allowed, by the median slope of all pairs of looks; descriptors and goroutines may also not end above where they began by more than that.",
			w.people, len(w.rooms), b.Cycles, soakRegulars, soakLaps, soakStaying, soakSpeakers, b.Messages, soakParts),
		head:  []string{"server", "", "before", "at half", "after", "rise in the last half", "allowed", ""},
		image: "held",
	}
	if !judged {
		sum.note += " This run was too short for it."
	} else if b.Messages < 900_000 {
		sum.note += " For resident memory this run was too short: it ends before the page cache of SQLite's writer is full for long."
	}
	var broken []string
	for _, d := range days {
		for _, v := range d.judge() {
			word := "level"
			switch {
			case !judged || b.Messages < v.messages:
				word = "-"
			case v.broken():
				word = "**not level**"
				broken = append(broken, fmt.Sprintf("%s: %s went from %s to %s, and rose by %s in the last half", d.name, v.name, v.print(v.before), v.print(v.after), v.print(v.rise)))
			}
			sum.row(d.name, v.name, v.print(v.before), v.print(v.middle), v.print(v.after), v.print(v.rise), v.print(v.allowed), word)
		}
	}
	sum.plot = soakPlot(days)
	b.report.section(sum)
	for _, d := range days {
		b.report.section(d.section())
	}
	if broken != nil {
		b.report.broken = fmt.Errorf("%w: %s", errHeld, strings.Join(broken, "; "))
	}
}

// part names a look by how much is done.
func part(i int) string {
	if i == 0 {
		return "before"
	}
	return fmt.Sprintf("%d%%", 100*i/soakParts)
}

func (d day) section() section {
	sec := section{
		title: "Soak, " + d.name,
		note: fmt.Sprintf("In %s, with the rests. %d came more than 200 ms late with the first byte of HTTP, were told so, and came again. Beside Go's heap and stacks there are the pages that the connections of SQLite keep, at most 64 MiB for the writer and 2 for each reader, and some MB of Go's own; in the files, the program itself.",
			d.took.Round(time.Second), d.late),
		head: []string{"when", "descriptors", "threads", "goroutines", "live heap, MB", "resident memory, MB", "of it Go's heap and stacks", "beside them", "files"},
	}
	for i, h := range d.at {
		sec.row(part(i), whole(h.files), whole(h.threads), whole(h.goroutines), megabytes(h.live), megabytes(h.resident),
			megabytes(h.heap), megabytes(h.anonymous-h.heap), megabytes(h.resident-h.anonymous))
	}
	return sec
}

func soakPlot(days []day) plot {
	var p plot
	for _, f := range slices.Backward(figures()) {
		q := panel{title: f.name, label: fine}
		for i := range soakParts + 1 {
			q.places = append(q.places, strings.TrimSuffix(strings.Replace(part(i), "before", "0", 1), "%"))
		}
		scale := 1.0
		if strings.HasSuffix(f.name, "MB") {
			scale = 1e-6
		}
		for i, d := range days {
			q.lines = append(q.lines, lineOf(i, d.name, len(d.at), func(at int) series { return series{f.of(d.at[at]) * scale} }))
		}
		p.panels = append(p.panels, q)
	}
	return p
}
