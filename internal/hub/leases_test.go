package hub

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub/fakebus"
)

// Somebody is there who is there on any node, as long as that node is heard.
func TestPresenceOnNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTwoNodes(t)
		n.one.adds(n.one.bob)
		n.settle()
		ana, laptop := n.one.connect(n.one.ana), n.two.connect(n.one.ana)
		bob := n.two.connect(n.two.bob)
		n.settle()
		bob.Watch([]chat.UserID{n.one.ana})
		want := func(w *world, ana, bob chat.Status) {
			t.Helper()
			synctest.Wait()
			n.settle()
			if got, want := w.hub.Statuses([]chat.UserID{w.ana, w.bob}), []chat.Status{ana, bob}; !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
		want(n.one, chat.Online, chat.Online)
		want(n.two, chat.Online, chat.Online)
		laptop.Close()
		ana.SetActive(false)
		want(n.two, chat.Away, chat.Online)
		time.Sleep(presenceEvery + time.Millisecond)
		n.hears(bob, fmt.Sprintf("%d is away", n.one.ana))
		if got := n.two.hub.Elsewhere(n.one.ana); got != 1 {
			t.Errorf("%d connections elsewhere", got)
		}
		// The node goes on beating, and nobody is forgotten.
		time.Sleep(time.Minute)
		want(n.two, chat.Away, chat.Online)
		// It is silent: its people are gone when the lease is over.
		n.at[0].Cut()
		ana.SetActive(true)
		time.Sleep(9 * time.Second)
		want(n.two, chat.Away, chat.Online)
		if got := n.two.hub.Nodes(); got != 2 {
			t.Errorf("%d nodes", got)
		}
		time.Sleep(12 * time.Second)
		want(n.two, chat.Offline, chat.Online)
		n.hears(bob, fmt.Sprintf("%d is offline", n.one.ana))
		if got := n.two.hub.Nodes(); got != 1 {
			t.Errorf("%d nodes", got)
		}
		// It is back, with what has changed meanwhile.
		n.at[0].Heal()
		time.Sleep(presenceEvery + time.Millisecond)
		want(n.two, chat.Online, chat.Online)
		n.hears(bob, fmt.Sprintf("%d is online", n.one.ana))
		// And it stops.
		ana.Close()
		n.one.hub.Close()
		time.Sleep(presenceEvery + time.Millisecond)
		n.two.hub.Settle()
		bob.hears(fmt.Sprintf("%d is offline", n.one.ana))
		if got := n.two.hub.Nodes(); got != 1 {
			t.Errorf("%d nodes", got)
		}
	})
}

// Who hides is hidden from those on other nodes as well.
func TestHidingFromOtherNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTwoNodes(t)
		n.one.adds(n.one.bob)
		n.settle()
		n.one.connect(n.one.ana)
		bob := n.two.connect(n.two.bob)
		n.settle()
		bob.Watch([]chat.UserID{n.one.ana})
		yes := true
		_, err := n.one.svc.UpdateUser(n.one.Context(), chat.Actor{User: n.one.ana}, n.one.ana, chat.UserPatch{HidesPresence: &yes})
		n.one.do(err)
		n.settle()
		time.Sleep(presenceEvery + time.Millisecond)
		n.hears(bob, fmt.Sprintf("%d is offline", n.one.ana))
	})
}

// Whatever of a node's news is lost, doubled, late or made up: after some beats
// everybody knows who is there.
func TestPresenceSettlesDown(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 5))
			n := newTwoNodes(t)
			n.net.SetFaults(fakebus.Faults{Lose: 30, Double: 20, Hold: 30})
			users := []chat.UserID{n.one.ana, n.one.bob, n.one.cem, n.one.dan}
			var open []*device
			for range 300 {
				time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
				w := []*world{n.one, n.two}[rng.IntN(2)]
				switch k := rng.IntN(10); {
				case k < 4:
					open = append(open, w.connect(users[rng.IntN(len(users))]))
				case k < 8 && len(open) > 0:
					i := rng.IntN(len(open))
					open[i].Close()
					open = slices.Delete(open, i, i+1)
				case k == 8 && len(open) > 0:
					open[rng.IntN(len(open))].SetActive(rng.IntN(2) == 0)
				default:
					p := newPayload(Presence)
					p.node([]nodeID{n.one.hub.nodes.self, n.two.hub.nodes.self, {1}}[rng.IntN(3)], []saying{changes, beats, asks, all, leaves}[rng.IntN(5)])
					for range rng.IntN(20) {
						p.b = append(p.b, byte(rng.IntN(9)))
					}
					w.hub.receive(Presence, p.b)
				}
			}
			n.net.SetFaults(fakebus.Faults{})
			time.Sleep(time.Minute)
			n.settle()
			one, two := n.one.hub.Statuses(users), n.two.hub.Statuses(users)
			if !slices.Equal(one, two) {
				t.Errorf("seed %d: %v and %v", seed, one, two)
			}
			for i, user := range users {
				conns := 0
				for _, d := range open {
					if d.user == user && d.w == n.one {
						conns++
					}
				}
				if got := n.two.hub.Elsewhere(user); got != conns {
					t.Errorf("seed %d: user %d has %d connections elsewhere, not %d", seed, i, conns, got)
				}
			}
			if a, b := n.one.hub.Nodes(), n.two.hub.Nodes(); a != 2 || b != 2 {
				t.Errorf("seed %d: %d and %d nodes", seed, a, b)
			}
			for _, d := range open {
				d.Close()
			}
		})
	}
}
