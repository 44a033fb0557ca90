package sqlite

import (
	"slices"

	"github.com/grima-chat/grima/internal/chat"
)

var _ chat.Tx = (*tx)(nil)

// Rows by their key come from what the batch knows, lists from SQLite once it
// has what the batch put before.

func (t *tx) User(id chat.UserID) (chat.User, error) { return t.users.get(t.r, id) }

func (t *tx) UserByName(username string) (chat.User, error) {
	return t.users.find(t.r,
		func(u *chat.User) bool { return u.Username == username },
		func() (chat.User, error) { return t.r.UserByName(username) },
		func(u *chat.User) chat.UserID { return u.ID })
}

func (t *tx) Users(prefix string, after chat.UserID, limit int) ([]chat.User, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.r.Users(prefix, after, limit)
}

func (t *tx) Avatar(hash string) (chat.Avatar, error) {
	if err := t.list(); err != nil {
		return chat.Avatar{}, err
	}
	return t.r.Avatar(hash)
}

func (t *tx) Session(id chat.SessionID) (chat.Session, error) { return t.sessions.get(t.r, id) }

func (t *tx) SessionByToken(hash [32]byte) (chat.Session, error) {
	return t.sessions.find(t.r,
		func(s *chat.Session) bool { return s.TokenHash == hash },
		func() (chat.Session, error) { return t.r.SessionByToken(hash) },
		func(s *chat.Session) chat.SessionID { return s.ID })
}

func (t *tx) Sessions(user chat.UserID) ([]chat.Session, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.r.Sessions(user)
}

func (t *tx) LiveSessions(ids []chat.SessionID) ([]chat.SessionID, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.r.LiveSessions(ids)
}

func (t *tx) Invite(id chat.InviteID) (chat.Invite, error) { return t.invites.get(t.r, id) }

func (t *tx) InviteByCode(hash [32]byte) (chat.Invite, error) {
	return t.invites.find(t.r,
		func(i *chat.Invite) bool { return i.CodeHash == hash },
		func() (chat.Invite, error) { return t.r.InviteByCode(hash) },
		func(i *chat.Invite) chat.InviteID { return i.ID })
}

func (t *tx) Invites() ([]chat.Invite, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.r.Invites()
}

func (t *tx) Chat(id chat.ChatID) (chat.Chat, error) { return t.chats.get(t.r, id) }

func (t *tx) ChatByPair(pair [2]chat.UserID) (chat.Chat, error) {
	if pair == [2]chat.UserID{} { // groups have none
		return chat.Chat{}, chat.ErrNotFound
	}
	return t.chats.find(t.r,
		func(c *chat.Chat) bool { return c.Pair == pair },
		func() (chat.Chat, error) { return t.r.ChatByPair(pair) },
		func(c *chat.Chat) chat.ChatID { return c.ID })
}

func (t *tx) ChatByClientID(creator chat.UserID, clientChatID string) (chat.Chat, error) {
	if clientChatID == "" { // none is not an id
		return chat.Chat{}, chat.ErrNotFound
	}
	return t.chats.find(t.r,
		func(c *chat.Chat) bool { return c.CreatedBy == creator && c.ClientChatID == clientChatID },
		func() (chat.Chat, error) { return t.r.ChatByClientID(creator, clientChatID) },
		func(c *chat.Chat) chat.ChatID { return c.ID })
}

func (t *tx) ListedChats(after chat.ChatID, limit int) ([]chat.Chat, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.r.ListedChats(after, limit)
}

func (t *tx) Participant(id chat.ChatID, user chat.UserID) (chat.Participant, error) {
	return t.participants.get(t.r, participantKey{id, user})
}

func (t *tx) Participants(id chat.ChatID, after chat.UserID, limit int) ([]chat.Participant, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.r.Participants(id, after, limit)
}

func (t *tx) CountParticipants(id chat.ChatID, roles ...chat.Role) (int, error) {
	if err := t.list(); err != nil {
		return 0, err
	}
	return t.r.CountParticipants(id, roles...)
}

func (t *tx) Memberships(user chat.UserID) ([]chat.Membership, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.r.Memberships(user)
}

func (t *tx) LastSeqs(chats []chat.ChatID) ([]int64, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.r.LastSeqs(chats)
}

func (t *tx) Message(id chat.ChatID, seq int64) (chat.Message, error) {
	m, err := t.messages.get(t.r, messageKey{id, seq})
	m.Mentions = slices.Clone(m.Mentions) // the caller may build on it
	return m, err
}

func (t *tx) Messages(id chat.ChatID, lo, hi int64, limit int, newest bool) ([]chat.Message, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.r.Messages(id, lo, hi, limit, newest)
}

func (t *tx) Sent(sender chat.UserID, clientMsgID string) (chat.Sent, error) {
	return t.sent.get(t.r, sentKey{sender, clientMsgID})
}

func (t *tx) Changes(id chat.ChatID, after, floor int64, limit int) ([]chat.Message, []chat.Participant, error) {
	if err := t.list(); err != nil {
		return nil, nil, err
	}
	return t.r.Changes(id, after, floor, limit)
}

func (t *tx) ChangedChats(user chat.UserID, pos chat.SyncPos, limit int) ([]chat.ChangedChat, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.r.ChangedChats(user, pos, limit)
}

func (t *tx) LastStamp() (int64, error) {
	stamp, err := t.counters.get(t.r, lastStamp)
	return stamp.last, err
}

func (t *tx) CountUnread(id chat.ChatID, user chat.UserID, seq int64, most int) (int64, error) {
	if err := t.list(); err != nil {
		return 0, err
	}
	return t.r.CountUnread(id, user, seq, most)
}

func (t *tx) CountMentions(id chat.ChatID, user chat.UserID, seq int64, most int) (int64, error) {
	if err := t.list(); err != nil {
		return 0, err
	}
	return t.r.CountMentions(id, user, seq, most)
}
