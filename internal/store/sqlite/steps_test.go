package sqlite

import (
	"testing"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/chat"
)

// What a page of changes costs does not grow with the chat. To find the few
// messages that never changed, or that the reader may see, SQLite went through
// all that did: 20,000 rows for none.
func TestChangesGoThroughTheirSpanOnly(t *testing.T) {
	const count, span = 20_000, 500
	s := open(t, t.TempDir())
	var id chat.ChatID
	mustUpdate(t, s, func(tx chat.Tx) (err error) {
		if id, err = newChat(tx, 1); err != nil {
			return err
		}
		for seq := int64(2); seq < count+2; seq++ {
			m := chat.Message{Chat: id, Seq: seq, UpdatedSeq: seq + count, Sender: 1, Content: "hi", CreatedAt: tx.Now(), EditedAt: tx.Now()}
			if err := tx.PutMessage(m); err != nil {
				return err
			}
		}
		c, err := tx.Chat(id)
		if err != nil {
			return err
		}
		c.LastSeq = 2*count + 1
		return tx.PutChat(c)
	})
	view(t, s, func(r chat.Reader) error {
		c := r.(*reader).c
		steps := func(after, floor int64) (n, rows int) {
			t.Helper()
			m, _, err := r.Changes(id, after, after+span, floor, chat.MaxPage+1)
			if err != nil {
				t.Fatal(err)
			}
			for _, sql := range []string{selUnchanged, selChanged, selChangedParticipants} {
				n += c.stmts[sql].s.Status(sqlite3.STMTSTATUS_VM_STEP, true)
			}
			return n, len(m)
		}
		for _, at := range []struct {
			name         string
			after, floor int64
			rows         int
		}{
			{"all changed again", 1, 0, 0},
			{"their changes", count + 1, 0, chat.MaxPage + 1},
			{"changes of what is hidden", count + 1, count + 2, 0},
		} {
			n, rows := steps(at.after, at.floor)
			if rows != at.rows {
				t.Errorf("%s: %d rows", at.name, rows)
			}
			if most := 40 * span; n > most || n == 0 {
				t.Errorf("%s: %d steps for %d numbers", at.name, n, span)
			}
		}
		return nil
	})
}
