package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/grima-chat/grima/protocol"
)

// Client is a user's connection to a server that comes back. All methods may be
// called from any goroutine.
type Client struct {
	cfg    Config
	dialer dialer
	cancel context.CancelFunc
	done   chan struct{} // closed when run has ended
	wake   chan struct{} // for the writer: there may be something to write
	again  chan struct{} // for run: try now

	mu      sync.Mutex // guards everything below it
	s       *Session
	err     error // why it stopped
	lost    error // why the last connection, or the last try of one, came to nothing
	waiters map[uint64]chan Answer
	sends   map[string][]chan Item
	changed signal // the connection
	events  signal // there are some
	people  people
	// queueing are the IDs that the Store is being given, for the outbox.
	queueing map[string]bool
	untied   bool         // the Store does not know yet whose it is
	http     *http.Client // to servers that this one sends us to; nil: to none yet

	reading chan struct{} // a lock: holds a token while somebody reads the stream
	taken   []Event       // by Next, not handed out yet (without a Store)
	handed  []Event       // not in the Store yet (ApplyAfter)

	storing chan struct{} // a lock: one call of the Store's at a time
}

// signal wakes everybody who waits. It is guarded by Client.mu.
type signal struct{ ch chan struct{} }

func (s *signal) wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) fire() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// Open starts a client. It returns at once, also when the server cannot be
// reached: the connection is told of by events, and [Client.Ready] waits for
// it. Errors are those of the Config and of loading from its Store. The client
// runs until Close, or until it may not come back (see [Client.Err]).
func Open(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	d, err := newDialer(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Token == "" {
		return nil, errors.New("a client needs a token")
	}
	if err := validText("token, device or program", cfg.Token, cfg.Device, cfg.Agent); err != nil {
		return nil, err
	}
	var state State
	if cfg.Store != nil {
		if state, err = cfg.Store.Load(context.Background()); err != nil {
			return nil, fmt.Errorf("loading the client's state: %w", err)
		}
	}
	untied := cfg.Store != nil && state.UserID == ""
	switch {
	case cfg.UserID == "" || cfg.UserID == state.UserID:
	case state.UserID != "":
		return nil, fmt.Errorf("%w: it is %s's, and this is %s", ErrOtherUser, state.UserID, cfg.UserID)
	default:
		state.UserID = cfg.UserID
		if untied {
			if err := cfg.Store.Apply(context.Background(), []Event{{Kind: CursorMoved, UserID: cfg.UserID}}); err != nil {
				return nil, fmt.Errorf("keeping whose the client's state is: %w", err)
			}
			untied = false
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Client{
		cfg: cfg, dialer: d, cancel: cancel,
		done: make(chan struct{}), wake: make(chan struct{}, 1), again: make(chan struct{}, 1),
		s: NewSession(cfg, state), waiters: map[uint64]chan Answer{}, sends: map[string][]chan Item{},
		people: people{}, queueing: map[string]bool{}, untied: untied,
		reading: make(chan struct{}, 1), storing: make(chan struct{}, 1),
	}
	go c.run(ctx)
	return c, nil
}

// Close ends the client and waits until everything of it has ended. What is in
// the outbox stays in the Store. Events that wait can still be read; then the
// stream ends.
func (c *Client) Close() error {
	c.cancel()
	<-c.done
	return nil
}

// Err says why the client stopped: nil while it runs and after Close, else a
// [*LoginError], a [*GoodbyeError] that does not invite it back, ErrOtherUser,
// ErrVersion, or the Store's error.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// run connects, again and again.
func (c *Client) run(ctx context.Context) {
	defer close(c.done)
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.http != nil {
			c.http.CloseIdleConnections()
		}
	}()
	for {
		err := c.follow(c.connect(ctx))
		c.mu.Lock()
		if ctx.Err() != nil {
			c.s.Stop(time.Now())
		} else {
			c.s.Lost(time.Now(), err)
			c.lost = err
		}
		stopped := c.s.Stopped()
		if stopped != nil && !errors.Is(stopped, ErrClosed) && c.err == nil {
			c.err = stopped
		}
		retry := c.s.Connection().Retry
		c.settle()
		c.changed.fire()
		c.mu.Unlock()
		if stopped != nil {
			c.cfg.Log.Info("the client stopped", "error", err)
			return
		}
		c.cfg.Log.Info("not connected", "error", err, "retry", time.Until(retry).Round(time.Millisecond))
		timer := time.NewTimer(time.Until(retry))
		select {
		case <-timer.C:
		case <-c.again:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// connect makes a connection and keeps it until it ends, and says why it did.
func (c *Client) connect(ctx context.Context) error {
	if ctx.Err() != nil {
		return ErrClosed
	}
	c.locked(func(time.Time) error { c.s.Dialing(); return nil })
	t, err := c.dialer.dial(ctx)
	if err != nil {
		return err
	}
	defer closeWith(ctx, t)()
	c.locked(func(now time.Time) error { c.s.Connected(now); return nil })

	written := make(chan giveUp, 1)
	over := make(chan struct{})
	go func() { written <- c.write(t, over) }()
	err = c.read(t)
	close(over)
	t.close()
	// The writer gives up first when the server is silent or does not read. A
	// WebSocket is closed by its library when a write takes too long.
	if w := <-written; w.err != nil && (w.closed || errors.Is(err, net.ErrClosed)) {
		err = w.err
	}
	return err
}

// giveUp is why the writer gave up, and whether it was who closed the connection.
// If not, the reader may know better: the server may have said why.
type giveUp struct {
	err    error
	closed bool
}

// read takes lines until the connection ends.
func (c *Client) read(t transport) error {
	for {
		line, err := t.next()
		if err != nil {
			return err
		}
		if err := c.locked(func(now time.Time) error { return c.s.Line(now, line) }); err != nil {
			return err
		}
		if err := c.tie(); err != nil {
			return err
		}
	}
}

// lastWords is how long a server that does not take anything any more may go on
// to say something.
const lastWords = 3 * time.Second

// A long line counts as a sign of life while it comes at this rate.
const (
	rateEvery = 15 * time.Second
	rateBytes = 16 << 10
)

// write writes what there is to write, and looks at the clock, until over is
// closed or there is an error.
func (c *Client) write(t transport, over <-chan struct{}) giveUp {
	var out []byte
	received, since := t.received(), time.Now()
	timer := time.NewTimer(rateEvery)
	defer timer.Stop()
	for {
		c.mu.Lock()
		now := time.Now()
		if now.Sub(since) >= rateEvery {
			n := t.received()
			if n-received >= rateBytes {
				c.s.Progress(now)
			}
			received, since = n, now
		}
		err := c.s.Tick(now)
		if out = out[:0]; !c.tying() {
			out = c.s.Output(out)
		}
		due := since.Add(rateEvery)
		if d := c.s.Deadline(); !d.IsZero() && d.Before(due) {
			due = d
		}
		c.settle()
		c.mu.Unlock()
		var patience time.Duration
		if err == nil && len(out) > 0 {
			if err = t.write(out); err != nil {
				// The server may have said why before it closed.
				err, patience = fmt.Errorf("writing to the server: %w", err), lastWords
			}
		}
		if err != nil {
			timer.Reset(patience)
			select {
			case <-over:
				return giveUp{err: err}
			case <-timer.C:
			}
			t.close()
			<-over
			return giveUp{err, true}
		}
		if cap(out) > 64<<10 {
			out = nil
		}
		timer.Reset(time.Until(due))
		select {
		case <-c.wake:
		case <-timer.C:
		case <-over:
			return giveUp{}
		}
	}
}

// locked does something with the session and passes on what came of it.
func (c *Client) locked(do func(now time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	link := c.s.Connection().Link
	err := do(time.Now())
	if c.s.Connection().Link != link {
		c.changed.fire()
	}
	c.settle()
	c.nudge()
	return err
}

// nudge wakes the writer.
func (c *Client) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// settle gives answers to who waits for them. c.mu is held.
func (c *Client) settle() {
	for _, a := range c.s.Answers() {
		if ch := c.waiters[a.Ask]; ch != nil {
			ch <- a
			delete(c.waiters, a.Ask)
		}
	}
	for _, it := range c.s.Settled() {
		for _, ch := range c.sends[it.ID] {
			ch <- it
		}
		delete(c.sends, it.ID)
	}
	if c.s.Waiting() > 0 {
		c.events.fire()
	}
}

// Reconnect tries at once instead of at Connection.Retry, as when the network
// has come back.
func (c *Client) Reconnect() {
	select {
	case c.again <- struct{}{}:
	default:
	}
}

// Ready waits until the client is online and knows all chats. It returns the
// context's error, with why there is no connection, or why the client stopped. Of
// more than some 20,000 chats somebody has to read the events meanwhile.
func (c *Client) Ready(ctx context.Context) error {
	for {
		c.mu.Lock()
		link, stopped, changed := c.s.Connection().Link, c.stoppedErr(), c.changed.wait()
		c.mu.Unlock()
		switch {
		case stopped != nil:
			return stopped
		case link == Online:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return c.late(ctx, nil)
		}
	}
}

// stoppedErr is why the client stopped, ErrClosed after Close. c.mu is held.
func (c *Client) stoppedErr() error {
	if c.err != nil {
		return c.err
	}
	return c.s.Stopped()
}

// Connection is how the connection stands now.
func (c *Client) Connection() Connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s.Connection()
}

// Self is who is logged in; before the first connection it has the Store's
// UserID, if that.
func (c *Client) Self() protocol.User {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s.Self()
}

// Hello is the server's greeting on the latest connection.
func (c *Client) Hello() protocol.Hello {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s.hello
}

// Chats are the chats the user is in, latest activity first, as they are now.
// They may be ahead of the events read so far; a program that follows events
// takes Event.State instead. Where nobody reads events, and Config.Buffer of them
// wait, only LastSeq is kept up.
func (c *Client) Chats() []Chat {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s.Chats()
}

// Chat is one of Chats.
func (c *Client) Chat(chatID string) (Chat, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s.Chat(chatID)
}

// Focus says which chats are on the screen: they are caught up first, and
// typing is heard of these only. It is told to the server, now and after every
// reconnect. Never called: all. An id that is not UTF-8 is a *protocol.Error.
func (c *Client) Focus(chatIDs ...string) error {
	return c.locked(func(now time.Time) error { return c.s.Focus(now, chatIDs...) })
}

// Active says whether a person looks at this client (docs/protocol.md#presence):
// with false, whoever watches them may see them as away. It is told to the
// server, now and after every reconnect. Never called: they do.
func (c *Client) Active(active bool) {
	c.locked(func(now time.Time) error { c.s.Active(now, active); return nil })
}

// MarkRead moves one's read mark up to seq. It returns at once; the mark is told
// to the server when there is a connection, the highest one of each chat.
func (c *Client) MarkRead(chatID string, seq int64) {
	c.locked(func(now time.Time) error { c.s.MarkRead(now, chatID, seq); return nil })
}

// Typing tells the others that one is typing, at most every 5 s however often it
// is called, and not at all when offline. With stop, that one no longer is. An id
// that is not UTF-8 is a *protocol.Error.
func (c *Client) Typing(chatID string, stop bool) error {
	return c.locked(func(now time.Time) error { return c.s.Typing(now, chatID, stop) })
}
