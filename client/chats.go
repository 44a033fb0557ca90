package client

import (
	"slices"
	"time"

	"github.com/grima-chat/grima/protocol"
)

// entry is a chat of the session's. Until its state is known (known) it is one
// that was heard of only: low and st.LastSeq say what of.
type entry struct {
	known bool
	st    Chat // as it is now; st.Mark is what MarkRead wants

	low     int64  // not known: the position before the first event heard of
	before  int64  // Pos when the connection began
	counted int64  // the position that the counts are of, and messages told as new since
	newest  int64  // the last of those
	level   uint64 // the last request asked before an event told Notify; 0: none did
	live    bool   // an event was heard that could not be applied: catch up even if Lazy

	// What is to be done.
	queued    bool // it is in Session.work
	asking    bool // a request of it is under way
	fetch     bool // its state is to be asked for: it is uncertain
	news      bool // ChatState is to be told
	idle      int  // answers to changes.list in a row that brought it no further
	notBefore time.Time
	tries     int

	markTold int64 // the read.set under way
}

// maxUnseen bounds Chat.Unseen.
const maxUnseen = 512

func (s *Session) restored(c Chat) *entry {
	e := &entry{known: true, st: c, counted: c.LastSeq}
	e.st.Unseen = slices.Clone(c.Unseen)
	return e
}

// connected prepares e for a new connection.
func (e *entry) connected() {
	e.before, e.idle, e.notBefore, e.tries = e.st.Pos, 0, time.Time{}, 0
	e.queued, e.asking, e.markTold = false, false, 0
	e.fetch = e.st.Uncertain
}

// todo puts e among those with something to do.
func (s *Session) todo(e *entry) {
	if !e.queued {
		e.queued = true
		s.work = append(s.work, e)
	}
}

// is reports whether e is still the session's entry of its chat: nobody left it
// since.
func (s *Session) is(e *entry) bool { return s.chats[e.st.ChatID] == e }

// room is how many events may be told now.
func (s *Session) room() int { return s.cfg.Buffer - s.queue.len() - s.reserved }

// snapshot is the state to tell: nobody changes it any more.
func (e *entry) snapshot() *Chat {
	c := e.st
	c.Messages = slices.Clone(c.Messages)
	c.Unseen = slices.Clone(c.Unseen)
	return &c
}

// event takes a live event (docs/protocol.md#events).
func (s *Session) event(now time.Time, f *protocol.Event) error {
	if f.Seq == 0 {
		s.ephemeral(now, f)
		return nil
	}
	ev := Event{
		ChatID: f.ChatID, Seq: f.Seq, PrevSeq: f.PrevSeq,
		Message: f.Message, Participant: f.Participant, Chat: f.Chat, ActorID: f.ActorID,
	}
	if f.PrevSeq == 0 {
		ev.PrevSeq = f.Seq - 1
	}
	if err := sound(ev); err != nil {
		return err
	}
	s.sync.heard = true
	e := s.chats[f.ChatID]
	if f.Event == protocol.EventChatDeleted || s.removesSelf(ev) {
		if e == nil || e.known && ev.Seq > e.st.JoinedSeq || !e.known && ev.Seq > e.low {
			s.leave(e, ev)
		}
		return nil // else a page was quicker to say that the user is in again
	}
	if e == nil {
		if f.Seq <= s.left[f.ChatID] {
			return nil
		}
		if len(s.chats) >= maxChats {
			return broke("more than %d chats", maxChats)
		}
		e = s.heardOf(f.ChatID, ev.PrevSeq, 0)
	}
	switch {
	case !e.known:
	case ev.Seq <= e.st.Pos:
		return nil
	case ev.PrevSeq <= e.st.Pos && f.Event != protocol.EventGap && s.room() > 0:
		// A position that moved on meanwhile is no reason to tell it again.
		ev.PrevSeq = e.st.Pos
		s.tell(e, ev)
		return nil
	}
	// There is a hole, or no room: changes.list will bring it.
	e.live = true
	e.st.LastSeq = max(e.st.LastSeq, ev.Seq)
	s.todo(e)
	return nil
}

// heardOf makes the entry of a chat that is to be told from low on, once its
// state is known.
func (s *Session) heardOf(chatID string, low, last int64) *entry {
	e := &entry{low: low}
	e.st.ChatID, e.st.LastSeq = chatID, last
	s.chats[chatID] = e
	s.todo(e)
	return e
}

// sound checks what an event or a row of a page says.
func sound(ev Event) error {
	switch m, p, c := ev.Message, ev.Participant, ev.Chat; {
	case ev.ChatID == "":
		return broke("an event of no chat")
	case ev.PrevSeq < 0 || ev.PrevSeq >= ev.Seq || ev.Seq > protocol.MaxInteger:
		return broke("an event from %d to %d", ev.PrevSeq, ev.Seq)
	case m != nil && (m.ChatID != ev.ChatID || m.Seq < 1 || m.UpdatedSeq < m.Seq || m.UpdatedSeq > ev.Seq):
		return broke("the event of %s at %d has a message that does not belong there", ev.ChatID, ev.Seq)
	case p != nil && (p.UserID == "" || p.UpdatedSeq > ev.Seq):
		return broke("the event of %s at %d has a participant that does not belong there", ev.ChatID, ev.Seq)
	case c != nil && (c.ChatID != ev.ChatID || c.UpdatedSeq > ev.Seq):
		return broke("the event of %s at %d has a chat that does not belong there", ev.ChatID, ev.Seq)
	}
	return nil
}

// removesSelf reports whether ev tells that the user is not in the chat any more.
func (s *Session) removesSelf(ev Event) bool {
	return ev.Participant != nil && ev.Participant.UserID == s.user.UserID && ev.Participant.LeftSeq > 0
}

// leave drops a chat, of which ev is the last event. What is still being
// answered about it finds another entry, or none.
func (s *Session) leave(e *entry, ev Event) {
	s.left[ev.ChatID] = max(s.left[ev.ChatID], ev.Seq)
	if e != nil {
		s.drop(e, ev)
	}
}

// drop forgets e and tells so if it was told of.
func (s *Session) drop(e *entry, ev Event) {
	delete(s.chats, e.st.ChatID)
	switch ev.Kind = ChatRemoved; {
	case !e.known:
	case s.room() > 0:
		s.queue.put(ev)
	default:
		s.removals[e.st.ChatID] = true
	}
}

// tell tells a durable event of a chat that is known. Its PrevSeq is the
// chat's position, which moves on in the same step.
func (s *Session) tell(e *entry, ev Event) {
	st := &e.st
	ev.Kind = s.kind(e, ev)
	if m := ev.Message; m != nil {
		st.Unseen.Remove(m.Seq, m.Seq)
		s.count(e, ev.Kind, *m)
		if n := len(st.Messages); n == 0 || st.Messages[n-1].Seq < m.Seq ||
			st.Messages[n-1].Seq == m.Seq && st.Messages[n-1].UpdatedSeq <= m.UpdatedSeq {
			st.Messages = []protocol.Message{*m}
		}
	}
	if p := ev.Participant; p != nil {
		st.Unseen.Remove(p.JoinedSeq, p.JoinedSeq)
		if p.UserID == s.user.UserID {
			st.Role, st.JoinedSeq = p.Role, p.JoinedSeq
		}
	}
	if c := ev.Chat; c != nil && c.UpdatedSeq >= st.UpdatedSeq {
		st.Chat = *c
	}
	st.Pos, st.LastSeq = ev.Seq, max(st.LastSeq, ev.Seq)
	e.idle = 0
	ev.State = e.snapshot()
	s.queue.put(ev)
}

// kind says what ev is to this client, which may not have been told of the row
// before.
func (s *Session) kind(e *entry, ev Event) Kind {
	switch m, p := ev.Message, ev.Participant; {
	case m != nil && m.Deleted:
		return MessageDeleted
	case m != nil && (m.Seq > ev.PrevSeq || e.st.Unseen.Has(m.Seq)):
		return MessageCreated
	case m != nil:
		return MessageUpdated
	case p != nil && p.LeftSeq > 0:
		return ParticipantRemoved
	case p != nil && (p.JoinedSeq > ev.PrevSeq || e.st.Unseen.Has(p.JoinedSeq)):
		return ParticipantAdded
	case p != nil:
		return ParticipantUpdated
	case ev.Chat != nil:
		return ChatUpdated
	}
	return Moved
}

// count keeps the counts up with a message that is told.
func (s *Session) count(e *entry, kind Kind, m protocol.Message) {
	st := &e.st
	if m.SenderID == s.user.UserID || m.Seq <= st.ReadSeq || m.UpdatedSeq <= e.counted {
		return
	}
	if kind != MessageCreated || m.Seq <= e.counted {
		// A change of one that is counted already, at all or as a mention.
		if st.Unread > 0 {
			s.recount(e)
		}
		return
	}
	e.newest = max(e.newest, m.Seq)
	st.Unread = min(st.Unread+1, maxCount)
	if m.MentionAll || slices.Contains(m.Mentions, s.user.UserID) {
		st.Mentions = min(st.Mentions+1, maxCount)
	}
}

// maxCount means "more than 999".
const maxCount = 1000

// recount asks for the counts, which cannot be told from here.
func (s *Session) recount(e *entry) {
	e.fetch, e.st.Uncertain = true, true
	s.todo(e)
}

// ephemeral takes an event without a position (docs/protocol.md#ephemera).
func (s *Session) ephemeral(now time.Time, f *protocol.Event) {
	switch f.Event {
	case protocol.EventPresence:
		if s.room() > s.cfg.Buffer/2 {
			s.queue.put(Event{Kind: Presence, UserID: f.UserID, Status: f.Status})
		}
		return
	case protocol.EventUser:
		s.userChanged(f.User)
		return
	}
	e := s.chats[f.ChatID]
	if e == nil {
		return
	}
	own := f.UserID == s.user.UserID
	if own && f.Event == protocol.EventRead {
		s.level(e, f.Notify)
	}
	if !e.known {
		return
	}
	switch f.Event {
	case protocol.EventTyping:
		if s.room() > s.cfg.Buffer/2 {
			ms := max(0, min(f.ExpiresMS, time.Minute.Milliseconds()))
			ev := Event{Kind: Typing, ChatID: f.ChatID, UserID: f.UserID, Stopped: f.Stopped, State: e.snapshot()}
			if !f.Stopped {
				ev.Until = now.Add(time.Duration(ms) * time.Millisecond)
			}
			s.queue.put(ev)
		}
	case protocol.EventRead:
		if own {
			s.read(e, f.ReadSeq)
		}
		if s.room() > 0 {
			s.queue.put(Event{Kind: ReadMoved, ChatID: f.ChatID, UserID: f.UserID, ReadSeq: f.ReadSeq, State: e.snapshot()})
		} else {
			e.news = true
			s.todo(e)
		}
	}
}

// userChanged takes what others see of somebody.
func (s *Session) userChanged(u *protocol.User) {
	if u == nil || u.UserID == "" {
		return
	}
	if u.UserID == s.user.UserID {
		u.HidesPresence = s.user.HidesPresence // which others do not see
		s.user = *u
	}
	if s.room() > 0 {
		s.queue.put(Event{Kind: UserChanged, UserID: u.UserID, User: u})
	}
}

// level takes of what the user wants to be told, if the server says so. It has no
// number: whether a state that comes later was read before shows in when it was
// asked for.
func (s *Session) level(e *entry, notify string) {
	switch notify {
	case "": // an older server's
		return
	case "all":
		notify = ""
	}
	e.st.Notify, e.level = notify, s.lastID
}

// read moves the user's own mark up.
func (s *Session) read(e *entry, seq int64) {
	st := &e.st
	if seq <= st.ReadSeq {
		return
	}
	st.ReadSeq = seq
	switch {
	case seq >= st.LastSeq:
		st.Unread, st.Mentions = 0, 0
	case st.Unread > 0:
		s.recount(e)
	}
}

// state takes a chat state of a page of sync or of chats.get. Its err is that
// the server broke the protocol; again reports that history went back, and the
// state was not taken.
func (s *Session) state(cs protocol.ChatState) (again bool, err error) {
	if cs.ChatID == "" || cs.LastSeq < 0 || cs.LastSeq > protocol.MaxInteger || cs.JoinedSeq < 0 ||
		cs.Membership != "left" && cs.JoinedSeq > cs.LastSeq {
		return false, broke("a chat state that cannot be")
	}
	e := s.chats[cs.ChatID]
	if cs.Membership == "left" || cs.Deleted {
		// Unless the user came back since.
		if e != nil && (e.known && e.st.JoinedSeq <= cs.LastSeq || !e.known && e.low < cs.LastSeq) {
			s.left[cs.ChatID] = max(s.left[cs.ChatID], cs.LastSeq)
			s.drop(e, Event{ChatID: cs.ChatID})
		}
		return false, nil
	}
	if cs.LastSeq < s.left[cs.ChatID] {
		return false, nil // from before the user left
	}
	if e != nil && e.known {
		if cs.LastSeq < e.before {
			return true, nil
		}
		if cs.JoinedSeq <= e.st.JoinedSeq {
			s.refresh(e, cs)
			return false, nil
		}
		// Left and came back, unheard: what was in between is not known, and
		// what was before need not be there any more.
		s.drop(e, Event{ChatID: cs.ChatID})
		e = nil
	}
	if e == nil {
		if len(s.chats) >= maxChats {
			return false, broke("more than %d chats", maxChats)
		}
		e = &entry{low: cs.LastSeq, st: Chat{ChatState: protocol.ChatState{LastSeq: cs.LastSeq}}}
		s.chats[cs.ChatID] = e
	}
	s.add(e, cs)
	return false, nil
}

// add makes e known.
func (s *Session) add(e *entry, cs protocol.ChatState) {
	last := max(e.st.LastSeq, cs.LastSeq)
	// A new client begins now; a chat that is new to a client begins where the
	// user came in.
	pos := min(e.low, cs.LastSeq)
	if s.complete {
		pos = min(pos, max(cs.JoinedSeq, 1)-1)
	}
	if s.removals[cs.ChatID] {
		s.tellRemoval(cs.ChatID)
	}
	e.known, e.fetch, e.counted = true, s.taking <= e.level, cs.LastSeq
	e.st = Chat{ChatState: cs, Pos: pos}
	e.st.LastSeq = last
	snap := e.snapshot()
	s.queue.put(Event{Kind: ChatAdded, ChatID: cs.ChatID, State: snap})
	if n := len(e.st.Messages); n > 1 {
		e.st.Messages = e.st.Messages[n-1:]
	}
	s.todo(e)
}

// refresh takes the state of a chat that is known.
func (s *Session) refresh(e *entry, cs protocol.ChatState) {
	st := &e.st
	st.LastSeq = max(st.LastSeq, cs.LastSeq)
	if cs.UpdatedSeq >= st.UpdatedSeq {
		st.Chat = cs.Chat
	}
	st.Role, st.Membership = cs.Role, cs.Membership
	if n := len(cs.Messages); n > 0 {
		m := cs.Messages[n-1]
		if k := len(st.Messages); k == 0 || st.Messages[k-1].UpdatedSeq <= m.UpdatedSeq && st.Messages[k-1].Seq <= m.Seq {
			st.Messages = []protocol.Message{m}
		}
	}
	switch {
	case cs.LastSeq < max(e.counted, e.newest): // what was told since is counted
	case cs.ReadSeq < st.ReadSeq: // a mark of ours has yet to get there
		s.recount(e)
	default:
		st.ReadSeq, st.Unread, st.Mentions, e.counted = cs.ReadSeq, cs.Unread, cs.Mentions, cs.LastSeq
		e.fetch, st.Uncertain, e.tries = false, false, 0
	}
	if cs.Notify != st.Notify && s.taking <= e.level {
		e.fetch = true // which of the two is older, another answer says
	} else {
		st.Notify = cs.Notify
	}
	e.news = true
	s.todo(e)
}

// reset forgets everything that the server's history of before was.
func (s *Session) reset(epoch string) {
	s.gen++
	s.chats, s.work, s.removals = map[string]*entry{}, nil, map[string]bool{}
	s.left = map[string]int64{}
	s.cursor, s.complete, s.epoch = "", false, epoch
	s.queue.reset()
	s.queue.only(Event{Kind: Reset, Epoch: epoch})
}

// Chats are the chats the user is in, latest activity first.
func (s *Session) Chats() []Chat {
	chats := make([]Chat, 0, len(s.chats))
	for _, e := range s.chats {
		if e.known {
			chats = append(chats, *e.snapshot())
		}
	}
	slices.SortFunc(chats, func(a, b Chat) int {
		if a.activity() != b.activity() {
			if a.activity() > b.activity() {
				return -1
			}
			return 1
		}
		if a.ChatID < b.ChatID {
			return -1
		}
		return 1
	})
	return chats
}

// activity is when something was said in the chat last, or it was made. Times
// of the server compare as strings.
func (c *Chat) activity() string {
	if n := len(c.Messages); n > 0 {
		return c.Messages[n-1].CreatedAt
	}
	return c.CreatedAt
}

// Chat is one of Chats.
func (s *Session) Chat(id string) (Chat, bool) {
	if e := s.chats[id]; e != nil && e.known {
		return *e.snapshot(), true
	}
	return Chat{}, false
}
