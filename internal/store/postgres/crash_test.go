package postgres

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/pgtest"
)

// Ids of transactions that reached no disk are given out again after a crash.
// Neither a position that was told before, nor what a lost COMMIT's sender hears,
// may rest on them.
func TestIdsComeAgainAfterACrash(t *testing.T) {
	cluster := pgtest.Start(t)
	url := cluster.New(t)
	s := open(t, url)
	id := makeChat(t, s, 1)
	again := 0
	for i := range 5 {
		burned := burn(t, url, 30)
		var before int64
		view(t, s, func(r chat.Reader) (err error) {
			before, err = r.LastStamp()
			return err
		})
		cluster.Crash()
		cluster.Restart(t)
		if burn(t, url, 1) <= burned {
			again++
		}
		if err := do(s, sendOp(id, 1, fmt.Sprint(i), "x", nil)); err != nil {
			t.Fatal(err)
		}
		view(t, s, func(r chat.Reader) error {
			list, err := r.ChangedChats(1, chat.SyncPos{After: before}, 10)
			if len(list) != 1 {
				t.Errorf("what was sent after crash %d does not come after %d", i, before)
			}
			return err
		})
	}
	if again == 0 {
		t.Error("no id was given out again, so this proves little")
	}
}

// burn uses transaction ids up, of which nothing is written, and gives the last.
func burn(t *testing.T, url string, n int) (id int64) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for range n {
		tx, err := c.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.QueryRow(t.Context(), `SELECT pg_current_xact_id()::text::bigint`).Scan(&id); err != nil {
			t.Fatal(err)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return id
}
