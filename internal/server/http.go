package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grima-chat/grima/internal/httpapi"
	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/protocol"
)

// The bounds of HTTP (docs/protocol.md#limits).
const (
	headerTimeout  = 10 * time.Second
	requestTimeout = time.Minute // to read one request, and to write one answer
	idleTimeout    = 2 * time.Minute
	strangerIdle   = 10 * time.Second // idleTimeout before the first good token
	maxHeader      = 16 << 10
)

// httpDoor serves the connections that turn out to speak HTTP.
type httpDoor struct {
	srv    http.Server
	conns  chan net.Conn
	closed chan struct{}
	close  sync.Once
	cancel context.CancelFunc // of requests

	mu       sync.Mutex
	over     bool // no more requests
	requests sync.WaitGroup
}

// connKey finds a request's webConn in its context.
type connKey struct{}

func newHTTPDoor(handler http.Handler, log *slog.Logger) *httpDoor {
	d := &httpDoor{conns: make(chan net.Conn), closed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.srv = http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !d.begin() {
				httpapi.WriteProblem(w, protocol.NewError(protocol.CodeUnavailable, "the server is stopping"))
				return
			}
			defer d.requests.Done()
			if c, ok := r.Context().Value(connKey{}).(*webConn); ok {
				r = r.WithContext(httpapi.WithAuthenticated(r.Context(), c.arrival.known))
				if secure := inside(c.Conn); secure != nil {
					state := secure.ConnectionState()
					r.TLS = &state
				}
			}
			handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, nc)
		},
		ConnState: func(nc net.Conn, state http.ConnState) {
			if c, ok := nc.(*webConn); ok {
				c.idle.Store(state == http.StateIdle)
			}
		},
	}
	return d
}

func (d *httpDoor) serve() error {
	if err := d.srv.Serve(d); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving HTTP: %w", err)
	}
	return nil
}

// take serves nc, unless the door is closed.
func (d *httpDoor) take(nc net.Conn) {
	select {
	case d.conns <- nc:
	case <-d.closed:
		_ = nc.Close()
	}
}

// Accept, Close and Addr make the door a net.Listener.
func (d *httpDoor) Accept() (net.Conn, error) {
	select {
	case nc := <-d.conns:
		return nc, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

func (d *httpDoor) Close() error {
	d.close.Do(func() { close(d.closed) })
	return nil
}

func (d *httpDoor) Addr() net.Addr { return &net.TCPAddr{} }

// begin counts a request that is carried out, unless nobody waits for it any
// more: one that was cut off may have been read all the same.
func (d *httpDoor) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.over {
		d.requests.Add(1)
	}
	return !d.over
}

// shutdown answers the requests under way and closes all connections. When ctx
// ends first it cuts them off.
func (d *httpDoor) shutdown(ctx context.Context) error {
	err := d.srv.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, d.srv.Close())
	}
	d.cancel()
	d.mu.Lock()
	d.over = true
	d.mu.Unlock()
	d.requests.Wait()
	return err
}

// webConn is a connection that HTTP is spoken on.
type webConn struct {
	net.Conn

	arrival *arrival
	close   sync.Once
	idle    atomic.Bool // between two requests
}

// SetReadDeadline does not let a stranger's connection be idle for long. A
// deadline beyond that of a request is the one that net/http sets for idleness.
func (c *webConn) SetReadDeadline(t time.Time) error {
	if now := time.Now(); c.idle.Load() && t.After(now.Add(requestTimeout)) && c.arrival.stranger() {
		t = now.Add(strangerIdle)
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *webConn) Close() error {
	c.close.Do(c.arrival.leave)
	return c.Conn.Close()
}

// NetConn is the connection below.
func (c *webConn) NetConn() net.Conn { return c.Conn }

// CloseWrite closes the sending half, if there are halves.
func (c *webConn) CloseWrite() error { return closeWrite(c.Conn) }

// TakeOver serves a connection that outlives its HTTP request.
func (s *Server) TakeOver(t httpapi.Taken) {
	peer := stream.Peer{Addr: t.Peer, Early: t.Early, Head: t.Head, Cookie: t.Cookie, WebSocket: t.Events == nil}
	if t.Events != nil {
		events := stream.Events(*t.Events)
		peer.Events = &events
	}
	nc := t.Conn
	if web, ok := nc.(*webConn); ok {
		kind := kindWebSocket
		if t.Events != nil {
			kind = kindEvents
		}
		// What is around the connection was for HTTP, and goes.
		web.arrival.speaks(kind, inside(web.Conn) != nil)
		peer.Guest, peer.Room = web.arrival, &web.arrival.room
		nc = web.Conn
	}
	if p, ok := nc.(*peeked); ok {
		peer.Early = append(peer.Early, p.head...)
		nc = p.Conn
	}
	s.serving.Go(func() { s.cfg.Lines.Take(nc, peer) })
}

// The answers to who is not served.
var (
	httpUseTLS = problem(protocol.NewError(protocol.CodePermissionDenied,
		"this server takes passwords and tokens over https only"))
	httpTooMany = problem(&protocol.Error{
		Code: protocol.CodeRateLimited, Message: "too many connections; come back later",
		Retryable: true, RetryAfterMS: comeBack.Milliseconds(),
	})
)

// problem is a whole HTTP answer that says e (docs/protocol.md#http-errors).
func problem(e *protocol.Error) []byte {
	w := &refusal{head: http.Header{"Connection": {"close"}}}
	httpapi.WriteProblem(w, e)
	return w.answer.Bytes()
}

// refusal is a ResponseWriter that keeps the answer as it goes over the wire.
type refusal struct {
	head   http.Header
	answer bytes.Buffer
}

func (r *refusal) Header() http.Header         { return r.head }
func (r *refusal) Write(b []byte) (int, error) { return r.answer.Write(b) }

func (r *refusal) WriteHeader(status int) {
	fmt.Fprintf(&r.answer, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	_ = r.head.Write(&r.answer) // a buffer takes everything
	r.answer.WriteString("\r\n")
}
