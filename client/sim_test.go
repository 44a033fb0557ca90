package client

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/protocol"
)

// world is a server of values: what docs/protocol.md says of chats and logs, and
// nothing else. Its only user with a connection is "u_1".
type world struct {
	t     tb
	epoch string
	stamp int64
	chats map[string]*room
	sent  map[string]protocol.MessageSendResult // by client_msg_id
	bad   []string                              // what a client should not have asked

	conn    *wire // the live connection, nil if none
	answers int
	page    int // rows of a page of changes; 0: as asked for
}

// room is a chat in the world.
type room struct {
	row     protocol.Chat
	last    int64
	stamp   int64 // of the latest change for u_1
	in      bool
	joined  int64
	left    int64
	read    int64
	msgs    []protocol.Message
	members map[string]protocol.Participant
}

// wire is a connection: lines that the client has yet to get.
type wire struct {
	lines      []string
	subscribed bool
}

const me = "u_1"

// tb is a test, or a run of rapid's.
type tb interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// said is the result of what answered by itself.
type said struct{}

func newWorld(t tb) *world {
	return &world{t: t, epoch: "e1", chats: map[string]*room{}, sent: map[string]protocol.MessageSendResult{}}
}

func (w *world) connect() *wire {
	w.conn = &wire{}
	w.say(protocol.Hello{Type: protocol.TypeHello, Protocol: 1, Epoch: w.epoch, Limits: protocol.Limits{MaxFrame: protocol.MaxFrame}})
	return w.conn
}

func (w *world) say(frame any) {
	line, err := protocol.AppendFrame(nil, frame)
	if err != nil {
		w.t.Fatal(err)
	}
	w.conn.lines = append(w.conn.lines, strings.TrimSuffix(string(line), "\n"))
}

// tell delivers an event of r to u_1 if it is for them.
func (w *world) tell(r *room, kind string, fill func(*protocol.Event)) {
	w.stamp++
	if r.in || r.left == r.last {
		r.stamp = w.stamp
	}
	if w.conn == nil || !w.conn.subscribed || !r.in && r.left != r.last {
		return
	}
	ev := protocol.Event{Type: protocol.TypeBroadcastResponse, Event: kind, ChatID: r.row.ChatID, Seq: r.last}
	fill(&ev)
	w.say(ev)
}

// What happens in the world.

func (w *world) create(id string, with bool) {
	r := &room{row: protocol.Chat{ChatID: id, Kind: "group", Title: id, CreatedAt: "t", UpdatedSeq: 1}, last: 1, members: map[string]protocol.Participant{}}
	w.chats[id] = r
	creator := "u_2"
	if with {
		creator, r.in, r.joined = me, true, 1
	}
	p := protocol.Participant{UserID: creator, Role: "owner", JoinedSeq: 1, UpdatedSeq: 1}
	r.members[creator] = p
	w.tell(r, protocol.EventChatCreated, func(e *protocol.Event) { e.Participant, e.Chat = &p, &r.row })
}

func (w *world) add(r *room, user string) {
	if p, ok := r.members[user]; ok && p.LeftSeq == 0 {
		return
	}
	r.last++
	p := protocol.Participant{UserID: user, Role: "member", JoinedSeq: r.last, UpdatedSeq: r.last}
	r.members[user] = p
	if user == me {
		r.in, r.joined, r.left, r.read = true, r.last, 0, r.last
	}
	w.tell(r, protocol.EventParticipantAdded, func(e *protocol.Event) { e.Participant = &p })
}

func (w *world) remove(r *room, user string) {
	p, ok := r.members[user]
	if !ok || p.LeftSeq > 0 {
		return
	}
	r.last++
	p.LeftSeq, p.UpdatedSeq = r.last, r.last
	r.members[user] = p
	if user == me {
		r.in, r.left = false, r.last
	}
	w.tell(r, protocol.EventParticipantRemoved, func(e *protocol.Event) { e.Participant = &p })
}

func (w *world) post(r *room, user, content string) protocol.Message {
	r.last++
	m := protocol.Message{ChatID: r.row.ChatID, Seq: r.last, UpdatedSeq: r.last, SenderID: user, Content: content, CreatedAt: fmt.Sprintf("t%09d", w.stamp)}
	r.msgs = append(r.msgs, m)
	w.tell(r, protocol.EventMessageCreated, func(e *protocol.Event) { e.Message = &m })
	return m
}

func (w *world) edit(r *room, i int, content string) {
	m := r.msgs[i]
	if m.Deleted {
		return
	}
	r.last++
	m.Content, m.UpdatedSeq, m.EditedAt = content, r.last, "e"
	kind := protocol.EventMessageUpdated
	if content == "" {
		m.Deleted, kind = true, protocol.EventMessageDeleted
	}
	r.msgs[i] = m
	w.tell(r, kind, func(e *protocol.Event) { e.Message = &m })
}

func (w *world) rename(r *room, title string) {
	r.last++
	r.row.Title, r.row.UpdatedSeq = title, r.last
	row := r.row
	w.tell(r, protocol.EventChatUpdated, func(e *protocol.Event) { e.Chat = &row })
}

// gap takes a number for something that u_1 is not told of.
func (w *world) gap(r *room) {
	r.last++
	w.tell(r, protocol.EventGap, func(*protocol.Event) {})
}

// unknown takes a number for something of a later version.
func (w *world) unknown(r *room) {
	r.last++
	w.tell(r, "message.starred", func(*protocol.Event) {})
}

func (w *world) state(r *room, timeline int) protocol.ChatState {
	st := protocol.ChatState{Chat: r.row, LastSeq: r.last, Membership: "joined", Role: r.members[me].Role, JoinedSeq: r.joined, ReadSeq: r.read}
	if !r.in {
		return protocol.ChatState{Chat: protocol.Chat{ChatID: r.row.ChatID}, LastSeq: r.left, Membership: "left", JoinedSeq: r.joined}
	}
	for _, m := range r.msgs {
		if m.SenderID != me && !m.Deleted && m.Seq > r.read {
			st.Unread = min(st.Unread+1, 1000)
		}
	}
	if n := len(r.msgs); n > 0 && timeline > 0 {
		st.Messages = slices.Clone(r.msgs[max(0, n-timeline):])
	}
	return st
}

// hear takes a line of the client's and answers it at once.
func (w *world) hear(line []byte) {
	req, bad := protocol.DecodeRequest(line)
	if bad != nil {
		w.bad = append(w.bad, fmt.Sprintf("%v: %s", bad, line))
		return
	}
	if req.Type == protocol.TypePong || req.Type == protocol.TypePing {
		return
	}
	result, failure := w.do(req)
	if _, ok := result.(said); ok {
		return
	}
	resp := protocol.Response{Type: req.Type.Response(), ID: req.ID, Op: req.Op, Error: failure}
	if failure == nil {
		raw, err := json.Marshal(result)
		if err != nil {
			w.t.Fatal(err)
		}
		resp.Result = raw
	}
	w.say(resp)
	w.answers++
}

func (w *world) do(req protocol.Request) (any, *protocol.Error) {
	notFound := protocol.NewError(protocol.CodeNotFound, "no such chat")
	params := func(out any) bool {
		_, bad := protocol.DecodeParams(req.Params, out)
		if bad != nil {
			w.bad = append(w.bad, fmt.Sprintf("%v: %s", bad, req.Params))
		}
		return bad == nil
	}
	switch req.Op {
	case protocol.OpSessionStart:
		var p protocol.SessionStartParams
		params(&p)
		w.conn.subscribed = true
		return protocol.SessionStartResult{User: protocol.User{UserID: me, Username: "me"}, Epoch: w.epoch, HeartbeatMS: p.HeartbeatMS}, nil
	case protocol.OpSync:
		var p protocol.SyncParams
		params(&p)
		return w.sync(p)
	case protocol.OpChangesList:
		var p protocol.ChangesListParams
		params(&p)
		r := w.chats[p.ChatID]
		if r == nil || !r.in {
			return nil, notFound
		}
		if w.page > 0 {
			p.Limit = min(p.Limit, int64(w.page))
		}
		return r.changes(p.After, int(p.Limit)), nil
	case protocol.OpChatsGet:
		var p protocol.ChatParams
		params(&p)
		r := w.chats[p.ChatID]
		if r == nil || !r.in {
			return nil, notFound
		}
		return protocol.ChatResult{Chat: w.state(r, 0)}, nil
	case protocol.OpReadSet:
		var p protocol.ReadSetParams
		params(&p)
		r := w.chats[p.ChatID]
		switch {
		case r == nil || !r.in:
			return nil, notFound
		case p.Seq > r.last:
			return nil, protocol.NewError(protocol.CodeInvalidRequest, "beyond last_seq")
		case p.Seq > r.read:
			w.stamp++
			r.read, r.stamp = p.Seq, w.stamp
			w.say(protocol.Event{Type: protocol.TypeBroadcastResponse, Event: protocol.EventRead, ChatID: p.ChatID, UserID: me, ReadSeq: r.read})
		}
		return protocol.ReadSetResult{ChatID: p.ChatID, ReadSeq: r.read}, nil
	case protocol.OpMessageSend:
		var p protocol.MessageSendParams
		params(&p)
		if was, ok := w.sent[p.ClientMsgID]; ok {
			was.Duplicate = true
			return was, nil
		}
		r := w.chats[p.ChatID]
		if r == nil || !r.in {
			return nil, notFound
		}
		if strings.HasPrefix(p.Content, "busy") && len(w.sent)%3 == 0 {
			w.sent[fmt.Sprintf("busy %d", len(w.sent))] = protocol.MessageSendResult{}
			return nil, protocol.NewError(protocol.CodeUnavailable, "not now")
		}
		// The answer stands before the event.
		seq := r.last + 1
		res := protocol.MessageSendResult{ChatID: p.ChatID, Seq: seq, CreatedAt: "t"}
		w.sent[p.ClientMsgID] = res
		held := w.conn.lines
		w.conn.lines = nil
		w.post(r, me, p.Content)
		events := w.conn.lines
		w.conn.lines = held
		defer func() { w.conn.lines = append(w.conn.lines, events...) }()
		raw, err := json.Marshal(res)
		if err != nil {
			w.t.Fatal(err)
		}
		w.say(protocol.Response{Type: req.Type.Response(), ID: req.ID, Op: req.Op, Result: raw})
		return said{}, nil
	case protocol.OpMessagesList:
		var p protocol.MessagesListParams
		params(&p)
		r := w.chats[p.ChatID]
		if r == nil || !r.in {
			return nil, notFound
		}
		return r.list(p), nil
	case protocol.OpSessionUpdate, protocol.OpTyping:
		return struct{}{}, nil
	}
	w.bad = append(w.bad, "asked "+req.Op)
	return nil, protocol.NewError(protocol.CodeUnknownOp, req.Op)
}

// sync has cursors "v1.EPOCH.DOWN.AFTER": of the first, going down below the
// stamp DOWN and then up from AFTER; of others DOWN is 0.
func (w *world) sync(p protocol.SyncParams) (any, *protocol.Error) {
	down, after := w.stamp+1, w.stamp
	if p.Cursor.Set && !p.Cursor.Null {
		parts := strings.Split(p.Cursor.Value, ".")
		if len(parts) != 4 || parts[1] != w.epoch {
			return nil, protocol.NewError(protocol.CodeCursorInvalid, "another history")
		}
		var err1, err2 error
		down, err1 = strconv.ParseInt(parts[2], 10, 64)
		after, err2 = strconv.ParseInt(parts[3], 10, 64)
		if err1 != nil || err2 != nil {
			w.t.Fatal(err1, err2)
		}
	}
	timeline := 1
	if p.TimelineLimit != nil {
		timeline = int(*p.TimelineLimit)
	}
	limit := int(p.Limit)
	if w.page > 0 {
		limit = min(limit, w.page)
	}
	var rows []*room
	for _, r := range w.chats {
		if r.stamp > 0 && (down > 0 && r.stamp < down && r.stamp <= after || down == 0 && r.stamp > after) {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b *room) int {
		if down > 0 {
			return cmp.Compare(b.stamp, a.stamp)
		}
		return cmp.Compare(a.stamp, b.stamp)
	})
	more := len(rows) > limit
	rows = rows[:min(limit, len(rows))]
	res := protocol.SyncResult{Chats: []protocol.ChatState{}, HasMore: more}
	for _, r := range rows {
		if down == 0 || r.in {
			res.Chats = append(res.Chats, w.state(r, timeline))
		}
	}
	switch {
	case more && down > 0:
		down = rows[len(rows)-1].stamp
	case down > 0:
		down, res.HasMore = 0, w.stamp > after
	case more:
		after = rows[len(rows)-1].stamp
	default:
		after = w.stamp
	}
	res.Cursor = fmt.Sprintf("v1.%s.%d.%d", w.epoch, down, after)
	return res, nil
}

func (r *room) changes(after int64, limit int) protocol.ChangesListResult {
	type row struct {
		seq int64
		m   *protocol.Message
		p   *protocol.Participant
	}
	var rows []row
	for i := range r.msgs {
		if m := r.msgs[i]; m.UpdatedSeq > after {
			rows = append(rows, row{m.UpdatedSeq, &m, nil})
		}
	}
	for _, p := range r.members {
		if p.UpdatedSeq > after {
			rows = append(rows, row{p.UpdatedSeq, nil, &p})
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.seq, b.seq) })
	res := protocol.ChangesListResult{Messages: []protocol.Message{}, Participants: []protocol.Participant{}, Next: r.last}
	if len(rows) > limit {
		rows = rows[:limit]
		res.HasMore, res.Next = true, rows[limit-1].seq
	}
	for _, x := range rows {
		if x.m != nil {
			res.Messages = append(res.Messages, *x.m)
		} else {
			res.Participants = append(res.Participants, *x.p)
		}
	}
	if u := r.row.UpdatedSeq; u > after && u <= res.Next {
		row := r.row
		res.Chat = &row
	}
	return res
}

func (r *room) list(p protocol.MessagesListParams) protocol.MessagesListResult {
	from, to := len(r.msgs)-int(p.Limit), len(r.msgs)
	at := func(seq int64) int {
		i, _ := slices.BinarySearchFunc(r.msgs, seq, func(m protocol.Message, seq int64) int { return cmp.Compare(m.Seq, seq) })
		return i
	}
	switch {
	case p.Before != nil:
		to = at(*p.Before)
		from = to - int(p.Limit)
	case p.After != nil:
		from = at(*p.After + 1)
		to = from + int(p.Limit)
	case p.Around != nil:
		from = at(*p.Around) - int(p.Limit)/2
		to = from + int(p.Limit)
	}
	from, to = max(from, 0), min(max(to, 0), len(r.msgs))
	return protocol.MessagesListResult{
		Messages:      slices.Clone(r.msgs[from:to]),
		HasMoreBefore: from > 0, HasMoreAfter: to < len(r.msgs), LastSeq: r.last,
	}
}

// clone is the world as a backup has it.
func (w *world) clone() *world {
	c := &world{t: w.t, epoch: w.epoch, stamp: w.stamp, chats: map[string]*room{}, sent: maps.Clone(w.sent), page: w.page}
	for id, r := range w.chats {
		n := *r
		n.msgs, n.members = slices.Clone(r.msgs), maps.Clone(r.members)
		c.chats[id] = &n
	}
	return c
}
