package sqlite

import (
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

var (
	putUser        = batch.Put("users", batch.UserColumns, "user_id", values(batch.UserColumns))
	putAvatar      = batch.Put("avatars", batch.AvatarColumns, "user_id", values(batch.AvatarColumns))
	putSession     = batch.Put("sessions", batch.SessionColumns, "session_id", values(batch.SessionColumns))
	putInvite      = batch.Put("invites", batch.InviteColumns, "invite_id", values(batch.InviteColumns))
	putChat        = batch.Put("chats", batch.ChatColumns, "chat_id", values(batch.ChatColumns))
	putParticipant = batch.Put("participants", batch.ParticipantColumns, "chat_id, user_id", values(batch.ParticipantColumns))

	addMessage = `INSERT INTO messages (` + batch.MessageColumns + `) ` + values(batch.MessageColumns) + `
ON CONFLICT (chat_id, seq) DO NOTHING`
	setMessage = `REPLACE INTO messages (` + batch.MessageColumns + `) ` + values(batch.MessageColumns)
	putSent    = `INSERT INTO sent (` + batch.SentColumns + `) ` + values(batch.SentColumns)
)

const (
	mentionsOf    = `SELECT mentions, mention_all FROM messages WHERE chat_id = ? AND seq = ?`
	addMention    = `INSERT INTO mentions (user_id, chat_id, seq) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`
	addLong       = `INSERT INTO long_contents (chat_id, seq, content) VALUES (?, ?, ?)`
	removeLong    = `DELETE FROM long_contents WHERE chat_id = ? AND seq = ?`
	removeMention = `DELETE FROM mentions WHERE user_id = ? AND chat_id = ? AND seq = ?`

	putWord       = `INSERT INTO user_words (` + batch.WordColumns + `) VALUES (?, ?) ON CONFLICT DO NOTHING`
	deleteWord    = `DELETE FROM user_words WHERE word = ? AND user_id = ?`
	deleteAvatar  = `DELETE FROM avatars WHERE user_id = ?`
	deleteSession = `DELETE FROM sessions WHERE session_id = ?`
	deleteInvite  = `DELETE FROM invites WHERE invite_id = ?`
	selCounter    = `SELECT value FROM counters WHERE name = ?`
	setCounter    = `UPDATE counters SET value = ? WHERE name = ?`
)

// values has a parameter for each of columns.
func values(columns string) string {
	return "VALUES (?" + strings.Repeat(", ?", strings.Count(columns, ",")) + ")"
}

var _ batch.Source = (*source)(nil)

// source is the writer's reader, which also writes.
type source struct{ *reader }

// put writes rows one by one: there is no round trip between here and SQLite.
func put[V any](s *source, sql string, rows []*V, bind func(batch.Binder, *V)) error {
	for _, v := range rows {
		q := s.c.prep(sql)
		bind(binder{q}, v)
		if err := q.run(); err != nil {
			return err
		}
	}
	return nil
}

func removeRows[ID ~int64](s *source, sql string, ids []ID) error {
	for _, id := range ids {
		if err := s.c.prep(sql).int(int64(id)).run(); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) PutUsers(rows []*chat.User) error { return put(s, putUser, rows, batch.BindUser) }

func (s *source) PutWords(rows []*batch.Word) error { return put(s, putWord, rows, batch.BindWord) }

func (s *source) DeleteWords(rows []batch.Word) error {
	for _, w := range rows {
		if err := s.c.prep(deleteWord).text(w.Word).int(int64(w.User)).run(); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) PutAvatars(rows []*chat.Avatar) error {
	return put(s, putAvatar, rows, batch.BindAvatar)
}

func (s *source) DeleteAvatars(of []chat.UserID) error { return removeRows(s, deleteAvatar, of) }

func (s *source) PutSessions(rows []*chat.Session) error {
	return put(s, putSession, rows, batch.BindSession)
}

func (s *source) DeleteSessions(ids []chat.SessionID) error { return removeRows(s, deleteSession, ids) }

func (s *source) PutInvites(rows []*chat.Invite) error {
	return put(s, putInvite, rows, batch.BindInvite)
}

func (s *source) DeleteInvites(ids []chat.InviteID) error { return removeRows(s, deleteInvite, ids) }

func (s *source) PutChats(rows []*chat.Chat) error {
	for _, v := range rows {
		s.recent.ChatChanged(v.ID, v.Stamp)
	}
	return put(s, putChat, rows, batch.BindChat)
}

func (s *source) PutParticipants(rows []*chat.Participant) error {
	for _, p := range rows {
		s.recent.MarkMoved(p.Chat, p.User, p.Stamp)
	}
	return put(s, putParticipant, rows, batch.BindParticipant)
}

func (s *source) PutSent(rows []*chat.Sent) error { return put(s, putSent, rows, batch.BindSent) }

func (s *source) Counter(name batch.Counter) (int64, error) {
	return s.count("read a counter", s.c.prep(selCounter).text(string(name)))
}

func (s *source) PutCounters(rows []*batch.Count) error {
	for _, v := range rows {
		if err := s.c.prep(setCounter).int(v.Last).text(string(v.Name)).run(); err != nil {
			return err
		}
	}
	return nil
}

// PutMessages tries inserts first: nearly every message is new, and then there
// are no old mentions to look for.
func (s *source) PutMessages(rows []*chat.Message) error {
	for _, m := range rows {
		if err := writeMessage(s.c, m); err != nil {
			return err
		}
	}
	return nil
}

// inRow is how many bytes of a content stand in the message's row at most: with
// more, a row would not fit into the page of the tree that it is on.
const inRow = 768

func writeMessage(c *conn, m *chat.Message) error {
	long := ""
	if len(m.Content) > inRow {
		short := *m
		long, short.Content = m.Content, ""
		m = &short
	}
	add := c.prep(addMessage)
	batch.BindMessage(binder{add}, m)
	if err := add.run(); err != nil {
		return err
	}
	if c.db.Changes() == 0 {
		if err := forgetMentions(c, m.Chat, m.Seq); err != nil {
			return err
		}
		set := c.prep(setMessage)
		batch.BindMessage(binder{set}, m)
		if err := set.run(); err != nil {
			return err
		}
		if err := c.prep(removeLong).int(int64(m.Chat)).int(m.Seq).run(); err != nil {
			return err
		}
	}
	if long != "" {
		if err := c.prep(addLong).int(int64(m.Chat)).int(m.Seq).text(long).run(); err != nil {
			return err
		}
	}
	for _, u := range batch.Mentioned(m) {
		if err := c.prep(addMention).int(int64(u)).int(int64(m.Chat)).int(m.Seq).run(); err != nil {
			return err
		}
	}
	return nil
}

func forgetMentions(c *conn, id chat.ChatID, seq int64) error {
	q := c.prep(mentionsOf).int(int64(id)).int(seq)
	if err := q.row(); err != nil {
		return err
	}
	users, err := batch.ParseMentions(q.getText())
	if q.getBool() {
		users = append(users, batch.Everybody)
	}
	q.reset()
	if err != nil {
		return err
	}
	for _, u := range users {
		if err := c.prep(removeMention).int(int64(u)).int(int64(id)).int(seq).run(); err != nil {
			return err
		}
	}
	return nil
}

// binder and columns are a statement from its two sides.
type (
	binder  struct{ s *stmt }
	columns struct{ s *stmt }
)

func (b binder) Int(v int64)            { b.s.int(v) }
func (b binder) IntOrNull(v int64)      { b.s.orNull(v) }
func (b binder) Bool(v bool)            { b.s.bool(v) }
func (b binder) Text(v string)          { b.s.text(v) }
func (b binder) TextOrNull(v string)    { b.s.textOrNull(v) }
func (b binder) Bytes(v []byte)         { b.s.blob(v) }
func (b binder) Time(v time.Time)       { b.s.time(v) }
func (b binder) TimeOrNull(v time.Time) { b.s.timeOrNull(v) }
func (b binder) ClientMsgID(v string)   { b.s.clientID(v) }

func (c columns) Int() int64          { return c.s.getInt() }
func (c columns) Bool() bool          { return c.s.getBool() }
func (c columns) Text() string        { return c.s.getText() }
func (c columns) Bytes() []byte       { return c.s.getRaw() }
func (c columns) Time() time.Time     { return c.s.getTime() }
func (c columns) ClientMsgID() string { return c.s.getClientID() }

// clientID binds a client_msg_id. Most are UUIDs, which take 16 bytes instead
// of 36; only the form that getClientID gives back is shortened.
func (s *stmt) clientID(id string) *stmt {
	if uuid, ok := batch.ParseUUID(id); ok {
		return s.blob(uuid[:])
	}
	return s.text(id)
}

func (s *stmt) getClientID() string {
	if s.s.ColumnType(s.col) == sqlite3.BLOB {
		if raw := s.getRaw(); len(raw) == 16 {
			return batch.FormatUUID([16]byte(raw))
		}
		return ""
	}
	return s.getText()
}
