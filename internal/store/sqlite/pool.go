package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// pool is the connections for views. They are opened when they are first
// needed, and the one used last is used next, while its cache is warm.
type pool struct {
	cfg    Config
	recent *recent
	places *places
	turns  chan struct{} // one token for each connection that may be in use
	closed chan struct{}

	mu   sync.Mutex
	idle []*conn
}

func newPool(cfg Config, recent *recent, places *places) *pool {
	p := &pool{cfg: cfg, recent: recent, places: places, turns: make(chan struct{}, cfg.Readers), closed: make(chan struct{})}
	for range cfg.Readers {
		p.turns <- struct{}{}
	}
	return p
}

// view runs fn in one read transaction.
func (p *pool) view(ctx context.Context, fn func(chat.Reader) error) error {
	c, err := p.get(ctx)
	if err != nil {
		return err
	}
	healthy := false // unless we come to the end, as after a panic
	defer func() { p.put(c, healthy) }()

	c.db.SetInterrupt(ctx)
	if err := c.prep("BEGIN").run(); err != nil {
		healthy = true
		return readError(ctx, "begin a view", err)
	}
	err = fn(&reader{c: c, ctx: ctx, recent: p.recent, view: true, stamp: -1})
	c.db.SetInterrupt(background)
	if end := c.prep("ROLLBACK").run(); end != nil {
		return errors.Join(err, fmt.Errorf("end a view: %w", end))
	}
	healthy = true
	return err
}

func (p *pool) get(ctx context.Context) (*conn, error) {
	select {
	case <-p.closed:
		return nil, batch.ErrClosed
	default:
	}
	select {
	case <-p.turns:
	default:
		if err := p.wait(ctx); err != nil {
			return nil, err
		}
	}
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	c, err := p.open(ctx)
	if err != nil {
		p.turns <- struct{}{}
	}
	return c, err
}

// open opens one more connection, if that is one to the files that the others
// have open.
func (p *pool) open(ctx context.Context) (*conn, error) {
	c, err := openConn(p.cfg, reading)
	if moved := p.places.look(); moved != nil {
		if err == nil {
			moved = errors.Join(moved, c.close())
		}
		return nil, chat.Unavailable("the store could not be read", moved)
	}
	if err != nil {
		return nil, readError(ctx, "open a connection", err)
	}
	return c, nil
}

// wait waits for a turn. It is apart from get since asking a context for its
// Done makes a channel, which most need not.
func (p *pool) wait(ctx context.Context) error {
	select {
	case <-p.turns:
		return nil
	case <-p.closed:
		return batch.ErrClosed
	case <-ctx.Done():
		return batch.Timeout(ctx)
	}
}

// rest closes the connections that nobody uses. Each keeps what it read last, up
// to the size of its cache, which it gives back in no other way: SQLite's memory
// only grows. The next views open new ones.
func (p *pool) rest() {
	if p.places.look() != nil {
		return // no others can be opened
	}
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		if err := c.close(); err != nil {
			p.cfg.Log.Warn("cannot close a connection", "error", err)
		}
	}
}

// put takes a connection back; one that is not healthy is let go.
func (p *pool) put(c *conn, healthy bool) {
	if healthy {
		c.db.SetInterrupt(background)
		p.mu.Lock()
		p.idle = append(p.idle, c)
		p.mu.Unlock()
	} else if err := c.abandon(); err != nil {
		p.cfg.Log.Warn("cannot close a connection", "error", err)
	}
	p.turns <- struct{}{}
}

// close waits for the views under way.
func (p *pool) close() error {
	close(p.closed)
	for range p.cfg.Readers {
		<-p.turns
	}
	var errs []error
	for _, c := range p.idle {
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}
