package storetest

import (
	"bytes"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// tx is chat.Tx on a Memory. What it puts carries the number of an update that
// is not committed yet, so that no View sees it.
type tx struct {
	reader
	now  time.Time
	undo []func()
}

var _ chat.Tx = (*tx)(nil)

func (t *tx) lock() (unlock func()) {
	if t.over.Load() {
		panic("storetest: a Tx was used after its Update")
	}
	t.m.mu.Lock()
	return t.m.mu.Unlock
}

func (t *tx) Now() time.Time { return t.now }

func (t *tx) NewUserID() (chat.UserID, error)       { return next(t, &t.m.lastUser) }
func (t *tx) NewSessionID() (chat.SessionID, error) { return next(t, &t.m.lastSession) }
func (t *tx) NewChatID() (chat.ChatID, error)       { return next(t, &t.m.lastChat) }
func (t *tx) NewInviteID() (chat.InviteID, error)   { return next(t, &t.m.lastInvite) }

func next[ID ~int64](t *tx, last *ID) (ID, error) {
	defer t.lock()()
	*last++
	return *last, nil
}

func put[K comparable, V any](t *tx, rows table[K, V], key K, row V) {
	t.undo = append(t.undo, rows.put(key, version[V]{at: t.at, row: row}))
}

func remove[K comparable, V any](t *tx, rows table[K, V], key K) {
	t.undo = append(t.undo, rows.put(key, version[V]{at: t.at, deleted: true}))
}

// stored makes of times what a store keeps of them.
func stored(times ...*time.Time) {
	for _, t := range times {
		*t = t.UTC().Truncate(time.Millisecond)
	}
}

// taken reports whether clash holds for some row.
func taken[K comparable, V any](t *tx, rows table[K, V], clash func(V) bool) bool {
	_, err := first(rows.all(t.at), clash)
	return err == nil
}

func (t *tx) PutUser(u chat.User) error {
	defer t.lock()()
	stored(&u.CreatedAt)
	if taken(t, t.m.users, func(o chat.User) bool { return o.ID != u.ID && o.Username == u.Username }) {
		return chat.Errorf(chat.CodeConflict, "the username %s is taken", u.Username)
	}
	put(t, t.m.users, u.ID, u)
	return nil
}

func (t *tx) PutAvatar(a chat.Avatar) error {
	defer t.lock()()
	a.Bytes = bytes.Clone(a.Bytes)
	put(t, t.m.avatars, a.User, a)
	return nil
}

func (t *tx) DeleteAvatar(user chat.UserID) error {
	defer t.lock()()
	remove(t, t.m.avatars, user)
	return nil
}

func (t *tx) PutSession(s chat.Session) error {
	defer t.lock()()
	stored(&s.CreatedAt, &s.UsedAt, &s.ExpiresAt)
	if taken(t, t.m.sessions, func(o chat.Session) bool { return o.ID != s.ID && o.TokenHash == s.TokenHash }) {
		return chat.Errorf(chat.CodeConflict, "another session has this token")
	}
	put(t, t.m.sessions, s.ID, s)
	return nil
}

func (t *tx) DeleteSession(id chat.SessionID) error {
	defer t.lock()()
	remove(t, t.m.sessions, id)
	return nil
}

func (t *tx) PutInvite(i chat.Invite) error {
	defer t.lock()()
	stored(&i.CreatedAt, &i.ExpiresAt)
	if taken(t, t.m.invites, func(o chat.Invite) bool { return o.ID != i.ID && o.CodeHash == i.CodeHash }) {
		return chat.Errorf(chat.CodeConflict, "another invite has this code")
	}
	put(t, t.m.invites, i.ID, i)
	return nil
}

func (t *tx) DeleteInvite(id chat.InviteID) error {
	defer t.lock()()
	remove(t, t.m.invites, id)
	return nil
}

func (t *tx) PutChat(c chat.Chat) error {
	defer t.lock()()
	stored(&c.CreatedAt, &c.DeletedAt)
	if taken(t, t.m.chats, func(o chat.Chat) bool {
		return o.ID != c.ID && (hasPair(c) && o.Pair == c.Pair ||
			c.ClientChatID != "" && o.CreatedBy == c.CreatedBy && o.ClientChatID == c.ClientChatID)
	}) {
		return chat.Errorf(chat.CodeConflict, "there is such a chat already")
	}
	c.Stamp = t.at
	put(t, t.m.chats, c.ID, c)
	return nil
}

func (t *tx) PutParticipant(p chat.Participant) error {
	defer t.lock()()
	rows := in(t.m.participants, p.Chat)
	old, _ := rows.get(p.User, t.at)
	p.Stamp = old.Stamp
	put(t, rows, p.User, p)
	return nil
}

func (t *tx) PutReadMark(id chat.ChatID, user chat.UserID, seq int64) error {
	defer t.lock()()
	rows := in(t.m.participants, id)
	p, ok := rows.get(user, t.at)
	if !ok {
		return chat.ErrNotFound
	}
	p.ReadSeq, p.Stamp = seq, t.at
	put(t, rows, user, p)
	return nil
}

func (t *tx) PutMessage(m chat.Message) error {
	defer t.lock()()
	stored(&m.CreatedAt, &m.EditedAt, &m.DeletedAt)
	put(t, in(t.m.messages, m.Chat), m.Seq, ownMentions(m))
	return nil
}

func (t *tx) PutSent(s chat.Sent) error {
	defer t.lock()()
	stored(&s.CreatedAt)
	key := sentKey{s.Sender, s.ClientMsgID}
	if _, ok := t.m.sent.get(key, t.at); ok {
		return chat.Errorf(chat.CodeConflict, "this client_msg_id was used before")
	}
	put(t, t.m.sent, key, s)
	return nil
}
