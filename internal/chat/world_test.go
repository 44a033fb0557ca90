package chat_test

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/password"
	"github.com/grima-chat/grima/internal/store/storetest"
)

var (
	ctx      = context.Background()
	home     = netip.MustParseAddr("192.0.2.1")
	operator = chat.Actor{Operator: true}
	// Hashing is slow on purpose; in these tests it need not be.
	cheap = password.Params{Memory: 64, Time: 1}
)

// world is a Service on a store in memory, with somebody who writes down what
// it publishes.
type world struct {
	*chat.Service
	t     testing.TB
	store chat.Store
	news  *news
	clock *clock
	// large logs are not checked at the end: that takes its time.
	large bool
}

type option func(*chat.Config)

func with(set func(*chat.Config)) option { return set }

// onStore puts the service on wrap's store instead.
func onStore(wrap func(chat.Store) chat.Store) option {
	return func(cfg *chat.Config) { cfg.Store = wrap(cfg.Store) }
}

func newWorld(t testing.TB, opts ...option) *world {
	t.Helper()
	w := &world{t: t, news: &news{t: t, last: map[chat.ChatID]int64{}}, clock: &clock{now: time.Date(2026, 9, 20, 10, 0, 0, 0, time.UTC)}}
	cfg := chat.Config{
		Store: storetest.NewMemory(storetest.WithNow(w.clock.Now)), Publisher: w.news,
		Passwords: password.New(cheap), NoLimits: true, Now: w.clock.Now, Log: slog.New(slog.DiscardHandler),
	}
	for _, o := range opts {
		o(&cfg)
	}
	w.store = cfg.Store
	w.Service = chat.NewService(cfg)
	t.Cleanup(func() {
		if !w.large {
			storetest.CheckLog(t, w.store)
		}
		if err := w.store.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return w
}

// clock stands still unless it is told to go on.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// news is a Publisher that writes down what it hears, and watches that each
// chat's numbers come without holes.
type news struct {
	t testing.TB
	// lossy: the store does not tell of all commits, so numbers may be missed.
	lossy bool

	mu     sync.Mutex
	events []chat.Event
	last   map[chat.ChatID]int64
	reads  []chat.Participant
	levels []chat.Participant
	typing []chat.UserID
	seen   []chat.UserID
	rows   []chat.UserID
	ended  []chat.SessionID
}

func (n *news) Publish(e chat.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.Seq != n.last[e.Chat]+1 && !n.lossy || e.PrevSeq != e.Seq-1 {
		n.t.Errorf("chat %d: (%d, %d] was published after %d", e.Chat, e.PrevSeq, e.Seq, n.last[e.Chat])
	}
	n.last[e.Chat] = e.Seq
	n.events = append(n.events, e)
}

func (n *news) PublishPlace(p chat.Participant, read bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if read {
		n.reads = append(n.reads, chat.Participant{Chat: p.Chat, User: p.User, ReadSeq: p.ReadSeq})
	} else {
		n.levels = append(n.levels, chat.Participant{Chat: p.Chat, User: p.User, ReadSeq: p.ReadSeq, Notify: p.Notify})
	}
}

func (n *news) PublishTyping(_ chat.ChatID, user chat.UserID, _ bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.typing = append(n.typing, user)
}

func (n *news) PublishPresence(user chat.UserID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = append(n.seen, user)
}

func (n *news) PublishUser(user chat.UserID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rows = append(n.rows, user)
}

func (n *news) EndSessions(ids []chat.SessionID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended = append(n.ended, ids...)
}

// settle waits until everything that was written so far is published.
func (w *world) settle() {
	w.t.Helper()
	done := make(chan error, 1)
	w.store.Update(chat.Op{Run: func(chat.Tx) error { return nil }}, func(err error) { done <- err })
	if err := <-done; err != nil {
		w.t.Fatalf("settling: %v", err)
	}
}

// events are those published since the last call.
func (w *world) events() []chat.Event {
	w.t.Helper()
	w.settle()
	w.news.mu.Lock()
	defer w.news.mu.Unlock()
	list := w.news.events
	w.news.events = nil
	return list
}

// told is an event in short.
type told struct {
	Kind  chat.EventKind
	Seq   int64
	Who   chat.UserID // whose participant
	Actor chat.UserID
}

// hears checks which events were published since the last look.
func (w *world) hears(want ...told) {
	w.t.Helper()
	var got []told
	for _, e := range w.events() {
		x := told{Kind: e.Kind, Seq: e.Seq, Actor: e.Actor}
		if e.Participant != nil {
			x.Who = e.Participant.User
		}
		got = append(got, x)
	}
	same(w.t, got, want)
}

func (w *world) endedSessions() []chat.SessionID {
	w.t.Helper()
	w.settle()
	w.news.mu.Lock()
	defer w.news.mu.Unlock()
	list := w.news.ended
	w.news.ended = nil
	slices.Sort(list)
	return list
}

func same(t testing.TB, got, want any, opts ...gocmp.Option) {
	t.Helper()
	if diff := gocmp.Diff(want, got, opts...); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// refused checks that err is an *Error with code, and gives its sentence.
func refused(t testing.TB, err error, code chat.Code) string {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %s", code)
	}
	e, is := err.(*chat.Error)
	if !is || e.Code != code {
		t.Fatalf("error %v; want %s", err, code)
	}
	if e.Message == "" {
		t.Fatalf("%s says nothing", code)
	}
	return e.Message
}

// person is somebody with an account, logged in once.
type person struct {
	w *world
	chat.Actor
	name  string
	token string
}

func secret(name string) string { return "the secret of " + name }

// people makes accounts and logs them in.
func (w *world) people(names ...string) []*person {
	w.t.Helper()
	var list []*person
	for _, name := range names {
		_, err := w.Register(ctx, operator, home, chat.NewUser{Username: name, Password: secret(name)})
		ok(w.t, err)
		list = append(list, w.login(name))
	}
	return list
}

func (w *world) login(name string) *person {
	w.t.Helper()
	l, err := w.LoginPassword(ctx, home, name, secret(name), "laptop", "test/1")
	ok(w.t, err)
	return &person{w, l.Actor, name, l.Token}
}

// server makes somebody with a role on the server.
func (w *world) server(name string, role chat.Role) *person {
	w.t.Helper()
	_, err := w.Register(ctx, operator, home, chat.NewUser{Username: name, Password: secret(name), Role: role})
	ok(w.t, err)
	return w.login(name)
}

func ids(people ...*person) []chat.UserID {
	list := make([]chat.UserID, len(people))
	for i, p := range people {
		list[i] = p.User
	}
	return list
}

func (p *person) group(title string, others ...*person) chat.ChatID {
	p.w.t.Helper()
	st, _, err := p.w.CreateChat(ctx, p.Actor, chat.NewChat{Kind: chat.KindGroup, Title: title, Users: ids(others...)})
	ok(p.w.t, err)
	return st.Chat.ID
}

func (p *person) private(other *person) chat.ChatID {
	p.w.t.Helper()
	st, _, err := p.w.CreateChat(ctx, p.Actor, chat.NewChat{Kind: chat.KindPrivate, Peer: other.User})
	ok(p.w.t, err)
	return st.Chat.ID
}

func (p *person) trySend(m chat.NewMessage) (chat.SendResult, error) {
	type answer struct {
		chat.SendResult
		error
	}
	done := make(chan answer, 1)
	p.w.Send(p.Actor, m, nil, func(r chat.SendResult, err error) { done <- answer{r, err} })
	a := <-done
	return a.SendResult, a.error
}

func (p *person) say(id chat.ChatID, content string) int64 {
	p.w.t.Helper()
	r, err := p.trySend(chat.NewMessage{Chat: id, Content: content})
	ok(p.w.t, err)
	return r.Seq
}

func (p *person) edit(e chat.MessageEdit) (int64, error) {
	return waitChange(func(done func(int64, error)) { p.w.Edit(p.Actor, e, nil, done) })
}

func (p *person) erase(id chat.ChatID, seq int64) (int64, error) {
	return waitChange(func(done func(int64, error)) { p.w.Delete(p.Actor, id, seq, nil, done) })
}

func waitChange(start func(done func(int64, error))) (int64, error) {
	type answer struct {
		seq int64
		err error
	}
	done := make(chan answer, 1)
	start(func(seq int64, err error) { done <- answer{seq, err} })
	a := <-done
	return a.seq, a.err
}

func (p *person) add(id chat.ChatID, role chat.Role, others ...*person) {
	p.w.t.Helper()
	_, err := p.w.AddParticipants(ctx, p.Actor, id, ids(others...), role)
	ok(p.w.t, err)
}

// reads is the newest page, in short.
func (p *person) reads(id chat.ChatID) []string {
	p.w.t.Helper()
	page, err := p.w.Messages(ctx, p.Actor, id, chat.Anchor{}, chat.MaxPage)
	ok(p.w.t, err)
	return contents(page.Messages)
}

func contents(list []chat.Message) []string {
	var out []string
	for _, m := range list {
		if m.DeletedAt.IsZero() {
			out = append(out, m.Content)
		} else {
			out = append(out, "(deleted)")
		}
	}
	return out
}

// roles are who is in the chat, as what.
func (p *person) roles(id chat.ChatID) map[string]chat.Role {
	p.w.t.Helper()
	list, more, err := p.w.Participants(ctx, p.Actor, id, 0, 0)
	ok(p.w.t, err)
	if more {
		p.w.t.Fatal("more than a page of participants")
	}
	out := map[string]chat.Role{}
	for _, m := range list {
		out[m.Username] = m.Role
	}
	return out
}

func ptr[T any](v T) *T { return &v }

func seqs(list []chat.Message) []int64 {
	out := make([]int64, len(list))
	for i, m := range list {
		out[i] = m.Seq
	}
	return out
}
