package client_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// patience bounds every wait of the tests; nothing should come near it.
const patience = 60 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// open opens a client that ends with the test. It comes back fast.
func open(t testing.TB, cfg client.Config) *client.Client {
	t.Helper()
	if cfg.MinBackoff == 0 {
		cfg.MinBackoff, cfg.MaxBackoff = time.Millisecond, 20*time.Millisecond
	}
	c, err := client.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// until reads events until one is wanted, and returns it.
func until(t testing.TB, c *client.Client, wanted func(client.Event) bool) client.Event {
	t.Helper()
	ctx := testContext(t)
	for {
		ev, err := c.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for an event: %v (%+v)", err, c.Connection())
		}
		if wanted(ev) {
			return ev
		}
	}
}

func is(kind client.Kind) func(client.Event) bool {
	return func(ev client.Event) bool { return ev.Kind == kind }
}

func TestConversation(t *testing.T) {
	for _, scheme := range []string{"grima", "grimas", "ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			srv := testserver.Start(t)
			ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
			port := ana.Group("Port", bob)
			ana.Send(port, "before")
			// Told to everybody before c subscribes, or it might be told to c.
			ana.Expect("before")
			srv.Hub.Settle()
			c := open(t, client.Config{Server: fmt.Sprintf("%s://%s", scheme, srv.Addr), Token: bob.Token, TLS: testserver.TLSConfig()})
			if err := c.Ready(testContext(t)); err != nil {
				t.Fatal(err)
			}
			added := until(t, c, is(client.ChatAdded))
			if added.ChatID != port || added.State.Unread != 1 || added.State.Messages[0].Content != "before" {
				t.Fatalf("the chat is %+v", added.State)
			}
			until(t, c, is(client.Synced))
			ana.Send(port, "hi")
			ev := until(t, c, is(client.MessageCreated))
			if ev.Message.Content != "hi" || ev.State.Unread != 2 || ev.PrevSeq != ev.Seq-1 {
				t.Fatalf("got %+v: %q, %+v", ev, ev.Message.Content, ev.State)
			}
			it, err := c.Send(testContext(t), client.Draft{ChatID: port, Content: "hello", ReplyTo: ev.Message.Seq})
			if err != nil || it.Progress != client.Sent || it.Seq != ev.Seq+1 {
				t.Fatalf("sent: %+v, %v", it, err)
			}
			ana.Expect("hi", "hello")
			c.MarkRead(port, it.Seq)
			until(t, c, is(client.ReadMoved))
			if chat, ok := c.Chat(port); !ok || chat.Unread != 0 || chat.ReadSeq != it.Seq {
				t.Fatalf("after reading: %+v", chat)
			}
			// What one wants to be told, another device of one's own says.
			level := "none"
			bob.Do(protocol.OpParticipantsUpdate, protocol.ParticipantsUpdateParams{ChatID: port, UserID: bob.ID, Notify: &level}, nil)
			if ev := until(t, c, is(client.ReadMoved)); ev.UserID != bob.ID || ev.State.Notify != level || ev.State.ReadSeq != it.Seq {
				t.Fatalf("told %+v of %+v", ev, ev.State)
			}
			users, err := c.Users(testContext(t), ana.ID, bob.ID, "u_999")
			if err != nil || len(users) != 2 || users[ana.ID].Username != "ana" {
				t.Fatalf("users: %v, %v", users, err)
			}
			// A name that changes comes by itself, and is what a look-up gives then.
			name := "Ana Lima"
			ana.Do(protocol.OpUsersUpdate, protocol.UsersUpdateParams{Name: &name}, nil)
			if ev := until(t, c, is(client.UserChanged)); ev.UserID != ana.ID || ev.User.Name != name {
				t.Fatalf("told of %+v", ev.User)
			}
			users, err = c.Users(testContext(t), ana.ID)
			if err != nil || users[ana.ID].Name != name {
				t.Fatalf("users: %v, %v", users, err)
			}
		})
	}
}
