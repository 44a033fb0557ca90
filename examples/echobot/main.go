// Command echobot answers every message with its content. It takes its server
// from GRIMA_SERVER and its token (of tokens.create, or of grima login) from
// GRIMA_TOKEN.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"

	"github.com/grima-chat/grima/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, client.Config{Server: os.Getenv("GRIMA_SERVER"), Token: os.Getenv("GRIMA_TOKEN"), Agent: "echobot"}); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, cfg client.Config) error {
	c, err := client.Open(cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	for ev := range c.Events(ctx) {
		if ev.Kind != client.MessageCreated || ev.Message.SenderID == c.Self().UserID {
			continue
		}
		if _, err := c.Queue(ctx, client.Draft{ChatID: ev.ChatID, Content: ev.Message.Content, ReplyTo: ev.Message.Seq}); err != nil {
			log.Print(err)
		}
	}
	return c.Err()
}
