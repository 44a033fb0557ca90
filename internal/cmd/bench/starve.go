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
	for _, how := range hostiles {
		for _, k := range b.grimas() {
			b.plan(fmt.Sprintf("starvation, %s, %s", how.name, k.name), func(round int) error {
				return b.beside(k, w, func(t *target) error { return b.starve(round, t, w, how) })
			})
		}
	}
	return nil
}

// starve measures bystanders beside a hostility.
func (b *bench) starve(round int, t *target, w *crowd, how hostile) error {
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
	s := &bystanders{b: b, t: t, w: w, h: h}
	watched := make(chan error, 1)
	go func() { watched <- s.run(round, starveKey(t.name, how.name)) }()
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

func (h *hostility) run(ctx context.Context, how hostile, begun chan<- struct{}) error {
	var err error
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
	say(speakers[0])
	return nil
}

// bystanders ask for something light at fixed times, whether answered or not, so
// that a wait is counted for everybody who waits.
type bystanders struct {
	b *bench
	t *target
	w *crowd
	h *hostility

	due       [][]time.Time // per client, of what is not answered, oldest first
	measuring time.Time     // requests due from then on count; zero: none
	latencies []time.Duration
	answered  int
}

// lightPerSecond is how much bystanders ask for together.
const lightPerSecond = 1000

func (s *bystanders) heard(c *client, data []byte) {
	now := time.Now()
	for range bytes.Count(data, []byte{'\n'}) {
		if len(s.due[c.id]) == 0 {
			return
		}
		due := s.due[c.id][0]
		s.due[c.id] = s.due[c.id][1:]
		s.answered++
		if !s.measuring.IsZero() && !due.Before(s.measuring) {
			s.latencies = append(s.latencies, now.Sub(due))
		}
	}
}

func (s *bystanders) run(round int, key string) error {
	// The thread is given away at the end, with its priority: what is measured
	// is how long the server takes, not how long this client waits for a core.
	runtime.LockOSThread()
	if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -10); err != nil {
		s.b.live.noPriority.Store(true)
	}
	l, err := newLoop(s.b.ctx)
	if err != nil {
		return err
	}
	defer l.close()
	n := s.b.live.size.bystanders
	s.due = make([][]time.Time, n)
	clients, err := l.open(n, n, func(i int) (*client, error) {
		return l.dial(s.t.addr, i, []step{{say: loginLine(s.w.token(i), false), hear: loggedIn}}, s.heard)
	})
	if err != nil {
		return fmt.Errorf("bystanders: %w", err)
	}
	ask := s.asker(l, clients)
	if err := ask(s.b.warmed()); err != nil {
		return err
	}
	before, err := processUsage(s.t.pid)
	if err != nil {
		return err
	}
	lock, hasLock := metricsOf(s.t.addr)[lockWaitMetric]
	s.measuring = time.Now()
	hostile, light, began := s.h.answered.Load(), s.answered, s.measuring
	if err := ask(s.b.measured()); err != nil {
		return err
	}
	elapsed := time.Since(began)
	got := float64(s.h.answered.Load() - hostile + int64(s.answered-light))
	after, err := processUsage(s.t.pid)
	if err != nil {
		return err
	}
	if len(s.latencies) == 0 {
		return errors.New("bystanders had no answers at all")
	}
	// Who still waits has waited at least until now.
	now := time.Now()
	for _, due := range s.due {
		for _, d := range due {
			s.latencies = append(s.latencies, now.Sub(d))
		}
	}
	slices.Sort(s.latencies)
	add := func(figure string, v float64) { s.b.live.found.add(round, key, figure, v) }
	add("p50", percentile(s.latencies, 0.5).Seconds())
	add("p99", percentile(s.latencies, 0.99).Seconds())
	add("worst", s.latencies[len(s.latencies)-1].Seconds())
	add("hostile", float64(s.h.answered.Load()-hostile)/elapsed.Seconds())
	add("voluntary", (after.voluntary-before.voluntary)/got)
	add("involuntary", (after.involuntary-before.involuntary)/got)
	if hasLock {
		add("lock", (metricsOf(s.t.addr)[lockWaitMetric]-lock)/got)
	}
	return nil
}

// asker gives a function that asks for a while.
func (s *bystanders) asker(l *loop, clients []*client) func(time.Duration) error {
	const every = time.Second / lightPerSecond
	next, who := time.Now(), 0
	return func(long time.Duration) error {
		for end := time.Now().Add(long); ; {
			now := time.Now()
			if now.After(end) && (s.measuring.IsZero() || len(s.latencies) > 0 || now.After(end.Add(patience))) {
				return nil
			}
			for ; !next.After(now); next = next.Add(every) {
				c := clients[who%len(clients)]
				who++
				s.due[c.id] = append(s.due[c.id], next)
				l.send(c, s.t.light("read", c.id))
			}
			if err := l.poll(1); err != nil {
				return err
			}
		}
	}
}
