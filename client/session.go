package client

import (
	"time"

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
//	s.Lost(now, err)             // it is gone
type Session struct {
	_ [0]func()
}

// NewSession makes a session that goes on from state. Of cfg it uses what does
// not need a network.
func NewSession(cfg Config, state State) *Session { panic("not yet") }

// Connected begins a connection. Output then has the login.
func (s *Session) Connected(now time.Time) { panic("not yet") }

// Line takes a line that the server said, without its end. After an error the
// connection is of no use: a [*GoodbyeError], a [*LoginError], a
// [*ServerError], or a *protocol.Error of logging in that may pass.
func (s *Session) Line(now time.Time, line []byte) error { panic("not yet") }

// Tick does what is due at now. Errors as of Line.
func (s *Session) Tick(now time.Time) error { panic("not yet") }

// Deadline is when Tick is due next; zero: never.
func (s *Session) Deadline() time.Time { panic("not yet") }

// Lost ends the connection, for the reason err.
func (s *Session) Lost(now time.Time, err error) { panic("not yet") }

// Output appends the lines that are to be written and forgets them.
func (s *Session) Output(dst []byte) []byte { panic("not yet") }

// Take takes at most max events from those that wait, in order. Room made by it
// is used at the next Tick.
func (s *Session) Take(max int) []Event { panic("not yet") }

// Ask asks an operation on this connection and returns the number that its
// Answer will have. An error is ErrOffline, or a *protocol.Error when the
// request is too large.
func (s *Session) Ask(now time.Time, frame protocol.Type, op string, params jsontext.Value) (uint64, error) {
	panic("not yet")
}

// Answer is the answer to an Ask: Result, or Err, a *protocol.Error or
// ErrUnknownOutcome when the connection was lost before it came.
type Answer struct {
	Ask    uint64
	Result jsontext.Value
	Err    error
}

// Answers takes the answers that came.
func (s *Session) Answers() []Answer { panic("not yet") }
