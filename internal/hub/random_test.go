package hub

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/password"
	"github.com/grima-chat/grima/internal/store/storetest"
)

// Random people change random chats, while connections come and go and mostly
// do not read, and while what hints at it is lost, doubled and out of order.
// What every connection heard is then held against what was committed.
func TestRandomDelivery(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	base := uint64(time.Now().UnixNano())
	for i := range uint64(seeds) {
		if complaints := play(t, base+i, Ablate{}); len(complaints) > 0 {
			t.Fatalf("seed %d:\n%s", base+i, strings.Join(complaints[:min(10, len(complaints))], "\n"))
		}
	}
}

// The test above is worth what it catches: each guard that is taken out has to
// show before long.
func TestRandomDeliveryNeedsItsGuards(t *testing.T) {
	for name, a := range map[string]Ablate{
		"rescan":              {NoRescan: true},
		"dirty set":           {NoDirtySet: true},
		"fill":                {NoFill: true},
		"listing before load": {LoadBeforeListing: true},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(300) {
				if complaints := play(t, seed, a); len(complaints) > 0 {
					t.Logf("seed %d: %s", seed, complaints[0])
					return
				}
			}
			t.Error("nothing shows without it")
		})
	}
}

// told is an event as a connection heard it.
type told struct {
	kind            chat.EventKind
	chat            chat.ChatID
	prev, seq, born int64
	user            chat.UserID // of a participant's row
}

// listener is a connection that has little room.
type listener struct {
	*Conn

	user chat.UserID
	room int

	mu      sync.Mutex
	heard   []told
	unread  int // of heard
	refused bool
	before  map[chat.ChatID]int64 // where the chats stood before it subscribed
	at      map[chat.ChatID]int64 // and after
}

func (l *listener) Deliver(r *Run) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unread >= l.room {
		l.refused = true
		return false
	}
	for line := range strings.Lines(string(r.Bytes(Lines))) {
		var e told
		if _, err := fmt.Sscan(line, &e.kind, &e.chat, &e.prev, &e.seq, &e.born, &e.user); err != nil {
			panic(err)
		}
		l.heard = append(l.heard, e)
		l.unread++
	}
	return true
}

func (l *listener) Notice(*Run) {}
func (l *listener) End(Reason)  {}

// read makes room.
func (l *listener) read(n int) {
	l.mu.Lock()
	l.unread = max(0, l.unread-n)
	ready := l.refused && l.unread <= l.room/2
	if ready {
		l.refused = false
	}
	l.mu.Unlock()
	if ready {
		l.Ready()
	}
}

// stage is where it is played.
type stage struct {
	t     *testing.T
	hub   *Hub
	svc   *chat.Service
	log   *chat.Log
	users []chat.UserID

	mu     sync.Mutex
	rng    *rand.Rand
	truths map[chat.ChatID]*truth
	chats  []chat.ChatID
	late   []chat.Event // hints under way
	open   []*listener
	all    []*listener
}

func (s *stage) n(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(n)
}

// pause lets some time of the bubble's go by, so that others get ahead.
func (s *stage) pause() { time.Sleep(time.Duration(s.n(4)) * time.Millisecond) }

// Publish writes down what was committed, and lets the hint of it go astray.
func (s *stage) Publish(e chat.Event) {
	s.mu.Lock()
	tr := s.truths[e.Chat]
	if tr == nil {
		tr = &truth{history: chat.HistoryAll}
		if e.Chat%2 == 0 {
			tr.history = chat.HistoryJoined
		}
		s.truths[e.Chat] = tr
		s.chats = append(s.chats, e.Chat)
	}
	tr.events = append(tr.events, e)
	var now []chat.Event
	switch s.rng.IntN(10) {
	case 0: // lost
	case 1:
		now = append(now, e, e)
	case 2, 3:
		s.late = append(s.late, e)
	case 4:
		s.late = append(s.late, e)
		now = append(now, e)
	default:
		now = append(now, e)
	}
	s.mu.Unlock()
	for _, e := range now {
		s.hub.Publish(e)
	}
}

func (s *stage) PublishRead(chat.ChatID, chat.UserID, int64)  {}
func (s *stage) PublishTyping(chat.ChatID, chat.UserID, bool) {}
func (s *stage) PublishPresence(chat.UserID)                  {}
func (s *stage) EndSessions([]chat.SessionID)                 {}

// arrive lets a late hint through.
func (s *stage) arrive() {
	s.mu.Lock()
	if len(s.late) == 0 {
		s.mu.Unlock()
		return
	}
	i := s.rng.IntN(len(s.late))
	e := s.late[i]
	s.late = slices.Delete(s.late, i, i+1)
	s.mu.Unlock()
	s.hub.Publish(e)
}

func (s *stage) someChat() (chat.ChatID, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.chats) == 0 {
		return 0, false
	}
	return s.chats[s.rng.IntN(len(s.chats))], true
}

func (s *stage) someUser() chat.UserID { return s.users[s.n(len(s.users))] }

// act does something random. What the rules refuse is as good as nothing.
func (s *stage) act() {
	ctx := s.t.Context()
	user, other := s.someUser(), s.someUser()
	id, ok := s.someChat()
	a := chat.Actor{User: user}
	do := s.n(100)
	switch {
	case do < 2 || !ok:
		history := chat.HistoryAll
		// Which chats show newcomers what was before them is told by their id,
		// which only the store knows: both are made, and one is left alone.
		st, _, err := s.svc.CreateChat(ctx, a, chat.NewChat{Kind: chat.KindGroup, Title: "Port", History: history, Users: []chat.UserID{other}})
		if err == nil && st.Chat.ID%2 == 0 {
			joined := chat.HistoryJoined
			_, _ = s.svc.UpdateChat(ctx, a, st.Chat.ID, chat.ChatPatch{History: &joined})
		}
	case do < 30:
		done := make(chan struct{})
		s.svc.Send(a, chat.NewMessage{Chat: id, Content: "hi"}, func(chat.SendResult, error) { close(done) })
		<-done
	case do < 40:
		done := make(chan struct{})
		s.svc.Edit(a, chat.MessageEdit{Chat: id, Seq: int64(s.n(20) + 1), Content: fmt.Sprint(s.n(1000))}, func(int64, error) { close(done) })
		<-done
	case do < 43:
		done := make(chan struct{})
		s.svc.Delete(a, id, int64(s.n(20)+1), func(int64, error) { close(done) })
		<-done
	case do < 53:
		_, _ = s.svc.AddParticipants(ctx, a, id, []chat.UserID{other, s.someUser()}, "")
	case do < 60:
		_, _ = s.svc.RemoveParticipant(ctx, a, id, other)
	case do < 63:
		_, _ = s.svc.UpdateParticipant(ctx, a, id, other, []chat.Role{chat.RoleOwner, chat.RoleAdmin, chat.RoleMember}[s.n(3)])
	case do < 65:
		title := fmt.Sprint("Title ", s.n(100))
		_, _ = s.svc.UpdateChat(ctx, a, id, chat.ChatPatch{Title: &title})
	case do < 66 && s.n(3) == 0:
		_ = s.svc.DeleteChat(ctx, a, id)
	case do < 72:
		s.connect(user)
	case do < 75:
		s.disconnect()
	case do < 80:
		s.arrive()
	case do < 81:
		s.hub.Rescan()
	default:
		s.mu.Lock()
		var l *listener
		if len(s.open) > 0 {
			l = s.open[s.rng.IntN(len(s.open))]
		}
		s.mu.Unlock()
		if l != nil {
			l.read(s.n(8))
		}
	}
}

func (s *stage) connect(user chat.UserID) {
	l := &listener{user: user, room: 1 + s.n(12), before: s.positions()}
	l.Conn = s.hub.Register(1, user, l)
	if err := l.Subscribe(s.t.Context()); err != nil {
		l.Close()
		return
	}
	l.at = s.positions()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, l)
	s.all = append(s.all, l)
}

func (s *stage) positions() map[chat.ChatID]int64 {
	s.mu.Lock()
	chats := slices.Clone(s.chats)
	s.mu.Unlock()
	seqs, err := s.log.LastSeqs(s.t.Context(), chats)
	if err != nil {
		s.t.Error(err)
	}
	at := make(map[chat.ChatID]int64)
	for i, id := range chats {
		at[id] = seqs[i]
	}
	return at
}

func (s *stage) disconnect() {
	s.mu.Lock()
	if len(s.open) == 0 {
		s.mu.Unlock()
		return
	}
	i := s.rng.IntN(len(s.open))
	l := s.open[i]
	s.open = slices.Delete(s.open, i, i+1)
	s.mu.Unlock()
	l.Close()
}

// faulty is a log that sometimes cannot be read.
type faulty struct {
	source

	s *stage
}

func (f *faulty) fault(string) {
	f.s.pause()
	var err error
	if f.s.n(20) == 0 {
		err = errors.New("disk on fire")
	}
	if err == nil {
		f.broken.Store(nil)
	} else {
		f.broken.Store(&err)
	}
}

func play(t *testing.T, seed uint64, a Ablate) (complaints []string) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, rng: rand.New(rand.NewPCG(seed, 1)), truths: map[chat.ChatID]*truth{}}
		store := storetest.NewMemory()
		s.log = chat.NewLog(store)
		src := &faulty{s: s}
		src.Log = s.log
		src.reading = src.fault
		s.hub = New(Config{
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
			Source: src, Scan: time.Second, CatchUps: 2, Ablate: a, Log: slog.New(slog.DiscardHandler),
		})
		s.svc = chat.NewService(chat.Config{
			Store: store, Publisher: s, Passwords: password.New(password.Params{Memory: 64, Time: 1}), NoLimits: true,
		})
		w := &world{T: t, store: store}
		for range 6 {
			s.users = append(s.users, w.person())
		}
		var actors sync.WaitGroup
		for range 3 {
			actors.Go(func() {
				for range 150 {
					s.pause()
					s.act()
				}
			})
		}
		actors.Wait()
		for s.n(3) != 0 {
			s.arrive()
		}
		// What is late is lost now; everybody reads, and scans come.
		for range 40 {
			for _, l := range s.open {
				l.read(1000)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		for _, l := range s.all {
			complaints = append(complaints, s.check(l, slices.Contains(s.open, l))...)
		}
		if st := s.hub.Stats(); st.Dirty != 0 {
			complaints = append(complaints, fmt.Sprintf("at the end: %+v", st))
		}
		for _, l := range s.open {
			l.Close()
		}
		s.hub.Close()
		if st := s.hub.Stats(); st.Conns+st.Subscribed+st.Rooms+st.Members+st.Dirty != 0 {
			complaints = append(complaints, fmt.Sprintf("left behind: %+v", st))
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return complaints
}
