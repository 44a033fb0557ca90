package hub

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub/fakebus"
	"github.com/grima-chat/grima/internal/password"
)

// site is a node of a stage.
type site struct {
	stage *stage
	hub   *Hub
	svc   *chat.Service
	port  *fakebus.Port // nil: it is the only one
}

func newSite(s *stage, store chat.Store, shared bool, a Ablate) *site {
	n := &site{stage: s}
	cfg := Config{
		Encode: func(dst []byte, e chat.Event) []byte {
			var user chat.UserID
			if e.Participant != nil {
				user = e.Participant.User
			}
			b := e.Seq
			if e.Message != nil {
				b = e.Message.Seq
			}
			return fmt.Appendf(dst, "%s %d %d %d %d %d\n", e.Kind, e.Chat, e.PrevSeq, e.Seq, b, user)
		},
		EncodeRead:  func(dst []byte, _ chat.ChatID, _ chat.UserID, _ int64) []byte { return dst },
		EncodePlace: func(dst []byte, _ chat.Participant) []byte { return dst },
		EncodeUser:  func(dst []byte, _ chat.User) []byte { return dst },
		Scan:        time.Second, CatchUps: 2, Ablate: a, Log: slog.New(slog.DiscardHandler),
	}
	most := []int{1, 6, 60}[s.n(3)] // ms
	if a.LoadBeforeListing {
		most = 1 // a moment is looked for that is rare while everything waits
	}
	store = &own{Store: store, late: func() time.Duration { return time.Duration(s.n(most)) * time.Millisecond }}
	svc := chat.Config{Store: store, Publisher: n, Passwords: password.New(password.Params{Memory: 64, Time: 1}), NoLimits: true}
	src := &faulty{s: s}
	src.Log = chat.NewLog(store)
	if shared {
		svc.Underway = &chat.Underway{}
		src.Log = chat.NewSharedLog(store, svc.Underway)
		n.port = s.net.Join()
		cfg.Bus, cfg.Sessions = n.port, time.Second
	}
	src.reading = src.fault
	if s.n(2) == 0 {
		src.log = store
	}
	cfg.Source = src
	n.svc = chat.NewService(svc)
	n.hub = New(cfg)
	if err := n.hub.Join(); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// own is a node's side of a store: what it hears of its own updates comes later
// than everybody may read them.
type own struct {
	chat.Store

	late func() time.Duration

	mu      sync.Mutex
	dones   []func()
	telling bool
}

func (o *own) Update(op chat.Op, done func(error)) {
	o.Store.Update(op, func(err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.dones = append(o.dones, func() { done(err) })
		if !o.telling {
			o.telling = true
			go o.tell()
		}
	})
}

func (o *own) tell() {
	for {
		o.mu.Lock()
		if len(o.dones) == 0 {
			o.telling = false
			o.mu.Unlock()
			return
		}
		done := o.dones[0]
		o.dones = o.dones[1:]
		o.mu.Unlock()
		time.Sleep(o.late()) // of the bubble's time
		done()
	}
}

// disturb lets something befall the bus.
func (s *stage) disturb(at *site) {
	forged := func(kind Kind, put func(*payload)) {
		p := newPayload(kind)
		put(p)
		at.hub.receive(kind, p.b)
	}
	id, _ := s.someChat()
	user := s.someUser()
	place := chat.Place{Chat: max(id, 1), User: user}
	switch s.n(9) {
	case 0, 1:
		at.port.Cut()
	case 2, 3:
		at.port.Heal()
	case 4: // what is to come, or never will
		forged(Hints, func(p *payload) {
			p.hint(hint{chat: place.Chat, seq: int64(1 + s.n(80)), entered: []chat.UserID{user}})
			p.hint(hint{chat: place.Chat + 1, seq: most - 1, entered: s.users})
		})
	case 5:
		forged(Marks, func(p *payload) { p.mark(mark{place, int64(s.n(100))}) })
	case 6:
		forged(Look, func(*payload) {})
	case 7:
		forged(Ended, func(p *payload) { p.session(chat.SessionID(1 + s.n(3))) })
	default:
		b := make([]byte, s.n(40))
		for i := range b {
			b[i] = byte(s.n(256))
		}
		if len(b) > 0 && s.n(2) == 0 {
			b[0] = payloadVersion
		}
		at.hub.receive(Kinds[s.n(len(Kinds))], b)
	}
}
