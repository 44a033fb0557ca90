package modeltest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// The Go SDK, through the same faults.
func TestSDK(t *testing.T) {
	n := uint64(4)
	switch {
	case *seeds > 0:
		n = uint64(*seeds)
	case underRace:
		n = 1
	}
	total := map[string]int{}
	for i := range n {
		seed := *first + i
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			o := scenario(seed)
			o.Lines = []line{plain} // it makes TLS and WebSockets itself; what is below is cut just so
			o.Device = newSDK
			v, counts := Run(t, o)
			if v != nil {
				t.Fatal(v)
			}
			for what, n := range counts {
				total[what] += n
			}
		})
		if t.Failed() {
			return
		}
	}
	t.Log(tally(total))
}

// sdk makes a Device of a client.Client: what an application would hold that
// shows everything it is told. Of chats that were there before it began it shows
// what is newer (View.From).
type sdk struct {
	c      *client.Client
	cfg    ReferenceConfig
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{}
	chats   map[string]View
	pending map[string]func(protocol.MessageSendResult, *protocol.Error)
	online  bool
}

func newSDK(cfg ReferenceConfig) Device {
	s := &sdk{cfg: cfg, changed: make(chan struct{}), chats: map[string]View{}, pending: map[string]func(protocol.MessageSendResult, *protocol.Error){}}
	c, err := client.Open(client.Config{
		Server: "grima://localhost:7007", Token: cfg.Token,
		Dial:       func(ctx context.Context, _, _ string) (net.Conn, error) { return cfg.Connector.Dial(ctx) },
		MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond, DialTimeout: time.Hour, // Dial waits
		Buffer: 256,
	})
	if err != nil {
		panic(err)
	}
	s.c = c
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.ended.Go(func() { s.listen(ctx) })
	return s
}

func (s *sdk) listen(ctx context.Context) {
	for {
		batch, err := s.c.Batch(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, client.ErrClosed) {
				s.cfg.Unheard("the client", fmt.Sprintf("it stopped: %v", err))
			}
			return
		}
		s.mu.Lock()
		for _, ev := range batch {
			s.take(ev)
		}
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
}

func (s *sdk) take(ev client.Event) {
	v, there := s.chats[ev.ChatID]
	switch ev.Kind {
	case client.Reset:
		clear(s.chats)
	case client.ConnectionChanged:
		s.online = ev.Connection.Link == client.Online
	case client.ChatAdded:
		v = View{From: ev.State.Pos, LastSeq: ev.State.Pos, Messages: map[int64]protocol.Message{}, People: map[string]protocol.Participant{}}
		s.chats[ev.ChatID] = v
	case client.ChatRemoved:
		delete(s.chats, ev.ChatID)
		return
	case client.OutboxChanged:
		s.settled(*ev.Outbox)
		return
	}
	if ev.ChatID == "" || ev.State == nil || !there && ev.Kind != client.ChatAdded {
		return
	}
	if was := v.Chat.History; was != "" && was != ev.State.History {
		// Another view of the past.
		v.From, v.Messages = max(v.From, ev.State.UpdatedSeq), map[int64]protocol.Message{}
	}
	if ev.Seq > 0 {
		if ev.PrevSeq != v.LastSeq {
			s.cfg.Unheard("I6 wire order", fmt.Sprintf("of %s (%d, %d] is told after %d", ev.ChatID, ev.PrevSeq, ev.Seq, v.LastSeq))
		}
		v.LastSeq = ev.Seq
		if m := ev.Message; m != nil && m.UpdatedSeq >= v.Messages[m.Seq].UpdatedSeq {
			v.Messages[m.Seq] = *m
		}
		if p := ev.Participant; p != nil {
			row := *p
			row.ReadSeq = 0
			if v.People[p.UserID] = row; p.LeftSeq > 0 {
				delete(v.People, p.UserID)
			}
		}
	}
	v.Chat, v.ReadSeq = ev.State.Chat, ev.State.ReadSeq
	s.chats[ev.ChatID] = v
}

func (s *sdk) settled(it client.Item) {
	done := s.pending[it.ID]
	if done == nil || it.Progress == client.Pending {
		return
	}
	delete(s.pending, it.ID)
	refused, is := errors.AsType[*protocol.Error](it.Err)
	if it.Progress == client.Failed && !is {
		s.cfg.Unheard("the client", fmt.Sprintf("a message fails with %v", it.Err))
	}
	done(protocol.MessageSendResult{ChatID: it.ChatID, Seq: it.Seq, Duplicate: it.Duplicate}, refused)
}

func (s *sdk) Send(p protocol.MessageSendParams, done func(protocol.MessageSendResult, *protocol.Error)) {
	s.mu.Lock()
	s.pending[p.ClientMsgID] = done
	s.mu.Unlock()
	_, err := s.c.Queue(context.Background(), client.Draft{
		ID: p.ClientMsgID, ChatID: p.ChatID, Content: p.Content, Mentions: p.Mentions, MentionAll: p.MentionAll,
	})
	if err != nil {
		s.cfg.Unheard("the client", fmt.Sprintf("queueing a message: %v", err))
	}
}

func (s *sdk) Call(ctx context.Context, op string, params, result any) error {
	if params == nil {
		params = protocol.Empty{}
	}
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	res, err := s.c.Do(ctx, op, raw)
	if refused, is := errors.AsType[*protocol.Error](err); is && !errors.Is(err, client.ErrUnknownOutcome) {
		return refused
	}
	if err != nil {
		return ErrLost
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(res, result)
}

func (s *sdk) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{Chats: map[string]View{}, Settled: s.online && s.c.Connection().Link == client.Online && len(s.pending) == 0}
	for id, v := range s.chats {
		v.Messages, v.People = maps.Clone(v.Messages), maps.Clone(v.People)
		st.Chats[id] = v
	}
	for _, ch := range s.c.Chats() {
		if v, there := st.Chats[ch.ChatID]; !there || ch.Pos < ch.LastSeq || v.LastSeq < ch.Pos || ch.Uncertain {
			st.Settled = false
		}
	}
	return st
}

func (s *sdk) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *sdk) Close() {
	if err := s.c.Close(); err != nil {
		s.cfg.Unheard("the client", err.Error())
	}
	s.cancel()
	s.ended.Wait()
}
