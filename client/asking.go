package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/protocol"
)

// Do calls any operation with params as JSON and returns its result. The typed
// calls are made of it: while there is no connection it waits, until ctx ends;
// if the connection is lost before the answer, reads and writes that are
// harmless to repeat are asked again, others return ErrUnknownOutcome.
func (c *Client) Do(ctx context.Context, op string, params jsontext.Value) (jsontext.Value, error) {
	for {
		a, err := c.askOnce(ctx, op, params)
		switch {
		case err != nil:
			return nil, err
		case errors.Is(a.Err, ErrUnknownOutcome) && protocol.Repeatable(op, params):
		default:
			return a.Result, a.Err
		}
	}
}

// askOnce asks on the next connection there is.
func (c *Client) askOnce(ctx context.Context, op string, params jsontext.Value) (Answer, error) {
	for {
		if ctx.Err() != nil {
			return Answer{}, c.late(ctx, nil)
		}
		c.mu.Lock()
		stopped, changed := c.stoppedErr(), c.changed.wait()
		id, err := c.s.Ask(time.Now(), op, params)
		var answer chan Answer
		if err == nil {
			answer = make(chan Answer, 1)
			c.waiters[id] = answer
			c.nudge()
		}
		c.mu.Unlock()
		switch {
		case stopped != nil:
			return Answer{}, stopped
		case errors.Is(err, ErrOffline):
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		case err != nil:
			return Answer{}, err
		}
		select {
		case a := <-answer:
			if e := misdirected(a.Err); e != nil {
				a = c.askElsewhere(ctx, e, op, params)
			}
			return a, nil
		case <-ctx.Done():
			c.mu.Lock()
			delete(c.waiters, id)
			c.mu.Unlock()
			return Answer{}, c.late(ctx, nil)
		}
	}
}

// late is the error of a ctx that ended, together with what kept the client from
// the server's answer: why the last try failed, or there is no connection.
func (c *Client) late(ctx context.Context, why error) error {
	c.mu.Lock()
	if why == nil && !c.s.ready {
		why = c.lost
	}
	c.mu.Unlock()
	if why == nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ctx.Err(), why)
}

// call is Do with types.
func call[R any](ctx context.Context, c *Client, op string, params any) (r R, err error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return r, protocol.NewError(protocol.CodeInvalidUTF8, fmt.Sprintf("encoding the params of %s: %v", op, err))
	}
	result, err := c.Do(ctx, op, raw)
	if err != nil {
		return r, err
	}
	return r, decode(result, &r)
}

// tell is a call of which only the error is of interest.
func tell(ctx context.Context, c *Client, op string, params any) error {
	_, err := call[protocol.Empty](ctx, c, op, params)
	return err
}

// Queue puts a message into the outbox and returns its ID. From here on it is
// sent until the server answers, in the order of its chat. What becomes of it
// is told by OutboxChanged: Pending now, then Sent or Failed; a failed one holds
// nothing up. Errors: ErrOutboxFull, ErrClosed, that of Err, the Store's, and a
// *protocol.Error for what no server would take.
func (c *Client) Queue(ctx context.Context, d Draft) (string, error) {
	it, _, err := c.queue(ctx, d, false)
	return it.ID, err
}

// outcome is what Send returns of a settled item.
func (it Item) outcome() error {
	if it.Progress == Discarded && it.Err == nil {
		return ErrDiscarded
	}
	return it.Err
}

// Send queues a message and waits until it is on the server's disk. When ctx
// ends it stops waiting, and the message stays in the outbox; the error is then
// ctx's together with what kept the message, and the item as it stands.
func (c *Client) Send(ctx context.Context, d Draft) (Item, error) {
	it, settled, err := c.queue(ctx, d, true)
	if err != nil {
		return it, err
	}
	select {
	case it = <-settled:
		return c.settled(ctx, it)
	case <-ctx.Done():
	case <-c.done:
	}
	// It may have been settled last.
	select {
	case it = <-settled:
		return c.settled(ctx, it)
	default:
	}
	c.mu.Lock()
	c.sends[it.ID] = slices.DeleteFunc(c.sends[it.ID], func(ch chan Item) bool { return ch == settled })
	if len(c.sends[it.ID]) == 0 {
		delete(c.sends, it.ID)
	}
	if x := c.s.items[it.ID]; x != nil {
		it = x.Item
	}
	stopped := c.stoppedErr()
	c.mu.Unlock()
	if stopped != nil {
		return it, stopped
	}
	return it, c.late(ctx, it.Err)
}

// settled is what Send returns of a settled item. Of one that was sent the Store is
// told at once, and not when the event is read: who only sends may read none.
func (c *Client) settled(ctx context.Context, it Item) (Item, error) {
	if it.Progress == Sent {
		if err := c.forget(context.WithoutCancel(ctx), it.ID); err != nil {
			c.cfg.Log.Warn("a message that was sent will be sent again, which changes nothing", "error", err)
		}
	}
	return it, it.outcome()
}

// queue queues d, and lets wait for what becomes of it.
func (c *Client) queue(ctx context.Context, d Draft, wait bool) (it Item, settled chan Item, err error) {
	c.mu.Lock()
	it, err = c.s.Draft(time.Now(), d)
	switch {
	case c.err != nil:
		err = c.err
	case err != nil:
	case c.queueing[it.ID]:
		err = queuedAlready()
	case len(c.s.items)+len(c.queueing) >= c.cfg.MaxOutbox:
		err = ErrOutboxFull
	default:
		c.queueing[it.ID] = true
	}
	c.mu.Unlock()
	if err != nil {
		return it, nil, err
	}
	if err = c.put(ctx, it); err == nil && wait {
		settled = make(chan Item, 1)
	}
	err = c.locked(func(now time.Time) error {
		delete(c.queueing, it.ID)
		if err != nil {
			return err
		}
		if wait {
			c.sends[it.ID] = append(c.sends[it.ID], settled)
		}
		return c.s.Queue(now, it)
	})
	return it, settled, err
}

// put has the Store keep it, if there is one.
func (c *Client) put(ctx context.Context, it Item) error {
	if c.cfg.Store == nil {
		return nil
	}
	if err := c.store(ctx, func() error { return c.cfg.Store.Put(ctx, it) }); err != nil {
		return fmt.Errorf("keeping the message: %w", err)
	}
	return nil
}

// forget has the Store drop an item, if there is one.
func (c *Client) forget(ctx context.Context, id string) error {
	if c.cfg.Store == nil {
		return nil
	}
	return c.store(ctx, func() error { return c.cfg.Store.Drop(ctx, id) })
}

// Outbox is what is in the outbox, pending and failed, in order.
func (c *Client) Outbox() []Item {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s.Outbox()
}

// Retry tries a failed item again, as it is, behind what is in the outbox by now.
// An item that has not failed stays where it is.
func (c *Client) Retry(ctx context.Context, id string) error {
	c.mu.Lock()
	it, failed := c.s.failed(id)
	c.mu.Unlock()
	if failed {
		if err := c.put(ctx, it); err != nil {
			return err
		}
	}
	err := c.locked(func(now time.Time) error { return c.s.Retry(now, id) })
	if failed && err != nil {
		// Somebody discarded it meanwhile.
		err = errors.Join(err, c.forget(context.WithoutCancel(ctx), id))
	}
	return err
}

// Discard takes an item out of the outbox. It reports whether the item had
// never been tried, and so is certainly not sent.
func (c *Client) Discard(ctx context.Context, id string) (unsent bool, err error) {
	err = c.locked(func(time.Time) error {
		unsent, err = c.s.Discard(id)
		return err
	})
	if err == nil {
		err = c.forget(ctx, id)
	}
	return unsent, err
}

// Historian is a Store that keeps history.
type Historian interface {
	// Page gives a page from what is held. whole is false when more of the
	// server's rows would belong on it.
	Page(ctx context.Context, p protocol.MessagesListParams) (page protocol.MessagesListResult, whole bool, err error)
	// PutPage keeps a page that the server gave for p while the user's
	// membership was the one that began at joinedSeq.
	PutPage(ctx context.Context, p protocol.MessagesListParams, page protocol.MessagesListResult, joinedSeq int64) error
}

// History is a page of messages: from the Store, where it is a [Historian] and
// holds the whole page or there is no connection, else from the server, and then
// into the Store. ErrOffline: there is no connection, and nothing of the page is
// in the Store; asked again before there is one, it would be the same.
func (c *Client) History(ctx context.Context, p protocol.MessagesListParams) (protocol.MessagesListResult, error) {
	kept, _ := c.cfg.Store.(Historian)
	if kept == nil {
		return c.MessagesList(ctx, p)
	}
	var page protocol.MessagesListResult
	var whole bool
	err := c.store(ctx, func() (err error) {
		page, whole, err = kept.Page(ctx, p)
		return err
	})
	if err != nil {
		return page, fmt.Errorf("reading kept messages: %w", err)
	}
	c.mu.Lock()
	chat, in := c.s.Chat(p.ChatID)
	online := c.s.ready
	c.mu.Unlock()
	if whole {
		return page, nil
	}
	if !online {
		if r := PageRange(p, page); r.From > r.To {
			return page, ErrOffline
		}
		return page, nil
	}
	answer, err := c.MessagesList(ctx, p)
	if err == nil && in {
		err = c.store(ctx, func() error { return kept.PutPage(ctx, p, answer, chat.JoinedSeq) })
	}
	return answer, err
}

// people remembers who was looked up, for a while.
type people map[string]person

type person struct {
	user  protocol.User // zero: there is none
	until time.Time
}

const (
	personTime = 10 * time.Minute
	maxPeople  = 10_000
)

// Directory is a Store that keeps people's names.
type Directory interface {
	Users(ctx context.Context, userIDs ...string) ([]protocol.User, error)
	PutUsers(ctx context.Context, users ...protocol.User) error
}

// Users looks up people: those who were looked up in the last minutes from
// memory, others from the server, or without a connection from the Store if it
// is a [Directory]. Those that do not exist are left out.
func (c *Client) Users(ctx context.Context, userIDs ...string) (map[string]protocol.User, error) {
	found := map[string]protocol.User{}
	var missing []string
	now := time.Now()
	c.mu.Lock()
	for _, id := range userIDs {
		switch p, ok := c.people[id]; {
		case !ok || now.After(p.until):
			missing = append(missing, id)
		case p.user.UserID != "":
			found[id] = p.user
		}
	}
	online := c.s.ready
	c.mu.Unlock()
	slices.Sort(missing)
	missing = slices.Compact(missing)
	kept, _ := c.cfg.Store.(Directory)
	if !online && kept != nil && len(missing) > 0 {
		err := c.store(ctx, func() error {
			users, err := kept.Users(ctx, missing...)
			for _, u := range users {
				found[u.UserID] = u
			}
			return err
		})
		return found, err
	}
	for ids := range slices.Chunk(missing, protocol.MaxPage) {
		var users []protocol.User
		for cursor := ""; ; {
			r, err := c.UsersList(ctx, protocol.UsersListParams{UserIDs: ids, Limit: protocol.MaxPage, Cursor: cursor})
			if err != nil {
				return found, err
			}
			if users = append(users, r.Users...); !r.HasMore || len(users) > len(ids) {
				break
			}
			cursor = r.Cursor
		}
		c.mu.Lock()
		if len(c.people) > maxPeople {
			clear(c.people)
		}
		for _, id := range ids {
			c.people[id] = person{until: now.Add(personTime)}
		}
		for _, u := range users {
			c.people[u.UserID] = person{u, now.Add(personTime)}
			found[u.UserID] = u
		}
		c.mu.Unlock()
		if kept != nil {
			if err := c.store(ctx, func() error { return kept.PutUsers(ctx, users...) }); err != nil {
				return found, fmt.Errorf("keeping people's names: %w", err)
			}
		}
	}
	return found, nil
}
