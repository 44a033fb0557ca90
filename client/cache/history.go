package cache

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/ncruces/go-sqlite3"
	"golang.org/x/text/unicode/norm"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// Page implements [client.Historian]: what is held next to where it was asked
// for, without a hole. Its LastSeq is up to where its rows are current: what was
// told of the chat is kept, also of rows that are far from its end.
func (c *Cache) Page(ctx context.Context, p protocol.MessagesListParams) (page protocol.MessagesListResult, whole bool, err error) {
	limit := int(p.Limit)
	if limit <= 0 {
		limit = protocol.DefaultPage
	}
	err = c.locked(ctx, "reading messages", func() error {
		states, err := list[client.Chat](c, "SELECT state FROM chats WHERE chat_id = ?", p.ChatID)
		if err != nil || len(states) == 0 {
			return err
		}
		last := states[0].LastSeq
		page.LastSeq = last
		page.HasMoreBefore = true // until it is known better
		r, at, ok := anchor(c.held[p.ChatID], p, last)
		if !ok {
			page.HasMoreAfter = p.Before != nil || p.After != nil || p.Around != nil
			return nil
		}
		page.LastSeq = min(last, max(r.To, states[0].Pos))
		below, above := limit, limit
		switch {
		case p.After != nil:
			below = 0
		case p.Around == nil:
			above = 0
		}
		before, err := c.messages(p.ChatID, r.From, at-1, below+1, true)
		if err != nil {
			return err
		}
		after, err := c.messages(p.ChatID, at, r.To, above+1, false)
		if err != nil {
			return err
		}
		moreBefore, moreAfter := len(before) > below, len(after) > above
		if p.Around != nil {
			// About half on each side, and more of one where the other has less.
			half := limit / 2
			below = min(max(half, limit-len(after)), len(before))
			above = limit - below
		}
		if n := len(before); n > below {
			before, moreBefore = before[n-below:], true
		}
		if len(after) > above {
			after, moreAfter = after[:above], true
		}
		page.Messages = slices.Concat(before, after)
		page.HasMoreBefore = moreBefore || r.From > 1
		page.HasMoreAfter = moreAfter || r.To < last
		// A side that ends where what is held ends could go on.
		whole = (moreBefore || r.From <= 1 || p.After != nil) && (moreAfter || r.To >= last || p.Before != nil)
		return nil
	})
	return page, whole, err
}

// anchor is the held range that a page lies in, and the first position above
// where it is asked for.
func anchor(held client.Ranges, p protocol.MessagesListParams, last int64) (r client.Range, at int64, ok bool) {
	switch {
	case p.Before != nil:
		r, ok = held.Around(min(*p.Before, last+1) - 1)
		return r, *p.Before, ok
	case p.After != nil:
		r, ok = held.Around(*p.After + 1)
		return r, *p.After + 1, ok
	case p.Around != nil:
		r, ok = held.Around(*p.Around)
		return r, *p.Around, ok
	case len(held) == 0:
		return r, 0, false
	}
	r = held[len(held)-1]
	return r, r.To + 1, true
}

// messages are the first or last of those from..to, ascending.
func (c *Cache) messages(chatID string, from, to int64, limit int, newest bool) ([]protocol.Message, error) {
	if from > to {
		return nil, nil
	}
	order := "ASC"
	if newest {
		order = "DESC"
	}
	rows, err := list[protocol.Message](c, "SELECT row FROM messages WHERE chat_id = ? AND seq BETWEEN ? AND ? ORDER BY seq "+order+" LIMIT ?", chatID, from, to, limit)
	slices.SortFunc(rows, func(a, b protocol.Message) int { return cmp.Compare(a.Seq, b.Seq) })
	return rows, err
}

// PutPage implements [client.Historian].
func (c *Cache) PutPage(ctx context.Context, p protocol.MessagesListParams, page protocol.MessagesListResult, joinedSeq int64) error {
	return c.locked(ctx, "keeping messages", func() error {
		var r client.Ranges
		err := c.transact(func() error {
			known := false
			err := c.run("SELECT floor, state FROM chats WHERE chat_id = ?", []any{p.ChatID}, func(s *sqlite3.Stmt) error {
				var st client.Chat
				if err := json.Unmarshal(s.ColumnRawText(1), &st); err != nil {
					return err
				}
				known = st.JoinedSeq == joinedSeq && page.LastSeq >= s.ColumnInt64(0)
				return nil
			})
			if err != nil || !known {
				return err // of a chat that is another one by now, or not there yet
			}
			for _, m := range page.Messages {
				if err := c.putMessage(m); err != nil {
					return err
				}
			}
			x := client.PageRange(p, page)
			r = append(r, c.held[p.ChatID]...)
			r.Add(x.From, x.To)
			return c.putHeld(p.ChatID, r)
		})
		if err == nil && r != nil {
			c.held[p.ChatID] = r
		}
		return err
	})
}

// Query is what Search looks for.
type Query struct {
	Text   string // words, or parts of words, that all have to be there
	ChatID string // empty: in all chats
	Limit  int    // 0: 50
}

// Search finds messages that are held, the latest first, in any case and with or
// without accents. The driver's SQLite has no full-text index, so it looks at
// each message: some 100,000 in a tenth of a second.
func (c *Cache) Search(ctx context.Context, q Query) (found []protocol.Message, err error) {
	if q.Limit <= 0 {
		q.Limit = protocol.DefaultPage
	}
	words := strings.Fields(fold(q.Text))
	if len(words) == 0 {
		return nil, nil
	}
	words = words[:min(len(words), maxWords)]
	var sql strings.Builder
	args := []any{q.ChatID, q.Limit}
	sql.WriteString("SELECT row FROM messages WHERE (?1 = '' OR chat_id = ?1)")
	for i, w := range words {
		fmt.Fprintf(&sql, " AND instr(folded, ?%d)", i+3)
		args = append(args, w)
	}
	sql.WriteString(" ORDER BY json_extract(row, '$.created_at') DESC, seq DESC LIMIT ?2")
	err = c.locked(ctx, "searching", func() error {
		found, err = list[protocol.Message](c, sql.String(), args...)
		return err
	})
	return found, err
}

// maxWords bounds the statements that Search makes.
const maxWords = 16

// fold is text without what Search does not look at: case and accents.
func fold(text string) string {
	text = norm.NFD.String(strings.ToLower(text))
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, text)
}
