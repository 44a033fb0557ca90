package api_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/aside"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/storetest"
	"github.com/grima-chat/grima/protocol"
)

// slow is a store whose views wait while it is slow.
type slow struct {
	chat.Store

	is      atomic.Bool
	gate    chan struct{}
	waiting atomic.Int64
}

func (s *slow) View(ctx context.Context, fn func(chat.Reader) error) error {
	if s.is.Load() {
		s.waiting.Add(1)
		<-s.gate
	}
	return s.Store.View(ctx, fn)
}

// However many ask for pages at once, a processor is left for the others, and
// who waits for their turn waits no longer than they want to.
func TestHeavyOperationsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: storetest.NewMemory(), gate: make(chan struct{})}
		defer func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}()
		a := api.New(chat.NewService(chat.Config{Store: store}))
		defer a.Close()
		answers := make(chan *protocol.Error, 100)
		ask := func(ctx context.Context, op, params string) {
			a.Do(ctx, api.Caller{Actor: chat.Actor{User: 1}}, protocol.Request{Type: protocol.TypeDataRequest, Op: op, Params: []byte(params)},
				func(r protocol.Response) { answers <- r.Error })
		}
		store.is.Store(true)
		turns := max(1, aside.Processors()-1)
		for range turns + 3 {
			go ask(t.Context(), protocol.OpSync, "")
		}
		synctest.Wait()
		if n := int(store.waiting.Load()); n != turns {
			t.Fatalf("%d at once, want %d", n, turns)
		}
		store.is.Store(false)

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ask(short, protocol.OpChatsList, "")
		if e := <-answers; e == nil || e.Code != protocol.CodeTimeout || !e.Retryable {
			t.Errorf("who has no time left: %v", e)
		}
		ask(t.Context(), protocol.OpChatsGet, `{"chat_id":"c_1"}`)
		if e := <-answers; e == nil || e.Code != protocol.CodeNotFound {
			t.Errorf("what is light: %v", e)
		}
		close(store.gate)
		for range turns + 3 {
			if e := <-answers; e != nil {
				t.Error(e)
			}
		}
	})
}

// Whoever counts what a heavy operation takes hears of that, and of nothing else:
// neither of its waiting for others nor of what is light.
func TestWorkIsTold(t *testing.T) {
	const most = 10 * time.Millisecond
	store := &working{Store: storetest.NewMemory()}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	a := api.New(chat.NewService(chat.Config{Store: store}))
	defer a.Close()
	spent := make(chan time.Duration, 10)
	ask := func(op, params string) {
		a.Do(t.Context(), api.Caller{Actor: chat.Actor{User: 1}, OnSpent: func(d time.Duration) { spent <- d }},
			protocol.Request{Type: protocol.TypeDataRequest, Op: op, Params: []byte(params)}, func(protocol.Response) {})
	}
	ask(protocol.OpChatsGet, `{"chat_id":"c_1"}`)
	ask(protocol.OpSync, "")
	if d := <-spent; d > most {
		t.Errorf("nothing took %v", d)
	}
	store.work = 3 * most
	ask(protocol.OpSync, "")
	if d := <-spent; d < store.work || d > store.work+most {
		t.Errorf("%v of work took %v", store.work, d)
	}
	if len(spent) > 0 {
		t.Error("what is light was told")
	}
}

// TestWaitsAreTold: on Linux a wait is not work, unless somebody is waited for
// who works for the request alone.
func TestWaitsAreTold(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("threads have no clocks of their own here")
	}
	const wait = 300 * time.Millisecond
	for what, elsewhere := range map[string]bool{"somebody else": false, "a database": true} {
		store := &working{Store: storetest.NewMemory(), elsewhere: elsewhere, wait: wait}
		a := api.New(chat.NewService(chat.Config{Store: store}))
		var spent time.Duration
		a.Do(t.Context(), api.Caller{Actor: chat.Actor{User: 1}, OnSpent: func(d time.Duration) { spent = d }},
			protocol.Request{Type: protocol.TypeDataRequest, Op: protocol.OpSync}, func(r protocol.Response) {
				if r.Error != nil {
					t.Error(r.Error)
				}
			})
		// What this thread waits for a processor at either end is not told, and may
		// be a part of it.
		if elsewhere != (spent > wait/2) {
			t.Errorf("waiting %v for %s took %v", wait, what, spent)
		}
		a.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// working is a store whose views keep a processor busy, and wait.
type working struct {
	chat.Store

	work, wait time.Duration
	elsewhere  bool // the wait is for a database
}

func (s *working) View(ctx context.Context, fn func(chat.Reader) error) error {
	for m := aside.Start(); m.Took() < s.work; {
	}
	if s.wait > 0 {
		back := func() {}
		if s.elsewhere {
			back = chat.Elsewhere(ctx)
		}
		<-time.After(s.wait)
		back()
	}
	return s.Store.View(ctx, fn)
}
