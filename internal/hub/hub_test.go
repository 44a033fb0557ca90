package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/internal/chat"
)

// What the tests' people are called.
const (
	ana chat.UserID = iota + 1
	bob
	cem
)

const port chat.ChatID = 7

// world is a hub, and memberships as the database would have them.
type world struct {
	*testing.T

	hub *Hub

	mu      sync.Mutex
	members map[chat.UserID][]chat.Membership
	encoded int
	reading func(chat.UserID) // called by a read of memberships, after it
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, members: make(map[chat.UserID][]chat.Membership)}
	w.hub = New(Config{
		Encode: func(dst []byte, e chat.Event) []byte {
			w.encoded++
			return fmt.Appendf(dst, "%s %d", e.Kind, e.Seq)
		},
		EncodeRead: func(dst []byte, _ chat.ChatID, user chat.UserID, seq int64) []byte {
			return fmt.Appendf(dst, "read by %d to %d", user, seq)
		},
		EncodeTyping: func(dst []byte, _ chat.ChatID, user chat.UserID, stop bool) []byte {
			if stop {
				return fmt.Appendf(dst, "%d stopped", user)
			}
			return fmt.Appendf(dst, "%d types", user)
		},
		Memberships: func(_ context.Context, user chat.UserID) ([]chat.Membership, error) {
			w.mu.Lock()
			ms, reading := slices.Clone(w.members[user]), w.reading
			w.mu.Unlock()
			if reading != nil {
				reading(user)
			}
			return ms, nil
		},
	})
	return w
}

// in says that the database has user in the chat since seq.
func (w *world) in(user chat.UserID, since int64) {
	w.members[user] = append(w.members[user], chat.Membership{Chat: port, JoinedSeq: since})
}

// device is a connection that writes down what it hears.
type device struct {
	*Conn

	w     *world
	mu    sync.Mutex
	heard []string
	ended []Reason
}

func (d *device) Deliver(r *Run) bool {
	d.Notice(r)
	return true
}

func (d *device) Notice(r *Run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard = append(d.heard, string(r.Bytes(Lines)))
}

func (d *device) End(r Reason) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = append(d.ended, r)
}

func (w *world) register(user chat.UserID) *device {
	d := &device{w: w}
	d.Conn = w.hub.Register(chat.SessionID(user), user, d)
	return d
}

func (w *world) connect(user chat.UserID) *device {
	w.Helper()
	d := w.register(user)
	if err := d.Subscribe(w.Context()); err != nil {
		w.Fatal(err)
	}
	return d
}

// hears checks what the device has heard since the last time.
func (d *device) hears(want ...string) {
	d.w.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if diff := cmp.Diff(want, d.heard); diff != "" {
		d.w.Errorf("user %d heard (-want +got):\n%s", d.user, diff)
	}
	d.heard = nil
}

func (w *world) says(seq int64) {
	w.hub.Publish(chat.Event{Kind: chat.MessageCreated, Chat: port, Seq: seq, Message: &chat.Message{}})
}

func (w *world) member(kind chat.EventKind, user chat.UserID, seq int64) {
	w.hub.Publish(chat.Event{Kind: kind, Chat: port, Seq: seq, Participant: &chat.Participant{User: user}})
}

// wantEmpty checks that the hub remembers nothing.
func (w *world) wantEmpty() {
	w.Helper()
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.sessions) + len(h.users) + len(h.rooms) + len(h.loading); n != 0 {
		w.Errorf("left behind: %d sessions, %d users, %d rooms, %d loading", len(h.sessions), len(h.users), len(h.rooms), len(h.loading))
	}
}

func TestEventsReachThoseWhoAreIn(t *testing.T) {
	w := newWorld(t)
	w.in(ana, 1)
	w.in(bob, 2)
	phone, laptop, b, c := w.connect(ana), w.connect(ana), w.connect(bob), w.connect(cem)
	silent := w.register(ana)

	w.says(3)
	w.says(4)
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
	a, b := w.connect(ana), w.connect(bob)
	w.member(chat.ChatCreated, ana, 1)
	w.says(2)
	w.member(chat.ParticipantAdded, bob, 3)
	w.says(4)
	w.member(chat.ParticipantRemoved, bob, 5)
	w.says(6)
	a.hears("chat.created 1", "message.created 2", "participant.added 3", "message.created 4", "participant.removed 5", "message.created 6")
	b.hears("participant.added 3", "message.created 4", "participant.removed 5")
}

// A newcomer to a chat whose history begins with them used to hear, with its
// content, of every change of a message from before.
func TestNewcomersHearNothingOfWhatWasBeforeThem(t *testing.T) {
	w := newWorld(t)
	w.in(ana, 1)
	w.in(bob, 3)
	a, b := w.connect(ana), w.connect(bob)
	edited := func(born, seq int64) {
		w.hub.Publish(chat.Event{
			Kind: chat.MessageUpdated, Chat: port, Seq: seq, PrevSeq: seq - 1,
			History: chat.HistoryJoined, Message: &chat.Message{Seq: born},
		})
	}
	edited(2, 4)
	edited(3, 5)
	a.hears("message.updated 4", "message.updated 5")
	b.hears("gap 4", "message.updated 5")
}

func TestDeletedChatIsTheLastOfIt(t *testing.T) {
	w := newWorld(t)
	w.in(ana, 1)
	w.in(bob, 2)
	a, b := w.connect(ana), w.connect(bob)
	w.hub.Publish(chat.Event{Kind: chat.ChatDeleted, Chat: port, Seq: 3, ChatRow: &chat.Chat{}})
	w.says(4)
	a.hears("chat.deleted 3")
	b.hears("chat.deleted 3")
	if len(w.hub.rooms) != 0 {
		t.Error("the chat is still routed")
	}
}

// What is committed and what is published are seen at different times: these
// are the orders in which that could go wrong.
func TestSubscribingBetweenCommitAndPublish(t *testing.T) {
	t.Run("removed while memberships are read", func(t *testing.T) {
		w := newWorld(t)
		w.in(bob, 2)
		w.reading = func(chat.UserID) { w.member(chat.ParticipantRemoved, bob, 5) }
		b := w.connect(bob)
		w.says(6)
		b.hears()
	})
	t.Run("removed and back while memberships are read", func(t *testing.T) {
		w := newWorld(t)
		w.in(bob, 2)
		w.reading = func(chat.UserID) {
			w.member(chat.ParticipantRemoved, bob, 5)
			w.says(6)
			w.member(chat.ParticipantAdded, bob, 7)
		}
		b := w.connect(bob)
		w.says(8)
		b.hears("participant.added 7", "message.created 8")
	})
	t.Run("added while memberships are read", func(t *testing.T) {
		w := newWorld(t)
		w.reading = func(chat.UserID) { w.member(chat.ParticipantAdded, bob, 5) }
		b := w.connect(bob)
		w.says(6)
		b.hears("participant.added 5", "message.created 6")
	})
	t.Run("the read is ahead of an addition", func(t *testing.T) {
		w := newWorld(t)
		w.in(bob, 5)
		b := w.connect(bob)
		w.says(4) // before their time
		w.member(chat.ParticipantAdded, bob, 5)
		w.says(6)
		b.hears("participant.added 5", "message.created 6")
	})
	t.Run("the read is ahead of a removal and a return", func(t *testing.T) {
		w := newWorld(t)
		w.in(bob, 9)
		b := w.connect(bob)
		w.member(chat.ParticipantRemoved, bob, 7)
		w.says(8)
		w.member(chat.ParticipantAdded, bob, 9)
		w.says(10)
		b.hears("participant.added 9", "message.created 10")
	})
	t.Run("deleted while memberships are read", func(t *testing.T) {
		w := newWorld(t)
		w.in(bob, 2)
		w.reading = func(chat.UserID) {
			w.hub.Publish(chat.Event{Kind: chat.ChatDeleted, Chat: port, Seq: 5, ChatRow: &chat.Chat{}})
		}
		b := w.connect(bob)
		if len(w.hub.rooms) != 0 {
			t.Error("a deleted chat is routed")
		}
		b.hears()
	})
	t.Run("closed while memberships are read", func(t *testing.T) {
		w := newWorld(t)
		w.in(bob, 2)
		b := w.register(bob)
		w.reading = func(chat.UserID) { b.Close() }
		if err := b.Subscribe(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantEmpty()
	})
	t.Run("memberships cannot be read", func(t *testing.T) {
		w := newWorld(t)
		broken := errors.New("disk on fire")
		w.hub.cfg.Memberships = func(context.Context, chat.UserID) ([]chat.Membership, error) { return nil, broken }
		b := w.register(bob)
		if err := b.Subscribe(t.Context()); !errors.Is(err, broken) {
			t.Errorf("Subscribe: %v", err)
		}
		b.Close()
		w.wantEmpty()
	})
}

func TestTyping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.in(ana, 1)
		w.in(bob, 2)
		w.in(cem, 3)
		phone, laptop, b, c := w.connect(ana), w.connect(ana), w.connect(bob), w.connect(cem)
		c.SetFocus([]chat.ChatID{port + 1})

		w.hub.PublishTyping(port, ana, false)
		w.hub.PublishTyping(port, ana, false) // too soon
		b.hears("1 types")
		c.hears() // looks elsewhere
		phone.hears()
		laptop.hears()

		c.SetFocus([]chat.ChatID{port})
		w.hub.PublishTyping(port, ana, true)
		w.hub.PublishTyping(port, ana, true)
		w.hub.PublishTyping(port, ana, false) // still too soon
		b.hears("1 stopped")
		c.hears("1 stopped")

		time.Sleep(typingEvery)
		w.hub.PublishTyping(port, ana, false)
		w.hub.PublishTyping(port, bob, true) // did not type
		b.hears("1 types")
		phone.hears()

		time.Sleep(typingLasts)
		w.hub.PublishTyping(port, ana, true) // forgotten by then
		b.hears()
	})
}

func TestTypingIsLostInACrowd(t *testing.T) {
	w := newWorld(t)
	w.in(ana, 1)
	a := w.connect(ana)
	for u := range chat.UserID(typingPeople - 1) {
		w.in(100+u, 1)
		w.connect(100 + u)
		w.connect(100 + u)
	}
	w.hub.PublishTyping(port, 100, false)
	a.hears("100 types")
	w.in(bob, 1)
	w.connect(bob)
	w.hub.PublishTyping(port, 101, false)
	a.hears()
}

func TestReadMarksReachOnesOwnDevices(t *testing.T) {
	w := newWorld(t)
	w.in(ana, 1)
	w.in(bob, 2)
	a, b := w.connect(ana), w.connect(bob)
	w.hub.PublishRead(port, ana, 4)
	a.hears("read by 1 to 4")
	b.hears()
}

func TestEndSessionsReachesEveryConnection(t *testing.T) {
	w := newWorld(t)
	subscribed, silent, other := w.connect(ana), w.register(ana), w.connect(bob)
	gone := w.register(ana)
	gone.Close()
	w.hub.EndSessions([]chat.SessionID{chat.SessionID(ana), 999})
	for d, want := range map[*device][]Reason{subscribed: {SessionRevoked}, silent: {SessionRevoked}, other: nil, gone: nil} {
		if !slices.Equal(d.ended, want) {
			t.Errorf("ended %v, want %v", d.ended, want)
		}
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	w := newWorld(t)
	for u := range chat.UserID(10) {
		w.in(u, int64(u)+1)
	}
	var people sync.WaitGroup
	for u := range chat.UserID(10) {
		people.Go(func() {
			for range 500 {
				d := w.connect(u)
				w.hub.PublishTyping(port, u, false)
				w.hub.PublishRead(port, u, 1)
				d.Close()
				d.Close()
			}
		})
	}
	done := make(chan struct{})
	go func() { people.Wait(); close(done) }()
	for seq := int64(20); ; seq++ {
		select {
		case <-done:
			w.wantEmpty()
			return
		default:
			w.says(seq)
			w.member(chat.ParticipantAdded, chat.UserID(seq%10), seq)
		}
	}
}
