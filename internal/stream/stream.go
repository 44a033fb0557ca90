// Package stream serves connections that speak Grima's lines: Hello, requests
// in order, answers in the same order, and events in between.
//
// A connection is a state machine that takes turns (package queue): it reads
// what there is, without waiting, carries out what needs nothing to be waited
// for, and hands on the rest. Sends, edits and deletes of messages go to the
// store, up to a bound at once, so that those of one connection can share a
// commit; every other request is carried out by a goroutine of the crew, and
// waits for the ones before it, so that a pasted script means what it says. An
// idle connection has neither a goroutine (unless the design of the queue is
// one for each) nor a buffer.
//
// What is written is written at once by who brings it, if the client's side
// takes it (see outbox). Nothing here grows with a client that does not read:
// its answers stop its requests from being read, its events are refused beyond
// a bound, for the hub to bring them later, and without any progress it is sent
// away (docs/protocol.md#goodbye); it finds what it missed when it comes back.
package stream

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/limits"
	"github.com/grima-chat/grima/internal/queue"
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
	WriteTimeout   time.Duration // in which 16 KiB, or all there is, has to be written (15 s); after that as long again to hear why it ends
	RequestTimeout time.Duration // of one request (30 s)
	Workers        queue.Design  // how connections get their turns (sharded)
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
	if c.Workers == "" {
		c.Workers = queue.Sharded
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

	bounds  [tallies]bounds
	queue   queue.Queue
	alarms  alarms
	flusher flusher
	crew    crew
	hellos  [2]atomic.Pointer[greeting] // without and with a cookie

	mu       sync.Mutex
	goodbyes map[protocol.GoodbyeCode]uint64 // given, by code
	conns    map[*conn]struct{}
	serial   uint64            // numbers connections, for the log
	bye      *protocol.Goodbye // set: shutting down
	spread   time.Duration     // within which all come back then
	running  sync.WaitGroup
}

// New makes a Server. It panics at a design of Workers that there is not.
func New(cfg Config) *Server {
	cfg = cfg.withDefaults()
	turns, err := queue.New(cfg.Workers)
	if err != nil {
		panic("stream: " + err.Error())
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		cfg: cfg, ctx: ctx, cancel: cancel, queue: turns,
		conns: make(map[*conn]struct{}), goodbyes: make(map[protocol.GoodbyeCode]uint64),
	}
	for i := range s.bounds {
		s.bounds[i].room, s.bounds[i].inFlight, s.bounds[i].stall = cfg.Outbox, cfg.InFlight, cfg.WriteTimeout
	}
	return s
}

// Peer is who is at the other end of a connection.
type Peer struct {
	Addr     netip.Addr // for limits; zero: not known, as of local ones and behind a proxy
	Operator bool       // logged in from the start, as whoever runs the server
	Guest    Guest      // hears of the connection; nil: nobody does
	Room     *Room      // its own, and used for nothing else; nil: it gets one

	Early     []byte  // what was read of it already
	Head      []byte  // is written before anything else: what an HTTP request was answered with
	Cookie    string  // the token of the session that a browser's cookie names; empty: none came
	WebSocket bool    // lines are text messages (docs/protocol.md#websocket)
	Events    *Events // not nil: a client that only listens
}

// Guest hears of a connection.
type Guest interface {
	// LoggedIn is called once, when the connection logs in.
	LoggedIn()
	// Closed is called once, when the connection is closed and nothing of it is
	// left.
	Closed()
}

// awaited is a Guest for whose end somebody waits.
type awaited struct {
	Guest // may be nil

	over chan struct{}
}

func (a awaited) LoggedIn() {
	if a.Guest != nil {
		a.Guest.LoggedIn()
	}
}

func (a awaited) Closed() {
	if a.Guest != nil {
		a.Guest.Closed()
	}
	close(a.over)
}

// Room is the memory that a connection keeps as long as it lasts, in one piece.
// In pieces it would stand between what its login leaves behind, and keep pages
// of that.
type Room struct {
	conn   conn
	socket Socket
}

// Socket makes a Socket, in the room, of a connection that has a file, and gives
// nil for others.
func (r *Room) Socket(nc net.Conn) *Socket { return r.socket.of(nc) }

// Bare is a Socket in the room that is no more than a descriptor, of a connection
// that was just accepted and does not block. If it speaks lines at once, as those
// do who come back, Take takes it as it is, and Go need not hear of it; else it is
// to be adopted.
func (r *Room) Bare(fd int) *Socket { return r.socket.bare(fd) }

// TakesBare reports whether Take takes bare descriptors.
func (s *Server) TakesBare() bool { return s.queue.Polls() }

// Serve speaks with nc until either side ends the conversation, and closes it.
func (s *Server) Serve(nc net.Conn, p Peer) {
	over := make(chan struct{})
	p.Guest = awaited{p.Guest, over}
	s.Take(nc, p)
	<-over
}

// Take is Serve without waiting for the end, save when the server is shutting
// down.
func (s *Server) Take(nc net.Conn, p Peer) {
	c := newConn(s, nc, p)
	s.mu.Lock()
	if s.bye != nil {
		bye := s.byeLocked()
		s.mu.Unlock()
		// A bare descriptor that cannot be adopted is closed: there is nobody to tell.
		if sock := c.out.to.sock; sock == nil || sock.file != nil || sock.Adopt() == nil {
			Refuse(nc, append(slices.Clone(p.Head), c.lastBytes(bye)...))
		}
		if c.guest != nil {
			c.guest.Closed()
		}
		return
	}
	s.serial++
	c.serial = s.serial
	c.out.bounds = &s.bounds[c.serial%tallies]
	s.conns[c] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	c.start(p.Head)
}

// gone forgets a connection that is closed.
func (s *Server) gone(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	if c.guest != nil {
		c.guest.Closed()
	}
	s.running.Done()
}

// Shutdown says Goodbye with code on every connection, present and to come,
// after the answers to what is under way, and waits until all are closed. When
// ctx ends first it cuts them off and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context, code protocol.GoodbyeCode, message string) error {
	s.mu.Lock()
	s.bye = goodbye(code, message)
	s.spread = time.Second + time.Duration(len(s.conns))*time.Millisecond
	open := make(map[*conn]*protocol.Goodbye, len(s.conns))
	for c := range s.conns {
		open[c] = s.byeLocked()
	}
	s.mu.Unlock()
	for c, bye := range open {
		c.end(bye)
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
		for c := range open {
			c.kill()
		}
	}
	s.cancel()
	<-closed
	s.flusher.close()
	s.crew.close()
	s.queue.Close()
	return err
}

// byeLocked is the Goodbye of the stop for one more. Everybody comes back, but
// not in the same moment.
func (s *Server) byeLocked() *protocol.Goodbye {
	own := *s.bye
	own.ReconnectAfterMS = (500*time.Millisecond + rand.N(s.spread)).Milliseconds()
	return &own
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

// large is a result that is worth being copied as it is.
const large = 16 << 10

// encodeResponse is encode, which looks once more whether the API's results are
// JSON: of a large one that takes as long as making it did, and a processor that
// others want.
func encodeResponse(r *protocol.Response) []byte {
	if len(r.Result) < large || r.Error != nil || len(r.Ignored) > 0 {
		return encode(r)
	}
	const member = `,"result":`
	bare := *r
	bare.Result = nil
	head := encode(&bare)
	line := make([]byte, 0, len(head)+len(member)+len(r.Result))
	line = append(line, head[:len(head)-2]...) // without }\n
	line = append(line, member...)
	line = append(line, r.Result...)
	return append(line, "}\n"...)
}
