package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/password"
	"github.com/grima-chat/grima/internal/store/storetest"
)

// world is a hub above a store in memory, with the rules in between. What the
// rules publish is kept until the test lets it through.
type world struct {
	*testing.T

	hub   *Hub
	store *storetest.Memory
	svc   *chat.Service
	source
	ana, bob, cem, dan chat.UserID
	port               chat.ChatID

	mu      sync.Mutex
	kept    []chat.Event
	encoded int
	edited  int
}

// source is the store's log, with a hook after each read.
type source struct {
	*chat.Log

	reading func(what string)
	broken  atomic.Pointer[error]
}

func (s *source) read(what string) error {
	if s.reading != nil {
		s.reading(what)
	}
	if err := s.broken.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *source) Memberships(ctx context.Context, user chat.UserID) ([]chat.Membership, int64, error) {
	list, stamp, err := s.Log.Memberships(ctx, user)
	return list, stamp, errors.Join(err, s.read("memberships"))
}

func (s *source) Missed(ctx context.Context, id chat.ChatID, user chat.UserID, after, upto int64) (chat.Missed, error) {
	m, err := s.Log.Missed(ctx, id, user, after, upto)
	return m, errors.Join(err, s.read("missed"))
}

func (s *source) Changed(ctx context.Context, id chat.ChatID, after, upto int64) (chat.Changed, error) {
	ch, err := s.Log.Changed(ctx, id, after, upto)
	return ch, errors.Join(err, s.read("changed"))
}

// newWorld has four people, and a chat of Ana's alone, at 1.
func newWorld(t *testing.T, set ...func(*Config)) *world {
	t.Helper()
	w := &world{T: t, store: storetest.NewMemory()}
	w.source.Log = chat.NewLog(w.store)
	cfg := Config{
		Encode: func(dst []byte, e chat.Event) []byte {
			w.mu.Lock()
			w.encoded++
			w.mu.Unlock()
			return describe(dst, e)
		},
		EncodeRead: func(dst []byte, _ chat.ChatID, user chat.UserID, seq int64) []byte {
			return fmt.Appendf(dst, "read by %d to %d\n", user, seq)
		},
		EncodeTyping: func(dst []byte, _ chat.ChatID, user chat.UserID, stop bool) []byte {
			if stop {
				return fmt.Appendf(dst, "%d stopped\n", user)
			}
			return fmt.Appendf(dst, "%d types\n", user)
		},
		EncodePresence: func(dst []byte, user chat.UserID, status chat.Status) []byte {
			return fmt.Appendf(dst, "%d is %s\n", user, status)
		},
		Source: &w.source,
	}
	for _, f := range set {
		f(&cfg)
	}
	w.hub = New(cfg)
	w.svc = chat.NewService(chat.Config{
		Store: w.store, Publisher: w, Passwords: password.New(password.Params{Memory: 64, Time: 1}), NoLimits: true,
	})
	t.Cleanup(func() {
		w.hub.Close()
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	w.ana, w.bob, w.cem, w.dan = w.person(), w.person(), w.person(), w.person()
	w.port = w.group(w.ana, chat.HistoryAll)
	w.forget()
	return w
}

// describe is an event's line in these tests: the kind, and what it covers.
func describe(dst []byte, e chat.Event) []byte {
	dst = append(dst, e.Kind...)
	if e.PrevSeq != e.Seq-1 {
		return fmt.Appendf(dst, " %d-%d\n", e.PrevSeq+1, e.Seq)
	}
	return fmt.Appendf(dst, " %d\n", e.Seq)
}

func (w *world) Publish(e chat.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept = append(w.kept, e)
}

func (w *world) PublishRead(id chat.ChatID, user chat.UserID, seq int64) {
	w.hub.PublishRead(id, user, seq)
}

func (w *world) PublishTyping(id chat.ChatID, user chat.UserID, stop bool) {
	w.hub.PublishTyping(id, user, stop)
}
func (w *world) PublishPresence(user chat.UserID) { w.hub.PublishPresence(user) }
func (w *world) EndSessions(ids []chat.SessionID) { w.hub.EndSessions(ids) }

// tell lets what was kept through, and waits until it has been told.
func (w *world) tell() {
	for _, e := range w.take() {
		w.hub.Publish(e)
	}
	w.hub.Settle()
}

func (w *world) take() []chat.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := w.kept
	w.kept = nil
	return kept
}

// forget loses what was kept.
func (w *world) forget() { w.take() }

func (w *world) do(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) person() (id chat.UserID) {
	w.Helper()
	done := make(chan error, 1)
	w.store.Update(chat.Op{Run: func(tx chat.Tx) (err error) {
		if id, err = tx.NewUserID(); err != nil {
			return err
		}
		return tx.PutUser(chat.User{ID: id, Username: fmt.Sprint("user", id), Role: chat.RoleMember})
	}}, func(err error) { done <- err })
	w.do(<-done)
	return id
}

func (w *world) group(owner chat.UserID, history chat.History, others ...chat.UserID) chat.ChatID {
	w.Helper()
	st, _, err := w.svc.CreateChat(w.Context(), chat.Actor{User: owner}, chat.NewChat{Kind: chat.KindGroup, Title: "Port", History: history, Users: others})
	w.do(err)
	return st.Chat.ID
}

// says sends messages of Ana's, without waiting for what is told of them.
func (w *world) says(n int) (seq int64) {
	w.Helper()
	for range n {
		type sent struct {
			seq int64
			err error
		}
		done := make(chan sent, 1)
		w.svc.Send(chat.Actor{User: w.ana}, chat.NewMessage{Chat: w.port, Content: "hi"}, func(r chat.SendResult, err error) { done <- sent{r.Seq, err} })
		s := <-done
		w.do(s.err)
		seq = s.seq
	}
	// The news comes after the answer: another update comes after both.
	w.person()
	return seq
}

func (w *world) edits(seq int64) {
	w.Helper()
	w.edited++
	done := make(chan error, 1)
	w.svc.Edit(chat.Actor{User: w.ana}, chat.MessageEdit{Chat: w.port, Seq: seq, Content: fmt.Sprint("edit ", w.edited)}, func(_ int64, err error) { done <- err })
	w.do(<-done)
	w.person()
}

func (w *world) adds(users ...chat.UserID) {
	w.Helper()
	_, err := w.svc.AddParticipants(w.Context(), chat.Actor{User: w.ana}, w.port, users, "")
	w.do(err)
}

func (w *world) removes(user chat.UserID) {
	w.Helper()
	_, err := w.svc.RemoveParticipant(w.Context(), chat.Actor{User: w.ana}, w.port, user)
	w.do(err)
}

func (w *world) promotes(user chat.UserID) {
	w.Helper()
	_, err := w.svc.UpdateParticipant(w.Context(), chat.Actor{User: w.ana}, w.port, user, chat.RoleAdmin)
	w.do(err)
}

func (w *world) deletes() {
	w.Helper()
	w.do(w.svc.DeleteChat(w.Context(), chat.Actor{User: w.ana}, w.port))
}

// device is a connection that writes down what it hears.
type device struct {
	*Conn

	w     *world
	mu    sync.Mutex
	heard []string
	full  bool // there is no room
	ended []Reason
}

func (d *device) Deliver(r *Run) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return false
	}
	d.hearLocked(r)
	return true
}

func (d *device) hearLocked(r *Run) {
	for line := range strings.Lines(string(r.Bytes(Lines))) {
		d.heard = append(d.heard, strings.TrimSuffix(line, "\n"))
	}
}

func (d *device) Notice(r *Run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hearLocked(r)
}

func (d *device) End(r Reason) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = append(d.ended, r)
}

func (d *device) setFull(full bool) {
	d.mu.Lock()
	d.full = full
	d.mu.Unlock()
	if !full {
		d.Ready()
		d.w.hub.Settle()
	}
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
	if diff := cmp.Diff(want, d.heard, cmpopts.EquateEmpty()); diff != "" {
		d.w.Errorf("user %d heard (-want +got):\n%s", d.user, diff)
	}
	d.heard = nil
}

// wantEmpty checks that the hub remembers nothing.
func (w *world) wantEmpty() {
	w.Helper()
	w.hub.Settle()
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.sessions) + len(h.users) + len(h.rooms) + len(h.loading) + h.members + h.dirty; n != 0 {
		w.Errorf("left behind: %d sessions, %d users, %d rooms, %d loading, %d members, %d dirty",
			len(h.sessions), len(h.users), len(h.rooms), len(h.loading), h.members, h.dirty)
	}
}

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

func TestHintsLostDoubledReordered(t *testing.T) {
	tests := map[string]struct {
		order []int // of the hints, by index
		want  []string
	}{
		"doubled":              {[]int{0, 0, 1, 0, 1, 2, 2}, []string{"message.created 2", "message.created 3", "message.created 4"}},
		"in the wrong order":   {[]int{2, 1, 0}, []string{"message.created 2", "message.created 3", "message.created 4"}},
		"the first ones lost":  {[]int{2}, []string{"message.created 2", "message.created 3", "message.created 4"}},
		"one in between lost":  {[]int{0, 2}, []string{"message.created 2", "message.created 3", "message.created 4"}},
		"the last one lost":    {[]int{0, 1}, []string{"message.created 2", "message.created 3"}},
		"all of them are lost": {nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				a := w.connect(w.ana)
				w.says(3)
				hints := w.take()
				for _, i := range tt.order {
					w.hub.Publish(hints[i])
					w.hub.Settle()
				}
				a.hears(tt.want...)
				time.Sleep(6 * time.Second) // a scan comes
				all := []string{"message.created 2", "message.created 3", "message.created 4"}
				a.hears(all[len(tt.want):]...)
			})
		})
	}
}

func TestFalseHints(t *testing.T) {
	w := newWorld(t)
	a := w.connect(w.ana)
	for _, seq := range []int64{1 << 40, 0, -5, 17} {
		w.hub.Publish(chat.Event{Kind: chat.MessageCreated, Chat: w.port, Seq: seq, PrevSeq: seq - 1, Message: &chat.Message{}})
		w.hub.Publish(chat.Event{Kind: chat.MessageCreated, Chat: 999, Seq: seq, PrevSeq: seq - 1, Message: &chat.Message{}})
		w.hub.Publish(chat.Event{Kind: chat.ParticipantAdded, Chat: 999, Seq: seq, PrevSeq: seq - 1, Participant: &chat.Participant{Chat: 999, User: w.ana}})
	}
	w.hub.Settle()
	a.hears()
	w.says(2)
	w.tell()
	a.hears("message.created 2", "message.created 3")
	if s := w.hub.Stats(); s.Rooms != 1 {
		t.Errorf("%+v", s)
	}
}

// Somebody comes back while no hint says so: what was said while they were out
// is not theirs.
func TestRemovedAndBackInAHole(t *testing.T) {
	w := newWorld(t)
	w.adds(w.bob)
	w.forget()
	a, b := w.connect(w.ana), w.connect(w.bob)
	w.says(1)        // 3
	w.removes(w.bob) // 4
	w.says(2)        // 5, 6
	w.adds(w.bob)    // 7
	w.forget()
	w.says(1) // 8
	w.tell()
	a.hears("message.created 3", "message.created 4-5", "message.created 6", "participant.added 7", "message.created 8")
	b.hears("gap 3-6", "participant.added 7", "message.created 8")
}

func TestScanFindsMembershipsThatNoHintToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b, c := w.connect(w.bob), w.connect(w.cem)
		w.says(2)
		w.adds(w.bob) // 4
		w.says(1)     // 5
		w.forget()
		time.Sleep(6 * time.Second)
		b.hears("participant.added 4", "message.created 5")
		w.says(1)
		w.tell()
		b.hears("message.created 6")
		w.removes(w.bob)
		w.forget()
		time.Sleep(6 * time.Second)
		b.hears("participant.removed 7")
		w.says(1)
		w.tell()
		time.Sleep(6 * time.Second)
		b.hears()
		c.hears()
		if s := w.hub.Stats(); s.FoundMissing != 1 || s.FoundBehind != 1 {
			t.Errorf("%+v", s)
		}
	})
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

func TestCatchingUp(t *testing.T) {
	t.Run("as the rows are now", func(t *testing.T) {
		w := newWorld(t)
		a := w.connect(w.ana)
		seq := w.says(1)
		w.tell()
		a.hears("message.created 2")
		a.setFull(true)
		w.edits(seq) // 3
		w.says(1)    // 4
		w.edits(seq) // 5
		w.tell()
		w.says(1) // 6
		w.tell()
		a.setFull(false)
		a.hears("message.created 3-4", "message.updated 5", "message.created 6")
		w.says(1)
		w.tell()
		a.hears("message.created 7")
	})
	t.Run("a chat at a time, up to where there is no room", func(t *testing.T) {
		w := newWorld(t)
		other := w.group(w.ana, chat.HistoryAll)
		w.forget()
		a := w.connect(w.ana)
		a.setFull(true)
		w.says(1)
		w.tell()
		w.port = other
		w.says(1)
		w.tell()
		if s := w.hub.Stats(); s.Dirty != 2 {
			t.Errorf("%+v", s)
		}
		a.Ready() // and there is still no room
		w.hub.Settle()
		a.hears()
		a.setFull(false)
		a.hears("message.created 2", "message.created 2")
		if s := w.hub.Stats(); s.Dirty != 0 || s.CaughtUp != 2 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("too much is a gap", func(t *testing.T) {
		w := newWorld(t)
		a := w.connect(w.ana)
		a.setFull(true)
		w.says(chat.MaxBacklog)
		w.tell()
		w.says(1)
		w.tell()
		a.setFull(false)
		a.hears(fmt.Sprintf("gap 2-%d", chat.MaxBacklog+2))
		w.says(1)
		w.tell()
		a.hears(fmt.Sprintf("message.created %d", chat.MaxBacklog+3))
	})
	t.Run("in pages", func(t *testing.T) {
		w := newWorld(t)
		a := w.connect(w.ana)
		a.setFull(true)
		w.says(chat.MaxBacklog)
		w.tell()
		a.setFull(false)
		var want []string
		for i := range chat.MaxBacklog {
			want = append(want, fmt.Sprintf("message.created %d", i+2))
		}
		a.hears(want...)
	})
	t.Run("to the end of a membership", func(t *testing.T) {
		w := newWorld(t)
		w.adds(w.bob)
		w.forget()
		b := w.connect(w.bob)
		b.setFull(true)
		w.says(1)
		w.removes(w.bob)
		w.says(1)
		w.tell()
		b.setFull(false)
		b.hears("message.created 3", "participant.removed 4")
		w.says(1)
		w.tell()
		b.hears()
	})
	t.Run("over the end of a membership into another", func(t *testing.T) {
		w := newWorld(t)
		w.adds(w.bob)
		w.forget()
		b := w.connect(w.bob)
		b.setFull(true)
		w.says(1)
		w.removes(w.bob)
		w.says(1)
		w.tell()
		w.adds(w.bob)
		w.says(1)
		w.tell()
		b.setFull(false)
		b.hears("gap 3-5", "participant.added 6", "message.created 7")
		w.says(1)
		w.tell()
		b.hears("message.created 8")
	})
	t.Run("what is said meanwhile", func(t *testing.T) {
		w := newWorld(t)
		a := w.connect(w.ana)
		a.setFull(true)
		w.says(1)
		w.tell()
		w.says(1) // the store is ahead of the room
		last := int64(3)
		w.reading = func(what string) {
			if what == "missed" && last < 10 {
				last = w.says(1)
				for _, e := range w.take() {
					w.hub.Publish(e)
				}
			}
		}
		a.setFull(false)
		var want []string
		for seq := int64(2); seq <= last; seq++ {
			want = append(want, fmt.Sprint("message.created ", seq))
		}
		a.hears(want...)
	})
	t.Run("no further than the room", func(t *testing.T) {
		// What is committed and not published may be not yet answered.
		w := newWorld(t)
		a := w.connect(w.ana)
		seq := w.says(1)
		w.tell()
		a.setFull(true)
		w.says(1)    // 3
		w.edits(seq) // 4
		w.tell()
		w.says(1)    // 5
		w.edits(seq) // 6: now nothing of 4 is left to tell
		a.setFull(false)
		a.hears("message.created 2", "message.created 3")
		w.tell()
		a.hears("message.created 4-5", "message.updated 6")
	})
	t.Run("again after the store could not be read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			a := w.connect(w.ana)
			a.setFull(true)
			w.says(1)
			w.tell()
			broken := errors.New("disk on fire")
			w.broken.Store(&broken)
			a.setFull(false)
			a.hears()
			w.broken.Store(nil)
			time.Sleep(6 * time.Second)
			a.hears("message.created 2")
		})
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
				w.hub.PublishRead(w.port, u, 1)
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

// An addition whose row has changed since is no event of its own any more.
func TestAddedAndChangedInAHole(t *testing.T) {
	w := newWorld(t)
	a, b := w.connect(w.ana), w.connect(w.bob)
	w.says(1)         // 2
	w.adds(w.bob)     // 3
	w.says(1)         // 4
	w.promotes(w.bob) // 5
	w.forget()
	w.says(1) // 6
	w.tell()
	a.hears("message.created 2", "message.created 3-4", "participant.updated 5", "message.created 6")
	b.hears("message.created 3-4", "participant.updated 5", "message.created 6")
}
