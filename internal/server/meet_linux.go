package server

import (
	"bytes"
	"net"

	"github.com/grima-chat/grima/internal/stream"
)

// firstWordBytes is how much is read of somebody before it is known what they
// speak: all that most say at once who come back.
const firstWordBytes = 1 << 10

// acceptPort serves who comes to the port, until it is closed.
func (s *Server) acceptPort() error {
	return s.acceptEach(func() error { return s.port.accept(s.meet) })
}

// meet is welcome for a descriptor. It does not wait: it serves who has said
// already that they speak lines, and leaves others to a goroutine.
func (s *Server) meet(who newcomer) {
	t := new(arrival)
	err := s.gate.admit(&t.ticket, who.peer)
	socket := t.room.Bare(who.fd)
	if err != nil {
		if !s.mayTurnAway(who.peer, err) {
			_ = socket.Close()
			return
		}
		s.serving.Go(func() {
			defer s.gate.turnedAway()
			if nc := s.adopt(socket); nc != nil {
				s.turnAway(nc, err)
			}
		})
		return
	}
	n, err := socket.TryRead(s.port.words[:])
	words := bytes.Clone(s.port.words[:n])
	if what, sure := tell(words); err == nil && sure && what == speaksLines &&
		!s.wantsTLS(who.peer) && s.cfg.Lines.TakesBare() && s.ctx.Err() == nil {
		t.speaks(kindLines, false)
		s.cfg.Lines.Take(socket, stream.Peer{Addr: s.client(who.peer), Guest: t, Room: &t.room, Early: words})
		return
	}
	s.serving.Go(func() {
		if nc := s.adopt(socket); nc != nil {
			s.hearOut(nc, t, words)
		} else {
			t.leave()
		}
	})
}

// adopt makes a bare socket one that can be waited for; nil: it is closed.
func (s *Server) adopt(socket *stream.Socket) net.Conn {
	if err := socket.Adopt(); err != nil {
		s.log.Warn("a connection cannot be served", "error", err)
		return nil
	}
	return socket
}
