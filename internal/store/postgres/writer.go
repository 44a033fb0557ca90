package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// writer owns the one connection that writes.
type writer struct {
	*batch.Loop
	store   *Store
	conf    *pgx.ConnConfig
	conn    *pgx.Conn // nil: lost
	src     *source
	tx      *batch.Tx
	cfg     Config
	log     *slog.Logger
	stats   *batch.Counts
	downAt  time.Time // since when there is no connection; zero: there is
	backoff time.Duration

	prune pruner // of the table changed

	id    int64 // of our row in the table writers
	batch int64 // how many transactions we wrote, or barred
	doubt doubt
}

// doubt is about a transaction whose COMMIT nobody answered: the one after
// writer.batch.
type doubt struct {
	open bool
	pid  uint32 // of the process that ran it
	xid  int64
	was  bool // when it is not open any more: it was committed
}

const (
	// Who is in the way of a batch is gone when it is tried again, or something
	// is wrong with one of its updates: then they are tried one by one.
	tries = 4
	// Waits between attempts to connect.
	leastBackoff = 20 * time.Millisecond
	mostBackoff  = time.Second
)

func newWriter(c *pgx.Conn, id int64, conf *pgx.ConnConfig, cfg Config, s *Store) *writer {
	w := &writer{store: s, conf: conf, conn: c, cfg: cfg, log: cfg.Log, stats: batch.NewCounts(), prune: newPruner(cfg.keep), id: id}
	w.src = &source{reader: &reader{offset: s.history.offset}, unchanged: s.unchanged}
	w.src.hold = w.src.lock
	w.tx = batch.NewTx(w.src, 0)
	w.tx.Stamps, w.tx.Accounts = w.src.stamp, w.src.accounts
	w.src.tx = w.tx
	w.Loop = batch.NewLoop(cfg.Queue, cfg.Log, w.commit, nil)
	return w
}

// commit runs the first of items in one transaction, again if need be, and says
// how many. What happened to each is in its Err.
func (w *writer) commit(items []*batch.Item) int {
	needs, late := hints(items), time.Now().Add(w.cfg.Patience)
	for try := 1; ; {
		n, err := w.transact(items, needs, try > 1)
		if err == nil {
			w.downAt = time.Time{}
			return n
		}
		if errors.Is(err, errAgain) {
			continue // each time with one thing more, of as many as there are
		}
		w.stats.Failed()
		kind := kindOf(err, w.conn != nil)
		switch {
		case errors.Is(err, errUnknown):
		case kind == fatal:
			w.store.failure.Set(err)
		case kind == lost && w.wait(late):
			continue
		case kind == contended && try < tries:
			try++
			continue
		case (kind == contended || kind == blames) && n > 1:
			// Something of the batch cannot be stored, and PostgreSQL does not say
			// whose it was: everybody gets a transaction of their own.
			for i := range items[:n] {
				w.commit(items[i : i+1])
			}
			return n
		}
		err = w.refusal(kind, err)
		for _, i := range items[:n] {
			i.Err = err
		}
		return n
	}
}

// refusal is what the updates of a failed transaction hear.
func (w *writer) refusal(kind kind, err error) error {
	switch {
	case kind == fatal:
		return chat.Unavailable("the server cannot write any more and must be restarted", err)
	case errors.Is(err, errUnknown):
		w.log.Error("nobody knows what became of a transaction", "error", err)
		return chat.Unavailable("the connection to the database was lost while it stored this; it may be stored or not: try again with the same client_msg_id", err)
	case kind == lost:
		w.log.Error("the database cannot be written to", "error", err)
		return chat.Unavailable("the database cannot be reached; nothing was stored, try again", err)
	case kind == full:
		w.log.Error("the database's disk is full", "error", err)
		return chat.Unavailable("the database's disk is full; nothing was stored", err)
	case kind == contended:
		w.log.Error("others were in an update's way each time", "error", err)
		return chat.Unavailable("the database is too busy; nothing was stored, try again", err)
	default:
		w.log.Error("an update could not be stored", "error", err)
		return fmt.Errorf("store an update: %w", err)
	}
}

// transact runs items in one transaction, as many as fit its bounds. After an
// error nothing of it is there, unless that is errUnknown.
func (w *writer) transact(items []*batch.Item, needs *needs, careful bool) (n int, err error) {
	n = len(items)
	if err := w.store.failure.Err(); err != nil {
		return n, ended{err}
	}
	if err := w.connect(); err != nil {
		return n, err
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	defer func() {
		if err != nil {
			w.tx.Forget()
			w.rollback()
		}
	}()
	w.src.ctx, w.src.conn, w.src.needs, w.src.careful = ctx, w.conn, needs, careful
	w.tx.Begin(w.cfg.Now())
	if err := w.src.start(); err != nil {
		return n, w.src.failed
	}
	for n = 0; n < len(items) && !w.tx.Full(); {
		items[n].Err = batch.Run(items[n].Op, w.tx, w.log)
		w.tx.End(items[n].Err == nil)
		n++
		if err := w.src.failed; err != nil {
			return n, err
		}
	}
	if err := w.tx.Flush(); err != nil {
		return n, err
	}
	if !w.src.wrote {
		w.tx.Settle()
		if w.src.begun {
			w.rollback() // and whether that worked is nobody's business
		}
		return n, nil
	}
	// Whether the history is ours is known before anything of it is committed.
	if err := w.src.identify(); err != nil {
		return n, w.src.failed
	}
	if err := w.end(); err != nil {
		return n, err
	}
	w.stats.Committed(n, time.Since(began))
	w.tx.Settle()
	return n, nil
}

// errUnknown says that a transaction may have been committed or not,
// errRolledBack that it was not, and will not be.
var (
	errUnknown    = errors.New("the outcome of a commit is unknown")
	errRolledBack = errors.New("the transaction was rolled back")
)

// Our row goes from one batch to the next with each transaction, which fails if
// it is not where we left it.
const (
	markBatch = `WITH mine AS (UPDATE writers SET batch = $2, stamp = greatest(stamp, $3), used_at = $4, forgot = greatest(forgot, $5)
WHERE writer_id = $1 AND batch = $2 - 1 RETURNING 1) SELECT 1 / count(*) FROM mine`
	barBatch = `UPDATE writers SET batch = $2 WHERE writer_id = $1 AND batch = $2 - 1`
	// The server may not know yet that a connection is lost.
	endBackend = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_xid::text = $2`
)

// end writes what the batch put and commits, in one go.
func (w *writer) end() error {
	done, stamp, now := false, int64(0), time.Now()
	if w.src.stamped {
		stamp = stampOf(w.src.xid, w.src.offset)
	}
	var queries []query
	var deleted int64
	old, forgot := w.prune.due(now)
	if old > 0 {
		queries = append(queries, w.prune.query(forgot, &deleted))
	}
	if !w.src.changed.none() {
		queries = append(queries, w.src.changed.put(stampOf(w.src.xid, w.src.offset)))
	}
	mark := ask(markBatch, w.id, w.batch+1, stamp, now.UnixMilli(), forgot)
	commit := ask("COMMIT")
	commit.tag = func(tag pgconn.CommandTag) { done = committed(tag) }
	err := w.src.send(append(queries, mark, commit)...)
	switch pg, ok := errors.AsType[*pgconn.PgError](err); {
	case done:
		w.batch++
		w.prune.done(old, forgot, deleted)
		if !w.src.changed.none() {
			w.prune.committed(now, stampOf(w.src.xid, w.src.offset))
		}
		return nil // whatever went wrong behind it
	case err == nil:
		return errRolledBack
	case ok && pg.Code == divisionByZero:
		return ended{fmt.Errorf("the row %d in the table writers, which is ours, is not where it was: the database was restored or copied into under us", w.id)}
	case !w.conn.IsClosed():
		// Everything was answered: something before COMMIT failed, which was
		// then passed over, or nothing was sent.
		return err
	}
	w.doubt = doubt{open: true, pid: w.conn.PgConn().PID(), xid: w.src.xid}
	return w.outcome(err)
}

// outcome finds out what became of the transaction in doubt: nil if it is
// committed. Otherwise it gives cause, if nothing of it is there and never will
// be; or errUnknown, and who connects next finds out.
func (w *writer) outcome(cause error) error {
	w.log.Warn("the connection was lost while a transaction was committed; asking what became of it", "error", cause)
	w.rollback()
	for late := time.Now().Add(w.cfg.Patience); ; {
		err := w.connect()
		switch {
		case err == nil && w.doubt.was:
			return nil
		case err == nil:
			return errors.Join(errRolledBack, cause)
		case kindOf(err, false) == fatal:
			w.store.failure.Set(err)
			return errors.Join(errUnknown, cause, err)
		}
		if !w.wait(late) {
			return errors.Join(errUnknown, cause, err)
		}
	}
}

// settle ends the doubt: either the transaction went from batch to batch, or we
// do, and then it cannot, however late the server gets to it.
//
// The status that the server knows of a transaction by its id is no answer: after
// a crash the id may be another's.
func (w *writer) settle(c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	r := &reader{ctx: ctx, conn: c}
	bar := ask(barBatch, w.id, w.batch+1)
	bar.tag = func(tag pgconn.CommandTag) { w.doubt.was = tag.RowsAffected() == 0 }
	err := r.send(ask(endBackend, int64(w.doubt.pid), strconv.FormatUint(uint64(uint32(w.doubt.xid)), 10)), bar)
	if err != nil {
		return fmt.Errorf("find out what became of a transaction: %w", err)
	}
	w.doubt.open = false
	w.batch++
	return nil
}

// connect sees that there is a connection.
func (w *writer) connect() error {
	if w.conn != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.conf.ConnectTimeout+answerTimeout)
	defer cancel()
	c, found, err := connect(ctx, w.conf, settings(statementTimeout, w.cfg.idle))
	if err == nil {
		if err = w.store.sameHome(found); err == nil {
			err = serving(ctx, c)
		}
		if err == nil && w.doubt.open {
			err = w.settle(c)
		}
		if err != nil {
			err = errors.Join(err, ignore(drop(c)))
		}
	}
	if err != nil {
		return err
	}
	if !w.downAt.IsZero() {
		w.log.Info("the database is back", "after", time.Since(w.downAt).Round(time.Millisecond))
	}
	w.conn, w.downAt, w.backoff = c, time.Time{}, 0
	return nil
}

// rollback makes the connection usable, or lets it go.
func (w *writer) rollback() {
	if w.conn == nil {
		return
	}
	if !w.conn.IsClosed() {
		ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
		defer cancel()
		if _, err := w.conn.Exec(ctx, "ROLLBACK"); err == nil {
			return
		}
	}
	ignore(drop(w.conn))
	w.conn = nil
}

// wait lets some time pass before the next attempt to connect, unless that would
// be too late, or the database has been away for so long that everybody behind
// would wait, too.
func (w *writer) wait(late time.Time) bool {
	if w.downAt.IsZero() {
		w.downAt = time.Now()
	}
	w.backoff = min(max(2*w.backoff, leastBackoff), mostBackoff)
	if now := time.Now(); now.Add(w.backoff).After(late) || now.Sub(w.downAt) > w.cfg.Patience {
		return false
	}
	<-time.After(w.backoff)
	return true
}
