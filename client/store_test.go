package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// memory is a Store and a Directory that can be made to wait and to fail.
type memory struct {
	state client.State
	wait  chan struct{} // each call takes one, if it is there

	mu      sync.Mutex
	under   int // calls under way
	calls   []string
	applied []client.Event
	fail    error // of Apply
}

func (m *memory) call(name string) {
	m.mu.Lock()
	m.under++
	if m.under > 1 {
		name += " beside another"
	}
	m.calls = append(m.calls, name)
	m.mu.Unlock()
	if m.wait != nil {
		<-m.wait
	}
	m.mu.Lock()
	m.under--
	m.mu.Unlock()
}

func (m *memory) called() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.calls...)
}

func (m *memory) failWith(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

func (m *memory) Load(context.Context) (client.State, error) { return m.state, nil }

func (m *memory) Apply(_ context.Context, evs []client.Event) error {
	m.call("Apply")
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.applied = append(m.applied, evs...)
	return nil
}

func (m *memory) Put(context.Context, client.Item) error {
	m.call("Put")
	return nil
}

func (m *memory) Drop(context.Context, string) error {
	m.call("Drop")
	return nil
}

func (m *memory) Users(context.Context, ...string) ([]protocol.User, error) {
	m.call("Users")
	return nil, nil
}

func (m *memory) PutUsers(context.Context, ...protocol.User) error {
	m.call("PutUsers")
	return nil
}

// offline is a network that is down.
func offline(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("connection refused")
}

// An event that the Store could not keep is not handed out, and the client stops
// and says why.
func TestStoreFails(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	port := ana.Group("Port", bob)
	kept := &memory{}
	c := open(t, client.Config{Server: srv.Addr, Token: bob.Token, Store: kept})
	until(t, c, is(client.Synced))
	boom := errors.New("no space left")
	kept.failWith(boom)
	ana.Send(port, "hi")
	ctx := testContext(t)
	for range 2 {
		if ev, err := c.Next(ctx); !errors.Is(err, boom) {
			t.Errorf("told %+v, %v", ev, err)
		}
	}
	if _, err := c.Batch(ctx); !errors.Is(err, boom) {
		t.Errorf("a batch: %v", err)
	}
	if err := c.Ready(ctx); !errors.Is(err, boom) {
		t.Errorf("ready: %v", err)
	}
	if _, err := c.Queue(ctx, client.Draft{ChatID: port, Content: "hi"}); !errors.Is(err, boom) {
		t.Errorf("queueing: %v", err)
	}
	if err := c.Err(); !errors.Is(err, boom) {
		t.Errorf("it stopped for %v", err)
	}
	if err := c.Close(); err != nil || c.Connection().Link != client.Stopped {
		t.Errorf("closing: %v, %+v", err, c.Connection())
	}
	if _, err := c.Queue(ctx, client.Draft{ChatID: port, Content: "hi"}); !errors.Is(err, boom) {
		t.Errorf("queueing when it has stopped: %v", err)
	}
	for _, ev := range kept.applied {
		if ev.Kind == client.MessageCreated {
			t.Errorf("kept %+v", ev)
		}
	}
}

// A Store is asked one thing at a time, and who has waited long enough need not
// wait for his turn.
func TestStoreIsAskedOneThingAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := &memory{wait: make(chan struct{})}
		c, err := client.Open(client.Config{Server: "grima://localhost", Token: "gt_x", Store: kept, Dial: offline})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Queue(t.Context(), client.Draft{ChatID: "c_1", Content: "hi"}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if _, err := c.Users(t.Context(), "u_1"); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := c.Users(ctx, "u_2"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who did not wait: %v", err)
			}
		})
		time.Sleep(2 * time.Second)
		if got := kept.called(); len(got) != 1 || got[0] != "Put" {
			t.Errorf("at first: %q", got)
		}
		close(kept.wait)
		wg.Wait()
		if got := kept.called(); len(got) != 2 || got[1] != "Users" {
			t.Errorf("in the end: %q", got)
		}
		c.Close()
	})
}

// Of two messages of one ID that are queued at once one is taken.
func TestQueueTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := &memory{wait: make(chan struct{})}
		c, err := client.Open(client.Config{Server: "grima://localhost", Token: "gt_x", Store: kept, Dial: offline, MaxOutbox: 2})
		if err != nil {
			t.Fatal(err)
		}
		d := client.Draft{ID: "k", ChatID: "c_1", Content: "hi"}
		results := make(chan error, 2)
		for range 2 {
			go func() { _, err := c.Queue(t.Context(), d); results <- err }()
			synctest.Wait()
		}
		select {
		case err := <-results:
			if e, ok := errors.AsType[*protocol.Error](err); !ok || e.Code != protocol.CodeConflict {
				t.Errorf("the second: %v", err)
			}
		default:
			t.Error("both are being kept")
		}
		close(kept.wait)
		if err := <-results; err != nil {
			t.Errorf("the first: %v", err)
		}
		if box := c.Outbox(); len(box) != 1 {
			t.Errorf("in the outbox: %+v", box)
		}
		// One that could not be kept does not stay in the way.
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		d.ID = "k2"
		if _, err := c.Queue(ended, d); !errors.Is(err, context.Canceled) {
			t.Errorf("by who had gone: %v", err)
		}
		if _, err := c.Queue(t.Context(), d); err != nil {
			t.Errorf("again: %v", err)
		}
		c.Close()
	})
}

// Whose a Store is is kept before the first message of its outbox goes out, and
// also if nothing is synced.
func TestStoreIsTied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := &memory{wait: make(chan struct{}), state: client.State{Outbox: []client.Item{
			{Draft: client.Draft{ID: "k", ChatID: "c_1", Content: "hi"}, Progress: client.Pending},
		}}}
		h := &hostile{}
		heard := make(chan string, 10)
		h.serve = func(conn net.Conn, _ int) {
			r := bufio.NewReader(conn)
			line, _ := r.ReadString('\n')
			req, _ := protocol.DecodeRequest([]byte(strings.TrimSpace(line)))
			fmt.Fprintf(conn, greeting+`{"type":"SessionResponse","id":%s,"op":"session.start","result":{"session_id":"s_1","user":{"user_id":"u_1","username":"me","name":"Me"},"expires_at":"","epoch":"e","heartbeat_ms":30000}}`+"\n", req.ID)
			line, _ = r.ReadString('\n')
			heard <- line
			io.Copy(io.Discard, r)
		}
		c, err := client.Open(client.Config{Server: "grima://localhost", Token: "gt_x", Store: kept, Dial: h.dial, Calls: true})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case line := <-heard:
			t.Errorf("before the Store knows whose it is, there goes %s", line)
		default:
		}
		close(kept.wait)
		if line := <-heard; !strings.Contains(line, protocol.OpMessageSend) {
			t.Errorf("there goes %s", line)
		}
		if len(kept.applied) != 1 || kept.applied[0].UserID != "u_1" {
			t.Errorf("kept %+v", kept.applied)
		}
		c.Close()
		h.wg.Wait()
	})
}

// Who runs out of time hears what was in the way.
func TestWhyItTookTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := client.Open(client.Config{Server: "grima://localhost", Token: "gt_x", Dial: offline})
		if err != nil {
			t.Fatal(err)
		}
		for what, do := range map[string]func(context.Context) error{
			"send": func(ctx context.Context) error {
				_, err := c.Send(ctx, client.Draft{ChatID: "c_1", Content: "hi"})
				return err
			},
			"call":  func(ctx context.Context) error { _, err := c.UsersMe(ctx); return err },
			"ready": c.Ready,
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if err := do(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("%s: %v", what, err)
			}
			cancel()
		}
		c.Close()

		// And when the server says that it has no time.
		h := &hostile{}
		h.serve = func(conn net.Conn, _ int) {
			r := welcome(conn)
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if req, _ := protocol.DecodeRequest([]byte(strings.TrimSpace(line))); req.Op == protocol.OpMessageSend {
					fmt.Fprintf(conn, `{"type":"BroadcastResponse","id":%s,"op":"message.send","error":{"code":"unavailable","message":"the disk is full","retryable":true}}`+"\n", req.ID)
				}
			}
		}
		c, err = client.Open(client.Config{Server: "grima://localhost", Token: "gt_x", Dial: h.dial})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		it, err := c.Send(ctx, client.Draft{ChatID: "c_1", Content: "hi"})
		if e, ok := errors.AsType[*protocol.Error](err); !ok || e.Message != "the disk is full" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("sent: %v", err)
		}
		if it.Progress != client.Pending || it.Tries < 2 || it.Err == nil {
			t.Errorf("the message: %+v", it)
		}
		c.Close()
		h.wg.Wait()
	})
}

// Text that is not UTF-8 is the caller's mistake, which he hears of; the
// connection does not suffer.
func TestNotUTF8(t *testing.T) {
	const bad = "\xff"
	for name, cfg := range map[string]client.Config{
		"token":  {Token: bad},
		"device": {Token: "gt_x", Device: bad},
		"agent":  {Token: "gt_x", Agent: bad},
	} {
		cfg.Server = "localhost"
		_, err := client.Open(cfg)
		if e, ok := errors.AsType[*protocol.Error](err); !ok || e.Code != protocol.CodeInvalidUTF8 {
			t.Errorf("%s: %v", name, err)
		}
	}
	srv := testserver.Start(t)
	bob := srv.User("bob").Connect()
	port := bob.Group("Port")
	c := open(t, client.Config{Server: srv.Addr, Token: bob.Token})
	ctx := testContext(t)
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	queue := func(d client.Draft) error { _, err := c.Queue(ctx, d); return err }
	for name, err := range map[string]error{
		"focus":      c.Focus(port, bad),
		"typing":     c.Typing(bad, false),
		"an id":      queue(client.Draft{ID: bad, ChatID: port, Content: "x"}),
		"a chat":     queue(client.Draft{ChatID: bad, Content: "x"}),
		"content":    queue(client.Draft{ChatID: port, Content: bad}),
		"a mention":  queue(client.Draft{ChatID: port, Content: "x", Mentions: []string{bad}}),
		"a call":     func() error { _, err := c.ChatsGet(ctx, protocol.ChatParams{ChatID: bad}); return err }(),
		"a password": func() error { _, err := client.Login(ctx, client.Config{Server: srv.Addr}, "bob", bad); return err }(),
	} {
		if e, ok := errors.AsType[*protocol.Error](err); !ok || e.Code != protocol.CodeInvalidUTF8 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Do(ctx, protocol.OpChatsGet, []byte(`{"chat_id":"`+bad+`"}`)); err == nil {
		t.Error("a call with params of its own was made")
	}
	c.MarkRead(bad, 1)
	// The same connection goes on.
	if err := errors.Join(c.Focus(port), c.Typing(port, false)); err != nil {
		t.Error(err)
	}
	if _, err := c.Send(ctx, client.Draft{ChatID: port, Content: "x"}); err != nil {
		t.Error(err)
	}
	for wait, stop := context.WithCancel(ctx); ; {
		stop()
		evs, err := c.Batch(wait)
		if err != nil {
			break
		}
		for _, ev := range evs {
			if ev.Kind == client.ConnectionChanged && ev.Connection.Link == client.Offline {
				t.Errorf("the connection ended: %v", ev.Connection.Err)
			}
		}
	}
	if link := c.Connection(); link.Link != client.Online {
		t.Errorf("now %+v", link)
	}
}
