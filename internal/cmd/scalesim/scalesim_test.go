package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

func docs() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "../../../docs")
}

// whole is a report with few messages, made once.
var whole = sync.OnceValues(func() (*report, error) {
	return options{seed: 1, messages: 300, perDay: 40, share: 0.3, docs: docs()}.report()
})

func measurements(t testing.TB) (measured, params) {
	t.Helper()
	m, err := readMeasured(options{docs: docs()}.reports()...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := calibrate(m)
	if err != nil {
		t.Fatal(err)
	}
	return m, p
}

// waits is the mean time that work waits at a station, with random arrivals.
func waits(processors int, rate float64, work func(*rand.Rand) float64) float64 {
	rng := rand.New(rand.NewPCG(7, 7))
	s := newStation(processors, 1)
	now, sum := 0.0, 0.0
	const n = 300_000
	for range n {
		now += rng.ExpFloat64() / rate
		begun, _ := s.serve(now, work(rng))
		sum += begun - now
	}
	return sum / n
}

// Pollaczek and Khinchine: of M/D/1 the mean wait is r/(2(1-r)) of a service.
func TestStationIsMD1(t *testing.T) {
	for _, load := range []float64{0.2, 0.5, 0.8, 0.9} {
		got, want := waits(1, load, func(*rand.Rand) float64 { return 1 }), load/(2*(1-load))
		if math.Abs(got-want) > 0.04*want {
			t.Errorf("load %g: a wait of %g services, want %g", load, got, want)
		}
	}
}

// Erlang's C: of M/M/c the mean wait is C/(c-a).
func TestStationIsMMc(t *testing.T) {
	const c = 4
	for _, a := range []float64{1, 2.4, 3.4} {
		sum, term := 0.0, 1.0
		for k := range c {
			sum += term
			term *= a / float64(k+1)
		}
		last := term * c / (c - a)
		want := last / (sum + last) / (c - a)
		got := waits(c, a, func(rng *rand.Rand) float64 { return rng.ExpFloat64() })
		if math.Abs(got-want) > 0.05*want {
			t.Errorf("%g of %d busy: a wait of %g services, want %g", a, c, got, want)
		}
	}
}

func TestSpeedIsService(t *testing.T) {
	s := newStation(1, 0.25)
	if begun, done := s.serve(3, 1); begun != 3 || done != 7 {
		t.Errorf("from %g to %g", begun, done)
	}
	if begun, done := s.serve(4, 1); begun != 7 || done != 11 || s.busy != 8 {
		t.Errorf("then from %g to %g, busy %g", begun, done, s.busy)
	}
}

func TestOneFlushIsForAllWhoWait(t *testing.T) {
	c := &clock{}
	d := &disk{c: c, flush: 1}
	var ended []float64
	sync := func() { d.sync(func() { ended = append(ended, c.now) }) }
	c.at(0, sync)
	c.at(0.1, sync)
	c.at(0.9, sync)
	c.at(5, sync)
	c.run(10)
	if !slices.Equal(ended, []float64{1, 2, 2, 6}) || d.flushes != 3 {
		t.Errorf("ended at %v, in %d flushes", ended, d.flushes)
	}
}

func TestQuantiles(t *testing.T) {
	var h histogram
	for i := 1; i <= 1000; i++ {
		h.add(float64(i)*1e-3, 2)
	}
	for p, want := range map[float64]float64{0.5: 0.5, 0.99: 0.99, 1: 1} {
		if got := h.quantile(p); math.Abs(got-want) > 0.02*want {
			t.Errorf("%g: %g, want %g", p, got, want)
		}
	}
	if (&histogram{}).quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
}

// Whatever the arrangement, every message is answered and delivered once to
// everybody: check sees it, and what it would see is tried out below.
func TestEveryMessageIsDeliveredOnce(t *testing.T) {
	_, p := measurements(t)
	for i := range uint64(16) {
		rng := rand.New(rand.NewPCG(i, 3))
		d := design{
			params: p, nodes: 1 + rng.IntN(60), cores: 1 + rng.IntN(8), speed: 0.1 + rng.Float64(),
			databases: 1 + rng.IntN(5), coresDB: 2, relays: rng.IntN(20), sqlite: i%8 == 7,
		}
		if d.sqlite {
			d.nodes, d.databases = 1, 1
		}
		c := newCluster(d, i)
		want, at := 0, 0.0
		const messages = 300
		for range messages {
			at += rng.ExpFloat64() / 2000
			chat := rng.IntN(6) - 3 // three are fought for
			n := rng.IntN(3 * d.nodes)
			if chat >= 0 {
				n = rng.IntN(5_000)
			}
			want += n
			c.at(at, func() {
				places, readers := c.spread(n)
				c.send(&message{chat: max(chat, -1), home: c.rng.IntN(d.nodes), database: max(chat, 0) % d.databases, at: places, readers: readers})
			})
		}
		c.run(math.Inf(1))
		if err := c.check(); err != nil {
			t.Fatalf("%d: %v, of %+v", i, err, d)
		}
		if c.sent != messages || c.delivered != want {
			t.Fatalf("%d: %d sent, %d delivered, want %d", i, c.sent, c.delivered, want)
		}
	}
}

func TestCheckSees(t *testing.T) {
	_, p := measurements(t)
	fresh := func() (*cluster, *message) {
		c := newCluster(design{params: p, nodes: 2, cores: 1, speed: 1, databases: 1, coresDB: 1}, 1)
		m := &message{chat: -1, at: []int{0, 1}, readers: []int{2, 2}}
		c.send(m)
		c.run(math.Inf(1))
		if err := c.check(); err != nil {
			t.Fatal(err)
		}
		return c, m
	}
	c, m := fresh()
	c.tell(m, 1)
	c.run(math.Inf(1))
	if c.check() == nil {
		t.Error("a message that a node was told twice is not seen")
	}
	c, m = fresh()
	m.told = nil
	c.tell(m, 1)
	c.run(math.Inf(1))
	if c.check() == nil {
		t.Error("a message that was delivered twice is not seen")
	}
	c, _ = fresh()
	c.sent++
	if c.check() == nil {
		t.Error("a message that did not arrive is not seen")
	}
}

func TestSameSeedSameRun(t *testing.T) {
	_, p := measurements(t)
	l := size(apart(p), assumed, architectures[3], people(1e6))
	run := func(seed uint64) [4]float64 {
		c, err := simulate(apart(p), assumed, l, seed, 1000)
		if err != nil {
			t.Fatal(err)
		}
		return [4]float64{c.same.quantile(0.5), c.other.quantile(0.99), c.hot.quantile(0.99), float64(c.delivered)}
	}
	if a, b := run(5), run(5); a != b {
		t.Errorf("%v and %v", a, b)
	}
	if a, b := run(5), run(6); a == b {
		t.Errorf("another seed gives the same: %v", a)
	}
}

// More people take no fewer machines, no fewer processors, and no less of
// anything; and what bounds an architecture goes on doing so.
func TestMorePeopleTakeMore(t *testing.T) {
	_, p := measurements(t)
	p = apart(p)
	for _, a := range architectures {
		var before plan
		ended := false
		for e := 4.0; e <= 8; e += 0.5 {
			l := size(p, assumed, a, people(math.Pow(10, e)))
			if ended && l.feasible() {
				t.Errorf("%s does for 10^%g, and not for fewer", a.name, e)
			}
			ended = !l.feasible()
			if before.nodes > 0 && !ended {
				if l.nodes < before.nodes || l.databases < before.databases || l.cpuNodes < before.cpuNodes || l.cpuDB < before.cpuDB ||
					l.memory < before.memory || l.network < before.network || l.month < before.month {
					t.Errorf("%s: 10^%g takes %+v, fewer took %+v", a.name, e, l, before)
				}
			}
			if !ended {
				before = l
			}
		}
		if before.nodes == 0 {
			t.Errorf("%s does for nobody", a.name)
		}
	}
}

// The busier, the later.
func TestLoadMakesLate(t *testing.T) {
	_, p := measurements(t)
	before := 0.0
	for _, load := range []float64{0.1, 0.5, 0.7, 0.85, 0.95} {
		c := newCluster(design{params: p, nodes: 3, cores: 1, speed: 1, databases: 1, coresDB: 8}, 1)
		// A processor's worth of deliveries per node.
		rate := 3 * load / (300*p.delivery + 3*p.tell + 2*(p.read+p.hint) + p.sendNode + p.commitNode)
		now := 0.0
		for range 1500 {
			now += c.rng.ExpFloat64() / rate
			c.at(now, func() {
				c.send(&message{chat: -1, home: c.rng.IntN(3), at: []int{0, 1, 2}, readers: []int{100, 100, 100}, measured: true})
			})
		}
		c.run(math.Inf(1))
		if err := c.check(); err != nil {
			t.Fatal(err)
		}
		if got := c.other.quantile(0.99); got <= before {
			t.Errorf("at a load of %g the 99th percentile is %g, with less it was %g", load, got, before)
		} else {
			before = got
		}
	}
}

// The simulation does not miss what was measured by more than it says.
func TestSimulationIsHeldAgainstMeasurements(t *testing.T) {
	r, err := whole()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.valid) < 20 {
		t.Fatalf("%d comparisons", len(r.valid))
	}
	for _, c := range r.valid {
		if f := c.factor(); !(f < within && f > 1/within) {
			t.Errorf("%s: measured %g, simulated %g", c.what, c.measured, c.simulated)
		}
	}
}

func TestGroupSizes(t *testing.T) {
	w := people(1e7)
	if lo, hi := w.size(0), w.size(1); math.Abs(lo-w.smallest) > 1e-9 || math.Abs(hi-w.largest) > 1e-6*w.largest {
		t.Errorf("from %g to %g", lo, hi)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	sum := 0
	const n = 400_000
	for range n {
		sum += w.listeners(rng)
	}
	want := w.mean(func(x float64) float64 { return x })
	if got := float64(sum) / n; math.Abs(got-want) > 0.05*want {
		t.Errorf("%g listeners in the mean, want %g", got, want)
	}
}

func TestElsewhere(t *testing.T) {
	if elsewhere(100, 1) != 0 {
		t.Error("one node has others")
	}
	// Two listeners, the sender among them, on four nodes: the other is elsewhere
	// three times in four.
	if got := elsewhere(2, 4); math.Abs(got-0.75) > 1e-12 {
		t.Errorf("%g", got)
	}
	if got := elsewhere(1e9, 4); math.Abs(got-3) > 1e-9 {
		t.Errorf("%g", got)
	}
}

func TestReportIsWhole(t *testing.T) {
	r, err := whole()
	if err != nil {
		t.Fatal(err)
	}
	text := r.markdown()
	for _, want := range []string{"## Plans", "## How far each goes", "## Held against", "100 M"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Error("it has figures that are none")
	}
	d := xml.NewDecoder(strings.NewReader(r.plot().SVG()))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
