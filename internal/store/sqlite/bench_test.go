package sqlite

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
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
	return batch.FormatUUID([16]byte(fmt.Appendf(nil, "%016x", rand.Uint64())))
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

// BenchmarkChangedChats measures what a sync asks for first, by somebody in ten
// thousand of twenty thousand chats: which of theirs changed in the last so
// many updates, while others write. Nothing: with everything seen.
func BenchmarkChangedChats(b *testing.B) {
	const chats, mine, reader = 20000, 10000, chat.UserID(5000)
	s := open(b, b.TempDir())
	ids := fill(b, s, chats, 0)
	var wg sync.WaitGroup
	for i := range mine {
		wg.Add(1)
		s.Update(chat.Op{Run: func(tx chat.Tx) error {
			return tx.PutParticipant(chat.Participant{Chat: ids[2*i], User: reader, Role: chat.RoleMember, JoinedSeq: 4, UpdatedSeq: 4})
		}}, func(err error) {
			if err != nil {
				b.Error(err)
			}
			wg.Done()
		})
	}
	wg.Wait()
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for range 10 {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				k := rand.IntN(chats)
				if err := update(s, func(tx chat.Tx) error {
					_, err := send(tx, ids[k], chat.UserID(k%(benchUsers-2))+1, uuid(), body)
					return err
				}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for _, ago := range []int64{0, 10, 1000, 100000} {
		b.Run(fmt.Sprint("ago=", ago), func(b *testing.B) {
			var took []time.Duration
			rows := 0
			for b.Loop() {
				began := time.Now()
				view(b, s, func(r chat.Reader) error {
					last, err := r.LastStamp()
					if err != nil {
						return err
					}
					list, err := r.ChangedChats(reader, chat.SyncPos{After: max(last-ago, 0)}, 100)
					rows += len(list)
					return err
				})
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
			b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
			b.ReportMetric(float64(rows)/float64(len(took)), "rows")
		})
	}
	close(stop)
	writers.Wait()
}

// BenchmarkCountUnread measures a chat's state when somebody has not read many
// long messages (docs/notes.md says why their length counts).
func BenchmarkCountUnread(b *testing.B) {
	for _, size := range []int{80, 16 << 10} {
		b.Run(fmt.Sprint("bytes=", size), func(b *testing.B) {
			s := open(b, b.TempDir())
			ids := fill(b, s, 1, 0)
			content := strings.Repeat("a", size)
			for range 500 {
				if err := update(s, func(tx chat.Tx) error {
					_, err := send(tx, ids[0], 1, uuid(), content)
					return err
				}); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				view(b, s, func(r chat.Reader) error {
					n, err := r.CountUnread(ids[0], 2, 0, 1000)
					if n != 500 {
						b.Fatalf("%d unread, want 500", n)
					}
					return err
				})
			}
		})
	}
}

// What each commit pays for seeing whether the files are where they were.
func BenchmarkLook(b *testing.B) {
	s := open(b, b.TempDir())
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Reach(); err != nil {
			b.Fatal(err)
		}
	}
}

// What it takes to see whether a chat has room for one more.
func BenchmarkCountParticipants(b *testing.B) {
	s := open(b, b.TempDir())
	var id chat.ChatID
	mustUpdate(b, s, func(tx chat.Tx) (err error) {
		users := make([]chat.UserID, chat.MaxParticipants)
		for i := range users {
			users[i] = chat.UserID(i + 1)
		}
		id, err = newChat(tx, users...)
		return err
	})
	view(b, s, func(r chat.Reader) error {
		for b.Loop() {
			if n, err := r.CountParticipants(id, chat.RoleOwner, chat.RoleAdmin, chat.RoleMember); err != nil || n != chat.MaxParticipants {
				b.Fatal(n, err)
			}
		}
		return nil
	})
}
