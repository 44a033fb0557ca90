package hub

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// calls gives somebody a name.
func (w *world) calls(user chat.UserID, name string) {
	w.Helper()
	_, err := w.svc.UpdateUser(w.Context(), chat.Actor{User: user}, 0, chat.UserPatch{Name: &name})
	w.do(err)
}

// people sleeps until rows that changed have been told.
func (w *world) people() {
	time.Sleep(peopleEvery)
	synctest.Wait()
}

func TestPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.adds(w.bob, w.cem)
		second := w.group(w.ana, chat.HistoryAll, w.bob)
		w.forget()
		phone, laptop, b, c := w.connect(w.ana), w.connect(w.ana), w.connect(w.bob), w.connect(w.cem)
		stranger := w.connect(w.dan)
		silent := w.register(w.bob) // hears no events
		is := func(user chat.UserID, name string) string { return fmt.Sprintf("%d is %s now", user, name) }

		w.calls(w.ana, "A")
		w.calls(w.ana, "B")
		synctest.Wait()
		b.hears() // it is gathered
		w.people()
		for _, d := range []*device{phone, laptop, b, c} {
			d.hears(is(w.ana, "B")) // the last, and once, however many chats there are
		}
		stranger.hears()
		silent.hears()

		// Who is connected nowhere is told of, too.
		w.calls(w.dan, "D") // shares a chat with nobody
		laptop.Close()
		phone.Close()
		w.calls(w.ana, "C")
		w.people()
		b.hears(is(w.ana, "C"))
		stranger.hears(is(w.dan, "D"))
		c.hears(is(w.ana, "C"))

		// Not who is out by then, and who is in since.
		w.calls(w.ana, "E")
		w.removes(w.cem)
		w.tell()
		_, err := w.svc.AddParticipants(w.Context(), chat.Actor{User: w.ana}, second, []chat.UserID{w.dan}, "")
		w.do(err)
		w.tell()
		w.people()
		c.hears("participant.removed 4")
		stranger.hears("participant.added 3", is(w.ana, "E"))
		b.hears("participant.removed 4", "participant.added 3", is(w.ana, "E"))

		// What cannot be read is told with the next time.
		broken := errors.New("broken")
		w.broken.Store(&broken)
		w.calls(w.ana, "F")
		w.people()
		b.hears()
		w.broken.Store(nil)
		w.people()
		b.hears(is(w.ana, "F"))
	})
}

// What nobody is there to hear is not looked up.
func TestPeopleAmongNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.reading = func(what string) { t.Errorf("%s were read", what) }
		w.calls(w.ana, "A")
		w.people()
	})
}

// More changes than are kept in one go are not told, and hold up neither those
// that are nor those that come later.
func TestMorePeopleThanAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.adds(w.bob)
		w.forget()
		b := w.connect(w.bob)
		made := make([]chat.UserID, maxTold-1)
		for i := range made {
			made[i] = chat.UserID(1<<40 + i)
		}
		w.calls(w.bob, "B")
		w.hub.heardOfPeople(made)
		w.calls(w.ana, "A") // one too many
		w.calls(w.bob, "C") // is among them
		w.hub.heardOfPeople(made)
		w.hub.mu.Lock()
		kept := len(w.hub.people.changed)
		w.hub.mu.Unlock()
		if kept != maxTold {
			t.Errorf("%d are kept", kept)
		}
		w.people()
		b.hears(fmt.Sprintf("%d is C now", w.bob))
		w.calls(w.ana, "D")
		w.people()
		b.hears(fmt.Sprintf("%d is D now", w.ana))
	})
}

func TestPeopleBetweenNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTwoNodes(t)
		n.one.adds(n.one.bob)
		n.settle()
		ana, phone, bob, dan := n.one.connect(n.one.ana), n.two.connect(n.two.ana), n.two.connect(n.two.bob), n.two.connect(n.two.dan)
		n.one.calls(n.one.ana, "A")
		n.settle()
		n.one.people()
		is := fmt.Sprintf("%d is A now", n.one.ana)
		for _, d := range []*device{ana, phone, bob} {
			n.hears(d, is)
		}
		n.hears(dan)

		// Whoever says so falsely has what is so told, and nobody who is not there.
		n.two.hub.receive(People, encoded(People, (*payload).user, n.two.ana, 1<<40))
		n.two.people()
		n.hears(bob, is)
		n.hears(dan)
	})
}
