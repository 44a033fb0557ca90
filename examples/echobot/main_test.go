package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/testserver"
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
