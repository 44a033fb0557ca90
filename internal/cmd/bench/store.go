//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"

	"github.com/grima-chat/grima/internal/harness"
)

// workload says where messages go.
type workload struct {
	name  string
	hot   bool
	about string
}

var workloads = []workload{
	{"hot", true, "a busy team"},
	{"spread", false, "every group alike, the worst a table clustered by group can meet"},
}

func (wl workload) groups(w *world) int {
	if wl.hot {
		return hotChats
	}
	return w.Chats
}

// lane is how the sends of a case are under way, and the batches that the bare
// driver and the log get to match.
type lane struct {
	name            string
	senders, window int
	batch           int
}

var (
	lanes = []lane{
		{"1", 1, 1, 1},
		{"10", 10, 1, 10},
		{"100", 100, 1, 100},
		{"1, pipelining 256", 1, 256, 256},
	}
	hundredSenders = lanes[2]
)

// storeRun is a run of the suite: results by case, one per round.
type storeRun struct {
	*bench
	w       *world
	dir     string // the filled stores
	bodies  []string
	results map[string][]result
}

// Names of cases: server, driver or log; workload; lane; messages there before.
func caseName(what string, wl workload, l lane, size int) string {
	return fmt.Sprintf("%s/%s/%s/%d", what, wl.name, l.name, size)
}

const randomCase = "server, random ids"

// runStore measures what the store costs and what the server adds to it.
func runStore(b *bench) error {
	r := &storeRun{bench: b, dir: b.Dir, results: map[string][]result{}}
	if r.dir == "" {
		r.dir = b.tmp
	}
	var err error
	if r.w, err = b.makeWorld(r.dir); err != nil {
		return fmt.Errorf("making the people and groups: %w", err)
	}
	if err := b.fillStores(r.w, r.dir); err != nil {
		return err
	}
	disk, err := r.disk()
	if err != nil {
		return err
	}
	r.bodies = makeBodies(rand.New(rand.NewPCG(b.Seed, 3)), b.Body)
	found := newPaging(len(b.Sizes))
	for round := range b.Rounds {
		for i := range workloads {
			wl := workloads[(i+round)%len(workloads)]
			if err := r.sends(round, wl); err != nil {
				return err
			}
		}
		if err := b.measurePages(r.w, r.dir, round, found); err != nil {
			return err
		}
	}
	live, err := r.grownLive()
	if err != nil {
		return err
	}
	for _, wl := range workloads {
		b.report.section(r.sendsSection(wl))
	}
	b.report.section(r.sizesSection())
	b.report.section(b.pagesSection(found))
	b.report.section(diskSection(b.Body, append(disk, live)))
	b.report.plot = r.plot()
	return nil
}

// sends measures one workload for one round. What is compared stands together.
func (r *storeRun) sends(round int, wl workload) error {
	for i := range lanes {
		l := lanes[(i+round)%len(lanes)]
		if err := r.measure(round, "server", wl, l, 0); err != nil {
			return err
		}
		if err := r.measure(round, "driver", wl, l, 0); err != nil {
			return err
		}
		if err := r.measure(round, "log", wl, l, 0); err != nil {
			return err
		}
		if l.name != hundredSenders.name {
			continue
		}
		if err := r.measure(round, randomCase, wl, l, 0); err != nil {
			return err
		}
		for _, size := range r.Sizes {
			if err := r.measure(round, "server", wl, l, size); err != nil {
				return err
			}
			if err := r.measure(round, "driver", wl, l, size); err != nil {
				return err
			}
		}
	}
	return nil
}

// copied bounds the stores that every case gets a fresh copy of. Larger ones
// grow by what is measured, which is little of them.
const copied = 1_000_000

// measure runs one case on a store and keeps its result.
func (r *storeRun) measure(round int, what string, wl workload, l lane, size int) (err error) {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	store := r.storeDir(r.dir, size)
	if what != "log" && size <= copied {
		work := filepath.Join(r.tmp, "work")
		if err := copyStore(work, store); err != nil {
			return err
		}
		store = work
	} else if what != "log" {
		if err := warmFile(store); err != nil {
			return err
		}
	}
	var res result
	seed := r.Seed ^ uint64(round)<<32 ^ uint64(len(r.results))
	switch what {
	case "server":
		res, err = r.server(store, wl, l, timeID, seed)
	case randomCase:
		res, err = r.server(store, wl, l, randomID, seed)
	case "driver":
		res, err = r.driver(store, wl, l, seed)
	case "log":
		res, err = r.log(wl, l, seed)
	}
	name := caseName(what, wl, l, size)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r.progress("round %d: %-36s %8.0f/s  p99 %.2f ms", round+1, name, res.rate(), percentile(res.latencies, 0.99).Seconds()*1e3)
	r.results[name] = append(r.results[name], res)
	return nil
}

func (r *storeRun) server(store string, wl workload, l lane, key func(*rand.Rand) uuid, seed uint64) (result, error) {
	senders, err := r.w.senders(l.senders, wl.groups(r.w))
	if err != nil {
		return result{}, err
	}
	p, err := harness.Start(r.bin, store, nil)
	if err != nil {
		return result{}, err
	}
	defer p.Kill()
	load := &load{process: p, senders: senders, window: l.window, key: key, bodies: r.bodies, live: r.Live, seed: seed}
	res, err := load.run(r.warmed(), r.measured())
	if err != nil {
		return res, fmt.Errorf("%w\n%s", err, p.Log())
	}
	if err := p.Stop(); err != nil {
		return res, fmt.Errorf("stopping the server: %w\n%s", err, p.Log())
	}
	return res, nil
}

func (r *storeRun) driver(store string, wl workload, l lane, seed uint64) (res result, err error) {
	d, err := openDriver(r.w, store, true)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	next := rowsFor(rand.New(rand.NewPCG(seed, 1)), wl.groups(r.w), timeID, r.bodies)
	return batchLoad(next, d.insert, l.batch, r.warmed(), r.measured())
}

func (r *storeRun) log(wl workload, l lane, seed uint64) (res result, err error) {
	f, err := openLog(filepath.Join(r.tmp, "log"))
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	next := rowsFor(rand.New(rand.NewPCG(seed, 1)), wl.groups(r.w), timeID, r.bodies)
	return batchLoad(next, f.write, l.batch, r.warmed(), r.measured())
}

// disk measures the stores as they were filled.
func (r *storeRun) disk() ([]grown, error) {
	empty, err := measureDisk(r.storeDir(r.dir, 0))
	if err != nil {
		return nil, err
	}
	var stores []grown
	for _, size := range r.Sizes {
		u, err := measureDisk(r.storeDir(r.dir, size))
		if err != nil {
			return nil, err
		}
		n, err := messagesIn(r.storeDir(r.dir, size))
		if err != nil {
			return nil, err
		}
		stores = append(stores, grown{"filled by the driver", n, empty, u})
	}
	return stores, nil
}

// grownLive lets the server itself write into an empty store for a while: its
// pages split as they do in life.
func (r *storeRun) grownLive() (g grown, err error) {
	store := filepath.Join(r.tmp, "work")
	if err := copyStore(store, r.storeDir(r.dir, 0)); err != nil {
		return g, err
	}
	g.name = "written by the server, spread"
	if g.before, err = measureDisk(store); err != nil {
		return g, err
	}
	if _, err := r.server(store, workloads[1], hundredSenders, timeID, r.Seed); err != nil {
		return g, err
	}
	if g.after, err = measureDisk(store); err != nil {
		return g, err
	}
	g.messages, err = messagesIn(store)
	return g, err
}

// rates, of a case.
func (r *storeRun) rates(what string, wl workload, l lane, size int) (s series) {
	for _, res := range r.results[caseName(what, wl, l, size)] {
		s = append(s, res.rate())
	}
	return s
}

// each of a case's results, as seconds.
func (r *storeRun) seconds(name string, of func(result) float64) (s series) {
	for _, res := range r.results[name] {
		s = append(s, of(res))
	}
	return s
}

func p50(res result) float64 { return percentile(res.latencies, 0.50).Seconds() }
func p99(res result) float64 { return percentile(res.latencies, 0.99).Seconds() }

func (r *storeRun) sendsSection(wl workload) section {
	s := section{
		title: "Durable sends per second: " + wl.name,
		note: fmt.Sprintf("%d groups: %s. Senders with one send under way each (and one that pipelines), acknowledged through the socket by `grima serve --dev`, into a store without messages; beside it the same rows inserted in batches of as many by the bare driver (same schema, same settings), and appended to a bare log with fdatasync.",
			wl.groups(r.w), wl.about),
		head: []string{"senders", "end to end, /s", "bare driver, /s", "bare log, /s", "of the driver", "of the log", "ack p50 / p99, ms", "commit of the driver p50 / p99, ms", "server CPU, us per send", "client CPU, us per send"},
	}
	add := func(name, what string, l lane) {
		key := caseName(what, wl, l, 0)
		rates, driver, log := r.rates(what, wl, l, 0), r.rates("driver", wl, l, 0), r.rates("log", wl, l, 0)
		commit := caseName("driver", wl, l, 0)
		s.row(name, rates.spread(rate), driver.spread(rate), log.spread(rate),
			rates.over(driver).spread(ratio), rates.over(log).spread(ratio),
			millis(r.seconds(key, p50).median())+" / "+r.seconds(key, p99).spread(millis),
			millis(r.seconds(commit, p50).median())+" / "+r.seconds(commit, p99).spread(millis),
			r.seconds(key, func(res result) float64 { return res.serverCPU.Seconds() / float64(res.sent) }).spread(micros),
			r.seconds(key, func(res result) float64 { return res.clientCPU.Seconds() / float64(res.sent) }).spread(micros))
	}
	for _, l := range lanes {
		add(l.name, "server", l)
	}
	add("100, random ids (UUIDv4)", randomCase, hundredSenders)
	return s
}

func (r *storeRun) sizesSection() section {
	s := section{
		title: "Sends into a store that holds messages already",
		note: fmt.Sprintf("100 senders, %d groups in the store, messages shared out as by Zipf's law. Stores above %s are not copied for each case, and grow by what is measured.",
			r.w.Chats, count(copied)),
		head: []string{"workload", "messages there", "end to end, /s", "of the rate into the empty store", "bare driver, /s", "of its rate into the empty store", "end to end / bare driver", "ack p50 / p99, ms"},
	}
	for _, wl := range workloads {
		for _, size := range append([]int{0}, r.Sizes...) {
			server, driver := r.rates("server", wl, hundredSenders, size), r.rates("driver", wl, hundredSenders, size)
			key := caseName("server", wl, hundredSenders, size)
			s.row(wl.name, count(size), server.spread(rate), server.over(r.rates("server", wl, hundredSenders, 0)).spread(ratio),
				driver.spread(rate), driver.over(r.rates("driver", wl, hundredSenders, 0)).spread(ratio), server.over(driver).spread(ratio),
				millis(r.seconds(key, p50).median())+" / "+r.seconds(key, p99).spread(millis))
		}
	}
	return s
}

func (r *storeRun) plot() plot {
	var p plot
	for _, wl := range workloads {
		q := panel{title: "sends/s by senders (256: one, pipelining), " + wl.name, log: true, label: rate}
		what := []line{{name: "end to end", class: 0}, {name: "bare driver", class: 1}, {name: "bare log", class: 2}}
		for _, l := range lanes {
			q.places = append(q.places, fmt.Sprint(l.batch))
			for i, name := range []string{"server", "driver", "log"} {
				what[i].at = append(what[i].at, r.rates(name, wl, l, 0))
			}
		}
		q.lines = what
		p.panels = append(p.panels, q)
	}
	q := panel{title: "rate by messages stored, empty = 1", label: ratio, aim: 0.6, places: []string{"0"}}
	for i, wl := range workloads {
		empty := r.rates("server", wl, hundredSenders, 0)
		l := line{name: wl.name, class: i, at: []series{empty.over(empty)}}
		for _, size := range r.Sizes {
			l.at = append(l.at, r.rates("server", wl, hundredSenders, size).over(empty))
		}
		q.lines = append(q.lines, l)
	}
	for _, size := range r.Sizes {
		q.places = append(q.places, count(size))
	}
	p.panels = append(p.panels, q)
	return p
}
