package postgres

import (
	"testing"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/pgtest"
)

// Who measures waits for others' work is told of each round trip of a view, and of
// nothing else.
func TestWaitsForTheDatabaseAreTold(t *testing.T) {
	s := open(t, pgtest.New(t))
	id := makeChat(t, s, 1, 2)
	var waits, under int
	ctx := chat.WithElsewhere(t.Context(), func() func() {
		waits, under = waits+1, under+1
		return func() { under-- }
	})
	if err := s.View(ctx, func(r chat.Reader) error {
		if waits != 0 {
			t.Errorf("%d waits before anything was read", waits)
		}
		for n := 1; n <= 3; n++ {
			if _, err := r.Chat(id); err != nil {
				return err
			}
			if waits != n || under != 0 {
				t.Errorf("%d waits after %d reads, %d of which go on", waits, n, under)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if waits != 3 {
		t.Errorf("%d waits for 3 reads", waits)
	}
}
