package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// query is one statement of a pipeline.
type query struct {
	sql  string
	args []any
	row  func(*columns) error    // for each row; nil: there are none
	tag  func(pgconn.CommandTag) // what was done, when it is over; nil: nobody asks
}

// ask makes a query.
func ask(sql string, args ...any) query { return query{sql: sql, args: args} }

// reader is chat.Reader on one connection, inside one transaction.
type reader struct {
	ctx     context.Context
	conn    *pgx.Conn
	offset  int64         // of stamps
	pending []query       // goes out with the next query, before it: BEGIN, and what the batch put
	begun   bool          // something went out
	view    bool          // it is a View's
	alone   bool          // what goes out is the only thing, and needs no transaction
	failed  error         // the first error that was not a missing row
	lately  *lately       // nil: nobody remembers
	recent  *batch.Recent // what it says of this snapshot; nil: it was not asked, or cannot say
	// renew takes another connection, if the first query finds that the one there
	// was lost meanwhile; nil: there is no other.
	renew func() error
	// hold locks a chat before something of it is read; nil: nothing to lock.
	hold func(chat.ChatID) error
}

var _ chat.Reader = (*reader)(nil)

// Fail implements batch.Source.
func (r *reader) Fail(doing string, err error) error {
	if err == nil || errors.Is(err, chat.ErrNotFound) {
		return err
	}
	if r.failed == nil {
		r.failed = err
	}
	return readError(r.ctx, doing, err)
}

// run sends queries in one go and reads their answers.
func (r *reader) run(doing string, queries ...query) error {
	if r.failed != nil {
		return readError(r.ctx, doing, r.failed)
	}
	return r.Fail(doing, r.send(queries...))
}

func (r *reader) send(queries ...query) error {
	if r.alone && r.begun {
		return errAlone
	}
	all, first := append(r.pending, queries...), !r.begun
	r.pending = nil
	r.begun = true
	read, err := r.pipeline(all)
	if err != nil && first && !read && r.renew != nil && r.conn.IsClosed() && r.ctx.Err() == nil {
		if err := r.renew(); err != nil {
			return err
		}
		_, err = r.pipeline(all)
	}
	return err
}

// errAlone is a bug of the caller's.
var errAlone = errors.New("there is no snapshot to read more of, after Tails")

// pipeline sends queries and reads their answers; read says that there were some.
func (r *reader) pipeline(all []query) (read bool, err error) {
	if r.view { // a new connection is looked at on a goroutine of the pool's
		defer chat.Elsewhere(r.ctx)()
	}
	b := &pgx.Batch{}
	for _, q := range all {
		b.Queue(q.sql, q.args...)
	}
	answers := r.conn.SendBatch(r.ctx, b)
	for _, q := range all {
		if err := q.read(answers); err != nil {
			return read, errors.Join(err, ignore(answers.Close()))
		}
		read = true
	}
	return read, answers.Close()
}

// ignore is for an error that the one before it brought with it.
func ignore(error) error { return nil }

func (q query) read(answers pgx.BatchResults) error {
	rows, err := answers.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if q.row == nil {
			continue
		}
		c := &columns{raw: rows.RawValues()}
		if err := errors.Join(q.row(c), c.err); err != nil {
			return err
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return err
	}
	if q.tag != nil {
		q.tag(rows.CommandTag())
	}
	return nil
}

// one reads the only row of a query.
func one[T any](r *reader, doing string, q query, scan func(batch.Columns) T) (T, error) {
	var v T
	found := false
	q.row = func(c *columns) error {
		v, found = scan(c), true
		return nil
	}
	err := r.run(doing, q)
	if err == nil && !found {
		err = chat.ErrNotFound
	}
	return v, err
}

// into makes a query whose rows are appended to list.
func into[T any](list *[]T, q query, scan func(batch.Columns) T) query {
	q.row = func(c *columns) error {
		*list = append(*list, scan(c))
		return nil
	}
	return q
}

// all reads the rows of a query.
func all[T any](r *reader, doing string, q query, scan func(batch.Columns) T) (list []T, err error) {
	err = r.run(doing, into(&list, q, scan))
	if err != nil {
		return nil, err
	}
	return list, nil
}

var selFound = `SELECT w.word, ` + batch.Of("u", batch.UserColumns) + ` FROM user_words w JOIN users u ON u.user_id = w.user_id
WHERE (w.word, w.user_id) > ($1, $2) AND w.word < $3 ORDER BY w.word, w.user_id LIMIT $4`

const (
	selUser        = `SELECT ` + batch.UserColumns + ` FROM users WHERE user_id = $1`
	selUserByName  = `SELECT ` + batch.UserColumns + ` FROM users WHERE username = $1`
	selUsers       = `SELECT ` + batch.UserColumns + ` FROM users WHERE user_id > $1 ORDER BY user_id LIMIT $2`
	selUsersPrefix = `SELECT ` + batch.UserColumns + ` FROM users WHERE username >= $1 AND username < $2 AND user_id + 0 > $3
ORDER BY user_id + 0 LIMIT $4` // + 0: not by the primary key

	selAvatar = `SELECT ` + batch.AvatarColumns + ` FROM avatars WHERE hash = $1 ORDER BY user_id LIMIT 1`

	selSession        = `SELECT ` + batch.SessionColumns + ` FROM sessions WHERE session_id = $1`
	selSessionByToken = `SELECT ` + batch.SessionColumns + ` FROM sessions WHERE token_hash = $1`
	selSessions       = `SELECT ` + batch.SessionColumns + ` FROM sessions WHERE user_id = $1 ORDER BY session_id`

	selInvite       = `SELECT ` + batch.InviteColumns + ` FROM invites WHERE invite_id = $1`
	selInviteByCode = `SELECT ` + batch.InviteColumns + ` FROM invites WHERE code_hash = $1`
	selInvites      = `SELECT ` + batch.InviteColumns + ` FROM invites ORDER BY invite_id`
)

func (r *reader) User(id chat.UserID) (chat.User, error) {
	return one(r, "read a user", ask(selUser, int64(id)), batch.ScanUser)
}

func (r *reader) UserByName(username string) (chat.User, error) {
	return one(r, "find a user by name", ask(selUserByName, escape(username)), batch.ScanUser)
}

func (r *reader) Users(prefix string, after chat.UserID, limit int) ([]chat.User, error) {
	if prefix == "" {
		return all(r, "list users", ask(selUsers, int64(after), int64(limit)), batch.ScanUser)
	}
	q := ask(selUsersPrefix, escape(prefix), batch.PastPrefix(escape(prefix)), int64(after), int64(limit))
	return all(r, "list users by prefix", q, batch.ScanUser)
}

func (r *reader) FindUsers(find string, after chat.FoundPos, limit int) ([]chat.User, chat.FoundPos, error) {
	return batch.FindUsers(find, after, limit, func(after chat.FoundPos, past string, limit int) ([]batch.Found, error) {
		q := ask(selFound, escape(after.Word), int64(after.User), escape(past), int64(limit))
		return all(r, "find users", q, batch.ScanFound)
	})
}

func (r *reader) Avatar(hash string) (chat.Avatar, error) {
	return one(r, "read an avatar", ask(selAvatar, escape(hash)), batch.ScanAvatar)
}

func (r *reader) Session(id chat.SessionID) (chat.Session, error) {
	return one(r, "read a session", ask(selSession, int64(id)), batch.ScanSession)
}

func (r *reader) SessionByToken(hash [32]byte) (chat.Session, error) {
	return one(r, "find a session by token", ask(selSessionByToken, hash[:]), batch.ScanSession)
}

func (r *reader) Sessions(user chat.UserID) ([]chat.Session, error) {
	return all(r, "list sessions", ask(selSessions, int64(user)), batch.ScanSession)
}

// LiveSessions gives those of ids that there are, in their order.
func (r *reader) LiveSessions(ids []chat.SessionID) (live []chat.SessionID, err error) {
	keys := make([]int64, len(ids))
	for i, id := range ids {
		keys[i] = int64(id)
	}
	found := map[chat.SessionID]bool{}
	q := ask(`SELECT session_id FROM sessions WHERE session_id = ANY($1)`, keys)
	q.row = func(c *columns) error {
		found[chat.SessionID(c.Int())] = true
		return nil
	}
	if err := r.run("look for sessions", q); err != nil {
		return nil, err
	}
	for _, id := range ids {
		if found[id] {
			live = append(live, id)
		}
	}
	return live, nil
}

func (r *reader) Invite(id chat.InviteID) (chat.Invite, error) {
	return one(r, "read an invite", ask(selInvite, int64(id)), batch.ScanInvite)
}

func (r *reader) InviteByCode(hash [32]byte) (chat.Invite, error) {
	return one(r, "find an invite by code", ask(selInviteByCode, hash[:]), batch.ScanInvite)
}

func (r *reader) Invites() ([]chat.Invite, error) {
	return all(r, "list invites", ask(selInvites), batch.ScanInvite)
}
