package modeltest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/protocol"
)

// Reference is a client that does what docs/protocol.md#resume says, step by
// step, and nothing cleverly. It shows every chat all the time, so that all of
// them are caught up with at once.
type Reference struct {
	cfg ReferenceConfig

	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{}
	epoch   string
	cursor  *string // nil: null
	chats   map[string]*replica
	gone    map[string]int64 // chats that were left, and at which number
	unsent  []*sending       // what was never answered, in order
	conn    *refConn         // the present one, once it may be asked; nil: none
}

// ReferenceConfig is what a Reference needs, and what it leaves out.
type ReferenceConfig struct {
	Connector Connector
	Token     string
	UserID    string
	Page      int // rows of a page of changes, chats of one of sync; small ones show more
	// Unheard is told what a server must not do to a client.
	Unheard func(promise, what string)
	// Old makes it a client of before there were roles: it does not know their
	// event, and finds members and frames that it does not know.
	Old bool
	// Twice makes it apply every event and page twice.
	Twice bool
	// Without takes one of its guards out.
	Without Guard
}

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

type sending struct {
	params protocol.MessageSendParams
	done   func(protocol.MessageSendResult, *protocol.Error)
	on     *refConn // where it is on its way
}

// NewReference starts a client.
func NewReference(cfg ReferenceConfig) *Reference {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Reference{
		cfg: cfg, cancel: cancel, changed: make(chan struct{}),
		chats: map[string]*replica{}, gone: map[string]int64{},
	}
	r.ended.Go(func() { r.run(ctx) })
	return r
}

// Close ends it.
func (r *Reference) Close() {
	r.cancel()
	r.ended.Wait()
}

// run goes from one connection to the next.
func (r *Reference) run(ctx context.Context) {
	for {
		if r.cfg.Without == SubscribeFirst && !r.syncBefore(ctx) {
			if ctx.Err() != nil {
				return
			}
			continue
		}
		nc, err := r.cfg.Connector.Dial(ctx)
		if err != nil {
			return // ctx is over
		}
		newRefConn(r, nc).serve(ctx)
	}
}

// refConn is a connection of a Reference's. All but out belongs to r.mu.
type refConn struct {
	r       *Reference
	nc      net.Conn
	calls   int
	asked   []func(*protocol.Response) // nil: the answer will not come
	greeted bool
	silent  bool // only syncs, see Reference.syncBefore
	synced  bool
	heard   map[string]int64 // until then: chats that only events have told of, and up to where

	mu   sync.Mutex
	more sync.Cond
	out  []byte
	over bool
}

func newRefConn(r *Reference, nc net.Conn) *refConn {
	c := &refConn{r: r, nc: nc, heard: map[string]int64{}}
	c.more.L = &c.mu
	return c
}

// serve speaks until the connection ends.
func (c *refConn) serve(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = c.nc.Close() }) // which is all there is to do
	defer stop()
	var writer sync.WaitGroup
	writer.Go(c.write)
	c.send([]byte("\n")) // Hello, at once
	lines := newLineReader(c.nc)
	for {
		line, err := lines.next()
		if err != nil {
			break
		}
		if c.r.cfg.Old {
			line = newer(line)
			c.take([]byte(`{"type":"Weather","wind":7}`))
		}
		if !c.take(line) {
			break
		}
	}
	_ = c.nc.Close() // it has ended
	c.mu.Lock()
	c.over = true
	c.more.Signal()
	c.mu.Unlock()
	writer.Wait()

	r := c.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == c {
		r.conn = nil
	}
	for _, answered := range c.asked {
		answered(nil)
	}
	c.asked = nil
	r.pokeLocked()
}

// write writes what is to be written. A server that does not read must not keep
// the client from reading.
func (c *refConn) write() {
	for {
		c.mu.Lock()
		for len(c.out) == 0 && !c.over {
			c.more.Wait()
		}
		out, over := c.out, c.over
		c.out = nil
		c.mu.Unlock()
		if over {
			return
		}
		if _, err := c.nc.Write(out); err != nil {
			return // the reader finds that out, too
		}
	}
}

func (c *refConn) send(line []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, line...)
	c.more.Signal()
}

// ask makes a request. answered hears of it with r.mu held.
func (c *refConn) ask(op string, params any, answered func(*protocol.Response)) {
	c.calls++
	c.asked = append(c.asked, answered)
	c.send(request(c.calls, op, params))
}

// take takes a line in. It reports whether to go on.
func (c *refConn) take(line []byte) bool {
	r := c.r
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.pokeLocked()
	frame, bad := protocol.DecodeFrame(line)
	if bad != nil {
		r.cfg.Unheard("strictness", bad.Error())
		return false
	}
	switch f := frame.(type) {
	case *protocol.Hello:
		c.login(f)
	case *protocol.Response:
		c.answered(f)
	case *protocol.ErrorFrame:
		c.answered(&protocol.Response{Error: f.Error})
	case *protocol.Event:
		r.event(c, f)
	case *protocol.Request:
		c.send([]byte(`{"type":"Pong"}` + "\n"))
	case *protocol.Goodbye:
		return false
	}
	return true
}

func (c *refConn) answered(f *protocol.Response) {
	if len(c.asked) == 0 {
		return // whoever listens to the connection has said so
	}
	answered := c.asked[0]
	c.asked = c.asked[1:]
	answered(f)
}

// login is steps 1 to 3 of resuming. The epoch is the answer's: it is that of
// the server that answers.
func (c *refConn) login(*protocol.Hello) {
	if c.greeted {
		return
	}
	c.greeted = true
	subscribe := !c.silent
	c.ask(protocol.OpSessionStart, protocol.SessionStartParams{Mechanism: protocol.MechanismToken, Token: c.r.cfg.Token, Subscribe: &subscribe},
		func(f *protocol.Response) {
			var started protocol.SessionStartResult
			if !c.good(f, protocol.OpSessionStart, &started) {
				return
			}
			r := c.r
			if r.epoch != started.Epoch && r.cfg.Without != Epoch {
				r.forget()
				r.epoch = started.Epoch
			}
			if r.cfg.Without == SubscribeFirst && !c.silent {
				c.ready()
				return
			}
			c.sync()
		})
}

// good reports whether there is an answer, and reads its result.
func (c *refConn) good(f *protocol.Response, op string, result any) bool {
	if f == nil {
		return false
	}
	if f.Error == nil {
		if err := json.Unmarshal(f.Result, result); err == nil {
			return true
		}
	}
	if f.Error == nil || !f.Error.Retryable {
		c.r.cfg.Unheard("errors", fmt.Sprintf("%s was answered with %v %s", op, f.Error, f.Result))
	}
	_ = c.nc.Close() // and begin again
	return false
}

func (r *Reference) forget() {
	r.cursor = nil
	r.chats = map[string]*replica{}
	r.gone = map[string]int64{}
}

// sync is step 4.
func (c *refConn) sync() {
	r := c.r
	p := protocol.SyncParams{Cursor: protocol.Opt[string]{Set: true, Null: true}, Limit: int64(r.cfg.Page)}
	if r.cursor != nil {
		p.Cursor = protocol.Some(*r.cursor)
	}
	c.ask(protocol.OpSync, p, func(f *protocol.Response) {
		if f != nil && f.Error != nil && f.Error.Code == protocol.CodeCursorInvalid && r.cfg.Without != Epoch {
			r.forget()
			c.sync()
			return
		}
		if f != nil && f.Error != nil && f.Error.Code == protocol.CodeCursorInvalid {
			r.cursor = nil
			c.sync()
			return
		}
		var page protocol.SyncResult
		if !c.good(f, protocol.OpSync, &page) {
			return
		}
		for range r.times() {
			for _, st := range page.Chats {
				r.state(c, st)
			}
		}
		r.cursor = &page.Cursor
		if page.HasMore {
			c.sync()
			return
		}
		c.ready()
	})
}

// ready is the end of step 4, and step 6.
func (c *refConn) ready() {
	r := c.r
	c.synced = true
	for id, seq := range c.heard {
		if r.chats[id] == nil && seq > r.gone[id] {
			r.begin(id)
		}
		if ch := r.chats[id]; ch != nil {
			ch.high = max(ch.high, seq)
		}
	}
	c.heard = nil
	for _, ch := range r.chats {
		r.catchUp(c, ch) // also what was stale before this connection
	}
	if c.silent {
		return
	}
	r.conn = c
	for _, s := range r.unsent {
		r.transmit(c, s)
	}
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

// newer makes a line one of a later version of the protocol.
func newer(line []byte) []byte {
	return append([]byte(`{"mood":{"of":["the",1,null]},`), line[1:]...)
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

func (r *Reference) times() int {
	if r.cfg.Twice {
		return 2
	}
	return 1
}

// Send implements Device.
func (r *Reference) Send(p protocol.MessageSendParams, done func(protocol.MessageSendResult, *protocol.Error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &sending{params: p, done: done}
	r.unsent = append(r.unsent, s)
	if r.conn != nil {
		r.transmit(r.conn, s)
	}
}

func (r *Reference) transmit(c *refConn, s *sending) {
	if s.on == c {
		return
	}
	s.on = c
	c.ask(protocol.OpMessageSend, s.params, func(f *protocol.Response) {
		if f == nil || f.Error != nil && f.Error.Retryable {
			if f != nil {
				_ = c.nc.Close() // and try again on another
			}
			return
		}
		for i, other := range r.unsent {
			if other == s {
				r.unsent = append(r.unsent[:i:i], r.unsent[i+1:]...)
				break
			}
		}
		var res protocol.MessageSendResult
		if f.Error == nil && !c.good(f, protocol.OpMessageSend, &res) {
			return
		}
		s.done(res, f.Error)
	})
}

// Call implements Device.
func (r *Reference) Call(ctx context.Context, op string, params, result any) error {
	answer := make(chan error, 1)
	for {
		r.mu.Lock()
		c, changed := r.conn, r.changed
		if c != nil {
			c.ask(op, params, func(f *protocol.Response) {
				switch {
				case f == nil:
					answer <- ErrLost
				case f.Error != nil:
					answer <- f.Error
				case result == nil:
					answer <- nil
				default:
					answer <- json.Unmarshal(f.Result, result)
				}
			})
		}
		r.mu.Unlock()
		if c != nil {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ErrLost
		}
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ErrLost
	}
}

// Raw sends bytes as they are; how many answers they get is answered's matter.
func (r *Reference) Raw(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn != nil {
		r.conn.asked = append(r.conn.asked, func(*protocol.Response) {})
		r.conn.send([]byte(line + "\n"))
	}
}

func (r *Reference) pokeLocked() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Changed implements Device.
func (r *Reference) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// State implements Device.
func (r *Reference) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := State{Chats: map[string]View{}, Settled: r.conn != nil && len(r.unsent) == 0}
	for id, ch := range r.chats {
		v := View{LastSeq: ch.pos, ReadSeq: ch.read, Chat: ch.row, Messages: maps.Clone(ch.messages), People: map[string]protocol.Participant{}}
		for user, p := range ch.people {
			if p.LeftSeq == 0 {
				v.People[user] = p
			}
		}
		s.Chats[id] = v
		if ch.asking || ch.pos < ch.high {
			s.Settled = false
		}
	}
	return s
}

// syncBefore is what a client does that syncs first and subscribes then: on
// another connection, since each logs in once.
func (r *Reference) syncBefore(ctx context.Context) bool {
	nc, err := r.cfg.Connector.Dial(ctx)
	if err != nil {
		return false
	}
	c := newRefConn(r, nc)
	c.silent = true
	over, stop := context.WithCancel(ctx)
	defer stop()
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			r.mu.Lock()
			changed, settled := r.changed, c.synced
			for _, ch := range r.chats {
				settled = settled && !ch.asking && ch.pos >= ch.high
			}
			r.mu.Unlock()
			if settled {
				stop()
				return
			}
			select {
			case <-changed:
			case <-over.Done():
				return
			}
		}
	})
	c.serve(over)
	stop()
	watch.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return c.synced
}
