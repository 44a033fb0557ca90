package tui

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/client/cache"
	"github.com/grima-chat/grima/internal/testserver"
)

// patience is how long a test waits for what must come at once.
const patience = time.Minute

// person is a whole grima chat without a terminal: a Model over a real client.
// Commands run beside it, as Bubble Tea runs them.
type person struct {
	*driver
	ctx  context.Context
	cl   *client.Client
	msgs chan tea.Msg
	wg   sync.WaitGroup
	stop context.CancelFunc
}

func newPerson(t *testing.T, cfg client.Config) *person {
	t.Helper()
	cl, err := client.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m := New(ctx, cl, Options{Location: time.UTC, Theme: "dark"})
	m.tick = func(time.Duration, func(time.Time) tea.Msg) tea.Cmd { return nil }
	p := &person{driver: &driver{t: t, m: m}, ctx: ctx, cl: cl, msgs: make(chan tea.Msg), stop: cancel}
	p.run(m.Init())
	p.press(tea.WindowSizeMsg{Width: 80, Height: 24})
	return p
}

// run carries commands out beside the model.
func (p *person) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	p.wg.Go(func() {
		switch msg := cmd().(type) {
		case nil:
		case tea.BatchMsg:
			for _, c := range msg {
				p.run(c)
			}
		default:
			select {
			case p.msgs <- msg:
			case <-p.ctx.Done():
			}
		}
	})
}

func (p *person) press(msg tea.Msg) {
	_, cmd := p.m.Update(msg)
	p.run(cmd)
}

// until plays until the screen is as it should be.
func (p *person) until(what string, ok func(text string) bool) {
	p.t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	for !ok(p.text()) {
		select {
		case msg := <-p.msgs:
			p.press(msg)
		case <-end.C:
			p.t.Fatalf("the screen never showed %s:\n%s", what, p.text())
		}
	}
}

func (p *person) shows(part string) {
	p.t.Helper()
	p.until(part, func(text string) bool { return strings.Contains(text, part) })
}

// arrived plays until what was sent has come back as messages: only then is it
// kept over a restart.
func (p *person) arrived() {
	p.t.Helper()
	p.until("that all has arrived", func(string) bool {
		for _, c := range p.m.chats {
			if !c.there || len(c.waiting) > 0 {
				return false
			}
		}
		return true
	})
}

// types types and presses Enter.
func (p *person) types(text string) {
	for _, r := range text {
		p.press(tea.KeyPressMsg{Code: r, Text: string(r)})
	}
	p.press(tea.KeyPressMsg{Code: tea.KeyEnter})
}

func (p *person) close() {
	p.t.Helper()
	p.stop()
	if err := p.cl.Close(); err != nil {
		p.t.Error(err)
	}
	p.wg.Wait()
}

func config(t testing.TB, s *testserver.Server, u *testserver.User) client.Config {
	t.Helper()
	cfg := client.Config{Server: "grima://" + s.Addr, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond}
	cred, err := client.Login(t.Context(), cfg, u.Name, u.Password)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Token = cred.Token
	return cfg
}

func TestTwoPeopleTalk(t *testing.T) {
	s := testserver.Start(t)
	ana := newPerson(t, config(t, s, s.User("ana")))
	defer ana.close()
	bob := newPerson(t, config(t, s, s.User("bob")))
	defer bob.close()
	ana.shows("online")
	bob.shows("online")

	ana.types("/msg @bob hello bob")
	ana.shows("hello bob")
	bob.shows("hello bob")
	bob.types("hello ana 👋")
	ana.shows("hello ana 👋")
	ana.shows("● bob")
	ana.shows("bob  online")
	ana.types("how are you?")
	bob.shows("how are you?")
	ana.shows("✓ read")
	bob.types("/presence hide")
	bob.shows("others see you as offline")
	ana.shows("bob  offline")
	bob.types("/presence show")
	ana.shows("bob  online")
	ana.until("no message that waits", func(text string) bool { return !strings.Contains(text, "◷") })

	ana.press(keyCodes["up"])
	ana.types("!")
	bob.shows("how are you?! (edited)")
	ana.types("/delete")
	ana.press(keyCodes["down"])
	ana.press(keyCodes["enter"])
	bob.shows("message deleted")

	ana.types("/new Port @bob")
	ana.shows("Port  2 people")
	ana.types("ahoy @bob")
	bob.until("a mention", func(text string) bool { return strings.Contains(text, "# Port") && strings.Contains(text, "@1") })
	bob.press(keyCodes["alt+a"])
	bob.shows("ahoy @bob")
	bob.until("that it is read", func(text string) bool { return !strings.Contains(text, "@1") })
	bob.press(tea.KeyPressMsg{Code: 'x', Text: "x"})
	ana.shows("bob is typing")
}

// cable is a network that can be pulled.
type cable struct {
	mu     sync.Mutex
	pulled bool
	conns  []net.Conn
}

var errPulled = errors.New("the cable is pulled")

func (c *cable) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pulled {
		return nil, errPulled
	}
	nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err == nil {
		c.conns = append(c.conns, nc)
	}
	return nc, err
}

func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = true
	for _, nc := range c.conns {
		_ = nc.Close() // its reader says so
	}
	c.conns = nil
}

func (c *cable) plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = false
}

// The network goes while somebody types; then the program, with messages that
// are not sent. Started again, they go out: each once, in order.
func TestPulledAndRestarted(t *testing.T) {
	s := testserver.Start(t)
	anaUser, bobUser := s.User("ana"), s.User("bob")
	bob := bobUser.Connect()
	file := filepath.Join(t.TempDir(), "cache.db")
	var net cable
	open := func() (*person, *cache.Cache) {
		kept, err := cache.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		cfg := config(t, s, anaUser)
		cfg.Dial, cfg.Store = net.dial, kept
		return newPerson(t, cfg), kept
	}
	ana, kept := open()
	ana.shows("online")
	ana.types("/msg @bob before")
	sent := func(text string) bool {
		return !strings.Contains(text, "wait") && !strings.Contains(text, "◷") && strings.Contains(text, "● online")
	}
	ana.until("that it is sent", func(text string) bool {
		return strings.Contains(text, "before") && !strings.Contains(text, "/msg") && sent(text)
	})
	ana.arrived()
	bob.Expect("before")

	net.pull()
	ana.types("while away 1")
	ana.until("that it is offline", func(text string) bool {
		return !strings.Contains(text, "● online") && strings.Contains(text, "1 message waits")
	})
	ana.types("while away 2")
	ana.shows("2 messages wait")
	net.plug()
	ana.until("that nothing waits", sent)
	ana.arrived()
	bob.Expect("while away 1", "while away 2")

	net.pull()
	ana.types("unsent 1")
	ana.types("unsent 2")
	ana.until("that both are in the outbox", func(text string) bool {
		return strings.Contains(text, "2 messages wait") && len(ana.cl.Outbox()) == 2
	})
	ana.close()
	if err := kept.Close(); err != nil {
		t.Fatal(err)
	}
	ana, kept = open()
	ana.shows("unsent 2") // read without a network
	ana.shows("before")
	ana.until("one's own name", func(text string) bool { return !strings.Contains(text, anaUser.ID) })
	ana.types("after the restart")
	ana.shows("3 messages wait") // or the other two could be sent before it is drawn
	net.plug()
	ana.until("that nothing waits", sent)
	bob.Expect("unsent 1", "unsent 2", "after the restart")
	for _, said := range []string{"while away 1", "while away 2", "unsent 1", "unsent 2", "after the restart"} {
		if n := strings.Count(ana.text(), said); n != 1 {
			t.Errorf("%q is on the screen %d times:\n%s", said, n, ana.text())
		}
	}
	bob.ExpectNothing()
	ana.close()
	if err := kept.Close(); err != nil {
		t.Fatal(err)
	}
}
