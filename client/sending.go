package client

import (
	"cmp"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/protocol"
)

// box is the pending items of one chat, in order. One of them is tried at a
// time: of two that are under way the first could fail for the moment and the
// second not, and their order would be lost.
type box struct {
	items     []*item
	trying    *ask
	notBefore time.Time
}

// item is a message in the outbox.
type item struct {
	Item

	ordinal uint64
}

// maxTrying bounds the sends that are under way.
const maxTrying = 64

// Outbox is what is in the outbox, in the order it was queued.
func (s *Session) Outbox() []Item {
	all := slices.SortedFunc(maps.Values(s.items), func(a, b *item) int { return cmp.Compare(a.ordinal, b.ordinal) })
	out := make([]Item, len(all))
	for i, it := range all {
		out[i] = it.Item
	}
	return out
}

// Draft makes an item of a draft, with an ID if it has none. What no server would
// take, and what is in the outbox already, is an error.
func (s *Session) Draft(now time.Time, d Draft) (Item, error) {
	refuse := func(code protocol.Code, message string) (Item, error) {
		return Item{}, protocol.NewError(code, message)
	}
	if d.ID == "" {
		d.ID = newID(now)
	}
	d.Mentions = slices.Clone(d.Mentions)
	switch {
	case s.stopped != nil:
		return Item{}, ErrClosed
	case len(s.items) >= s.cfg.MaxOutbox:
		return Item{}, ErrOutboxFull
	case s.items[d.ID] != nil:
		return Item{}, queuedAlready()
	case d.ChatID == "":
		return refuse(protocol.CodeInvalidRequest, "a message goes to a chat")
	case d.Content == "":
		return refuse(protocol.CodeInvalidRequest, "a message has content")
	case len(d.Content) > s.maxContent():
		return refuse(protocol.CodeContentTooLarge, "the message is too long")
	case len(d.Mentions) > protocol.MaxMentions:
		return refuse(protocol.CodeInvalidRequest, "the message mentions too many people")
	}
	if err := validText("message", append([]string{d.ID, d.ChatID, d.Content}, d.Mentions...)...); err != nil {
		return Item{}, err
	}
	return Item{Draft: d, Progress: Pending, QueuedAt: now}, nil
}

func (s *Session) maxContent() int {
	if n := s.hello.Limits.MaxContent; n > 0 {
		return n
	}
	return protocol.MaxContent
}

// queuedAlready refuses a second message of one ID.
func queuedAlready() error {
	return protocol.NewError(protocol.CodeConflict, "this message is in the outbox already")
}

// validText checks what goes over the wire as strings, which are UTF-8.
func validText(what string, values ...string) error {
	if slices.ContainsFunc(values, func(v string) bool { return !utf8.ValidString(v) }) {
		return protocol.NewError(protocol.CodeInvalidUTF8, "the "+what+" is not UTF-8")
	}
	return nil
}

// Queue puts an item of [Session.Draft] into the outbox. An error is that it is
// there already.
func (s *Session) Queue(now time.Time, it Item) error {
	if s.items[it.ID] != nil {
		return queuedAlready()
	}
	s.restore(it)
	s.told(s.items[it.ID])
	s.pumpSoon(now)
	return nil
}

// pumpSoon pumps for an application. What is wrong with the connection is no
// error of the application's: the next Tick says it.
func (s *Session) pumpSoon(now time.Time) { _ = s.pump(now) }

// restore puts an item into the outbox that was told of already.
func (s *Session) restore(it Item) {
	s.ordinal++
	x := &item{Item: it, ordinal: s.ordinal}
	s.items[it.ID] = x
	if it.Progress == Pending {
		s.box(it.ChatID).put(x)
	}
}

func (s *Session) box(chatID string) *box {
	b := s.boxes[chatID]
	if b == nil {
		b = &box{}
		s.boxes[chatID] = b
	}
	return b
}

func (b *box) put(x *item) {
	i := len(b.items)
	for i > 0 && b.items[i-1].ordinal > x.ordinal {
		i--
	}
	b.items = slices.Insert(b.items, i, x)
}

// told tells how an item stands.
func (s *Session) told(x *item) {
	if x.Err != nil {
		x.Error = x.Err.Error()
	}
	s.queue.item(x.Item, s.cfg.MaxOutbox)
	if x.Progress != Pending {
		s.settled = append(s.settled, x.Item)
	}
}

// Settled takes the items that were sent, failed or discarded since the last
// call.
func (s *Session) Settled() []Item {
	settled := s.settled
	s.settled = nil
	return settled
}

// failed is the item of that ID as Retry makes it, if it has failed.
func (s *Session) failed(id string) (Item, bool) {
	x := s.items[id]
	if x == nil || x.Progress != Failed {
		return Item{}, false
	}
	it := x.Item
	it.Progress, it.Err, it.Error = Pending, nil, ""
	return it, true
}

// Retry tries a failed item again, behind all others.
func (s *Session) Retry(now time.Time, id string) error {
	x := s.items[id]
	if x == nil {
		return protocol.NewError(protocol.CodeNotFound, "there is no such message in the outbox")
	}
	it, failed := s.failed(id)
	if !failed {
		return nil
	}
	x.Item = it
	s.ordinal++
	x.ordinal = s.ordinal
	s.box(x.ChatID).put(x)
	s.told(x)
	s.pumpSoon(now)
	return nil
}

// Discard takes an item out of the outbox. It reports whether it was never
// tried.
func (s *Session) Discard(id string) (unsent bool, err error) {
	x := s.items[id]
	if x == nil {
		return false, protocol.NewError(protocol.CodeNotFound, "there is no such message in the outbox")
	}
	unsent = x.Tries == 0
	s.done(x)
	x.Progress = Discarded
	s.told(x)
	return unsent, nil
}

// done takes x out.
func (s *Session) done(x *item) {
	delete(s.items, x.ID)
	s.unbox(x)
}

func (s *Session) unbox(x *item) {
	b := s.boxes[x.ChatID]
	if b == nil {
		return
	}
	b.items = slices.DeleteFunc(b.items, func(o *item) bool { return o == x })
	if len(b.items) == 0 && b.trying == nil {
		delete(s.boxes, x.ChatID)
	}
}

// boxesLost forgets what was under way: it is tried again on the next
// connection, first of its chat.
func (s *Session) boxesLost() {
	for id, b := range s.boxes {
		b.trying, b.notBefore = nil, time.Time{}
		if len(b.items) == 0 {
			delete(s.boxes, id)
		}
	}
}

// pumpOutbox tries the first item of every chat.
func (s *Session) pumpOutbox(now time.Time) {
	trying := 0
	for _, b := range s.boxes {
		if b.trying != nil {
			trying++
		}
	}
	for _, b := range s.boxes {
		if trying >= maxTrying {
			return
		}
		if b.trying != nil {
			continue
		}
		if now.Before(b.notBefore) {
			continue
		}
		b.notBefore = time.Time{}
		for b.trying == nil && len(b.items) > 0 && !s.try(now, b, b.items[0]) {
		}
		if b.trying != nil {
			trying++
		}
	}
}

// try sends x. It reports whether that is under way.
func (s *Session) try(now time.Time, b *box, x *item) bool {
	p := protocol.MessageSendParams{
		ChatID: x.ChatID, Content: x.Content, ClientMsgID: x.ID,
		Mentions: x.Mentions, MentionAll: x.MentionAll,
	}
	if x.ReplyTo != 0 {
		p.ReplyTo = &x.ReplyTo
	}
	a := &ask{op: protocol.OpMessageSend}
	a.answer = func(now time.Time, result jsontext.Value, failure *protocol.Error) error {
		b.trying = nil
		if s.items[x.ID] != x {
			s.unbox(x) // discarded meanwhile
			return nil
		}
		return s.sent(now, b, x, result, failure)
	}
	x.Tries++
	if _, err := s.request(now, a, p); err != nil {
		s.fail(x, err)
		return false
	}
	b.trying = a
	return true
}

// sent takes the answer to a send.
func (s *Session) sent(now time.Time, b *box, x *item, result jsontext.Value, failure *protocol.Error) error {
	if failure == nil {
		var r protocol.MessageSendResult
		if err := decode(result, &r); err != nil {
			return err
		}
		if r.ChatID != x.ChatID || r.Seq < 1 || r.Seq > protocol.MaxInteger {
			return broke("a send was answered with seq %d of another chat, or none", r.Seq)
		}
		s.done(x)
		x.Progress, x.Seq, x.SentAt, x.Err, x.Error = Sent, r.Seq, r.CreatedAt, nil, ""
		x.Duplicate = r.Duplicate
		s.told(x)
		return nil
	}
	switch failure.Code {
	case protocol.CodeUnauthenticated, protocol.CodeTokenExpired:
		return &LoginError{failure} // the message is not at fault
	}
	if !failure.Retryable {
		s.fail(x, failure)
		return nil
	}
	first := x.Err == nil
	x.Err = failure
	b.notBefore = now.Add(s.retryIn(failure, x.Tries-1))
	if first {
		s.told(x)
	}
	return nil
}

// fail gives x up, until somebody says otherwise.
func (s *Session) fail(x *item, err error) {
	x.Progress, x.Err = Failed, err
	s.unbox(x)
	s.told(x)
}
