package sqlite

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// people and chats of the benchmarks: every chat has three participants.
const benchUsers = 1000

func fill(b *testing.B, s *Store, chats, messages int) []chat.ChatID {
	b.Helper()
	ids := make([]chat.ChatID, chats)
	var wg sync.WaitGroup
	do := func(run func(chat.Tx) error) {
		wg.Add(1)
		s.Update(chat.Op{Run: run}, func(err error) {
			if err != nil {
				b.Error(err)
			}
			wg.Done()
		})
	}
	for i := range ids {
		u := chat.UserID(i % (benchUsers - 2))
		do(func(tx chat.Tx) (err error) {
			ids[i], err = newChat(tx, u+1, u+2, u+3)
			return err
		})
	}
	wg.Wait()
	for i := range messages {
		k := i % chats
		do(func(tx chat.Tx) error {
			_, err := send(tx, ids[k], chat.UserID(k%(benchUsers-2))+1, uuid(), body)
			return err
		})
	}
	wg.Wait()
	return ids
}

const body = "The tide is in at six, the boats go out at seven, and whoever is late rows after them."

func uuid() string {
	return formatUUID([16]byte(fmt.Appendf(nil, "%016x", rand.Uint64())))
}

// BenchmarkSend measures messages through the store alone: N in flight, each
// with its checks, in hot chats and spread over many.
func BenchmarkSend(b *testing.B) {
	for _, chats := range []int{10, 20000} {
		for _, inFlight := range []int{1, 10, 100} {
			b.Run(fmt.Sprintf("chats=%d/inflight=%d", chats, inFlight), func(b *testing.B) {
				s := open(b, b.TempDir())
				ids := fill(b, s, chats, 0)
				tokens := make(chan struct{}, inFlight)
				b.ResetTimer()
				for i := range b.N {
					tokens <- struct{}{}
					k := rand.IntN(chats)
					s.Update(chat.Op{Run: func(tx chat.Tx) error {
						_, err := send(tx, ids[k], chat.UserID(k%(benchUsers-2)+i%3)+1, uuid(), body)
						return err
					}}, func(err error) {
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
			})
		}
	}
}

func BenchmarkMessages(b *testing.B) {
	const chats = 1000
	s := open(b, b.TempDir())
	ids := fill(b, s, chats, 100*chats)
	for b.Loop() {
		id := ids[rand.IntN(chats)]
		view(b, s, func(r chat.Reader) error {
			list, err := r.Messages(id, 1, 1<<60, 50, true)
			if len(list) != 50 {
				b.Fatalf("read %d messages", len(list))
			}
			return err
		})
	}
}

func BenchmarkChangedChats(b *testing.B) {
	s := open(b, b.TempDir())
	fill(b, s, 20000, 0)
	var pos chat.SyncPos
	view(b, s, func(r chat.Reader) (err error) {
		pos.After, err = r.LastStamp()
		pos.After -= 1000
		return err
	})
	for b.Loop() {
		view(b, s, func(r chat.Reader) error {
			_, err := r.ChangedChats(chat.UserID(rand.IntN(benchUsers-4)+3), pos, 100)
			return err
		})
	}
}
