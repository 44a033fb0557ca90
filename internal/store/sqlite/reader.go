package sqlite

import (
	"context"
	"errors"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// reader is chat.Reader on one connection, inside one transaction.
type reader struct {
	c      *conn
	ctx    context.Context
	recent *recent
	// view: it reads one snapshot, in which nothing changes.
	view  bool
	stamp int64 // its LastStamp, once that was read; else -1
	// failed keeps the first error that was not a missing row. The writer looks
	// at it: an update whose reads failed must not be committed, whatever its
	// Run made of the error.
	failed error
}

var _ chat.Reader = (*reader)(nil)

// Fail implements batch.Source.
func (r *reader) Fail(doing string, err error) error {
	if err != nil && !errors.Is(err, chat.ErrNotFound) && r.failed == nil {
		r.failed = err
	}
	return readError(r.ctx, doing, err)
}

// one reads the only row of q.
func one[T any](r *reader, doing string, q *stmt, scan func(batch.Columns) T) (T, error) {
	if err := q.row(); err != nil {
		var zero T
		return zero, r.Fail(doing, err)
	}
	v := scan(columns{q})
	q.reset()
	return v, r.Fail(doing, q.err)
}

// all reads the rows of q.
func all[T any](r *reader, doing string, q *stmt, scan func(batch.Columns) T) ([]T, error) {
	var list []T
	for q.next() {
		list = append(list, scan(columns{q}))
	}
	if q.err != nil {
		return nil, r.Fail(doing, q.err)
	}
	return list, nil
}

// By the words: whoever has one is then looked up by their id.
var selFound = `SELECT w.word, ` + batch.Of("u", batch.UserColumns) + ` FROM user_words w
CROSS JOIN users u ON u.user_id = w.user_id
WHERE (w.word, w.user_id) > (?, ?) AND w.word < ? ORDER BY w.word, w.user_id LIMIT ?`

const (
	selUser        = `SELECT ` + batch.UserColumns + ` FROM users WHERE user_id = ?`
	selUserByName  = `SELECT ` + batch.UserColumns + ` FROM users WHERE username = ?`
	selUsers       = `SELECT ` + batch.UserColumns + ` FROM users WHERE user_id > ? ORDER BY user_id LIMIT ?`
	selUsersPrefix = `SELECT ` + batch.UserColumns + ` FROM users WHERE username >= ? AND username < ? AND +user_id > ?
ORDER BY user_id LIMIT ?`

	selAvatar = `SELECT ` + batch.AvatarColumns + ` FROM avatars WHERE hash = ? ORDER BY user_id LIMIT 1`

	selSession        = `SELECT ` + batch.SessionColumns + ` FROM sessions WHERE session_id = ?`
	selSessionByToken = `SELECT ` + batch.SessionColumns + ` FROM sessions WHERE token_hash = ?`
	selHasSession     = `SELECT 1 FROM sessions WHERE session_id = ?`
	selSessions       = `SELECT ` + batch.SessionColumns + ` FROM sessions WHERE user_id = ? ORDER BY session_id`

	selInvite       = `SELECT ` + batch.InviteColumns + ` FROM invites WHERE invite_id = ?`
	selInviteByCode = `SELECT ` + batch.InviteColumns + ` FROM invites WHERE code_hash = ?`
	selInvites      = `SELECT ` + batch.InviteColumns + ` FROM invites ORDER BY invite_id`
)

func (r *reader) User(id chat.UserID) (chat.User, error) {
	return one(r, "read a user", r.c.prep(selUser).int(int64(id)), batch.ScanUser)
}

func (r *reader) UserByName(username string) (chat.User, error) {
	return one(r, "find a user by name", r.c.prep(selUserByName).text(username), batch.ScanUser)
}

func (r *reader) Users(prefix string, after chat.UserID, limit int) ([]chat.User, error) {
	if prefix == "" {
		return all(r, "list users", r.c.prep(selUsers).int(int64(after)).int(int64(limit)), batch.ScanUser)
	}
	q := r.c.prep(selUsersPrefix).text(prefix).text(batch.PastPrefix(prefix)).int(int64(after)).int(int64(limit))
	return all(r, "list users by prefix", q, batch.ScanUser)
}

func (r *reader) FindUsers(find string, after chat.FoundPos, limit int) ([]chat.User, chat.FoundPos, error) {
	return batch.FindUsers(find, after, limit, func(after chat.FoundPos, past string, limit int) ([]batch.Found, error) {
		q := r.c.prep(selFound).text(after.Word).int(int64(after.User)).text(past).int(int64(limit))
		return all(r, "find users", q, batch.ScanFound)
	})
}

func (r *reader) Avatar(hash string) (chat.Avatar, error) {
	return one(r, "read an avatar", r.c.prep(selAvatar).text(hash), batch.ScanAvatar)
}

func (r *reader) Session(id chat.SessionID) (chat.Session, error) {
	return one(r, "read a session", r.c.prep(selSession).int(int64(id)), batch.ScanSession)
}

func (r *reader) SessionByToken(hash [32]byte) (chat.Session, error) {
	return one(r, "find a session by token", r.c.prep(selSessionByToken).blob(hash[:]), batch.ScanSession)
}

func (r *reader) Sessions(user chat.UserID) ([]chat.Session, error) {
	return all(r, "list sessions", r.c.prep(selSessions).int(int64(user)), batch.ScanSession)
}

func (r *reader) LiveSessions(ids []chat.SessionID) (live []chat.SessionID, err error) {
	for _, id := range ids {
		_, err := r.count("look for a session", r.c.prep(selHasSession).int(int64(id)))
		switch {
		case err == nil:
			live = append(live, id)
		case !errors.Is(err, chat.ErrNotFound):
			return nil, err
		}
	}
	return live, nil
}

func (r *reader) Invite(id chat.InviteID) (chat.Invite, error) {
	return one(r, "read an invite", r.c.prep(selInvite).int(int64(id)), batch.ScanInvite)
}

func (r *reader) InviteByCode(hash [32]byte) (chat.Invite, error) {
	return one(r, "find an invite by code", r.c.prep(selInviteByCode).blob(hash[:]), batch.ScanInvite)
}

func (r *reader) Invites() ([]chat.Invite, error) {
	return all(r, "list invites", r.c.prep(selInvites), batch.ScanInvite)
}
