package stream

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/queue"
	"github.com/grima-chat/grima/internal/websocket"
	"github.com/grima-chat/grima/protocol"
)

// Events makes a connection that of an HTTP client which only listens
// (docs/protocol.md#events-over-http): Actor hears what a connection of theirs
// would hear that logs in, syncs, and then says nothing. What it sends is not
// looked at.
type Events struct {
	Actor chat.Actor
	// Cursor is where the sync begins. Absent: there is nothing to catch up on.
	Cursor  protocol.Opt[string]
	SSE     bool // server-sent events; else bare lines
	Chunked bool // in HTTP/1.1's chunks; else up to the end of the connection
}

// wrap appends a line.
func (e *Events) wrap(dst, line []byte) []byte { return e.event(dst, "", line) }

// event appends a line, as an event with a field of its own in front if it is
// a server-sent one.
func (e *Events) event(dst []byte, field string, line []byte) []byte {
	if !e.SSE {
		return e.chunk(dst, line)
	}
	return e.chunk(dst, []byte(field), []byte("data: "), line, []byte("\n"))
}

// chunk appends parts as one chunk.
func (e *Events) chunk(dst []byte, parts ...[]byte) []byte {
	if e.Chunked {
		n := 0
		for _, p := range parts {
			n += len(p)
		}
		dst = fmt.Appendf(dst, "%x\r\n", n)
	}
	for _, p := range parts {
		dst = append(dst, p...)
	}
	if e.Chunked {
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// The forms of lines. Whatever Events else says does not change how they look.
var (
	bareLines = &form{wire: hub.Lines}
	messages  = newForm(websocket.AppendText)
	streams   = map[[2]bool]*form{ // by SSE and Chunked
		{false, false}: bareLines,
		{false, true}:  newForm((&Events{Chunked: true}).wrap),
		{true, false}:  newForm((&Events{SSE: true}).wrap),
		{true, true}:   newForm((&Events{SSE: true, Chunked: true}).wrap),
	}
)

func newForm(wrap func(dst, line []byte) []byte) *form {
	return &form{wire: hub.NewWire(wrap), wrap: wrap}
}

func formOf(p Peer) *form {
	switch {
	case p.WebSocket:
		return messages
	case p.Events != nil:
		return streams[[2]bool{p.Events.SSE, p.Events.Chunked}]
	}
	return bareLines
}

// beat is what is ignored by who reads it.
func (e *Events) beat() []byte {
	if e.SSE {
		return e.chunk(nil, []byte(":\n\n"))
	}
	return e.chunk(nil, []byte("\n"))
}

// synced is the line of an answer to sync. Its cursor is what a browser's
// EventSource comes back with.
func (e *Events) synced(line []byte, cursor string) []byte {
	if cursor == "" {
		return e.wrap(nil, line)
	}
	return e.event(nil, "id: "+cursor+"\n", line)
}

// last is the Goodbye and the end of the answer.
func (e *Events) last(bye *protocol.Goodbye) []byte {
	field := ""
	if bye.ReconnectAfterMS > 0 {
		field = fmt.Sprintf("retry: %d\n", bye.ReconnectAfterMS)
	}
	b := e.event(nil, field, encode(bye))
	if e.Chunked {
		b = append(b, "0\r\n\r\n"...)
	}
	return b
}

// The sync pages of who only listens.
const (
	syncLimit    = 100
	syncTimeline = 1 // newest messages of each chat, at first; later they came as events
)

// listen subscribes, and tells what the client missed. It is carried out apart.
func (c *conn) listen() {
	e := c.listener
	// Subscribing before reading: what happens meanwhile comes twice rather
	// than never.
	if _, err := c.login(chat.Login{Actor: e.Actor}, protocol.SessionStartParams{}); err != nil {
		c.giveUp(c.srv.cfg.API.Error(protocol.OpSessionStart, err))
		return
	}
	if e.Cursor.Set {
		c.listener.cursor = c.sync(e.Cursor, syncTimeline)
	} else {
		c.listener.cursor = c.syncNow()
	}
	c.setLimit(c.srv.cfg.EventsBeat)
}

// listening is a turn of a client that only listens.
func (c *conn) listening() (queue.Verdict, error) {
	if !c.loggedIn.Load() {
		c.joined = false
		c.apart(false, func(bool) { c.listen() })
		return queue.Wait, nil
	}
	if !c.out.mayRead() {
		return queue.Wait, nil
	}
	var ignored [512]byte
	for range maxTurn {
		_, err := (input{c}).Read(ignored[:]) // nothing is due, but its end
		switch {
		case err == errNotNow:
			if c.late() {
				c.beat()
			}
			if c.busy.Load() {
				return queue.Wait, nil
			}
			if c.out.to.full() {
				return queue.Again, nil
			}
			return queue.Park, nil
		case err != nil:
			return queue.Done, err
		}
	}
	return queue.Again, nil
}

// beat lets a client that only listens hear something.
func (c *conn) beat() {
	// What was heard is news to the cursor too. The page that brings the
	// new one says where each of those chats stands, so a reader who was
	// told all of it finds nothing to do.
	if c.listener.heard.Swap(false) {
		c.apart(false, func(bool) {
			c.listener.cursor = c.sync(protocol.Some(c.listener.cursor), 0)
			c.setLimit(c.srv.cfg.EventsBeat)
		})
		return
	}
	every := c.srv.cfg.EventsBeat
	if quiet := time.Duration(now() - c.out.idleSince()); quiet < every {
		c.setLimit(every - quiet) // a notice was heard
		return
	}
	c.out.putBare(c.listener.beat())
	c.setLimit(every)
}

// sync tells what changed since a cursor, a page at a time, and gives the
// cursor behind it all. If that fails the connection ends, and there is none.
func (c *conn) sync(since protocol.Opt[string], timeline int64) (cursor string) {
	for {
		params, err := json.Marshal(protocol.SyncParams{Cursor: since, Limit: syncLimit, TimelineLimit: &timeline})
		if err != nil {
			c.giveUp(c.srv.cfg.API.Error(protocol.OpSync, err))
			return ""
		}
		c.out.waitRoom()
		if bye, failed := c.ending(); bye != nil || failed != nil {
			return ""
		}
		n := c.out.begin()
		r := c.do(protocol.Request{Type: protocol.TypeDataRequest, Op: protocol.OpSync, Params: params})
		var page struct {
			Cursor  string `json:"cursor"`
			HasMore bool   `json:"has_more"`
		}
		if r.Error == nil {
			if err := json.Unmarshal(r.Result, &page); err != nil {
				r.Result, r.Error = nil, c.srv.cfg.API.Error(protocol.OpSync, err)
			}
		}
		c.out.answerBare(n, c.listener.synced(encode(&r), page.Cursor))
		c.out.flush()
		if r.Error != nil {
			c.sendAway(protocol.GoodbyeInternal, "what you missed could not be read; come back")
			return ""
		}
		if !page.HasMore {
			return page.Cursor
		}
		since = protocol.Some(page.Cursor)
	}
}

// syncNow says where the client stands that wants what comes from now on. If
// that fails the connection ends.
func (c *conn) syncNow() (cursor string) {
	n := c.out.begin()
	c.out.hold()
	ctx, done := c.patient()
	defer done()
	at, err := c.srv.cfg.API.SyncedNow(ctx, c.caller())
	r := protocol.Response{Type: protocol.TypeDataResponse, Op: protocol.OpSync}
	if err == nil {
		r.Result, err = json.Marshal(at)
	}
	if err != nil {
		r.Result, r.Error = nil, c.srv.cfg.API.Error(protocol.OpSync, err)
	}
	c.out.answerBare(n, c.listener.synced(encode(&r), at.Cursor))
	if r.Error != nil {
		c.sendAway(protocol.GoodbyeInternal, "the position could not be read; come back")
	}
	return at.Cursor
}

// giveUp says e and ends the connection.
func (c *conn) giveUp(e *protocol.Error) {
	c.out.put(encode(&protocol.ErrorFrame{Type: protocol.TypeError, Error: e}))
	if slices.Contains([]protocol.Code{protocol.CodeUnauthenticated, protocol.CodeTokenExpired}, e.Code) {
		c.sendAway(protocol.GoodbyeSessionRevoked, "this session is over")
		return
	}
	c.sendAway(protocol.GoodbyeInternal, e.Message)
}
