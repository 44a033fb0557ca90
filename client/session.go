package client

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/protocol"
)

// Session is what a client knows and does, without goroutines, network or
// clock: lines of a server go in, lines to it and events come out, and the time
// is what it is told. It outlives connections. It is not safe for concurrent
// use. [Client] drives one; a program with an event loop of its own can do
// without a Client.
//
//	s.Connected(now)             // a connection is there
//	err := s.Line(now, line)     // it said something; an error: close it, and call Lost
//	out = s.Output(out[:0])      // what is to be written to it
//	events := s.Take(max)        // what to tell
//	answers := s.Answers()       // to what was asked with Ask
//	s.Tick(now), s.Deadline()    // when there is something to do without a line
//	s.Lost(now, err)             // it is gone; s.Connection().Retry says when to try again
type Session struct {
	cfg    Config
	jitter func(time.Duration) time.Duration // a random part of it

	// What is known, over connections.
	user     protocol.User
	epoch    string
	cursor   string
	complete bool // the first sync came to its end
	chats    map[string]*entry
	boxes    map[string]*box  // the outbox, by chat
	items    map[string]*item // the same, by ID, and failed ones
	ordinal  uint64           // of the item queued last
	focus    []string
	focused  bool // focus was said
	idle     bool // nobody looks at this client
	typed    map[string]time.Time

	// What the application has yet to take.
	queue    queue
	reserved int // places in it for the pages that were asked for
	answers  []Answer
	settled  []Item
	work     []*entry        // those with something to ask or to tell
	removals map[string]bool // ChatRemoved is due for these, when there is room

	// The connection.
	link     Connection
	stopped  error // why there will be no other
	failures int   // connections in a row that came to nothing
	hello    protocol.Hello
	up       bool // there is one
	ready    bool // and it is logged in
	gen      int  // counts resets: answers to what was asked before one are void
	lastID   uint64
	taking   uint64 // the request whose answer is being taken, or was last
	asks     map[uint64]*ask
	oldest   []*ask // those asked, in order; answered ones may be among them
	out      []byte
	began    time.Time // Connected
	heard    time.Time // the last line
	spoke    time.Time // our last line
	beat     time.Duration
	waits    waits
	sync     syncing
	left     map[string]int64 // chats that were left on this connection, and at which seq
	unasked  error            // what the session itself could not ask
	wentBack bool             // a chat's last_seq was seen to go back
}

// waits is what the server said about coming back.
type waits struct {
	least time.Duration
	exact bool // no more than that, the first time
}

// ask is a request that was not answered yet.
type ask struct {
	id     uint64
	op     string
	at     time.Time
	done   bool
	answer func(now time.Time, result jsontext.Value, err *protocol.Error) error // nil: for Answers
}

const (
	// answerTime is how long an answer may take. The server bounds a request
	// at 30 s.
	answerTime = 90 * time.Second
	// longestWait bounds what a server may ask for.
	longestWait = time.Hour
	// steady is how long a connection has to last to count as a good one.
	steady = 30 * time.Second
	// maxChats bounds what a server may make a client keep.
	maxChats = 200_000
)

// NewSession makes a session that goes on from state. Of cfg it uses what does
// not need a network.
func NewSession(cfg Config, state State) *Session {
	s := &Session{
		cfg:    cfg.withDefaults(),
		jitter: func(d time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(d) + 1)) },
		user:   protocol.User{UserID: state.UserID}, epoch: state.Epoch, cursor: state.Cursor, complete: state.Complete,
		chats: map[string]*entry{}, boxes: map[string]*box{}, items: map[string]*item{},
		typed: map[string]time.Time{}, removals: map[string]bool{}, asks: map[uint64]*ask{},
		link: Connection{Link: Offline},
	}
	if state.Cursor == "" && len(state.Chats) > 0 {
		// The first page was not kept whole. A sync from the beginning does not
		// tell which of its chats were left since.
		s.reset(state.Epoch)
	} else {
		for _, c := range state.Chats {
			s.chats[c.ChatID] = s.restored(c)
		}
	}
	for _, it := range state.Outbox {
		s.restore(it)
	}
	return s
}

// Connection is how the connection stands.
func (s *Session) Connection() Connection { return s.link }

// Stopped is why there shall be no other connection, or nil.
func (s *Session) Stopped() error { return s.stopped }

// Self is who is logged in; before that, who the state belongs to.
func (s *Session) Self() protocol.User { return s.user }

// Dialing says that a connection is being made.
func (s *Session) Dialing() { s.setLink(Connection{Link: Connecting}) }

// Connected begins a connection. Output then has the login.
func (s *Session) Connected(now time.Time) {
	s.Dialing()
	s.up, s.began, s.heard, s.spoke = true, now, now, now
	s.hello, s.beat, s.waits, s.wentBack, s.unasked = protocol.Hello{}, s.cfg.Heartbeat, waits{}, false, nil
	s.left = map[string]int64{}
	s.work = nil
	for _, e := range s.chats {
		e.connected()
		if s.waiting(e) {
			s.todo(e)
		}
	}
	params := protocol.SessionStartParams{
		Mechanism: protocol.MechanismToken, Token: s.cfg.Token,
		Device: s.cfg.Device, Client: s.cfg.Agent, HeartbeatMS: s.cfg.Heartbeat.Milliseconds(),
	}
	if s.cfg.Calls {
		no := false
		params.Subscribe = &no
	}
	s.ask(now, protocol.OpSessionStart, params, s.started)
}

// started takes the answer to session.start.
func (s *Session) started(now time.Time, result jsontext.Value, failure *protocol.Error) error {
	if failure != nil {
		if failure.Retryable {
			s.waits.least = time.Duration(min(failure.RetryAfterMS, longestWait.Milliseconds())) * time.Millisecond
			return failure
		}
		if failure.Code == protocol.CodeUnsupportedVersion {
			return fmt.Errorf("%w: %w", ErrVersion, failure)
		}
		return &LoginError{failure}
	}
	var r protocol.SessionStartResult
	if err := decode(result, &r); err != nil {
		return err
	}
	switch {
	case r.User.UserID == "":
		return broke("session.start was answered without a user")
	case s.user.UserID != "" && s.user.UserID != r.User.UserID:
		return ErrOtherUser
	}
	s.user, s.ready = r.User, true
	s.beat = time.Duration(max(0, min(r.HeartbeatMS, longestWait.Milliseconds()))) * time.Millisecond
	if s.epoch != "" && s.epoch != r.Epoch {
		s.reset(r.Epoch)
	}
	s.epoch = r.Epoch
	if s.focused || s.idle {
		s.tellFocus(now)
	}
	if s.cfg.Calls {
		s.setLink(Connection{Link: Online})
		return nil
	}
	s.setLink(Connection{Link: Syncing})
	s.sync = syncing{due: true, first: true}
	return nil
}

// Line takes a line that the server said, without its end. After an error the
// connection is of no use: a [*GoodbyeError], a [*LoginError], a
// [*ServerError], ErrOtherUser, ErrVersion, or a *protocol.Error of a login that
// may pass later.
func (s *Session) Line(now time.Time, line []byte) error {
	frame, bad := protocol.DecodeFrame(line)
	if bad != nil {
		return broke("a line that is none: %v", bad)
	}
	s.heard = now
	if err := s.frame(now, frame); err != nil {
		return err
	}
	return s.pump(now)
}

func (s *Session) frame(now time.Time, frame any) error {
	switch f := frame.(type) {
	case *protocol.Hello:
		s.hello = *f
		if f.Protocol != protocol.Version {
			return fmt.Errorf("%w: %w", ErrVersion, protocol.NewError(protocol.CodeUnsupportedVersion,
				fmt.Sprintf("the server speaks version %d of the protocol, and this client %d", f.Protocol, protocol.Version)))
		}
	case *protocol.Request:
		// Only a Ping comes so.
		s.write(now, protocol.Response{Type: protocol.TypePong, ID: f.ID})
	case *protocol.Response:
		if f.Type == protocol.TypePong {
			return nil
		}
		return s.answered(now, f)
	case *protocol.ErrorFrame:
		// It answers a line of ours that was no request to the server. With an
		// id it is that of an operation; without, nobody can tell.
		if f.ID == nil {
			return broke("it could not read a line of ours: %v", f.Error)
		}
		return s.answered(now, &protocol.Response{ID: f.ID, Error: f.Error})
	case *protocol.Goodbye:
		s.waits = waits{least: time.Duration(max(0, min(f.ReconnectAfterMS, longestWait.Milliseconds()))) * time.Millisecond, exact: f.ReconnectAfterMS > 0}
		return &GoodbyeError{*f}
	case *protocol.Event:
		if s.ready && !s.cfg.Calls {
			return s.event(now, f)
		}
	}
	return nil
}

func (s *Session) answered(now time.Time, r *protocol.Response) error {
	var id uint64
	if err := json.Unmarshal(r.ID, &id); err != nil {
		return broke("an answer to something that was not asked")
	}
	a := s.asks[id]
	if a == nil || r.Op != "" && r.Op != a.op {
		return broke("an answer to something that was not asked")
	}
	delete(s.asks, id)
	a.done = true
	for len(s.oldest) > 0 && s.oldest[0].done {
		s.oldest = s.oldest[1:]
	}
	if r.Error != nil && r.Error.RetryAfterMS < 0 {
		r.Error.RetryAfterMS = 0
	}
	if a.answer != nil {
		s.taking = id
		return a.answer(now, r.Result, r.Error)
	}
	ans := Answer{Ask: id, Result: r.Result}
	if r.Error != nil {
		ans.Err = r.Error
	}
	s.answers = append(s.answers, ans)
	return nil
}

// Progress says that a good part of a long line has come: the server is alive,
// and has yet to answer what is behind it.
func (s *Session) Progress(now time.Time) {
	s.heard = now
	for _, a := range s.oldest {
		a.at = now
	}
}

// Tick does what is due at now. Errors as of Line, or that nothing was heard for
// too long.
func (s *Session) Tick(now time.Time) error {
	if !s.up {
		return nil
	}
	switch d := s.silence(); {
	case !s.ready && !now.Before(s.began.Add(s.cfg.DialTimeout)):
		return errors.New("the server did not answer the login in time")
	case !now.Before(s.heard.Add(d)):
		return fmt.Errorf("nothing was heard of the server for %v", d)
	case len(s.oldest) > 0 && !now.Before(s.oldest[0].at.Add(answerTime)):
		return broke("no answer to %s within %v", s.oldest[0].op, answerTime)
	}
	if s.ready && s.beat <= 0 && !now.Before(s.spoke.Add(s.cfg.Heartbeat)) {
		s.write(now, protocol.Request{Type: protocol.TypePing})
	}
	return s.pump(now)
}

// silence is after how much of it a connection is given up.
func (s *Session) silence() time.Duration {
	if s.beat > 0 {
		return s.beat * 5 / 2
	}
	return s.cfg.Heartbeat * 5 / 2
}

// Deadline is when Tick is due next; zero: never.
func (s *Session) Deadline() time.Time {
	if !s.up {
		return time.Time{}
	}
	next := s.heard.Add(s.silence())
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	if !s.ready {
		earlier(s.began.Add(s.cfg.DialTimeout))
		return next
	}
	if len(s.oldest) > 0 {
		earlier(s.oldest[0].at.Add(answerTime))
	}
	if s.beat <= 0 {
		earlier(s.spoke.Add(s.cfg.Heartbeat))
	}
	for _, b := range s.boxes {
		if b.trying == nil && len(b.items) > 0 {
			earlier(b.notBefore)
		}
	}
	for _, e := range s.work {
		earlier(e.notBefore)
	}
	if s.sync.due || s.sync.heard {
		earlier(s.sync.notBefore)
	}
	return next
}

// Output appends the lines that are to be written and forgets them.
func (s *Session) Output(dst []byte) []byte {
	dst = append(dst, s.out...)
	if cap(s.out) > 64<<10 {
		s.out = nil
	}
	s.out = s.out[:0]
	return dst
}

// Take takes at most max events from those that wait, in order. Room made by it
// is used at the next Tick.
func (s *Session) Take(max int) []Event { return s.queue.take(max) }

// Waiting is how many events Take would give.
func (s *Session) Waiting() int { return s.queue.len() }

// Ask asks an operation on this connection and returns the number that its
// Answer will have. An error is ErrOffline, or a *protocol.Error when the
// request is too large.
func (s *Session) Ask(now time.Time, op string, params jsontext.Value) (uint64, error) {
	if !s.ready {
		return 0, ErrOffline
	}
	return s.request(now, &ask{op: op}, params)
}

// Answer is the answer to an Ask: Result, or Err, a *protocol.Error or
// ErrUnknownOutcome when the connection was lost before it came.
type Answer struct {
	Ask    uint64
	Result jsontext.Value
	Err    error
}

// Answers takes the answers that came.
func (s *Session) Answers() []Answer {
	a := s.answers
	s.answers = nil
	return a
}

// ask asks something for the session itself. The params are a struct of ours,
// which always encodes, and small.
func (s *Session) ask(now time.Time, op string, params any, answer func(time.Time, jsontext.Value, *protocol.Error) error) *ask {
	a := &ask{op: op, answer: answer}
	if _, err := s.request(now, a, params); err != nil {
		s.unasked = broke("%s cannot be asked: %v", op, err)
	}
	return a
}

func (s *Session) request(now time.Time, a *ask, params any) (uint64, error) {
	raw, ok := params.(jsontext.Value)
	if !ok {
		var err error
		if raw, err = json.Marshal(params); err != nil {
			return 0, protocol.NewError(protocol.CodeInvalidUTF8, err.Error())
		}
	}
	id := s.lastID + 1
	line, err := protocol.AppendFrame(nil, protocol.Request{Type: frameOf(a.op), ID: fmt.Appendf(nil, "%d", id), Op: a.op, Params: raw})
	if err != nil {
		return 0, protocol.NewError(protocol.CodeInvalidRequest, err.Error())
	}
	if most := s.maxFrame(); len(line)-1 > most {
		return 0, protocol.NewError(protocol.CodeFrameTooLarge, fmt.Sprintf("the request has %d bytes, and the server takes %d", len(line)-1, most))
	}
	s.lastID = id
	a.id, a.at = id, now
	s.asks[id] = a
	s.oldest = append(s.oldest, a)
	s.out, s.spoke = append(s.out, line...), now
	return id, nil
}

func (s *Session) maxFrame() int {
	if n := s.hello.Limits.MaxFrame; n > 0 {
		return n
	}
	return protocol.MaxFrame
}

// frameOf is the frame that an operation goes in (docs/protocol.md#operations).
func frameOf(op string) protocol.Type {
	switch prefix(op) {
	case "session":
		return protocol.TypeSessionRequest
	case "message", "reaction", "typing":
		return protocol.TypeBroadcastRequest
	}
	return protocol.TypeDataRequest
}

// write writes a frame that is no request with an answer of its own.
func (s *Session) write(now time.Time, frame any) {
	out, err := protocol.AppendFrame(s.out, frame)
	if err != nil {
		return // the id of a Ping that cannot be repeated; the server will miss it
	}
	s.out, s.spoke = out, now
}

func (s *Session) setLink(c Connection) {
	if c.Err != nil {
		c.Error = c.Err.Error()
	}
	s.link = c
	s.queue.only(Event{Kind: ConnectionChanged, Connection: &c})
}

// broke is a *ServerError.
func broke(format string, args ...any) error {
	return &ServerError{fmt.Sprintf(format, args...)}
}

// decode reads a result.
func decode(result jsontext.Value, out any) error {
	if err := json.Unmarshal(result, out); err != nil {
		return broke("a result of the wrong shape: %v", err)
	}
	return nil
}
