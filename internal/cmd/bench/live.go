//go:build linux

package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grima-chat/grima/internal/harness"
)

// live is a run of the suite of that name: what it measures with, and what it
// found.
type live struct {
	designs  []string
	volatile string // a binary whose store is in memory, see cmd/grima/store_bench.go
	peers    []kind
	missing  []string
	starts   int
	tls      [2]string // certificate, key
	size     liveSizes
	found    findings
	crowd    *crowd     // see planCrowd
	secure   []net.Conn // idle, of the case under way
	// noPriority: the thread that watches beside hostile clients could not be
	// given a priority above theirs.
	noPriority atomic.Bool
	steps      []liveStep
}

// liveSizes are how many of everything there are.
type liveSizes struct {
	rooms      []int
	idle       int           // connections whose memory is measured
	settle     time.Duration // before it is
	active     []int         // clients that ask all the time
	storm      int
	storming   int // of those, in the middle of coming back
	pipelined  int // requests that one client has on their way
	deaf       int // receivers that never read
	bystanders int
	looks      int // at bystanders beside each hostility, in a round
	heavyChats int // of the person whose sync is heavy
	heavyRows  int // messages of the largest size in the heavy room
}

var (
	fullSizes = liveSizes{
		rooms: []int{10, 100, 1000, 10_000}, idle: 15_000, settle: 5 * time.Second, active: []int{100, 5000},
		storm: 9500, storming: 3000, pipelined: 100_000, deaf: 1000, bystanders: 20, looks: 3, heavyChats: 5000, heavyRows: 500,
	}
	quickSizes = liveSizes{
		rooms: []int{10, 100}, idle: 200, settle: time.Second / 2, active: []int{20, 100},
		storm: 300, storming: 300, pipelined: 5000, deaf: 50, bystanders: 5, looks: 1, heavyChats: 200, heavyRows: 100,
	}
)

// liveStep is one case: it is run once in every round.
type liveStep struct {
	name string
	run  func(round int) error
	took []time.Duration
	// failed is why, in the rounds in which it did.
	failed []error
}

// findings are figures by case and name, one per round; NaN where there is none.
type findings map[string]map[string]series

func (f findings) add(round int, key, figure string, v float64) {
	if f[key] == nil {
		f[key] = map[string]series{}
	}
	s := f[key][figure]
	for len(s) < round {
		s = append(s, math.NaN())
	}
	f[key][figure] = append(s, v)
}

// get is a figure over the rounds in which it was found.
func (f findings) get(key, figure string) series {
	return slices.DeleteFunc(slices.Clone(f[key][figure]), math.IsNaN)
}

// ratio is one case's figure over another's, round by round.
func (f findings) ratio(key, over, figure string) series {
	return slices.DeleteFunc(f[key][figure].over(f[over][figure]), math.IsNaN)
}

// more is by how much one case's figure is above another's, round by round.
func (f findings) more(key, than, figure string) series {
	return slices.DeleteFunc(f[key][figure].less(f[than][figure]), math.IsNaN)
}

type scenario struct {
	name string
	plan func(*bench) error // adds its steps
	tell func(*bench)       // adds its sections to the report
}

// scenarioList is what -only chooses from.
func scenarioList() []scenario {
	return []scenario{
		{"fanout", (*bench).planFanOut, (*bench).tellFanOut},
		{"memory", (*bench).planMemory, (*bench).tellMemory},
		{"requests", (*bench).planRequests, (*bench).tellRequests},
		{"storm", (*bench).planStorm, (*bench).tellStorm},
		{"starve", (*bench).planStarvation, (*bench).tellStarvation},
	}
}

func scenarioNames() string {
	var names []string
	for _, s := range scenarioList() {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

// runLive measures live delivery and the ways of giving clients to workers.
func runLive(b *bench) error {
	if err := errors.Join(b.prepareLive(), b.prepareServers()); err != nil {
		return err
	}
	chosen := func(name string) bool { return len(b.Only) == 0 || slices.Contains(b.Only, name) }
	for _, s := range scenarioList() {
		if chosen(s.name) {
			if err := s.plan(b); err != nil {
				return fmt.Errorf("preparing %s: %w", s.name, err)
			}
		}
	}
	if err := b.playSteps(); err != nil {
		return err
	}
	b.tellAims()
	for _, s := range scenarioList() {
		if chosen(s.name) {
			s.tell(b)
		}
	}
	return nil
}

// playSteps runs every case once in every round.
func (b *bench) playSteps() error {
	steps := len(b.live.steps)
	for round := range b.Rounds {
		// Every round begins elsewhere, so that what drifts meets everybody.
		for i := range steps {
			if err := b.liveStep(round, i, (i+round*steps/b.Rounds)%steps); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepareLive finds out what this server can do.
func (b *bench) prepareLive() (err error) {
	starts := 0
	if b.live != nil {
		starts = b.live.starts
	}
	b.live = &live{found: findings{}, size: fullSizes, starts: starts}
	if b.quick {
		b.live.size = quickSizes
	}
	b.live.designs, err = designs(b.bin)
	return err
}

// prepareServers builds what Grima is compared with, and finds the other
// servers.
func (b *bench) prepareServers() (err error) {
	l := b.live
	b.progress("building the server with its store in memory, and nats-server")
	dir := filepath.Join(b.tmp, "volatile")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if l.volatile, err = harness.Build(dir, "-tags", "grimabench"); err != nil {
		return err
	}
	l.peers, l.missing = b.findPeers()
	for _, m := range l.missing {
		b.progress("missing: %s", m)
	}
	l.tls[0], l.tls[1], err = selfSigned(b.tmp)
	return err
}

func (b *bench) plan(name string, run func(round int) error) {
	if b.Case != nil && !b.Case.MatchString(name) {
		return
	}
	b.live.steps = append(b.live.steps, liveStep{name: name, run: run})
}

// liveStep runs one case. A server that fails in it is a finding, too, and no
// reason to lose the rest.
func (b *bench) liveStep(round, done, i int) error {
	s := &b.live.steps[i]
	b.progress("round %d of %d, %d of %d: %s%s", round+1, b.Rounds, done+1, len(b.live.steps), s.name, b.remaining(round, done))
	began := time.Now()
	err := s.run(round)
	s.took = append(s.took, time.Since(began))
	if ended := b.ctx.Err(); ended != nil {
		return ended
	}
	if err != nil {
		b.progress("FAILED: %s: %v", s.name, err)
		s.failed = append(s.failed, err)
	}
	return nil
}

// remaining guesses from what was done how long the rest takes.
func (b *bench) remaining(round, done int) string {
	n := len(b.live.steps)
	total, known := time.Duration(0), 0
	for _, s := range b.live.steps {
		for _, d := range s.took {
			total += d
			known++
		}
	}
	if known == 0 {
		return ""
	}
	left := total / time.Duration(known) * time.Duration(b.Rounds*n-round*n-done)
	return fmt.Sprintf(" (about %s left)", left.Round(time.Second))
}

func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing %s: %w", dir, err)
	}
	return nil
}

// beside runs do beside a server, which is ended afterwards, and puts the end of
// its log into an error.
func (b *bench) beside(k kind, w *crowd, do func(*target) error) error {
	t, err := b.startOn(k, w)
	if err != nil {
		return err
	}
	err = do(t)
	t.stop()
	settle()
	if err != nil && b.ctx.Err() == nil {
		if log := t.log(); log != "" {
			err = errors.Join(err, fmt.Errorf("the end of its log: %.500s", log[max(0, len(log)-500):]))
		}
	}
	return err
}

// lastLines keeps the end of a log.
type lastLines struct {
	mu   sync.Mutex
	text []byte
}

func (t *lastLines) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(append(t.text, line...), '\n')
	if len(t.text) > 8<<10 {
		t.text = append([]byte(nil), t.text[len(t.text)-4<<10:]...)
	}
}

func (t *lastLines) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
