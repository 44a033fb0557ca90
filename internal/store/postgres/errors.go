package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// What PostgreSQL calls what may go wrong.
const (
	uniqueViolation      = "23505"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	lockNotAvailable     = "55P03"
	queryCanceled        = "57014"
	diskFull             = "53100"
	divisionByZero       = "22012"
	readOnly             = "25006"
	undefinedTable       = "42P01"
	undefinedColumn      = "42703"
)

// kind is what an error says about a transaction that was not sent to be
// committed, and so has left nothing.
type kind int

const (
	lost      kind = iota // the database went away, or cannot do it now: try again later
	contended             // another transaction was in the way: try again
	blames                // something that was put cannot be stored
	full                  // no space, there
	fatal                 // nothing may be written any more
)

// ended marks an error after which nothing may be written any more.
type ended struct{ error }

func (e ended) Unwrap() error { return e.error }

// kindOf judges an error of a connection that is still open, or not.
func kindOf(err error, open bool) kind {
	if _, ok := errors.AsType[ended](err); ok || errors.Is(err, errFormat) {
		return fatal
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case !open, errors.Is(err, errRolledBack), ok && (pg.Severity == "FATAL" || pg.Severity == "PANIC"):
		return lost
	case !ok:
		return blames // a value that cannot be sent, which the driver finds before it sends anything
	}
	switch pg.Code {
	case uniqueViolation, serializationFailure, deadlockDetected, lockNotAvailable, queryCanceled:
		return contended
	case diskFull:
		return full
	case readOnly: // a standby
		return lost
	case undefinedTable, undefinedColumn:
		return fatal
	}
	switch pg.Code[:2] {
	case "08", "53", "57", "58", "XX":
		return lost
	}
	return blames
}

// readError says what went wrong with a query, for the caller of the store.
func readError(ctx context.Context, doing string, err error) error {
	_, isPg := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil || errors.Is(err, chat.ErrNotFound) || errors.Is(err, errAgain):
		return err
	case ctx.Err() != nil:
		return batch.Timeout(ctx)
	case isPg && kindOf(err, true) == blames:
		return fmt.Errorf("%s: %w", doing, err)
	default:
		return chat.Unavailable("the database could not be read", fmt.Errorf("%s: %w", doing, err))
	}
}
