package cache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/client/cache"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// A program reads, searches and writes without a network, is started anew
// meanwhile, and what it wrote goes out once.
func TestOffline(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	port := ana.Group("Port", bob)
	for _, text := range []string{"one", "two", "three", "four"} {
		ana.Send(port, text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var network atomic.Bool
	network.Store(true)
	cfg := client.Config{
		Server: srv.Addr, Token: bob.Token, MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond,
		Dial: func(ctx context.Context, kind, addr string) (net.Conn, error) {
			if !network.Load() {
				return nil, errors.New("no network")
			}
			return (&net.Dialer{}).DialContext(ctx, kind, addr)
		},
	}
	path := filepath.Join(t.TempDir(), "bob.db")
	open := func() (*client.Client, *cache.Cache) {
		t.Helper()
		kept, err := cache.Open(path)
		must(t, err)
		cfg.Store = kept
		c, err := client.Open(cfg)
		must(t, err)
		return c, kept
	}
	until := func(c *client.Client, wanted func(client.Event) bool) {
		t.Helper()
		for {
			ev, err := c.Next(ctx)
			must(t, err)
			if wanted(ev) {
				return
			}
		}
	}
	c, kept := open()
	until(c, func(ev client.Event) bool { return ev.Kind == client.Synced })
	page, err := c.History(ctx, protocol.MessagesListParams{ChatID: port, Limit: 3})
	must(t, err)
	if got := contents(page.Messages); !slices.Equal(got, []string{"two", "three", "four"}) {
		t.Errorf("the newest page: %q", got)
	}
	_, err = c.Users(ctx, ana.ID)
	must(t, err)
	must(t, errors.Join(c.Close(), kept.Close()))

	network.Store(false)
	c, kept = open()
	if chats := c.Chats(); len(chats) != 1 || chats[0].Title != "Port" || c.Self().UserID != bob.ID {
		t.Errorf("offline there are %+v", chats)
	}
	page, err = c.History(ctx, protocol.MessagesListParams{ChatID: port, Limit: 50})
	must(t, err)
	if got := contents(page.Messages); !slices.Equal(got, []string{"two", "three", "four"}) || !page.HasMoreBefore {
		t.Errorf("offline: %q, more %v", got, page.HasMoreBefore)
	}
	if users, err := c.Users(ctx, ana.ID); err != nil || users[ana.ID].Username != "ana" {
		t.Errorf("offline: %v, %v", users, err)
	}
	if found, err := kept.Search(ctx, cache.Query{Text: "THREE"}); err != nil || len(found) != 1 {
		t.Errorf("offline found %v, %v", found, err)
	}
	id, err := c.Queue(ctx, client.Draft{ChatID: port, Content: "written offline"})
	must(t, err)
	dropped, err := c.Queue(ctx, client.Draft{ChatID: port, Content: "thought better of it"})
	must(t, err)
	if unsent, err := c.Discard(ctx, dropped); err != nil || !unsent {
		t.Errorf("discarded: %v, %v", unsent, err)
	}
	c.MarkRead(port, page.LastSeq)
	until(c, func(ev client.Event) bool { return ev.Kind == client.ChatState && ev.State.Mark == page.LastSeq })
	must(t, errors.Join(c.Close(), kept.Close()))
	ana.Send(port, "meanwhile")

	network.Store(true)
	c, kept = open()
	if box := c.Outbox(); len(box) != 1 || box[0].ID != id {
		t.Errorf("to send: %+v", box)
	}
	told := map[string]bool{}
	until(c, func(ev client.Event) bool {
		if ev.Kind == client.MessageCreated {
			told[ev.Message.Content] = true
		}
		return told["meanwhile"] && told["written offline"] && len(c.Outbox()) == 0 && c.Connection().Link == client.Online
	})
	// Nothing was thrown away, and nothing has to be asked for again.
	page, whole, err := kept.Page(ctx, protocol.MessagesListParams{ChatID: port, Limit: 5})
	must(t, err)
	if got := contents(page.Messages); len(got) != 5 || whole || got[0] != "two" {
		t.Errorf("kept: %q, whole %v", got, whole)
	}
	must(t, errors.Join(c.Close(), kept.Close()))
	var state protocol.ChatResult
	bob.Do(protocol.OpChatsGet, protocol.ChatParams{ChatID: port}, &state)
	if state.Chat.Unread != 1 {
		t.Errorf("of what was read offline the server knows: %+v", state.Chat)
	}
}

// With ApplyAfter an event that was being handled when the program died is told
// again; without, it is not.
func TestApplyAfter(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	port := ana.Group("Port", bob)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, after := range []bool{true, false} {
		run := 0
		path := filepath.Join(t.TempDir(), "bob.db")
		start := func() (*client.Client, *cache.Cache) {
			kept, err := cache.Open(path)
			must(t, err)
			c, err := client.Open(client.Config{Server: srv.Addr, Token: bob.Token, Store: kept, ApplyAfter: after})
			must(t, err)
			return c, kept
		}
		next := func(c *client.Client) string {
			for ev := range c.Events(ctx) {
				if ev.Kind == client.MessageCreated {
					return ev.Message.Content
				}
				if ev.Kind == client.Synced {
					run++
					ana.Send(port, fmt.Sprint("a", run))
					ana.Send(port, fmt.Sprint("b", run))
				}
			}
			t.Fatal(c.Err())
			return ""
		}
		c, kept := start()
		if got := next(c); got != "a1" {
			t.Fatal(got)
		}
		// It dies while it handles that.
		must(t, errors.Join(c.Close(), kept.Close()))
		c, kept = start()
		if got := next(c); (got == "a1") != after {
			t.Errorf("after %v: it goes on with %q", after, got)
		}
		must(t, errors.Join(c.Close(), kept.Close()))
	}
}

// What was not handed out when a program is closed cleanly is told by the next
// start, once and in order, and nothing that was handed out is.
func TestClosedInTheMiddle(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	port := ana.Group("Port", bob)
	path := filepath.Join(t.TempDir(), "bob.db")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// live gives its events to each until that says no.
	live := func(each func(client.Event) bool) {
		t.Helper()
		kept, err := cache.Open(path)
		must(t, err)
		c, err := client.Open(client.Config{Server: srv.Addr, Token: bob.Token, Store: kept})
		must(t, err)
		for ev := range c.Events(ctx) {
			if !each(ev) {
				break
			}
		}
		must(t, errors.Join(c.Err(), ctx.Err(), c.Close(), kept.Close()))
	}
	live(func(ev client.Event) bool { return ev.Kind != client.Synced })
	// They come in one page, and wait together.
	var want, got []string
	for i := range 40 {
		want = append(want, fmt.Sprint(i))
		ana.Send(port, fmt.Sprint(i))
	}
	for len(got) < len(want) {
		n := 0
		live(func(ev client.Event) bool {
			if ev.Kind == client.MessageCreated {
				got = append(got, ev.Message.Content)
				n++
			}
			return n < 7 && len(got) < len(want)
		})
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %q", got)
	}
}

// A file is its first user's, from the login on, or from the opening if that
// says who it is; before anything is synced, and also if nothing ever is.
func TestAnotherUser(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	port := ana.Group("Port", bob)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	nobody := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }
	for name, first := range map[string]client.Config{
		"says who": {Token: bob.Token, UserID: bob.ID, Dial: nobody},
		"asks":     {Token: bob.Token, Calls: true},
	} {
		kept := openCache(t, filepath.Join(t.TempDir(), "c.db"))
		first.Server, first.Store = srv.Addr, kept
		c, err := client.Open(first)
		must(t, err)
		if first.Dial == nil {
			must(t, c.Ready(ctx))
		}
		must(t, c.Close())
		// Bob's, not sent yet.
		must(t, kept.Put(ctx, client.Item{Draft: client.Draft{ID: "k", ChatID: port, Content: "bob's"}, Progress: client.Pending}))

		second := client.Config{Server: srv.Addr, Token: ana.Token, UserID: ana.ID, Store: kept}
		if _, err := client.Open(second); !errors.Is(err, client.ErrOtherUser) {
			t.Errorf("%s: opened as another: %v", name, err)
		}
		second.UserID = ""
		c, err = client.Open(second)
		must(t, err)
		if err := c.Ready(ctx); !errors.Is(err, client.ErrOtherUser) {
			t.Errorf("%s: logged in as another: %v", name, err)
		}
		must(t, c.Close())
		if box := c.Outbox(); len(box) != 1 || box[0].Tries > 0 {
			t.Errorf("%s: to send: %+v", name, box)
		}
	}
	ana.Send(port, "the first")
	bob.Expect("the first")
}

// What is tried again stands behind what was queued since, also after a restart.
func TestRetryGoesBehind(t *testing.T) {
	srv := testserver.Start(t)
	bob := srv.User("bob").Connect()
	kept := openCache(t, filepath.Join(t.TempDir(), "c.db"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := client.Open(client.Config{Server: srv.Addr, Token: bob.Token, Store: kept})
	must(t, err)
	failed := func(id string) {
		t.Helper()
		for ev := range c.Events(ctx) {
			if ev.Kind == client.OutboxChanged && ev.Outbox.ID == id && ev.Outbox.Progress == client.Failed {
				return
			}
		}
		t.Fatal(c.Err(), ctx.Err())
	}
	for _, id := range []string{"one", "two", "three"} {
		_, err := c.Queue(ctx, client.Draft{ID: id, ChatID: "c_99", Content: id})
		must(t, err)
		failed(id)
	}
	must(t, c.Retry(ctx, "one"))
	failed("one")
	must(t, c.Close())
	var lives, stays []string
	for _, it := range c.Outbox() {
		lives = append(lives, it.ID)
	}
	st, err := kept.Load(ctx)
	must(t, err)
	for _, it := range st.Outbox {
		stays = append(stays, it.ID)
	}
	if want := []string{"two", "three", "one"}; !slices.Equal(lives, want) || !slices.Equal(stays, want) {
		t.Errorf("in the outbox %q, and kept %q", lives, stays)
	}
}

// Without a connection a page of which nothing is kept is an error, and not an
// empty page that would be asked for again and again.
func TestNothingIsKept(t *testing.T) {
	kept := openCache(t, filepath.Join(t.TempDir(), "c.db"))
	ctx := t.Context()
	at := func(n int64) *int64 { return &n }
	must(t, kept.Apply(ctx, []client.Event{
		{Kind: client.CursorMoved, UserID: "u_1", Epoch: "e", Cursor: "k", Complete: true},
		{Kind: client.ChatAdded, ChatID: "c_1", State: state(5, 5)},
	}))
	c, err := client.Open(client.Config{
		Server: "grima://127.0.0.1:1", Token: "t", Store: kept,
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") },
	})
	must(t, err)
	defer func() { must(t, c.Close()) }()
	history := func(p protocol.MessagesListParams) (string, error) {
		p.ChatID, p.Limit = "c_1", 50
		page, err := c.History(ctx, p)
		return strings.Join(contents(page.Messages), " "), err
	}
	want := func(name string, p protocol.MessagesListParams, want string, wantErr error) {
		t.Helper()
		if got, err := history(p); got != want || !errors.Is(err, wantErr) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	want("of nothing", protocol.MessagesListParams{}, "", client.ErrOffline)
	// What is held is no message.
	must(t, kept.Apply(ctx, []client.Event{{Kind: client.ChatUpdated, ChatID: "c_1", PrevSeq: 5, Seq: 6, State: state(6, 6)}}))
	want("of no message", protocol.MessagesListParams{}, "", client.ErrOffline)
	must(t, kept.Apply(ctx, []client.Event{told(client.MessageCreated, message(7, "7"))}))
	want("the newest", protocol.MessagesListParams{}, "7", nil)
	want("before it", protocol.MessagesListParams{Before: at(6)}, "", client.ErrOffline)
	want("after it", protocol.MessagesListParams{After: at(7)}, "", client.ErrOffline)
	want("around another", protocol.MessagesListParams{Around: at(2)}, "", client.ErrOffline)
}

// A program that only sends, and reads no events, has nothing left to send once
// Send has returned: neither with the next start, nor as a bound on what waits.
func TestSentIsNotKept(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	port := ana.Group("Port", bob)
	kept := openCache(t, filepath.Join(t.TempDir(), "bob.db"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const most = 3
	c, err := client.Open(client.Config{Server: srv.Addr, Token: bob.Token, Store: kept, Calls: true, MaxOutbox: most})
	must(t, err)
	for i := range most + 1 {
		_, err := c.Send(ctx, client.Draft{ChatID: port, Content: fmt.Sprint(i)})
		must(t, err)
	}
	must(t, c.Close())
	state, err := kept.Load(ctx)
	must(t, err)
	if n := len(state.Outbox); n != 0 {
		t.Errorf("of %d messages that were sent %d are to be sent again", most+1, n)
	}
	c, err = client.Open(client.Config{
		Server: srv.Addr, Token: bob.Token, Store: kept, MaxOutbox: most,
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") },
	})
	must(t, err)
	if _, err := c.Queue(ctx, client.Draft{ChatID: port, Content: "offline"}); err != nil {
		t.Errorf("with nothing in the outbox: %v", err)
	}
	must(t, c.Close())
}

// A bot that dies after it has answered is told again, and answers once if its
// answers have IDs that follow from what they answer.
func TestToldTwiceAnsweredOnce(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	port := ana.Group("Port", bob)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	path := filepath.Join(t.TempDir(), "bob.db")
	const runs = 4
	for run := range runs {
		kept, err := cache.Open(path)
		must(t, err)
		c, err := client.Open(client.Config{Server: srv.Addr, Token: bob.Token, Store: kept, ApplyAfter: true})
		must(t, err)
		for ev := range c.Events(ctx) {
			if ev.Kind == client.Synced && run == 0 {
				ana.Send(port, "ping")
			}
			if ev.Kind != client.MessageCreated || ev.Message.SenderID == bob.ID {
				continue
			}
			answer := client.Draft{ID: fmt.Sprintf("pong-%s-%d", ev.ChatID, ev.Message.Seq), ChatID: ev.ChatID, Content: "pong"}
			if run == runs-1 {
				_, err = c.Send(ctx, answer)
			} else {
				_, err = c.Queue(ctx, answer)
			}
			if e, ok := errors.AsType[*protocol.Error](err); ok && e.Code == protocol.CodeConflict {
				err = nil // it waits already
			}
			must(t, errors.Join(err, c.Err()))
			break
		}
		must(t, errors.Join(c.Close(), kept.Close()))
	}
	must(t, ctx.Err())
	var page protocol.MessagesListResult
	ana.Do(protocol.OpMessagesList, protocol.MessagesListParams{ChatID: port}, &page)
	var said []string
	for _, m := range page.Messages {
		said = append(said, m.Content)
	}
	if !slices.Equal(said, []string{"ping", "pong"}) {
		t.Errorf("it was said: %q", said)
	}
}
