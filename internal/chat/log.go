package chat

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// Log reads what those need who deliver events: where chats stand, and which
// events somebody has missed, made again from the rows
// (docs/protocol.md#delivery). Its methods may be called from any goroutine and
// read committed state only, some of which may be not yet answered.
type Log struct {
	store    Store
	underway *Underway
}

// NewLog makes a Log of what is in store.
func NewLog(store Store) *Log { return &Log{store: store} }

// NewSharedLog makes a Log of a store that other processes write to as well.
// What this one has under way is known to underway.
func NewSharedLog(store Store, underway *Underway) *Log { return &Log{store, underway} }

// MaxBacklog is how many of a chat's numbers are told to who lags; a longer
// backlog is told as a gap.
const MaxBacklog = 1000

// missedRows is how many rows of a backlog are read at a time.
const missedRows = MaxPage

// Memberships lists the chats user is in, and the change stamp of its snapshot.
func (l *Log) Memberships(ctx context.Context, user UserID) (list []Membership, stamp int64, err error) {
	err = l.view(ctx, "listing memberships", func(r Reader) error {
		if list, err = r.Memberships(user); err != nil {
			return err
		}
		stamp, err = r.LastStamp()
		return err
	})
	return list, stamp, err
}

// Ended is a membership that is over: its user left, or the chat was deleted.
// LastSeq is where.
type Ended struct {
	Membership
	Stamp int64 // the change stamp of its end
}

// Ended lists those of user's memberships that ended after a change stamp, and
// gives the stamp of its snapshot. What a store shows above that stamp is among
// them each time.
func (l *Log) Ended(ctx context.Context, user UserID, after int64) (list []Ended, stamp int64, err error) {
	err = l.view(ctx, "listing memberships that ended", func(r Reader) error {
		list = nil
		if stamp, err = r.LastStamp(); err != nil {
			return err
		}
		for pos := (SyncPos{After: after}); ; {
			rows, err := r.ChangedChats(user, pos, MaxPage)
			if err != nil {
				return err
			}
			for _, row := range rows {
				p, last := row.Participant, row.Chat.LastSeq
				if !p.In() {
					last = p.LeftSeq
				}
				if gone(row) && p.JoinedSeq > 0 {
					list = append(list, Ended{Membership{row.Chat.ID, row.Chat.Kind, last, p.JoinedSeq, p.ReadSeq}, row.Stamp})
				}
			}
			if len(rows) < MaxPage {
				return nil
			}
			end := rows[len(rows)-1]
			pos = SyncPos{After: end.Stamp, AfterChat: end.Chat.ID}
		}
	})
	return list, stamp, err
}

// Commits is a number that stays the same while nothing changes anywhere.
func (l *Log) Commits(ctx context.Context) (n int64, err error) {
	err = l.view(ctx, "asking whether something has changed", func(r Reader) error {
		n, err = r.Commits()
		return err
	})
	return n, err
}

// LastSeqs gives the positions of chats, 0 for one that is not there.
func (l *Log) LastSeqs(ctx context.Context, ids []ChatID) (seqs []int64, err error) {
	err = l.view(ctx, "reading positions", func(r Reader) error {
		seqs, err = r.LastSeqs(ids)
		return err
	})
	return seqs, err
}

// Changed is what happened in a chat after a position, for everybody who is or
// was in it.
type Changed struct {
	Events []Event // in order
	// Next is up to where they tell everything, or the position asked with if
	// there is nothing. If the last of them ends before it, what is between are
	// changes of rows that have changed again beyond it.
	Next int64
	More bool // there is more between Next and the position asked for
	// TooMany: there are more than MaxBacklog numbers. There are no Events then,
	// and Next is the position asked for, or the chat's.
	TooMany bool
	// Joined are those whose latest membership began after the position, all of
	// them, up to the snapshot's end: also beyond Next. Who of them was in before
	// was out in between, nobody knows since when.
	Joined []Participant
}

// Span is what a chat's log has after a position and up to another.
type Span struct {
	Chat        ChatID
	After, Upto int64
}

// tailRows is how many rows of a span are read together with other spans. One
// that has more is read alone.
const tailRows = 50

// Changed reads a page of the events of each of these spans, in their order, each
// on a snapshot of its own, perhaps. A chat that is not there has none.
func (l *Log) Changed(ctx context.Context, spans []Span) ([]Changed, error) {
	after := make([]Position, len(spans))
	for i, s := range spans {
		after[i] = Position{s.Chat, s.After}
	}
	var tails []Tail
	err := l.view(ctx, "reading what changed in chats", func(r Reader) (err error) {
		tails, err = r.Tails(after, tailRows+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	list := make([]Changed, len(spans))
	for i, s := range spans {
		t := &tails[i]
		end := min(s.Upto, t.Chat.LastSeq)
		if end <= s.After {
			list[i].Next = s.After
			continue
		}
		page := pageOf(&t.Chat, t.Messages, t.Participants, s.After, t.Chat.LastSeq, tailRows)
		if page.More || end-s.After > MaxBacklog {
			if list[i], err = l.changed(ctx, s); err != nil {
				return nil, err
			}
			continue
		}
		list[i] = changedOf(&t.Chat, &page, s.After, end, joined(t.Participants, s.After))
	}
	return list, nil
}

// changed reads a page of a long span.
func (l *Log) changed(ctx context.Context, s Span) (ch Changed, err error) {
	err = l.view(ctx, "reading a chat's changes", func(r Reader) error {
		ch = Changed{Next: s.After}
		c, err := r.Chat(s.Chat)
		if err != nil {
			return missing(err, nil)
		}
		end := min(s.Upto, c.LastSeq)
		if end <= s.After {
			return nil
		}
		if end-s.After > MaxBacklog {
			ch.TooMany, ch.Next = true, end
			ch.Joined, err = joinedAfter(r, s.Chat, s.After)
			return err
		}
		p := place{chat: c}
		page, err := p.changes(r, s.After, missedRows)
		if err != nil {
			return err
		}
		who := joined(page.Participants, s.After)
		if page.More {
			if who, err = joinedAfter(r, s.Chat, s.After); err != nil {
				return err
			}
		}
		ch = changedOf(&c, &page, s.After, end, who)
		return nil
	})
	return ch, err
}

// changedOf makes events of a page that follows a position, up to another.
func changedOf(c *Chat, page *ChangePage, after, end int64, who []Participant) Changed {
	page.cut(end)
	ch := Changed{Events: page.events(after), Next: page.Next, More: page.More, Joined: who}
	for i := range ch.Events {
		if ch.Events[i].Message != nil {
			ch.Events[i].History = c.History
		}
	}
	return ch
}

// joinedAfter lists whose latest membership began after a position.
func joinedAfter(r Reader, id ChatID, after int64) (list []Participant, err error) {
	const page = 500
	for since := after; ; {
		_, people, err := r.Changes(id, after, math.MaxInt64, math.MaxInt64, page) // no message is that young
		if err != nil {
			return nil, err
		}
		list = append(list, joined(people, since)...)
		if len(people) < page {
			return list, nil
		}
		after = people[len(people)-1].UpdatedSeq
	}
}

// joined are those of people whose latest membership began after a position.
func joined(people []Participant, after int64) (list []Participant) {
	for _, p := range people {
		if p.JoinedSeq > after {
			list = append(list, p)
		}
	}
	return list
}

// Missed is what somebody missed in a chat after a position, and may see.
type Missed struct {
	Events []Event // in order; the first one continues the position
	Next   int64   // up to where they tell everything, as in Changed
	More   bool    // there is more between Next and the position asked for
	Joined int64   // where their latest membership begins
	// Over: nothing comes after Next, the end of their membership, or of the
	// chat; that end is the last event, unless they asked from there.
	Over  bool
	Stamp int64 // of their own row: of their leaving, if they left
}

// Missed reads what user missed in a chat after a position and up to another: the
// events of their latest membership, with its end if it has ended by then, and a
// gap for what was before it, as a whole: it leads beyond upto if the membership
// begins there. Whose place nobody knows has missed nothing and is out.
func (l *Log) Missed(ctx context.Context, id ChatID, user UserID, after, upto int64) (Missed, error) {
	var m Missed
	err := l.view(ctx, "reading what somebody missed", func(r Reader) error {
		m = Missed{Next: after, Over: true}
		me, err := r.Participant(id, user)
		if err != nil || me.JoinedSeq == 0 {
			return missing(err, nil)
		}
		c, err := r.Chat(id)
		if err != nil {
			return missing(err, nil)
		}
		m, err = (&place{c, me}).missed(r, after, upto)
		return err
	})
	return m, err
}

func (p *place) missed(r Reader, after, upto int64) (Missed, error) {
	m := Missed{Next: after, Joined: p.me.JoinedSeq, Stamp: p.me.Stamp}
	end, over := p.chat.LastSeq, !p.chat.DeletedAt.IsZero()
	if !p.me.In() {
		end, over = p.me.LeftSeq, true // nothing is theirs beyond it
	}
	whole := end <= upto
	if !whole {
		end, over = upto, false
	}
	// What was before this membership belongs to an earlier one, or to none.
	from := max(after, p.me.JoinedSeq-1)
	if end-from > MaxBacklog {
		from = end
		if over {
			from-- // the end itself is told
		}
	}
	if from > after {
		m.Events = append(m.Events, Event{Kind: Gap, Chat: p.chat.ID, Seq: from, PrevSeq: after})
		m.Next = from
	}
	if end <= from {
		m.Over = over
		return m, nil
	}
	page, err := p.changes(r, from, missedRows)
	if err != nil {
		return Missed{}, err
	}
	page.cut(end)
	events := page.events(from)
	if n := len(events); n > 0 {
		from = events[n-1].Seq
	}
	m.Events = append(m.Events, events...)
	m.Next, m.More, m.Over = page.Next, page.More, over && !page.More
	if whole && !m.More && from < end {
		// The last changes of all are of messages that are hidden from them.
		m.Events = append(m.Events, Event{Kind: Gap, Chat: p.chat.ID, Seq: end, PrevSeq: from})
	}
	return m, nil
}

// cut leaves out what lies beyond end.
func (page *ChangePage) cut(end int64) {
	if page.Next < end {
		return
	}
	page.Next, page.More = end, false
	for i, m := range page.Messages {
		if m.UpdatedSeq > end {
			page.Messages = page.Messages[:i]
			break
		}
	}
	for i, p := range page.Participants {
		if p.UpdatedSeq > end {
			page.Participants = page.Participants[:i]
			break
		}
	}
	if page.Chat != nil && page.Chat.UpdatedSeq > end {
		page.Chat = nil
	}
}

// events makes the rows of a page, which follow a position, events again. Who did it
// is known of messages only that nobody but their sender changes. The changes
// between them are those of rows that changed again later, or of messages that
// are hidden from the reader.
func (page *ChangePage) events(after int64) []Event {
	list := make([]Event, 0, len(page.Messages)+len(page.Participants)+2)
	for i := range page.Messages {
		m := &page.Messages[i]
		e := Event{Kind: MessageUpdated, Chat: m.Chat, Seq: m.UpdatedSeq, Actor: m.Sender, Message: m}
		switch {
		case !m.DeletedAt.IsZero():
			e.Kind, e.Actor = MessageDeleted, 0
		case m.UpdatedSeq == m.Seq:
			e.Kind = MessageCreated
		}
		list = append(list, e)
	}
	var creator *Participant // whose row and the chat's share the first number
	for i := range page.Participants {
		p := &page.Participants[i]
		if page.Chat != nil && p.UpdatedSeq == page.Chat.UpdatedSeq {
			creator = p
			continue
		}
		e := Event{Kind: ParticipantUpdated, Chat: p.Chat, Seq: p.UpdatedSeq, Participant: p}
		switch p.UpdatedSeq {
		case p.LeftSeq:
			e.Kind = ParticipantRemoved
		case p.JoinedSeq:
			e.Kind = ParticipantAdded
		}
		list = append(list, e)
	}
	if c := page.Chat; c != nil {
		e := Event{Kind: ChatUpdated, Chat: c.ID, Seq: c.UpdatedSeq, ChatRow: c}
		switch {
		case !c.DeletedAt.IsZero():
			e.Kind = ChatDeleted
		case creator != nil:
			e.Kind, e.Actor, e.Participant = ChatCreated, c.CreatedBy, creator
		}
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Event) int { return cmp.Compare(a.Seq, b.Seq) })
	for i := range list {
		list[i].PrevSeq, after = after, list[i].Seq
	}
	return list
}

// Places reads where users stand in chats, in their order, and the chats'
// positions. Of who was never in a chat it gives a Participant that is not in.
func (l *Log) Places(ctx context.Context, asked []Place) (places []Participant, seqs []int64, err error) {
	err = l.view(ctx, "reading places", func(r Reader) error {
		places = make([]Participant, len(asked))
		ids := make([]ChatID, len(asked))
		for i, a := range asked {
			ids[i] = a.Chat
			p, err := r.Participant(a.Chat, a.User)
			if missing(err, nil) != nil {
				return err
			}
			if err != nil {
				p = Participant{Chat: a.Chat, User: a.User}
			}
			places[i] = p
		}
		seqs, err = r.LastSeqs(ids)
		return err
	})
	return places, seqs, err
}

// PeopleChanged is ChangeLog's, of a store that has one; of others it is never ok.
func (l *Log) PeopleChanged(ctx context.Context, after int64, limit int) (list []Place, upto int64, ok bool, err error) {
	err = l.view(ctx, "reading whose rows changed", func(r Reader) (err error) {
		if log, is := r.(ChangeLog); is {
			list, upto, ok, err = log.PeopleChanged(after, limit)
		}
		return err
	})
	return list, upto, ok, err
}

// Place names where somebody may stand in a chat.
type Place struct {
	Chat ChatID
	User UserID
}

// LiveSessions gives those of ids that have not been ended, in their order.
func (l *Log) LiveSessions(ctx context.Context, ids []SessionID) (live []SessionID, err error) {
	err = l.view(ctx, "looking for sessions that were ended", func(r Reader) error {
		live, err = r.LiveSessions(ids)
		return err
	})
	return live, err
}

// SettledIn waits until what can be read now of a chat, as far as this process
// wrote it, has been answered and published.
func (l *Log) SettledIn(ctx context.Context, id ChatID) error {
	if l.underway == nil {
		return l.Settled(ctx)
	}
	return failed("waiting for updates under way", l.underway.Wait(ctx, id))
}

// Settled waits until everything that can be read now, as far as this process
// wrote it, has been answered and published: an update that changes nothing
// comes after it.
func (l *Log) Settled(ctx context.Context) error {
	if l.underway != nil {
		return failed("waiting for updates under way", l.underway.Wait(ctx, 0))
	}
	done := make(chan error, 1)
	l.store.Update(Op{Run: func(Tx) error { return nil }}, func(err error) { done <- err })
	select {
	case err := <-done:
		return failed("waiting for updates under way", err)
	case <-ctx.Done():
		return failed("waiting for updates under way", ctx.Err())
	}
}

func (l *Log) view(ctx context.Context, doing string, fn func(Reader) error) error {
	return failed(doing, l.store.View(ctx, fn))
}
