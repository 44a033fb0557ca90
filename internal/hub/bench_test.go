package hub

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// oneChat is a source with one chat that everybody is in, and no rows.
type oneChat struct{}

func (oneChat) Memberships(context.Context, chat.UserID) ([]chat.Membership, int64, error) {
	return []chat.Membership{{Chat: 1, JoinedSeq: 1}}, 0, nil
}
func (oneChat) Commits(context.Context) (int64, error) { return 0, nil }
func (oneChat) PeopleChanged(context.Context, int64, int) ([]chat.Place, int64, bool, error) {
	return nil, 0, false, nil
}

func (oneChat) Ended(context.Context, chat.UserID, int64) ([]chat.Ended, int64, error) {
	return nil, 0, nil
}

func (oneChat) LastSeqs(_ context.Context, ids []chat.ChatID) ([]int64, error) {
	return make([]int64, len(ids)), nil
}

func (oneChat) Changed(_ context.Context, spans []chat.Span) ([]chat.Changed, error) {
	list := make([]chat.Changed, len(spans))
	for i, s := range spans {
		list[i].Next = s.After
	}
	return list, nil
}

func (oneChat) Missed(_ context.Context, _ chat.ChatID, _ chat.UserID, after, _ int64) (chat.Missed, error) {
	return chat.Missed{Next: after}, nil
}

func (oneChat) Settled(context.Context) error                { return nil }
func (oneChat) SettledIn(context.Context, chat.ChatID) error { return nil }
func (oneChat) Places(_ context.Context, asked []chat.Place) ([]chat.Participant, []int64, error) {
	return make([]chat.Participant, len(asked)), make([]int64, len(asked)), nil
}

func (oneChat) LiveSessions(_ context.Context, ids []chat.SessionID) ([]chat.SessionID, error) {
	return ids, nil
}
func (oneChat) Profiles(context.Context, []chat.UserID) ([]chat.Profile, error) { return nil, nil }
func (oneChat) Few(context.Context, chat.ChatID, int) (bool, error)             { return false, nil }

func (oneChat) Hidden(context.Context, []chat.UserID) (map[chat.UserID]bool, error) {
	return nil, nil
}

// counter is a subscriber that counts bytes.
type counter struct{ bytes *atomic.Int64 }

func (c counter) Deliver(r *Run) bool {
	c.bytes.Add(int64(len(r.Bytes(Lines))))
	return true
}
func (counter) Notice(*Run) {}
func (counter) End(Reason)  {}

// BenchmarkDelivery is the way of a message of 250 bytes from Publish to Deliver
// of everybody in a room: one at a time, and with a backlog of 32.
func BenchmarkDelivery(b *testing.B) {
	line := strings.Repeat("x", 249) + "\n"
	for _, members := range []int{10, 100, 1000, 10_000} {
		for _, backlog := range []int{1, 32} {
			b.Run(fmt.Sprintf("members=%d/backlog=%d", members, backlog), func(b *testing.B) {
				h := New(Config{
					Encode: func(dst []byte, _ chat.Event) []byte { return append(dst, line...) },
					Source: oneChat{}, Ablate: Ablate{NoRescan: true},
				})
				defer h.Close()
				var bytes atomic.Int64
				for i := range members {
					c := h.Register(1, chat.UserID(i+1), counter{&bytes})
					if err := c.Subscribe(b.Context()); err != nil {
						b.Fatal(err)
					}
					defer c.Close()
				}
				m := &chat.Message{}
				b.ReportAllocs()
				b.ResetTimer()
				seq := int64(0)
				for b.Loop() {
					for range backlog {
						h.Publish(chat.Event{Kind: chat.MessageCreated, Chat: 1, Seq: seq + 1, PrevSeq: seq, Message: m})
						seq++
					}
					h.Settle()
				}
				b.StopTimer()
				deliveries := float64(seq) * float64(members)
				if want := int64(deliveries) * int64(len(line)); bytes.Load() != want {
					b.Fatalf("%d bytes of %d", bytes.Load(), want)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/deliveries, "ns/delivery")
			})
		}
	}
}

// BenchmarkHints is what a hint of another node's costs that nobody here is
// concerned with: alone, and with many in a payload.
func BenchmarkHints(b *testing.B) {
	for _, each := range []int{1, 256} {
		b.Run(fmt.Sprintf("each=%d", each), func(b *testing.B) {
			h := New(Config{Source: oneChat{}, Ablate: Ablate{NoRescan: true}})
			defer h.Close()
			var bytes atomic.Int64
			for i := range 1000 {
				c := h.Register(1, chat.UserID(i+1), counter{&bytes})
				if err := c.Subscribe(b.Context()); err != nil {
					b.Fatal(err)
				}
				defer c.Close()
			}
			var list []hint
			for i := range each {
				list = append(list, hint{chat: chat.ChatID(1000 + i), seq: int64(100_000 + i)})
			}
			payload := encodeAll(Hints, list, (*payload).hint)[0].b
			b.ReportAllocs()
			for b.Loop() {
				h.receive(Hints, payload)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*each), "ns/hint")
		})
	}
}
