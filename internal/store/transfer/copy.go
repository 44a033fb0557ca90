package transfer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"time"
)

// Config says how to copy. Only From and To are required.
type Config struct {
	From, To Store
	// Fork gives the copy an epoch of its own: clients begin anew there, and what
	// is copied from may go on. Without it the history moves.
	Fork     bool
	ToName   string           // what to call To, for people, without a password
	Progress func(Progress)   // told after every step; nil: nobody is
	Now      func() time.Time // nil: time.Now
}

// Progress is how far a copy has come.
type Progress struct {
	Checking bool // all is copied, and both sides are read once more
	Table    string
	Rows     int64 // of the table that were looked at
	Written  int64 // rows that were written or deleted, in all
}

// Result is what a copy did.
type Result struct {
	Written int64  // rows that were written or deleted
	Digest  Digest // of both sides
	// Finished says that the copy can be served. If not, From was being served
	// meanwhile: what is here is its state at one moment.
	Finished bool
}

// Copy makes the tables of To those of From, row by row, whatever is there
// already of the same history, and then reads both again and compares. It may be
// stopped at any moment, and begins where it was when it is called again.
//
// If nobody else has From open, From is marked as moved and To can be served,
// in this order: there is no moment at which both can.
func Copy(ctx context.Context, cfg Config) (r Result, err error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	from, err := cfg.From.Facts(ctx)
	if err != nil {
		return r, fmt.Errorf("read what is to be copied: %w", err)
	}
	to, err := cfg.To.Facts(ctx)
	if err != nil {
		return r, fmt.Errorf("read where to copy: %w", err)
	}
	id, err := admit(cfg.Fork, from, to)
	if err != nil {
		return r, err
	}
	if err := cfg.To.Begin(ctx, Incoming{id, from.Epoch}); err != nil {
		return r, fmt.Errorf("mark the copy as unfinished: %w", err)
	}
	m := &merger{Config: cfg}
	for _, t := range Tables {
		if err := m.table(ctx, t); err != nil {
			return r, fmt.Errorf("copy the table %s: %w", t.Name, err)
		}
	}
	r.Written = m.at.Written
	m.at.Checking = true
	r.Digest, err = check(ctx, cfg.From, cfg.To, m.step)
	if err != nil {
		return r, fmt.Errorf("check the copy: %w", err)
	}
	if !from.Alone && !cfg.Fork {
		return r, nil
	}
	if cfg.Fork {
		from.Epoch = NewEpoch()
	} else if from.Moved == (Moved{}) {
		if err := cfg.From.Leave(ctx, Moved{id, cfg.Now(), cfg.ToName}); err != nil {
			return r, fmt.Errorf("mark what was copied as moved: %w", err)
		}
	}
	if err := cfg.To.Finish(ctx, from); err != nil {
		return r, fmt.Errorf("finish the copy: %w", err)
	}
	done, err := cfg.To.Facts(ctx)
	if err == nil && !finished(done, from) {
		err = fmt.Errorf("it says %+v of itself, which was to be %+v", done, from)
	}
	if err != nil {
		return r, fmt.Errorf("look at the finished copy: %w", err)
	}
	r.Finished = true
	return r, nil
}

// finished says that a store says of itself what it was told.
func finished(to, from Facts) bool {
	return to.Epoch == from.Epoch && to.Stamp >= from.Stamp && maps.Equal(to.Counters, from.Counters) &&
		to.Incoming == (Incoming{}) && to.Moved == (Moved{})
}

// NewEpoch names a history that is to begin.
func NewEpoch() string {
	var raw [8]byte
	rand.Read(raw[:])
	return fmt.Sprintf("%x", raw)
}

// admit says whether a copy may begin or go on, and gives its name.
func admit(fork bool, from, to Facts) (id string, err error) {
	switch {
	case from.Incoming != (Incoming{}):
		return "", errors.New("what is to be copied is an unfinished copy itself: finish that first")
	case from.Epoch == "":
		return "", errors.New("nothing was ever stored in what is to be copied")
	case !to.Alone:
		return "", errors.New("a server has the place to copy to open: stop it")
	}
	moved := from.Moved != (Moved{}) && !fork
	switch {
	case to.Incoming != (Incoming{}):
		if to.Incoming.Epoch != from.Epoch {
			return "", errors.New("an unfinished copy of another history is in the place to copy to: finish that, or take an empty place")
		}
		if moved && from.Moved.Copy != to.Incoming.Copy {
			return "", wasMoved(from.Moved)
		}
		return to.Incoming.Copy, nil
	case moved && to.Epoch == from.Epoch && to.Moved == (Moved{}):
		return "", fmt.Errorf("it was moved there already, at %s: serve that", from.Moved.At.Format(time.DateTime+" MST"))
	case moved:
		return "", wasMoved(from.Moved)
	case to.Empty, to.Epoch == from.Epoch && to.Moved != (Moved{}) && !fork:
		return NewEpoch(), nil // any name that is new
	case to.Epoch == from.Epoch:
		return "", errors.New("the place to copy to has the same history, and serves it: copy into an empty place")
	}
	return "", errors.New("the place to copy to has something else in it: copy into an empty directory or database")
}

func wasMoved(m Moved) error {
	return fmt.Errorf("what is to be copied was moved to %s at %s, and what was said since is there: copy that. "+
		"If it is gone, --new-epoch copies what is here, and clients begin anew", m.To, m.At.Format(time.DateTime+" MST"))
}

// cursor goes through a table.
type cursor struct {
	s    Store
	t    *Table
	rows []Row
	at   int // the next of rows
	last Row // read before rows
	end  bool
}

// head is the next row; nil: there is none.
func (c *cursor) head(ctx context.Context) (Row, error) {
	if c.at == len(c.rows) && !c.end {
		rows, err := c.s.Rows(ctx, c.t, c.last, c.t.chunk)
		if err != nil {
			return nil, fmt.Errorf("read the table %s: %w", c.t.Name, err)
		}
		c.rows, c.at = rows, 0
		c.end = len(rows) < c.t.chunk
		if len(rows) > 0 {
			c.last = rows[len(rows)-1]
		}
	}
	if c.at == len(c.rows) {
		return nil, nil
	}
	return c.rows[c.at], nil
}

// next is head, and goes on.
func (c *cursor) next(ctx context.Context) (Row, error) {
	row, err := c.head(ctx)
	if row != nil {
		c.at++
	}
	return row, err
}

// Bounds of one transaction. What is lost by a kill is copied again.
const (
	mostRows  = 4000
	mostBytes = 4 << 20
)

// merger makes tables the same.
type merger struct {
	Config
	at Progress

	drop, put []Row // not written yet
	bytes     int
}

func (m *merger) step(t *Table, rows int) {
	if m.at.Table != t.Name {
		m.at.Table, m.at.Rows = t.Name, 0
	}
	m.at.Rows += int64(rows)
	m.Progress(m.at)
}

func (m *merger) table(ctx context.Context, t *Table) error {
	if t.Unique {
		if err := m.pass(ctx, t, true, false); err != nil {
			return err
		}
		return m.pass(ctx, t, false, true)
	}
	return m.pass(ctx, t, true, true)
}

// pass goes through both sides of a table at once, and drops what is not the
// same here, or puts what is there, or both.
func (m *merger) pass(ctx context.Context, t *Table, drops, puts bool) error {
	m.at.Table, m.at.Rows = t.Name, 0
	there, here := &cursor{s: m.From, t: t}, &cursor{s: m.To, t: t}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := here.head(ctx)
		if err != nil {
			return err
		}
		if b == nil && !puts {
			break
		}
		a, err := there.head(ctx)
		if err != nil {
			return err
		}
		order := 0
		switch {
		case a == nil && b == nil:
			return m.flush(ctx, t)
		case a == nil:
			order = 1
		case b == nil:
			order = -1
		default:
			order = a.compare(b, t.Keys)
		}
		if order <= 0 {
			there.at++
			if there.at == len(there.rows) {
				m.step(t, len(there.rows))
			}
		}
		if order >= 0 {
			here.at++
		}
		if order == 0 && a.same(b) {
			continue
		}
		if drops && order >= 0 {
			m.drop = append(m.drop, b)
			m.bytes += b.size()
		}
		if puts && order <= 0 {
			m.put = append(m.put, a)
			m.bytes += a.size()
		}
		if len(m.drop)+len(m.put) >= mostRows || m.bytes >= mostBytes {
			if err := m.flush(ctx, t); err != nil {
				return err
			}
		}
	}
	return m.flush(ctx, t)
}

func (m *merger) flush(ctx context.Context, t *Table) error {
	if len(m.drop)+len(m.put) == 0 {
		return nil
	}
	if err := m.To.Write(ctx, t, m.drop, m.put); err != nil {
		return err
	}
	m.at.Written += int64(max(len(m.drop), len(m.put)))
	m.drop, m.put, m.bytes = nil, nil, 0
	m.Progress(m.at)
	return nil
}
