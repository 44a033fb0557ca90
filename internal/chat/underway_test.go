package chat_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/password"
	"github.com/grima-chat/grima/internal/store/storetest"
)

// held is a store whose answers wait for somebody to let them go.
type held struct {
	chat.Store

	dones chan func()
}

func (h *held) Update(op chat.Op, done func(error)) {
	h.Store.Update(op, func(err error) { h.dones <- func() { done(err) } })
}

// Who waits for a chat waits for what is under way in it and for what may be in
// any, and not for what comes later or elsewhere.
func TestUnderway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &held{Store: storetest.NewMemory(), dones: make(chan func(), 10)}
		underway := &chat.Underway{}
		log := chat.NewSharedLog(store, underway)
		svc := chat.NewService(chat.Config{
			Store: store, Publisher: &news{}, Passwords: password.New(password.Params{Memory: 64, Time: 1}), NoLimits: true, Underway: underway,
		})
		send := func(id chat.ChatID) (answer func()) {
			svc.Send(chat.Actor{User: 1}, chat.NewMessage{Chat: id, Content: "hi"}, nil, func(chat.SendResult, error) {})
			return <-store.dones
		}
		waiting := func(id chat.ChatID) (settled chan error) {
			settled = make(chan error, 1)
			go func() {
				if id == 0 {
					settled <- log.Settled(t.Context())
				} else {
					settled <- log.SettledIn(t.Context(), id)
				}
			}()
			synctest.Wait()
			return settled
		}
		is := func(settled chan error, want bool) {
			t.Helper()
			synctest.Wait()
			if got := len(settled) == 1; got != want {
				t.Errorf("settled: %v", got)
			}
		}
		is(waiting(7), true)
		one := send(7)
		seven, eight, all := waiting(7), waiting(8), waiting(0)
		is(seven, false)
		is(eight, true)
		is(all, false)
		two := send(7)
		one()
		is(seven, true)
		is(all, true)
		later := waiting(7)
		is(later, false)

		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- log.SettledIn(ctx, 7) }()
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) && chat.CodeOf(err) != chat.CodeTimeout {
			t.Errorf("%v", err)
		}
		two()
		is(later, true)

		// What may be of any chat, as making one.
		go func() { _ = svc.Settle(t.Context()) }()
		any := <-store.dones
		nine := waiting(9)
		is(nine, false)
		any()
		is(nine, true)
		synctest.Wait()
		if err := store.Store.Close(); err != nil {
			t.Error(err)
		}
	})
}
