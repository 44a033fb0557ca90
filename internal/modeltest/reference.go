package modeltest

import (
	"context"
	"maps"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/protocol"
)

// Reference is a client that does what docs/protocol.md#resume says, step by
// step, and nothing cleverly. It shows every chat all the time, so that all of
// them are caught up with at once.
type Reference struct {
	cfg ReferenceConfig

	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{}
	epoch   string
	cursor  *string // nil: null
	chats   map[string]*replica
	gone    map[string]int64 // chats that were left, and at which number
	unsent  []*sending       // what was never answered, in order
	conn    *refConn         // the present one, once it may be asked; nil: none
}

// ReferenceConfig is what a Reference needs, and what it leaves out.
type ReferenceConfig struct {
	Connector Connector
	Token     string
	UserID    string
	Page      int // rows of a page of changes, chats of one of sync; small ones show more
	// Unheard is told what a server must not do to a client.
	Unheard func(promise, what string)
	// Old makes it a client of before there were roles: it does not know their
	// event, and finds members and frames that it does not know.
	Old bool
	// Twice makes it apply every event and page twice.
	Twice bool
	// Without takes one of its guards out.
	Without Guard
}

type sending struct {
	params protocol.MessageSendParams
	done   func(protocol.MessageSendResult, *protocol.Error)
	on     *refConn // where it is on its way
}

// NewReference starts a client.
func NewReference(cfg ReferenceConfig) *Reference {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Reference{
		cfg: cfg, cancel: cancel, changed: make(chan struct{}),
		chats: map[string]*replica{}, gone: map[string]int64{},
	}
	r.ended.Go(func() { r.run(ctx) })
	return r
}

// Close ends it.
func (r *Reference) Close() {
	r.cancel()
	r.ended.Wait()
}

// run goes from one connection to the next.
func (r *Reference) run(ctx context.Context) {
	for {
		if r.cfg.Without == SubscribeFirst && !r.syncBefore(ctx) {
			if ctx.Err() != nil {
				return
			}
			continue
		}
		nc, err := r.cfg.Connector.Dial(ctx)
		if err != nil {
			return // ctx is over
		}
		newRefConn(r, nc).serve(ctx)
	}
}

func (r *Reference) forget() {
	r.cursor = nil
	r.chats = map[string]*replica{}
	r.gone = map[string]int64{}
}

func (r *Reference) times() int {
	if r.cfg.Twice {
		return 2
	}
	return 1
}

// Send implements Device.
func (r *Reference) Send(p protocol.MessageSendParams, done func(protocol.MessageSendResult, *protocol.Error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &sending{params: p, done: done}
	r.unsent = append(r.unsent, s)
	if r.conn != nil {
		r.transmit(r.conn, s)
	}
}

func (r *Reference) transmit(c *refConn, s *sending) {
	if s.on == c {
		return
	}
	s.on = c
	c.ask(protocol.OpMessageSend, s.params, func(f *protocol.Response) {
		if f == nil || f.Error != nil && f.Error.Retryable {
			if f != nil {
				_ = c.nc.Close() // and try again on another
			}
			return
		}
		for i, other := range r.unsent {
			if other == s {
				r.unsent = append(r.unsent[:i:i], r.unsent[i+1:]...)
				break
			}
		}
		var res protocol.MessageSendResult
		if f.Error == nil && !c.good(f, protocol.OpMessageSend, &res) {
			return
		}
		s.done(res, f.Error)
	})
}

// Call implements Device.
func (r *Reference) Call(ctx context.Context, op string, params, result any) error {
	answer := make(chan error, 1)
	for {
		r.mu.Lock()
		c, changed := r.conn, r.changed
		if c != nil {
			c.ask(op, params, func(f *protocol.Response) {
				switch {
				case f == nil:
					answer <- ErrLost
				case f.Error != nil:
					answer <- f.Error
				case result == nil:
					answer <- nil
				default:
					answer <- json.Unmarshal(f.Result, result)
				}
			})
		}
		r.mu.Unlock()
		if c != nil {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ErrLost
		}
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ErrLost
	}
}

// Raw sends bytes as they are; how many answers they get is answered's matter.
func (r *Reference) Raw(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn != nil {
		r.conn.asked = append(r.conn.asked, func(*protocol.Response) {})
		r.conn.send([]byte(line + "\n"))
	}
}

func (r *Reference) pokeLocked() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Changed implements Device.
func (r *Reference) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// State implements Device.
func (r *Reference) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := State{Chats: map[string]View{}, Settled: r.conn != nil && len(r.unsent) == 0}
	for id, ch := range r.chats {
		v := View{LastSeq: ch.pos, ReadSeq: ch.read, Chat: ch.row, Messages: maps.Clone(ch.messages), People: map[string]protocol.Participant{}}
		for user, p := range ch.people {
			if p.LeftSeq == 0 {
				v.People[user] = p
			}
		}
		s.Chats[id] = v
		if ch.asking || ch.pos < ch.high {
			s.Settled = false
		}
	}
	return s
}

// syncBefore is what a client does that syncs first and subscribes then: on
// another connection, since each logs in once.
func (r *Reference) syncBefore(ctx context.Context) bool {
	nc, err := r.cfg.Connector.Dial(ctx)
	if err != nil {
		return false
	}
	c := newRefConn(r, nc)
	c.silent = true
	over, stop := context.WithCancel(ctx)
	defer stop()
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			r.mu.Lock()
			changed, settled := r.changed, c.synced
			for _, ch := range r.chats {
				settled = settled && !ch.asking && ch.pos >= ch.high
			}
			r.mu.Unlock()
			if settled {
				stop()
				return
			}
			select {
			case <-changed:
			case <-over.Done():
				return
			}
		}
	})
	c.serve(over)
	stop()
	watch.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return c.synced
}
