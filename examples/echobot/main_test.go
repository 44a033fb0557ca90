package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

func TestEcho(t *testing.T) {
	srv := testserver.Start(t)
	ana, bot := srv.User("ana").Connect(), srv.User("bot").Connect()
	port := ana.Group("Port", bot)

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, client.Config{Server: srv.Addr, Token: bot.Token}) }()
	// A bot begins where it comes in: say hi until it has.
	for echoed := false; !echoed; {
		select {
		case err := <-ended:
			t.Fatalf("the bot ended: %v", err)
		default:
		}
		ana.Send(port, "hi")
		echoed = slices.ContainsFunc(ana.Hear(), func(line string) bool {
			return strings.Contains(line, `"sender_id":"`+bot.ID+`","content":"hi","reply_to":`)
		})
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What was edited while the bot was away is told once, as it is now: the chat has
// gone further than the message.
func TestEditedMeanwhile(t *testing.T) {
	srv := testserver.Start(t)
	between := testserver.StartProxy(t, srv.Addr)
	ana, bot := srv.User("ana").Connect(), srv.User("bot").Connect()
	port := ana.Group("Port", bot)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, client.Config{
			Server: between.Addr(), Token: bot.Token, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond,
		})
	}()
	ofBot := `{"message":{"sender_id":"` + bot.ID + `"}}`
	for awake := false; !awake; {
		ana.Send(port, "hi")
		awake = slices.ContainsFunc(ana.Hear(), func(line string) bool { return testserver.Differs(ofBot, line) == "" })
	}

	between.To("")
	asked := ana.Send(port, "helo").Seq
	ana.Do(protocol.OpMessageEdit, protocol.MessageEditParams{ChatID: port, Seq: asked, Content: "hello"}, nil)
	between.To(srv.Addr)
	want := fmt.Sprintf(`{"message":{"content":"hello","reply_to":%d}}`, asked)
	for answered := false; !answered; {
		line := ana.ExpectEvent(protocol.EventMessageCreated)
		answered = testserver.Differs(want, line) == ""
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The README shows this bot as it is.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, bot, found := strings.Cut(string(source), "\n\nfunc run(")
	if !found || !strings.Contains(string(readme), "```go\nfunc run("+bot+"```") {
		t.Error("README.md shows another bot than main.go")
	}
	if n := strings.Count(string(source), "\n"); n >= 40 {
		t.Errorf("the bot has %d lines", n)
	}
}
