package postgres

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/pgtest"
)

// BenchmarkLastSeqs is what a hub's scan asks: the positions of 500 rooms, of
// 300,000 chats that there are.
func BenchmarkLastSeqs(b *testing.B) {
	const chats = 300_000
	url := pgtest.New(b)
	s := open(b, url)
	conn, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	for _, sql := range []string{
		`INSERT INTO chats (chat_id, kind, title, topic, history, body_hash, created_at, last_seq, updated_seq, stamp, listed)
SELECT i, 'group', 'a group of some people', '', 'all', '\x00112233445566778899aabbccddeeff', 0, 100, 1, 0, false FROM generate_series(1, 300000) i`,
		`ANALYZE chats`,
	} {
		if _, err := conn.Exec(b.Context(), sql); err != nil {
			b.Fatal(err)
		}
	}
	if err := conn.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		ids := make([]chat.ChatID, 500)
		for i := range ids {
			ids[i] = chat.ChatID(1 + rand.IntN(chats))
		}
		view(b, s, func(r chat.Reader) error {
			_, err := r.LastSeqs(ids)
			return err
		})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/position")
}

// BenchmarkTails is what a hub's rooms ask after hints: the newest message of so
// many chats, in one read; and the same of one chat in a snapshot of two.
func BenchmarkTails(b *testing.B) {
	s := open(b, pgtest.New(b))
	ids := make([]chat.ChatID, 128)
	for i := range ids {
		ids[i] = makeChat(b, s, 1, 2, 3)
		mustUpdate(b, s, func(tx chat.Tx) (err error) {
			for range 100 {
				if _, err = send(tx, ids[i], 1, "", body); err != nil {
					return err
				}
			}
			return nil
		})
	}
	const last = 103
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			id := ids[rand.IntN(len(ids))]
			view(b, s, func(r chat.Reader) error {
				if _, err := r.Chat(id); err != nil {
					return err
				}
				m, _, err := r.Changes(id, last-1, math.MaxInt64, 0, 51)
				if len(m) != 1 {
					b.Fatalf("read %d messages", len(m))
				}
				return err
			})
		}
	})
	for _, n := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprint("rooms=", n), func(b *testing.B) {
			after := make([]chat.Position, n)
			for b.Loop() {
				for i, k := range rand.Perm(len(ids))[:n] {
					after[i] = chat.Position{Chat: ids[k], Seq: last - 1}
				}
				view(b, s, func(r chat.Reader) error {
					tails, err := r.Tails(after, 51)
					if err == nil && (len(tails) != n || len(tails[n-1].Messages) != 1) {
						b.Fatalf("read %+v", tails)
					}
					return err
				})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/room")
		})
	}
}
