package modeltest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/hub/fakebus"
	"github.com/grima-chat/grima/internal/pgtest"
	"github.com/grima-chat/grima/internal/store/postgres"
	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// local is a server in this process, with its store on disk and its port on
// loopback, or several on one store.
type local struct {
	w     *World
	nodes []*localNode
	net   *fakebus.Net // between them

	mu      sync.Mutex
	kept    string // a copy of the store
	lengths map[string]int
}

// localNode is one of them. The first one has the store, if that is SQLite.
type localNode struct {
	*local

	srv *testserver.Server

	// Guarded by local.mu.
	recorder *recorder // of the present store
	port     *fakebus.Port
}

func newLocal(t testing.TB, w *World) Host {
	faults := fakebus.Faults{}
	if w.opts.Hints {
		faults = fakebus.Faults{Lose: 20, Double: 20, Hold: 20}
	}
	l := &local{w: w, net: fakebus.NewNet(w.opts.Seed, faults)}
	w.inProcess = true
	var open func(*slog.Logger) (chat.Store, error)
	if w.opts.Postgres {
		database := pgtest.New(t)
		open = func(log *slog.Logger) (chat.Store, error) {
			return postgres.Open(t.Context(), postgres.Config{URL: database, Readers: 4, Log: log})
		}
	}
	for range w.opts.Nodes {
		n := &localNode{local: l}
		options := testserver.Options{
			Stream: func(c *stream.Config) {
				c.Outbox = w.opts.Outbox
				if c.Workers == "" {
					c.Workers = w.opts.Workers
				}
			},
			Hub:       n.hub,
			Open:      open,
			Store:     n.store,
			Publisher: l.publisher,
		}
		if w.opts.Nodes > 1 {
			options.Bus = n.bus
		}
		if len(l.nodes) > 0 {
			options.Beside = l.nodes[0].srv
		}
		n.srv = testserver.Start(t, options)
		l.nodes = append(l.nodes, n)
	}
	return l
}

func (n *localNode) bus(string) hub.Bus {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.port = n.net.Join()
	return n.port
}

func (n *localNode) store(under chat.Store) chat.Store {
	r := &recorder{Store: under, truth: n.w.truth}
	if n.w.opts.Without == Snapshot {
		r.view = n.torn
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.recorder = r
	if n.w.opts.Nodes > 1 {
		return &later{Store: r, rng: rand.New(rand.NewPCG(n.w.opts.Seed, 11))}
	}
	return r
}

func (n *localNode) hub(c *hub.Config) {
	l := n.local
	c.Scan = 200 * time.Millisecond
	without := l.w.opts.Without
	if l.w.opts.Nodes == 1 {
		l.mu.Lock()
		c.Source = chat.NewLog(&recorder{Store: n.recorder.Store}) // its reads are never torn
		l.mu.Unlock()
	}
	if without == ListFirst || l.w.opts.Seed%3 == 0 {
		c.Source = &slowSource{c.Source, l.w.truth}
	}
	c.Ablate = hub.Ablate{
		NoRescan: without == Rescan, NoDirtySet: without == DirtySet, NoFill: without == Fill, LoadBeforeListing: without == ListFirst, NoSettling: without == Settling,
	}
}

func (l *local) publisher(h *hub.Hub) chat.Publisher {
	if !l.w.opts.Hints {
		return h
	}
	return &hints{Publisher: h, rng: rand.New(rand.NewPCG(l.w.opts.Seed, 7))}
}

func (l *local) Addrs() (list []string) {
	for _, n := range l.nodes {
		list = append(list, n.srv.Addr)
	}
	return list
}

// Disturb cuts a server off from the bus, or lets all of them back.
func (l *local) Disturb(rng *rand.Rand, on bool) {
	if len(l.nodes) == 1 || !l.w.opts.Hints {
		return
	}
	l.mu.Lock()
	var ports []*fakebus.Port
	for _, n := range l.nodes {
		ports = append(ports, n.port)
	}
	l.mu.Unlock()
	if on {
		if i := rng.IntN(2 * len(ports)); i < len(ports) {
			ports[i].Cut()
			l.w.count("cut off")
		}
		return
	}
	for _, p := range ports {
		p.Heal()
	}
}

func (l *local) Lose(rng *rand.Rand, gone func(addr string, clean bool)) {
	keeps := 1 // the first one keeps the store of all
	if l.w.opts.Postgres {
		keeps = 0
	}
	n, clean := l.nodes[keeps+rng.IntN(len(l.nodes)-keeps)], rng.IntN(2) == 0
	gone(n.srv.Addr, clean)
	if clean {
		n.srv.Restart()
		return
	}
	n.mu.Lock()
	r := n.recorder
	n.mu.Unlock()
	r.crash()
	n.srv.Crash("")
}

func (l *local) User(name string) (id, token string) {
	u := l.nodes[0].srv.User(name)
	nc := l.nodes[0].srv.Dial()
	nc.Raw("\n") // Hello, at once
	c := u.Login(nc)
	var made protocol.TokensCreateResult
	c.Do(protocol.OpTokensCreate, protocol.TokensCreateParams{Device: "model"}, &made)
	_ = c.Close() // it was needed for this only
	return u.ID, made.Token
}

// Keep makes a copy of the store, while nobody writes.
func (l *local) Keep() {
	if len(l.nodes) > 1 || l.w.opts.Postgres {
		return // there is no going back in time
	}
	l.mu.Lock()
	r := l.nodes[0].recorder
	l.mu.Unlock()
	r.mu.Lock() // what still comes, comes later
	defer r.mu.Unlock()
	r.settle()
	kept := l.nodes[0].srv.Copy()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept, l.lengths = kept, l.w.truth.lengths()
}

func (l *local) Crash(rewind bool) {
	l.mu.Lock()
	r, kept, lengths := l.nodes[0].recorder, l.kept, l.lengths
	l.mu.Unlock()
	r.crash()
	if !rewind {
		l.nodes[0].srv.Crash("")
		return
	}
	if l.w.opts.Without != Durable {
		must(newEpoch(kept))
		l.w.truth.rewind(lengths)
	}
	l.nodes[0].srv.Crash(kept)
}

func (l *local) Settle() {
	for _, n := range l.nodes {
		l.mu.Lock()
		r := n.recorder
		l.mu.Unlock()
		r.settle()
	}
}

func (l *local) Restart() { l.nodes[0].srv.Restart() }

func (l *local) Stop() {
	for i := len(l.nodes) - 1; i >= 0; i-- {
		l.nodes[i].srv.Stop()
	}
}

// slowSource is a source that lets something happen after memberships were read.
type slowSource struct {
	hub.Source

	truth *truth
}

func (s *slowSource) Memberships(ctx context.Context, user chat.UserID) ([]chat.Membership, int64, error) {
	list, stamp, err := s.Source.Memberships(ctx, user)
	for range 5 {
		_, more := s.truth.wait()
		select {
		case <-more:
		case <-time.After(5 * time.Millisecond):
		}
	}
	return list, stamp, err
}

// hints is what stands between the rules and the hub, and does not pass on
// everything: news may be lost, come twice, and come late.
type hints struct {
	chat.Publisher

	mu   sync.Mutex
	rng  *rand.Rand
	late []chat.Event
}

func (h *hints) Publish(e chat.Event) {
	h.mu.Lock()
	var now []chat.Event
	switch n := h.rng.IntN(10); {
	case n < 2: // lost
	case n < 4:
		now = append(now, e, e)
	case n < 6:
		h.late = append(h.late, e)
	default:
		now = append(now, e)
	}
	if len(h.late) > 0 && h.rng.IntN(4) == 0 {
		h.rng.Shuffle(len(h.late), func(i, j int) { h.late[i], h.late[j] = h.late[j], h.late[i] })
		now = append(now, h.late...)
		h.late = nil
	}
	h.mu.Unlock()
	for _, e := range now {
		h.Publisher.Publish(e)
	}
}

// torn is a View whose chats are of a later snapshot than the rest.
func (l *local) torn(store chat.Store, ctx context.Context, fn func(chat.Reader) error) error {
	return store.View(ctx, func(r chat.Reader) error {
		if _, err := r.LastStamp(); err != nil { // the snapshot begins here
			return err
		}
		return fn(&tornReader{Reader: r, ctx: ctx, store: store, truth: l.w.truth})
	})
}

type tornReader struct {
	chat.Reader

	ctx   context.Context
	store chat.Store
	truth *truth
}

func (r *tornReader) Chat(id chat.ChatID) (c chat.Chat, err error) {
	// Something happens in between, if there is anything to happen.
	_, more := r.truth.wait()
	select {
	case <-more:
	case <-time.After(2 * time.Millisecond):
	}
	err = r.store.View(r.ctx, func(later chat.Reader) error {
		c, err = later.Chat(id)
		return err
	})
	return c, err
}

func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("modeltest: %v", err))
	}
}
