package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"testing"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// The examples run against a server of TestExamples: where it is, and who asks.
var (
	server string
	token  string
	ctx    = context.Background()
)

// A program that takes part in conversations: it answers whoever greets.
func Example() {
	c, err := client.Open(client.Config{Server: server, Token: token})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for ev := range c.Events(ctx) {
		switch {
		case ev.Kind == client.ChatAdded:
			fmt.Println("in", ev.State.Title)
		case ev.Kind == client.MessageCreated && ev.Message.Content == "hello":
			if _, err := c.Queue(ctx, client.Draft{ChatID: ev.ChatID, Content: "hello!"}); err != nil {
				log.Fatal(err)
			}
		case ev.Kind == client.OutboxChanged && ev.Outbox.Progress == client.Sent:
			fmt.Println("answered")
			return
		}
	}
	log.Fatal(c.Err())
	// Prints, once somebody said hello:
	// in Port
	// answered
}

// A program that only sends: a message is on the server's disk when Send
// returns, however often the connection was lost meanwhile.
func ExampleClient_Send() {
	c, err := client.Open(client.Config{Server: server, Token: token, Calls: true})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	made, err := c.ChatsCreate(ctx, protocol.ChatsCreateParams{Kind: "group", Title: "Deployments"})
	if err != nil {
		log.Fatal(err)
	}
	sent, err := c.Send(ctx, client.Draft{ChatID: made.Chat.ChatID, Content: "v2 is out"})
	var refused *protocol.Error
	switch {
	case errors.As(err, &refused):
		log.Fatal(refused.Code)
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println(sent.Progress, sent.Seq)
	// Prints: sent 2
}

// A window: the newest page, and one further back.
func ExampleTimeline() {
	c, err := client.Open(client.Config{Server: server, Token: token})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	var window client.Timeline
	chat := c.Chats()[0]
	for range 2 {
		params, more := window.Before(0, 2)
		if !more {
			break
		}
		params.ChatID = chat.ChatID
		page, err := c.History(ctx, params)
		if err != nil {
			log.Fatal(err)
		}
		if err := window.ApplyPage(params, page); err != nil {
			log.Fatal(err)
		}
	}
	for _, m := range window.Messages(0) {
		fmt.Println(m.Content)
	}
	// Prints the four newest messages.
}

// Logging in makes a token, which a program keeps instead of the password.
func ExampleLogin() {
	made, err := client.Login(ctx, client.Config{Server: server, Device: "example"}, "bob", "password of bob")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(made.User.Username, made.Token[:3])
	// Prints: bob gt_
}

// Examples need a server, so this test runs them, and looks at what they print.
func TestExamples(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	port := ana.Group("Port", bob)
	for i := range 5 {
		ana.Send(port, fmt.Sprint("message ", i))
	}
	server, token = srv.Addr, bob.Token
	expect := func(name, want string, example func()) {
		t.Helper()
		if got := printed(t, example); got != want {
			t.Errorf("%s prints %q", name, got)
		}
	}
	expect("ExampleTimeline", "message 1\nmessage 2\nmessage 3\nmessage 4\n", ExampleTimeline)
	expect("ExampleLogin", "bob gt_\n", ExampleLogin)
	expect("ExampleClient_Send", "sent 2\n", ExampleClient_Send)

	// The first one wants to be greeted, once it is there.
	greeted := make(chan struct{})
	go func() {
		defer close(greeted)
		for {
			ana.Send(port, "hello")
			for _, line := range ana.Hear() {
				if testserver.Differs(`{"event":"message.created","message":{"content":"hello!"}}`, line) == "" {
					return
				}
			}
		}
	}()
	got := printed(t, Example)
	<-greeted
	// The chat that ExampleClient_Send made is bob's, too; which of the two comes
	// first is a matter of who spoke last.
	if got != "in Deployments\nin Port\nanswered\n" && got != "in Port\nin Deployments\nanswered\n" {
		t.Errorf("Example prints %q", got)
	}
}

// printed is what do prints.
func printed(t *testing.T, do func()) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stdout := os.Stdout
	os.Stdout = f
	defer func() { os.Stdout = stdout }()
	do()
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
