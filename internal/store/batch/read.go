package batch

import (
	"slices"

	"github.com/grima-chat/grima/internal/chat"
)

var _ chat.Tx = (*Tx)(nil)

// Rows by their key come from what the batch knows, lists from the database once it
// has what the batch put before.

func (t *Tx) User(id chat.UserID) (chat.User, error) { return t.users.get(id) }

func (t *Tx) UserByName(username string) (chat.User, error) {
	return t.users.find(
		func(u *chat.User) bool { return u.Username == username },
		func() (chat.User, error) { return t.src.UserByName(username) },
		func(u *chat.User) chat.UserID { return u.ID })
}

func (t *Tx) Users(prefix string, after chat.UserID, limit int) ([]chat.User, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.src.Users(prefix, after, limit)
}

func (t *Tx) FindUsers(find string, after chat.FoundPos, limit int) ([]chat.User, chat.FoundPos, error) {
	if err := t.list(); err != nil {
		return nil, chat.FoundPos{}, err
	}
	return t.src.FindUsers(find, after, limit)
}

func (t *Tx) Avatar(hash string) (chat.Avatar, error) {
	if err := t.list(); err != nil {
		return chat.Avatar{}, err
	}
	return t.src.Avatar(hash)
}

func (t *Tx) Session(id chat.SessionID) (chat.Session, error) { return t.sessions.get(id) }

func (t *Tx) SessionByToken(hash [32]byte) (chat.Session, error) {
	return t.sessions.find(
		func(s *chat.Session) bool { return s.TokenHash == hash },
		func() (chat.Session, error) { return t.src.SessionByToken(hash) },
		func(s *chat.Session) chat.SessionID { return s.ID })
}

func (t *Tx) Sessions(user chat.UserID) ([]chat.Session, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.src.Sessions(user)
}

func (t *Tx) LiveSessions(ids []chat.SessionID) ([]chat.SessionID, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.src.LiveSessions(ids)
}

func (t *Tx) Invite(id chat.InviteID) (chat.Invite, error) { return t.invites.get(id) }

func (t *Tx) InviteByCode(hash [32]byte) (chat.Invite, error) {
	return t.invites.find(
		func(i *chat.Invite) bool { return i.CodeHash == hash },
		func() (chat.Invite, error) { return t.src.InviteByCode(hash) },
		func(i *chat.Invite) chat.InviteID { return i.ID })
}

func (t *Tx) Invites() ([]chat.Invite, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.src.Invites()
}

func (t *Tx) Chat(id chat.ChatID) (chat.Chat, error) { return t.chats.get(id) }

func (t *Tx) ChatByPair(pair [2]chat.UserID) (chat.Chat, error) {
	if pair == [2]chat.UserID{} { // groups have none
		return chat.Chat{}, chat.ErrNotFound
	}
	return t.chats.find(
		func(c *chat.Chat) bool { return c.Pair == pair },
		func() (chat.Chat, error) { return t.src.ChatByPair(pair) },
		func(c *chat.Chat) chat.ChatID { return c.ID })
}

func (t *Tx) ChatByClientID(creator chat.UserID, clientChatID string) (chat.Chat, error) {
	if clientChatID == "" { // none is not an id
		return chat.Chat{}, chat.ErrNotFound
	}
	return t.chats.find(
		func(c *chat.Chat) bool { return c.CreatedBy == creator && c.ClientChatID == clientChatID },
		func() (chat.Chat, error) { return t.src.ChatByClientID(creator, clientChatID) },
		func(c *chat.Chat) chat.ChatID { return c.ID })
}

func (t *Tx) ListedChats(after chat.ChatID, limit int) ([]chat.Chat, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.src.ListedChats(after, limit)
}

func (t *Tx) Participant(id chat.ChatID, user chat.UserID) (chat.Participant, error) {
	return t.participants.get(ParticipantKey{id, user})
}

func (t *Tx) Participants(id chat.ChatID, after chat.UserID, limit int) ([]chat.Participant, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.src.Participants(id, after, limit)
}

func (t *Tx) CountParticipants(id chat.ChatID, roles ...chat.Role) (int, error) {
	if err := t.list(); err != nil {
		return 0, err
	}
	return t.src.CountParticipants(id, roles...)
}

func (t *Tx) Memberships(user chat.UserID) ([]chat.Membership, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.src.Memberships(user)
}

func (t *Tx) LastSeqs(chats []chat.ChatID) ([]int64, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.src.LastSeqs(chats)
}

func (t *Tx) Message(id chat.ChatID, seq int64) (chat.Message, error) {
	m, err := t.messages.get(MessageKey{id, seq})
	m.Mentions = slices.Clone(m.Mentions) // the caller may build on it
	return m, err
}

func (t *Tx) Messages(id chat.ChatID, lo, hi int64, limit int, newest bool) ([]chat.Message, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.src.Messages(id, lo, hi, limit, newest)
}

func (t *Tx) Sent(sender chat.UserID, clientMsgID string) (chat.Sent, error) {
	return t.sent.get(SentKey{sender, clientMsgID})
}

func (t *Tx) Changes(id chat.ChatID, after, upto, floor int64, limit int) ([]chat.Message, []chat.Participant, error) {
	if err := t.list(); err != nil {
		return nil, nil, err
	}
	return t.src.Changes(id, after, upto, floor, limit)
}

func (t *Tx) Tails(after []chat.Position, limit int) ([]chat.Tail, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.src.Tails(after, limit)
}

func (t *Tx) ChangedChats(user chat.UserID, pos chat.SyncPos, limit int) ([]chat.ChangedChat, error) {
	if err := t.list(); err != nil {
		return nil, err
	}
	return t.src.ChangedChats(user, pos, limit)
}

func (t *Tx) LastStamp() (int64, error) {
	if t.Stamps != nil {
		return t.src.LastStamp()
	}
	stamp, err := t.counters.get(LastStamp)
	return stamp.Last, err
}

func (t *Tx) Commits() (int64, error) {
	if err := t.list(); err != nil {
		return 0, err
	}
	return t.src.Commits()
}

func (t *Tx) CountUnread(id chat.ChatID, user chat.UserID, seq int64, most int) (int64, error) {
	if err := t.list(); err != nil {
		return 0, err
	}
	return t.src.CountUnread(id, user, seq, most)
}

func (t *Tx) CountMentions(id chat.ChatID, user chat.UserID, seq int64, most int) (int64, error) {
	if err := t.list(); err != nil {
		return 0, err
	}
	return t.src.CountMentions(id, user, seq, most)
}
