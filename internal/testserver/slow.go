package testserver

import (
	"context"
	"log/slog"

	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/protocol"
)

// SlowConsumers changes c so that the channel tells of each connection that was
// sent away because its client read nothing for c.WriteTimeout.
func SlowConsumers(c *stream.Config) <-chan struct{} {
	n := noticing{c.Log.Handler(), make(chan struct{}, 16)}
	c.Log = slog.New(n)
	return n.slow
}

// noticing is a log that looks for the ends of slow readers.
type noticing struct {
	slog.Handler

	slow chan struct{}
}

func (n noticing) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "goodbye" && a.Value.Any() == protocol.GoodbyeSlowConsumer {
			n.slow <- struct{}{}
		}
		return true
	})
	return n.Handler.Handle(ctx, r)
}

func (n noticing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return noticing{n.Handler.WithAttrs(attrs), n.slow}
}

func (n noticing) WithGroup(name string) slog.Handler {
	return noticing{n.Handler.WithGroup(name), n.slow}
}
