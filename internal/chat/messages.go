package chat

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

var errNoMessage = Errorf(CodeNotFound, "no such message")

// message finds a message that exists for the actor.
func (p *place) message(r Reader, seq int64) (Message, error) {
	if seq <= 0 || seq < p.floor() {
		return Message{}, errNoMessage
	}
	m, err := r.Message(p.chat.ID, seq)
	return m, missing(err, errNoMessage)
}

// Anchor says which page of messages is asked for; at most one is set.
type Anchor struct {
	Before, After, Around *int64
	At                    *time.Time // around the first message of that time or later
}

// MessagePage is a page of messages, ascending by seq.
type MessagePage struct {
	Messages                    []Message
	HasMoreBefore, HasMoreAfter bool
	LastSeq                     int64
	AtSeq                       int64 // what Anchor.At found; 0: nothing
}

// Messages lists a page of messages (docs/protocol.md#messages.list): those
// before a seq, after one, around one, around a time, or the newest.
func (s *Service) Messages(ctx context.Context, a Actor, id ChatID, at Anchor, limit int) (MessagePage, error) {
	limit, err := pageLimit(limit)
	if err != nil {
		return MessagePage{}, err
	}
	set := 0
	for _, seq := range []*int64{at.Before, at.After, at.Around} {
		if seq == nil {
			continue
		}
		set++
		if *seq < 0 {
			return MessagePage{}, Errorf(CodeInvalidRequest, "before, after and around are positions: 0 or more")
		}
	}
	if at.At != nil {
		set++
	}
	if set > 1 {
		return MessagePage{}, Errorf(CodeInvalidRequest, "give one of before, after, around and at")
	}
	var page MessagePage
	err = s.view(ctx, "listing messages", func(r Reader) error {
		p, err := placeOf(r, a, id)
		if err == nil {
			page, err = p.messages(r, at, limit)
		}
		return err
	})
	return page, err
}

// messages reads one row more than asked for on each side, which tells whether
// there is more.
func (p *place) messages(r Reader, at Anchor, limit int) (MessagePage, error) {
	page := MessagePage{LastSeq: p.chat.LastSeq}
	if at.At != nil {
		var err error
		if page.AtSeq, err = p.firstAt(r, *at.At); err != nil {
			return MessagePage{}, err
		}
		if page.AtSeq > 0 {
			at.Around = &page.AtSeq
		}
	}
	lo, hi := p.floor(), p.chat.LastSeq+1
	split, below, above := hi, limit, 0 // the newest
	switch {
	case at.Before != nil:
		split = min(max(*at.Before, lo), hi)
	case at.After != nil:
		split, below, above = min(max(*at.After, lo-1), hi-1)+1, 0, limit
	case at.Around != nil:
		split, below, above = min(max(*at.Around, lo), hi), limit, limit
	}
	before, err := r.Messages(p.chat.ID, lo, split, below+1, true)
	if err != nil {
		return MessagePage{}, err
	}
	after, err := r.Messages(p.chat.ID, split, hi, above+1, false)
	if err != nil {
		return MessagePage{}, err
	}
	if at.Around != nil {
		// Half of the page on each side, more where the other side has less.
		below = min(len(before), limit/2)
		above = min(len(after), limit-below)
		below = min(len(before), limit-above)
	}
	below, above = min(below, len(before)), min(above, len(after))
	below, above = nearest(before[len(before)-below:], after[:above])
	page.HasMoreBefore, page.HasMoreAfter = len(before) > below, len(after) > above
	page.Messages = slices.Concat(before[len(before)-below:], after[:above])
	return page, nil
}

// firstAt finds the first message of a time or later, and 0 if all are earlier.
// Clocks jump, so times need not ascend with seq: then it is one of those with
// an earlier one before them.
func (p *place) firstAt(r Reader, at time.Time) (int64, error) {
	lo, hi, first := p.floor(), p.chat.LastSeq+1, int64(0)
	for lo < hi {
		// What is below lo is earlier, and from hi on there is nothing before first.
		mid := lo + (hi-lo)/2
		list, err := r.Messages(p.chat.ID, mid, hi, 1, false)
		switch {
		case err != nil:
			return 0, err
		case len(list) == 0:
			hi = mid
		case list[0].CreatedAt.Before(at):
			lo = list[0].Seq + 1
		default:
			first, hi = list[0].Seq, mid
		}
	}
	return first, nil
}

// nearest is how many of before's last and after's first messages fit on one
// page: at least one, and from both sides in turn.
func nearest(before, after []Message) (below, above int) {
	size := 0
	for below < len(before) || above < len(after) {
		down := above == len(after) || below < len(before) && below < above
		if down {
			size += len(before[len(before)-1-below].Content)
		} else {
			size += len(after[above].Content)
		}
		if size > MaxPageBytes && below+above > 0 {
			break
		}
		if down {
			below++
		} else {
			above++
		}
	}
	return below, above
}

// Message reads a message.
func (s *Service) Message(ctx context.Context, a Actor, id ChatID, seq int64) (Message, error) {
	var m Message
	err := s.view(ctx, "reading a message", func(r Reader) error {
		p, err := placeOf(r, a, id)
		if err == nil {
			m, err = p.message(r, seq)
		}
		return err
	})
	return m, err
}

// NewMessage is what Send takes.
type NewMessage struct {
	Chat        ChatID
	Content     string
	ClientMsgID string
	ReplyTo     int64
	Mentions    []UserID
	MentionAll  bool
}

// SendResult is where a message came to stand. Duplicate: it stood there
// before this request.
type SendResult struct {
	Seq       int64
	CreatedAt time.Time
	Duplicate bool
}

// Send stores a message (docs/protocol.md#message.send). full is for callers
// who must not wait, as with Edit and Delete (nil: if the store has no room for
// the update, Send waits until it has).
func (s *Service) Send(a Actor, m NewMessage, full OnFull, done func(SendResult, error)) {
	mentions, err := checkMessage(m.Content, m.Mentions)
	if err != nil {
		done(SendResult{}, err)
		return
	}
	if err := checkKey("client_msg_id", m.ClientMsgID); err != nil {
		done(SendResult{}, err)
		return
	}
	var hash BodyHash
	if m.ClientMsgID != "" {
		var b body
		b.int(int64(m.Chat)).text(m.Content).int(m.ReplyTo).users(mentions)
		if m.MentionAll {
			b.int(1)
		}
		hash = b.hash()
	}
	op := Op{Chat: m.Chat, User: a.User, ClientMsgID: m.ClientMsgID, OnFull: full}
	enqueue(s, "sending a message", op, func(tx Tx, n *news) (SendResult, error) {
		// The right to see the chat comes first: whoever has none learns
		// nothing, not even about their own keys.
		p, err := placeOf(tx, a, m.Chat)
		if err != nil {
			return SendResult{}, err
		}
		if m.ClientMsgID != "" {
			sent, err := tx.Sent(a.User, m.ClientMsgID)
			switch {
			case err == nil && sent.Body != hash:
				return SendResult{}, Errorf(CodeIdempotencyConflict, "this client_msg_id sent another message; take a new one")
			case err == nil:
				return SendResult{Seq: sent.Seq, CreatedAt: sent.CreatedAt, Duplicate: true}, nil
			case !errors.Is(err, ErrNotFound):
				return SendResult{}, err
			}
		}
		if m.ReplyTo != 0 {
			if _, err := p.message(tx, m.ReplyTo); err != nil {
				return SendResult{}, missingReply(err)
			}
		}
		if err := p.checkMentions(tx, mentions); err != nil {
			return SendResult{}, err
		}
		seq := p.take()
		row := Message{
			Chat: m.Chat, Seq: seq, UpdatedSeq: seq, Sender: a.User, Content: m.Content,
			ReplyTo: m.ReplyTo, Mentions: mentions, MentionAll: m.MentionAll, CreatedAt: tx.Now(),
		}
		if m.ClientMsgID != "" {
			err := tx.PutSent(Sent{
				Sender: a.User, ClientMsgID: m.ClientMsgID, Chat: m.Chat, Seq: seq, Body: hash, CreatedAt: row.CreatedAt,
			})
			if err != nil {
				return SendResult{}, err
			}
		}
		return SendResult{Seq: seq, CreatedAt: row.CreatedAt}, p.putMessage(tx, n, MessageCreated, row)
	}, func(res SendResult, n news, err error) {
		// Also when done panics: the message is stored, and readers would have
		// a hole that nothing tells them of.
		defer s.publish(n)
		done(res, err)
	})
}

// missingReply says of which message there is none.
func missingReply(err error) error {
	if errors.Is(err, errNoMessage) {
		return Errorf(CodeInvalidRequest, "reply_to: no such message in this chat")
	}
	return err
}

// checkMessage looks at what can be judged without the store, and gives the
// mentions each once.
func checkMessage(content string, mentions []UserID) ([]UserID, error) {
	if len(mentions) > MaxMentions {
		return nil, Errorf(CodeInvalidRequest, "a message mentions at most %d people", MaxMentions)
	}
	return eachOnce(mentions), checkContent(content)
}

// checkMentions sees that whoever is mentioned is in the chat, and names those
// who are not.
func (p *place) checkMentions(r Reader, users []UserID) error {
	var strangers []string
	for _, user := range users {
		one, err := r.Participant(p.chat.ID, user)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if one.In() {
			continue
		}
		u, err := r.User(user)
		if errors.Is(err, ErrNotFound) {
			return Errorf(CodeInvalidRequest, "mentions: no such user")
		}
		if err != nil {
			return err
		}
		strangers = append(strangers, u.Username)
	}
	if len(strangers) > 0 {
		return Errorf(CodeInvalidRequest, "people who are not in this chat cannot be mentioned: %s", strings.Join(strangers, ", "))
	}
	return nil
}

// putMessage stores a message that took the chat's latest number.
func (p *place) putMessage(tx Tx, n *news, kind EventKind, m Message) error {
	m.UpdatedSeq = p.chat.LastSeq
	e := Event{Kind: kind, Chat: m.Chat, Seq: m.UpdatedSeq, History: p.chat.History, Message: &m}
	if p.me.User != m.Sender {
		e.Actor = p.me.User
	}
	n.event(e)
	if err := tx.PutMessage(m); err != nil {
		return err
	}
	return tx.PutChat(p.chat)
}

// MessageEdit is what Edit changes; nil keeps.
type MessageEdit struct {
	Chat       ChatID
	Seq        int64
	Content    string
	Mentions   *[]UserID
	MentionAll *bool
}

// Edit and Delete change a message; done hears its updated_seq. Doing again
// what is done already takes no number.
func (s *Service) Edit(a Actor, e MessageEdit, full OnFull, done func(updatedSeq int64, err error)) {
	var mentions []UserID
	if e.Mentions != nil {
		mentions = *e.Mentions
	}
	mentions, err := checkMessage(e.Content, mentions)
	if err != nil {
		done(0, err)
		return
	}
	enqueue(s, "editing a message", Op{Chat: e.Chat, User: a.User, OnFull: full}, func(tx Tx, n *news) (int64, error) {
		p, err := placeOf(tx, a, e.Chat)
		if err != nil {
			return 0, err
		}
		m, err := p.message(tx, e.Seq)
		switch {
		case err != nil:
			return 0, err
		case m.Sender != a.User:
			return 0, Errorf(CodePermissionDenied, "only its sender edits a message")
		case !m.DeletedAt.IsZero():
			return 0, Errorf(CodeConflict, "this message was deleted")
		}
		same := m.Content == e.Content
		m.Content = e.Content
		if e.Mentions != nil && !slices.Equal(m.Mentions, mentions) {
			// Whoever it mentions already may have left since.
			added := slices.DeleteFunc(slices.Clone(mentions), func(u UserID) bool { return slices.Contains(m.Mentions, u) })
			if err := p.checkMentions(tx, added); err != nil {
				return 0, err
			}
			m.Mentions, same = mentions, false
		}
		if e.MentionAll != nil && m.MentionAll != *e.MentionAll {
			m.MentionAll, same = *e.MentionAll, false
		}
		if same {
			return m.UpdatedSeq, nil
		}
		m.EditedAt = tx.Now()
		return p.take(), p.putMessage(tx, n, MessageUpdated, m)
	}, s.changed(done))
}

// Delete takes a message's content away, for its sender and, in a group, its
// admins and owners.
func (s *Service) Delete(a Actor, id ChatID, seq int64, full OnFull, done func(updatedSeq int64, err error)) {
	enqueue(s, "deleting a message", Op{Chat: id, User: a.User, OnFull: full}, func(tx Tx, n *news) (int64, error) {
		p, err := placeOf(tx, a, id)
		if err != nil {
			return 0, err
		}
		m, err := p.message(tx, seq)
		if err != nil {
			return 0, err
		}
		manages := p.chat.Kind == KindGroup && rank(p.me.Role) >= rank(RoleAdmin)
		if m.Sender != a.User && !manages {
			return 0, Errorf(CodePermissionDenied, "only its sender deletes a message, and in a group its admins and owners")
		}
		if !m.DeletedAt.IsZero() {
			return m.UpdatedSeq, nil
		}
		m.Content, m.Mentions, m.MentionAll, m.DeletedAt = "", nil, false, tx.Now()
		return p.take(), p.putMessage(tx, n, MessageDeleted, m)
	}, s.changed(done))
}

// changed tells done, then publishes, as Send does.
func (s *Service) changed(done func(int64, error)) func(int64, news, error) {
	return func(updatedSeq int64, n news, err error) {
		defer s.publish(n)
		done(updatedSeq, err)
	}
}
