package stream

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub"
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

// The forms of events over HTTP, and of lines on a WebSocket.
var (
	overWebSocket = hub.NewWire(websocket.AppendText)
	overHTTP      = func() (forms [2][2]*hub.Wire) { // SSE, Chunked
		for i := range forms {
			for j := range forms[i] {
				e := &Events{SSE: i == 1, Chunked: j == 1}
				forms[i][j] = hub.NewWire(e.wrap)
			}
		}
		return forms
	}()
)

func (e *Events) wire() *hub.Wire {
	var sse, chunked int
	if e.SSE {
		sse = 1
	}
	if e.Chunked {
		chunked = 1
	}
	return overHTTP[sse][chunked]
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

// listen subscribes, tells what the client missed, and keeps the connection
// until either side ends it. It returns why, as requests does.
func (c *conn) listen() error {
	e := c.peer.Events
	// Subscribing before reading: what happens meanwhile comes twice rather
	// than never.
	if _, err := c.login(chat.Login{Actor: e.Actor}, protocol.SessionStartParams{}); err != nil {
		c.giveUp(c.cfg.API.Error(protocol.OpSessionStart, err))
		return nil
	}
	var cursor string
	var ok bool
	if e.Cursor.Set {
		cursor, ok = c.sync(e.Cursor, syncTimeline)
	} else {
		cursor, ok = c.syncNow()
	}
	ignored := make([]byte, 16)
	for ok {
		c.setReadDeadline(time.Now().Add(c.cfg.EventsBeat))
		_, err := c.nc.Read(ignored) // nothing is due, but its end
		switch {
		case c.ending() != nil:
			return nil
		case err == nil:
			continue
		case !errors.Is(err, os.ErrDeadlineExceeded), c.broken():
			return err
		}
		// What was heard is news to the cursor too. The page that brings the
		// new one says where each of those chats stands, so a reader who was
		// told all of it finds nothing to do.
		if c.heard.Swap(false) {
			cursor, ok = c.sync(protocol.Some(cursor), 0)
		} else if time.Since(c.out.idleSince()) >= c.cfg.EventsBeat {
			c.out.putBare(e.beat())
		}
	}
	return nil
}

// sync tells what changed since a cursor, a page at a time, and gives the
// cursor behind it all. If that fails, or the connection ends, it is not ok.
func (c *conn) sync(since protocol.Opt[string], timeline int64) (cursor string, ok bool) {
	for {
		params, err := json.Marshal(protocol.SyncParams{Cursor: since, Limit: syncLimit, TimelineLimit: &timeline})
		if err != nil {
			c.giveUp(c.cfg.API.Error(protocol.OpSync, err))
			return "", false
		}
		c.out.waitRoom()
		if c.ending() != nil || c.broken() {
			return "", false
		}
		n := c.out.begin()
		r := c.do(protocol.Request{Type: protocol.TypeDataRequest, Op: protocol.OpSync, Params: params})
		var page struct {
			Cursor  string `json:"cursor"`
			HasMore bool   `json:"has_more"`
		}
		if r.Error == nil {
			if err := json.Unmarshal(r.Result, &page); err != nil {
				r.Result, r.Error = nil, c.cfg.API.Error(protocol.OpSync, err)
			}
		}
		c.out.answerBare(n, c.peer.Events.synced(encode(&r), page.Cursor))
		if r.Error != nil {
			c.sendAway(protocol.GoodbyeInternal, "what you missed could not be read; come back")
			return "", false
		}
		if !page.HasMore {
			return page.Cursor, true
		}
		since = protocol.Some(page.Cursor)
	}
}

// syncNow says where the client stands that wants what comes from now on.
func (c *conn) syncNow() (cursor string, ok bool) {
	n := c.out.begin()
	c.out.hold()
	now, err := c.cfg.API.SyncedNow(c.ctx, c.caller)
	r := protocol.Response{Type: protocol.TypeDataResponse, Op: protocol.OpSync}
	if err == nil {
		r.Result, err = json.Marshal(now)
	}
	if err != nil {
		r.Result, r.Error = nil, c.cfg.API.Error(protocol.OpSync, err)
	}
	c.out.answerBare(n, c.peer.Events.synced(encode(&r), now.Cursor))
	if r.Error != nil {
		c.sendAway(protocol.GoodbyeInternal, "the position could not be read; come back")
	}
	return now.Cursor, r.Error == nil
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

// broken reports whether nothing can be written any more.
func (c *conn) broken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed != nil
}
