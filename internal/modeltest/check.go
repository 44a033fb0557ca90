package modeltest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// asker asks one thing after the other on a connection of its own. A tap
// listens to it like to all others.
type asker struct {
	t     *tap
	lines *lineReader
	calls int
}

func (w *World) asker(p *person, subscribe bool) (*asker, error) {
	addrs, _ := w.place()
	w.mu.Lock()
	w.askers++
	addr := addrs[w.askers%len(addrs)]
	w.mu.Unlock()
	nc, err := dial(w.ctx, addr, false)
	if err != nil {
		return nil, err
	}
	return w.askerOn(nc, p, subscribe)
}

func (w *World) askerOn(nc net.Conn, p *person, subscribe bool) (*asker, error) {
	wire := newFaultyConn(nc, -1, -1)
	t := newTap(w, "a reader", p.id, plain, wire, wire)
	w.admit(t, nc.RemoteAddr().String())
	a := &asker{t: t, lines: newLineReader(t)}
	if err := nc.SetDeadline(time.Now().Add(w.opts.Patience)); err != nil {
		return nil, err
	}
	if _, err := t.Write([]byte("\n")); err != nil {
		return nil, err
	}
	return a, a.ask(protocol.OpSessionStart, protocol.SessionStartParams{
		Mechanism: protocol.MechanismToken, Token: p.token, Subscribe: &subscribe,
	}, nil)
}

func (a *asker) close() { _ = a.t.Close() }

func (a *asker) ask(op string, params, result any) error {
	a.calls++
	if _, err := a.t.Write(request(a.calls, op, params)); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	for {
		line, err := a.lines.next()
		if err != nil {
			return fmt.Errorf("waiting for the answer to %s: %w", op, err)
		}
		frame, bad := protocol.DecodeFrame(line)
		if bad != nil {
			return bad
		}
		f, is := frame.(*protocol.Response)
		switch {
		case !is:
			continue
		case f.Error != nil:
			return f.Error
		case result != nil:
			return json.Unmarshal(f.Result, result)
		}
		return nil
	}
}

// read reads everything that somebody may read, by pages: what a new device
// would show. It also gives the cursor it ends at.
func (w *World) read(p *person) (map[string]View, string, error) {
	a, err := w.asker(p, false)
	if err != nil {
		return nil, "", err
	}
	defer a.close()
	all := map[string]View{}
	cursor := protocol.Opt[string]{Set: true, Null: true}
	for more := true; more; {
		var page protocol.SyncResult
		if err := a.ask(protocol.OpSync, protocol.SyncParams{Cursor: cursor, Limit: 3}, &page); err != nil {
			return nil, "", err
		}
		for _, st := range page.Chats {
			if delete(all, st.ChatID); st.Membership == "joined" {
				all[st.ChatID] = View{LastSeq: st.LastSeq, ReadSeq: st.ReadSeq, Chat: st.Chat}
			}
		}
		cursor, more = protocol.Some(page.Cursor), page.HasMore
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		v := all[id]
		if v.Messages, err = a.messages(w, id); err != nil {
			return nil, "", err
		}
		if v.People, err = a.participants(id); err != nil {
			return nil, "", err
		}
		all[id] = v
	}
	return all, cursor.Value, nil
}

func (a *asker) messages(w *World, id string) (map[int64]protocol.Message, error) {
	all := map[int64]protocol.Message{}
	for after, more := int64(0), true; more; {
		var page protocol.MessagesListResult
		if err := a.ask(protocol.OpMessagesList, protocol.MessagesListParams{ChatID: id, After: &after, Limit: 40}, &page); err != nil {
			return nil, err
		}
		for _, m := range page.Messages {
			if m.Seq <= after {
				w.fail("I14 paging", fmt.Sprintf("message %d of chat %s on the page after %d", m.Seq, id, after), a.t.log)
			}
			all[m.Seq], after = m, m.Seq
		}
		if more = page.HasMoreAfter; more && len(page.Messages) == 0 {
			w.fail("I14 paging", fmt.Sprintf("an empty page of chat %s after %d says that there is more", id, after), a.t.log)
			return all, nil
		}
	}
	return all, nil
}

func (a *asker) participants(id string) (map[string]protocol.Participant, error) {
	all := map[string]protocol.Participant{}
	p := protocol.ParticipantsListParams{ChatID: id, Limit: 2}
	for more := true; more; {
		var page protocol.ParticipantsListResult
		if err := a.ask(protocol.OpParticipantsList, p, &page); err != nil {
			return nil, err
		}
		for _, m := range page.Participants {
			m.Username, m.Name, m.ReadSeq = "", "", 0
			all[m.UserID] = m
		}
		p.Cursor, more = &page.Cursor, page.HasMore
	}
	return all, nil
}

// wrong is a difference between what is and what should be.
type wrong struct {
	promise, what string
	transcript    []string
	late          func() bool // something was written meanwhile
}

// settled waits until every device has everything, and compares: live with what
// it has got, else after it came back once more.
func (w *World) settled(live bool, deadline <-chan time.Time) *wrong {
	for _, d := range w.devices {
		if !live {
			d.renewed = d.outlet.drop(w)
		}
	}
	for _, d := range w.devices {
		d.back()
		if !w.await(d, func() string {
			if !d.State().Settled || d.outlet.connected() <= d.renewed {
				return "it has something to ask or to say"
			}
			return ""
		}, deadline) {
			return nil
		}
	}
	commits, _ := w.truth.wait()
	full := map[*person]map[string]View{}
	for _, p := range w.people {
		var err error
		if full[p], _, err = w.read(p); err != nil {
			return &wrong{promise: "I7 no loss over reconnect", what: fmt.Sprintf("a full read by %s: %v", p.name, err), late: func() bool { return false }}
		}
	}
	late := func() bool {
		if w.inProcess {
			now, _ := w.truth.wait()
			return now != commits
		}
		for _, p := range w.people {
			again, _, err := w.read(p)
			if err == nil && !reflect.DeepEqual(again, full[p]) {
				return true
			}
		}
		return false
	}
	for _, p := range w.people {
		if !w.inProcess {
			continue
		}
		if what := differ(full[p], w.truth.views(p.id), ignoring{read: true}); what != "" {
			return &wrong{promise: "I1 durable ack", what: fmt.Sprintf("a full read by %s is not what was committed: %s", p.name, what), late: late}
		}
	}
	for _, d := range w.devices {
		// What is written late arrives, too; it is found out by comparing.
		if !w.await(d, func() string {
			what := d.missing(full[d.person])
			if what != "" && late() {
				return ""
			}
			return what
		}, deadline) {
			return nil
		}
		// Read marks are told by events that may be lost; a sync tells them all.
		if what := differ(d.State().Chats, full[d.person], ignoring{roles: d.old, read: live}); what != "" {
			return &wrong{promise: "I7 no loss over reconnect", what: fmt.Sprintf("%s does not hold what a full read gives: %s", d.name, what), transcript: d.transcript(what), late: late}
		}
	}
	if what := w.kept(full); what != "" {
		return &wrong{promise: "I3 exactly once", what: what, late: late}
	}
	w.host.Settle() // of several servers' commits, one may be known before another below it
	if what := w.truth.wrong(commits); what != "" {
		return &wrong{promise: "I2 contiguous", what: what, late: func() bool { return false }}
	}
	return nil
}

// ignoring says what does not count.
type ignoring struct{ read, roles bool }

// differ says in what two views of everything differ.
func differ(have, want map[string]View, i ignoring) string {
	for _, id := range slices.Sorted(maps.Keys(want)) {
		h, there := have[id]
		if !there {
			return fmt.Sprintf("chat %s is missing", id)
		}
		if what := h.differs(want[id], i); what != "" {
			return fmt.Sprintf("chat %s: %s", id, what)
		}
	}
	for id := range have {
		if _, there := want[id]; !there {
			return fmt.Sprintf("chat %s should not be there", id)
		}
	}
	return ""
}

func (v View) differs(want View, i ignoring) string {
	var why []string
	if v.LastSeq != want.LastSeq {
		why = append(why, fmt.Sprintf("it is at %d, not at %d", v.LastSeq, want.LastSeq))
	}
	if !i.read && v.ReadSeq != want.ReadSeq {
		why = append(why, fmt.Sprintf("it is read up to %d, not %d", v.ReadSeq, want.ReadSeq))
	}
	if d := rowDiffers("row", &want.Chat, &v.Chat); d != "" {
		why = append(why, d)
	}
	messages, have, people := want.Messages, v.People, want.People
	if v.From > 0 {
		messages, people = maps.Clone(messages), maps.Clone(people)
		maps.DeleteFunc(messages, func(seq int64, m protocol.Message) bool {
			_, has := v.Messages[seq]
			return m.UpdatedSeq <= v.From && !has
		})
		maps.DeleteFunc(people, func(id string, p protocol.Participant) bool {
			_, has := have[id]
			return p.UpdatedSeq <= v.From && !has
		})
	}
	why = append(why, rowsDiffer("message", v.Messages, messages)...)
	if i.roles {
		have, people = withoutRoles(have), withoutRoles(people)
	}
	why = append(why, rowsDiffer("participant", have, people)...)
	if len(why) > 3 {
		why = append(why[:3], fmt.Sprintf("and %d more", len(why)-3))
	}
	return strings.Join(why, "; ")
}

func withoutRoles(people map[string]protocol.Participant) map[string]protocol.Participant {
	out := map[string]protocol.Participant{}
	for id, p := range people {
		p.Role, p.UpdatedSeq = "", 0
		out[id] = p
	}
	return out
}

func rowsDiffer[K interface{ ~int64 | ~string }, V any](name string, have, want map[K]V) (why []string) {
	for _, k := range slices.Sorted(maps.Keys(want)) {
		h, there := have[k]
		w := want[k]
		if !there {
			why = append(why, fmt.Sprintf("%s %v is missing", name, k))
		} else if d := rowDiffers(name, &w, &h); d != "" {
			why = append(why, fmt.Sprintf("%s %v: %s", name, k, d))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(have)) {
		if _, there := want[k]; !there {
			why = append(why, fmt.Sprintf("%s %v should not be there", name, k))
		}
	}
	return why
}

// kept says which promise to a sender was not kept: what was answered is there,
// once, with that number, and what was refused is not.
func (w *World) kept(full map[*person]map[string]View) string {
	type place struct {
		chat string
		seq  int64
	}
	born := map[string][]place{} // by what was said first
	seen := map[place]bool{}
	note := func(id string, m protocol.Message) {
		at := place{id, m.Seq}
		if !seen[at] {
			seen[at] = true
			born[m.Content] = append(born[m.Content], at)
		}
	}
	if w.inProcess {
		w.truth.mu.Lock()
		for id, l := range w.truth.chats {
			for i, c := range l.changes {
				if c.message != nil && c.message.Seq == int64(i)+1 {
					note(id, *c.message)
				}
			}
		}
		w.truth.mu.Unlock()
	} else {
		for _, views := range full {
			for id, v := range views {
				for _, m := range v.Messages {
					if m.EditedAt == "" && !m.Deleted {
						note(id, m)
					}
				}
			}
		}
	}
	w.said.mu.Lock()
	defer w.said.mu.Unlock()
	for key, m := range w.said.messages {
		at := born[m.params.Content]
		switch {
		case m.refused != nil && len(at) > 0:
			return fmt.Sprintf("message %s was refused (%v), and is number %d of chat %s", key, m.refused, at[0].seq, at[0].chat)
		case len(at) > 1:
			return fmt.Sprintf("message %s is there %d times: %v", key, len(at), at)
		case len(at) == 1 && m.seq > 0 && !m.void && at[0] != (place{m.params.ChatID, m.seq}):
			return fmt.Sprintf("message %s was answered with %d in %s, and is number %d of %s", key, m.seq, m.params.ChatID, at[0].seq, at[0].chat)
		case len(at) == 0 && m.seq > 0 && !m.void && w.inProcess:
			return fmt.Sprintf("message %s was answered with %d in %s, and is lost", key, m.seq, m.params.ChatID)
		}
	}
	if !w.inProcess {
		if what := w.durable(full); what != "" {
			return what
		}
	}
	for at, seq := range w.said.marks {
		for p, views := range full {
			v, in := views[at[1]]
			if p.id == at[0] && in && v.ReadSeq < seq {
				return fmt.Sprintf("%s was answered that %s is read up to %d, and it is %d", p.name, at[1], seq, v.ReadSeq)
			}
		}
	}
	return ""
}

// durable says what was answered, or seen live, and is not there: where only the
// server knows what was committed. The caller holds said.mu.
func (w *World) durable(full map[*person]map[string]View) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, views := range full {
		for id, v := range views {
			if last := w.seen[id].last; last > v.LastSeq {
				return fmt.Sprintf("chat %s was seen at %d, and is at %d", id, last, v.LastSeq)
			}
			for seq, m := range w.seen[id].messages {
				have, there := v.Messages[seq]
				switch {
				case !there && v.Chat.History == string(chat.HistoryAll):
					return fmt.Sprintf("message %d of chat %s was seen live, and is lost", seq, id)
				case there && (have.UpdatedSeq < m.UpdatedSeq || have.UpdatedSeq == m.UpdatedSeq && !reflect.DeepEqual(have, m)):
					return fmt.Sprintf("message %d of chat %s was seen live as %+v, and is %+v", seq, id, m, have)
				}
			}
			for key, m := range w.said.messages {
				have, there := v.Messages[m.seq]
				switch {
				case m.params.ChatID != id || m.seq == 0:
				case !there && v.Chat.History == string(chat.HistoryAll):
					return fmt.Sprintf("message %s was answered with %d in %s, and is lost", key, m.seq, id)
				case there && (have.SenderID != m.user || have.Content != m.params.Content && have.EditedAt == "" && !have.Deleted):
					return fmt.Sprintf("message %s was answered with %d in %s, where is %+v", key, m.seq, id, have)
				}
			}
		}
	}
	return ""
}

// epilogue looks at what only a quiet server shows: I15, that sync brings what
// changed and nothing else.
func (w *World) epilogue() {
	if w.broken() {
		return
	}
	p := w.people[0]
	err := w.cost(p)
	if err != nil && !w.broken() && !errors.Is(err, context.Canceled) {
		w.fail("I15 cost", err.Error(), nil)
	}
}

func (w *World) cost(p *person) error {
	full, cursor, err := w.read(p)
	if err != nil {
		return err
	}
	a, err := w.asker(p, false)
	if err != nil {
		return err
	}
	defer a.close()
	commits, _ := w.truth.wait()
	var page protocol.SyncResult
	if err := a.ask(protocol.OpSync, protocol.SyncParams{Cursor: protocol.Some(cursor)}, &page); err != nil {
		return err
	}
	if len(page.Chats) != 0 {
		w.count("a sync after silence that brought something")
	}
	if len(full) == 0 {
		return nil
	}
	id := slices.Sorted(maps.Keys(full))[0]
	var sent protocol.MessageSendResult
	if err := a.ask(protocol.OpMessageSend, protocol.MessageSendParams{ChatID: id, Content: "and one more"}, &sent); err != nil {
		return err
	}
	from := page.Cursor
	if err := a.ask(protocol.OpSync, protocol.SyncParams{Cursor: protocol.Some(from)}, &page); err != nil {
		return err
	}
	w.host.Settle()
	now, _ := w.truth.wait()
	if len(page.Chats) == 1 && page.Chats[0].ChatID == id || w.inProcess && now != commits+1 {
		return nil // or something else was written late
	}
	return fmt.Errorf("after one message in %s, sync brings %d chats", id, len(page.Chats))
}
