package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Events yields the stream of events until ctx ends or the client stops; Err
// then says why. There is one stream: who reads an event takes it.
func (c *Client) Events(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for {
			ev, err := c.Next(ctx)
			if err != nil || !yield(ev) {
				return
			}
		}
	}
}

var errStore = errors.New("keeping the client's state")

// takeAtOnce is how many events Next takes from the session at a time.
const takeAtOnce = 64

// Next is the next event. Its error is the context's, ErrClosed after Close, or
// that of Err.
func (c *Client) Next(ctx context.Context) (Event, error) {
	if err := c.lockStream(ctx); err != nil {
		return Event{}, err
	}
	defer c.unlockStream()
	if len(c.taken) == 0 {
		n := takeAtOnce
		if c.cfg.ApplyAfter {
			n = 1
		}
		var err error
		if c.taken, err = c.take(ctx, n); err != nil {
			return Event{}, err
		}
	}
	ev := c.taken[0]
	c.taken = c.taken[1:]
	return ev, nil
}

// Batch waits until there is an event and returns all that wait. It is what a
// program that draws wants: one batch, one picture. Errors as of Next.
func (c *Client) Batch(ctx context.Context) ([]Event, error) {
	if err := c.lockStream(ctx); err != nil {
		return nil, err
	}
	defer c.unlockStream()
	if evs := c.taken; len(evs) > 0 {
		c.taken = nil
		return evs, nil
	}
	return c.take(ctx, c.cfg.Buffer+firstSync)
}

func (c *Client) lockStream(ctx context.Context) error {
	select {
	case c.reading <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) unlockStream() { <-c.reading }

// take waits for events, at most n, and sees that the Store has them in time.
func (c *Client) take(ctx context.Context, n int) ([]Event, error) {
	if err := c.apply(ctx, c.handed); err != nil {
		return nil, err
	}
	c.handed = nil
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c.mu.Lock()
		var evs []Event
		if c.err == nil || !errors.Is(c.err, errStore) {
			evs = c.s.Take(n)
		}
		more, stopped := c.events.wait(), c.stoppedErr()
		c.mu.Unlock()
		switch {
		case len(evs) > 0:
			c.nudge() // there is room
			if c.cfg.ApplyAfter {
				c.handed = evs
				return evs, nil
			}
			if err := c.apply(ctx, evs); err != nil {
				return nil, err
			}
			return evs, nil
		case stopped != nil:
			return nil, stopped
		}
		select {
		case <-more:
		case <-ctx.Done():
		}
	}
}

// apply gives events to the Store, if there is one. Its error ends the client:
// without the Store the next start would miss what came since.
func (c *Client) apply(ctx context.Context, evs []Event) error {
	if c.cfg.Store == nil || len(evs) == 0 {
		return nil
	}
	err := c.store(func() error { return c.cfg.Store.Apply(context.WithoutCancel(ctx), evs) })
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%w: %w", errStore, err)
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.cancel()
	return err
}

// store makes one call of the Store's at a time.
func (c *Client) store(call func() error) error {
	c.storeMu.Lock()
	defer c.storeMu.Unlock()
	return call()
}
