package sqlite

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/chat"
)

// One list of columns per table, with how a row is written and read. The orders
// of columns, of binding and of scanning are the same.

const (
	userColumns        = `user_id, username, name, role, bot, disabled, password_hash, created_at, hides_presence, status, avatar`
	avatarColumns      = `user_id, hash, type, bytes`
	sessionColumns     = `session_id, user_id, token_hash, device, client, api, created_at, used_at, expires_at`
	inviteColumns      = `invite_id, code_hash, role, max_uses, uses, created_by, created_at, expires_at`
	chatColumns        = `c.chat_id, c.kind, c.title, c.topic, c.history, c.pair_low, c.pair_high, c.created_by, c.client_chat_id, c.body_hash, c.created_at, c.deleted_at, c.last_seq, c.updated_seq, c.stamp, c.listed`
	participantColumns = `p.chat_id, p.user_id, p.role, p.joined_seq, p.left_seq, p.read_seq, p.updated_seq, p.stamp, p.notify`
	messageColumns     = `chat_id, seq, updated_seq, sender_id, content, reply_to, mentions, mention_all, created_at, edited_at, deleted_at`
)

const putUser = `INSERT INTO users (` + userColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (user_id) DO UPDATE SET username = excluded.username, name = excluded.name, role = excluded.role,
bot = excluded.bot, disabled = excluded.disabled, password_hash = excluded.password_hash, created_at = excluded.created_at,
hides_presence = excluded.hides_presence, status = excluded.status, avatar = excluded.avatar`

func writeUser(c *conn, u *chat.User) error {
	return c.prep(putUser).int(int64(u.ID)).text(u.Username).text(u.Name).text(string(u.Role)).
		bool(u.Bot).bool(u.Disabled).text(u.PasswordHash).time(u.CreatedAt).bool(u.HidesPresence).
		text(u.Status).text(u.Avatar).run()
}

func scanUser(s *stmt) chat.User {
	return chat.User{
		ID: chat.UserID(s.getInt()), Username: s.getText(), Name: s.getText(), Role: chat.Role(s.getText()),
		Bot: s.getBool(), Disabled: s.getBool(), PasswordHash: s.getText(), CreatedAt: s.getTime(),
		HidesPresence: s.getBool(), Status: s.getText(), Avatar: s.getText(),
	}
}

const putAvatar = `REPLACE INTO avatars (` + avatarColumns + `) VALUES (?, ?, ?, ?)`

func writeAvatar(c *conn, v *chat.Avatar) error {
	return c.prep(putAvatar).int(int64(v.User)).text(v.Hash).text(v.Type).blob(v.Bytes).run()
}

func scanAvatar(s *stmt) chat.Avatar {
	return chat.Avatar{User: chat.UserID(s.getInt()), Hash: s.getText(), Type: s.getText(), Bytes: bytes.Clone(s.getRaw())}
}

const putSession = `INSERT INTO sessions (` + sessionColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (session_id) DO UPDATE SET user_id = excluded.user_id, token_hash = excluded.token_hash,
device = excluded.device, client = excluded.client, api = excluded.api, created_at = excluded.created_at,
used_at = excluded.used_at, expires_at = excluded.expires_at`

func writeSession(c *conn, v *chat.Session) error {
	return c.prep(putSession).int(int64(v.ID)).int(int64(v.User)).blob(v.TokenHash[:]).text(v.Device).text(v.Client).
		bool(v.API).time(v.CreatedAt).time(v.UsedAt).time(v.ExpiresAt).run()
}

func scanSession(s *stmt) chat.Session {
	return chat.Session{
		ID: chat.SessionID(s.getInt()), User: chat.UserID(s.getInt()), TokenHash: getHash[[32]byte](s),
		Device: s.getText(), Client: s.getText(), API: s.getBool(),
		CreatedAt: s.getTime(), UsedAt: s.getTime(), ExpiresAt: s.getTime(),
	}
}

const putInvite = `INSERT INTO invites (` + inviteColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (invite_id) DO UPDATE SET code_hash = excluded.code_hash, role = excluded.role,
max_uses = excluded.max_uses, uses = excluded.uses, created_by = excluded.created_by,
created_at = excluded.created_at, expires_at = excluded.expires_at`

func writeInvite(c *conn, v *chat.Invite) error {
	return c.prep(putInvite).int(int64(v.ID)).blob(v.CodeHash[:]).text(string(v.Role)).int(v.MaxUses).int(v.Uses).
		orNull(int64(v.CreatedBy)).time(v.CreatedAt).time(v.ExpiresAt).run()
}

func scanInvite(s *stmt) chat.Invite {
	return chat.Invite{
		ID: chat.InviteID(s.getInt()), CodeHash: getHash[[32]byte](s), Role: chat.Role(s.getText()),
		MaxUses: s.getInt(), Uses: s.getInt(), CreatedBy: chat.UserID(s.getInt()),
		CreatedAt: s.getTime(), ExpiresAt: s.getTime(),
	}
}

const putChat = `INSERT INTO chats (chat_id, kind, title, topic, history, pair_low, pair_high, created_by,
client_chat_id, body_hash, created_at, deleted_at, last_seq, updated_seq, stamp, listed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (chat_id) DO UPDATE SET kind = excluded.kind, title = excluded.title, topic = excluded.topic,
history = excluded.history, pair_low = excluded.pair_low, pair_high = excluded.pair_high,
created_by = excluded.created_by, client_chat_id = excluded.client_chat_id, body_hash = excluded.body_hash,
created_at = excluded.created_at, deleted_at = excluded.deleted_at, last_seq = excluded.last_seq,
updated_seq = excluded.updated_seq, stamp = excluded.stamp, listed = excluded.listed`

func writeChat(c *conn, v *chat.Chat) error {
	return c.prep(putChat).int(int64(v.ID)).text(string(v.Kind)).text(v.Title).text(v.Topic).text(string(v.History)).
		orNull(int64(v.Pair[0])).orNull(int64(v.Pair[1])).orNull(int64(v.CreatedBy)).textOrNull(v.ClientChatID).
		blob(v.BodyHash[:]).time(v.CreatedAt).timeOrNull(v.DeletedAt).
		int(v.LastSeq).int(v.UpdatedSeq).int(v.Stamp).bool(v.Listed).run()
}

func scanChat(s *stmt) chat.Chat {
	return chat.Chat{
		ID: chat.ChatID(s.getInt()), Kind: chat.Kind(s.getText()), Title: s.getText(), Topic: s.getText(),
		History: chat.History(s.getText()), Pair: [2]chat.UserID{chat.UserID(s.getInt()), chat.UserID(s.getInt())},
		CreatedBy: chat.UserID(s.getInt()), ClientChatID: s.getText(), BodyHash: getHash[chat.BodyHash](s),
		CreatedAt: s.getTime(), DeletedAt: s.getTime(),
		LastSeq: s.getInt(), UpdatedSeq: s.getInt(), Stamp: s.getInt(), Listed: s.getBool(),
	}
}

const putParticipant = `INSERT INTO participants
(chat_id, user_id, role, joined_seq, left_seq, read_seq, updated_seq, stamp, notify) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (chat_id, user_id) DO UPDATE SET role = excluded.role, joined_seq = excluded.joined_seq,
left_seq = excluded.left_seq, read_seq = excluded.read_seq, updated_seq = excluded.updated_seq, stamp = excluded.stamp,
notify = excluded.notify`

func writeParticipant(c *conn, p *chat.Participant) error {
	return c.prep(putParticipant).int(int64(p.Chat)).int(int64(p.User)).text(string(p.Role)).
		int(p.JoinedSeq).int(p.LeftSeq).int(p.ReadSeq).int(p.UpdatedSeq).int(p.Stamp).text(string(p.Notify)).run()
}

func scanParticipant(s *stmt) chat.Participant {
	return chat.Participant{
		Chat: chat.ChatID(s.getInt()), User: chat.UserID(s.getInt()), Role: chat.Role(s.getText()),
		JoinedSeq: s.getInt(), LeftSeq: s.getInt(), ReadSeq: s.getInt(), UpdatedSeq: s.getInt(), Stamp: s.getInt(),
		Notify: chat.Notify(s.getText()),
	}
}

const (
	addMessage = `INSERT INTO messages (` + messageColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (chat_id, seq) DO NOTHING`
	setMessage = `REPLACE INTO messages (` + messageColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	mentionsOf = `SELECT mentions, mention_all FROM messages WHERE chat_id = ? AND seq = ?`

	addMention    = `INSERT INTO mentions (user_id, chat_id, seq) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`
	removeMention = `DELETE FROM mentions WHERE user_id = ? AND chat_id = ? AND seq = ?`
)

// everybody stands in mentions for a message that mentions all.
const everybody chat.UserID = 0

func bindMessage(s *stmt, m *chat.Message) *stmt {
	return s.int(int64(m.Chat)).int(m.Seq).int(m.UpdatedSeq).int(int64(m.Sender)).text(m.Content).orNull(m.ReplyTo).
		textOrNull(formatMentions(m.Mentions)).bool(m.MentionAll).
		time(m.CreatedAt).timeOrNull(m.EditedAt).timeOrNull(m.DeletedAt)
}

// writeMessage tries an insert first: nearly every message is new, and then
// there are no old mentions to look for.
func writeMessage(c *conn, m *chat.Message) error {
	if err := bindMessage(c.prep(addMessage), m).run(); err != nil {
		return err
	}
	if c.db.Changes() == 0 {
		if err := forgetMentions(c, m.Chat, m.Seq); err != nil {
			return err
		}
		if err := bindMessage(c.prep(setMessage), m).run(); err != nil {
			return err
		}
	}
	for _, u := range m.Mentions {
		if err := c.prep(addMention).int(int64(u)).int(int64(m.Chat)).int(m.Seq).run(); err != nil {
			return err
		}
	}
	if m.MentionAll {
		return c.prep(addMention).int(int64(everybody)).int(int64(m.Chat)).int(m.Seq).run()
	}
	return nil
}

func forgetMentions(c *conn, id chat.ChatID, seq int64) error {
	q := c.prep(mentionsOf).int(int64(id)).int(seq)
	if err := q.row(); err != nil {
		return err
	}
	users, err := parseMentions(q.getText())
	if q.getBool() {
		users = append(users, everybody)
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

func scanMessage(s *stmt) (chat.Message, error) {
	m := chat.Message{
		Chat: chat.ChatID(s.getInt()), Seq: s.getInt(), UpdatedSeq: s.getInt(), Sender: chat.UserID(s.getInt()),
		Content: s.getText(), ReplyTo: s.getInt(),
	}
	var err error
	if s.null1() {
		s.col++
	} else {
		m.Mentions, err = parseMentions(s.getText())
	}
	m.MentionAll = s.getBool()
	m.CreatedAt, m.EditedAt, m.DeletedAt = s.getTime(), s.getTime(), s.getTime()
	return m, err
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

// damaged marks what is in the file and cannot have been put there by us. It is
// the affair of whoever asks for that row, not of the store.
type damaged struct{ error }

func (d damaged) Unwrap() error { return d.error }

// broken says of a damaged row what was wanted with it.
func broken(doing string, err error) error {
	if err == nil {
		return nil
	}
	return chat.Internal("what is stored there is damaged; the operator has to look", fmt.Errorf("%s: %w", doing, err))
}

func parseMentions(text string) ([]chat.UserID, error) {
	if text == "" {
		return nil, nil
	}
	list := strings.Split(strings.Trim(text, "[]"), ",")
	users := make([]chat.UserID, len(list))
	for i, v := range list {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return nil, damaged{fmt.Errorf("the mentions %q of a message: %w", text, err)}
		}
		users[i] = chat.UserID(n)
	}
	return users, nil
}

const putSent = `INSERT INTO sent (sender_id, client_msg_id, chat_id, seq, body_hash, created_at) VALUES (?, ?, ?, ?, ?, ?)`

func writeSent(c *conn, v *chat.Sent) error {
	return c.prep(putSent).int(int64(v.Sender)).clientID(v.ClientMsgID).int(int64(v.Chat)).int(v.Seq).
		blob(v.Body[:]).time(v.CreatedAt).run()
}

func scanSent(s *stmt) chat.Sent {
	return chat.Sent{
		Sender: chat.UserID(s.getInt()), ClientMsgID: s.getClientID(), Chat: chat.ChatID(s.getInt()), Seq: s.getInt(),
		Body: getHash[chat.BodyHash](s), CreatedAt: s.getTime(),
	}
}

// getHash reads bytes of a fixed length; in a damaged row they may be others.
func getHash[H [32]byte | chat.BodyHash](s *stmt) (h H) {
	raw := s.getRaw()
	switch p := any(&h).(type) {
	case *[32]byte:
		copy(p[:], raw)
	case *chat.BodyHash:
		copy(p[:], raw)
	}
	return h
}

// clientID binds a client_msg_id. Most are UUIDs, which take 16 bytes instead
// of 36; only the form that getClientID gives back is shortened.
func (s *stmt) clientID(id string) *stmt {
	if uuid, ok := parseUUID(id); ok {
		return s.blob(uuid[:])
	}
	return s.text(id)
}

func (s *stmt) getClientID() string {
	if s.s.ColumnType(s.col) == sqlite3.BLOB {
		if raw := s.getRaw(); len(raw) == 16 {
			return formatUUID([16]byte(raw))
		}
		return ""
	}
	return s.getText()
}

func parseUUID(s string) (uuid [16]byte, ok bool) {
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

func formatUUID(u [16]byte) string {
	var b [36]byte
	hex.Encode(b[:8], u[:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:], u[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}
