package batch

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// One list of columns per table, with how a row is written and read, for every
// store. The orders of columns, of binding and of scanning are the same.
const (
	UserColumns        = `user_id, username, name, role, bot, disabled, password_hash, created_at, hides_presence, status, avatar`
	AvatarColumns      = `user_id, hash, type, bytes`
	SessionColumns     = `session_id, user_id, token_hash, device, client, api, created_at, used_at, expires_at`
	InviteColumns      = `invite_id, code_hash, role, max_uses, uses, created_by, created_at, expires_at`
	ChatColumns        = `chat_id, kind, title, topic, history, pair_low, pair_high, created_by, client_chat_id, body_hash, created_at, deleted_at, last_seq, updated_seq, stamp, listed`
	ParticipantColumns = `chat_id, user_id, role, joined_seq, left_seq, read_seq, updated_seq, stamp, notify`
	MessageColumns     = `chat_id, seq, updated_seq, sender_id, content, reply_to, mentions, mention_all, created_at, edited_at, deleted_at`
	SentColumns        = `sender_id, client_msg_id, chat_id, seq, body_hash, created_at`
)

// Of puts a table's alias before each of columns.
func Of(alias, columns string) string {
	return alias + "." + strings.ReplaceAll(columns, ", ", ", "+alias+".")
}

// Put is the statement that writes a whole row, new or not, of a table whose
// columns come from source, as VALUES (...) or a query.
func Put(table, columns, key, source string) string {
	isKey := map[string]bool{}
	for c := range strings.SplitSeq(key, ", ") {
		isKey[c] = true
	}
	var set []string
	for c := range strings.SplitSeq(columns, ", ") {
		if !isKey[c] {
			set = append(set, c+" = excluded."+c)
		}
	}
	return "INSERT INTO " + table + " (" + columns + ") " + source +
		" ON CONFLICT (" + key + ") DO UPDATE SET " + strings.Join(set, ", ")
}

// Binder takes a row's columns in their order. Or in a name: what is empty, 0 or
// no time is NULL.
type Binder interface {
	Int(v int64)
	IntOrNull(v int64)
	Bool(v bool)
	Text(v string)
	TextOrNull(v string)
	Bytes(v []byte)
	Time(v time.Time) // to the millisecond
	TimeOrNull(v time.Time)
	ClientMsgID(v string)
}

// Columns gives a row's columns in their order. NULL is 0, empty, or no time.
type Columns interface {
	Int() int64
	Bool() bool
	Text() string
	Bytes() []byte // good only until the next row
	Time() time.Time
	ClientMsgID() string
}

// BindUser binds a row of users.
func BindUser(b Binder, u *chat.User) {
	b.Int(int64(u.ID))
	b.Text(u.Username)
	b.Text(u.Name)
	b.Text(string(u.Role))
	b.Bool(u.Bot)
	b.Bool(u.Disabled)
	b.Text(u.PasswordHash)
	b.Time(u.CreatedAt)
	b.Bool(u.HidesPresence)
	b.Text(u.Status)
	b.Text(u.Avatar)
}

// ScanUser reads one.
func ScanUser(c Columns) chat.User {
	return chat.User{
		ID: chat.UserID(c.Int()), Username: c.Text(), Name: c.Text(), Role: chat.Role(c.Text()),
		Bot: c.Bool(), Disabled: c.Bool(), PasswordHash: c.Text(), CreatedAt: c.Time(),
		HidesPresence: c.Bool(), Status: c.Text(), Avatar: c.Text(),
	}
}

// BindAvatar binds a row of avatars.
func BindAvatar(b Binder, v *chat.Avatar) {
	b.Int(int64(v.User))
	b.Text(v.Hash)
	b.Text(v.Type)
	b.Bytes(v.Bytes)
}

// ScanAvatar reads one.
func ScanAvatar(c Columns) chat.Avatar {
	return chat.Avatar{User: chat.UserID(c.Int()), Hash: c.Text(), Type: c.Text(), Bytes: bytes.Clone(c.Bytes())}
}

// BindSession binds a row of sessions.
func BindSession(b Binder, v *chat.Session) {
	b.Int(int64(v.ID))
	b.Int(int64(v.User))
	b.Bytes(v.TokenHash[:])
	b.Text(v.Device)
	b.Text(v.Client)
	b.Bool(v.API)
	b.Time(v.CreatedAt)
	b.Time(v.UsedAt)
	b.Time(v.ExpiresAt)
}

// ScanSession reads one.
func ScanSession(c Columns) chat.Session {
	return chat.Session{
		ID: chat.SessionID(c.Int()), User: chat.UserID(c.Int()), TokenHash: hash[[32]byte](c),
		Device: c.Text(), Client: c.Text(), API: c.Bool(),
		CreatedAt: c.Time(), UsedAt: c.Time(), ExpiresAt: c.Time(),
	}
}

// BindInvite binds a row of invites.
func BindInvite(b Binder, v *chat.Invite) {
	b.Int(int64(v.ID))
	b.Bytes(v.CodeHash[:])
	b.Text(string(v.Role))
	b.Int(v.MaxUses)
	b.Int(v.Uses)
	b.IntOrNull(int64(v.CreatedBy))
	b.Time(v.CreatedAt)
	b.Time(v.ExpiresAt)
}

// ScanInvite reads one.
func ScanInvite(c Columns) chat.Invite {
	return chat.Invite{
		ID: chat.InviteID(c.Int()), CodeHash: hash[[32]byte](c), Role: chat.Role(c.Text()),
		MaxUses: c.Int(), Uses: c.Int(), CreatedBy: chat.UserID(c.Int()),
		CreatedAt: c.Time(), ExpiresAt: c.Time(),
	}
}

// BindChat binds a row of chats.
func BindChat(b Binder, v *chat.Chat) {
	b.Int(int64(v.ID))
	b.Text(string(v.Kind))
	b.Text(v.Title)
	b.Text(v.Topic)
	b.Text(string(v.History))
	b.IntOrNull(int64(v.Pair[0]))
	b.IntOrNull(int64(v.Pair[1]))
	b.IntOrNull(int64(v.CreatedBy))
	b.TextOrNull(v.ClientChatID)
	b.Bytes(v.BodyHash[:])
	b.Time(v.CreatedAt)
	b.TimeOrNull(v.DeletedAt)
	b.Int(v.LastSeq)
	b.Int(v.UpdatedSeq)
	b.Int(v.Stamp)
	b.Bool(v.Listed)
}

// ScanChat reads one.
func ScanChat(c Columns) chat.Chat {
	return chat.Chat{
		ID: chat.ChatID(c.Int()), Kind: chat.Kind(c.Text()), Title: c.Text(), Topic: c.Text(),
		History: chat.History(c.Text()), Pair: [2]chat.UserID{chat.UserID(c.Int()), chat.UserID(c.Int())},
		CreatedBy: chat.UserID(c.Int()), ClientChatID: c.Text(), BodyHash: hash[chat.BodyHash](c),
		CreatedAt: c.Time(), DeletedAt: c.Time(),
		LastSeq: c.Int(), UpdatedSeq: c.Int(), Stamp: c.Int(), Listed: c.Bool(),
	}
}

// BindParticipant binds a row of participants.
func BindParticipant(b Binder, p *chat.Participant) {
	b.Int(int64(p.Chat))
	b.Int(int64(p.User))
	b.Text(string(p.Role))
	b.Int(p.JoinedSeq)
	b.Int(p.LeftSeq)
	b.Int(p.ReadSeq)
	b.Int(p.UpdatedSeq)
	b.Int(p.Stamp)
	b.Text(string(p.Notify))
}

// ScanParticipant reads one.
func ScanParticipant(c Columns) chat.Participant {
	return chat.Participant{
		Chat: chat.ChatID(c.Int()), User: chat.UserID(c.Int()), Role: chat.Role(c.Text()),
		JoinedSeq: c.Int(), LeftSeq: c.Int(), ReadSeq: c.Int(), UpdatedSeq: c.Int(), Stamp: c.Int(),
		Notify: chat.Notify(c.Text()),
	}
}

// ScanMembership reads chat_id, kind and last_seq of a chat, joined_seq and
// read_seq of a participant.
func ScanMembership(c Columns) chat.Membership {
	return chat.Membership{
		Chat: chat.ChatID(c.Int()), Kind: chat.Kind(c.Text()),
		LastSeq: c.Int(), JoinedSeq: c.Int(), ReadSeq: c.Int(),
	}
}

// ScanChangedChat reads a stamp, a chat and a participant.
func ScanChangedChat(c Columns) chat.ChangedChat {
	stamp := c.Int()
	return chat.ChangedChat{Stamp: stamp, Chat: ScanChat(c), Participant: ScanParticipant(c)}
}

// BindMessage binds a row of messages.
func BindMessage(b Binder, m *chat.Message) {
	b.Int(int64(m.Chat))
	b.Int(m.Seq)
	b.Int(m.UpdatedSeq)
	b.Int(int64(m.Sender))
	b.Text(m.Content)
	b.IntOrNull(m.ReplyTo)
	b.TextOrNull(formatMentions(m.Mentions))
	b.Bool(m.MentionAll)
	b.Time(m.CreatedAt)
	b.TimeOrNull(m.EditedAt)
	b.TimeOrNull(m.DeletedAt)
}

// ScanMessage reads one. Its error is a [Damaged].
func ScanMessage(c Columns) (chat.Message, error) {
	m := chat.Message{
		Chat: chat.ChatID(c.Int()), Seq: c.Int(), UpdatedSeq: c.Int(), Sender: chat.UserID(c.Int()),
		Content: c.Text(), ReplyTo: c.Int(),
	}
	var err error
	m.Mentions, err = ParseMentions(c.Text())
	m.MentionAll = c.Bool()
	m.CreatedAt, m.EditedAt, m.DeletedAt = c.Time(), c.Time(), c.Time()
	return m, err
}

// BindSent binds a row of sent.
func BindSent(b Binder, v *chat.Sent) {
	b.Int(int64(v.Sender))
	b.ClientMsgID(v.ClientMsgID)
	b.Int(int64(v.Chat))
	b.Int(v.Seq)
	b.Bytes(v.Body[:])
	b.Time(v.CreatedAt)
}

// ScanSent reads one.
func ScanSent(c Columns) chat.Sent {
	return chat.Sent{
		Sender: chat.UserID(c.Int()), ClientMsgID: c.ClientMsgID(), Chat: chat.ChatID(c.Int()), Seq: c.Int(),
		Body: hash[chat.BodyHash](c), CreatedAt: c.Time(),
	}
}

// hash reads bytes of a fixed length; in a damaged row they may be others.
func hash[H [32]byte | chat.BodyHash](c Columns) (h H) {
	raw := c.Bytes()
	switch p := any(&h).(type) {
	case *[32]byte:
		copy(p[:], raw)
	case *chat.BodyHash:
		copy(p[:], raw)
	}
	return h
}

// Everybody stands in mentions for a message that mentions all.
const Everybody chat.UserID = 0

// Mentioned are the users that stand in mentions for a message.
func Mentioned(m *chat.Message) []chat.UserID {
	if m.MentionAll {
		return append(m.Mentions[:len(m.Mentions):len(m.Mentions)], Everybody)
	}
	return m.Mentions
}

func formatMentions(users []chat.UserID) string {
	if len(users) == 0 {
		return ""
	}
	b := []byte{'['}
	for i, u := range users {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(u), 10)
	}
	return string(append(b, ']'))
}

// ParseMentions reads the column of that name.
func ParseMentions(text string) ([]chat.UserID, error) {
	if text == "" {
		return nil, nil
	}
	list := strings.Split(strings.Trim(text, "[]"), ",")
	users := make([]chat.UserID, len(list))
	for i, v := range list {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return nil, Damaged{fmt.Errorf("the mentions %q of a message: %w", text, err)}
		}
		users[i] = chat.UserID(n)
	}
	return users, nil
}

// Damaged marks what is in the database and cannot have been put there by us. It
// is the affair of whoever asks for that row, not of the store.
type Damaged struct{ error }

// Unwrap gives what is wrong.
func (d Damaged) Unwrap() error { return d.error }

// Broken says of a damaged row what was wanted with it.
func Broken(doing string, err error) error {
	if err == nil {
		return nil
	}
	return chat.Internal("what is stored there is damaged; the operator has to look", fmt.Errorf("%s: %w", doing, err))
}

// ParseUUID gives the bytes of a UUID in lower case, the form that FormatUUID
// gives back.
func ParseUUID(s string) (uuid [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return uuid, false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			continue
		}
		var v byte
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			v = c - '0'
		case 'a' <= c && c <= 'f':
			v = c - 'a' + 10
		default:
			return uuid, false
		}
		uuid[n/2] = uuid[n/2]<<4 | v
		n++
	}
	return uuid, true
}

// FormatUUID writes a UUID in lower case.
func FormatUUID(u [16]byte) string {
	var b [36]byte
	hex.Encode(b[:8], u[:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:], u[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}
