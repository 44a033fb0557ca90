package chat_test

import (
	"testing"
	"testing/synctest"

	"github.com/grima-chat/grima/internal/chat"
)

// What is read for others is handed on after its sender was answered, although
// the row is there before.
func TestMissedWaitsForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, store := newFaultyWorld(t)
		list := w.people("ana", "bob")
		ana, bob := list[0], list[1]
		id := ana.group("Port", bob)
		log := chat.NewLog(w.store)
		for name, read := range map[string]func() (int, error){
			"missed": func() (int, error) {
				m, err := log.Missed(t.Context(), id, bob.User, ana.at(id)-1)
				return len(m.Events), err
			},
			"changed": func() (int, error) {
				ch, err := log.Changed(t.Context(), id, ana.at(id)-1, ana.at(id))
				return len(ch.Events), err
			},
		} {
			release := store.Hold()
			answered, told := false, make(chan int)
			w.Send(ana.Actor, chat.NewMessage{Chat: id, Content: "hi"}, func(_ chat.SendResult, err error) {
				ok(t, err)
				answered = true
			})
			synctest.Wait() // it is committed
			go func() {
				n, err := read()
				ok(t, err)
				if !answered {
					t.Errorf("%s: told before it was answered", name)
				}
				told <- n
			}()
			synctest.Wait()
			release()
			same(t, <-told, 1)
		}
	})
}
