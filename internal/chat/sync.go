package chat

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// SyncPage is a page of Sync or of Chats. Next continues it.
type SyncPage struct {
	Chats []ChatState
	Next  SyncPos
	More  bool
}

// Sync lists the chats that changed for the actor since pos (the zero SyncPos:
// all of them, newest first), each with its newest timeline messages
// (docs/protocol.md#sync). It takes its position before its rows. A page may
// have fewer chats than limit because their messages are long, see
// MaxPageBytes; a chat's timeline is never cut.
//
// A first sync goes down from its position, which it carries along as After,
// and then goes up from there. A chat that changes meanwhile leaves the part
// that is gone down through and is met on the way up.
func (s *Service) Sync(ctx context.Context, a Actor, pos SyncPos, limit, timeline int) (SyncPage, error) {
	page, _, err := s.sync(ctx, a, pos, limit, timeline, false)
	return page, err
}

// SyncBrief is Sync for somebody who was away for a moment: if more than a few
// chats may have changed since pos it is not ok, and only that was looked at.
func (s *Service) SyncBrief(ctx context.Context, a Actor, pos SyncPos, limit, timeline int) (page SyncPage, ok bool, err error) {
	if pos.Below > 0 || pos == (SyncPos{}) {
		return SyncPage{}, false, nil
	}
	return s.sync(ctx, a, pos, limit, timeline, true)
}

// FewChanged is what a Reader may also be: one that knows without looking at
// rows whether at most so many chats can be in ChangedChats.
type FewChanged interface {
	FewChanged(user UserID, pos SyncPos, most int) bool
}

// ChangeLog is what a Reader may also be: one of a store that several processes
// write to, which knows whose rows any of them wrote.
type ChangeLog interface {
	// PeopleChanged gives whose rows in which chats were written by transactions
	// with a stamp above after, which is 0 or was once upto; each perhaps more than
	// once. upto is the snapshot's LastStamp: what is in the list and above it comes
	// again. It is not ok, and the list nil, if there are more than limit, or if
	// the log does not go back so far.
	PeopleChanged(after int64, limit int) (list []Place, upto int64, ok bool, err error)
}

// briefly is how many chats, or messages of their timelines, a brief sync may
// have.
const briefly = 8

// few reports whether a sync from pos, in a snapshot that ends at last, is brief.
func few(r Reader, user UserID, pos SyncPos, last int64, timeline int) bool {
	if pos.After == last {
		return true
	}
	known, ok := r.(FewChanged)
	return ok && known.FewChanged(user, pos, briefly/max(1, timeline))
}

// sync is Sync, or SyncBrief; it is not done if that had more to look at.
func (s *Service) sync(ctx context.Context, a Actor, pos SyncPos, limit, timeline int, brief bool) (page SyncPage, done bool, err error) {
	if timeline < 0 || timeline > MaxTimeline {
		return SyncPage{}, true, Errorf(CodeInvalidRequest, "timeline_limit must be 0 to %d", MaxTimeline)
	}
	page, err = s.syncPage(ctx, a, pos, limit, func(r Reader, last int64, limit int) (SyncPage, error) {
		if done = !brief || few(r, a.User, pos, last, timeline); !done {
			return SyncPage{}, nil
		}
		if pos == (SyncPos{}) {
			pos = beginning(last)
		}
		down := pos.Below > 0
		query := SyncPos{Below: pos.Below, BelowChat: pos.BelowChat}
		if !down {
			query = pos
		}
		rows, err := r.ChangedChats(a.User, query, limit+1)
		if err != nil {
			return SyncPage{}, err
		}
		page := SyncPage{}
		rows, page.More = cutPage(rows, limit)
		size := 0
		for i, row := range rows {
			if down && gone(row) {
				continue
			}
			st, err := changedState(r, row, timeline)
			if err != nil {
				return SyncPage{}, err
			}
			for _, m := range st.Messages {
				size += len(m.Content)
			}
			if size > MaxPageBytes && len(page.Chats) > 0 {
				rows, page.More = rows[:i], true
				break
			}
			page.Chats = append(page.Chats, st)
		}
		switch {
		case page.More && down:
			end := rows[len(rows)-1]
			page.Next = SyncPos{After: pos.After, Below: end.Stamp, BelowChat: end.Chat.ID}
		case down:
			page.Next, page.More = endOf(pos.After), last > pos.After
		case page.More:
			end := rows[len(rows)-1]
			page.Next = SyncPos{After: end.Stamp, AfterChat: end.Chat.ID}
		default:
			page.Next = endOf(last)
		}
		return page, nil
	})
	return page, done || err != nil, err
}

// beginning is where a list of a user's chats, newest first, begins, above all
// that the snapshot shows.
func beginning(last int64) SyncPos {
	return SyncPos{After: last, Below: last + 1, BelowChat: math.MaxInt64}
}

// endOf is the position behind all changes of a stamp. Where there are none yet
// it is not the zero SyncPos, which would begin anew and tell nobody of chats
// that they have left meanwhile.
func endOf(stamp int64) SyncPos {
	if stamp == 0 {
		return SyncPos{AfterChat: math.MaxInt64}
	}
	return SyncPos{After: stamp}
}

// Now is the position of somebody who wants to know only what comes after: a
// Sync from it lists what changed since.
func (s *Service) Now(ctx context.Context, a Actor) (SyncPos, error) {
	if err := person(a); err != nil {
		return SyncPos{}, err
	}
	var pos SyncPos
	err := s.view(ctx, "reading the position", func(r Reader) error {
		last, err := r.LastStamp()
		pos = endOf(last)
		return err
	})
	return pos, err
}

// Chats lists the chats the actor is in by latest activity. The zero SyncPos
// begins.
func (s *Service) Chats(ctx context.Context, a Actor, pos SyncPos, limit int) (SyncPage, error) {
	return s.syncPage(ctx, a, pos, limit, func(r Reader, last int64, limit int) (SyncPage, error) {
		if pos.Below == 0 {
			pos = beginning(last)
		}
		rows, err := r.ChangedChats(a.User, SyncPos{Below: pos.Below, BelowChat: pos.BelowChat}, limit+1)
		if err != nil {
			return SyncPage{}, err
		}
		page := SyncPage{}
		if rows, page.More = cutPage(rows, limit); page.More {
			end := rows[len(rows)-1]
			page.Next = SyncPos{Below: end.Stamp, BelowChat: end.Chat.ID}
		}
		for _, row := range rows {
			if gone(row) {
				continue
			}
			st, err := changedState(r, row, 0)
			if err != nil {
				return SyncPage{}, err
			}
			page.Chats = append(page.Chats, st)
		}
		return page, nil
	})
}

// syncPage does what Sync and Chats have in common: it checks what is asked,
// and gives fn the position of its snapshot.
func (s *Service) syncPage(ctx context.Context, a Actor, pos SyncPos, limit int, fn func(r Reader, last int64, limit int) (SyncPage, error)) (SyncPage, error) {
	if err := person(a); err != nil {
		return SyncPage{}, err
	}
	limit, err := pageLimit(limit)
	if err != nil {
		return SyncPage{}, err
	}
	var page SyncPage
	err = s.view(ctx, "listing changed chats", func(r Reader) error {
		last, err := r.LastStamp()
		if err != nil {
			return err
		}
		// Changes that are not final yet have last + 1, and a position may lie among
		// them, but not behind them (ChangedChats).
		if pos.After > last+1 || pos.After == last+1 && pos.AfterChat == 0 || pos.Below > last+1 {
			return Errorf(CodeCursorInvalid, "this cursor is ahead of the server's history; begin again without one")
		}
		page, err = fn(r, last, limit)
		return err
	})
	return page, err
}

// gone reports whether row's chat is one the user is not in any more.
func gone(row ChangedChat) bool { return !row.Participant.In() || !row.Chat.DeletedAt.IsZero() }

func changedState(r Reader, row ChangedChat, timeline int) (ChatState, error) {
	if !gone(row) {
		p := place{row.Chat, row.Participant}
		return p.state(r, timeline)
	}
	st := ChatState{Chat: row.Chat, Participant: row.Participant}
	if left := row.Participant.LeftSeq; left > 0 {
		// What the chat became without them is not theirs to see.
		st.Chat = Chat{
			ID: row.Chat.ID, Kind: row.Chat.Kind, CreatedAt: row.Chat.CreatedAt,
			LastSeq: left, UpdatedSeq: min(row.Chat.UpdatedSeq, left),
		}
	}
	return st, nil
}

// ChangePage is a page of changes.list: rows whose latest change lies in
// (after, Next], from one snapshot (docs/protocol.md#changes).
type ChangePage struct {
	Messages     []Message
	Participants []Participant
	Chat         *Chat
	Next         int64
	More         bool
}

// changeSpan is how many of a chat's numbers a page of its changes covers at
// most. Without it a page of one row would look through all messages that were
// edited since, or are hidden from the reader, to find it.
const changeSpan = 4096

// Changes lists what changed in a chat after a position, by ascending
// position; with limit rows at most, besides the chat's own, MaxPageBytes of
// contents, and changeSpan numbers. A page may be empty and not the last.
func (s *Service) Changes(ctx context.Context, a Actor, id ChatID, after int64, limit int) (ChangePage, error) {
	limit, err := pageLimit(limit)
	if err != nil {
		return ChangePage{}, err
	}
	if after < 0 {
		return ChangePage{}, Errorf(CodeInvalidRequest, "after is a position: 0 or more")
	}
	var page ChangePage
	err = s.view(ctx, "listing changes", func(r Reader) error {
		p, err := placeOf(r, a, id)
		if err != nil {
			return err
		}
		page, err = p.changes(r, after, limit)
		return err
	})
	return page, err
}

func (p *place) changes(r Reader, after int64, limit int) (ChangePage, error) {
	// Of what is not hidden nothing has changed below floor.
	upto := min(max(after, p.floor()-1)+changeSpan, p.chat.LastSeq)
	messages, people, err := r.Changes(p.chat.ID, after, upto, p.floor(), limit+1)
	if err != nil {
		return ChangePage{}, err
	}
	return pageOf(&p.chat, messages, people, after, upto, limit), nil
}

// pageOf makes a page of at most limit rows of a chat and of its changes after a
// position and up to another, which are more if there are more.
func pageOf(c *Chat, messages []Message, people []Participant, after, upto int64, limit int) ChangePage {
	page := ChangePage{Messages: messages, Participants: people, Next: upto, More: upto < c.LastSeq}
	// The page ends before the row at position end, if there is one too many: by
	// their number the last one, by their bytes an earlier one.
	end := int64(0)
	if len(messages)+len(people) > limit {
		if n := len(messages); n > 0 {
			end = messages[n-1].UpdatedSeq
		}
		if n := len(people); n > 0 {
			end = max(end, people[n-1].UpdatedSeq)
		}
	}
	size := 0
	for i, m := range messages {
		if size += len(m.Content); size > MaxPageBytes && i > 0 {
			end = m.UpdatedSeq
			break
		}
	}
	if end > 0 {
		page.More, page.Next = true, 0
		m, _ := slices.BinarySearchFunc(messages, end, func(m Message, end int64) int { return cmp.Compare(m.UpdatedSeq, end) })
		n, _ := slices.BinarySearchFunc(people, end, func(p Participant, end int64) int { return cmp.Compare(p.UpdatedSeq, end) })
		page.Messages, page.Participants = messages[:m], people[:n]
		if m > 0 {
			page.Next = messages[m-1].UpdatedSeq
		}
		if n > 0 {
			page.Next = max(page.Next, people[n-1].UpdatedSeq)
		}
	}
	if after < c.UpdatedSeq && c.UpdatedSeq <= page.Next {
		row := *c
		page.Chat = &row
	}
	return page
}

// SetRead moves the actor's read mark up, never down, and answers where it is.
func (s *Service) SetRead(ctx context.Context, a Actor, id ChatID, seq int64) (int64, error) {
	return update(ctx, s, "setting a read mark", Op{Chat: id, User: a.User}, func(tx Tx, n *news) (int64, error) {
		p, err := placeOf(tx, a, id)
		switch {
		case err != nil:
			return 0, err
		case seq < 0 || seq > p.chat.LastSeq:
			return 0, Errorf(CodeInvalidRequest, "seq must be 0 to %d, the chat's last_seq", p.chat.LastSeq)
		case seq <= p.me.ReadSeq:
			return p.me.ReadSeq, nil
		}
		p.me.ReadSeq = seq
		n.place, n.read = &p.me, true
		return seq, tx.PutReadMark(id, a.User, seq)
	})
}

// Typing tells the others; nothing is stored.
func (s *Service) Typing(ctx context.Context, a Actor, id ChatID, stop bool) error {
	err := s.view(ctx, "checking who is typing", func(r Reader) error {
		_, err := placeOf(r, a, id)
		return err
	})
	if err == nil {
		s.cfg.Publisher.PublishTyping(id, a.User, stop)
	}
	return err
}
