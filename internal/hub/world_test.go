package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/password"
	"github.com/grima-chat/grima/internal/store/storetest"
)

// world is a hub above a store in memory, with the rules in between. What the
// rules publish is kept until the test lets it through.
type world struct {
	*testing.T

	hub   *Hub
	store *storetest.Memory
	svc   *chat.Service
	source
	ana, bob, cem, dan chat.UserID
	port               chat.ChatID

	mu      sync.Mutex
	kept    []chat.Event
	encoded int
	edited  int
}

// source is the store's log, with a hook after each read.
type source struct {
	*chat.Log

	reading func(what string)
	broken  atomic.Pointer[error]
	log     chat.Store // it says what changed, as a store of several processes does
}

// PeopleChanged makes a log of what has changed for each. It may say too much.
func (s *source) PeopleChanged(ctx context.Context, after int64, limit int) (list []chat.Place, upto int64, ok bool, err error) {
	if s.log == nil {
		list, upto, ok, err = s.Log.PeopleChanged(ctx, after, limit)
		return list, upto, ok, errors.Join(err, s.read("changes"))
	}
	err = s.log.View(ctx, func(r chat.Reader) error {
		if upto, err = r.LastStamp(); err != nil {
			return err
		}
		users, err := r.Users("", 0, 1<<20)
		if err != nil {
			return err
		}
		for _, u := range users {
			changed, err := r.ChangedChats(u.ID, chat.SyncPos{After: after}, 1<<20)
			if err != nil {
				return err
			}
			for _, c := range changed {
				list = append(list, chat.Place{Chat: c.Chat.ID, User: u.ID})
			}
		}
		return nil
	})
	if err = errors.Join(err, s.read("changes")); err != nil || after == 0 || len(list) > limit {
		return nil, upto, false, err
	}
	return list, upto, true, nil
}

func (s *source) read(what string) error {
	if s.reading != nil {
		s.reading(what)
	}
	if err := s.broken.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *source) Memberships(ctx context.Context, user chat.UserID) ([]chat.Membership, int64, error) {
	list, stamp, err := s.Log.Memberships(ctx, user)
	return list, stamp, errors.Join(err, s.read("memberships"))
}

func (s *source) Profiles(ctx context.Context, users []chat.UserID) ([]chat.Profile, error) {
	list, err := s.Log.Profiles(ctx, users)
	return list, errors.Join(err, s.read("profiles"))
}

func (s *source) Missed(ctx context.Context, id chat.ChatID, user chat.UserID, after, upto int64) (chat.Missed, error) {
	m, err := s.Log.Missed(ctx, id, user, after, upto)
	return m, errors.Join(err, s.read("missed"))
}

func (s *source) Changed(ctx context.Context, spans []chat.Span) ([]chat.Changed, error) {
	list, err := s.Log.Changed(ctx, spans)
	return list, errors.Join(err, s.read("changed"))
}

// newWorld has four people, and a chat of Ana's alone, at 1.
func newWorld(t *testing.T, set ...func(*Config)) *world {
	t.Helper()
	w := &world{T: t, store: storetest.NewMemory()}
	w.source.Log = chat.NewLog(w.store)
	cfg := Config{
		Encode: func(dst []byte, e chat.Event) []byte {
			w.mu.Lock()
			w.encoded++
			w.mu.Unlock()
			return describe(dst, e)
		},
		EncodeRead: func(dst []byte, _ chat.ChatID, user chat.UserID, seq int64) []byte {
			return fmt.Appendf(dst, "read by %d to %d\n", user, seq)
		},
		EncodePlace: func(dst []byte, p chat.Participant) []byte {
			return fmt.Appendf(dst, "read by oneself to %d, told of %q\n", p.ReadSeq, p.Notify)
		},
		EncodeTyping: func(dst []byte, _ chat.ChatID, user chat.UserID, stop bool) []byte {
			if stop {
				return fmt.Appendf(dst, "%d stopped\n", user)
			}
			return fmt.Appendf(dst, "%d types\n", user)
		},
		EncodeUser: func(dst []byte, u chat.User) []byte {
			return fmt.Appendf(dst, "%d is %s now\n", u.ID, u.Name)
		},
		EncodePresence: func(dst []byte, user chat.UserID, status chat.Status) []byte {
			return fmt.Appendf(dst, "%d is %s\n", user, status)
		},
		Source: &w.source,
	}
	for _, f := range set {
		f(&cfg)
	}
	w.hub = New(cfg)
	w.svc = chat.NewService(chat.Config{
		Store: w.store, Publisher: w, Passwords: password.New(password.Params{Memory: 64, Time: 1}), NoLimits: true,
	})
	t.Cleanup(func() {
		w.hub.Close()
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	w.ana, w.bob, w.cem, w.dan = w.person(), w.person(), w.person(), w.person()
	w.port = w.group(w.ana, chat.HistoryAll)
	w.forget()
	return w
}

// describe is an event's line in these tests: the kind, and what it covers.
func describe(dst []byte, e chat.Event) []byte {
	dst = append(dst, e.Kind...)
	if e.PrevSeq != e.Seq-1 {
		return fmt.Appendf(dst, " %d-%d\n", e.PrevSeq+1, e.Seq)
	}
	return fmt.Appendf(dst, " %d\n", e.Seq)
}

func (w *world) Publish(e chat.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept = append(w.kept, e)
}

func (w *world) PublishPlace(p chat.Participant, read bool) { w.hub.PublishPlace(p, read) }

// reads has the hub hear that somebody read up to seq.
func (w *world) reads(user chat.UserID, seq int64) {
	w.hub.PublishPlace(chat.Participant{Chat: w.port, User: user, ReadSeq: seq}, true)
}

// toSelf is what somebody hears of their own place.
func toSelf(seq int64, notify chat.Notify) string {
	return fmt.Sprintf("read by oneself to %d, told of %q", seq, notify)
}

func (w *world) PublishTyping(id chat.ChatID, user chat.UserID, stop bool) {
	w.hub.PublishTyping(id, user, stop)
}
func (w *world) PublishPresence(user chat.UserID) { w.hub.PublishPresence(user) }
func (w *world) PublishUser(user chat.UserID)     { w.hub.PublishUser(user) }
func (w *world) EndSessions(ids []chat.SessionID) { w.hub.EndSessions(ids) }

// tell lets what was kept through, and waits until it has been told.
func (w *world) tell() {
	for _, e := range w.take() {
		w.hub.Publish(e)
	}
	w.hub.Settle()
}

func (w *world) take() []chat.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := w.kept
	w.kept = nil
	return kept
}

// forget loses what was kept.
func (w *world) forget() { w.take() }

func (w *world) do(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) person() (id chat.UserID) {
	w.Helper()
	done := make(chan error, 1)
	w.store.Update(chat.Op{Run: func(tx chat.Tx) (err error) {
		if id, err = tx.NewUserID(); err != nil {
			return err
		}
		return tx.PutUser(chat.User{ID: id, Username: fmt.Sprint("user", id), Role: chat.RoleMember})
	}}, func(err error) { done <- err })
	w.do(<-done)
	return id
}

func (w *world) group(owner chat.UserID, history chat.History, others ...chat.UserID) chat.ChatID {
	w.Helper()
	st, _, err := w.svc.CreateChat(w.Context(), chat.Actor{User: owner}, chat.NewChat{Kind: chat.KindGroup, Title: "Port", History: history, Users: others})
	w.do(err)
	return st.Chat.ID
}

// says sends messages of Ana's, without waiting for what is told of them.
func (w *world) says(n int) (seq int64) {
	w.Helper()
	for range n {
		type sent struct {
			seq int64
			err error
		}
		done := make(chan sent, 1)
		w.svc.Send(chat.Actor{User: w.ana}, chat.NewMessage{Chat: w.port, Content: "hi"}, nil, func(r chat.SendResult, err error) { done <- sent{r.Seq, err} })
		s := <-done
		w.do(s.err)
		seq = s.seq
	}
	// The news comes after the answer: another update comes after both.
	w.person()
	return seq
}

func (w *world) edits(seq int64) {
	w.Helper()
	w.edited++
	done := make(chan error, 1)
	w.svc.Edit(chat.Actor{User: w.ana}, chat.MessageEdit{Chat: w.port, Seq: seq, Content: fmt.Sprint("edit ", w.edited)}, nil, func(_ int64, err error) { done <- err })
	w.do(<-done)
	w.person()
}

func (w *world) adds(users ...chat.UserID) {
	w.Helper()
	_, err := w.svc.AddParticipants(w.Context(), chat.Actor{User: w.ana}, w.port, users, "")
	w.do(err)
}

func (w *world) removes(user chat.UserID) {
	w.Helper()
	_, err := w.svc.RemoveParticipant(w.Context(), chat.Actor{User: w.ana}, w.port, user)
	w.do(err)
}

func (w *world) promotes(user chat.UserID) {
	w.Helper()
	_, err := w.svc.UpdateParticipant(w.Context(), chat.Actor{User: w.ana}, w.port, user, chat.RoleAdmin)
	w.do(err)
}

func (w *world) deletes() {
	w.Helper()
	w.do(w.svc.DeleteChat(w.Context(), chat.Actor{User: w.ana}, w.port))
}

// device is a connection that writes down what it hears.
type device struct {
	*Conn

	w     *world
	mu    sync.Mutex
	heard []string
	full  bool // there is no room
	ended []Reason
}

func (d *device) Deliver(r *Run) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return false
	}
	d.hearLocked(r)
	return true
}

func (d *device) hearLocked(r *Run) {
	for line := range strings.Lines(string(r.Bytes(Lines))) {
		d.heard = append(d.heard, strings.TrimSuffix(line, "\n"))
	}
}

func (d *device) Notice(r *Run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hearLocked(r)
}

func (d *device) End(r Reason) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = append(d.ended, r)
}

func (d *device) setFull(full bool) {
	d.mu.Lock()
	d.full = full
	d.mu.Unlock()
	if !full {
		d.Ready()
		d.w.hub.Settle()
	}
}

func (w *world) register(user chat.UserID) *device {
	d := &device{w: w}
	d.Conn = w.hub.Register(chat.SessionID(user), user, d)
	return d
}

func (w *world) connect(user chat.UserID) *device {
	w.Helper()
	d := w.register(user)
	if err := d.Subscribe(w.Context()); err != nil {
		w.Fatal(err)
	}
	return d
}

// hears checks what the device has heard since the last time.
func (d *device) hears(want ...string) {
	d.w.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if diff := cmp.Diff(want, d.heard, cmpopts.EquateEmpty()); diff != "" {
		d.w.Errorf("user %d heard (-want +got):\n%s", d.user, diff)
	}
	d.heard = nil
}

// wantEmpty checks that the hub remembers nothing.
func (w *world) wantEmpty() {
	w.Helper()
	w.hub.Settle()
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.sessions.n + h.users.n + len(h.rooms) + len(h.loading) + h.members + h.dirty; n != 0 {
		w.Errorf("left behind: %d sessions, %d users, %d rooms, %d loading, %d members, %d dirty",
			h.sessions.n, h.users.n, len(h.rooms), len(h.loading), h.members, h.dirty)
	}
}
