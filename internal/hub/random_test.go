package hub

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub/fakebus"
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
		if complaints := play(t, base+i, 1, Ablate{}); len(complaints) > 0 {
			t.Fatalf("seed %d:\n%s", base+i, strings.Join(complaints[:min(10, len(complaints))], "\n"))
		}
	}
}

// The same on several nodes above one store. Everybody connects and speaks now
// here, now there; what a node hears of its own updates comes later than the
// others may read them; and their bus loses, doubles, holds back and makes up
// what it likes, and is cut now and then.
func TestRandomDeliveryOnNodes(t *testing.T) {
	seeds := 40
	if testing.Short() {
		seeds = 6
	}
	base := uint64(time.Now().UnixNano())
	for i := range uint64(seeds) {
		nodes := 2 + int(i)%2
		if complaints := play(t, base+i, nodes, Ablate{}); len(complaints) > 0 {
			t.Fatalf("seed %d, %d nodes:\n%s", base+i, nodes, strings.Join(complaints[:min(10, len(complaints))], "\n"))
		}
	}
}

// The test above is worth what it catches: each guard that is taken out has to
// show before long.
func TestRandomDeliveryNeedsItsGuards(t *testing.T) {
	for name, without := range map[string]struct {
		Ablate

		nodes int
	}{
		"rescan":              {Ablate{NoRescan: true}, 1},
		"dirty set":           {Ablate{NoDirtySet: true}, 1},
		"fill":                {Ablate{NoFill: true}, 1},
		"listing before load": {Ablate{LoadBeforeListing: true}, 1},
		"rescan on nodes":     {Ablate{NoRescan: true}, 2},
		"settling":            {Ablate{NoSettling: true}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(1000) {
				if complaints := play(t, seed, without.nodes, without.Ablate); len(complaints) > 0 {
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
	early           bool        // nobody had been answered yet
}

// listener is a connection that has little room.
type listener struct {
	*Conn

	user chat.UserID
	node *site
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
		e.early = l.node.stage.early(e.chat, e.seq)
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
	sites []*site
	net   *fakebus.Net // between them
	log   *chat.Log
	users []chat.UserID

	mu     sync.Mutex
	rng    *rand.Rand
	truths map[chat.ChatID]*truth
	chats  []chat.ChatID
	late   []lateHint // under way
	open   []*listener
	all    []*listener
}

type lateHint struct {
	to *site
	e  chat.Event
}

func (s *stage) n(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(n)
}

// pause lets some time of the bubble's go by, so that others get ahead.
func (s *stage) pause() { time.Sleep(time.Duration(s.n(4)) * time.Millisecond) }

// Publish writes down what was committed on a node and is answered now, and lets
// the hint of it go astray.
func (n *site) Publish(e chat.Event) {
	s := n.stage
	s.mu.Lock()
	tr := s.truths[e.Chat]
	if tr == nil {
		tr = &truth{history: chat.HistoryAll, by: make(map[int64]*site)}
		if e.Chat%2 == 0 {
			tr.history = chat.HistoryJoined
		}
		s.truths[e.Chat] = tr
		s.chats = append(s.chats, e.Chat)
	}
	for int64(len(tr.events)) < e.Seq { // that of another node may be behind
		tr.events = append(tr.events, chat.Event{})
	}
	tr.events[e.Seq-1] = e
	tr.by[e.Seq] = n
	var now []chat.Event
	switch s.rng.IntN(10) {
	case 0: // lost
	case 1:
		now = append(now, e, e)
	case 2, 3:
		s.late = append(s.late, lateHint{n, e})
	case 4:
		s.late = append(s.late, lateHint{n, e})
		now = append(now, e)
	default:
		now = append(now, e)
	}
	s.mu.Unlock()
	for _, e := range now {
		n.hub.Publish(e)
	}
}

func (n *site) PublishPlace(p chat.Participant, read bool)   { n.hub.PublishPlace(p, read) }
func (n *site) PublishTyping(chat.ChatID, chat.UserID, bool) {}
func (n *site) PublishPresence(chat.UserID)                  {}
func (n *site) PublishUser(user chat.UserID)                 { n.hub.PublishUser(user) }
func (n *site) EndSessions([]chat.SessionID)                 {}

// early reports whether whoever made a change has not been answered yet.
func (s *stage) early(id chat.ChatID, seq int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	tr := s.truths[id]
	return tr == nil || tr.by[seq] == nil
}

// arrive lets a late hint through.
func (s *stage) arrive() {
	s.mu.Lock()
	if len(s.late) == 0 {
		s.mu.Unlock()
		return
	}
	i := s.rng.IntN(len(s.late))
	l := s.late[i]
	s.late = slices.Delete(s.late, i, i+1)
	s.mu.Unlock()
	l.to.hub.Publish(l.e)
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
	at := s.sites[s.n(len(s.sites))]
	do := s.n(100)
	switch {
	case do < 2 || !ok:
		history := chat.HistoryAll
		// Which chats show newcomers what was before them is told by their id,
		// which only the store knows: both are made, and one is left alone.
		st, _, err := at.svc.CreateChat(ctx, a, chat.NewChat{Kind: chat.KindGroup, Title: "Port", History: history, Users: []chat.UserID{other}})
		if err == nil && st.Chat.ID%2 == 0 {
			joined := chat.HistoryJoined
			_, _ = at.svc.UpdateChat(ctx, a, st.Chat.ID, chat.ChatPatch{History: &joined})
		}
	case do < 30:
		done := make(chan struct{})
		at.svc.Send(a, chat.NewMessage{Chat: id, Content: "hi"}, nil, func(chat.SendResult, error) { close(done) })
		<-done
	case do < 40:
		done := make(chan struct{})
		at.svc.Edit(a, chat.MessageEdit{Chat: id, Seq: int64(s.n(20) + 1), Content: fmt.Sprint(s.n(1000))}, nil, func(int64, error) { close(done) })
		<-done
	case do < 43:
		done := make(chan struct{})
		at.svc.Delete(a, id, int64(s.n(20)+1), nil, func(int64, error) { close(done) })
		<-done
	case do < 53:
		_, _ = at.svc.AddParticipants(ctx, a, id, []chat.UserID{other, s.someUser()}, "")
	case do < 60:
		_, _ = at.svc.RemoveParticipant(ctx, a, id, other)
	case do < 63:
		_, _ = at.svc.UpdateParticipant(ctx, a, id, other, []chat.Role{chat.RoleOwner, chat.RoleAdmin, chat.RoleMember}[s.n(3)])
	case do < 65:
		title := fmt.Sprint("Title ", s.n(100))
		_, _ = at.svc.UpdateChat(ctx, a, id, chat.ChatPatch{Title: &title})
	case do < 66 && s.n(3) == 0:
		_ = at.svc.DeleteChat(ctx, a, id)
	case do < 72:
		s.connect(at, user)
	case do < 75:
		s.disconnect()
	case do < 80:
		s.arrive()
	case do < 81:
		at.hub.Rescan()
	case do < 84 && len(s.sites) > 1:
		s.disturb(at)
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

func (s *stage) connect(at *site, user chat.UserID) {
	l := &listener{user: user, node: at, room: 1 + s.n(12), before: s.positions()}
	l.Conn = at.hub.Register(1, user, l)
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
	most := chat.ChatID(16) // of those that nobody was answered about yet
	for _, id := range s.chats {
		most = max(most, id+16)
	}
	s.mu.Unlock()
	var chats []chat.ChatID
	for id := range most {
		chats = append(chats, id+1)
	}
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

func play(t *testing.T, seed uint64, nodes int, a Ablate) (complaints []string) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, rng: rand.New(rand.NewPCG(seed, 1)), truths: map[chat.ChatID]*truth{}}
		store := storetest.NewMemory()
		s.log = chat.NewLog(store)
		s.net = fakebus.NewNet(seed, fakebus.Faults{Lose: 15, Double: 15, Hold: 20})
		for range nodes {
			s.sites = append(s.sites, newSite(s, store, nodes > 1, a))
		}
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
			if nodes == 1 {
				synctest.Wait()
			}
		}
		for _, l := range s.all {
			complaints = append(complaints, s.check(l, slices.Contains(s.open, l))...)
		}
		for _, n := range s.sites {
			if st := n.hub.Stats(); st.Dirty != 0 {
				complaints = append(complaints, fmt.Sprintf("at the end: %+v", st))
			}
		}
		for _, l := range s.open {
			l.Close()
		}
		for _, n := range s.sites {
			n.hub.Close()
			if st := n.hub.Stats(); st.Conns+st.Subscribed+st.Rooms+st.Members+st.Dirty != 0 {
				complaints = append(complaints, fmt.Sprintf("left behind: %+v", st))
			}
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return complaints
}
