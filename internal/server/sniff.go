package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/protocol"
)

// The patience of the first seconds (docs/protocol.md#one-port).
const (
	// silence is how long a client may say nothing before it is taken for
	// somebody who waits for our Hello.
	silence = 500 * time.Millisecond
	// firstWords bounds a TLS handshake, and a method that does not end.
	firstWords = 10 * time.Second
)

// speech is what a connection turns out to speak.
type speech int

const (
	speaksLines speech = iota
	speaksHTTP
	speaksTLS
	speaksElse
)

// peeked is a connection of which some bytes have been read already.
type peeked struct {
	net.Conn

	head []byte
}

func (p *peeked) Read(b []byte) (int, error) {
	if len(p.head) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.head)
	if p.head = p.head[n:]; len(p.head) == 0 {
		p.head = nil // below TLS it stays as long as that
	}
	return n, nil
}

// NetConn is the connection below.
func (p *peeked) NetConn() net.Conn { return p.Conn }

// CloseWrite closes the sending half, if there are halves.
func (p *peeked) CloseWrite() error { return closeWrite(p.Conn) }

func closeWrite(nc net.Conn) error {
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// inside is the TLS of a connection, or nil.
func inside(nc net.Conn) *tls.Conn {
	if p, ok := nc.(*peeked); ok {
		nc = p.Conn
	}
	secure, _ := nc.(*tls.Conn)
	return secure
}

// sniff reads what it takes to tell what nc speaks, of which head was read
// already. Nothing is lost: the connection it returns begins at the beginning.
// Who says nothing for that long waits for our Hello. When ctx ends, so does the
// reading; whoever calls sees to that (see hurried).
func sniff(ctx context.Context, nc net.Conn, head []byte, silence time.Duration) (speech, net.Conn, error) {
	if err := patient(ctx, nc, silence); err != nil {
		return 0, nil, err
	}
	buf := make([]byte, max(sniffed, len(head)))
	n := copy(buf, head)
	for begun := false; ; {
		what, sure := tell(buf[:n])
		if sure || n == len(buf) {
			return what, &peeked{nc, buf[:n]}, nil
		}
		if n > 0 && !begun { // once: who drips has no more time than others
			begun = true
			if err := patient(ctx, nc, firstWords); err != nil {
				return 0, nil, err
			}
		}
		m, err := nc.Read(buf[n:])
		switch n += m; {
		case m > 0 || err == nil:
		case n == 0 && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF)):
			// Hello first. Also to who has nothing to say: so they see who we are.
			return speaksLines, nc, nil
		default:
			return 0, nil, err
		}
	}
}

// sniffed is how many bytes tell what is spoken.
const sniffed = 16

// glance is sniff for who has said at once that it speaks lines, as clients do
// that come back: it needs no deadlines. head is what was read in any case.
func glance(nc net.Conn) (_ net.Conn, head []byte, lines bool) {
	socket, ok := nc.(*stream.Socket)
	if !ok {
		return nil, nil, false
	}
	head = make([]byte, sniffed)
	n, err := socket.TryRead(head)
	head = head[:n]
	what, sure := tell(head)
	if err != nil || !sure || what != speaksLines {
		return nil, head, false // whatever failed fails again
	}
	return &peeked{nc, head}, head, true
}

// patient gives the next reads of nc that long. When ctx has ended it gives
// them none: hurried, whose deadline this one may have replaced, does not come
// a second time.
func patient(ctx context.Context, nc net.Conn, d time.Duration) error {
	err := nc.SetReadDeadline(time.Now().Add(d))
	if err == nil && ctx.Err() != nil {
		err = nc.SetReadDeadline(past)
	}
	return err
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// tell says what a connection speaks that begins with b, and whether that is
// certain.
func tell(b []byte) (what speech, sure bool) {
	if len(b) == 0 {
		return speaksLines, false
	}
	switch b[0] {
	case 0x16: // the record type of a TLS ClientHello
		return speaksTLS, true
	case '{', ' ', '\t', '\r', '\n':
		return speaksLines, true
	}
	// A method is upper-case letters, and a space ends it. SSH, for one, sends
	// upper-case letters too.
	for i, c := range b {
		switch {
		case c == ' ' && i >= 3:
			return speaksHTTP, true
		case c < 'A' || c > 'Z':
			return speaksElse, true
		}
	}
	return speaksElse, false
}

// welcome finds out what a new connection speaks and has it served.
func (s *Server) welcome(nc net.Conn) {
	peer := addrOf(nc)
	t := new(arrival)
	err := s.gate.admit(&t.ticket, peer)
	if err != nil {
		if !s.mayTurnAway(peer, err) {
			_ = nc.Close()
			return
		}
		defer s.gate.turnedAway()
		s.turnAway(nc, err)
		return
	}
	if socket := t.room.Socket(nc); socket != nil {
		nc = socket
	}
	conn, head, lines := glance(nc)
	if lines {
		s.serve(conn, t, speaksLines)
		return
	}
	s.hearOut(nc, t, head)
}

// hearOut finds out what nc speaks, of which head was read already, and has it
// served.
func (s *Server) hearOut(nc net.Conn, t *arrival, head []byte) {
	what, conn, err := s.hear(nc, head)
	if err != nil {
		s.log.Debug("a connection came to nothing", "peer", addrOf(nc), "error", err)
		t.leave()
		_ = nc.Close()
		return
	}
	s.serve(conn, t, what)
}

// serve has a connection served that speaks that.
func (s *Server) serve(conn net.Conn, t *arrival, what speech) {
	peer := addrOf(conn)
	switch {
	case what == speaksTLS:
		stream.Refuse(conn, stream.Farewell(protocol.NewError(protocol.CodeParseError, "this server has no TLS; connect without it"),
			protocol.GoodbyeProtocolViolation, "TLS is not configured"))
	case what == speaksElse:
		stream.Refuse(conn, stream.Farewell(protocol.NewError(protocol.CodeParseError, "this is neither a line of JSON, nor HTTP, nor TLS"),
			protocol.GoodbyeProtocolViolation, "not a protocol that is spoken here"))
	case inside(conn) == nil && s.wantsTLS(peer) && what == speaksHTTP:
		stream.Refuse(conn, httpUseTLS)
	case inside(conn) == nil && s.wantsTLS(peer):
		stream.Refuse(conn, stream.Farewell(nil,
			protocol.GoodbyeProtocolViolation, "use TLS"))
	case what == speaksHTTP:
		t.speaks(kindHTTP, inside(conn) != nil)
		// It leaves the gate when it is closed.
		s.http.take(&webConn{Conn: conn, arrival: t})
		return
	default:
		t.speaks(kindLines, inside(conn) != nil)
		line := stream.Peer{
			Addr:  s.client(peer),
			Guest: t,
			Room:  &t.room,
		}
		if p, ok := conn.(*peeked); ok {
			conn, line.Early = p.Conn, p.head
		}
		s.cfg.Lines.Take(conn, line)
		return
	}
	t.leave()
}

// hear finds out what nc speaks, of which head was read already, in TLS if that
// is what it begins with.
func (s *Server) hear(nc net.Conn, head []byte) (what speech, conn net.Conn, err error) {
	keep := s.hurried(nc)
	wait := silence
	if s.wantsTLS(addrOf(nc)) {
		wait = firstWords // a handshake whose first packet was lost comes late, and Hello would end it
	}
	what, conn, err = sniff(s.ctx, nc, head, wait)
	if err == nil && what == speaksTLS && s.cert != nil {
		what, conn, err = s.unwrap(conn)
	}
	keep()
	if err == nil {
		err = conn.SetReadDeadline(time.Time{})
	}
	return what, conn, err
}

// unwrap does the TLS handshake and looks at what is inside.
func (s *Server) unwrap(nc net.Conn) (speech, net.Conn, error) {
	// The handshake sets deadlines of its own from its context.
	if err := nc.SetReadDeadline(time.Time{}); err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, firstWords)
	defer cancel()
	secure := tls.Server(nc, s.cert.config())
	if err := secure.HandshakeContext(ctx); err != nil {
		return 0, nil, err
	}
	if secure.ConnectionState().NegotiatedProtocol == alpnHTTP {
		return speaksHTTP, secure, nil
	}
	what, conn, err := sniff(s.ctx, secure, nil, silence)
	if what == speaksTLS {
		what = speaksElse
	}
	return what, conn, err
}

// hurried ends nc's reading when the server stops, until it is told to leave
// it alone.
func (s *Server) hurried(nc net.Conn) (leave func()) {
	stop := context.AfterFunc(s.ctx, func() {
		_ = nc.SetReadDeadline(past) // who reads it reports
	})
	return func() { stop() }
}

// wantsTLS reports whether a client from there may not speak in the clear.
func (s *Server) wantsTLS(peer netip.Addr) bool {
	return s.cert != nil && !s.cfg.Insecure && !s.cfg.BehindProxy && !peer.IsLoopback()
}

// client is the address of the client of a connection from peer, as far as it
// is known: a proxy's own would make one client of all of them.
func (s *Server) client(peer netip.Addr) netip.Addr {
	if s.cfg.BehindProxy {
		return netip.Addr{}
	}
	return peer
}

// mayTurnAway reports whether there is room to tell somebody whom the gate did
// not let in. If so, gate.turnedAway is to be called afterwards.
func (s *Server) mayTurnAway(peer netip.Addr, why error) bool {
	s.log.Debug("connection refused", "peer", peer, "why", why)
	return s.gate.mayTurnAway()
}

// turnAway refuses a connection in its own language.
func (s *Server) turnAway(nc net.Conn, why error) {
	defer s.hurried(nc)()
	what, conn, err := sniff(s.ctx, nc, nil, silence)
	switch {
	case err != nil, what == speaksTLS:
		_ = nc.Close() // a handshake is more than we can afford
	case what == speaksHTTP:
		stream.Refuse(conn, httpTooMany)
	default:
		stream.Refuse(conn, stream.Farewell(nil,
			protocol.GoodbyeTooManyConnections, why.Error()))
	}
}

func addrOf(nc net.Conn) netip.Addr {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok { // most are; text would take a larger stack
		return a.AddrPort().Addr().Unmap()
	}
	a, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}
