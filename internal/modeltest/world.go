// Package modeltest holds Grima's promises of live delivery against a server
// that runs: random people on devices that lose their connections anywhere,
// read slowly or not at all and come back, while what was committed is told to
// the hub late, twice or never, and the server dies and starts again.
//
// What is looked at are the invariants of docs/protocol.md#invariants. A
// recorder between the rules and the store knows what was committed ([World]'s
// truth); a tap on each connection holds every line against it and against what
// was said before ([tap]); the devices follow docs/protocol.md#resume and must
// end with what a full read gives. Nothing sleeps: the rounds of a scenario end
// when everything has arrived, or a generous time has passed in which it did
// not.
//
// A scenario is drawn from its seed: who does what, and where connections break.
// What runs beside what is the scheduler's, so the same seed need not fail each
// time, but it does the same things.
package modeltest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/queue"
	"github.com/grima-chat/grima/protocol"
)

// Options say what a scenario is like. Zero values mean what stands in
// parentheses.
type Options struct {
	Seed    uint64
	People  int // (5)
	Devices int // (9)
	Rounds  int // (4)
	Steps   int // of each device in each round (14)

	Hints     bool          // news from the store goes astray on its way to the hub
	Comings   bool          // half of what people do is to come, to go, and to hang up
	Crashes   bool          // the server dies now and then
	Nodes     int           // servers on one store, between which devices hop (1)
	Postgres  bool          // which is a database of PostgreSQL, and each server has its own way to it
	Workers   queue.Design  // how connections get their turns, unless GRIMA_WORKERS says (the server\'s default)
	Lines     []line        // what carries connections (all)
	Outbox    int           // bytes of events that wait for a reader (24 KiB)
	GapBeyond int64         // numbers that a gap may leave out although they could be told (1000)
	Patience  time.Duration // for what must come (a minute)
	Arrives   time.Duration // how long, at the end of a round, everything may take to be with everybody (Patience)
	Without   Guard         // what is taken out

	// Script is what happens in a round instead of chance.
	Script func(*World)

	// Device makes the client under test (a Reference).
	Device func(ReferenceConfig) Device
	// Host starts the server (a whole one, in this process).
	Host func(testing.TB, *World) Host
}

// Guard is one of the things that make delivery safe. Taken out, the test has
// to fail: that is the test of the test.
type Guard string

const (
	None           Guard = ""
	SubscribeFirst Guard = "subscribe before sync"
	HoleCheck      Guard = "the client looks at prev_seq"
	Epoch          Guard = "the client looks at the epoch"
	Snapshot       Guard = "changes.list reads its rows and next in one snapshot"
	Durable        Guard = "answered means on disk"
	Rescan         Guard = "the hub looks for changes that nobody told it of"
	Fill           Guard = "the hub fills holes from the store"
	DirtySet       Guard = "the hub remembers what did not fit, and catches up"
	Settling       Guard = "a server tells nothing of its own before it has answered"
	ListFirst      Guard = "the hub lists a connection before it reads its memberships"
)

// Host is a server under test, or several on one store.
type Host interface {
	Addrs() []string
	// User makes an account and gives its id and the token of a session.
	User(name string) (id, token string)
	// Crash ends the server without a clean stop and starts it again, if rewind
	// is set on what it was when Keep was called last.
	Crash(rewind bool)
	Keep()
	// Settle waits until what was committed is known.
	Settle()
	// Disturb lets something befall what ties several servers together, and with
	// false makes it well again.
	Disturb(rng *rand.Rand, on bool)
	// Lose ends one of several servers, cleanly or not, and starts it again,
	// after gone, which is told its address.
	Lose(rng *rand.Rand, gone func(addr string, clean bool))
	// Restart stops it cleanly and starts it again.
	Restart()
	// Stop ends it.
	Stop()
}

// Violation is a promise that was not kept.
type Violation struct {
	Promise, What string
	Seed          uint64
	Round         int
	Transcript    []string // the last lines of the connection concerned
}

func (v *Violation) Error() string {
	s := fmt.Sprintf("%s\n  %s\n  seed %d, round %d (go test ./internal/modeltest -run 'TestModel$' -model.seed=%d)", v.Promise, v.What, v.Seed, v.Round, v.Seed)
	if len(v.Transcript) > 0 {
		s += "\n  the last lines of that connection:\n    " + strings.Join(v.Transcript, "\n    ")
	}
	return s
}

// World is one scenario.
type World struct {
	t     testing.TB
	opts  Options
	truth *truth // empty if the server is another process

	ctx    context.Context // over at the first violation
	cancel context.CancelFunc

	people  []*person
	devices []*device
	host    Host

	mu        sync.Mutex
	round     int
	storm     bool          // connections break
	addrs     []string      // of the servers; none: there is none
	moved     chan struct{} // closed, and made anew, when addr changes
	era       int           // grows with each server
	eras      map[*tap]int
	failed    *Violation
	inProcess bool // the truth is known
	askers    int  // how many there were
	counts    map[string]int
	lines     chan struct{}   // closed, and made anew, at each line of the server\'s
	seen      map[string]seen // what was told live, if the truth is not known

	said sayings
}

// seen is what was told live of a chat.
type seen struct {
	last     int64
	messages map[int64]protocol.Message
}

// live notes an event.
func (w *World) live(e *protocol.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen[e.ChatID]
	if s.messages == nil {
		s.messages = map[int64]protocol.Message{}
	}
	s.last = max(s.last, e.Seq)
	if m := e.Message; m != nil && m.UpdatedSeq >= s.messages[m.Seq].UpdatedSeq {
		s.messages[m.Seq] = *m
	}
	w.seen[e.ChatID] = s
}

type person struct {
	name, id, token string
}

// device is a Device and what the world does to it.
type device struct {
	Device

	w       *World
	name    string
	person  *person
	outlet  *outlet
	old     bool
	renewed int        // it has to have had more connections than this
	rng     *rand.Rand // of its steps
}

func (o Options) withDefaults() Options {
	def := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&o.People, 5)
	def(&o.Devices, 9)
	def(&o.Rounds, 4)
	def(&o.Steps, 14)
	def(&o.Outbox, 24<<10)
	def(&o.Nodes, 1)
	if o.GapBeyond == 0 {
		o.GapBeyond = 1000
	}
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
	if o.Arrives == 0 {
		o.Arrives = o.Patience
	}
	if o.Host == nil {
		o.Host = newLocal
	}
	if o.Device == nil {
		o.Device = func(cfg ReferenceConfig) Device { return NewReference(cfg) }
	}
	return o
}

// stuck is how long a scenario may take, which takes seconds, and has a bound on
// all that it waits for. What is beyond it waits for ever, and shows where, also in
// a run of many without a bound of its own.
const stuck = 10 * time.Minute

// Run plays a scenario and gives the first promise that was broken, if one was,
// and how often what happened.
func Run(t testing.TB, opts Options) (*Violation, map[string]int) {
	t.Helper()
	w := newWorld(t, opts)
	defer w.cancel()
	endless := time.AfterFunc(stuck, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("modeltest: seed %d does not end", opts.Seed))
	})
	defer endless.Stop()
	w.host = w.opts.Host(t, w)
	w.setPlace(w.host.Addrs()...)
	w.begin()
	for w.round = 1; w.round <= w.opts.Rounds && !w.broken(); w.round++ {
		w.play()
		w.settle()
	}
	for _, d := range w.devices {
		d.Close()
	}
	w.host.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed, w.counts
}

// newWorld makes a world with nobody in it.
func newWorld(t testing.TB, opts Options) *World {
	w := &World{t: t, opts: opts.withDefaults(), moved: make(chan struct{}), eras: map[*tap]int{}, counts: map[string]int{}, seen: map[string]seen{}, lines: make(chan struct{}), truth: newTruth()}
	w.said.messages, w.said.marks = map[string]*saying{}, map[[2]string]int64{}
	w.truth.beside = w.opts.Postgres
	w.ctx, w.cancel = context.WithCancel(t.Context())
	return w
}

// fail notes a broken promise. The first one ends the scenario.
func (w *World) fail(promise, what string, transcript []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = &Violation{Promise: promise, What: what, Seed: w.opts.Seed, Round: w.round, Transcript: slices.Clone(transcript)}
		w.cancel()
	}
}

// hear notes that the server said something; heard is closed then.
func (w *World) hear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.lines)
	w.lines = make(chan struct{})
}

func (w *World) heard() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines
}

func (w *World) broken() bool { return w.ctx.Err() != nil }

func (w *World) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

func (w *World) stormy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.storm
}

func (w *World) setStorm(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.storm = on
}

// place is where the servers are, and what tells when that changes.
func (w *World) place() (addrs []string, moved <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.addrs, w.moved
}

func (w *World) setPlace(addrs ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addrs = addrs
	if len(addrs) == 0 {
		w.era++
	}
	close(w.moved)
	w.moved = make(chan struct{})
}

// admit lets a connection in, unless its server has gone already.
func (w *World) admit(t *tap, addr string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.eras[t] = w.era
	return slices.Contains(w.addrs, addr)
}

// now is the era: it ends with each server.
func (w *World) now() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.era
}

// serving reports whether the server of a connection is one that nobody stops.
func (w *World) serving(t *tap) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.eras[t] == w.era && len(w.addrs) > 0
}

// begin makes the people and their devices, and a chat to begin with.
func (w *World) begin() {
	for i := range w.opts.People {
		p := &person{name: fmt.Sprintf("%c", 'a'+i) + "na"}
		p.id, p.token = w.host.User(p.name)
		w.people = append(w.people, p)
	}
	for i := range w.opts.Devices {
		p := w.people[i%len(w.people)]
		d := &device{
			w: w, person: p, name: fmt.Sprintf("%s's device %d", p.name, i/len(w.people)+1),
			rng: rand.New(rand.NewPCG(w.opts.Seed, uint64(i)+1)),
		}
		d.old = i == len(w.people) // one in a scenario
		d.outlet = &outlet{
			w: w, device: d.name, user: p.id, changed: make(chan struct{}),
			rng: rand.New(rand.NewPCG(w.opts.Seed, uint64(i)+1000)),
		}
		d.Device = w.opts.Device(ReferenceConfig{
			Connector: d.outlet, Token: p.token, UserID: p.id, Page: 1 + d.rng.IntN(30), Old: d.old, Twice: i%2 == 0,
			Without: w.opts.Without,
			Unheard: func(promise, what string) { w.fail(promise, d.name+": "+what, d.transcript(what)) },
		})
		w.devices = append(w.devices, d)
	}
}

// play is the middle of a round: everybody does things at once, and sometimes
// the server goes down and comes up.
func (w *World) play() {
	rng := rand.New(rand.NewPCG(w.opts.Seed, uint64(w.round)+1<<32))
	w.host.Keep()
	w.said.keep()
	if w.opts.Script != nil {
		w.opts.Script(w)
		return
	}
	w.setStorm(true)
	w.host.Disturb(rng, true)
	var acting sync.WaitGroup
	for _, d := range w.devices {
		acting.Go(func() {
			for range w.opts.Steps {
				if w.broken() {
					return
				}
				d.step()
			}
			d.back()
		})
	}
	if w.opts.Crashes && rng.IntN(3) > 0 {
		w.after(int64(rng.IntN(w.opts.Steps*w.opts.Devices)), time.Second)
		if w.opts.Nodes > 1 {
			w.loss(rng)
		} else {
			w.outage(rng)
		}
	}
	acting.Wait()
	w.host.Disturb(rng, false)
	w.setStorm(false)
}

// after waits until there were n more commits, or nothing more happens.
func (w *World) after(n int64, most time.Duration) {
	if n == 0 {
		return
	}
	begun, _ := w.truth.wait()
	quiet := time.NewTimer(most)
	defer quiet.Stop()
	for {
		now, more := w.truth.wait()
		if now-begun >= n {
			return
		}
		select {
		case <-more:
		case <-quiet.C:
			return
		case <-w.ctx.Done():
			return
		}
	}
}

// settle is the end of a round: everybody comes back and reads, nobody speaks
// any more; and when everything has arrived, everything is looked at.
func (w *World) settle() {
	deadline := time.NewTimer(w.opts.Arrives)
	defer deadline.Stop()
	for live := true; !w.broken(); {
		wrong := w.settled(live, deadline.C)
		if w.broken() {
			return
		}
		if wrong == nil {
			if !live {
				break
			}
			live = false
			continue
		}
		// A request whose connection was lost may be carried out late, and be read
		// before it is written down.
		w.host.Settle()
		if !wrong.late() {
			w.fail(wrong.promise, wrong.what, wrong.transcript)
		}
	}
	w.epilogue()
}

// await waits until missing says nothing, or time is up.
func (w *World) await(d *device, missing func() string, deadline <-chan time.Time) bool {
	for {
		changed, heard := d.Changed(), w.heard()
		what := missing()
		if what == "" {
			return true
		}
		select {
		case <-changed:
		case <-heard:
		case <-deadline:
			w.fail("I7 no loss over reconnect", fmt.Sprintf("%s never gets everything: %s", d.name, what), d.transcript(what))
			return false
		case <-w.ctx.Done():
			return false
		}
	}
}

// missing says what a device does not have yet of what it should.
func (d *device) missing(want map[string]View) string {
	s := d.State()
	if !s.Settled {
		return "it has something to ask or to say"
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		have, there := s.Chats[id]
		switch {
		case !there:
			return fmt.Sprintf("it does not have chat %s", id)
		case have.LastSeq < want[id].LastSeq:
			return fmt.Sprintf("of chat %s it has what there is up to %d of %d", id, have.LastSeq, want[id].LastSeq)
		}
		d.outlet.mu.Lock()
		tap := d.outlet.tap
		d.outlet.mu.Unlock()
		if !tap.reached(id, want[id].LastSeq) {
			return fmt.Sprintf("of chat %s it was not told live what there is up to %d", id, want[id].LastSeq)
		}
	}
	for id := range s.Chats {
		if _, in := want[id]; !in {
			return fmt.Sprintf("it has chat %s, which its user is not in", id)
		}
	}
	return ""
}

// transcript gives the last lines of all the device's connections, of those that
// name the chat that what speaks of.
func (d *device) transcript(what string) []string {
	return d.outlet.past.of(chatID.FindString(what))
}

var chatID = regexp.MustCompile(`\bc_\d+`)
