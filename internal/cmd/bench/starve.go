//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// hostile is what others do while bystanders ask for something light.
type hostile struct {
	name  string
	about string
	begin func(h *hostility) error
}

// asDeployed is the name of a server as operators have it, who set nothing: what
// others are measured with, lets everybody ask for as much as they like.
func asDeployed(name string) string { return name + ", default limits" }

// deployed are the servers with queues as operators have them.
func (b *bench) deployed() []kind {
	var kinds []kind
	for _, k := range b.grimas("--dev=false") {
		if !inQueues(k.name) {
			continue
		}
		name, start := asDeployed(k.name), k.start
		kinds = append(kinds, kind{name, func(ctx context.Context, in site) (*target, error) {
			t, err := start(ctx, in)
			if err == nil {
				t.name = name
			}
			return t, err
		}})
	}
	return kinds
}

// starved are all that bystanders are measured beside.
func (b *bench) starved() []kind { return append(b.grimas(), b.deployed()...) }

var hostiles = []hostile{
	{"quiet", "nobody else", func(*hostility) error { return nil }},
	{"one pipelines", "one client keeps 100,000 chats.get on their way", (*hostility).pipeline},
	{"four heavy", "four clients in a closed loop: the newest 200 of messages of 16 KiB, their changes from 0, a first sync of 5,000 chats, and a page around the middle", (*hostility).fourHeavy},
	{"over and over the heaviest", "one client keeps 16 first syncs of 5,000 chats on their way", (*hostility).overAndOver},
	{"deaf", "1,000 receivers that never read in a room where somebody speaks as fast as it is answered", (*hostility).deaf},
}

// Who is who in the crowd of this scenario: bystanders first, then four who ask
// for heavy things, then who never read, then who speaks to them.
const heavyPeople = 4

// hostility is the other side: a loop of its own, in a thread of its own.
type hostility struct {
	l        *loop
	t        *target
	w        *crowd
	size     liveSizes
	answered atomic.Int64
	askers   int // connections that ask
}

func starveKey(server, what string) string { return "starve/" + server + "/" + what }

func (b *bench) planStarvation() error {
	size := b.live.size
	heavy := size.bystanders
	deaf := heavy + heavyPeople
	people := deaf + size.deaf + 1
	rooms := []roomOf{{from: 0, to: heavy}, {from: heavy, to: deaf, messages: size.heavyRows, size: 16 << 10}, {from: deaf, to: people}}
	for range size.heavyChats {
		rooms = append(rooms, roomOf{from: heavy, to: heavy + 2})
	}
	w, err := b.makeCrowd(filepath.Join(b.tmp, "starvation"), people, people-1, rooms)
	if err != nil {
		return err
	}
	// What is compared stands next to each other in time, and all of it several
	// times in a round: the 99th percentile of a second is that of its ten worst
	// waits, which on a machine that is shared with others differ from one second
	// to the next by more than what is looked for.
	for look := range size.looks {
		for _, k := range b.starved() {
			for _, how := range hostiles {
				b.plan(fmt.Sprintf("starvation, %s, %s (%d of %d)", how.name, k.name, look+1, size.looks), func(round int) error {
					return b.beside(k, w, func(t *target) error { return b.starve(round*size.looks+look, t, w, how) })
				})
			}
		}
	}
	return nil
}

// starve measures bystanders beside a hostility, and what a bare echo beside all
// that would make of the same. A look is to findings what a round is elsewhere.
func (b *bench) starve(look int, t *target, w *crowd, how hostile) error {
	raw, err := rawKind(echoName, "each", false).start(b.ctx, site{})
	if err != nil {
		return fmt.Errorf("starting the echo: %w", err)
	}
	defer raw.stop()
	ctx, stop := context.WithCancel(b.ctx)
	defer stop()
	h := &hostility{t: t, w: w, size: b.live.size}
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- h.run(ctx, how, begun) }()
	select {
	case <-begun:
	case err := <-ended:
		return err
	}
	began := time.Now()
	if err := h.spend(ctx, ended); err != nil {
		return err
	}
	if k := starveKey(t.name, how.name); h.askers > 0 {
		b.live.found.add(look, k, "spent", time.Since(began).Seconds())
	}
	s := &bystanders{b: b, t: t, raw: raw, w: w, h: h}
	watched := make(chan error, 1)
	go func() { watched <- s.run(look, starveKey(t.name, how.name)) }()
	select {
	case err := <-watched:
		stop()
		if lost := <-ended; err == nil && b.ctx.Err() == nil {
			err = lost
		}
		return err
	case err := <-ended:
		// Whoever watches ends by itself, and soon.
		return errors.Join(fmt.Errorf("the hostile side: %w", err), <-watched)
	}
}

// slowed is how many requests a server has slowed down, if it does.
func slowed(addr string) (n float64, limited bool) {
	for name, v := range metricsOf(addr) {
		if strings.HasPrefix(name, `grima_rate_limited_requests_total{action="delayed"`) {
			n, limited = n+v, true
		}
	}
	return n, limited
}

// spend waits until each who asks has been slowed down by the limits, if there
// are any: until what may be asked for at once has been.
func (h *hostility) spend(ctx context.Context, ended <-chan error) error {
	if _, limited := slowed(h.t.addr); !limited || h.askers == 0 {
		return nil
	}
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		select {
		case err := <-ended:
			return fmt.Errorf("the hostile side: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
		// They take turns, so that all come to that at about the same time.
		if n, _ := slowed(h.t.addr); n >= float64(4*h.askers) {
			return nil
		}
	}
	return fmt.Errorf("nobody was slowed down within %v", patience)
}

func (h *hostility) run(ctx context.Context, how hostile, begun chan<- struct{}) error {
	// Their own work is done when nobody else has any: clients have processors of
	// their own, in the world outside. The thread ends with the goroutine.
	runtime.LockOSThread()
	err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0)
	if err != nil {
		return fmt.Errorf("giving hostile clients the lowest priority: %w", err)
	}
	if h.l, err = newLoop(ctx); err != nil {
		return err
	}
	defer h.l.close()
	if err := how.begin(h); err != nil {
		return err
	}
	close(begun)
	for {
		if err := h.l.poll(100); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// asks keeps n requests of the heavy person i on their way: of each kind in turn.
func (h *hostility) asks(i, n int, request []byte) error {
	under := 0
	top := func(c *client) {
		// In pieces, so that a hundred thousand are not written one by one.
		for under <= n-max(n/50, 1) {
			piece := max(n/50, 1)
			h.l.send(c, bytes.Repeat(request, piece))
			under += piece
		}
	}
	refused := func(c *client, data []byte) {
		got := bytes.Count(data, []byte{'\n'})
		if bytes.Contains(data, []byte(`"error":{`)) {
			h.l.fail(fmt.Errorf("client %d was refused: %.300s", c.id, data))
		}
		h.answered.Add(int64(got))
		under -= got
		top(c)
	}
	h.askers++
	person := h.size.bystanders + i
	script := []step{{say: loginLine(h.w.token(person), false), hear: loggedIn}}
	clients, err := h.l.open(1, 1, func(int) (*client, error) { return h.l.dial(h.t.addr, person, script, refused) })
	if err != nil {
		return err
	}
	top(clients[0])
	return nil
}

func (h *hostility) pipeline() error {
	// Of a small room: how much is unread in one is counted.
	return h.asks(0, h.size.pipelined, dataLine("chats.get", `{"chat_id":"`+h.w.rooms[3]+`"}`))
}

func (h *hostility) fourHeavy() error {
	in := `{"chat_id":"` + h.w.rooms[1] + `",`
	return errors.Join(
		h.asks(0, 1, dataLine("sync", `{"limit":200,"timeline_limit":20}`)),
		h.asks(1, 1, dataLine("messages.list", in+`"limit":200}`)),
		h.asks(2, 1, dataLine("changes.list", in+`"after":0,"limit":200}`)),
		h.asks(3, 1, dataLine("messages.list", fmt.Sprintf(`%s"around":%d,"limit":200}`, in, heavyPeople+h.size.heavyRows/2))),
	)
}

func (h *hostility) overAndOver() error {
	return h.asks(0, 16, dataLine("sync", `{"limit":200,"timeline_limit":20}`))
}

func (h *hostility) deaf() error {
	first := h.size.bystanders + heavyPeople
	clients, err := h.l.open(h.size.deaf, 64, func(i int) (*client, error) {
		c, err := h.l.dial(h.t.addr, first+i, []step{{say: loginLine(h.w.token(first+i), true), hear: loggedIn}}, nil)
		if err == nil {
			err = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096)
		}
		return c, err
	})
	if err != nil {
		return err
	}
	for _, c := range clients {
		h.l.silence(c)
	}
	// The server may end them; that is what it should do.
	h.l.onEnd = func(*client) {}
	n := 0
	say := func(c *client) {
		n++
		h.l.send(c, fmt.Appendf(nil, `{"type":"BroadcastRequest","id":1,"op":"message.send","params":{"chat_id":"%s","content":"%s","client_msg_id":"d%d"}}`+"\n",
			h.w.rooms[2], filler(4000), n))
	}
	speaker := h.w.publishers
	speakers, err := h.l.open(1, 1, func(int) (*client, error) {
		return h.l.dial(h.t.addr, speaker, []step{{say: loginLine(h.w.token(speaker), false), hear: loggedIn}}, func(c *client, data []byte) {
			if bytes.Contains(data, []byte(`"error":{`)) {
				h.l.fail(fmt.Errorf("the speaker was refused: %.300s", data))
			}
			if got := bytes.Count(data, []byte{'\n'}); got > 0 {
				h.answered.Add(int64(got))
				say(c)
			}
		})
	})
	if err != nil {
		return err
	}
	h.askers++
	say(speakers[0])
	return nil
}

// bystanders ask for something light at fixed times, whether answered or not, so
// that a wait is counted for everybody who waits. As many clients of a bare echo
// do the same: what those wait, the machine makes everybody wait.
type bystanders struct {
	b         *bench
	t, raw    *target
	w         *crowd
	h         *hostility
	asks      [2]asks   // of t, of raw
	measuring time.Time // requests due from then on count; zero: none
}

// asks are those of one server.
type asks struct {
	t         *target
	clients   []*client
	due       map[*client][]time.Time // of what is not answered, oldest first
	latencies []time.Duration
	answered  int
	every     time.Duration
	next      time.Time
	who       int
}

// lightPerSecond is how much bystanders ask for together, and the echo's clients.
const (
	lightPerSecond = 1000
	echoPerSecond  = 500
)

func (s *bystanders) heard(a *asks) func(c *client, data []byte) {
	return func(c *client, data []byte) {
		now := time.Now()
		for range bytes.Count(data, []byte{'\n'}) {
			if len(a.due[c]) == 0 {
				return
			}
			due := a.due[c][0]
			a.due[c] = a.due[c][1:]
			a.answered++
			if !s.measuring.IsZero() && !due.Before(s.measuring) {
				a.latencies = append(a.latencies, now.Sub(due))
			}
		}
	}
}

// open lets n clients in: those of Grima say who they are.
func (s *bystanders) open(l *loop) error {
	n := s.b.live.size.bystanders
	s.asks = [2]asks{{t: s.t, every: time.Second / lightPerSecond}, {t: s.raw, every: time.Second / echoPerSecond}}
	for i := range s.asks {
		a := &s.asks[i]
		a.due = map[*client][]time.Time{}
		var err error
		a.clients, err = l.open(n, n, func(i int) (*client, error) {
			script := echo(i)
			if a.t == s.t {
				script = []step{{say: loginLine(s.w.token(i), false), hear: loggedIn}}
			}
			return l.dial(a.t.addr, i, script, s.heard(a))
		})
		if err != nil {
			return fmt.Errorf("clients of %s: %w", a.t.name, err)
		}
	}
	return nil
}

func (s *bystanders) run(look int, key string) error {
	// The thread is given away at the end, with its priority: what is measured
	// is how long the server takes, not how long this client waits for a core.
	runtime.LockOSThread()
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0); err != nil {
		s.b.live.noPriority.Store(true)
	}
	l, err := newLoop(s.b.ctx)
	if err != nil {
		return err
	}
	defer l.close()
	if err := s.open(l); err != nil {
		return err
	}
	if err := s.ask(l, s.b.warmed()); err != nil {
		return err
	}
	before, err := processUsage(s.t.pid)
	if err != nil {
		return err
	}
	lock, hasLock := metricsOf(s.t.addr)[lockWaitMetric]
	light := &s.asks[0]
	s.measuring = time.Now()
	hostile, answered, began := s.h.answered.Load(), light.answered, s.measuring
	if err := s.ask(l, s.b.measured()); err != nil {
		return err
	}
	elapsed := time.Since(began)
	got := float64(s.h.answered.Load() - hostile + int64(light.answered-answered))
	after, err := processUsage(s.t.pid)
	if err != nil {
		return err
	}
	add := func(figure string, v float64) { s.b.live.found.add(look, key, figure, v) }
	for i, prefix := range []string{"", "echo "} {
		waits, err := s.asks[i].waits(s.measuring)
		if err != nil {
			return err
		}
		add(prefix+"p50", percentile(waits, 0.5).Seconds())
		add(prefix+"p99", percentile(waits, 0.99).Seconds())
		add(prefix+"worst", waits[len(waits)-1].Seconds())
	}
	add("hostile", float64(s.h.answered.Load()-hostile)/elapsed.Seconds())
	add("voluntary", (after.voluntary-before.voluntary)/got)
	add("involuntary", (after.involuntary-before.involuntary)/got)
	if hasLock {
		add("lock", (metricsOf(s.t.addr)[lockWaitMetric]-lock)/got)
	}
	return nil
}

// waits is how long requests that were due since then waited, ascending.
func (a *asks) waits(since time.Time) ([]time.Duration, error) {
	if len(a.latencies) == 0 {
		return nil, fmt.Errorf("%s gave bystanders no answers at all", a.t.name)
	}
	// Who still waits has waited at least until now.
	now := time.Now()
	for _, dues := range a.due {
		for _, due := range dues {
			if !due.Before(since) {
				a.latencies = append(a.latencies, now.Sub(due))
			}
		}
	}
	slices.Sort(a.latencies)
	return a.latencies, nil
}

// ask asks for so long.
func (s *bystanders) ask(l *loop, long time.Duration) error {
	began := time.Now()
	for i := range s.asks {
		s.asks[i].next = began
	}
	for end := began.Add(long); ; {
		now := time.Now()
		answered := len(s.asks[0].latencies) > 0 && len(s.asks[1].latencies) > 0
		if now.After(end) && (s.measuring.IsZero() || answered || now.After(end.Add(patience))) {
			return nil
		}
		for i := range s.asks {
			a := &s.asks[i]
			for ; !a.next.After(now); a.next = a.next.Add(a.every) {
				c := a.clients[a.who%len(a.clients)]
				a.who++
				a.due[c] = append(a.due[c], a.next)
				what := "read"
				if a.t == s.raw {
					what = "ping"
				}
				l.send(c, a.t.light(what, c.id))
			}
		}
		if err := l.poll(1); err != nil {
			return err
		}
	}
}
