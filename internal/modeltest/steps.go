package modeltest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/grima-chat/grima/protocol"
)

// step is one thing that somebody does with a device.
func (d *device) step() {
	if d.w.opts.Comings && d.rng.IntN(2) == 0 {
		d.comeOrGo()
		return
	}
	switch n := d.rng.IntN(100); {
	case n < 34:
		d.say(1 + d.rng.IntN(3))
	case n < 40:
		d.flood()
	case n < 47:
		d.edit()
	case n < 52:
		d.erase()
	case n < 58:
		d.mark()
	case n < 63:
		d.create()
	case n < 69:
		_ = d.call(protocol.OpParticipantsAdd, protocol.ParticipantsAddParams{ChatID: d.someChat(), UserIDs: []string{d.somebody()}, Role: d.pick("", "", "admin", "owner")}, nil)
	case n < 74:
		_ = d.call(protocol.OpParticipantsRemove, protocol.ParticipantParams{ChatID: d.someChat(), UserID: d.pick(d.somebody(), d.person.id)}, nil)
	case n < 76:
		_ = d.call(protocol.OpParticipantsUpdate, protocol.ParticipantsUpdateParams{ChatID: d.someChat(), UserID: d.somebody(), Role: new(d.pick("owner", "admin", "member"))}, nil)
	case n < 79:
		d.rename()
	case n < 80:
		_ = d.call(protocol.OpChatsDelete, protocol.ChatParams{ChatID: d.someChat()}, nil)
	case n < 83:
		d.conflict()
	case n < 85:
		d.garble()
	case n < 88:
		d.leaf()
	case n < 90:
		_ = d.call(protocol.OpTyping, protocol.TypingParams{ChatID: d.someChat()}, nil)
	case n < 91:
		_ = d.call(protocol.OpChatsGet, protocol.ChatParams{ChatID: d.someChat()}, nil)
	case n < 92:
		d.leave()
	case n < 94:
		d.outlet.drop(d.w)
		d.w.count("hung up")
	case n < 97:
		d.outlet.setAway(true)
		d.w.count("went away")
		d.w.after(int64(d.rng.IntN(40)), 100*time.Millisecond)
		d.outlet.setAway(false)
	default:
		d.stall()
		d.w.count("stopped reading")
		d.w.after(int64(d.rng.IntN(80)), 200*time.Millisecond)
		d.calm()
	}
}

// leave says that nothing more will come: what was asked is still answered.
func (d *device) leave() {
	d.outlet.mu.Lock()
	t := d.outlet.tap
	d.outlet.mu.Unlock()
	if t != nil && t.CloseWrite() == nil {
		d.w.count("left politely")
	}
}

// comeOrGo changes who is in a chat, or who is connected.
func (d *device) comeOrGo() {
	switch d.rng.IntN(6) {
	case 0:
		d.create()
	case 1, 2:
		_ = d.call(protocol.OpParticipantsAdd, protocol.ParticipantsAddParams{ChatID: d.someChat(), UserIDs: []string{d.somebody()}, Role: "owner"}, nil)
	case 3:
		_ = d.call(protocol.OpParticipantsRemove, protocol.ParticipantParams{ChatID: d.someChat(), UserID: d.somebody()}, nil)
	default:
		d.outlet.drop(d.w)
	}
}

func (d *device) pick(of ...string) string { return of[d.rng.IntN(len(of))] }

func (d *device) somebody() string { return d.w.people[d.rng.IntN(len(d.w.people))].id }

// someChat is a chat that the device shows; now and then another.
func (d *device) someChat() string {
	if d.rng.IntN(20) == 0 {
		return fmt.Sprintf("c_%d", 1+d.rng.IntN(6))
	}
	ids := slices.Sorted(maps.Keys(d.State().Chats))
	if len(ids) == 0 {
		return "c_1"
	}
	return ids[d.rng.IntN(len(ids))]
}

// call makes a request that may be refused, and may be lost.
func (d *device) call(op string, params, result any) error {
	ctx, cancel := context.WithTimeout(d.w.ctx, d.w.opts.Patience)
	defer cancel()
	err := d.Call(ctx, op, params, result)
	switch {
	case err == nil:
		d.w.count(op)
	case errors.Is(err, ErrLost) && ctx.Err() == nil:
		d.w.count("lost " + op)
	case errors.Is(err, ErrLost) && !d.w.broken():
		d.w.fail("I11 answer", fmt.Sprintf("%s: %s is never answered", d.name, op), d.transcript(""))
	}
	return err
}

// say sends some messages without waiting for their answers.
func (d *device) say(times int) {
	id := d.someChat()
	for range times {
		p := protocol.MessageSendParams{ChatID: id}
		if d.rng.IntN(4) == 0 {
			p.MentionAll = true
		}
		d.send(p, d.rng.IntN(60))
	}
}

// flood sends more than waits for a reader that does not read.
func (d *device) flood() {
	id := d.someChat()
	for range 4 + d.rng.IntN(8) {
		d.send(protocol.MessageSendParams{ChatID: id}, d.rng.IntN(protocol.MaxContent-100))
	}
}

func (d *device) send(p protocol.MessageSendParams, size int) {
	w := d.w
	w.said.mu.Lock()
	p.ClientMsgID = fmt.Sprintf("%s %d", strings.ReplaceAll(d.name, " ", "-"), len(w.said.messages))
	p.Content = p.ClientMsgID + " " + strings.Repeat("x", size)
	m := &saying{user: d.person.id, params: p}
	w.said.messages[p.ClientMsgID] = m
	w.said.mu.Unlock()
	w.count(protocol.OpMessageSend)
	d.Send(p, func(res protocol.MessageSendResult, refused *protocol.Error) {
		w.said.mu.Lock()
		defer w.said.mu.Unlock()
		switch {
		case refused != nil && refused.Code == protocol.CodeNotFound:
			// Perhaps an earlier try got through, and its sender was removed then.
		case refused != nil:
			m.refused = refused
		case m.seq > 0:
			w.fail("I3 exactly once", fmt.Sprintf("%s hears twice of message %s", d.name, p.ClientMsgID), nil)
		default:
			m.seq = res.Seq
		}
		if res.Duplicate {
			w.count("sent again, was there")
		}
	})
}

// mine is a message of the device's own.
func (d *device) mine() (chat string, seq int64) {
	chat = d.someChat()
	var own []int64
	for n, m := range d.State().Chats[chat].Messages {
		if m.SenderID == d.person.id {
			own = append(own, n)
		}
	}
	if len(own) == 0 {
		return chat, 1
	}
	slices.Sort(own)
	return chat, own[d.rng.IntN(len(own))]
}

func (d *device) edit() {
	id, seq := d.mine()
	_ = d.call(protocol.OpMessageEdit, protocol.MessageEditParams{ChatID: id, Seq: seq, Content: fmt.Sprintf("better %d", d.rng.Int())}, nil)
}

func (d *device) erase() {
	id, seq := d.mine()
	_ = d.call(protocol.OpMessageDelete, protocol.MessageParams{ChatID: id, Seq: seq}, nil)
}

func (d *device) mark() {
	id, era := d.someChat(), d.w.now()
	seq := d.State().Chats[id].LastSeq
	var res protocol.ReadSetResult
	if seq == 0 || d.call(protocol.OpReadSet, protocol.ReadSetParams{ChatID: id, Seq: 1 + d.rng.Int64N(seq)}, &res) != nil {
		return
	}
	d.w.said.mu.Lock()
	defer d.w.said.mu.Unlock()
	if d.w.now() != era {
		return // history may have gone back meanwhile, and the mark with it
	}
	at := [2]string{d.person.id, id}
	d.w.said.marks[at] = max(d.w.said.marks[at], res.ReadSeq)
}

func (d *device) create() {
	if d.rng.IntN(4) == 0 {
		_ = d.call(protocol.OpChatsCreate, protocol.ChatsCreateParams{Kind: "private", UserID: d.somebody()}, nil)
		return
	}
	p := protocol.ChatsCreateParams{Kind: "group", Title: "Port", History: d.pick("all", "all", "joined"), ClientChatID: fmt.Sprint(d.rng.Int())}
	for range d.rng.IntN(len(d.w.people)) {
		if who := d.somebody(); who != d.person.id && !slices.Contains(p.UserIDs, who) {
			p.UserIDs = append(p.UserIDs, who)
		}
	}
	var made protocol.ChatsCreateResult
	if !errors.Is(d.call(protocol.OpChatsCreate, p, &made), ErrLost) {
		return
	}
	// Once more: it must not be there twice.
	_ = d.call(protocol.OpChatsCreate, p, &made)
}

func (d *device) rename() {
	p := protocol.ChatsUpdateParams{ChatID: d.someChat()}
	if d.rng.IntN(3) == 0 {
		history := d.pick("all", "joined")
		p.History = &history
	} else {
		title := fmt.Sprintf("Port %d", d.rng.IntN(1000))
		p.Title = &title
	}
	_ = d.call(protocol.OpChatsUpdate, p, nil)
}

// conflict says something else with a key that was used: I4.
func (d *device) conflict() {
	w := d.w
	w.said.mu.Lock()
	var used []*saying
	for _, m := range w.said.messages {
		if m.user == d.person.id && m.seq > 0 && !m.void && m.refused == nil && w.said.kept[m.params.ClientMsgID] > 0 {
			used = append(used, m)
		}
	}
	slices.SortFunc(used, func(a, b *saying) int { return strings.Compare(a.params.ClientMsgID, b.params.ClientMsgID) })
	if len(used) == 0 {
		w.said.mu.Unlock()
		return
	}
	p := used[d.rng.IntN(len(used))].params
	seq := w.said.kept[p.ClientMsgID]
	w.said.mu.Unlock()
	other := p
	if d.rng.IntN(2) == 0 {
		other.Content = "something else " + p.ClientMsgID
	}
	var res protocol.MessageSendResult
	err := d.call(protocol.OpMessageSend, other, &res)
	var refused *protocol.Error
	switch {
	case errors.Is(err, ErrLost):
	case errors.As(err, &refused):
		// Who is not in the chat any more is told nothing.
		if refused.Code != protocol.CodeNotFound && (refused.Code != protocol.CodeIdempotencyConflict || other.Content == p.Content) {
			w.fail("I4 conflict", fmt.Sprintf("%s: a key once more, for %.30q: %v", d.name, other.Content, refused), d.transcript(p.ChatID))
		}
	case other.Content != p.Content:
		w.fail("I4 conflict", fmt.Sprintf("%s: a key that was used, for something else, gives %+v", d.name, res), d.transcript(p.ChatID))
	case !res.Duplicate || res.Seq != seq:
		w.fail("I3 exactly once", fmt.Sprintf("%s: a retry of what got %d gives %+v", d.name, seq, res), d.transcript(p.ChatID))
	}
}

// garble sends a line that is none, and then one that is: I12.
func (d *device) garble() {
	raw, can := d.Device.(interface{ Raw(string) })
	if !can {
		return
	}
	raw.Raw(d.pick(`{"type":"Data`, `}`, `[1,2]`, `"hello"`, `{"type":"Hello"}`, "\xff\xfe", `{"type":"DataRequest","type":"Ping"}`, strings.Repeat("[", 40), strings.Repeat("x", 70<<10)))
	_ = d.call(protocol.OpUsersMe, nil, nil)
}

// leaf pages through a chat while others write: I14.
func (d *device) leaf() {
	id, era := d.someChat(), d.w.now()
	var got []int64
	var first int64
	p := protocol.MessagesListParams{ChatID: id, Limit: int64(1 + d.rng.IntN(6))}
	for {
		var page protocol.MessagesListResult
		if d.call(protocol.OpMessagesList, p, &page) != nil || d.w.now() != era {
			return // or history may have gone back meanwhile
		}
		if first == 0 {
			first = page.LastSeq
		}
		var seqs []int64
		for _, m := range page.Messages {
			seqs = append(seqs, m.Seq)
		}
		got = append(seqs, got...)
		if !page.HasMoreBefore {
			break
		}
		if len(seqs) == 0 {
			d.w.fail("I14 paging", fmt.Sprintf("%s: an empty page of chat %s says that there is more", d.name, id), d.transcript(id))
			return
		}
		p.Before = &seqs[0]
	}
	d.w.host.Settle() // what the pages show is written down
	d.w.truth.read(id, func(l *chatLog) {
		var want []int64
		s, in := l.now(d.person.id)
		if d.w.now() != era || s.from > first {
			return // or they came in again meanwhile
		}
		for i, c := range l.changes {
			switch {
			case !in || c.row != nil && i > 0 && int64(i) >= s.from || c.person != nil && c.person.UserID == d.person.id && int64(i)+1 > s.from:
				return // what may be read may have changed meanwhile
			case c.message != nil && c.message.Seq == int64(i)+1 && c.message.Seq <= first && !hidden(s, c.message.Seq, c.history):
				want = append(want, c.message.Seq)
			}
		}
		if l.last() >= first && !slices.Equal(got, want) && !slices.ContainsFunc(l.changes, func(c change) bool { return c.row != nil && c.history != l.changes[0].history }) {
			d.w.fail("I14 paging", fmt.Sprintf("%s: the pages of chat %s up to %d give %v, not %v", d.name, id, first, got, want), d.transcript(id))
		}
	})
	d.w.count("paged")
}
