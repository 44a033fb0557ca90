package hub

import (
	"fmt"
	"slices"

	"github.com/grima-chat/grima/internal/chat"
)

// truth is a chat's log as it was committed.
type truth struct {
	events  []chat.Event // events[i].Seq is i+1
	history chat.History
	by      map[int64]*site // which node a change was made on, once that was answered
}

// stay is a membership: [from, to] in seqs.
type stay struct{ from, to int64 }

// stays gives user's memberships.
func (tr *truth) stays(user chat.UserID) (list []stay) {
	const open = 1 << 60
	for _, e := range tr.events {
		switch e.Kind {
		case chat.ChatCreated, chat.ParticipantAdded:
			if e.Participant.User == user {
				list = append(list, stay{e.Seq, open})
			}
		case chat.ParticipantRemoved:
			if e.Participant.User == user {
				list[len(list)-1].to = e.Seq
			}
		case chat.ChatDeleted:
			if n := len(list); n > 0 && list[n-1].to == open {
				list[n-1].to = e.Seq
			}
		}
	}
	return list
}

func (tr *truth) kinds() (list []string) {
	for _, e := range tr.events {
		list = append(list, fmt.Sprint(e.Seq, " ", e.Kind, " ", tr.row(e.Seq)))
	}
	return list
}

// row names the row that the event at seq changed.
func (tr *truth) row(seq int64) string {
	e := tr.events[seq-1]
	switch {
	case e.Message != nil:
		return fmt.Sprint("message ", e.Message.Seq)
	case e.ChatRow != nil:
		return "chat"
	}
	return fmt.Sprint("participant ", e.Participant.User)
}

// superseded reports whether the row of seq changed again later. The creator's
// row and the chat's share a number.
func (tr *truth) superseded(seq int64) bool {
	row := tr.row(seq)
	for _, e := range tr.events[seq:] {
		if tr.row(e.Seq) == row {
			return true
		}
	}
	return false
}

// check holds what a connection heard against the truth.
func (s *stage) check(l *listener, open bool) (complaints []string) {
	lines := make(map[chat.ChatID][]told)
	for _, e := range l.heard {
		lines[e.chat] = append(lines[e.chat], e)
	}
	for id, tr := range s.truths {
		complain := func(format string, args ...any) {
			complaints = append(complaints, fmt.Sprintf("user %d, chat %d (subscribed at %d): ", l.user, id, l.at[id])+fmt.Sprintf(format, args...)+
				fmt.Sprintf("\n  heard %v\n  stays %v\n  log %v", lines[id], tr.stays(l.user), tr.kinds()))
		}
		stays := tr.stays(l.user)
		pos := int64(-1) // nothing was told
		ended := true
		for _, e := range lines[id] {
			in := slices.IndexFunc(stays, func(st stay) bool { return st.from <= e.seq && e.seq <= st.to })
			switch {
			case e.seq > int64(len(tr.events)) || e.seq <= e.prev:
				complain("%v is not in the log", e)
				return complaints
			case ended && e.prev < pos:
				complain("%v was told before", e)
			case !ended && e.prev != pos:
				complain("%v does not continue %d", e, pos)
			}
			if pos < 0 && in >= 0 && e.prev > max(l.at[id], stays[in].from-1) {
				complain("%v begins too late", e)
			}
			if e.early && tr.by[e.seq] == l.node {
				complain("%v was told before its maker was answered", e)
			}
			pos, ended = e.seq, false
			back := slices.ContainsFunc(stays, func(st stay) bool { return st.from == e.seq+1 })
			switch {
			case e.kind == chat.Gap:
			case in < 0:
				complain("%v is not theirs", e)
				continue
			case e.seq > 1 && e.kind != tr.events[e.seq-1].Kind:
				complain("%v is %s", e, tr.events[e.seq-1].Kind)
			case tr.history == chat.HistoryJoined && e.born < stays[in].from && e.seq > 3:
				complain("%v is from before their time", e)
			case e.kind == chat.ParticipantRemoved && e.user == l.user, e.kind == chat.ChatDeleted:
				ended = true
			}
			if e.kind == chat.Gap && back {
				continue // they were out in between
			}
			for q := e.prev + 1; q <= e.seq; q++ {
				if q == e.seq && e.kind != chat.Gap {
					continue
				}
				t := tr.events[q-1]
				hidden := in >= 0 && tr.history == chat.HistoryJoined && t.Message != nil && t.Message.Seq < stays[in].from
				if in >= 0 && q >= stays[in].from && !hidden && !tr.superseded(q) {
					complain("%v leaves out %s %d", e, t.Kind, q)
				}
			}
		}
		if !open || len(stays) == 0 {
			continue
		}
		// What they should have heard of at the end.
		last := stays[len(stays)-1]
		end := min(last.to, int64(len(tr.events)))
		switch {
		case end <= l.at[id] || pos == end:
		default:
			complain("nothing was told after %d, up to %d", pos, end)
		}
	}
	return complaints
}
