package hub

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// slow is a subscriber that takes its time, and notes when it was given how many
// lines.
type slow struct {
	takes time.Duration
	at    []time.Time
	lines []int
}

func (s *slow) Deliver(r *Run) bool {
	s.at = append(s.at, time.Now())
	s.lines = append(s.lines, bytes.Count(r.Bytes(Lines), []byte("\n")))
	time.Sleep(s.takes)
	return true
}
func (*slow) Notice(*Run) {}
func (*slow) End(Reason)  {}

// The first message of a burst had a round of its own, and the others the next.
func TestBurstsAreToldTogether(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration // a round
		waits time.Duration // for a burst like the last
	}{
		{"long rounds", 8 * time.Millisecond, time.Millisecond},
		{"very long rounds", time.Second, mostGather},
		{"short rounds", longRound - 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := New(Config{
					Encode: func(dst []byte, _ chat.Event) []byte { return append(dst, '\n') },
					Source: oneChat{}, Ablate: Ablate{NoRescan: true},
				})
				defer h.Close()
				s := &slow{takes: c.takes}
				conn := h.Register(1, 1, s)
				defer conn.Close()
				if err := conn.Subscribe(t.Context()); err != nil {
					t.Fatal(err)
				}
				seq := int64(0)
				says := func(n int) time.Time {
					for range n {
						h.Publish(chat.Event{Kind: chat.MessageCreated, Chat: 1, Seq: seq + 1, PrevSeq: seq, Message: &chat.Message{}})
						seq++
					}
					return time.Now()
				}
				heard := func(what string, began time.Time, after time.Duration, lines ...int) {
					t.Helper()
					h.Settle()
					if !slices.Equal(s.lines, lines) {
						t.Fatalf("%s: %v lines, want %v", what, s.lines, lines)
					}
					if got := s.at[0].Sub(began); got != after {
						t.Errorf("%s: after %v, want %v", what, got, after)
					}
					s.lines, s.at = nil, nil
				}
				for range 2 {
					heard("alone", says(1), 0, 1)
				}
				began := says(1)
				synctest.Wait() // it is being told
				says(4)
				heard("what came during a round", began, 0, 1, 4)

				began = says(1)
				synctest.Wait()
				says(3)
				if c.waits > 0 {
					heard("a burst again", began, 0, 4)
				} else {
					heard("a burst again", began, 0, 1, 3)
					return
				}
				heard("the first of a burst that does not come", says(1), c.waits, 1)
				heard("the second", says(1), c.waits, 1)
				heard("the third", says(1), 0, 1)

				// The same after a silence, which was as if there had been none.
				for _, silence := range []time.Duration{forgets * c.takes, forgets*c.takes + 1} {
					says(1)
					synctest.Wait()
					says(4)
					h.Settle()
					s.lines, s.at = nil, nil
					time.Sleep(silence)
					waits := c.waits
					if silence > forgets*c.takes {
						waits = 0
					}
					heard("after a silence", says(1), waits, 1)
					heard("and another", says(1), waits, 1)
					heard("to the end of the burst", says(1), 0, 1)
				}
			})
		})
	}
}

// Who waits until something was told is let go when the hub ends while the
// flusher waits for a burst.
func TestClosingWhileABurstIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{
			Encode: func(dst []byte, _ chat.Event) []byte { return append(dst, '\n') },
			Source: oneChat{}, Ablate: Ablate{NoRescan: true},
		})
		s := &slow{takes: time.Second}
		conn := h.Register(1, 1, s)
		defer conn.Close()
		if err := conn.Subscribe(t.Context()); err != nil {
			t.Fatal(err)
		}
		seq := int64(0)
		says := func(n int) {
			for range n {
				h.Publish(chat.Event{Kind: chat.MessageCreated, Chat: 1, Seq: seq + 1, PrevSeq: seq, Message: &chat.Message{}})
				seq++
			}
			synctest.Wait()
		}
		says(1)
		says(4)
		h.Settle()
		says(1) // and the others do not come
		began := time.Now()
		settled := make(chan struct{})
		go func() {
			conn.Settle(t.Context())
			close(settled)
		}()
		synctest.Wait()
		h.Close()
		<-settled
		if took := time.Since(began); took > mostGather {
			t.Errorf("it took %v", took)
		}
		if !slices.Equal(s.lines, []int{1, 4}) {
			t.Errorf("%v lines", s.lines)
		}
	})
}
