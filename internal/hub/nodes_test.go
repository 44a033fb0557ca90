package hub

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub/fakebus"
	"github.com/grima-chat/grima/internal/password"
)

// twoNodes are two hubs on one store. What happens on one is published at once.
type twoNodes struct {
	*testing.T

	one, two *world
	net      *fakebus.Net
	at       [2]*fakebus.Port
	reads    atomic.Int64 // of the second node's
}

func newTwoNodes(t *testing.T, set ...func(*Config)) *twoNodes {
	t.Helper()
	n := &twoNodes{T: t, net: fakebus.NewNet(1, fakebus.Faults{})}
	n.at = [2]*fakebus.Port{n.net.Join(), n.net.Join()}
	with := func(port *fakebus.Port) []func(*Config) {
		return append([]func(*Config){func(c *Config) { c.Bus, c.Scan, c.Sessions = port, time.Hour, 3*time.Second }}, set...)
	}
	n.one = newWorld(t, with(n.at[0])...)
	n.two = beside(n.one, with(n.at[1])...)
	n.two.reading = func(string) { n.reads.Add(1) }
	for _, w := range []*world{n.one, n.two} {
		w.do(w.hub.Join())
	}
	n.settle()
	return n
}

// beside is another hub, with rules of its own, on the store of a world.
func beside(w *world, set ...func(*Config)) *world {
	b := &world{T: w.T, store: w.store, ana: w.ana, bob: w.bob, cem: w.cem, dan: w.dan, port: w.port}
	b.source.Log = chat.NewLog(w.store)
	cfg := w.hub.cfg
	cfg.Source = &b.source
	for _, f := range set {
		f(&cfg)
	}
	b.hub = New(cfg)
	b.svc = chat.NewService(chat.Config{
		Store: w.store, Publisher: b, Passwords: password.New(password.Params{Memory: 64, Time: 1}), NoLimits: true,
	})
	w.Cleanup(b.hub.Close)
	return b
}

// settle lets everything through that was published.
func (n *twoNodes) settle() {
	for range 2 {
		n.one.tell()
		n.two.tell()
	}
}

// hears checks what a device heard, and that of it the other node told all.
func (n *twoNodes) hears(d *device, want ...string) {
	n.Helper()
	n.settle()
	d.hears(want...)
}

func TestWhatOneNodeCommitsIsToldOnTheOther(t *testing.T) {
	n := newTwoNodes(t)
	n.one.adds(n.one.bob)
	n.settle()
	ana, bob := n.one.connect(n.one.ana), n.two.connect(n.two.bob)
	n.one.says(2)
	n.hears(ana, "message.created 3", "message.created 4")
	n.hears(bob, "message.created 3", "message.created 4")
	n.two.edits(4)
	n.one.removes(n.one.bob)
	n.one.says(1)
	n.hears(ana, "message.updated 5", "participant.removed 6", "message.created 7")
	n.hears(bob, "message.updated 5", "participant.removed 6")
	if st := n.two.hub.Stats(); st.Rooms != 0 || st.Scans != 0 || st.Bus.Useful == 0 {
		t.Errorf("%+v", st)
	}
}

// Somebody is let into a chat that nobody on their node is in.
func TestComingInFromElsewhere(t *testing.T) {
	n := newTwoNodes(t)
	bob := n.two.connect(n.two.bob)
	n.one.says(3)
	n.one.adds(n.one.bob, n.one.cem)
	n.one.says(1)
	n.hears(bob, "participant.added 5", "participant.added 6", "message.created 7")
	// A chat that is new, and one that is over before it is heard of.
	n.one.group(n.one.ana, chat.HistoryAll, n.one.bob)
	n.hears(bob, "participant.added 2")
	n.one.removes(n.one.bob)
	n.hears(bob, "participant.removed 8")
	n.one.adds(n.one.bob)
	n.one.removes(n.one.bob)
	n.hears(bob, "participant.removed 9-10")
	if st := n.two.hub.Stats(); st.Scans != 0 {
		t.Errorf("%+v", st)
	}
}

// A connection whose memberships are being read hears of what happens meanwhile
// on the other node.
func TestComingInWhileLoading(t *testing.T) {
	for name, happens := range map[string]func(n *twoNodes) (want []string){
		"coming in": func(n *twoNodes) []string {
			n.one.adds(n.one.bob)
			return []string{"participant.added 2", "message.created 3"}
		},
		"speaking": func(n *twoNodes) []string { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			n := newTwoNodes(t)
			if name == "speaking" {
				n.one.adds(n.one.bob)
				n.settle()
			}
			var want []string
			n.two.reading = func(what string) {
				if what != "memberships" {
					return
				}
				n.two.reading = nil
				want = happens(n)
				if seq := n.one.says(1); want == nil {
					want = []string{fmt.Sprintf("message.created %d", seq)}
				}
				n.settle()
			}
			bob := n.two.connect(n.two.bob)
			n.hears(bob, want...)
			if n.two.hub.before != nil || len(n.two.hub.loading) > 0 {
				t.Error("it remembers what is over")
			}
		})
	}
}

// Hints of chats that nobody here is in, and of what was told already, cost no
// look into the store.
func TestHintsOfNoConcernCostNothing(t *testing.T) {
	n := newTwoNodes(t)
	n.one.adds(n.one.bob)
	n.settle()
	bob, cem := n.two.connect(n.two.bob), n.two.connect(n.two.cem)
	n.one.says(1)
	n.settle()
	elsewhere := n.one.group(n.one.ana, chat.HistoryAll, n.one.dan)
	n.settle()
	n.reads.Store(0)
	for range 10 {
		n.two.hub.receive(Hints, encoded(Hints, (*payload).hint, hint{chat: n.one.port, seq: 3}, hint{chat: n.one.port, seq: 1}, hint{chat: elsewhere, seq: 2, entered: []chat.UserID{n.one.dan}}))
	}
	n.settle()
	if reads := n.reads.Load(); reads != 0 {
		t.Errorf("%d reads", reads)
	}
	bob.hears("message.created 3")
	cem.hears()
}

func encoded[T any](kind Kind, put func(*payload, T), list ...T) []byte {
	return encodeAll(kind, list, put)[0].b
}

// Whatever is made up makes the hub look, and tell nothing that is not so.
func TestForgery(t *testing.T) {
	n := newTwoNodes(t)
	n.one.adds(n.one.bob)
	n.one.says(1)
	n.settle()
	bob, cem := n.two.connect(n.two.bob), n.two.connect(n.two.cem)
	h, in := n.two.hub, n.two.port
	h.receive(Hints, encoded(Hints, (*payload).hint,
		hint{chat: in, seq: most - 1},                                      // what will never be
		hint{chat: in + 7, seq: 5, entered: []chat.UserID{n.two.cem}},      // no such chat
		hint{chat: in, seq: 4, entered: []chat.UserID{n.two.cem, 1 << 40}}, // who did not come in
	))
	h.receive(Marks, encoded(Marks, (*payload).mark, mark{chat.Place{Chat: in, User: n.two.bob}, 1 << 50}, mark{chat.Place{Chat: in, User: n.two.cem}, 3}))
	h.receive(Ended, encoded(Ended, (*payload).session, chat.SessionID(n.two.cem), 99))
	h.receive(Look, newPayload(Look).b)
	n.settle()
	bob.hears(toSelf(2, "")) // which is so
	cem.hears()
	// What is so is told all the same.
	n.one.says(1)
	n.hears(bob, "message.created 4")
	n.two.adds(n.two.cem)
	n.hears(cem, "participant.added 5")
}

func TestGarbage(t *testing.T) {
	n := newTwoNodes(t)
	bob := n.two.connect(n.two.bob)
	h := n.two.hub
	var want int64
	good := map[Kind][]byte{
		Hints: encoded(Hints, (*payload).hint, hint{chat: 1, seq: 1 << 40, entered: []chat.UserID{1, 2}}), Look: newPayload(Look).b,
		Ended: encoded(Ended, (*payload).session, 7), Marks: encoded(Marks, (*payload).mark, mark{chat.Place{Chat: 9, User: 9}, 9}),
		Typing: encoded(Typing, (*payload).typing, typingNote{chat.Place{Chat: 9, User: 9}, true}),
		People: encoded(People, (*payload).user, 7),
	}
	presence := newPayload(Presence)
	presence.node(nodeID{1}, changes)
	presence.int(1)
	presence.standing(standing{9, place{chat.Online, 1}})
	good[Presence] = presence.b
	for _, kind := range Kinds {
		list := [][]byte{nil, {0}, {payloadVersion + 1}, []byte(`{"chat_id":"c_1","seq":1}`), slices.Concat(good[kind], []byte{0xff})}
		for i := 1; i < len(good[kind])-1; i++ {
			if cut := good[kind][:i]; kind != Hints || i > 1 {
				list = append(list, cut)
			}
		}
		for _, b := range list {
			before := h.Stats().Bus
			h.receive(kind, b)
			after := h.Stats().Bus
			if after.Garbage != before.Garbage+1 || after.Received != before.Received+1 {
				t.Errorf("%s %x is no garbage", kind, b)
			}
			want++
		}
		if h.receive(kind, good[kind]); h.Stats().Bus.Garbage != want {
			t.Errorf("%s %x is garbage", kind, good[kind])
		}
	}
	h.receive("else", []byte{payloadVersion})
	if garbage := h.Stats().Bus.Garbage; garbage != want+1 {
		t.Errorf("%d are garbage, want %d", garbage, want+1)
	}
	n.settle()
	bob.hears()
}

func FuzzReceive(f *testing.F) {
	f.Add(uint8(0), []byte{payloadVersion, 1, 2, 1, 3})
	f.Add(uint8(4), []byte{payloadVersion, 'a', 1, 2, 3, 4, 5, 6, 7, 8, 1, 0, 1, 5, 1, 1})
	h := New(Config{Source: oneChat{}, Bus: fakebus.NewNet(1, fakebus.Faults{}).Join(), Ablate: Ablate{NoRescan: true}})
	f.Cleanup(h.Close)
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		h.receive(Kinds[int(kind)%len(Kinds)], b)
		h.Settle()
		if st := h.Stats(); st.Rooms != 0 || h.Nodes() > maxNodes+1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestEphemeraBetweenNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTwoNodes(t)
		n.one.adds(n.one.bob)
		n.one.says(3)
		n.settle()
		ana, phone, bob := n.one.connect(n.one.ana), n.two.connect(n.two.ana), n.two.connect(n.two.bob)

		n.one.hub.PublishTyping(n.one.port, n.one.ana, false)
		n.one.hub.PublishTyping(n.one.port, n.one.ana, false) // too soon
		n.one.hub.PublishTyping(n.one.port, n.one.ana, true)
		n.hears(bob, fmt.Sprintf("%d types", n.one.ana), fmt.Sprintf("%d stopped", n.one.ana))
		ana.hears()
		phone.hears()
		// Of who types where nobody is in the chat: over HTTP.
		n.two.hub.PublishTyping(n.one.port+1, n.one.bob, false)
		n.hears(ana)

		_, err := n.one.svc.SetRead(n.one.Context(), chat.Actor{User: n.one.ana}, n.one.port, 4)
		n.one.do(err)
		n.hears(phone, toSelf(4, ""))
		ana.hears(toSelf(4, ""))
		time.Sleep(readEvery + time.Millisecond)
		n.hears(bob, fmt.Sprintf("read by %d to 4", n.one.ana))

		// Of what she wants to be told, she alone hears, also who read nothing yet.
		quiet := n.one.group(n.one.ana, chat.HistoryAll)
		n.settle()
		n.one.forget()
		for _, id := range []chat.ChatID{n.one.port, quiet} {
			_, err = n.one.svc.SetNotify(n.one.Context(), chat.Actor{User: n.one.ana}, id, n.one.ana, chat.NotifyNone)
			n.one.do(err)
			n.settle()
		}
		time.Sleep(readEvery + time.Millisecond)
		n.hears(bob)
		for _, d := range []*device{ana, phone} {
			n.hears(d, "chat.created 1", toSelf(4, chat.NotifyNone), toSelf(0, chat.NotifyNone))
		}
	})
}

func (d *device) endings() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.ended)
}

// session puts a session of user's, whose id is theirs, into the store.
func (w *world) session(user chat.UserID) {
	w.Helper()
	done := make(chan error, 1)
	w.store.Update(chat.Op{Run: func(tx chat.Tx) error {
		return tx.PutSession(chat.Session{ID: chat.SessionID(user), User: user, TokenHash: [32]byte{byte(user)}, ExpiresAt: time.Now().Add(time.Hour)})
	}}, func(err error) { done <- err })
	w.do(<-done)
}

func TestSessionsEndOnAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTwoNodes(t)
		for _, user := range []chat.UserID{n.one.ana, n.one.bob, n.one.cem} {
			n.one.session(user)
		}
		ana, bob, cem := n.two.register(n.two.ana), n.two.connect(n.two.bob), n.two.connect(n.two.cem)
		ended := func(d *device, want int) {
			t.Helper()
			synctest.Wait()
			n.settle()
			if n := d.endings(); n != want {
				t.Errorf("user %d: ended %d times", d.user, n)
			}
		}
		end := func(user chat.UserID) {
			n.one.do(n.one.svc.EndSession(n.one.Context(), chat.Actor{User: user, Session: chat.SessionID(user)}))
		}
		// At once, over the bus.
		end(n.one.ana)
		ended(ana, 1)
		// Without it, within seconds.
		n.at[0].Cut()
		end(n.one.bob)
		ended(bob, 0)
		time.Sleep(3*time.Second + time.Millisecond)
		ended(bob, 1)
		// Somebody said so; it is not so.
		n.two.hub.receive(Ended, encoded(Ended, (*payload).session, chat.SessionID(n.two.cem)))
		time.Sleep(time.Minute)
		ended(cem, 0)
		if st := n.two.hub.Stats(); st.FoundEnded < 2 {
			t.Errorf("%+v", st)
		}
	})
}

// brokenSessions is a source that cannot tell of sessions for a while.
type brokenSessions struct {
	*source

	broken atomic.Bool
}

func (b *brokenSessions) LiveSessions(ctx context.Context, ids []chat.SessionID) ([]chat.SessionID, error) {
	if b.broken.Load() {
		return nil, fmt.Errorf("no route to host")
	}
	return b.Log.LiveSessions(ctx, ids)
}

// A store that cannot be asked ends nobody's session.
func TestSessionsOfAStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &brokenSessions{}
		w := newWorld(t, func(c *Config) {
			src.source = c.Source.(*source)
			c.Source, c.Sessions, c.Log = src, time.Second, slog.New(slog.DiscardHandler)
		})
		w.session(w.ana)
		src.broken.Store(true)
		d := w.connect(w.ana)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if d.endings() > 0 {
			t.Error("ended")
		}
		src.broken.Store(false)
		done := make(chan error, 1)
		w.store.Update(chat.Op{Run: func(tx chat.Tx) error { return tx.DeleteSession(chat.SessionID(w.ana)) }}, func(err error) { done <- err })
		w.do(<-done)
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		if d.endings() == 0 {
			t.Error("not ended")
		}
	})
}

// A node that was cut off tells what it missed when it is back, and the others
// what they missed of it.
func TestCutOffAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTwoNodes(t)
		n.one.adds(n.one.bob)
		n.settle()
		ana, bob := n.one.connect(n.one.ana), n.two.connect(n.two.bob)
		n.at[1].Cut()
		n.one.says(2)
		n.two.edits(3)
		n.hears(bob, "message.created 3-4", "message.updated 5") // which its own hint showed
		n.hears(ana, "message.created 3", "message.created 4")
		n.one.says(1)
		n.hears(bob)
		n.at[1].Heal()
		synctest.Wait()
		n.hears(bob, "message.created 6")
		n.hears(ana, "message.updated 5", "message.created 6")
		if st := n.one.hub.Stats(); st.Bus.Failed != 0 || n.two.hub.Stats().Bus.Failed == 0 || n.two.hub.Stats().Bus.Missed != 1 {
			t.Errorf("%+v\n%+v", st, n.two.hub.Stats())
		}
	})
}
