package client

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/protocol"
)

// MarkRead moves the user's read mark in a chat up to seq, here at once and on
// the server when there is a connection.
func (s *Session) MarkRead(now time.Time, chatID string, seq int64) {
	e := s.chats[chatID]
	// What is above last_seq may be a send whose event has yet to come.
	if e == nil || !e.known || seq <= e.st.ReadSeq {
		return
	}
	e.st.Mark = seq
	s.read(e, seq)
	e.news = true
	s.todo(e)
	if s.room() > 0 {
		s.tellState(e)
	}
}

// pumpMark tells the server the mark.
func (s *Session) pumpMark(now time.Time, e *entry) {
	if e.st.Mark == 0 || e.markTold > 0 || !e.notBefore.IsZero() {
		return
	}
	e.markTold = e.st.Mark
	s.ask(now, protocol.OpReadSet, protocol.ReadSetParams{ChatID: e.st.ChatID, Seq: e.markTold}, func(now time.Time, result jsontext.Value, failure *protocol.Error) error {
		told := e.markTold
		e.markTold = 0
		if !s.is(e) {
			return nil
		}
		if failure != nil && failure.Retryable {
			return s.refused(now, e, failure)
		}
		if e.st.Mark == told {
			e.st.Mark = 0
		}
		if failure != nil {
			e.st.ReadSeq = 0 // the server knows better
			s.recount(e)
		}
		e.news = true
		s.todo(e)
		return nil
	})
}

// Focus says which chats are on the screen, see [Client.Focus].
func (s *Session) Focus(now time.Time, chatIDs ...string) error {
	if err := validText("chat", chatIDs...); err != nil {
		return err
	}
	s.focus, s.focused = slices.Clone(chatIDs), true
	for _, id := range chatIDs {
		if e := s.chats[id]; e != nil {
			s.todo(e)
		}
	}
	if s.ready {
		s.tellFocus(now)
	}
	return nil
}

// Active says whether a person looks at this client, see [Client.Active].
func (s *Session) Active(now time.Time, active bool) {
	if s.idle == !active {
		return
	}
	s.idle = !active
	if s.ready {
		s.tellFocus(now)
	}
}

// tellFocus tells the server what was said to Focus and Active.
func (s *Session) tellFocus(now time.Time) {
	active := !s.idle
	p := protocol.SessionUpdateParams{Active: &active}
	if s.focused {
		focus := slices.Clone(s.focus)
		if focus == nil {
			focus = []string{}
		}
		p.Focus = &focus
	}
	s.ask(now, protocol.OpSessionUpdate, p,
		func(time.Time, jsontext.Value, *protocol.Error) error { return nil }) // all it is for may be lost
}

// typingEvery is how often the server is told that one is typing.
const typingEvery = 5 * time.Second

// Typing tells the others that one is typing, see [Client.Typing].
func (s *Session) Typing(now time.Time, chatID string, stop bool) error {
	if err := validText("chat", chatID); err != nil {
		return err
	}
	last, typing := s.typed[chatID]
	switch {
	case !s.ready, stop && !typing, !stop && typing && now.Sub(last) < typingEvery:
		return nil
	case stop:
		delete(s.typed, chatID)
	default:
		s.typed = map[string]time.Time{chatID: now} // one types in one place
	}
	s.ask(now, protocol.OpTyping, protocol.TypingParams{ChatID: chatID, Stop: stop},
		func(time.Time, jsontext.Value, *protocol.Error) error { return nil })
	return nil
}
