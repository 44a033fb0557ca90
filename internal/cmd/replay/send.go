package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/protocol"
)

// window bounds the sends under way per log.
const window = 256

// send says everything, several logs at a time. again wants every answer to be
// what the first one was.
func (r *replay) send(addr string, again bool) error {
	what := "sent"
	if again {
		what = "sent again"
	}
	var acked atomic.Int64
	began := time.Now()
	stop := r.watch(func() {
		r.progress("%s: %d of %d messages, %.0f/s", what, acked.Load(), r.total(), float64(acked.Load())/time.Since(began).Seconds())
	})
	var mu sync.Mutex
	var latencies []time.Duration
	err := inParallel(r.files, len(r.transcripts), func(i int) error {
		t := r.transcripts[i]
		s := &speaker{r: r, t: t, addr: addr, again: again, acked: &acked, conns: map[string]*harness.Conn{}}
		if err := s.run(); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		mu.Lock()
		defer mu.Unlock()
		latencies = append(latencies, s.latencies...)
		return nil
	})
	stop()
	if err != nil {
		return err
	}
	took := time.Since(began)
	slices.Sort(latencies)
	n := len(latencies)
	note := "each log in its order: a message by somebody else waits for the acknowledgement of the one before"
	if again {
		note = "every answer was the first one, marked as a duplicate"
	}
	r.say("%s: %d messages into %d groups in %s; acknowledged after %.1f ms (p50), %.1f ms (p99); %s",
		what, n, len(r.transcripts), perSecond(n, took),
		latencies[n/2].Seconds()*1e3, latencies[n*99/100].Seconds()*1e3, note)
	return nil
}

// speaker says one log.
type speaker struct {
	r     *replay
	t     *transcript
	addr  string
	again bool
	acked *atomic.Int64
	conns map[string]*harness.Conn // by nick

	// Answers come from the connections' readers; mu guards what they leave.
	mu        sync.Mutex
	err       error
	latencies []time.Duration
}

func (s *speaker) run() error {
	defer func() {
		for _, c := range s.conns {
			c.Close()
		}
	}()
	if !s.again {
		if err := s.createGroup(); err != nil {
			return err
		}
		s.t.seqs = make([]int64, len(s.t.messages))
	}
	var under sync.WaitGroup
	room := make(chan struct{}, window)
	last := s.t.messages[0].nick
	for i, m := range s.t.messages {
		conn, err := s.conn(m.nick)
		if err != nil {
			return err
		}
		// Connections race; only what one of them says keeps its order by itself.
		if m.nick != last || len(room) == window {
			if err := s.conns[last].Flush(); err != nil {
				return err
			}
			if !s.again || len(room) == window {
				under.Wait()
			}
			last = m.nick
		}
		if err := errors.Join(s.r.ctx.Err(), s.failed()); err != nil {
			return err
		}
		room <- struct{}{}
		under.Add(1)
		began := time.Now()
		params := protocol.MessageSendParams{
			ChatID: s.t.chat, Content: m.text, ClientMsgID: fmt.Sprintf("%s:%d", s.t.name, m.line),
		}
		conn.Start(protocol.TypeBroadcastRequest, protocol.OpMessageSend, params, func(resp protocol.Response, err error) {
			s.heard(i, began, resp, err)
			<-room
			under.Done()
		})
	}
	if err := s.conns[last].Flush(); err != nil {
		return err
	}
	under.Wait()
	return s.failed()
}

func (s *speaker) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *speaker) conn(nick string) (*harness.Conn, error) {
	if c := s.conns[nick]; c != nil {
		return c, nil
	}
	c, err := harness.Login(s.addr, s.r.accounts[nick].token, false, nil)
	if err == nil {
		s.conns[nick] = c
	}
	return c, err
}

// createGroup lets the first who speaks invite all others.
func (s *speaker) createGroup() error {
	conn, err := s.conn(s.t.nicks[0])
	if err != nil {
		return err
	}
	var users []string
	for _, nick := range s.t.nicks[1:] {
		users = append(users, s.r.accounts[nick].user)
	}
	s.t.chat, err = harness.CreateGroup(conn, s.t.name, users)
	return err
}

// heard takes the answer to message i.
func (s *speaker) heard(i int, began time.Time, resp protocol.Response, err error) {
	took := time.Since(began)
	var res protocol.MessageSendResult
	switch {
	case err != nil:
	case resp.Error != nil:
		err = resp.Error
	default:
		err = json.Unmarshal(resp.Result, &res)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
	case s.again != res.Duplicate:
		err = fmt.Errorf("duplicate is %v", res.Duplicate)
	case s.again && res.Seq != s.t.seqs[i]:
		err = fmt.Errorf("it was %d and now is %d", s.t.seqs[i], res.Seq)
	}
	if err != nil {
		if s.err == nil {
			s.err = fmt.Errorf("line %d: %w", s.t.messages[i].line, err)
		}
		return
	}
	s.t.seqs[i] = res.Seq
	s.latencies = append(s.latencies, took)
	s.acked.Add(1)
}

// inParallel calls do(0..n-1), each once, from a few goroutines, and returns
// their errors; after one of them has failed nothing new begins.
func inParallel(goroutines, n int, do func(i int) error) error {
	var next atomic.Int64
	var failed atomic.Bool
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	for k := range goroutines {
		wg.Go(func() {
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if errs[k] = do(i); errs[k] != nil {
					failed.Store(true)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// watch calls report every few seconds until stop is called.
func (r *replay) watch(report func()) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(5 * time.Second)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				report()
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}
