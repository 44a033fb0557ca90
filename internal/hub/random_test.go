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

// truth is a chat's log as it was committed.
type truth struct {
	events  []chat.Event // events[i].Seq is i+1
	history chat.History
}

// stay is a membership: [from, to] in seqs.
type stay struct{ from, to int64 }

// stays gives user's memberships.
func (tr *truth) stays(user chat.UserID) (list []stay) {
	const open = 1 << 60
	for _, e := range tr.events {
		switch e.Kind {
		case chat.ChatCreated, chat.ParticipantAdded:
			if e.Participant.User == user {
				list = append(list, stay{e.Seq, open})
			}
		case chat.ParticipantRemoved:
			if e.Participant.User == user {
				list[len(list)-1].to = e.Seq
			}
		case chat.ChatDeleted:
			if n := len(list); n > 0 && list[n-1].to == open {
				list[n-1].to = e.Seq
			}
		}
	}
	return list
}

func (tr *truth) kinds() (list []string) {
	for _, e := range tr.events {
		list = append(list, fmt.Sprint(e.Seq, " ", e.Kind, " ", tr.row(e.Seq)))
	}
	return list
}

// row names the row that the event at seq changed.
func (tr *truth) row(seq int64) string {
	e := tr.events[seq-1]
	switch {
	case e.Message != nil:
		return fmt.Sprint("message ", e.Message.Seq)
	case e.ChatRow != nil:
		return "chat"
	}
	return fmt.Sprint("participant ", e.Participant.User)
}

// superseded reports whether the row of seq changed again later. The creator's
// row and the chat's share a number.
func (tr *truth) superseded(seq int64) bool {
	row := tr.row(seq)
	for _, e := range tr.events[seq:] {
		if tr.row(e.Seq) == row {
			return true
		}
	}
	return false
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

// check holds what a connection heard against the truth.
func (s *stage) check(l *listener, open bool) (complaints []string) {
	lines := make(map[chat.ChatID][]told)
	for _, e := range l.heard {
		lines[e.chat] = append(lines[e.chat], e)
	}
	for id, tr := range s.truths {
		complain := func(format string, args ...any) {
			complaints = append(complaints, fmt.Sprintf("user %d, chat %d (subscribed at %d): ", l.user, id, l.at[id])+fmt.Sprintf(format, args...)+
				fmt.Sprintf("\n  heard %v\n  stays %v\n  log %v", lines[id], tr.stays(l.user), tr.kinds()))
		}
		stays := tr.stays(l.user)
		pos := int64(-1) // nothing was told
		ended := true
		for _, e := range lines[id] {
			in := slices.IndexFunc(stays, func(st stay) bool { return st.from <= e.seq && e.seq <= st.to })
			switch {
			case e.seq > int64(len(tr.events)) || e.seq <= e.prev:
				complain("%v is not in the log", e)
				return complaints
			case ended && e.prev < pos:
				complain("%v was told before", e)
			case !ended && e.prev != pos:
				complain("%v does not continue %d", e, pos)
			}
			if pos < 0 && in >= 0 && e.prev > max(l.at[id], stays[in].from-1) {
				complain("%v begins too late", e)
			}
			pos, ended = e.seq, false
			back := slices.ContainsFunc(stays, func(st stay) bool { return st.from == e.seq+1 })
			switch {
			case e.kind == chat.Gap:
			case in < 0:
				complain("%v is not theirs", e)
				continue
			case e.seq > 1 && e.kind != tr.events[e.seq-1].Kind:
				complain("%v is %s", e, tr.events[e.seq-1].Kind)
			case tr.history == chat.HistoryJoined && e.born < stays[in].from && e.seq > 3:
				complain("%v is from before their time", e)
			case e.kind == chat.ParticipantRemoved && e.user == l.user, e.kind == chat.ChatDeleted:
				ended = true
			}
			if e.kind == chat.Gap && back {
				continue // they were out in between
			}
			for q := e.prev + 1; q <= e.seq; q++ {
				if q == e.seq && e.kind != chat.Gap {
					continue
				}
				t := tr.events[q-1]
				hidden := in >= 0 && tr.history == chat.HistoryJoined && t.Message != nil && t.Message.Seq < stays[in].from
				if in >= 0 && q >= stays[in].from && !hidden && !tr.superseded(q) {
					complain("%v leaves out %s %d", e, t.Kind, q)
				}
			}
		}
		if !open || len(stays) == 0 {
			continue
		}
		// What they should have heard of at the end.
		last := stays[len(stays)-1]
		end := min(last.to, int64(len(tr.events)))
		switch {
		case end <= l.at[id] || pos == end:
		case last.from > max(l.before[id], pos) && last.to <= int64(len(tr.events)):
			// They came and went, and no hint of it arrived.
		default:
			complain("nothing was told after %d, up to %d", pos, end)
		}
	}
	return complaints
}
