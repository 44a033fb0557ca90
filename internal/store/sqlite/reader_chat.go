package sqlite

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

var (
	chatOf        = batch.Of("c", batch.ChatColumns)
	participantOf = batch.Of("p", batch.ParticipantColumns)
	// messageOf are the columns of messages, with a long content from where it is.
	messageOf = strings.Replace(batch.MessageColumns, "content", `CASE WHEN octet_length(content) > 0 THEN content ELSE ifnull(
(SELECT l.content FROM long_contents l WHERE l.chat_id = messages.chat_id AND l.seq = messages.seq), '') END`, 1)

	selChat           = `SELECT ` + chatOf + ` FROM chats c WHERE c.chat_id = ?`
	selChatByPair     = `SELECT ` + chatOf + ` FROM chats c WHERE c.pair_low = ? AND c.pair_high = ?`
	selChatByClientID = `SELECT ` + chatOf + ` FROM chats c WHERE c.created_by = ? AND c.client_chat_id = ?`

	selListedChats = `SELECT ` + chatOf + ` FROM chats c INDEXED BY chats_listed
WHERE c.listed = 1 AND c.deleted_at IS NULL AND c.chat_id > ? ORDER BY c.chat_id LIMIT ?`

	selParticipant  = `SELECT ` + participantOf + ` FROM participants p WHERE p.chat_id = ? AND p.user_id = ?`
	selParticipants = `SELECT ` + participantOf + ` FROM participants p
WHERE p.chat_id = ? AND p.user_id > ? AND p.joined_seq > 0 AND p.left_seq = 0 ORDER BY p.user_id LIMIT ?`
	countParticipants = `SELECT count(*) FROM participants p
WHERE p.chat_id = ? AND p.joined_seq > 0 AND p.left_seq = 0 AND p.role IN (SELECT value FROM json_each(?))`
	selMemberships = `SELECT c.chat_id, c.kind, c.last_seq, p.joined_seq, p.read_seq
FROM participants p CROSS JOIN chats c ON c.chat_id = p.chat_id
WHERE p.user_id = ? AND p.joined_seq > 0 AND p.left_seq = 0 AND c.deleted_at IS NULL ORDER BY p.chat_id`

	selLastSeq = `SELECT last_seq FROM chats WHERE chat_id = ?`

	selMessage     = `SELECT ` + messageOf + ` FROM messages WHERE chat_id = ? AND seq = ?`
	selMessages    = `SELECT ` + messageOf + ` FROM messages WHERE chat_id = ? AND seq >= ? AND seq < ? ORDER BY seq LIMIT ?`
	selNewMessages = `SELECT ` + messageOf + ` FROM messages WHERE chat_id = ? AND seq >= ? AND seq < ? ORDER BY seq DESC LIMIT ?`
	selSent        = `SELECT ` + batch.SentColumns + ` FROM sent
WHERE sender_id = ? AND client_msg_id = ?`

	// Changed messages come from their index; the condition repeats the index's,
	// which is what lets it be used.
	selChanged = `SELECT ` + messageOf + ` FROM messages INDEXED BY messages_by_change
WHERE chat_id = ? AND updated_seq > ? AND updated_seq <= ? AND updated_seq > seq AND seq >= ? ORDER BY updated_seq LIMIT ?`
	// Those that never changed stand where they were born. The + keeps the
	// planner from looking for an index on it.
	selUnchanged = `SELECT ` + messageOf + ` FROM messages
WHERE chat_id = ? AND seq >= ? AND seq <= ? AND +updated_seq = seq ORDER BY seq LIMIT ?`
	selChangedParticipants = `SELECT ` + participantOf + ` FROM participants p
WHERE p.chat_id = ? AND p.updated_seq > ? AND p.updated_seq <= ? ORDER BY p.updated_seq, p.user_id LIMIT ?`

	// The positions are sorted first and only the rows of the page are read.
	changedPositions = `SELECT p.chat_id AS chat,
CASE WHEN p.joined_seq > 0 AND p.left_seq = 0 THEN max(c.stamp, p.stamp) ELSE p.stamp END AS stamp
FROM participants p CROSS JOIN chats c ON c.chat_id = p.chat_id WHERE p.user_id = ?1`
	// The same among chats that are given, each of which is looked up.
	changedAmong = `SELECT p.chat_id AS chat,
CASE WHEN p.joined_seq > 0 AND p.left_seq = 0 THEN max(c.stamp, p.stamp) ELSE p.stamp END AS stamp
FROM json_each(?7) j CROSS JOIN participants p ON p.chat_id = j.value AND p.user_id = ?1
CROSS JOIN chats c ON c.chat_id = p.chat_id`
	changedRows = `SELECT t.stamp, ` + chatOf + `, ` + participantOf + ` FROM t
CROSS JOIN chats c ON c.chat_id = t.chat CROSS JOIN participants p ON p.chat_id = t.chat AND p.user_id = ?1`
	changedUp = `)
WHERE (stamp, chat) > (?2, ?3) ORDER BY stamp, chat LIMIT ?4) ` + changedRows + ` ORDER BY t.stamp, t.chat`
	changedDown = `)
WHERE stamp > ?2 AND (stamp, chat) < (?5, ?6) ORDER BY stamp DESC, chat DESC LIMIT ?4) ` + changedRows + `
ORDER BY t.stamp DESC, t.chat DESC`
	changedFrom      = `WITH t AS MATERIALIZED (SELECT chat, stamp FROM (`
	selChangedChats  = changedFrom + changedPositions + changedUp
	selNewestChats   = changedFrom + changedPositions + changedDown
	selChangedRecent = changedFrom + changedAmong + changedUp
	selNewestRecent  = changedFrom + changedAmong + changedDown

	selStamp = `SELECT value FROM counters WHERE name = 'stamp'`

	countUnread = `SELECT count(*) FROM (SELECT 1 FROM messages
WHERE chat_id = ? AND seq > ? AND sender_id <> ? AND deleted_at IS NULL LIMIT ?)`
	countMentions = `SELECT count(*) FROM (SELECT n.seq FROM
(SELECT seq FROM mentions WHERE user_id = ?1 AND chat_id = ?2 AND seq > ?3
UNION SELECT seq FROM mentions WHERE user_id = 0 AND chat_id = ?2 AND seq > ?3) n
CROSS JOIN messages m ON m.chat_id = ?2 AND m.seq = n.seq
WHERE m.sender_id <> ?1 AND m.deleted_at IS NULL LIMIT ?4)`
)

func (r *reader) Chat(id chat.ChatID) (chat.Chat, error) {
	return one(r, "read a chat", r.c.prep(selChat).int(int64(id)), batch.ScanChat)
}

func (r *reader) ChatByPair(pair [2]chat.UserID) (chat.Chat, error) {
	return one(r, "find a private chat", r.c.prep(selChatByPair).int(int64(pair[0])).int(int64(pair[1])), batch.ScanChat)
}

func (r *reader) ChatByClientID(creator chat.UserID, clientChatID string) (chat.Chat, error) {
	q := r.c.prep(selChatByClientID).int(int64(creator)).text(clientChatID)
	return one(r, "find a chat by its client_chat_id", q, batch.ScanChat)
}

func (r *reader) ListedChats(after chat.ChatID, limit int) ([]chat.Chat, error) {
	return all(r, "list the listed chats", r.c.prep(selListedChats).int(int64(after)).int(int64(limit)), batch.ScanChat)
}

func (r *reader) Participant(id chat.ChatID, user chat.UserID) (chat.Participant, error) {
	return one(r, "read a participant", r.c.prep(selParticipant).int(int64(id)).int(int64(user)), batch.ScanParticipant)
}

func (r *reader) Participants(id chat.ChatID, after chat.UserID, limit int) ([]chat.Participant, error) {
	q := r.c.prep(selParticipants).int(int64(id)).int(int64(after)).int(int64(limit))
	return all(r, "list participants", q, batch.ScanParticipant)
}

func (r *reader) CountParticipants(id chat.ChatID, roles ...chat.Role) (int, error) {
	list, err := json.Marshal(append([]chat.Role{}, roles...))
	if err != nil {
		return 0, err
	}
	n, err := r.count("count participants", r.c.prep(countParticipants).int(int64(id)).text(string(list)))
	return int(n), err
}

func (r *reader) count(doing string, q *stmt) (int64, error) {
	return one(r, doing, q, batch.Columns.Int)
}

func (r *reader) Memberships(user chat.UserID) ([]chat.Membership, error) {
	return all(r, "list memberships", r.c.prep(selMemberships).int(int64(user)), batch.ScanMembership)
}

func (r *reader) LastSeqs(chats []chat.ChatID) ([]int64, error) {
	seqs := make([]int64, len(chats))
	for i, id := range chats {
		seq, err := r.count("read a chat's position", r.c.prep(selLastSeq).int(int64(id)))
		if err != nil && !errors.Is(err, chat.ErrNotFound) {
			return nil, err
		}
		seqs[i] = seq
	}
	return seqs, nil
}

func (r *reader) Message(id chat.ChatID, seq int64) (chat.Message, error) {
	q := r.c.prep(selMessage).int(int64(id)).int(seq)
	if err := q.row(); err != nil {
		return chat.Message{}, r.Fail("read a message", err)
	}
	m, err := batch.ScanMessage(columns{q})
	q.reset()
	return m, batch.Broken("read a message", err)
}

func (r *reader) Messages(id chat.ChatID, lo, hi int64, limit int, newest bool) ([]chat.Message, error) {
	sql := selMessages
	if newest {
		sql = selNewMessages
	}
	list, err := r.messages("list messages", r.c.prep(sql).int(int64(id)).int(lo).int(hi).int(int64(limit)), limit)
	if newest {
		slices.Reverse(list)
	}
	return list, err
}

// messages reads the rows of q; in a view no more than can be on a page: of the
// longest messages a whole list is three to six times as much, all of it garbage.
func (r *reader) messages(doing string, q *stmt, limit int) ([]chat.Message, error) {
	var list []chat.Message
	for size := 0; q.next(); {
		m, err := batch.ScanMessage(columns{q})
		if err != nil {
			q.reset()
			return nil, batch.Broken(doing, err)
		}
		if list == nil {
			list = make([]chat.Message, 0, min(limit, 256))
		}
		list = append(list, m)
		if size += len(m.Content); r.view && size > chat.MaxPageBytes {
			q.reset()
			return list, nil
		}
	}
	if q.err != nil {
		return nil, r.Fail(doing, q.err)
	}
	return list, nil
}

func (r *reader) Sent(sender chat.UserID, clientMsgID string) (chat.Sent, error) {
	return one(r, "look a client_msg_id up", r.c.prep(selSent).int(int64(sender)).clientID(clientMsgID), batch.ScanSent)
}

func (r *reader) Changes(id chat.ChatID, after, upto, floor int64, limit int) ([]chat.Message, []chat.Participant, error) {
	const doing = "list changes"
	n, lo := int64(limit), max(after+1, floor) // what is not hidden changed from lo on
	unchanged, err := r.messages(doing, r.c.prep(selUnchanged).int(int64(id)).int(lo).int(upto).int(n), limit)
	if err != nil {
		return nil, nil, err
	}
	changed, err := r.messages(doing, r.c.prep(selChanged).int(int64(id)).int(lo-1).int(upto).int(floor).int(n), limit)
	if err != nil {
		return nil, nil, err
	}
	people, err := all(r, doing, r.c.prep(selChangedParticipants).int(int64(id)).int(after).int(upto).int(n), batch.ScanParticipant)
	if err != nil {
		return nil, nil, err
	}
	messages, people := batch.Merge(unchanged, changed, people, limit)
	return messages, people, nil
}

func (r *reader) Tails(after []chat.Position, limit int) ([]chat.Tail, error) {
	tails := make([]chat.Tail, len(after))
	for i, at := range after {
		t, err := &tails[i], error(nil)
		if t.Chat, err = r.Chat(at.Chat); err != nil && !errors.Is(err, chat.ErrNotFound) {
			return nil, err
		}
		if t.Messages, t.Participants, err = r.Changes(at.Chat, at.Seq, math.MaxInt64, 0, limit); err != nil {
			return nil, err
		}
	}
	return tails, nil
}

func (r *reader) ChangedChats(user chat.UserID, pos chat.SyncPos, limit int) ([]chat.ChangedChat, error) {
	if pos.AfterChat == 0 {
		pos.AfterChat = math.MaxInt64 // the end of the stamp
	}
	among, few, err := r.candidates(user, pos)
	if err != nil || few && among == "" {
		return nil, err
	}
	sql, down := selChangedChats, pos.Below > 0
	switch {
	case few && down:
		sql = selNewestRecent
	case few:
		sql = selChangedRecent
	case down:
		sql = selNewestChats
	}
	q := r.c.prep(sql).int(int64(user)).int(pos.After).int(int64(pos.AfterChat)).int(int64(limit))
	switch {
	case down:
		q.int(pos.Below).int(int64(pos.BelowChat))
	case few:
		q.null().null()
	}
	if few {
		q.text(among)
	}
	return all(r, "list changed chats", q, batch.ScanChangedChat)
}

func (r *reader) LastStamp() (int64, error) {
	if r.view && r.stamp >= 0 {
		return r.stamp, nil
	}
	stamp, err := r.count("read the change stamp", r.c.prep(selStamp))
	if err == nil {
		r.stamp = stamp
	}
	return stamp, err
}

// Commits is the stamp: each change has its own, and they come in order.
func (r *reader) Commits() (int64, error) { return r.LastStamp() }

func (r *reader) CountUnread(id chat.ChatID, user chat.UserID, seq int64, most int) (int64, error) {
	return r.count("count unread messages",
		r.c.prep(countUnread).int(int64(id)).int(seq).int(int64(user)).int(int64(most)))
}

func (r *reader) CountMentions(id chat.ChatID, user chat.UserID, seq int64, most int) (int64, error) {
	return r.count("count mentions",
		r.c.prep(countMentions).int(int64(user)).int(int64(id)).int(seq).int(int64(most)))
}
