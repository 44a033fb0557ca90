package chat_test

import (
	"testing"
	"testing/synctest"

	"github.com/grima-chat/grima/internal/chat"
)

// Who waits for answers to what can be read waits until they were given, and
// what was written was published.
func TestAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, store := newFaultyWorld(t)
		ana := w.people("ana")[0]
		id := ana.group("Port")
		w.events()
		log := chat.NewLog(w.store)
		release := store.Hold()
		told := false
		w.Send(ana.Actor, chat.NewMessage{Chat: id, Content: "hi"}, func(_ chat.SendResult, err error) {
			ok(t, err)
			told = true
		})
		synctest.Wait()
		seqs, err := log.LastSeqs(t.Context(), []chat.ChatID{id})
		ok(t, err)
		same(t, seqs, []int64{2}) // it can be read
		answered := make(chan error)
		go func() { answered <- log.Answered(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-answered:
			t.Fatalf("answered, with %v, while dones are held", err)
		default:
		}
		release()
		ok(t, <-answered)
		same(t, told, true)
		same(t, len(w.events()), 1)
	})
}
