package postgres

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

var (
	chatOf        = batch.Of("c", batch.ChatColumns)
	participantOf = batch.Of("p", batch.ParticipantColumns)

	selChat           = `SELECT ` + batch.ChatColumns + ` FROM chats WHERE chat_id = $1`
	selChatByPair     = `SELECT ` + batch.ChatColumns + ` FROM chats WHERE pair_low = $1 AND pair_high = $2`
	selChatByClientID = `SELECT ` + batch.ChatColumns + ` FROM chats WHERE created_by = $1 AND client_chat_id = $2`

	selListedChats = `SELECT ` + batch.ChatColumns + ` FROM chats
WHERE listed AND deleted_at IS NULL AND chat_id > $1 ORDER BY chat_id LIMIT $2`

	selParticipant  = `SELECT ` + batch.ParticipantColumns + ` FROM participants WHERE chat_id = $1 AND user_id = $2`
	selParticipants = `SELECT ` + batch.ParticipantColumns + ` FROM participants
WHERE chat_id = $1 AND user_id > $2 AND joined_seq > 0 AND left_seq = 0 ORDER BY user_id LIMIT $3`
	countParticipants = `SELECT count(*) FROM participants
WHERE chat_id = $1 AND joined_seq > 0 AND left_seq = 0 AND role = ANY($2)`
	selMemberships = `SELECT c.chat_id, c.kind, c.last_seq, p.joined_seq, p.read_seq
FROM participants p JOIN chats c ON c.chat_id = p.chat_id
WHERE p.user_id = $1 AND p.joined_seq > 0 AND p.left_seq = 0 AND c.deleted_at IS NULL ORDER BY p.chat_id`

	selLastSeqs = `SELECT chat_id, last_seq FROM chats WHERE chat_id = ANY($1)`

	selMessage     = `SELECT ` + batch.MessageColumns + ` FROM messages WHERE chat_id = $1 AND seq = $2`
	selMessages    = `SELECT ` + batch.MessageColumns + ` FROM messages WHERE chat_id = $1 AND seq >= $2 AND seq < $3 ORDER BY seq LIMIT $4`
	selNewMessages = `SELECT ` + batch.MessageColumns + ` FROM messages WHERE chat_id = $1 AND seq >= $2 AND seq < $3 ORDER BY seq DESC LIMIT $4`
	selSent        = `SELECT ` + batch.SentColumns + ` FROM sent WHERE sender_id = $1 AND client_msg_id = $2`

	// Changed messages come from their index; those that never changed stand where
	// they were born.
	selChanged = `SELECT ` + batch.MessageColumns + ` FROM messages
WHERE chat_id = $1 AND updated_seq > $2 AND updated_seq <= $5 AND updated_seq > seq AND seq >= $3 ORDER BY updated_seq LIMIT $4`
	selUnchanged = `SELECT ` + batch.MessageColumns + ` FROM messages
WHERE chat_id = $1 AND seq >= $2 AND seq <= $4 AND updated_seq = seq ORDER BY seq LIMIT $3`
	selChangedParticipants = `SELECT ` + batch.ParticipantColumns + ` FROM participants
WHERE chat_id = $1 AND updated_seq > $2 AND updated_seq <= $4 ORDER BY updated_seq, user_id LIMIT $3`

	// LIMIT keeps the planner from going through all chats, when there are few.
	selTails = `SELECT ` + tailPart(tailChat, "c", batch.ChatColumns) + `, LATERAL (SELECT * FROM chats c
WHERE c.chat_id = k.chat_id LIMIT 1) c
UNION ALL SELECT ` + tailPart(tailUnchanged, "m", batch.MessageColumns) + `, LATERAL (SELECT * FROM messages m
WHERE m.chat_id = k.chat_id AND m.seq >= k.after + 1 AND m.updated_seq = m.seq ORDER BY m.seq LIMIT $3) m
UNION ALL SELECT ` + tailPart(tailChanged, "m", batch.MessageColumns) + `, LATERAL (SELECT * FROM messages m
WHERE m.chat_id = k.chat_id AND m.updated_seq > k.after AND m.updated_seq > m.seq ORDER BY m.updated_seq LIMIT $3) m
UNION ALL SELECT ` + tailPart(tailPeople, "p", batch.ParticipantColumns) + `, LATERAL (SELECT * FROM participants p
WHERE p.chat_id = k.chat_id AND p.updated_seq > k.after ORDER BY p.updated_seq, p.user_id LIMIT $3) p`

	// The positions are sorted first and only the rows of the page are read.
	changedHead = `WITH last AS MATERIALIZED (SELECT ` + lastStampSQL(5) + ` AS stamp),
t AS MATERIALIZED (SELECT chat, stamp FROM (SELECT p.chat_id AS chat,
LEAST(CASE WHEN p.joined_seq > 0 AND p.left_seq = 0 THEN GREATEST(c.stamp, p.stamp) ELSE p.stamp END, last.stamp + 1) AS stamp
FROM last, `
	changedFrom = changedHead + `participants p JOIN chats c ON c.chat_id = p.chat_id WHERE p.user_id = $1`
	// LIMIT keeps the planner from going through all that are theirs.
	changedAmong = changedHead + `unnest($6::bigint[]) k (chat_id), LATERAL (SELECT * FROM participants p
WHERE p.chat_id = k.chat_id AND p.user_id = $1 LIMIT 1) p JOIN chats c ON c.chat_id = p.chat_id`
	changedAt = `) at
WHERE `
	changedRows = `) SELECT t.stamp, ` + chatOf + `, ` + participantOf + ` FROM t
JOIN chats c ON c.chat_id = t.chat JOIN participants p ON p.chat_id = t.chat AND p.user_id = $1 ORDER BY `
	changedUp       = changedAt + `(stamp, chat) > ($2, $3) ORDER BY stamp, chat LIMIT $4` + changedRows + `t.stamp, t.chat`
	selChangedChats = changedFrom + changedUp
	// Nothing, if there are more memberships than $6.
	selChangedFew   = changedFrom + ` AND (SELECT count(*) FROM (SELECT 1 FROM participants WHERE user_id = $1 LIMIT $6 + 1) m) <= $6` + changedUp
	selChangedAmong = changedAmong + changedUp
	selNewestChats  = changedFrom + changedAt + `stamp > $2 AND (stamp, chat) < ($3, $6) ORDER BY stamp DESC, chat DESC LIMIT $4` + changedRows + `t.stamp DESC, t.chat DESC`

	selStamp = `SELECT ` + lastStampSQL(1)

	selCommits = `SELECT coalesce(sum(batch), 0)::bigint FROM writers`

	countUnread = `SELECT count(*) FROM (SELECT 1 FROM messages
WHERE chat_id = $1 AND seq > $2 AND sender_id <> $3 AND deleted_at IS NULL LIMIT $4) unread`
	countMentions = `SELECT count(*) FROM (SELECT n.seq FROM
(SELECT seq FROM mentions WHERE user_id = $1 AND chat_id = $2 AND seq > $3
UNION SELECT seq FROM mentions WHERE user_id = 0 AND chat_id = $2 AND seq > $3) n
JOIN messages m ON m.chat_id = $2 AND m.seq = n.seq
WHERE m.sender_id <> $1 AND m.deleted_at IS NULL LIMIT $4) mentioned`
)

// The rows of selTails are of several tables side by side, behind the part and
// the place of their position; what is of another table is NULL.
const (
	tailChat = iota
	tailUnchanged
	tailChanged
	tailPeople
)

var (
	chatColumns    = len(strings.Fields(chatTypes))
	messageColumns = len(strings.Fields(messageTypes))
)

// tailPart is a part's list of columns, and FROM with the positions.
func tailPart(part int, alias, columns string) string {
	list := []string{strconv.Itoa(part) + "::bigint", "k.n"}
	for _, t := range []struct{ columns, types string }{
		{batch.ChatColumns, chatTypes}, {batch.MessageColumns, messageTypes}, {batch.ParticipantColumns, participantTypes},
	} {
		if t.columns == columns {
			list = append(list, batch.Of(alias, columns))
			continue
		}
		for typ := range strings.FieldsSeq(t.types) {
			list = append(list, "NULL::"+typ)
		}
	}
	return strings.Join(list, ", ") + `
FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY k (chat_id, after, n)`
}

// of locks a chat, where that is due, before something of it is read.
func (r *reader) of(id chat.ChatID) error {
	if r.hold == nil {
		return nil
	}
	return r.hold(id)
}

func (r *reader) Chat(id chat.ChatID) (chat.Chat, error) {
	if err := r.of(id); err != nil {
		return chat.Chat{}, err
	}
	return one(r, "read a chat", ask(selChat, int64(id)), batch.ScanChat)
}

func (r *reader) ChatByPair(pair [2]chat.UserID) (chat.Chat, error) {
	return one(r, "find a private chat", ask(selChatByPair, int64(pair[0]), int64(pair[1])), batch.ScanChat)
}

func (r *reader) ChatByClientID(creator chat.UserID, clientChatID string) (chat.Chat, error) {
	q := ask(selChatByClientID, int64(creator), escape(clientChatID))
	return one(r, "find a chat by its client_chat_id", q, batch.ScanChat)
}

func (r *reader) ListedChats(after chat.ChatID, limit int) ([]chat.Chat, error) {
	return all(r, "list the listed chats", ask(selListedChats, int64(after), int64(limit)), batch.ScanChat)
}

func (r *reader) Participant(id chat.ChatID, user chat.UserID) (chat.Participant, error) {
	if err := r.of(id); err != nil {
		return chat.Participant{}, err
	}
	return one(r, "read a participant", ask(selParticipant, int64(id), int64(user)), batch.ScanParticipant)
}

func (r *reader) Participants(id chat.ChatID, after chat.UserID, limit int) ([]chat.Participant, error) {
	if err := r.of(id); err != nil {
		return nil, err
	}
	return all(r, "list participants", ask(selParticipants, int64(id), int64(after), int64(limit)), batch.ScanParticipant)
}

func (r *reader) CountParticipants(id chat.ChatID, roles ...chat.Role) (int, error) {
	if err := r.of(id); err != nil {
		return 0, err
	}
	names := make([]string, len(roles))
	for i, role := range roles {
		names[i] = string(role)
	}
	n, err := r.count("count participants", ask(countParticipants, int64(id), names))
	return int(n), err
}

func (r *reader) count(doing string, q query) (int64, error) {
	return one(r, doing, q, batch.Columns.Int)
}

func (r *reader) Memberships(user chat.UserID) ([]chat.Membership, error) {
	return all(r, "list memberships", ask(selMemberships, int64(user)), batch.ScanMembership)
}

func (r *reader) LastSeqs(chats []chat.ChatID) ([]int64, error) {
	ids := make([]int64, len(chats))
	for i, id := range chats {
		ids[i] = int64(id)
	}
	found := make(map[chat.ChatID]int64, len(chats))
	q := ask(selLastSeqs, ids)
	q.row = func(c *columns) error {
		id := chat.ChatID(c.Int())
		found[id] = c.Int()
		return nil
	}
	if err := r.run("read the positions of chats", q); err != nil {
		return nil, err
	}
	seqs := make([]int64, len(chats))
	for i, id := range chats {
		seqs[i] = found[id]
	}
	return seqs, nil
}

func (r *reader) Message(id chat.ChatID, seq int64) (chat.Message, error) {
	list, err := r.messages("read a message", id, ask(selMessage, int64(id), seq))
	if err == nil && len(list) == 0 {
		err = chat.ErrNotFound
	}
	if err != nil {
		return chat.Message{}, err
	}
	return list[0], nil
}

func (r *reader) Messages(id chat.ChatID, lo, hi int64, limit int, newest bool) ([]chat.Message, error) {
	sql := selMessages
	if newest {
		sql = selNewMessages
	}
	list, err := r.messages("list messages", id, ask(sql, int64(id), lo, hi, int64(limit)))
	if newest {
		slices.Reverse(list)
	}
	return list, err
}

func (r *reader) messages(doing string, id chat.ChatID, q query) ([]chat.Message, error) {
	if err := r.of(id); err != nil {
		return nil, err
	}
	var list messages
	if err := r.run(doing, list.from(q)); err != nil {
		return nil, err
	}
	return list.rows, batch.Broken(doing, list.damaged)
}

// messages are rows of messages. A damaged one is no failure of the query's.
type messages struct {
	rows    []chat.Message
	damaged error
}

func (l *messages) from(q query) query {
	q.row = l.scan
	return q
}

func (l *messages) scan(c *columns) error {
	m, err := batch.ScanMessage(c)
	if err != nil && l.damaged == nil {
		l.damaged = err
	}
	l.rows = append(l.rows, m)
	return nil
}

func (r *reader) Sent(sender chat.UserID, id string) (chat.Sent, error) {
	return one(r, "look a client_msg_id up", ask(selSent, int64(sender), clientMsgID(id)), batch.ScanSent)
}

func (r *reader) Changes(id chat.ChatID, after, upto, floor int64, limit int) ([]chat.Message, []chat.Participant, error) {
	const doing = "list changes"
	if err := r.of(id); err != nil {
		return nil, nil, err
	}
	var (
		unchanged, changed messages
		people             []chat.Participant
		n, lo              = int64(limit), max(after+1, floor) // what is not hidden changed from lo on
	)
	err := r.run(doing,
		unchanged.from(ask(selUnchanged, int64(id), lo, n, upto)),
		changed.from(ask(selChanged, int64(id), lo-1, floor, n, upto)),
		into(&people, ask(selChangedParticipants, int64(id), after, n, upto), batch.ScanParticipant))
	if err != nil {
		return nil, nil, err
	}
	for _, l := range []messages{unchanged, changed} {
		if l.damaged != nil {
			return nil, nil, batch.Broken(doing, l.damaged)
		}
	}
	list, people := batch.Merge(unchanged.rows, changed.rows, people, limit)
	return list, people, nil
}

// Tails is one statement, which is a snapshot without a transaction around it.
func (r *reader) Tails(after []chat.Position, limit int) ([]chat.Tail, error) {
	const doing = "read the tails of chats"
	ids, seqs := make([]int64, len(after)), make([]int64, len(after))
	for i, at := range after {
		if err := r.of(at.Chat); err != nil {
			return nil, err
		}
		ids[i], seqs[i] = int64(at.Chat), at.Seq
	}
	if r.view && !r.begun {
		r.alone, r.pending = true, nil
	}
	type parts struct {
		unchanged, changed messages
		people             []chat.Participant
	}
	tails, found := make([]chat.Tail, len(after)), make([]parts, len(after))
	q := ask(selTails, ids, seqs, int64(limit))
	q.row = func(c *columns) error {
		part, n := c.Int(), c.Int()-1
		if n < 0 || n >= int64(len(after)) {
			return errors.Join(c.err, errFormat)
		}
		f := &found[n]
		switch part {
		case tailChat:
			tails[n].Chat = batch.ScanChat(c)
		case tailUnchanged, tailChanged:
			c.at += chatColumns
			if part == tailChanged {
				return f.changed.scan(c)
			}
			return f.unchanged.scan(c)
		case tailPeople:
			c.at += chatColumns + messageColumns
			f.people = append(f.people, batch.ScanParticipant(c))
		default:
			return errors.Join(c.err, errFormat)
		}
		return nil
	}
	if err := r.run(doing, q); err != nil {
		return nil, err
	}
	for i := range found {
		f := &found[i]
		for _, l := range []messages{f.unchanged, f.changed} {
			if l.damaged != nil {
				return nil, batch.Broken(doing, l.damaged)
			}
		}
		// Their order is the plan's, which is no promise.
		slices.SortFunc(f.unchanged.rows, byChange)
		slices.SortFunc(f.changed.rows, byChange)
		slices.SortFunc(f.people, func(a, b chat.Participant) int {
			return cmp.Or(cmp.Compare(a.UpdatedSeq, b.UpdatedSeq), cmp.Compare(a.User, b.User))
		})
		tails[i].Messages, tails[i].Participants = batch.Merge(f.unchanged.rows, f.changed.rows, f.people, limit)
	}
	return tails, nil
}

func byChange(a, b chat.Message) int { return cmp.Compare(a.UpdatedSeq, b.UpdatedSeq) }

func (r *reader) ChangedChats(user chat.UserID, pos chat.SyncPos, limit int) ([]chat.ChangedChat, error) {
	if pos.AfterChat == 0 {
		pos.AfterChat = math.MaxInt64 // the end of the stamp
	}
	if r.lately != nil && pos.After > 0 && pos.Below == 0 {
		if list, done, err := r.changedLately(user, pos, limit); err != nil || done {
			return list, err
		}
	}
	q := ask(selChangedChats, int64(user), pos.After, int64(pos.AfterChat), int64(limit), r.offset)
	if pos.Below > 0 {
		q = ask(selNewestChats, int64(user), pos.After, pos.Below, int64(limit), r.offset, int64(pos.BelowChat))
	}
	return all(r, "list changed chats", q, batch.ScanChangedChat)
}

func (r *reader) LastStamp() (int64, error) {
	return r.count("read the change stamp", ask(selStamp, r.offset))
}

// Commits counts the transactions of all nodes, each of which moves its row in
// the table writers on. LastStamp is no such number: it stands still while a
// transaction of anybody's in the cluster is under way.
func (r *reader) Commits() (int64, error) {
	return r.count("count the transactions", ask(selCommits))
}

func (r *reader) CountUnread(id chat.ChatID, user chat.UserID, seq int64, most int) (int64, error) {
	return r.count("count unread messages", ask(countUnread, int64(id), seq, int64(user), int64(most)))
}

func (r *reader) CountMentions(id chat.ChatID, user chat.UserID, seq int64, most int) (int64, error) {
	return r.count("count mentions", ask(countMentions, int64(user), int64(id), seq, int64(most)))
}
