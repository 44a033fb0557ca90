package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/grima-chat/grima/internal/chat"
)

// Crasher is a store that can end as if its process was killed: what was under
// way is lost or not, dones that were not called may never be, and the files
// are as the crash left them. Afterwards it is only good for reopening.
type Crasher interface{ Crash() }

// RunRandom carries random updates out on a store and on a [Memory] beside it,
// and wants everything that can be read to be equal, whatever was undone,
// queued together or done again in between.
//
// open makes an empty store. reopen, unless nil, closes old, which may have been
// crashed, and opens what it stored: then restarts come in between, too. If the
// store is a [Crasher], so do crashes with updates under way; those that nobody
// heard of are asked for again.
func RunRandom(t *testing.T, open func(t testing.TB) chat.Store, reopen func(t testing.TB, old chat.Store) chat.Store) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{T: rt, store: open(t), model: NewMemory()}
		defer func() {
			if err := errors.Join(w.store.Close(), w.model.Close()); err != nil {
				rt.Errorf("Close: %v", err)
			}
		}()
		actions := map[string]func(*rapid.T){
			"update":  func(rt *rapid.T) { w.together(w.draw(rt)) },
			"burst":   func(rt *rapid.T) { w.together(w.drawMany(rt)...) },
			"compare": w.compare,
		}
		if reopen != nil {
			actions["restart"] = func(*rapid.T) {
				epoch := w.store.Epoch()
				w.store = reopen(t, w.store)
				if e := w.store.Epoch(); e != epoch {
					w.Errorf("the epoch went from %q to %q", epoch, e)
				}
			}
			if _, ok := w.store.(Crasher); ok {
				actions["crash"] = func(rt *rapid.T) {
					w.crash(rt, func(old chat.Store) chat.Store {
						old.(Crasher).Crash()
						return reopen(t, old)
					})
				}
			}
		}
		rt.Repeat(actions)
		w.compare(rt)
		CheckLog(rt, w.store)
	})
}

// world is a store, what it should be, and what has been made in both.
type world struct {
	*rapid.T
	store  chat.Store
	model  *Memory
	users  []chat.UserID
	chats  []chat.ChatID
	ids    map[string]bool // all that were given out for good
	points []point
	clock  int // minutes
	keys   int
}

// point is the LastStamp of both at the same moment.
type point struct{ store, model int64 }

// step is an update that has not happened yet.
type step struct {
	name string
	run  write
	then func() // after it succeeded
}

// Names, tokens and keys come from so few that they meet again.
var (
	someNames = []string{"ana", "bob", "eve", "zoë", "an_a", "ana2"}
	someKeys  = []string{"k1", "k2", "K1", "0f8c2a4e-7d11-4a0e-9f1c-3a1f0b6f8a11"}
	// A store may keep long contents elsewhere.
	someContents = rapid.OneOf(someTexts, rapid.SampledFrom([]string{strings.Repeat("a", 768), strings.Repeat("é", 385), strings.Repeat("long ", 1000)}))
	someTexts    = rapid.SampledFrom([]string{"", "hi", "The crane is free.", "😀\u2028\n", "שלום", "\ufffd"})
	someRoles    = rapid.SampledFrom([]chat.Role{chat.RoleOwner, chat.RoleAdmin, chat.RoleMember})
	someHashes   = rapid.SampledFrom([]string{"one", "two", "three", "four"})
)

func pick[T any](rt *rapid.T, what string, from []T) T { return rapid.SampledFrom(from).Draw(rt, what) }

func (w *world) now() time.Time {
	w.clock++
	return someTime(w.clock)
}

// draw gives a random step. It uses only what is there, so that some steps fail
// for what the steps before them in a burst did: that is wanted.
func (w *world) draw(rt *rapid.T) step {
	switch {
	case len(w.users) < 2:
		return w.newUser(rt)
	case len(w.chats) < 1:
		return w.newChat(rt)
	}
	at := w.now()
	id, user, other := pick(rt, "chat", w.chats), pick(rt, "user", w.users), pick(rt, "other", w.users)
	seq := rapid.Int64Range(1, w.chat(id).LastSeq+1).Draw(rt, "seq")
	plain := func(name string, run write) step { return step{name: name, run: run} }
	steps := []func() step{
		func() step { return w.newUser(rt) },
		func() step { return w.newChat(rt) },
		func() step { return plain("rename user", w.renameUser(user, pick(rt, "name", someNames))) },
		func() step { return w.newSession(rt, user, at) },
		func() step { return w.newInvite(rt, user, at) },
		func() step { return plain("drop sessions", dropSessions(user)) },
		func() step { return plain("drop invites", dropInvites) },
		func() step { return plain("join", join(id, user, someRoles.Draw(rt, "role"))) },
		func() step { return plain("leave", leave(id, user)) },
		func() step { return plain("set role", setRole(id, user, someRoles.Draw(rt, "role"))) },
		func() step { return plain("rename", rename(id, someTexts.Draw(rt, "title"))) },
		func() step { return plain("mark", mark(id, user, seq-1)) },
		func() step { return plain("list", listed(id, rapid.Bool().Draw(rt, "listed"))) },
		func() step {
			return plain("notify", notify(id, user, pick(rt, "level", []chat.Notify{chat.NotifyAll, chat.NotifyMentions, chat.NotifyNone})))
		},
		func() step {
			return plain("avatar", showAvatar(user, pick(rt, "picture", []string{"", "one", "two"})))
		},
		func() step { return plain("erase", erase(id, seq, at)) },
		func() step {
			return plain("edit", edit(id, seq, someContents.Draw(rt, "text"), at, rapid.Bool().Draw(rt, "all"), other))
		},
		func() step { return plain("undone", undo(text(id, user, "never"))) },
		func() step { return plain("panics", panics(rename(id, "never"))) },
		func() step { return w.say(rt, id, user, at) },
		func() step { return w.say(rt, id, user, at) },
		func() step { return w.say(rt, id, user, at) },
	}
	return pick(rt, "step", steps)()
}

func (w *world) drawMany(rt *rapid.T) []step {
	steps := make([]step, rapid.IntRange(2, 12).Draw(rt, "steps"))
	for i := range steps {
		steps[i] = w.draw(rt)
	}
	return steps
}

func undo(run write) write {
	return func(tx chat.Tx) error { return errors.Join(run(tx), errUndo) }
}

func panics(run write) write {
	return func(tx chat.Tx) error {
		if err := run(tx); err != nil {
			return err
		}
		panic("told to")
	}
}

func (w *world) newUser(rt *rapid.T) step {
	u := chat.User{Username: pick(rt, "name", someNames), Name: someTexts.Draw(rt, "name"), Role: someRoles.Draw(rt, "role"), CreatedAt: w.now()}
	return step{"new user", func(tx chat.Tx) (err error) {
		if u.ID, err = tx.NewUserID(); err != nil {
			return err
		}
		return tx.PutUser(u)
	}, func() { w.users = append(w.users, u.ID) }}
}

func (w *world) renameUser(id chat.UserID, name string) write {
	return func(tx chat.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		u.Username = name
		return tx.PutUser(u)
	}
}

func (w *world) newChat(rt *rapid.T) step {
	a, b := pick(rt, "creator", w.users), pick(rt, "other", w.users)
	c := newGroup(a)
	c.CreatedAt = w.now()
	if rapid.Bool().Draw(rt, "private") && a != b {
		c.Kind, c.Pair = chat.KindPrivate, [2]chat.UserID{min(a, b), max(a, b)}
	}
	if rapid.Bool().Draw(rt, "with an id") {
		c.ClientChatID = pick(rt, "client_chat_id", someKeys)
	}
	var others []chat.UserID
	if a != b {
		others = append(others, b)
	}
	return step{"new chat", create(&c, others...), func() { w.chats = append(w.chats, c.ID) }}
}

func (w *world) newSession(rt *rapid.T, user chat.UserID, at time.Time) step {
	s := chat.Session{User: user, TokenHash: hash(someHashes.Draw(rt, "token")), Device: someTexts.Draw(rt, "device"), CreatedAt: at, UsedAt: at, ExpiresAt: at}
	return step{name: "new session", run: func(tx chat.Tx) (err error) {
		if s.ID, err = tx.NewSessionID(); err != nil {
			return err
		}
		return tx.PutSession(s)
	}}
}

func (w *world) newInvite(rt *rapid.T, by chat.UserID, at time.Time) step {
	i := chat.Invite{CodeHash: hash(someHashes.Draw(rt, "code")), Role: someRoles.Draw(rt, "role"), MaxUses: 3, CreatedBy: by, CreatedAt: at, ExpiresAt: at}
	return step{name: "new invite", run: func(tx chat.Tx) (err error) {
		if i.ID, err = tx.NewInviteID(); err != nil {
			return err
		}
		return tx.PutInvite(i)
	}}
}

func dropSessions(user chat.UserID) write {
	return func(tx chat.Tx) error {
		list, err := tx.Sessions(user)
		for _, s := range list {
			err = errors.Join(err, tx.DeleteSession(s.ID))
		}
		return err
	}
}

func dropInvites(tx chat.Tx) error {
	list, err := tx.Invites()
	for _, i := range list {
		err = errors.Join(err, tx.DeleteInvite(i.ID))
	}
	return err
}

func (w *world) say(rt *rapid.T, id chat.ChatID, user chat.UserID, at time.Time) step {
	m := chat.Message{
		Chat: id, Sender: user, Content: someContents.Draw(rt, "text"), CreatedAt: at,
		Mentions: rapid.SliceOfNDistinct(rapid.SampledFrom(w.users), 0, 2, rapid.ID).Draw(rt, "mentions"), MentionAll: rapid.Bool().Draw(rt, "all"),
	}
	key := ""
	if rapid.Bool().Draw(rt, "with a key") {
		key = pick(rt, "key", someKeys)
	}
	say := send(m, key)
	return step{name: "say", run: func(tx chat.Tx) error {
		if p, err := tx.Participant(id, user); err != nil || !p.In() {
			return cmp.Or(err, errUndo)
		}
		return say(tx)
	}}
}

// chat reads a chat of the model's.
func (w *world) chat(id chat.ChatID) (c chat.Chat) {
	w.see(w.model, func(r chat.Reader) (err error) { c, err = r.Chat(id); return err })
	return c
}

func (w *world) see(s chat.Store, fn func(chat.Reader) error) {
	if err := s.View(context.Background(), fn); err != nil {
		w.Fatalf("view: %v", err)
	}
}

// together hands the steps to both stores at once, waits, and compares how they
// ended.
func (w *world) together(steps ...step) {
	given := make([][]int64, len(steps))
	got := w.outcomes(w.store, steps, func(i int, tx chat.Tx) chat.Tx {
		given[i] = nil // this may be another try
		return &idTx{Tx: tx, given: &given[i]}
	})
	want := w.outcomes(w.model, steps, func(i int, tx chat.Tx) chat.Tx { return &idTx{Tx: tx, given: &given[i], replay: true} })
	for i, s := range steps {
		if !sameOutcome(want[i], got[i]) {
			w.Fatalf("%s: got %v, want %v", s.name, got[i], want[i])
		}
		if got[i] == nil && s.then != nil {
			s.then()
		}
		if got[i] == nil {
			w.keep(s.name, given[i])
		}
	}
	w.mark()
}

// keep notes that ids were given out, once each.
func (w *world) keep(name string, ids []int64) {
	if w.ids == nil {
		w.ids = map[string]bool{}
	}
	for _, id := range ids {
		key := fmt.Sprint(name, " ", id)
		if id <= 0 || w.ids[key] {
			w.Errorf("%s was given out twice", key)
		}
		w.ids[key] = true
	}
}

// mark takes both stores' LastStamp; what comes is above.
func (w *world) mark() {
	var p point
	w.see(w.store, func(r chat.Reader) (err error) { p.store, err = r.LastStamp(); return err })
	w.see(w.model, func(r chat.Reader) (err error) { p.model, err = r.LastStamp(); return err })
	w.points = append(w.points, p)
}

func (w *world) outcomes(s chat.Store, steps []step, wrap func(i int, tx chat.Tx) chat.Tx) []error {
	var channels []<-chan error
	for i, step := range steps {
		channels = append(channels, begin(s, func(tx chat.Tx) error { return step.run(wrap(i, tx)) }))
	}
	var list []error
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for i, c := range channels {
		select {
		case err := <-c:
			list = append(list, err)
		case <-timer.C:
			w.Fatalf("%s was not done in %v", steps[i].name, patience)
		}
	}
	return list
}

func begin(s chat.Store, run write) <-chan error {
	c := make(chan error, 1)
	s.Update(chat.Op{Run: run}, func(err error) { c <- err })
	return c
}

func sameOutcome(a, b error) bool {
	return (a == nil) == (b == nil) && chat.CodeOf(a) == chat.CodeOf(b) && errors.Is(a, chat.ErrNotFound) == errors.Is(b, chat.ErrNotFound)
}

// crash ends the store with sends under way, and then asks again for all of
// them, as clients do. Those that were acknowledged must be there.
func (w *world) crash(rt *rapid.T, reopen func(chat.Store) chat.Store) {
	if len(w.chats) == 0 {
		return
	}
	type attempt struct {
		user chat.UserID
		key  string
		run  write
		done <-chan error
	}
	attempts := make([]attempt, rapid.IntRange(1, 20).Draw(rt, "under way"))
	heard := rapid.IntRange(0, len(attempts)).Draw(rt, "heard of")
	for i := range attempts {
		w.keys++
		a := &attempts[i]
		c := w.chat(pick(rt, "chat", w.chats))
		a.user, a.key = c.CreatedBy, fmt.Sprint("unanswered ", w.keys)
		a.run = send(chat.Message{Chat: c.ID, Sender: a.user, Content: a.key, CreatedAt: w.now()}, a.key)
	}
	for i := range attempts {
		attempts[i].done = begin(w.store, attempts[i].run)
	}
	for i := range heard {
		if err := <-attempts[i].done; err != nil {
			w.Fatalf("a send: %v", err)
		}
	}
	w.store = reopen(w.store)
	lost := false
	w.see(w.store, func(r chat.Reader) error {
		for i, a := range attempts {
			_, err := r.Sent(a.user, a.key)
			if err != nil && !errors.Is(err, chat.ErrNotFound) {
				return err
			}
			if err != nil && i < heard {
				w.Errorf("acknowledged send %d of %d is not there after a crash", i, heard)
			}
			if err == nil && lost {
				w.Errorf("send %d survived a crash that one before it did not", i)
			}
			lost = lost || err != nil
		}
		return nil
	})
	for _, a := range attempts {
		if err := errors.Join(<-begin(w.store, a.run), <-begin(w.model, a.run)); err != nil {
			w.Fatalf("a send, again: %v", err)
		}
	}
	w.mark()
}

// idTx notes the ids a store gives out, or gives out those another store did.
type idTx struct {
	chat.Tx
	given  *[]int64
	replay bool
	next   int
}

func (t *idTx) NewUserID() (chat.UserID, error)       { return newID(t, t.Tx.NewUserID) }
func (t *idTx) NewSessionID() (chat.SessionID, error) { return newID(t, t.Tx.NewSessionID) }
func (t *idTx) NewChatID() (chat.ChatID, error)       { return newID(t, t.Tx.NewChatID) }
func (t *idTx) NewInviteID() (chat.InviteID, error)   { return newID(t, t.Tx.NewInviteID) }

func newID[ID ~int64](t *idTx, fresh func() (ID, error)) (ID, error) {
	if !t.replay {
		id, err := fresh()
		*t.given = append(*t.given, int64(id))
		return id, err
	}
	t.next++
	if t.next > len(*t.given) {
		return 0, errors.New("the store under test did not get as far as to ask for this id")
	}
	return ID((*t.given)[t.next-1]), nil
}
