package cache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
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
