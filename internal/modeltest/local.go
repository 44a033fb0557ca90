package modeltest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// local is a server in this process, with its store on disk and its port on
// loopback.
type local struct {
	w   *World
	srv *testserver.Server

	mu       sync.Mutex
	recorder *recorder // of the present store
	kept     string    // a copy of the store
	lengths  map[string]int
}

func newLocal(t testing.TB, w *World) Host {
	l := &local{w: w}
	w.inProcess = true
	l.srv = testserver.Start(t, testserver.Options{
		Stream: func(c *stream.Config) {
			c.Outbox = w.opts.Outbox
			if c.Workers == "" {
				c.Workers = w.opts.Workers
			}
		},
		Hub:       l.hub,
		Store:     l.store,
		Publisher: l.publisher,
	})
	return l
}

func (l *local) store(under chat.Store) chat.Store {
	r := &recorder{Store: under, truth: l.w.truth}
	if l.w.opts.Without == Snapshot {
		r.view = l.torn
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recorder = r
	return r
}

func (l *local) hub(c *hub.Config) {
	c.Scan = 200 * time.Millisecond
	without := l.w.opts.Without
	l.mu.Lock()
	c.Source = chat.NewLog(&recorder{Store: l.recorder.Store}) // its reads are never torn
	l.mu.Unlock()
	if without == ListFirst || l.w.opts.Seed%3 == 0 {
		c.Source = &slowSource{c.Source, l.w.truth}
	}
	c.Ablate = hub.Ablate{
		NoRescan: without == Rescan, NoDirtySet: without == DirtySet, NoFill: without == Fill, LoadBeforeListing: without == ListFirst,
	}
}

func (l *local) publisher(h *hub.Hub) chat.Publisher {
	if !l.w.opts.Hints {
		return h
	}
	return &hints{Publisher: h, rng: rand.New(rand.NewPCG(l.w.opts.Seed, 7))}
}

func (l *local) Addr() string { return l.srv.Addr }

func (l *local) User(name string) (id, token string) {
	u := l.srv.User(name)
	nc := l.srv.Dial()
	nc.Raw("\n") // Hello, at once
	c := u.Login(nc)
	var made protocol.TokensCreateResult
	c.Do(protocol.OpTokensCreate, protocol.TokensCreateParams{Device: "model"}, &made)
	_ = c.Close() // it was needed for this only
	return u.ID, made.Token
}

// Keep makes a copy of the store, while nobody writes.
func (l *local) Keep() {
	l.mu.Lock()
	r := l.recorder
	l.mu.Unlock()
	r.mu.Lock() // what still comes, comes later
	defer r.mu.Unlock()
	r.settle()
	kept := l.srv.Copy()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept, l.lengths = kept, l.w.truth.lengths()
}

func (l *local) Crash(rewind bool) {
	l.mu.Lock()
	r, kept, lengths := l.recorder, l.kept, l.lengths
	l.mu.Unlock()
	r.crash()
	if !rewind {
		l.srv.Crash("")
		return
	}
	if l.w.opts.Without != Durable {
		must(newEpoch(kept))
		l.w.truth.rewind(lengths)
	}
	l.srv.Crash(kept)
}

func (l *local) Settle() {
	l.mu.Lock()
	r := l.recorder
	l.mu.Unlock()
	r.settle()
}

func (l *local) Restart() { l.srv.Restart() }
func (l *local) Stop()    { l.srv.Stop() }

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
