package postgres

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// Nodes write beside each other, and an update reads, decides and writes. What
// keeps two of them from deciding on the same state:
//
//   - Everything of a chat (its row, participants, messages) is read with the
//     chat's row locked, and written under that lock. What the hints of a batch
//     name is locked at its beginning, by ascending id. A chat that turns out to
//     be needed later is locked if it is free; if it is not, the batch begins
//     again and has it among the first, so that nobody waits for a lock while
//     holding one in the wrong order.
//   - Users with their avatars, sessions and invites are written under one lock for all of them,
//     which comes before the chats'. An update that comes to write one without it
//     has the batch begin again with it, and reads again. Accounts change
//     rarely, and rules such as "one owner must stay" are about all of them.
//   - Counters are locked by whoever reads them.
//   - What must be unique (names, tokens, pairs, keys of sends) has an index. If
//     that refuses what an update had found free, the batch runs again and finds
//     the other.
//   - The schema's lock is held shared, and by Open alone while it migrates or
//     changes the epoch.
//
// Each statement sees what was committed before it began (READ COMMITTED), so
// that what is read after a lock was taken is what its last holder left.

// The keys of advisory locks: of the schema, and of all accounts.
const (
	schemaLock   = 0x4772_6d61_0001
	accountsLock = 0x4772_6d61_0002
)

// needs is what a batch reads at its beginning.
type needs struct {
	chats        map[chat.ChatID]bool
	participants map[batch.ParticipantKey]bool
	sent         map[batch.SentKey]bool
	accounts     bool
}

// hints gathers what updates say that they will look at.
func hints(items []*batch.Item) *needs {
	n := &needs{map[chat.ChatID]bool{}, map[batch.ParticipantKey]bool{}, map[batch.SentKey]bool{}, false}
	for _, i := range items {
		op := &i.Op
		if op.Chat > 0 {
			n.chats[op.Chat] = true
		}
		if op.Chat > 0 && op.User > 0 {
			n.participants[batch.ParticipantKey{Chat: op.Chat, User: op.User}] = true
		}
		if op.User > 0 && op.ClientMsgID != "" {
			n.sent[batch.SentKey{Sender: op.User, ClientMsgID: op.ClientMsgID}] = true
		}
		// Somebody's affair, and no chat's: most likely of their account.
		n.accounts = n.accounts || op.User > 0 && op.Chat == 0
	}
	return n
}

func (n *needs) none() bool {
	return len(n.chats)+len(n.sent) == 0 && !n.accounts
}

// errAgain ends a batch that needs more than it took at its beginning; that is
// in its needs now.
var errAgain = errors.New("the batch begins again, with more locks")

var _ batch.Source = (*source)(nil)

// source is the writer's reader, which also writes. What it puts waits to go out
// with what is read next, or with the commit.
type source struct {
	*reader
	tx      *batch.Tx
	needs   *needs
	held    map[chat.ChatID]bool
	careful bool  // messages may be there already, whatever they look like
	xid     int64 // of the transaction; 0: it has none yet
	wrote   bool  // something was put
	stamped bool  // and something of it has the stamp
	changed changed

	unchanged func(epoch, version string) error // is the history, and its schema, still ours?
}

const (
	begin      = `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE`
	lockSchema = `SELECT pg_advisory_xact_lock_shared($1)`
	lockAll    = `SELECT pg_advisory_xact_lock($1)`
	// The id is the transaction's for everything it writes.
	selState = `SELECT pg_current_xact_id()::text::bigint,
coalesce((SELECT value FROM meta WHERE name = 'epoch'), ''), coalesce((SELECT value FROM meta WHERE name = 'version'), '')`
	forChange = ` FOR NO KEY UPDATE`
)

var (
	lockChats          = `SELECT ` + batch.ChatColumns + ` FROM chats WHERE chat_id = ANY($1) ORDER BY chat_id` + forChange
	selParticipantKeys = `SELECT ` + participantOf + ` FROM unnest($1::bigint[], $2::bigint[]) k (chat_id, user_id)
JOIN participants p ON p.chat_id = k.chat_id AND p.user_id = k.user_id`
	selSentKeys = `SELECT ` + batch.Of("s", batch.SentColumns) + ` FROM unnest($1::bytea[], $2::bigint[]) k (client_msg_id, sender_id)
JOIN sent s ON s.client_msg_id = k.client_msg_id AND s.sender_id = k.sender_id`
)

// start begins a transaction with what its updates need. If that is nothing, it
// goes out with the first thing that is read or written.
func (s *source) start() error {
	s.pending, s.begun, s.failed = nil, false, nil
	s.held, s.xid, s.wrote, s.stamped, s.changed = map[chat.ChatID]bool{}, 0, false, false, changed{}
	s.pending = append(s.pending, ask(begin), ask(lockSchema, int64(schemaLock)))
	if s.needs.accounts {
		s.pending = append(s.pending, ask(lockAll, int64(accountsLock)))
	}
	state := ask(selState)
	state.row = func(c *columns) error {
		s.xid = c.Int()
		epoch, version := c.Text(), c.Text()
		return s.unchanged(epoch, version)
	}
	s.pending = append(s.pending, state)
	if s.needs.none() {
		return nil
	}
	return s.run("begin", s.prefetch()...)
}

// prefetch reads what is needed, chats first, whose locks the rest stands under.
func (s *source) prefetch() []query {
	var queries []query
	if len(s.needs.chats) > 0 {
		ids := slices.Sorted(maps.Keys(s.needs.chats))
		keys := make([]int64, len(ids))
		for i, id := range ids {
			keys[i], s.held[id] = int64(id), true
		}
		q := ask(lockChats, keys)
		found := map[chat.ChatID]bool{}
		q.row = func(c *columns) error {
			row := batch.ScanChat(c)
			found[row.ID] = true
			s.tx.LearnChat(row.ID, &row)
			return nil
		}
		q.tag = func(pgconn.CommandTag) {
			for _, id := range ids {
				if !found[id] {
					s.tx.LearnChat(id, nil)
				}
			}
		}
		queries = append(queries, q)
	}
	if len(s.needs.participants) > 0 {
		chats, users := make([]int64, 0, len(s.needs.participants)), make([]int64, 0, len(s.needs.participants))
		for k := range s.needs.participants {
			chats, users = append(chats, int64(k.Chat)), append(users, int64(k.User))
		}
		q := ask(selParticipantKeys, chats, users)
		q.row = func(c *columns) error {
			row := batch.ScanParticipant(c)
			s.tx.LearnParticipant(batch.ParticipantKey{Chat: row.Chat, User: row.User}, &row)
			return nil
		}
		q.tag = func(pgconn.CommandTag) {
			for k := range s.needs.participants {
				s.tx.LearnParticipant(k, nil) // unless a row came
			}
		}
		queries = append(queries, q)
	}
	if len(s.needs.sent) > 0 {
		ids, users := make([][]byte, 0, len(s.needs.sent)), make([]int64, 0, len(s.needs.sent))
		for k := range s.needs.sent {
			ids, users = append(ids, clientMsgID(k.ClientMsgID)), append(users, int64(k.Sender))
		}
		q := ask(selSentKeys, ids, users)
		q.row = func(c *columns) error {
			row := batch.ScanSent(c)
			s.tx.LearnSent(batch.SentKey{Sender: row.Sender, ClientMsgID: row.ClientMsgID}, &row)
			return nil
		}
		q.tag = func(pgconn.CommandTag) {
			for k := range s.needs.sent {
				s.tx.LearnSent(k, nil)
			}
		}
		queries = append(queries, q)
	}
	return queries
}

// lock holds a chat that the batch did not begin with.
func (s *source) lock(id chat.ChatID) error {
	if s.held[id] {
		return nil
	}
	var free, there bool
	take := ask(selChat+forChange+` SKIP LOCKED`, int64(id))
	take.row = func(c *columns) error {
		row := batch.ScanChat(c)
		s.tx.LearnChat(id, &row)
		free = true
		return nil
	}
	look := ask(selChat, int64(id))
	look.row = func(*columns) error {
		there = true
		return nil
	}
	if err := s.run("lock a chat", take, look); err != nil {
		return err
	}
	if there && !free {
		s.needs.chats[id] = true
		return s.Fail("lock a chat", errAgain)
	}
	s.held[id] = true
	return nil
}

// accounts is asked before an account is written.
func (s *source) accounts() error {
	if s.needs.accounts {
		return nil
	}
	s.needs.accounts = true
	return s.Fail("lock the accounts", errAgain)
}

// stamp is the change stamp of everything the transaction writes.
func (s *source) stamp() (int64, error) {
	s.stamped = true
	err := s.identify()
	return stampOf(s.xid, s.offset), err
}

// identify sees that the transaction has its id, and that the history is ours.
func (s *source) identify() error {
	if s.xid != 0 {
		return nil
	}
	return s.run("begin")
}

func (s *source) Counter(name batch.Counter) (int64, error) {
	return s.count("read a counter", ask(`SELECT value FROM counters WHERE name = $1 FOR UPDATE`, string(name)))
}

func put[V any](s *source, sql string, rows []*V, bind func(batch.Binder, *V)) error {
	s.wrote = true
	s.pending = append(s.pending, ask(sql, gather(rows, bind)...))
	return nil
}

func remove[ID ~int64](s *source, sql string, ids []ID) error {
	s.wrote = true
	keys := make([]int64, len(ids))
	for i, id := range ids {
		keys[i] = int64(id)
	}
	s.pending = append(s.pending, ask(sql, keys))
	return nil
}

func (s *source) PutUsers(rows []*chat.User) error { return put(s, putUsers, rows, batch.BindUser) }

func (s *source) PutWords(rows []*batch.Word) error { return put(s, putWords, rows, batch.BindWord) }

func (s *source) DeleteWords(rows []batch.Word) error {
	gone := make([]*batch.Word, len(rows))
	for i := range rows {
		gone[i] = &rows[i]
	}
	return put(s, deleteWords, gone, batch.BindWord)
}

func (s *source) PutAvatars(rows []*chat.Avatar) error {
	return put(s, putAvatars, rows, batch.BindAvatar)
}

func (s *source) DeleteAvatars(of []chat.UserID) error {
	return remove(s, `DELETE FROM avatars WHERE user_id = ANY($1)`, of)
}

func (s *source) PutSessions(rows []*chat.Session) error {
	return put(s, putSessions, rows, batch.BindSession)
}

func (s *source) DeleteSessions(ids []chat.SessionID) error {
	return remove(s, `DELETE FROM sessions WHERE session_id = ANY($1)`, ids)
}

func (s *source) PutInvites(rows []*chat.Invite) error {
	return put(s, putInvites, rows, batch.BindInvite)
}

func (s *source) DeleteInvites(ids []chat.InviteID) error {
	return remove(s, `DELETE FROM invites WHERE invite_id = ANY($1)`, ids)
}

func (s *source) PutChats(rows []*chat.Chat) error {
	for _, c := range rows {
		s.changed.chats = append(s.changed.chats, int64(c.ID))
	}
	return put(s, putChats, rows, batch.BindChat)
}

func (s *source) PutParticipants(rows []*chat.Participant) error {
	for _, p := range rows {
		s.changed.peopleChats = append(s.changed.peopleChats, int64(p.Chat))
		s.changed.peopleUsers = append(s.changed.peopleUsers, int64(p.User))
	}
	return put(s, putParticipants, rows, batch.BindParticipant)
}

func (s *source) PutCounters(rows []*batch.Count) error {
	return put(s, setCounters, rows, func(b batch.Binder, c *batch.Count) {
		b.Text(string(c.Name))
		b.Int(c.Last)
	})
}

// PutSent puts keys in one order on all nodes, so that two of them that have the
// same ones do not wait for each other.
func (s *source) PutSent(rows []*chat.Sent) error {
	slices.SortFunc(rows, func(a, b *chat.Sent) int {
		return cmp.Or(bytes.Compare(clientMsgID(a.ClientMsgID), clientMsgID(b.ClientMsgID)), cmp.Compare(a.Sender, b.Sender))
	})
	return put(s, addSent, rows, batch.BindSent)
}

// PutMessages takes those for new that are at the place of their birth. Should
// one be there all the same, the primary key says so, and the batch is tried
// again carefully.
func (s *source) PutMessages(rows []*chat.Message) error {
	s.wrote = true
	var fresh, changed []*chat.Message
	var users, chats, seqs []int64
	for _, m := range rows {
		if m.UpdatedSeq == m.Seq && !s.careful {
			fresh = append(fresh, m)
		} else {
			changed = append(changed, m)
		}
		for _, u := range batch.Mentioned(m) {
			users, chats, seqs = append(users, int64(u)), append(chats, int64(m.Chat)), append(seqs, m.Seq)
		}
	}
	if len(changed) > 0 {
		ids, at := make([]int64, len(changed)), make([]int64, len(changed))
		for i, m := range changed {
			ids[i], at[i] = int64(m.Chat), m.Seq
		}
		s.pending = append(s.pending, ask(dropMentions, ids, at), ask(putMessages, gather(changed, batch.BindMessage)...))
	}
	if len(fresh) > 0 {
		s.pending = append(s.pending, ask(addMessages, gather(fresh, batch.BindMessage)...))
	}
	if len(users) > 0 {
		s.pending = append(s.pending, ask(addMentions, users, chats, seqs))
	}
	return nil
}

// rowsFrom is the query that gives rows back that were gathered by columns of
// these types.
func rowsFrom(types string) string {
	var b strings.Builder
	b.WriteString("SELECT * FROM unnest(")
	for i, t := range strings.Fields(types) {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("$" + strconv.Itoa(i+1) + "::" + t + "[]")
	}
	b.WriteString(")")
	return b.String()
}

const (
	userTypes        = "bigint text text text boolean boolean text bigint boolean text text"
	avatarTypes      = "bigint text text bytea"
	sessionTypes     = "bigint bigint bytea text text boolean bigint bigint bigint"
	inviteTypes      = "bigint bytea text bigint bigint bigint bigint bigint"
	chatTypes        = "bigint text text text text bigint bigint bigint text bytea bigint bigint bigint bigint bigint boolean"
	participantTypes = "bigint bigint text bigint bigint bigint bigint bigint text"
	messageTypes     = "bigint bigint bigint bigint text bigint text boolean bigint bigint bigint"
	sentTypes        = "bigint bytea bigint bigint bytea bigint"
)

var (
	putUsers        = batch.Put("users", batch.UserColumns, "user_id", rowsFrom(userTypes))
	putWords        = `INSERT INTO user_words (` + batch.WordColumns + `) ` + rowsFrom("text bigint") + ` ON CONFLICT DO NOTHING`
	deleteWords     = `DELETE FROM user_words WHERE (` + batch.WordColumns + `) IN (` + rowsFrom("text bigint") + `)`
	putAvatars      = batch.Put("avatars", batch.AvatarColumns, "user_id", rowsFrom(avatarTypes))
	putSessions     = batch.Put("sessions", batch.SessionColumns, "session_id", rowsFrom(sessionTypes))
	putInvites      = batch.Put("invites", batch.InviteColumns, "invite_id", rowsFrom(inviteTypes))
	putChats        = batch.Put("chats", batch.ChatColumns, "chat_id", rowsFrom(chatTypes))
	putParticipants = batch.Put("participants", batch.ParticipantColumns, "chat_id, user_id", rowsFrom(participantTypes))
	putMessages     = batch.Put("messages", batch.MessageColumns, "chat_id, seq", rowsFrom(messageTypes))
	addMessages     = `INSERT INTO messages (` + batch.MessageColumns + `) ` + rowsFrom(messageTypes)
	addSent         = `INSERT INTO sent (` + batch.SentColumns + `) ` + rowsFrom(sentTypes)
	setCounters     = `UPDATE counters SET value = n.value FROM (` + rowsFrom("text bigint") + ` u (name, value)) n WHERE counters.name = n.name`
	addMentions     = `INSERT INTO mentions (user_id, chat_id, seq) ` + rowsFrom("bigint bigint bigint") + ` ON CONFLICT DO NOTHING`
	// What the old rows mention, which are replaced next.
	dropMentions = `DELETE FROM mentions n USING unnest($1::bigint[], $2::bigint[]) k (chat_id, seq)
JOIN messages m ON m.chat_id = k.chat_id AND m.seq = k.seq
WHERE n.chat_id = m.chat_id AND n.seq = m.seq AND n.user_id = ANY
(translate(coalesce(m.mentions, '[]'), '[]', '{}')::bigint[] || CASE WHEN m.mention_all THEN '{0}'::bigint[] ELSE '{}' END)`
)
