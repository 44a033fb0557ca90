package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
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
// that of Err. A Store keeps each event that Next gives, and none that it does
// not, in a transaction of its own; Batch has many kept at once.
func (c *Client) Next(ctx context.Context) (Event, error) {
	if err := c.lockStream(ctx); err != nil {
		return Event{}, err
	}
	defer c.unlockStream()
	if len(c.taken) == 0 {
		n := takeAtOnce
		if c.cfg.Store != nil {
			n = 1 // what it has counts as told
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
		for i := range evs {
			switch ev := &evs[i]; ev.Kind {
			case UserChanged:
				c.people[ev.UserID] = person{*ev.User, time.Now().Add(personTime)}
			case Synced:
				clear(c.people) // of what became of them before nothing was told
			}
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
	ctx = context.WithoutCancel(ctx)
	err := c.store(ctx, func() error { return c.cfg.Store.Apply(ctx, evs) })
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

// store makes one call of the Store's at a time. Until ctx ends it waits for its
// turn.
func (c *Client) store(ctx context.Context, call func() error) error {
	select {
	case c.storing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.storing }()
	if err := ctx.Err(); err != nil {
		return err
	}
	return call()
}

// tie has the Store keep whose it is as soon as that is known, before anything is
// sent: who opens it next may be somebody else.
func (c *Client) tie() error {
	c.mu.Lock()
	due, id := c.tying(), c.s.user.UserID
	c.mu.Unlock()
	if !due {
		return nil
	}
	if err := c.apply(context.Background(), []Event{{Kind: CursorMoved, UserID: id}}); err != nil {
		return err
	}
	c.mu.Lock()
	c.untied = false
	c.mu.Unlock()
	c.nudge()
	return nil
}

// tying reports whether the Store is about to learn whose it is. c.mu is held.
func (c *Client) tying() bool { return c.untied && c.s.ready }
