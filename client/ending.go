package client

import (
	"errors"
	"time"
)

// Lost ends the connection, or the try to make one, for the reason err.
func (s *Session) Lost(now time.Time, err error) {
	if s.ready && now.Sub(s.began) >= steady && !isServerError(err) {
		s.failures = 0
	}
	s.up, s.ready = false, false
	s.out = nil
	asks := s.oldest
	s.oldest, s.asks, s.reserved = nil, map[uint64]*ask{}, 0
	for _, a := range asks {
		switch {
		case a.done:
		case a.answer == nil:
			s.answers = append(s.answers, Answer{Ask: a.id, Err: ErrUnknownOutcome})
		}
	}
	s.sync = syncing{}
	s.boxesLost()
	for _, e := range s.chats {
		e.asking = false
	}
	if permanent(err) {
		s.stopped = err
		s.setLink(Connection{Link: Stopped, Err: err})
		return
	}
	s.setLink(Connection{Link: Offline, Retry: now.Add(s.backoff()), Err: err})
}

// backoff is how long to wait before the next try: a random time, of which the
// bound doubles with every failure, but what the server asked for at least.
func (s *Session) backoff() time.Duration {
	tries := s.failures
	s.failures++
	w := s.waits
	s.waits = waits{}
	if w.exact && tries == 0 {
		return w.least
	}
	return w.least + s.delay(tries)
}

// delay is how long to wait after the tries-th failure in a row.
func (s *Session) delay(tries int) time.Duration {
	bound := s.cfg.MaxBackoff
	if tries < 16 {
		bound = min(bound, s.cfg.MinBackoff<<tries)
	}
	return s.jitter(bound)
}

// permanent reports whether err is a reason not to come back.
func permanent(err error) bool {
	if bye, ok := errors.AsType[*GoodbyeError](err); ok {
		return !bye.Goodbye.Reconnect
	}
	_, login := errors.AsType[*LoginError](err)
	return login || errors.Is(err, ErrOtherUser) || errors.Is(err, ErrVersion) || errors.Is(err, ErrClosed)
}

func isServerError(err error) bool {
	_, is := errors.AsType[*ServerError](err)
	return is
}

// Stop ends the session for good.
func (s *Session) Stop(now time.Time) {
	if s.stopped == nil {
		s.Lost(now, ErrClosed)
	}
}
