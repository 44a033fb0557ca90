package transfer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Store is a store that is copied from, or into. One goroutine uses it at a time.
type Store interface {
	// Facts are what the store says of itself.
	Facts(ctx context.Context) (Facts, error)

	// Rows gives the next rows of a table, at most limit, by ascending key:
	// those after a row of which only the key counts, or from the first if that
	// is nil. Of a store that is copied from, all of them are of one moment.
	Rows(ctx context.Context, t *Table, after Row, limit int) ([]Row, error)

	// Begin notes that a copy into the store has begun (Incoming).
	Begin(ctx context.Context, m Incoming) error

	// Write deletes the rows with these keys, and inserts others, in one
	// transaction.
	Write(ctx context.Context, t *Table, drop, put []Row) error

	// Finish makes a store of what was copied: it has these Epoch, Stamp and
	// Counters from now on, and no marks.
	Finish(ctx context.Context, f Facts) error

	// Leave notes that everything is elsewhere now (Moved).
	Leave(ctx context.Context, m Moved) error
}

// Facts are what a store says of itself, beside its tables.
type Facts struct {
	Epoch string // of its history; empty: there is none yet
	// Stamp is at or above every change stamp of its rows and of every position
	// that it gave out.
	Stamp    int64
	Counters map[string]int64 // the last ids given out
	Empty    bool             // it has no users and no chats
	// Alone says that nobody else has the store open, or can open it before it is
	// closed.
	Alone    bool
	Incoming Incoming // zero: nothing is being copied into it
	Moved    Moved    // zero: it was not moved away
}

// Counters are the names of those that are copied. Change stamps are numbered by
// each store in its own way.
var Counters = []string{"chat", "invite", "session", "user"}

// Incoming marks a store into which something is being copied: it is not to be
// served.
type Incoming struct {
	Copy  string // names this copy
	Epoch string // of what is copied
}

// Moved marks a store whose history goes on elsewhere: it is not to be served,
// as then two histories would have one epoch.
type Moved struct {
	Copy string // the one that moved it
	At   time.Time
	To   string // for people
}

// String is how a store keeps the mark.
func (m Incoming) String() string {
	if m == (Incoming{}) {
		return ""
	}
	return m.Copy + " " + m.Epoch
}

// ParseIncoming reads what String wrote.
func ParseIncoming(s string) (m Incoming, err error) {
	if s == "" {
		return m, nil
	}
	var ok bool
	if m.Copy, m.Epoch, ok = strings.Cut(s, " "); !ok {
		return m, fmt.Errorf("the mark of a copy is %q", s)
	}
	return m, nil
}

// String is how a store keeps the mark.
func (m Moved) String() string {
	if m == (Moved{}) {
		return ""
	}
	return m.Copy + " " + m.At.UTC().Format(time.RFC3339) + " " + m.To
}

// ParseMoved reads what String wrote.
func ParseMoved(s string) (m Moved, err error) {
	if s == "" {
		return m, nil
	}
	parts := strings.SplitN(s, " ", 3)
	if len(parts) != 3 {
		return m, fmt.Errorf("the mark of a move is %q", s)
	}
	m.Copy, m.To = parts[0], parts[2]
	if m.At, err = time.Parse(time.RFC3339, parts[1]); err != nil {
		return m, fmt.Errorf("the mark of a move: %w", err)
	}
	return m, nil
}

// Servable says why a store with these marks must not be served; nil: it may.
func Servable(incoming, moved string) error {
	in, err1 := ParseIncoming(incoming)
	out, err2 := ParseMoved(moved)
	switch {
	case err1 != nil || err2 != nil:
		return errors.Join(err1, err2)
	case in != (Incoming{}):
		return errors.New("a copy into it is not finished: run the same grima copy again, with the server that it copies from stopped")
	case out != (Moved{}):
		return fmt.Errorf("it was moved to %s at %s, and what was said since is there. "+
			"To have it back, run grima copy the other way; if that is gone, grima copy --new-epoch makes a store of this one in another place",
			out.To, out.At.Format(time.DateTime+" MST"))
	}
	return nil
}
