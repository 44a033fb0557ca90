package main

import (
	"context"
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
	// A bot begins where it comes in: say hi until it does.
	for {
		ana.Send(port, "hi")
		if ana.Heard(`"content":"hi","reply_to":`) {
			break
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
