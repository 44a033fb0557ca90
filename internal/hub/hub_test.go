package hub

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

func TestEventsReachThoseWhoAreIn(t *testing.T) {
	w := newWorld(t)
	w.adds(w.bob)
	w.forget()
	phone, laptop, b, c := w.connect(w.ana), w.connect(w.ana), w.connect(w.bob), w.connect(w.cem)
	silent := w.register(w.ana)

	w.says(2)
	w.tell()
	for _, d := range []*device{phone, laptop, b} {
		d.hears("message.created 3", "message.created 4")
	}
	c.hears()
	silent.hears()
	if w.encoded != 2 {
		t.Errorf("%d encodings of 2 events", w.encoded)
	}
}

func TestNewcomerStartsAtTheirSeqAndTheRemovedEndsAtTheirs(t *testing.T) {
	w := newWorld(t)
	a, b := w.connect(w.ana), w.connect(w.bob)
	w.says(1)
	w.adds(w.bob)
	w.says(1)
	w.removes(w.bob)
	w.says(1)
	w.tell()
	a.hears("message.created 2", "participant.added 3", "message.created 4", "participant.removed 5", "message.created 6")
	b.hears("participant.added 3", "message.created 4", "participant.removed 5")
}

func TestNewChat(t *testing.T) {
	w := newWorld(t)
	a, b := w.connect(w.ana), w.connect(w.bob)
	w.group(w.ana, chat.HistoryAll, w.bob)
	w.tell()
	a.hears("chat.created 1", "participant.added 2")
	b.hears("participant.added 2")
}

// A newcomer to a chat whose history begins with them used to hear, with its
// content, of every change of a message from before.
func TestNewcomersHearNothingOfWhatWasBeforeThem(t *testing.T) {
	w := newWorld(t)
	w.port = w.group(w.ana, chat.HistoryJoined)
	old := w.says(1)
	w.adds(w.bob)
	fresh := w.says(1)
	w.forget()
	a, b := w.connect(w.ana), w.connect(w.bob)
	w.edits(old)
	w.edits(fresh)
	w.edits(old)
	w.tell()
	a.hears("message.updated 5", "message.updated 6", "message.updated 7")
	b.hears("gap 5", "message.updated 6", "gap 7")

	b.setFull(true)
	w.edits(fresh)
	w.edits(old)
	w.tell()
	b.setFull(false)
	a.hears("message.updated 8", "message.updated 9")
	b.hears("message.updated 8", "gap 9")
}

func TestDeletedChatIsTheLastOfIt(t *testing.T) {
	w := newWorld(t)
	w.adds(w.bob, w.cem)
	w.forget()
	a, b, c := w.connect(w.ana), w.connect(w.bob), w.connect(w.cem)
	c.setFull(true)
	w.says(1)
	w.deletes()
	w.tell()
	a.hears("message.created 4", "chat.deleted 5")
	b.hears("message.created 4", "chat.deleted 5")
	c.setFull(false)
	c.hears("message.created 4", "chat.deleted 5")
	if len(w.hub.rooms) != 0 {
		t.Error("the chat is still routed")
	}
}

// What is committed and what is published are seen at different times: these
// are the orders in which that could go wrong.
func TestSubscribingBetweenCommitAndPublish(t *testing.T) {
	// meanwhile has do done while memberships are read the first time.
	meanwhile := func(w *world, do func()) {
		w.reading = func(what string) {
			if what == "memberships" {
				w.reading = nil
				do()
			}
		}
	}
	t.Run("removed while memberships are read", func(t *testing.T) {
		w := newWorld(t)
		w.adds(w.bob)
		w.forget()
		meanwhile(w, func() { w.removes(w.bob); w.tell() })
		b := w.connect(w.bob)
		w.says(1)
		w.tell()
		b.hears()
	})
	t.Run("removed while memberships are read, told by a room", func(t *testing.T) {
		w := newWorld(t)
		w.adds(w.bob)
		w.forget()
		w.connect(w.ana)
		meanwhile(w, func() { w.removes(w.bob); w.tell() })
		b := w.connect(w.bob)
		w.says(1)
		w.tell()
		b.hears()
	})
	t.Run("removed while memberships are read, and nobody saw it", func(t *testing.T) {
		w := newWorld(t)
		w.adds(w.bob)
		w.forget()
		meanwhile(w, func() {
			w.removes(w.bob)
			w.says(1)
			w.forget()
			w.connect(w.ana) // the room begins after it
		})
		b := w.connect(w.bob)
		w.says(1)
		w.tell()
		b.hears("participant.removed 3")
	})
	t.Run("removed and back while memberships are read", func(t *testing.T) {
		w := newWorld(t)
		w.adds(w.bob)
		w.forget()
		meanwhile(w, func() {
			w.removes(w.bob)
			w.says(1)
			w.adds(w.bob)
			w.tell()
		})
		b := w.connect(w.bob)
		w.says(1)
		w.tell()
		b.hears("participant.added 5", "message.created 6")
	})
	t.Run("added while memberships are read", func(t *testing.T) {
		w := newWorld(t)
		meanwhile(w, func() { w.adds(w.bob); w.tell() })
		b := w.connect(w.bob)
		w.says(1)
		w.tell()
		b.hears("participant.added 2", "message.created 3")
	})
	t.Run("the read is ahead of an addition", func(t *testing.T) {
		w := newWorld(t)
		w.connect(w.ana)
		w.says(1)
		w.adds(w.bob)
		b := w.connect(w.bob)
		w.says(1)
		w.tell()
		b.hears("message.created 4")
	})
	t.Run("the read is ahead of a removal and a return", func(t *testing.T) {
		w := newWorld(t)
		w.adds(w.bob)
		w.forget()
		w.connect(w.ana)
		w.removes(w.bob)
		w.says(1)
		w.adds(w.bob)
		b := w.connect(w.bob)
		w.says(1)
		w.tell()
		b.hears("message.created 6")
	})
	t.Run("deleted while memberships are read", func(t *testing.T) {
		w := newWorld(t)
		w.adds(w.bob)
		w.forget()
		meanwhile(w, func() { w.deletes(); w.tell() })
		b := w.connect(w.bob)
		if len(w.hub.rooms) != 0 {
			t.Error("a deleted chat is routed")
		}
		b.hears()
	})
	t.Run("closed while memberships are read", func(t *testing.T) {
		w := newWorld(t)
		b := w.register(w.ana)
		meanwhile(w, func() { b.Close() })
		if err := b.Subscribe(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantEmpty()
	})
	t.Run("memberships cannot be read", func(t *testing.T) {
		w := newWorld(t)
		broken := errors.New("disk on fire")
		w.broken.Store(&broken)
		a := w.register(w.ana)
		if err := a.Subscribe(t.Context()); !errors.Is(err, broken) {
			t.Errorf("Subscribe: %v", err)
		}
		a.Close()
		w.wantEmpty()
	})
}

func TestEventsThatGatherAreJoined(t *testing.T) {
	w := newWorld(t)
	w.connect(w.ana)
	w.says(500)
	for _, e := range w.take() {
		w.hub.Publish(e)
	}
	w.hub.Settle()
	if s := w.hub.Stats(); s.Events != 500 || s.Runs > 250 {
		t.Errorf("%d events in %d runs", s.Events, s.Runs)
	}
}

func TestEndSessionsReachesEveryConnection(t *testing.T) {
	w := newWorld(t)
	subscribed, silent, other := w.connect(w.ana), w.register(w.ana), w.connect(w.bob)
	gone := w.register(w.ana)
	gone.Close()
	w.hub.EndSessions([]chat.SessionID{chat.SessionID(w.ana), 999})
	for d, want := range map[*device][]Reason{subscribed: {SessionRevoked}, silent: {SessionRevoked}, other: nil, gone: nil} {
		if !slices.Equal(d.ended, want) {
			t.Errorf("ended %v, want %v", d.ended, want)
		}
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	w := newWorld(t)
	var crowd []chat.UserID
	for range 10 {
		crowd = append(crowd, w.person())
	}
	w.adds(crowd...)
	w.forget()
	var people sync.WaitGroup
	for _, u := range crowd {
		people.Go(func() {
			for i := range 200 {
				d := w.connect(u)
				w.hub.PublishTyping(w.port, u, false)
				w.reads(u, 1)
				if i%3 == 0 {
					d.setFull(true)
				}
				d.Close()
				d.Close()
			}
		})
	}
	done := make(chan struct{})
	go func() { people.Wait(); close(done) }()
	for i := 0; ; i++ {
		select {
		case <-done:
			w.wantEmpty()
			return
		default:
			w.says(1)
			w.removes(crowd[i%10])
			w.adds(crowd[i%10])
			for _, e := range w.take() {
				w.hub.Publish(e)
			}
		}
	}
}
