package batch

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// Source is what a store contributes to a batch: its SQL. Reads are of the
// batch's transaction; rows of one Put are of different keys, each to be written
// whole, new or not.
type Source interface {
	chat.Reader

	// Counter is the last number given out under a name.
	Counter(name Counter) (int64, error)

	PutUsers(rows []*chat.User) error
	PutWords(rows []*Word) error
	DeleteWords(rows []Word) error
	PutAvatars(rows []*chat.Avatar) error
	DeleteAvatars(of []chat.UserID) error
	PutSessions(rows []*chat.Session) error
	DeleteSessions(ids []chat.SessionID) error
	PutInvites(rows []*chat.Invite) error
	DeleteInvites(ids []chat.InviteID) error
	PutChats(rows []*chat.Chat) error
	PutParticipants(rows []*chat.Participant) error
	PutMessages(rows []*chat.Message) error
	PutSent(rows []*chat.Sent) error // which are new
	PutCounters(rows []*Count) error

	// Fail gives what an update hears whose read or write err ended. Errors
	// other than chat.ErrNotFound end the batch, whatever the update makes of
	// them.
	Fail(doing string, err error) error
}

// Tx is chat.Tx: what one update sees of its batch. A writer has one and uses it
// for every update in turn.
//
// Each touched row is written once per batch, however many updates touched it:
// puts are kept until Flush, or until an update lists rows.
type Tx struct {
	// Stamps gives the transaction's change stamp, nil: each update has the
	// next number of a counter.
	Stamps func() (int64, error)
	// Accounts is told, nil or not, before an update writes a user, their
	// avatar, a session or an invite. What it gives ends the update.
	Accounts func() error

	src Source

	users        rows[chat.UserID, chat.User]
	words        rows[Word, Word]
	avatars      rows[chat.UserID, chat.Avatar]
	sessions     rows[chat.SessionID, chat.Session]
	invites      rows[chat.InviteID, chat.Invite]
	chats        rows[chat.ChatID, chat.Chat]
	participants rows[ParticipantKey, chat.Participant]
	messages     rows[MessageKey, chat.Message]
	sent         rows[SentKey, chat.Sent]
	counters     rows[Counter, Count]
	tables       []table

	now   time.Time // of the batch
	stamp int64     // of the running update; 0 until it needs one
	size  int       // about how many bytes the batch puts
	rows  int       // how many rows it puts
}

// Keys of rows that have more than one column.
type (
	ParticipantKey struct {
		Chat chat.ChatID
		User chat.UserID
	}
	MessageKey struct {
		Chat chat.ChatID
		Seq  int64
	}
	SentKey struct {
		Sender      chat.UserID
		ClientMsgID string
	}
)

// Counter names a row of the table counters, Count is one.
type (
	Counter string
	Count   struct {
		Name Counter
		Last int64
	}
)

// The rows of the table counters.
const (
	LastUser    Counter = "user"
	LastSession Counter = "session"
	LastInvite  Counter = "invite"
	LastChat    Counter = "chat"
	LastStamp   Counter = "stamp"
)

// NewTx makes one on a store's SQL. Up to keep rows of each of the hot tables
// are remembered from batch to batch, which only a store may ask for that nobody
// else writes to.
func NewTx(src Source, keep int) *Tx {
	t := &Tx{src: src}
	t.users = rows[chat.UserID, chat.User]{load: src.User, write: src.PutUsers, keep: keep}
	// Nobody asks for words, nor for a picture by its user, so none are loaded.
	t.words = rows[Word, Word]{write: src.PutWords, remove: src.DeleteWords}
	t.avatars = rows[chat.UserID, chat.Avatar]{write: src.PutAvatars, remove: src.DeleteAvatars}
	t.sessions = rows[chat.SessionID, chat.Session]{load: src.Session, write: src.PutSessions, remove: src.DeleteSessions}
	t.invites = rows[chat.InviteID, chat.Invite]{load: src.Invite, write: src.PutInvites, remove: src.DeleteInvites}
	t.chats = rows[chat.ChatID, chat.Chat]{load: src.Chat, write: src.PutChats, keep: keep}
	t.participants = rows[ParticipantKey, chat.Participant]{
		load:  func(k ParticipantKey) (chat.Participant, error) { return src.Participant(k.Chat, k.User) },
		write: src.PutParticipants, keep: keep,
	}
	t.messages = rows[MessageKey, chat.Message]{
		load:  func(k MessageKey) (chat.Message, error) { return src.Message(k.Chat, k.Seq) },
		write: src.PutMessages,
	}
	t.sent = rows[SentKey, chat.Sent]{
		load:  func(k SentKey) (chat.Sent, error) { return src.Sent(k.Sender, k.ClientMsgID) },
		write: src.PutSent,
	}
	t.counters = rows[Counter, Count]{
		load: func(name Counter) (Count, error) {
			n, err := src.Counter(name)
			return Count{name, n}, err
		},
		write: src.PutCounters, keep: keep,
	}
	t.tables = []table{
		&t.users, &t.words, &t.avatars, &t.sessions, &t.invites, &t.chats, &t.participants, &t.messages, &t.sent, &t.counters,
	}
	return t
}

// LearnChat, LearnParticipant and LearnSent tell what the transaction sees under
// a key, nil: nothing, so that no update has to ask.
func (t *Tx) LearnChat(id chat.ChatID, row *chat.Chat) { t.chats.learn(id, row) }

// LearnParticipant is like LearnChat.
func (t *Tx) LearnParticipant(key ParticipantKey, row *chat.Participant) {
	t.participants.learn(key, row)
}

// LearnSent is like LearnChat.
func (t *Tx) LearnSent(key SentKey, row *chat.Sent) { t.sent.learn(key, row) }

// Full says that the batch should end: a further update would go beyond its
// bounds.
func (t *Tx) Full() bool { return t.rows >= mostRows || t.size >= mostBytes }

// Begin starts a batch.
func (t *Tx) Begin(now time.Time) {
	t.now = now.UTC().Truncate(time.Millisecond)
	t.stamp, t.size, t.rows = 0, 0, 0
}

// End ends the running update: what it put stays in the batch, or goes.
func (t *Tx) End(ok bool) {
	for _, table := range t.tables {
		if ok {
			table.accept()
		} else {
			table.revert()
		}
	}
	t.stamp = 0
}

// Flush writes everything the batch put.
func (t *Tx) Flush() error {
	for _, table := range t.tables {
		if err := table.flush(); err != nil {
			return err
		}
	}
	return nil
}

// Settle says that the batch is durable.
func (t *Tx) Settle() {
	for _, table := range t.tables {
		table.settle()
	}
}

// Forget says that nothing of the batch is there.
func (t *Tx) Forget() {
	for _, table := range t.tables {
		table.forget()
	}
}

// list lets lists, which the database answers, see what earlier updates of the batch
// put. What the running one put is left out: it may yet fail.
func (t *Tx) list() error {
	for _, table := range t.tables {
		table.hide()
	}
	err := t.Flush()
	for _, table := range t.tables {
		table.show()
	}
	return t.src.Fail("write what the batch put", err)
}

// Now implements chat.Tx, as does all that follows.
func (t *Tx) Now() time.Time { return t.now }

func (t *Tx) next(name Counter) (int64, error) {
	n, err := t.counters.get(name)
	if err != nil {
		return 0, err
	}
	n.Last++
	t.counters.put(name, n)
	return n.Last, nil
}

func (t *Tx) NewUserID() (chat.UserID, error) {
	n, err := t.next(LastUser)
	return chat.UserID(n), err
}

func (t *Tx) NewSessionID() (chat.SessionID, error) {
	n, err := t.next(LastSession)
	return chat.SessionID(n), err
}

func (t *Tx) NewChatID() (chat.ChatID, error) {
	n, err := t.next(LastChat)
	return chat.ChatID(n), err
}

func (t *Tx) NewInviteID() (chat.InviteID, error) {
	n, err := t.next(LastInvite)
	return chat.InviteID(n), err
}

// nextStamp gives the running update its change stamp.
func (t *Tx) nextStamp() (int64, error) {
	if t.stamp == 0 {
		take := t.Stamps
		if take == nil {
			take = func() (int64, error) { return t.next(LastStamp) }
		}
		stamp, err := take()
		if err != nil {
			return 0, err
		}
		t.stamp = stamp
	}
	return t.stamp, nil
}

// wrote counts towards the bounds of the batch.
func (t *Tx) wrote(bytes int) {
	t.rows++
	t.size += bytes + 100 // what a row takes besides its texts
}

func (t *Tx) accounts() error {
	if t.Accounts == nil {
		return nil
	}
	return t.Accounts()
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

func (t *Tx) PutUser(u chat.User) error {
	if err := t.accounts(); err != nil {
		return err
	}
	if err := free(func() (chat.User, error) { return t.UserByName(u.Username) },
		func(u *chat.User) chat.UserID { return u.ID }, u.ID, "the username %s is taken", u.Username); err != nil {
		return err
	}
	switch old, err := t.users.get(u.ID); {
	case errors.Is(err, chat.ErrNotFound):
		t.putWords(nil, &u)
	case err != nil:
		return err
	case old.Name != u.Name || old.Username != u.Username:
		t.putWords(&old, &u)
	}
	t.users.put(u.ID, u)
	t.wrote(len(u.Name) + len(u.Status) + len(u.PasswordHash))
	return nil
}

func (t *Tx) PutAvatar(a chat.Avatar) error {
	if err := t.accounts(); err != nil {
		return err
	}
	a.Bytes = bytes.Clone(a.Bytes)
	t.avatars.put(a.User, a)
	t.wrote(len(a.Bytes))
	return nil
}

func (t *Tx) DeleteAvatar(user chat.UserID) error {
	if err := t.accounts(); err != nil {
		return err
	}
	t.avatars.delete(user)
	t.wrote(0)
	return nil
}

func (t *Tx) PutSession(s chat.Session) error {
	if err := t.accounts(); err != nil {
		return err
	}
	if err := free(func() (chat.Session, error) { return t.SessionByToken(s.TokenHash) },
		func(s *chat.Session) chat.SessionID { return s.ID }, s.ID, "another session has this token"); err != nil {
		return err
	}
	t.sessions.put(s.ID, s)
	t.wrote(len(s.Device) + len(s.Client))
	return nil
}

func (t *Tx) DeleteSession(id chat.SessionID) error {
	if err := t.accounts(); err != nil {
		return err
	}
	t.sessions.delete(id)
	t.wrote(0)
	return nil
}

func (t *Tx) PutInvite(i chat.Invite) error {
	if err := t.accounts(); err != nil {
		return err
	}
	if err := free(func() (chat.Invite, error) { return t.InviteByCode(i.CodeHash) },
		func(i *chat.Invite) chat.InviteID { return i.ID }, i.ID, "another invite has this code"); err != nil {
		return err
	}
	t.invites.put(i.ID, i)
	t.wrote(0)
	return nil
}

func (t *Tx) DeleteInvite(id chat.InviteID) error {
	if err := t.accounts(); err != nil {
		return err
	}
	t.invites.delete(id)
	t.wrote(0)
	return nil
}

func (t *Tx) PutChat(c chat.Chat) error {
	old, err := t.chats.get(c.ID)
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

func (t *Tx) PutParticipant(p chat.Participant) error {
	key := ParticipantKey{p.Chat, p.User}
	old, err := t.participants.get(key)
	if err != nil && !errors.Is(err, chat.ErrNotFound) {
		return err
	}
	p.Stamp = old.Stamp
	t.participants.put(key, p)
	t.wrote(0)
	return nil
}

func (t *Tx) PutReadMark(id chat.ChatID, user chat.UserID, seq int64) error {
	key := ParticipantKey{id, user}
	p, err := t.participants.get(key)
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

func (t *Tx) PutMessage(m chat.Message) error {
	m.Mentions = slices.Clone(m.Mentions)
	t.messages.put(MessageKey{m.Chat, m.Seq}, m)
	t.wrote(len(m.Content))
	return nil
}

func (t *Tx) PutSent(s chat.Sent) error {
	key := SentKey{s.Sender, s.ClientMsgID}
	_, err := t.sent.get(key)
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
