package sqlite

import (
	"math"
	"strings"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// No more of the longest messages is read than can be on a page; the message
// behind it is there, so that who makes the page sees that there are more.
func TestListsEndBehindAPage(t *testing.T) {
	s := open(t, t.TempDir())
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	const messages, fit = 150, chat.MaxPageBytes / chat.MaxContent
	var id chat.ChatID
	update := func(run func(chat.Tx) error) {
		t.Helper()
		done := make(chan error, 1)
		s.Update(chat.Op{Run: run}, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx chat.Tx) (err error) {
		if id, err = tx.NewChatID(); err != nil {
			return err
		}
		if err := tx.PutChat(chat.Chat{ID: id, Kind: chat.KindGroup, Title: "Port", History: chat.HistoryAll, CreatedAt: tx.Now(), LastSeq: messages}); err != nil {
			return err
		}
		for seq := range int64(messages) {
			m := chat.Message{Chat: id, Seq: 1 + seq, UpdatedSeq: 1 + seq, Sender: 1, Content: strings.Repeat("x", chat.MaxContent), CreatedAt: tx.Now()}
			if err := tx.PutMessage(m); err != nil {
				return err
			}
		}
		return nil
	})
	// Who writes reads all.
	update(func(tx chat.Tx) error {
		all, err := tx.Messages(id, 0, messages+1, messages, false)
		if err == nil && len(all) != messages {
			t.Errorf("%d messages within a transaction", len(all))
		}
		return err
	})
	err := s.View(t.Context(), func(r chat.Reader) error {
		for _, newest := range []bool{false, true} {
			list, err := r.Messages(id, 0, messages+1, messages, newest)
			if err != nil {
				return err
			}
			first := int64(1)
			if newest {
				first = messages - fit
			}
			if len(list) != fit+1 || list[0].Seq != first {
				t.Errorf("newest %v: %d messages, from %d", newest, len(list), list[0].Seq)
			}
		}
		list, _, err := r.Changes(id, 20, math.MaxInt64, 0, messages)
		if err != nil {
			return err
		}
		if len(list) != fit+1 || list[0].Seq != 21 {
			t.Errorf("%d changes, from %d", len(list), list[0].Seq)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
