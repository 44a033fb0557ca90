package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/password"
)

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

// A position before all logs made a room below zero, whose flusher then looked
// for what leads to zero and never came to an end.
func TestAHintBeforeAllLogs(t *testing.T) {
	w := newWorld(t)
	w.connect(w.ana)
	for _, seq := range []int64{0, -5} {
		w.hub.Publish(chat.Event{Kind: chat.ParticipantAdded, Chat: 999, Seq: seq, PrevSeq: seq - 1, Participant: &chat.Participant{Chat: 999, User: w.ana}})
	}
	w.hub.Settle()
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

// Somebody is added, removed and added again, and no hint tells of any: the row of
// a membership is one, and says nothing of the one before. The line begins with the
// later one, also if the row has changed again and is told at its later place.
func TestOutAndInAgainUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.connect(w.bob)
		w.adds(w.bob)    // 2: a sync that comes now says so
		w.removes(w.bob) // 3
		w.adds(w.bob)    // 4
		w.says(1)        // 5
		w.promotes(w.bob)
		w.forget()
		time.Sleep(6 * time.Second)
		b.hears("message.created 4-5", "participant.updated 6")
	})
}

// How many people's memberships a scan reads is a matter of time: all, as long as
// that is quick, and in turns where it is not. It was 64, and the last of some
// hundreds heard a minute late of a chat that they had been added to.
func TestScanLooksAtAsManyPeopleAsItHasTimeFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const people, slow = 400, 5 * time.Millisecond
		w := newWorld(t)
		var slowly atomic.Bool
		var mu sync.Mutex
		var reads []time.Time
		w.reading = func(what string) {
			if what != "memberships" || !slowly.Load() {
				return
			}
			mu.Lock()
			reads = append(reads, time.Now())
			mu.Unlock()
			time.Sleep(slow)
		}
		stranger := w.person()
		devices := make([]*device, people)
		for i := range devices {
			devices[i] = w.connect(w.person())
		}
		last := devices[people-1]
		w.group(stranger, chat.HistoryAll, last.user) // 1, 2
		w.forget()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		last.hears("participant.added 2")

		slowly.Store(true)
		w.group(stranger, chat.HistoryAll, last.user)
		w.forget()
		heard := func() bool {
			last.mu.Lock()
			defer last.mu.Unlock()
			return len(last.heard) > 0
		}
		for range 120 {
			if heard() {
				break
			}
			time.Sleep(time.Second)
		}
		mu.Lock()
		defer mu.Unlock()
		var scans []int // how many people each looked at
		for i, at := range reads {
			if i == 0 || at.Sub(reads[i-1]) > time.Second {
				scans = append(scans, 0)
			}
			scans[len(scans)-1]++
		}
		share := int(5 * time.Second / scanShare / slow)
		if want := slices.Repeat([]int{share}, people/share); !slices.Equal(scans, want) {
			t.Errorf("%d people were looked at in each scan, not %d", scans, want)
		}
		last.hears("participant.added 2")
	})
}

// Where the store says whose rows changed, everybody hears with the next scan,
// however many they are, and nobody's memberships are read for it.
func TestScanLooksWhereSomethingChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const people = 400
		w := newWorld(t)
		w.log = w.store
		var counts atomic.Bool
		var reads atomic.Int64
		w.reading = func(what string) {
			if what == "memberships" && counts.Load() {
				reads.Add(1)
			}
		}
		stranger := w.person()
		devices := make([]*device, people)
		for i := range devices {
			devices[i] = w.connect(w.person())
		}
		w.says(1)
		w.forget()
		for range 2 { // the first look goes through all
			time.Sleep(6 * time.Second)
			synctest.Wait()
		}
		counts.Store(true)
		for round := range 3 {
			for i := round; i < people; i += 3 {
				w.group(stranger, chat.HistoryAll, devices[i].user)
			}
			w.adds(devices[round].user)
			w.removes(devices[round].user)
			w.forget()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			for i, d := range devices {
				d.mu.Lock()
				heard := len(d.heard)
				d.heard = nil
				d.mu.Unlock()
				want := 0
				if i%3 == round {
					want++
				}
				if i == round {
					want++ // that they came and went is one row by now
				}
				if heard != want {
					t.Errorf("round %d: device %d heard %d events, want %d", round, i, heard, want)
				}
			}
		}
		if n := reads.Load(); n > 0 {
			t.Errorf("memberships were read %d times", n)
		}
		if s := w.hub.Stats(); s.FoundMissing != people+3 || s.Bus.Looks+s.Bus.Entered != 0 {
			t.Errorf("%d memberships were found, %d looked up for others", s.FoundMissing, s.Bus.Looks)
		}
	})
}

// awaySource is one whose store is away for a while.
type awaySource struct {
	*source

	away atomic.Bool
}

func (s *awaySource) err() error {
	if s.away.Load() {
		return errors.New("the store is away")
	}
	return nil
}

func (s *awaySource) Commits(ctx context.Context) (int64, error) {
	n, err := s.source.Commits(ctx)
	return n, errors.Join(err, s.err())
}

func (s *awaySource) Places(ctx context.Context, asked []chat.Place) ([]chat.Participant, []int64, error) {
	places, seqs, err := s.source.Places(ctx, asked)
	return places, seqs, errors.Join(err, s.err())
}

// What a scan was told of, and could not look up as the store went away, was lost:
// the scan that was to go through all memberships for it failed, too, and was
// forgotten, and no later one is told of it again.
func TestScanGoesThroughAllWhenTheStoreIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &awaySource{}
		w := newWorld(t, func(cfg *Config) {
			src.source = cfg.Source.(*source)
			cfg.Source = src
		})
		w.log = w.store
		var goes atomic.Bool
		w.reading = func(what string) {
			if what == "changes" && goes.Load() {
				src.away.Store(true)
			}
		}
		b := w.connect(w.bob)
		w.says(1)
		w.forget()
		for range 2 { // the first look goes through all
			time.Sleep(6 * time.Second)
			synctest.Wait()
		}
		goes.Store(true)
		w.adds(w.bob)
		w.forget()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if !src.away.Load() {
			t.Fatal("nobody asked what has changed")
		}
		b.hears()
		goes.Store(false)
		src.away.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		b.hears("participant.added 3")
	})
}

// A timer that is set to go off at once while it goes off does so twice, and the
// second may come when the look it was for is over and the next one is wound up.
// Then there were two timers from there on, each of which wound up its next.
func TestLooksComeNoOftenerForComingLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var checks atomic.Int64
		w := newWorld(t, func(c *Config) {
			c.Sessions = 5 * time.Second
			c.Source = &countedChecks{c.Source.(*source), &checks}
		})
		w.connect(w.ana)
		time.Sleep(time.Second)
		for range 3 {
			w.hub.beginScan()
			w.hub.beginCheck()
			w.hub.Settle()
		}
		scans, checked := w.hub.Stats().Scans, checks.Load()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := w.hub.Stats().Scans - scans; n != 12 {
			t.Errorf("%d scans in a minute, not one every five seconds", n)
		}
		if n := checks.Load() - checked; n != 12 {
			t.Errorf("the sessions were looked at %d times in a minute, not once every five seconds", n)
		}
	})
}

// countedChecks counts how often sessions are asked for.
type countedChecks struct {
	*source

	n *atomic.Int64
}

func (c *countedChecks) LiveSessions(ctx context.Context, ids []chat.SessionID) ([]chat.SessionID, error) {
	c.n.Add(1)
	return c.source.LiveSessions(ctx, ids)
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

// slow answers a second after everybody may read what it did.
func (w *world) slow() *chat.Service {
	underway := &chat.Underway{}
	w.source.Log = chat.NewSharedLog(w.store, underway)
	return chat.NewService(chat.Config{
		Store: &own{Store: w.store, late: func() time.Duration { return time.Second }}, Underway: underway,
		Publisher: w, Passwords: password.New(password.Params{Memory: 64, Time: 1}), NoLimits: true,
	})
}

// Who catches up must not be told what is not answered yet, be it only a gap.
func TestCatchingUpWaitsForAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		commits func(w *world, slowly func()) *device // of Bob's, who lacks that
		hears   string
		later   []string
	}{
		"before a membership that the room has yet to come to": {func(w *world, slowly func()) *device {
			b := w.connect(w.bob)
			b.setFull(true)
			w.says(1) // 3
			w.tell()
			w.removes(w.bob) // 4
			slowly()         // 5
			w.adds(w.bob)    // 6
			b.mu.Lock()
			b.full = false
			b.mu.Unlock()
			b.Ready()
			return b
		}, "gap 3-5", []string{"participant.added 6"}},
		"in a room that somebody else made meanwhile": {func(w *world, slowly func()) *device {
			w.reading = func(string) { // Bob's memberships, as of 2
				w.reading = nil
				slowly() // 3
				w.connect(w.ana)
			}
			return w.connect(w.bob)
		}, "message.created 3", nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.adds(w.bob)
				w.forget()
				slow, answered := w.slow(), false
				b := c.commits(w, func() {
					slow.Send(chat.Actor{User: w.ana}, chat.NewMessage{Chat: w.port, Content: "hi"}, nil, func(_ chat.SendResult, err error) {
						w.do(err)
						answered = true
					})
					synctest.Wait() // it is committed
				})
				synctest.Wait()
				b.hears()
				time.Sleep(time.Second)
				synctest.Wait()
				if !answered {
					t.Fatal("there is no answer yet")
				}
				b.hears(c.hears)
				w.tell()
				b.hears(c.later...)
				w.says(1)
				w.tell()
				b.hears(fmt.Sprintf("message.created %d", 4+3*len(c.later)))
			})
		})
	}
}
