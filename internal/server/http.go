package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/grima-chat/grima/protocol"
)

// The bounds of HTTP (docs/protocol.md#limits).
const (
	headerTimeout  = 10 * time.Second
	requestTimeout = time.Minute // to read one request, and to write one answer
	idleTimeout    = 2 * time.Minute
	maxHeader      = 16 << 10
)

// httpDoor serves the connections that turn out to speak HTTP.
type httpDoor struct {
	srv      http.Server
	conns    chan net.Conn
	closed   chan struct{}
	close    sync.Once
	requests sync.WaitGroup
	cancel   context.CancelFunc // of requests
}

// connKey finds a request's webConn in its context.
type connKey struct{}

func newHTTPDoor(handler http.Handler, log *slog.Logger) *httpDoor {
	d := &httpDoor{conns: make(chan net.Conn), closed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.srv = http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d.requests.Add(1)
			defer d.requests.Done()
			if c, ok := r.Context().Value(connKey{}).(*webConn); ok {
				c.server.gate.known(c.ticket)
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

// shutdown answers the requests under way and closes all connections. When ctx
// ends first it cuts them off.
func (d *httpDoor) shutdown(ctx context.Context) error {
	err := d.srv.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, d.srv.Close())
	}
	d.cancel()
	d.requests.Wait()
	return err
}

// webConn is a connection that HTTP is spoken on.
type webConn struct {
	net.Conn

	server *Server
	ticket *ticket
	close  sync.Once
}

func (c *webConn) Close() error {
	c.close.Do(func() { c.server.gate.leave(c.ticket) })
	return c.Conn.Close()
}

// The answers to who is not served.
var (
	httpUseTLS = problem(http.StatusForbidden, protocol.NewError(protocol.CodePermissionDenied,
		"this server takes passwords and tokens over https only"))
	httpTooMany = problem(http.StatusTooManyRequests, protocol.NewError(protocol.CodeRateLimited,
		"too many connections; come back later"))
)

// problem is a whole HTTP answer that says e (docs/protocol.md#http-errors).
func problem(status int, e *protocol.Error) []byte {
	title := http.StatusText(status)
	body := fmt.Sprintf(`{"type":"about:blank","title":%q,"status":%d,"detail":%q,"code":%q,"retryable":%t}`+"\n",
		title, status, e.Message, e.Code, e.Retryable)
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, title, len(body), body)
}
