package postgres

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/pgtest"
	"github.com/grima-chat/grima/internal/store/batch"
)

const body = "The tide is in at six, the boats go out at seven, and whoever is late rows after them."

func uuid() string {
	return batch.FormatUUID([16]byte(fmt.Appendf(nil, "%016x", rand.Uint64())))
}

// BenchmarkSend measures messages through the store alone: so many in flight,
// each with its checks and hints, in one chat and spread over many.
func BenchmarkSend(b *testing.B) {
	for _, chats := range []int{1, 10, 2000} {
		for _, inFlight := range []int{1, 10, 100, 500} {
			b.Run(fmt.Sprintf("chats=%d/inflight=%d", chats, inFlight), func(b *testing.B) {
				s := open(b, pgtest.New(b))
				ids := make([]chat.ChatID, chats)
				for i := range ids {
					ids[i] = makeChat(b, s, 1, 2, 3)
				}
				tokens := make(chan struct{}, inFlight)
				before := s.Stats()
				b.ResetTimer()
				for i := range b.N {
					tokens <- struct{}{}
					s.Update(sendOp(ids[rand.IntN(chats)], chat.UserID(i%3)+1, uuid(), body, nil), func(err error) {
						if err != nil {
							b.Error(err)
						}
						<-tokens
					})
				}
				for range inFlight {
					tokens <- struct{}{}
				}
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
				st := s.Stats()
				b.ReportMetric((st.BatchUpdates.Sum-before.BatchUpdates.Sum)/float64(st.BatchUpdates.Count-before.BatchUpdates.Count), "msg/commit")
			})
		}
	}
}

func BenchmarkMessages(b *testing.B) {
	s := open(b, pgtest.New(b))
	id := makeChat(b, s, 1)
	mustUpdate(b, s, func(tx chat.Tx) error {
		for range 1000 {
			if _, err := send(tx, id, 1, "", body); err != nil {
				return err
			}
		}
		return nil
	})
	for b.Loop() {
		view(b, s, func(r chat.Reader) error {
			list, err := r.Messages(id, 1, 1<<60, 50, true)
			if len(list) != 50 {
				b.Fatalf("read %d messages", len(list))
			}
			return err
		})
	}
}
