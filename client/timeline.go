package client

import (
	"cmp"
	"slices"

	"github.com/grima-chat/grima/protocol"
)

// Timeline keeps the messages of one chat that a program has seen: what a
// window shows. It knows which ranges of the history it holds, since a window
// holds the last page and not everything (docs/protocol.md#resume), and never
// takes an old row for a new one, in whatever order pages and events come. It is
// not safe for concurrent use. The zero Timeline is empty.
//
// It grows with what it is given; a program that scrolls far lets go of what is
// far away with [Timeline.Forget].
type Timeline struct {
	rows  []protocol.Message // ascending by seq; those outside of held too
	held  Ranges             // positions whose messages are all in rows
	loose int                // how many rows are outside of held, at most
	lost  int64              // the highest updated_seq of a loose row that was let go
	last  int64              // the chat's last position, as far as it was told
	tip   int64              // the last that was held when it was told: the present
}

// maxLoose bounds the rows that are kept only to be newer than those of a page
// that is under way.
const maxLoose = 512

// Apply applies an event of this chat, as it came from the client. It reports
// whether a message that is held changed, came or went.
func (t *Timeline) Apply(ev Event) bool {
	had := len(t.held) > 0
	switch ev.Kind {
	case Reset:
		*t = Timeline{}
		return had
	case ChatAdded:
		// What changed up to there was not told.
		*t = Timeline{lost: ev.State.Pos}
		return had
	case ChatRemoved, Skipped:
		*t = Timeline{lost: max(t.lost, ev.Seq)}
		return had
	}
	if ev.Seq == 0 {
		return false
	}
	t.held.Add(ev.PrevSeq+1, ev.Seq)
	t.last, t.tip = max(t.last, ev.Seq), max(t.tip, ev.Seq)
	if ev.Message == nil || !t.put(*ev.Message) {
		return false
	}
	if t.held.Has(ev.Message.Seq) {
		return true
	}
	t.loose++
	if t.loose > maxLoose {
		t.tidy()
	}
	return false
}

// put keeps m if it is newer than what is kept.
func (t *Timeline) put(m protocol.Message) bool {
	i, found := t.find(m.Seq)
	switch {
	case !found:
		t.rows = slices.Insert(t.rows, i, m)
	case t.rows[i].UpdatedSeq < m.UpdatedSeq:
		t.rows[i] = m
	default:
		return false
	}
	return true
}

func (t *Timeline) find(seq int64) (int, bool) {
	return slices.BinarySearchFunc(t.rows, seq, func(m protocol.Message, seq int64) int { return cmp.Compare(m.Seq, seq) })
}

// tidy lets go of the rows outside of held.
func (t *Timeline) tidy() {
	t.loose = 0
	t.rows = slices.DeleteFunc(t.rows, func(m protocol.Message) bool {
		if t.held.Has(m.Seq) {
			return false
		}
		t.lost = max(t.lost, m.UpdatedSeq)
		return true
	})
}

// ApplyPage applies a page that messages.list gave for these params. An error is
// [ErrStalePage]: rows on it changed meanwhile in a way that is lost; ask again.
func (t *Timeline) ApplyPage(asked protocol.MessagesListParams, page protocol.MessagesListResult) error {
	if page.LastSeq < t.lost {
		return ErrStalePage
	}
	// What goes into one hole goes in at once: far back, a row at a time would
	// move everything behind it each time.
	for rest := page.Messages; len(rest) > 0; {
		i, found := t.find(rest[0].Seq)
		n := 1
		for n < len(rest) && rest[n].Seq > rest[n-1].Seq && (i == len(t.rows) || rest[n].Seq < t.rows[i].Seq) {
			n++
		}
		if found {
			n = 1
			t.put(rest[0])
		} else {
			t.rows = slices.Insert(t.rows, i, rest[:n]...)
		}
		rest = rest[n:]
	}
	r := PageRange(asked, page)
	t.held.Add(r.From, r.To)
	t.last = max(t.last, page.LastSeq)
	// The newest that a store has may end before the chat does, and a page in the
	// middle of it where what the store knows ends.
	newest := asked.Before == nil && asked.After == nil && asked.Around == nil && asked.At == nil
	if r.From <= r.To && (newest || !page.HasMoreAfter) {
		t.tip = max(t.tip, r.To)
	}
	return nil
}

// Forget lets go of what is held in from..to, as of what a window has left far
// behind; it is asked for again when it is come back to. The newest position
// stays, to know the present by. A page that was asked for before must not be
// applied after it: what was newer than its rows may be among what is gone.
func (t *Timeline) Forget(from, to int64) {
	n := len(t.held)
	if n == 0 {
		return
	}
	to = min(to, t.held[n-1].To-1)
	if from > to {
		return
	}
	t.held.Remove(from, to)
	i, _ := t.find(from)
	j, _ := t.find(to + 1)
	t.rows = slices.Delete(t.rows, i, j)
}

// PageRange is the positions of which a page that was asked for like this has
// all messages. It is empty (From above To) when that cannot be told.
func PageRange(asked protocol.MessagesListParams, page protocol.MessagesListResult) Range {
	r := Range{From: 1, To: page.LastSeq}
	n := len(page.Messages)
	switch {
	case !page.HasMoreBefore:
	case n > 0:
		r.From = page.Messages[0].Seq
	default:
		r.From = protocol.MaxInteger
	}
	switch {
	case !page.HasMoreAfter:
	case n > 0:
		r.To = page.Messages[n-1].Seq
	default:
		r.To = 0
	}
	// What was asked for reaches to the edge it was asked from.
	if asked.After != nil {
		r.From = min(r.From, *asked.After+1)
	}
	if asked.Before != nil {
		r.To = max(r.To, min(*asked.Before-1, page.LastSeq))
	}
	return r
}

// around is the held range that has seq; for 0 the one that touches the present.
// A page from before may know of a position whose event is still to come: what
// touched the present until then stays it.
func (t *Timeline) around(seq int64) (Range, bool) {
	if seq == 0 {
		seq = t.tip
	}
	return t.held.Around(seq)
}

// Messages is what is held of the range that touches the present, or of the one
// around seq: ascending, without holes, deleted ones too. seq 0 means the
// present.
func (t *Timeline) Messages(seq int64) []protocol.Message {
	r, ok := t.around(seq)
	if !ok {
		return nil
	}
	from, _ := t.find(r.From)
	to, _ := t.find(r.To + 1)
	return t.rows[from:to:to]
}

// Message is one that is held.
func (t *Timeline) Message(seq int64) (protocol.Message, bool) {
	if i, ok := t.find(seq); ok && t.held.Has(seq) {
		return t.rows[i], true
	}
	return protocol.Message{}, false
}

// Before is what to ask for to scroll back from what Messages(seq) gives, or
// false when that begins at the beginning. The ChatID is for the caller to set.
func (t *Timeline) Before(seq int64, limit int) (protocol.MessagesListParams, bool) {
	p := protocol.MessagesListParams{Limit: int64(limit)}
	r, ok := t.around(seq)
	switch {
	case !ok && seq != 0:
		p.Around = &seq
	case ok && r.From <= 1:
		return p, false
	case ok:
		p.Before = &r.From
	}
	return p, true
}

// After is what to ask for to scroll forward from what Messages(seq) gives, or
// false when that reaches the present.
func (t *Timeline) After(seq int64, limit int) (protocol.MessagesListParams, bool) {
	p := protocol.MessagesListParams{Limit: int64(limit)}
	r, ok := t.around(seq)
	switch {
	case !ok && seq != 0:
		p.Around = &seq
	case ok && r.To >= t.last:
		return p, false
	case ok:
		p.After = &r.To
	}
	return p, true
}

// Held is the ranges of positions whose messages are held.
func (t *Timeline) Held() Ranges { return slices.Clone(t.held) }
