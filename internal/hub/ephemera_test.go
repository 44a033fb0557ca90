package hub

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

func TestTyping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.adds(w.bob, w.cem)
		w.forget()
		phone, laptop, b, c := w.connect(w.ana), w.connect(w.ana), w.connect(w.bob), w.connect(w.cem)
		c.SetFocus([]chat.ChatID{w.port + 1})
		types, stopped := fmt.Sprintf("%d types", w.ana), fmt.Sprintf("%d stopped", w.ana)

		w.hub.PublishTyping(w.port, w.ana, false)
		w.hub.PublishTyping(w.port, w.ana, false) // too soon
		b.hears(types)
		c.hears() // looks elsewhere
		phone.hears()
		laptop.hears()

		c.SetFocus([]chat.ChatID{w.port})
		w.hub.PublishTyping(w.port, w.ana, true)
		w.hub.PublishTyping(w.port, w.ana, true)
		w.hub.PublishTyping(w.port, w.ana, false) // still too soon
		b.hears(stopped)
		c.hears(stopped)

		time.Sleep(typingEvery)
		w.hub.PublishTyping(w.port, w.ana, false)
		w.hub.PublishTyping(w.port, w.bob, true) // did not type
		b.hears(types)
		phone.hears()

		time.Sleep(typingLasts)
		w.hub.PublishTyping(w.port, w.ana, true) // forgotten by then
		b.hears()
	})
}

func TestTypingIsLostInACrowd(t *testing.T) {
	w := newWorld(t)
	a := w.connect(w.ana)
	var crowd []chat.UserID
	for range typingPeople {
		crowd = append(crowd, w.person())
	}
	w.adds(crowd...)
	w.forget()
	for _, u := range crowd[1:] {
		w.connect(u)
		w.connect(u)
	}
	w.hub.PublishTyping(w.port, crowd[1], false)
	a.hears(fmt.Sprintf("%d types", crowd[1]))
	w.connect(crowd[0])
	w.hub.PublishTyping(w.port, crowd[2], false)
	a.hears()
}

// marks sleeps until read marks have been told.
func (w *world) marks() {
	time.Sleep(readEvery)
	synctest.Wait()
}

func TestReadMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.adds(w.bob, w.cem)
		w.forget()
		phone, laptop, b, c := w.connect(w.ana), w.connect(w.ana), w.connect(w.bob), w.connect(w.cem)
		out := w.connect(w.dan)
		byAna := func(seq int) string { return fmt.Sprintf("read by %d to %d", w.ana, seq) }
		byBob := fmt.Sprintf("read by %d to 3", w.bob)

		w.reads(w.ana, 1)
		w.reads(w.ana, 3)
		w.reads(w.ana, 2)
		phone.hears(toSelf(1, ""), toSelf(3, ""), toSelf(2, "")) // at once, and all of them
		laptop.hears(toSelf(1, ""), toSelf(3, ""), toSelf(2, ""))
		b.hears()
		w.reads(w.bob, 3)
		b.hears(toSelf(3, ""))
		w.marks()
		phone.hears(byBob)
		laptop.hears(byBob)
		b.hears(byAna(3))
		if c.heard[0] > c.heard[1] {
			c.heard[0], c.heard[1] = c.heard[1], c.heard[0]
		}
		c.hears(byAna(3), byBob)
		out.hears()

		w.removes(w.bob)
		w.reads(w.ana, 3)
		w.tell()
		w.marks()
		b.hears(fmt.Sprintf("participant.removed %d", 4))
		c.hears("participant.removed 4", byAna(3))
	})
}

// Of what somebody wants to be told, their own connections hear at once, and nobody
// else: neither of that nor that anything is new.
func TestLevelsAreOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.adds(w.bob)
		w.forget()
		phone, laptop, b := w.connect(w.ana), w.connect(w.ana), w.connect(w.bob)
		for _, level := range []chat.Notify{chat.NotifyNone, chat.NotifyNone, chat.NotifyMentions, chat.NotifyAll} {
			_, err := w.svc.SetNotify(w.Context(), chat.Actor{User: w.ana}, w.port, w.ana, level)
			w.do(err)
		}
		w.marks()
		for _, d := range []*device{phone, laptop} {
			d.hears(toSelf(0, chat.NotifyNone), toSelf(0, chat.NotifyMentions), toSelf(0, chat.NotifyAll))
		}
		b.hears()
	})
}

func TestReadMarksAreOnesOwnInACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var crowd []chat.UserID
		for range readPeople - 1 {
			crowd = append(crowd, w.person())
		}
		w.adds(crowd...)
		w.forget()
		a, b := w.connect(w.ana), w.connect(crowd[0])
		read := fmt.Sprintf("read by %d to 1", w.ana)
		w.reads(w.ana, 1)
		w.marks()
		a.hears(toSelf(1, ""))
		b.hears(read)

		w.adds(w.bob) // who makes them 51
		w.tell()
		a.hears("participant.added 51")
		b.hears("participant.added 51")
		for range 2 {
			w.reads(w.ana, 1)
			w.marks()
			a.hears(toSelf(1, ""))
			b.hears()
		}

		w.removes(w.bob)
		w.tell()
		w.reads(w.ana, 1)
		w.marks()
		a.hears("participant.removed 52", toSelf(1, ""))
		b.hears("participant.removed 52", read)
	})
}

// gathered sleeps until changes of presence have been told.
func (w *world) gathered() {
	time.Sleep(presenceEvery)
	synctest.Wait()
}

func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		is := func(user chat.UserID, s chat.Status) string { return fmt.Sprintf("%d is %s", user, s) }
		a, c := w.connect(w.ana), w.connect(w.cem)
		a.Watch([]chat.UserID{w.bob, w.cem})

		phone := w.connect(w.bob)
		a.hears()
		w.gathered()
		a.hears(is(w.bob, chat.Online))
		phone.SetActive(false)
		w.gathered()
		a.hears(is(w.bob, chat.Away))
		laptop := w.connect(w.bob) // somebody looks at this one
		w.gathered()
		a.hears(is(w.bob, chat.Online))
		laptop.SetActive(false)
		phone.Close()
		c.Close()
		w.gathered()
		a.hears(is(w.bob, chat.Away), is(w.cem, chat.Offline))
		laptop.SetActive(true)
		w.gathered()
		a.hears(is(w.bob, chat.Online))

		// Whoever is back soon was never gone.
		laptop.Close()
		laptop = w.connect(w.bob)
		w.gathered()
		a.hears()
		if got := w.hub.Statuses([]chat.UserID{w.bob, w.cem, 999}); got[0] != chat.Online || got[1] != chat.Offline || got[2] != chat.Offline {
			t.Errorf("%v", got)
		}

		// Whoever hides is gone for all, at once.
		hide := true
		_, err := w.svc.UpdateUser(t.Context(), chat.Actor{User: w.bob}, w.bob, chat.UserPatch{HidesPresence: &hide})
		w.do(err)
		w.gathered()
		a.hears(is(w.bob, chat.Offline))
		laptop.Close()
		w.gathered()
		a.hears()

		// A watch takes the place of the one before, and ends.
		a.Watch([]chat.UserID{w.dan})
		w.connect(w.cem)
		dan := w.connect(w.dan)
		w.gathered()
		a.hears(is(w.dan, chat.Online))
		time.Sleep(WatchLasts)
		dan.Close()
		w.gathered()
		a.hears()
	})
}

// A connection that only asks is not there, and one that is over watches nobody.
func TestPresenceOfConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.connect(w.ana)
		a.Watch([]chat.UserID{w.bob})
		silent := w.register(w.bob)
		silent.Watch([]chat.UserID{w.ana})
		w.gathered()
		a.hears()
		a.Close()
		b := w.connect(w.bob)
		w.gathered()
		a.hears()
		silent.hears()
		b.Close()
		silent.Close()
		w.wantEmpty()
		if p := &w.hub.presence; len(p.watchers)+len(p.told)+len(p.changed) != 0 {
			t.Errorf("left behind: %+v", p)
		}
	})
}
