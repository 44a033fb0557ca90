package chat_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// covers is an event of the log in short: its kind, what it covers, and whose
// participant it tells of.
func covers(events []chat.Event) (list []string) {
	for _, e := range events {
		s := fmt.Sprintf("%s %d-%d", e.Kind, e.PrevSeq, e.Seq)
		if e.Participant != nil {
			s += fmt.Sprintf(" of %d", e.Participant.User)
		}
		list = append(list, s)
	}
	return list
}

// logged is a world with a group of Ana's, and its log.
func logged(t *testing.T, history chat.History) (l *chat.Log, ana, bob *person, id chat.ChatID) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	st, _, err := w.CreateChat(ctx, list[0].Actor, chat.NewChat{Kind: chat.KindGroup, Title: "Port", History: history})
	ok(t, err)
	return chat.NewLog(w.store), list[0], list[1], st.Chat.ID
}

func (p *person) adds(id chat.ChatID, who *person) {
	p.w.t.Helper()
	_, err := p.w.AddParticipants(ctx, p.Actor, id, ids(who), "")
	ok(p.w.t, err)
}

func (p *person) removes(id chat.ChatID, who *person) {
	p.w.t.Helper()
	_, err := p.w.RemoveParticipant(ctx, p.Actor, id, who.User)
	ok(p.w.t, err)
}

func (p *person) edits(id chat.ChatID, seq int64, content string) {
	p.w.t.Helper()
	done := make(chan error, 1)
	p.w.Edit(p.Actor, chat.MessageEdit{Chat: id, Seq: seq, Content: content}, nil, func(_ int64, err error) { done <- err })
	ok(p.w.t, <-done)
}

func (p *person) deletes(id chat.ChatID, seq int64) {
	p.w.t.Helper()
	done := make(chan error, 1)
	p.w.Delete(p.Actor, id, seq, nil, func(_ int64, err error) { done <- err })
	ok(p.w.t, <-done)
}

func TestLogMakesEventsOfRows(t *testing.T) {
	l, ana, bob, id := logged(t, chat.HistoryAll)
	ana.adds(id, bob)       // 2
	one := ana.say(id, "1") // 3
	two := ana.say(id, "2") // 4
	_, err := ana.w.UpdateParticipant(ctx, ana.Actor, id, bob.User, chat.RoleAdmin)
	ok(t, err)                // 5
	ana.edits(id, one, "one") // 6
	ana.deletes(id, two)      // 7
	ana.removes(id, bob)      // 8
	topic := "tides"
	_, err = ana.w.UpdateChat(ctx, ana.Actor, id, chat.ChatPatch{Topic: &topic})
	ok(t, err)         // 9
	ana.adds(id, bob)  // 10
	ana.say(id, "end") // 11

	ch, err := changed(l, chat.Span{Chat: id, After: 0, Upto: 100})
	ok(t, err)
	same(t, covers(ch.Events), []string{
		fmt.Sprintf("participant.added 0-1 of %d", ana.User), "message.updated 1-6", "message.deleted 6-7", "chat.updated 7-9",
		fmt.Sprintf("participant.added 9-10 of %d", bob.User), "message.created 10-11",
	})
	same(t, ch.Next, int64(11))
	same(t, len(ch.Joined), 2)
	same(t, []chat.UserID{ch.Events[1].Actor, ch.Events[2].Actor}, []chat.UserID{ana.User, 0})

	// Up to a position, of which the row has changed since.
	ch, err = changed(l, chat.Span{Chat: id, After: 1, Upto: 8})
	ok(t, err)
	same(t, covers(ch.Events), []string{"message.updated 1-6", "message.deleted 6-7"})
	same(t, ch.Next, int64(8))
	same(t, len(ch.Joined), 1)
	same(t, ch.Joined[0].JoinedSeq, int64(10))

	for _, nothing := range [][2]int64{{11, 100}, {5, 5}, {500, 600}} {
		ch, err = changed(l, chat.Span{Chat: id, After: nothing[0], Upto: nothing[1]})
		ok(t, err)
		same(t, len(ch.Events), 0)
		same(t, ch.Next, nothing[0])
	}
	ch, err = changed(l, chat.Span{Chat: 999, After: 0, Upto: 100})
	ok(t, err)
	same(t, ch.Next, int64(0))

	ok(t, ana.w.DeleteChat(ctx, ana.Actor, id))
	ch, err = changed(l, chat.Span{Chat: id, After: 10, Upto: 100})
	ok(t, err)
	same(t, covers(ch.Events), []string{"message.created 10-11", "chat.deleted 11-12"})
	seqs, err := l.LastSeqs(ctx, []chat.ChatID{999, id})
	ok(t, err)
	same(t, seqs, []int64{0, 12})
}

func TestNewChatIsOneEvent(t *testing.T) {
	l, ana, bob, id := logged(t, chat.HistoryAll)
	ana.adds(id, bob)
	ch, err := changed(l, chat.Span{Chat: id, After: 0, Upto: 100})
	ok(t, err)
	same(t, covers(ch.Events), []string{fmt.Sprintf("chat.created 0-1 of %d", ana.User), fmt.Sprintf("participant.added 1-2 of %d", bob.User)})
	same(t, ch.Events[0].Actor, ana.User)
}

func TestMissed(t *testing.T) {
	missed := func(t *testing.T, l *chat.Log, id chat.ChatID, user chat.UserID, after, upto int64) chat.Missed {
		t.Helper()
		m, err := l.Missed(ctx, id, user, after, upto)
		ok(t, err)
		return m
	}
	t.Run("in pages, and not beyond", func(t *testing.T) {
		l, ana, _, id := logged(t, chat.HistoryAll)
		for i := range 300 {
			ana.say(id, fmt.Sprint(i))
		}
		m := missed(t, l, id, ana.User, 1, 290)
		same(t, []any{len(m.Events), m.Next, m.More, m.Over}, []any{200, int64(201), true, false})
		m = missed(t, l, id, ana.User, m.Next, 290)
		same(t, []any{len(m.Events), m.Next, m.More, m.Over}, []any{89, int64(290), false, false})
		m = missed(t, l, id, ana.User, 290, 290)
		same(t, []any{len(m.Events), m.Next, m.More, m.Over}, []any{0, int64(290), false, false})
	})
	t.Run("too much", func(t *testing.T) {
		l, ana, bob, id := logged(t, chat.HistoryAll)
		ana.adds(id, bob)
		for i := range chat.MaxBacklog + 1 {
			ana.say(id, fmt.Sprint(i))
		}
		m := missed(t, l, id, bob.User, 2, 1<<40)
		same(t, covers(m.Events), []string{fmt.Sprintf("gap 2-%d", chat.MaxBacklog+3)})
		same(t, m.Next, int64(chat.MaxBacklog+3))
		ana.removes(id, bob)
		m = missed(t, l, id, bob.User, 2, 1<<40)
		same(t, covers(m.Events), []string{
			fmt.Sprintf("gap 2-%d", chat.MaxBacklog+3),
			fmt.Sprintf("participant.removed %d-%d of %d", chat.MaxBacklog+3, chat.MaxBacklog+4, bob.User),
		})
		same(t, m.Over, true)
		ch, err := changed(l, chat.Span{Chat: id, After: 2, Upto: 1 << 40})
		ok(t, err)
		same(t, []any{ch.TooMany, ch.Next, len(ch.Events), len(ch.Joined)}, []any{true, int64(chat.MaxBacklog + 4), 0, 0})
	})
	t.Run("of somebody who left, up to that", func(t *testing.T) {
		l, ana, bob, id := logged(t, chat.HistoryAll)
		ana.adds(id, bob)    // 2
		ana.say(id, "1")     // 3
		ana.removes(id, bob) // 4
		ana.say(id, "2")     // 5
		m := missed(t, l, id, bob.User, 2, 100)
		same(t, covers(m.Events), []string{"message.created 2-3", fmt.Sprintf("participant.removed 3-4 of %d", bob.User)})
		same(t, []any{m.Next, m.Over, m.Joined}, []any{int64(4), true, int64(2)})
		m = missed(t, l, id, bob.User, 2, 3)
		same(t, []any{covers(m.Events), m.Next, m.Over}, []any{[]string{"message.created 2-3"}, int64(3), false})
		m = missed(t, l, id, bob.User, 4, 100)
		same(t, []any{len(m.Events), m.Over}, []any{0, true})

		ana.adds(id, bob) // 6
		m = missed(t, l, id, bob.User, 2, 100)
		same(t, covers(m.Events), []string{"gap 2-5", fmt.Sprintf("participant.added 5-6 of %d", bob.User)})
		same(t, []any{m.Next, m.Over, m.Joined}, []any{int64(6), false, int64(6)})
		m = missed(t, l, id, bob.User, 2, 4)
		same(t, []any{covers(m.Events), m.Next}, []any{[]string{"gap 2-5"}, int64(5)})
	})
	t.Run("nothing from before them", func(t *testing.T) {
		l, ana, bob, id := logged(t, chat.HistoryJoined)
		old := ana.say(id, "1") // 2
		ana.adds(id, bob)       // 3
		ana.edits(id, old, "a") // 4
		ana.say(id, "2")        // 5
		ana.edits(id, old, "b") // 6
		m := missed(t, l, id, bob.User, 3, 100)
		same(t, covers(m.Events), []string{"message.created 3-5", "gap 5-6"})
		m = missed(t, l, id, ana.User, 3, 100)
		same(t, covers(m.Events), []string{"message.created 3-5", "message.updated 5-6"})
	})
	t.Run("of a deleted chat, and of none", func(t *testing.T) {
		l, ana, bob, id := logged(t, chat.HistoryAll)
		ok(t, ana.w.DeleteChat(ctx, ana.Actor, id))
		m := missed(t, l, id, ana.User, 1, 100)
		same(t, []any{covers(m.Events), m.Over}, []any{[]string{"chat.deleted 1-2"}, true})
		for _, of := range []chat.ChatID{id, 999} {
			m = missed(t, l, of, bob.User, 1, 100)
			same(t, []any{len(m.Events), m.Over}, []any{0, true})
		}
	})
}

// What could be read before Settled was called has been answered when it
// returns.
func TestSettled(t *testing.T) {
	w := newWorld(t)
	l := chat.NewLog(w.store)
	answered := 0
	for range 100 {
		w.store.Update(chat.Op{Run: func(tx chat.Tx) error { return nil }}, func(error) { answered++ })
	}
	ok(t, l.Settled(ctx))
	same(t, answered, 100)
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := l.Settled(over); err != nil { // it may have been quicker
		refused(t, err, chat.CodeTimeout)
	}
}

// changed reads one span.
func changed(l *chat.Log, s chat.Span) (chat.Changed, error) {
	list, err := l.Changed(ctx, []chat.Span{s})
	if err != nil {
		return chat.Changed{}, err
	}
	return list[0], nil
}

func TestSpansAreReadTogether(t *testing.T) {
	l, ana, bob, id := logged(t, chat.HistoryAll)
	ana.adds(id, bob)         // 2
	ana.say(id, "one")        // 3
	long := ana.group("Long") // 1
	for i := range 120 {
		ana.say(long, fmt.Sprint(i))
	}
	ana.adds(long, bob) // 122
	spans := []chat.Span{
		{Chat: long, Upto: 130},
		{Chat: id, After: 1, Upto: 2},
		{Chat: 999, After: 7, Upto: 8},
		{Chat: id, After: 2, Upto: 100},
		{Chat: long, After: 70, Upto: 121},
		{Chat: id, After: 3, Upto: 100},
	}
	together, err := l.Changed(ctx, spans)
	ok(t, err)
	same(t, len(together), len(spans))
	for i, s := range spans {
		alone, err := changed(l, s)
		ok(t, err)
		same(t, together[i], alone)
	}
	same(t, []int{len(together[0].Events), len(together[1].Events), len(together[3].Events), len(together[4].Events)}, []int{122, 1, 1, 51})
	same(t, []int{len(together[0].Joined), len(together[4].Joined)}, []int{2, 1}) // also beyond what is told
	same(t, []int64{together[2].Next, together[4].Next, together[5].Next}, []int64{7, 121, 3})
	none, err := l.Changed(ctx, nil)
	ok(t, err)
	same(t, len(none), 0)
}
