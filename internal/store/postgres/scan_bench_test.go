package postgres

import (
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
