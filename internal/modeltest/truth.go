package modeltest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// truth is what was committed: for each chat, what took which number. It is
// written down between the rules and the store, so that neither the hub nor
// what the server says has a part in it.
//
// There is no order among chats here, and need not be one: what is promised of
// all of a user's chats together, by sync, is held against full reads. Within a
// chat the numbers are the order. Servers with stores of their own hear of their
// commits each for itself, so one's may be written down before what another
// committed below it; it waits for that.
type truth struct {
	mu      sync.Mutex
	chats   map[string]*chatLog
	commits int64         // that changed a chat
	more    chan struct{} // closed, and made anew, at each commit
	fault   string        // the first change that broke I2
	beside  bool          // commits are heard of in no order
}

// chatLog is the log of a chat: changes[i] took the number i+1.
type chatLog struct {
	changes []change
	ahead   map[int64][]put   // by the number they took, that of others below which is not known yet
	spans   map[string][]span // who was in, and when
}

// change is what took a number, with the row as it was then.
type change struct {
	message *protocol.Message
	person  *protocol.Participant
	row     *protocol.Chat
	history chat.History // of the chat, after it
}

// span is a membership. Its last number is that of the leaving; 0: it goes on.
type span struct{ from, to int64 }

func newTruth() *truth { return &truth{chats: map[string]*chatLog{}, more: make(chan struct{})} }

// put is a row that an update put.
type put struct {
	chat    *chat.Chat
	person  *chat.Participant
	message *chat.Message
}

func (p put) place() (id chat.ChatID, seq int64) {
	switch {
	case p.chat != nil:
		return p.chat.ID, p.chat.UpdatedSeq
	case p.person != nil:
		return p.person.Chat, p.person.UpdatedSeq
	}
	return p.message.Chat, p.message.UpdatedSeq
}

// update is what an update did: the rows it put, and where it found the chats
// that it looked at (0: it made them).
type update struct {
	puts  []put
	found map[chat.ChatID]int64
}

// news are the rows that took a number, by chat and number: a chat is also put
// to raise its last_seq.
func (u *update) news() map[chat.ChatID]map[int64][]put {
	all := map[chat.ChatID]map[int64][]put{}
	for _, p := range u.puts {
		id, seq := p.place()
		if found, looked := u.found[id]; !looked || seq <= found {
			continue
		}
		if all[id] == nil {
			all[id] = map[int64][]put{}
		}
		all[id][seq] = append(all[id][seq], p)
	}
	return all
}

// commit adds what an update did.
func (t *truth) commit(u update) {
	if len(u.puts) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, news := range u.news() {
		name := api.FormatChat(id)
		l := t.chats[name]
		if l == nil {
			l = &chatLog{ahead: map[int64][]put{}, spans: map[string][]span{}}
			t.chats[name] = l
		}
		for seq, puts := range news {
			if seq <= l.last() || l.ahead[seq] != nil {
				t.broken("number %d of chat %s was taken twice", seq, name)
				continue
			}
			l.ahead[seq] = puts
		}
		for puts := l.ahead[l.last()+1]; puts != nil; puts = l.ahead[l.last()+1] {
			delete(l.ahead, l.last()+1)
			l.add(puts)
		}
		if !t.beside {
			t.whole(name, l)
		}
	}
	t.tickLocked()
}

func (t *truth) broken(format string, args ...any) {
	if t.fault == "" {
		t.fault = fmt.Sprintf(format, args...)
	}
}

// whole sees that a chat's log has no hole.
func (t *truth) whole(name string, l *chatLog) {
	if len(l.ahead) > 0 {
		t.broken("chat %s went from %d to %d", name, l.last(), slices.Min(slices.Collect(maps.Keys(l.ahead))))
	}
}

// wrong gives what broke I2, if something did, unless there were other commits
// than these: not all that came before them need be known.
func (t *truth) wrong(commits int64) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.commits != commits {
		return ""
	}
	for name, l := range t.chats {
		t.whole(name, l)
	}
	return t.fault
}

// tick counts something that happened, where commits are not known.
func (t *truth) tick() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tickLocked()
}

func (t *truth) tickLocked() {
	t.commits++
	close(t.more)
	t.more = make(chan struct{})
}

// add writes down what took the next number: a row, or the chat and its creator.
func (l *chatLog) add(puts []put) {
	c := change{}
	if last := l.last(); last > 0 {
		c.history = l.changes[last-1].history
	}
	for _, p := range puts {
		switch {
		case p.chat != nil:
			row := wireChat(*p.chat)
			c.row, c.history = &row, p.chat.History
		case p.person != nil:
			row := wireParticipant(*p.person)
			c.person = &row
			l.in(row)
		default:
			row := wireMessage(*p.message)
			c.message = &row
		}
	}
	l.changes = append(l.changes, c)
}

func (l *chatLog) in(p protocol.Participant) {
	spans := l.spans[p.UserID]
	switch n := len(spans); {
	case p.LeftSeq > 0:
		spans[n-1].to = p.LeftSeq
	case n == 0 || spans[n-1].from != p.JoinedSeq:
		l.spans[p.UserID] = append(spans, span{from: p.JoinedSeq})
	}
}

func (l *chatLog) last() int64 { return int64(len(l.changes)) }

func (l *chatLog) deleted() bool {
	c := l.changes[len(l.changes)-1]
	return c.row != nil && c.row.Deleted
}

// at gives user's membership at seq.
func (l *chatLog) at(user string, seq int64) (span, bool) {
	for _, s := range l.spans[user] {
		if s.from <= seq && (s.to == 0 || seq <= s.to) {
			return s, true
		}
	}
	return span{}, false
}

// comes reports whether a membership of user's begins at seq.
func (l *chatLog) comes(user string, seq int64) bool {
	return slices.ContainsFunc(l.spans[user], func(s span) bool { return s.from == seq })
}

// begins reports whether a membership of user's begins in (after, upto].
func (l *chatLog) begins(user string, after, upto int64) bool {
	return slices.ContainsFunc(l.spans[user], func(s span) bool { return after < s.from && s.from <= upto })
}

// now gives user's present membership.
func (l *chatLog) now(user string) (span, bool) {
	spans := l.spans[user]
	if n := len(spans); n > 0 && spans[n-1].to == 0 && !l.deleted() {
		return spans[n-1], true
	}
	return span{}, false
}

// hidden reports whether a message born at seq is not for somebody whose
// membership is s, where the chat's history is h.
func hidden(s span, seq int64, h chat.History) bool { return h == chat.HistoryJoined && seq < s.from }

// skipped names a row that could be seen by a member with span s ever since its
// latest change, which lies in (from, to]: a reader who is told nothing of these
// numbers misses it.
func (l *chatLog) skipped(s span, from, to int64) string {
	for seq := from + 1; seq <= min(to, l.last()); seq++ {
		c := l.changes[seq-1]
		switch {
		case c.message != nil:
			if !l.changedAfter(seq, func(d change) bool { return d.message != nil && d.message.Seq == c.message.Seq }) &&
				!slices.ContainsFunc(l.changes[seq-1:], func(d change) bool { return hidden(s, c.message.Seq, d.history) }) {
				return fmt.Sprintf("message %d, changed last at %d", c.message.Seq, seq)
			}
		case c.person != nil:
			if !l.changedAfter(seq, func(d change) bool { return d.person != nil && d.person.UserID == c.person.UserID }) {
				return fmt.Sprintf("participant %s, changed last at %d", c.person.UserID, seq)
			}
		case c.row != nil:
			if !l.changedAfter(seq, func(d change) bool { return d.row != nil }) {
				return fmt.Sprintf("the chat's row, changed last at %d", seq)
			}
		}
	}
	return ""
}

func (l *chatLog) changedAfter(seq int64, same func(change) bool) bool {
	return slices.ContainsFunc(l.changes[seq:], same)
}

// view is what user may read of the chat now.
func (l *chatLog) view(user string) (View, bool) {
	s, in := l.now(user)
	if !in {
		return View{}, false
	}
	v := View{LastSeq: l.last(), Messages: map[int64]protocol.Message{}, People: map[string]protocol.Participant{}}
	h := l.changes[len(l.changes)-1].history
	for _, c := range l.changes {
		if c.row != nil {
			v.Chat = *c.row
		}
		if c.person != nil {
			v.People[c.person.UserID] = *c.person
			if c.person.LeftSeq > 0 {
				delete(v.People, c.person.UserID)
			}
		}
		if c.message != nil && !hidden(s, c.message.Seq, h) {
			v.Messages[c.message.Seq] = *c.message
		}
	}
	return v, true
}

// views is what user may read now, by chat.
func (t *truth) views(user string) map[string]View {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]View{}
	for id, l := range t.chats {
		if v, in := l.view(user); in {
			all[id] = v
		}
	}
	return all
}

// read looks at the log of a chat, which must be there.
func (t *truth) read(id string, fn func(*chatLog)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.chats[id]
	if l != nil {
		fn(l)
	}
	return l != nil
}

// reach waits until a chat is at seq, or time is up. What the hub reads from the
// store may be told before the store has said that it is written.
func (t *truth) reach(id string, seq int64, patience time.Duration) {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		t.mu.Lock()
		l, more := t.chats[id], t.more
		there := l != nil && l.last() >= seq
		t.mu.Unlock()
		if there {
			return
		}
		select {
		case <-more:
		case <-late.C:
			return
		}
	}
}

// wait gives how many commits there were, and what tells of the next.
func (t *truth) wait() (commits int64, more <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.commits, t.more
}

// lengths says where the logs end; rewind forgets what came after that.
func (t *truth) lengths() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := map[string]int{}
	for id, l := range t.chats {
		n[id] = len(l.changes)
	}
	return n
}

func (t *truth) rewind(lengths map[string]int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, l := range t.chats {
		if lengths[id] == 0 {
			delete(t.chats, id)
			continue
		}
		l.changes = l.changes[:lengths[id]]
		clear(l.ahead)
		l.spans = map[string][]span{}
		for _, c := range l.changes {
			if c.person != nil {
				l.in(*c.person)
			}
		}
	}
}

// The rows as they go over the wire, made here once more so that a mistake of
// the server's shows.

const wireTime = "2006-01-02T15:04:05.000Z"

func wireChat(c chat.Chat) protocol.Chat {
	w := protocol.Chat{
		ChatID: api.FormatChat(c.ID), Kind: string(c.Kind), Title: c.Title, Topic: c.Topic, History: string(c.History),
		CreatedBy: api.FormatUser(c.CreatedBy), CreatedAt: c.CreatedAt.Format(wireTime),
		Deleted: !c.DeletedAt.IsZero(), UpdatedSeq: c.UpdatedSeq,
	}
	if c.Kind == chat.KindPrivate {
		w.UserIDs = []string{api.FormatUser(c.Pair[0]), api.FormatUser(c.Pair[1])}
	}
	return w
}

func wireParticipant(p chat.Participant) protocol.Participant {
	return protocol.Participant{
		UserID: api.FormatUser(p.User), Role: string(p.Role), JoinedSeq: p.JoinedSeq, LeftSeq: p.LeftSeq, UpdatedSeq: p.UpdatedSeq,
	}
}

func wireMessage(m chat.Message) protocol.Message {
	w := protocol.Message{
		ChatID: api.FormatChat(m.Chat), Seq: m.Seq, UpdatedSeq: m.UpdatedSeq, SenderID: api.FormatUser(m.Sender),
		Content: m.Content, ReplyTo: m.ReplyTo, MentionAll: m.MentionAll, CreatedAt: m.CreatedAt.Format(wireTime),
		Deleted: !m.DeletedAt.IsZero(),
	}
	if !m.EditedAt.IsZero() {
		w.EditedAt = m.EditedAt.Format(wireTime)
	}
	for _, u := range m.Mentions {
		w.Mentions = append(w.Mentions, api.FormatUser(u))
	}
	return w
}

// eventName is what a change is told as.
func (c change) eventName(seq int64) string {
	switch {
	case c.message != nil && c.message.Deleted:
		return protocol.EventMessageDeleted
	case c.message != nil && c.message.Seq == seq:
		return protocol.EventMessageCreated
	case c.message != nil:
		return protocol.EventMessageUpdated
	case c.row != nil && c.person != nil:
		return protocol.EventChatCreated
	case c.row != nil && c.row.Deleted:
		return protocol.EventChatDeleted
	case c.row != nil:
		return protocol.EventChatUpdated
	case c.person.LeftSeq == seq:
		return protocol.EventParticipantRemoved
	case c.person.JoinedSeq == seq:
		return protocol.EventParticipantAdded
	}
	return protocol.EventParticipantUpdated
}

// differs says in what an event does not tell the change that took its number.
// The first number of a chat is taken by two rows; one that has changed since
// may be missing, as the store does not have it any more.
func (l *chatLog) differs(e *protocol.Event) string {
	c := l.changes[e.Seq-1]
	if e.Seq == 1 {
		if e.Chat == nil && l.changedAfter(1, func(d change) bool { return d.row != nil }) {
			c.row = nil
		}
		if e.Participant == nil && l.changedAfter(1, func(d change) bool { return d.person != nil && d.person.UserID == c.person.UserID }) {
			c.person = nil
		}
	}
	var why []string
	if want := c.eventName(e.Seq); e.Event != want {
		why = append(why, fmt.Sprintf("it is called %s, not %s", e.Event, want))
	}
	if d := rowDiffers("message", c.message, e.Message); d != "" {
		why = append(why, d)
	}
	if d := rowDiffers("participant", c.person, e.Participant); d != "" {
		why = append(why, d)
	}
	if d := rowDiffers("chat", c.row, e.Chat); d != "" {
		why = append(why, d)
	}
	return strings.Join(why, "; ")
}
