package api_test

import (
	"context"
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
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: storetest.NewMemory(), gate: make(chan struct{})}
		defer func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}()
		a := api.New(chat.NewService(chat.Config{Store: store}))
		defer a.Close()
		turns := max(1, aside.Processors()-1)
		spent := make(chan time.Duration, 10)
		ask := func(op, params string) {
			a.Do(t.Context(), api.Caller{Actor: chat.Actor{User: 1}, OnSpent: func(d time.Duration) { spent <- d }},
				protocol.Request{Type: protocol.TypeDataRequest, Op: op, Params: []byte(params)}, func(protocol.Response) {})
		}
		ask(protocol.OpChatsGet, `{"chat_id":"c_1"}`)
		store.is.Store(true)
		for range turns + 1 {
			go ask(protocol.OpSync, "")
		}
		for range turns + 1 {
			time.Sleep(30 * time.Millisecond)
			store.gate <- struct{}{}
			if d := <-spent; d < 30*time.Millisecond || d > time.Duration(turns)*30*time.Millisecond {
				t.Errorf("it took %v", d)
			}
		}
		if len(spent) > 0 {
			t.Error("what is light was told")
		}
	})
}
