package modeltest

import (
	"fmt"

	"github.com/grima-chat/grima/protocol"
)

// replica is what it holds of a chat.
type replica struct {
	id       string
	joined   int64 // its user's membership; 0: not known yet
	history  string
	pos      int64
	high     int64 // the highest number heard of
	asking   bool  // changes.list is on its way
	read     int64
	row      protocol.Chat
	messages map[int64]protocol.Message
	people   map[string]protocol.Participant
	turned   int // how often it was begun anew
}

// state takes a chat state of sync in. What it says may be older than what an
// event has said; numbers tell.
func (r *Reference) state(c *refConn, st protocol.ChatState) {
	ch := r.chats[st.ChatID]
	if st.Membership == "left" {
		if ch == nil || ch.joined <= st.LastSeq {
			r.drop(st.ChatID, st.LastSeq)
		}
		return
	}
	if st.JoinedSeq <= r.gone[st.ChatID] || ch != nil && ch.joined > st.JoinedSeq {
		return
	}
	if ch == nil {
		ch = r.begin(st.ChatID)
	}
	ch.membership(st.JoinedSeq)
	ch.apply(nil, nil, &st.Chat)
	ch.apply(st.Messages, nil, nil)
	ch.read = max(ch.read, st.ReadSeq)
	ch.high = max(ch.high, st.LastSeq)
	r.catchUp(c, ch)
}

func (r *Reference) begin(id string) *replica {
	ch := &replica{id: id}
	ch.anew()
	r.chats[id] = ch
	return ch
}

func (r *Reference) drop(id string, seq int64) {
	delete(r.chats, id)
	r.gone[id] = max(r.gone[id], seq)
}

// anew forgets the rows: they are another view of the past.
func (ch *replica) anew() {
	ch.pos, ch.row = 0, protocol.Chat{}
	ch.messages, ch.people = map[int64]protocol.Message{}, map[string]protocol.Participant{}
	ch.turned++
}

// membership says where the user's membership begins.
func (ch *replica) membership(joined int64) {
	if ch.joined != 0 && joined > ch.joined {
		ch.anew()
	}
	ch.joined = max(ch.joined, joined)
}

// apply keeps the rows with the higher updated_seq.
func (ch *replica) apply(messages []protocol.Message, people []protocol.Participant, row *protocol.Chat) {
	if row != nil && row.UpdatedSeq >= ch.row.UpdatedSeq {
		if ch.history != "" && row.History != ch.history {
			ch.anew()
		}
		ch.history, ch.row = row.History, *row
	}
	for _, m := range messages {
		if m.UpdatedSeq >= ch.messages[m.Seq].UpdatedSeq {
			ch.messages[m.Seq] = m
		}
	}
	for _, p := range people {
		p.ReadSeq = 0 // no change of the chat's
		if p.UpdatedSeq >= ch.people[p.UserID].UpdatedSeq {
			ch.people[p.UserID] = p
		}
	}
}

// catchUp asks for what is missing, unless somebody has asked.
func (r *Reference) catchUp(c *refConn, ch *replica) {
	if ch.asking || ch.pos >= ch.high {
		return
	}
	ch.asking = true
	after, turned := ch.pos, ch.turned
	c.ask(protocol.OpChangesList, protocol.ChangesListParams{ChatID: ch.id, After: after, Limit: int64(r.cfg.Page)}, func(f *protocol.Response) {
		ch.asking = false
		if r.chats[ch.id] != ch {
			return // dropped meanwhile
		}
		if f != nil && f.Error != nil && f.Error.Code == protocol.CodeNotFound {
			delete(r.chats, ch.id) // why is on its way
			return
		}
		var page protocol.ChangesListResult
		if !c.good(f, protocol.OpChangesList, &page) {
			return
		}
		for range r.times() {
			ch.page(r.cfg.UserID, after, page)
		}
		if ch.turned == turned {
			if !page.HasMore && page.Next < ch.high && page.Next <= after {
				r.cfg.Unheard("I2 contiguous", fmt.Sprintf("changes.list of chat %s after %d ends at %d, and %d was seen", ch.id, after, page.Next, ch.high))
				ch.high = page.Next
			}
			ch.pos = max(ch.pos, page.Next)
			ch.high = max(ch.high, page.Next)
		}
		if page.HasMore {
			ch.high = max(ch.high, page.Next+1)
		}
		r.catchUp(c, ch)
	})
}

func (ch *replica) page(user string, after int64, page protocol.ChangesListResult) {
	if page.Chat != nil && ch.history == "" && after > 0 {
		// It changed since the first page, which may have shown another past.
		ch.history = page.Chat.History
		ch.anew()
	}
	for _, p := range page.Participants {
		if p.UserID == user && p.LeftSeq == 0 {
			ch.membership(p.JoinedSeq)
		}
	}
	ch.apply(page.Messages, page.Participants, page.Chat)
}

// knows reports whether the client knows an event. An old one does not know that
// of a changed role; where several changes are told as one, though, it may bring
// somebody who was not there before, as rows do under any name.
func (r *Reference) knows(ch *replica, e *protocol.Event) bool {
	if !r.cfg.Old || e.Event != protocol.EventParticipantUpdated {
		return true
	}
	_, there := ch.people[e.Participant.UserID]
	return !there || ch.people[e.Participant.UserID].JoinedSeq != e.Participant.JoinedSeq
}

// event is step 5.
func (r *Reference) event(c *refConn, e *protocol.Event) {
	ch := r.chats[e.ChatID]
	if e.Seq == 0 {
		if e.Event == protocol.EventRead && e.UserID == r.cfg.UserID && ch != nil {
			ch.read = max(ch.read, e.ReadSeq)
		}
		return
	}
	own := e.Participant != nil && e.Participant.UserID == r.cfg.UserID
	if own && e.Event == protocol.EventParticipantRemoved || e.Event == protocol.EventChatDeleted {
		if ch == nil || e.Seq > ch.joined { // else it ends an earlier membership
			r.drop(e.ChatID, e.Seq)
		}
		return
	}
	if ch == nil {
		switch {
		case e.Seq <= r.gone[e.ChatID]:
			return
		case !c.synced:
			c.heard[e.ChatID] = e.Seq
			return
		}
		ch = r.begin(e.ChatID)
	}
	if own && e.Participant.LeftSeq == 0 {
		ch.membership(e.Participant.JoinedSeq)
	}
	ch.high = max(ch.high, e.Seq)
	prev := e.PrevSeq
	if prev == 0 {
		prev = e.Seq - 1
	}
	switch {
	case e.Seq <= ch.pos:
	case prev <= ch.pos && e.Event != protocol.EventGap || r.cfg.Without == HoleCheck:
		turned := ch.turned
		for range r.times() {
			if r.knows(ch, e) {
				ch.event(e)
			}
		}
		if ch.turned == turned {
			ch.pos = e.Seq
		}
	}
	r.catchUp(c, ch)
}

func (ch *replica) event(e *protocol.Event) {
	if e.Chat != nil {
		ch.apply(nil, nil, e.Chat)
	}
	if e.Message != nil {
		ch.apply([]protocol.Message{*e.Message}, nil, nil)
	}
	if e.Participant != nil {
		ch.apply(nil, []protocol.Participant{*e.Participant}, nil)
	}
}
