// Package stream serves connections that speak Grima's lines: Hello, requests
// in order, answers in the same order, and events in between.
//
// A connection has one goroutine that reads and carries out its requests, and
// for as long as there is something to write, a second one that writes. Sends,
// edits and deletes of messages are handed on without waiting for them, up to
// a bound, so that those of one connection can share a commit; every other
// request waits for the ones before it, so that a pasted script means what it
// says.
//
// Nothing here grows with a client that does not read: its answers stop its
// requests from being read, and its events, beyond a bound, end the connection
// (docs/protocol.md#goodbye); it finds what it missed when it comes back.
package stream

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/limits"
	"github.com/grima-chat/grima/protocol"
)

// Config is what a Server needs. API, Service and Hub are required; of the
// rest, zero means the value in parentheses.
type Config struct {
	API     *api.API
	Service *chat.Service
	Hub     *hub.Hub
	Limits  *limits.Limits // (none)

	Software string // as Hello shows it ("grima")
	ServerID string // this node ("n1")
	Log      *slog.Logger

	Outbox         int           // bytes of events, and as many of answers, that wait to be written (1 MiB)
	InFlight       int           // sends, edits and deletes of one connection under way at once (protocol.MaxInFlight)
	LoginErrors    int           // bad lines before login that end a connection (16)
	AuthTimeout    time.Duration // from connecting to being logged in (60 s)
	WriteTimeout   time.Duration // in which 16 KiB, or all there is, has to be written (15 s)
	RequestTimeout time.Duration // of one request (30 s)
	EventsBeat     time.Duration // how often who only listens hears something, and a newer cursor (25 s)
}

func (c Config) withDefaults() Config {
	if c.Software == "" {
		c.Software = "grima"
	}
	if c.ServerID == "" {
		c.ServerID = "n1"
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Outbox == 0 {
		c.Outbox = 1 << 20
	}
	if c.InFlight == 0 {
		c.InFlight = protocol.MaxInFlight
	}
	if c.LoginErrors == 0 {
		c.LoginErrors = 16
	}
	if c.AuthTimeout == 0 {
		c.AuthTimeout = 60 * time.Second
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 15 * time.Second
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = 30 * time.Second
	}
	if c.EventsBeat == 0 {
		c.EventsBeat = 25 * time.Second
	}
	return c
}

// Server serves connections.
type Server struct {
	cfg    Config
	ctx    context.Context // of requests; over when Shutdown runs out of patience
	cancel context.CancelFunc

	mu      sync.Mutex
	conns   map[*conn]struct{}
	serial  uint64            // numbers connections, for the log
	bye     *protocol.Goodbye // set: shutting down
	running sync.WaitGroup
}

// New makes a Server.
func New(cfg Config) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{cfg: cfg.withDefaults(), ctx: ctx, cancel: cancel, conns: make(map[*conn]struct{})}
}

// Peer is who is at the other end of a connection.
type Peer struct {
	Addr     netip.Addr // for limits; zero: not known, as of local ones and behind a proxy
	Operator bool       // logged in from the start, as whoever runs the server
	// LoggedIn, when not nil, is called once, when the connection logs in.
	LoggedIn func()

	Head      []byte  // is written before anything else: what an HTTP request was answered with
	WebSocket bool    // lines are text messages (docs/protocol.md#websocket)
	Events    *Events // not nil: a client that only listens
}

// Serve speaks with nc until either side ends the conversation, and closes it.
func (s *Server) Serve(nc net.Conn, p Peer) {
	c := newConn(s, nc, p)
	s.mu.Lock()
	if bye := s.bye; bye != nil {
		s.mu.Unlock()
		Refuse(nc, append(slices.Clone(p.Head), c.last(bye)...))
		return
	}
	s.serial++
	c.log = s.cfg.Log.With("conn", s.serial, "peer", p.Addr)
	s.conns[c] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()

	defer s.running.Done()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	c.serve()
}

// Shutdown says Goodbye with code on every connection, present and to come,
// after the answers to what is under way, and waits until all are closed. When
// ctx ends first it cuts them off and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context, code protocol.GoodbyeCode, message string) error {
	bye := goodbye(code, message)
	s.mu.Lock()
	s.bye = bye
	open := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		open = append(open, c)
	}
	s.mu.Unlock()
	// Everybody comes back, but not in the same moment.
	spread := time.Second + time.Duration(len(open))*time.Millisecond
	for _, c := range open {
		own := *bye
		own.ReconnectAfterMS = (500*time.Millisecond + rand.N(spread)).Milliseconds()
		c.end(&own)
	}

	closed := make(chan struct{})
	go func() {
		s.running.Wait()
		close(closed)
	}()
	var err error
	select {
	case <-closed:
	case <-ctx.Done():
		err = ctx.Err()
		for _, c := range open {
			c.kill()
		}
	}
	s.cancel()
	<-closed
	return err
}

// goodbye makes the frame that ends a connection.
func goodbye(code protocol.GoodbyeCode, message string) *protocol.Goodbye {
	return &protocol.Goodbye{Type: protocol.TypeGoodbye, Code: code, Message: message, Reconnect: code.Reconnect()}
}

// refuseTimeout bounds what a client that is refused can cost.
const refuseTimeout = time.Second

// Refuse writes last, waits for a moment until the client has seen it, and
// closes nc: for connections that never become a conversation.
func Refuse(nc net.Conn, last []byte) {
	// A client that cannot even take this much is left alone with its error.
	if nc.SetWriteDeadline(time.Now().Add(refuseTimeout)) == nil {
		if _, err := nc.Write(last); err == nil {
			linger(nc, lingering)
		}
	}
	_ = nc.Close()
}

// Farewell gives the lines that refuse somebody: an Error frame, unless e is
// nil, and a Goodbye.
func Farewell(e *protocol.Error, code protocol.GoodbyeCode, message string) []byte {
	var b []byte
	if e != nil {
		b = encode(&protocol.ErrorFrame{Type: protocol.TypeError, Error: e})
	}
	return append(b, encode(goodbye(code, message))...)
}

// encode makes a frame's line. Frames of this package always encode.
func encode(frame any) []byte {
	line, err := protocol.AppendFrame(nil, frame)
	if err != nil {
		panic("stream: a frame that does not encode: " + err.Error())
	}
	return line
}
