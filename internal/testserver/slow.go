package testserver

import (
	"context"
	"log/slog"

	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/protocol"
)

// SlowConsumers changes c so that the channels tell of each connection whose
// client read nothing for c.WriteTimeout, and of each that was closed for it.
func SlowConsumers(c *stream.Config) (stalled, closed <-chan struct{}) {
	n := noticing{c.Log.Handler(), make(chan struct{}, 16), make(chan struct{}, 16)}
	c.Log = slog.New(n)
	return n.stalled, n.closed
}

// noticing is a log that looks for slow readers.
type noticing struct {
	slog.Handler

	stalled, closed chan struct{}
}

func (n noticing) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "a client does not read" {
		n.stalled <- struct{}{}
	}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "goodbye" && a.Value.Any() == protocol.GoodbyeSlowConsumer {
			n.closed <- struct{}{}
		}
		return true
	})
	return n.Handler.Handle(ctx, r)
}

func (n noticing) WithAttrs(attrs []slog.Attr) slog.Handler {
	n.Handler = n.Handler.WithAttrs(attrs)
	return n
}

func (n noticing) WithGroup(name string) slog.Handler {
	n.Handler = n.Handler.WithGroup(name)
	return n
}
