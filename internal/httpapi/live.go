package httpapi

import (
	"bufio"
	"bytes"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/websocket"
	"github.com/grima-chat/grima/protocol"
)

// What outlives its request is answered up to here: who asks, whether they may,
// and the head of the answer. Then the connection is taken over by the rooms
// that speak on connections.

// webSocketPath is where a WebSocket begins (docs/protocol.md#websocket).
const webSocketPath = "/v1/ws"

// subprotocol is what is spoken on a WebSocket.
const subprotocol = "grima.v1.json"

const (
	eventsPath = "/v1/events"
	typeLines  = "application/x-ndjson"
	typeSSE    = "text/event-stream"
)

// Taken is a connection that outlives its request.
type Taken struct {
	Conn   net.Conn
	Early  []byte // what was read of it beyond the request
	Head   []byte // of the answer, still to be written
	Peer   netip.Addr
	Cookie string  // the token that a cookie brought, if a page of ours asks
	Events *Events // nil: a WebSocket
}

// Events is what GET /v1/events asks for (docs/protocol.md#events-over-http).
type Events struct {
	Actor   chat.Actor
	Cursor  protocol.Opt[string] // of sync; absent: from now on
	SSE     bool                 // server-sent events; else lines
	Chunked bool                 // as HTTP/1.1 has it
}

func (h *handler) webSocket(w http.ResponseWriter, r *http.Request) {
	if no := h.API.Roles.NotLive(); no != nil {
		WriteProblem(w, no)
		return
	}
	head, no := websocket.Accept(r, websocket.Offer{Protocol: subprotocol, Origins: h.Origins, AnyScheme: h.BehindProxy})
	if no != nil {
		code := protocol.CodeInvalidRequest
		if no.Status == http.StatusForbidden {
			code = protocol.CodePermissionDenied
		}
		if name := no.Header[0]; name != "" {
			w.Header().Set(name, no.Header[1])
		}
		if no.Status == http.StatusUpgradeRequired {
			w.Header().Set("Connection", "Upgrade")
		}
		writeProblem(w, no.Status, protocol.NewError(code, no.Reason))
		return
	}
	// The pages of others that may open one do so without our cookie.
	cookie, _ := h.cookie(r)
	h.takeOver(w, Taken{Head: head, Peer: h.peer(r), Cookie: cookie})
}

func (h *handler) events(w http.ResponseWriter, r *http.Request) {
	e, ignored, err := h.eventsAsked(w, r)
	if len(ignored) > 0 {
		w.Header().Set(ignoredHeader, quotedList(ignored))
	}
	if err != nil {
		writeProblem(w, err.Code.Info().Status, err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", typeLines)
	if e.SSE {
		header.Set("Content-Type", typeSSE)
	}
	header.Set("X-Accel-Buffering", "no") // or nginx would wait for more
	header.Set("Connection", "close")
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return
	}
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if e.Chunked = r.ProtoAtLeast(1, 1); e.Chunked {
		header.Set("Transfer-Encoding", "chunked")
	}
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 200 OK\r\n")
	if failure := header.Write(&head); failure != nil {
		panic(failure) // a buffer takes everything
	}
	head.WriteString("\r\n")
	h.takeOver(w, Taken{Head: head.Bytes(), Peer: h.peer(r), Events: &e})
}

// eventsAsked reads what is asked for, and refuses what could not be given.
func (h *handler) eventsAsked(w http.ResponseWriter, r *http.Request) (e Events, ignored []string, err *protocol.Error) {
	cost := api.CostOf(protocol.Request{Op: protocol.OpSync})
	if err := h.admit(r, cost); err != nil {
		return e, nil, err
	}
	if err := h.API.Roles.NotLive(); err != nil {
		return e, nil, err
	}
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return e, nil, err
	}
	if _, _, err := readBody(w, r, false); err != nil {
		return e, nil, err
	}
	for _, q := range query {
		if q.name == "cursor" {
			e.Cursor = protocol.Opt[string]{Set: true, Null: q.value == "", Value: q.value}
		} else {
			ignored = append(ignored, q.name)
		}
	}
	if len(ignored) > protocol.MaxIgnored {
		ignored = ignored[:protocol.MaxIgnored]
	}
	if len(ignored) > 0 && prefersStrict(r) {
		return e, ignored, protocol.UnknownMembers(ignored)
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		e.Cursor = protocol.Some(last)
	}
	for _, accepts := range r.Header.Values("Accept") {
		for media := range strings.SplitSeq(accepts, ",") {
			media, _, failure := mime.ParseMediaType(media)
			e.SSE = e.SSE || failure == nil && media == typeSSE
		}
	}
	c, err := h.caller(r, cost)
	if err != nil {
		return e, ignored, err
	}
	// Whoever may not sync may not listen, and a bad cursor is better told now
	// than on a stream that has begun.
	none, cursor := int64(0), e.Cursor
	if !cursor.Set {
		cursor = protocol.Opt[string]{Set: true, Null: true}
	}
	params, failure := json.Marshal(protocol.SyncParams{Cursor: cursor, Limit: 1, TimelineLimit: &none})
	if failure != nil {
		return e, ignored, protocol.NewError(protocol.CodeInvalidUTF8, "the cursor is not UTF-8")
	}
	e.Actor = c.Actor
	c.Live = true // it is about to be
	return e, ignored, h.do(r.Context(), c, protocol.Request{Type: protocol.TypeDataRequest, Op: protocol.OpSync, Params: params}).Error
}

// takeOver takes the connection from net/http and gives it away.
func (h *handler) takeOver(w http.ResponseWriter, t Taken) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h.Log.Error("taking over a connection", "error", err)
		writeProblem(w, http.StatusInternalServerError, protocol.NewError(protocol.CodeInternal, "this connection cannot be taken over"))
		return
	}
	t.Conn = conn
	if t.Early, err = early(buffered.Reader); err != nil {
		h.Log.Debug("taking over a connection", "error", err)
		_ = conn.Close()
		return
	}
	h.TakeOver(t)
}

// early is what a connection had sent before it was taken over.
func early(r *bufio.Reader) ([]byte, error) {
	b, err := r.Peek(r.Buffered())
	if err != nil {
		return nil, fmt.Errorf("what was sent early: %w", err)
	}
	return bytes.Clone(b), nil
}
