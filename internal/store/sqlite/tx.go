package sqlite

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// tx is chat.Tx: what one update sees of its batch. The writer has one and uses
// it for every update in turn.
type tx struct {
	r *reader // on the writer's connection

	users        rows[chat.UserID, chat.User]
	avatars      rows[chat.UserID, chat.Avatar]
	sessions     rows[chat.SessionID, chat.Session]
	invites      rows[chat.InviteID, chat.Invite]
	chats        rows[chat.ChatID, chat.Chat]
	participants rows[participantKey, chat.Participant]
	messages     rows[messageKey, chat.Message]
	sent         rows[sentKey, chat.Sent]
	counters     rows[counter, count]
	tables       []table

	now   time.Time // of the batch
	stamp int64     // of the running update; 0 until it needs one
	size  int       // about how many bytes the batch puts
	rows  int       // how many rows it puts
}

type (
	participantKey struct {
		chat chat.ChatID
		user chat.UserID
	}
	messageKey struct {
		chat chat.ChatID
		seq  int64
	}
	sentKey struct {
		sender      chat.UserID
		clientMsgID string
	}
	counter string
	count   struct {
		name counter
		last int64
	}
)

// The rows of the table counters.
const (
	lastUser    counter = "user"
	lastSession counter = "session"
	lastInvite  counter = "invite"
	lastChat    counter = "chat"
	lastStamp   counter = "stamp"
)

// cached is how many rows of each hot table the writer remembers. Nobody else
// writes to the file, so what it remembers stays true.
const cached = 1 << 16

const (
	deleteAvatar  = `DELETE FROM avatars WHERE user_id = ?`
	deleteSession = `DELETE FROM sessions WHERE session_id = ?`
	deleteInvite  = `DELETE FROM invites WHERE invite_id = ?`
	selCounter    = `SELECT value FROM counters WHERE name = ?`
	putCounter    = `UPDATE counters SET value = ? WHERE name = ?`
)

func newTx(r *reader) *tx {
	t := &tx{r: r}
	t.users = rows[chat.UserID, chat.User]{load: (*reader).User, write: writeUser, keep: cached}
	// Nobody asks for a picture by its user, so none is loaded.
	t.avatars = rows[chat.UserID, chat.Avatar]{
		write:  writeAvatar,
		remove: func(c *conn, id chat.UserID) error { return c.prep(deleteAvatar).int(int64(id)).run() },
	}
	t.sessions = rows[chat.SessionID, chat.Session]{
		load: (*reader).Session, write: writeSession,
		remove: func(c *conn, id chat.SessionID) error { return c.prep(deleteSession).int(int64(id)).run() },
	}
	t.invites = rows[chat.InviteID, chat.Invite]{
		load: (*reader).Invite, write: writeInvite,
		remove: func(c *conn, id chat.InviteID) error { return c.prep(deleteInvite).int(int64(id)).run() },
	}
	t.chats = rows[chat.ChatID, chat.Chat]{load: (*reader).Chat, keep: cached, write: func(c *conn, v *chat.Chat) error {
		r.recent.chatChanged(v.ID, v.Stamp)
		return writeChat(c, v)
	}}
	t.participants = rows[participantKey, chat.Participant]{
		load: func(r *reader, k participantKey) (chat.Participant, error) { return r.Participant(k.chat, k.user) },
		keep: cached,
		write: func(c *conn, p *chat.Participant) error {
			r.recent.markMoved(p.Chat, p.User, p.Stamp)
			return writeParticipant(c, p)
		},
	}
	t.messages = rows[messageKey, chat.Message]{
		load:  func(r *reader, k messageKey) (chat.Message, error) { return r.Message(k.chat, k.seq) },
		write: writeMessage,
	}
	t.sent = rows[sentKey, chat.Sent]{
		load:  func(r *reader, k sentKey) (chat.Sent, error) { return r.Sent(k.sender, k.clientMsgID) },
		write: writeSent,
	}
	t.counters = rows[counter, count]{
		load: func(r *reader, name counter) (count, error) {
			n, err := r.count("read a counter", r.c.prep(selCounter).text(string(name)))
			return count{name, n}, err
		},
		write: func(c *conn, v *count) error { return c.prep(putCounter).int(v.last).text(string(v.name)).run() },
		keep:  cached,
	}
	t.tables = []table{
		&t.users, &t.avatars, &t.sessions, &t.invites, &t.chats, &t.participants, &t.messages, &t.sent, &t.counters,
	}
	return t
}

// begin starts a batch.
func (t *tx) begin(now time.Time) {
	t.now = now.UTC().Truncate(time.Millisecond)
	t.r.failed, t.stamp, t.size, t.rows = nil, 0, 0, 0
}

// end ends the running update: what it put stays in the batch, or goes.
func (t *tx) end(ok bool) {
	for _, table := range t.tables {
		if ok {
			table.accept()
		} else {
			table.revert()
		}
	}
	t.stamp = 0
}

// flush writes everything the batch put.
func (t *tx) flush() error {
	for _, table := range t.tables {
		if err := table.flush(t.r.c); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) settle() {
	for _, table := range t.tables {
		table.settle()
	}
}

func (t *tx) forget() {
	for _, table := range t.tables {
		table.forget()
	}
}

// list lets lists, which SQLite answers, see what earlier updates of the batch
// put. What the running one put is left out: it may yet fail.
func (t *tx) list() error {
	for _, table := range t.tables {
		table.hide()
	}
	err := t.flush()
	for _, table := range t.tables {
		table.show()
	}
	return t.r.fail("write what the batch put", err)
}

func (t *tx) Now() time.Time { return t.now }

func (t *tx) next(name counter) (int64, error) {
	n, err := t.counters.get(t.r, name)
	if err != nil {
		return 0, err
	}
	n.last++
	t.counters.put(name, n)
	return n.last, nil
}

func (t *tx) NewUserID() (chat.UserID, error) {
	n, err := t.next(lastUser)
	return chat.UserID(n), err
}

func (t *tx) NewSessionID() (chat.SessionID, error) {
	n, err := t.next(lastSession)
	return chat.SessionID(n), err
}

func (t *tx) NewChatID() (chat.ChatID, error) {
	n, err := t.next(lastChat)
	return chat.ChatID(n), err
}

func (t *tx) NewInviteID() (chat.InviteID, error) {
	n, err := t.next(lastInvite)
	return chat.InviteID(n), err
}

// nextStamp gives the running update its change stamp.
func (t *tx) nextStamp() (int64, error) {
	if t.stamp == 0 {
		stamp, err := t.next(lastStamp)
		if err != nil {
			return 0, err
		}
		t.stamp = stamp
	}
	return t.stamp, nil
}

// wrote counts towards the bounds of the batch.
func (t *tx) wrote(bytes int) {
	t.rows++
	t.size += bytes + 100 // what a row takes besides its texts
}

// free makes sure that what must be unique is not another row's: find gives
// whose it is.
func free[K comparable, V any](find func() (V, error), key func(*V) K, own K, format string, args ...any) error {
	other, err := find()
	switch {
	case errors.Is(err, chat.ErrNotFound) || err == nil && key(&other) == own:
		return nil
	case err == nil:
		return chat.Errorf(chat.CodeConflict, format, args...)
	default:
		return err
	}
}

func (t *tx) PutUser(u chat.User) error {
	if err := free(func() (chat.User, error) { return t.UserByName(u.Username) },
		func(u *chat.User) chat.UserID { return u.ID }, u.ID, "the username %s is taken", u.Username); err != nil {
		return err
	}
	t.users.put(u.ID, u)
	t.wrote(len(u.Name) + len(u.Status) + len(u.PasswordHash))
	return nil
}

func (t *tx) PutAvatar(a chat.Avatar) error {
	a.Bytes = bytes.Clone(a.Bytes)
	t.avatars.put(a.User, a)
	t.wrote(len(a.Bytes))
	return nil
}

func (t *tx) DeleteAvatar(user chat.UserID) error {
	t.avatars.delete(user)
	t.wrote(0)
	return nil
}

func (t *tx) PutSession(s chat.Session) error {
	if err := free(func() (chat.Session, error) { return t.SessionByToken(s.TokenHash) },
		func(s *chat.Session) chat.SessionID { return s.ID }, s.ID, "another session has this token"); err != nil {
		return err
	}
	t.sessions.put(s.ID, s)
	t.wrote(len(s.Device) + len(s.Client))
	return nil
}

func (t *tx) DeleteSession(id chat.SessionID) error {
	t.sessions.delete(id)
	t.wrote(0)
	return nil
}

func (t *tx) PutInvite(i chat.Invite) error {
	if err := free(func() (chat.Invite, error) { return t.InviteByCode(i.CodeHash) },
		func(i *chat.Invite) chat.InviteID { return i.ID }, i.ID, "another invite has this code"); err != nil {
		return err
	}
	t.invites.put(i.ID, i)
	t.wrote(0)
	return nil
}

func (t *tx) DeleteInvite(id chat.InviteID) error {
	t.invites.delete(id)
	t.wrote(0)
	return nil
}

func (t *tx) PutChat(c chat.Chat) error {
	old, err := t.chats.get(t.r, c.ID)
	if err != nil && !errors.Is(err, chat.ErrNotFound) {
		return err
	}
	id := func(c *chat.Chat) chat.ChatID { return c.ID }
	// Most puts move a chat on and leave its names as they are.
	if c.Pair != old.Pair && c.Pair != [2]chat.UserID{} {
		if err := free(func() (chat.Chat, error) { return t.ChatByPair(c.Pair) }, id, c.ID,
			"these two have a private chat already"); err != nil {
			return err
		}
	}
	if c.ClientChatID != "" && (c.ClientChatID != old.ClientChatID || c.CreatedBy != old.CreatedBy) {
		if err := free(func() (chat.Chat, error) { return t.ChatByClientID(c.CreatedBy, c.ClientChatID) }, id, c.ID,
			"this client_chat_id was used before"); err != nil {
			return err
		}
	}
	if c.Stamp, err = t.nextStamp(); err != nil {
		return err
	}
	t.chats.put(c.ID, c)
	t.wrote(len(c.Title) + len(c.Topic))
	return nil
}

func (t *tx) PutParticipant(p chat.Participant) error {
	key := participantKey{p.Chat, p.User}
	old, err := t.participants.get(t.r, key)
	if err != nil && !errors.Is(err, chat.ErrNotFound) {
		return err
	}
	p.Stamp = old.Stamp
	t.participants.put(key, p)
	t.wrote(0)
	return nil
}

func (t *tx) PutReadMark(id chat.ChatID, user chat.UserID, seq int64) error {
	key := participantKey{id, user}
	p, err := t.participants.get(t.r, key)
	if err != nil {
		return err
	}
	if p.Stamp, err = t.nextStamp(); err != nil {
		return err
	}
	p.ReadSeq = seq
	t.participants.put(key, p)
	t.wrote(0)
	return nil
}

func (t *tx) PutMessage(m chat.Message) error {
	m.Mentions = slices.Clone(m.Mentions)
	t.messages.put(messageKey{m.Chat, m.Seq}, m)
	t.wrote(len(m.Content))
	return nil
}

func (t *tx) PutSent(s chat.Sent) error {
	key := sentKey{s.Sender, s.ClientMsgID}
	_, err := t.sent.get(t.r, key)
	switch {
	case err == nil:
		return chat.Errorf(chat.CodeConflict, "this client_msg_id was used before")
	case !errors.Is(err, chat.ErrNotFound):
		return err
	}
	t.sent.put(key, s)
	t.wrote(len(s.ClientMsgID))
	return nil
}
