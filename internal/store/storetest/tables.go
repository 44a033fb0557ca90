package storetest

import (
	"iter"

	"github.com/grima-chat/grima/internal/chat"
)

// tables is everything a Memory holds.
type tables struct {
	users        table[chat.UserID, chat.User]
	avatars      table[chat.UserID, chat.Avatar]
	sessions     table[chat.SessionID, chat.Session]
	invites      table[chat.InviteID, chat.Invite]
	chats        table[chat.ChatID, chat.Chat]
	participants map[chat.ChatID]table[chat.UserID, chat.Participant]
	messages     map[chat.ChatID]table[int64, chat.Message]
	sent         table[sentKey, chat.Sent]

	// The last ids given out. A failed update's are not used again.
	lastUser    chat.UserID
	lastSession chat.SessionID
	lastInvite  chat.InviteID
	lastChat    chat.ChatID
}

type sentKey struct {
	sender      chat.UserID
	clientMsgID string
}

func newTables() tables {
	return tables{
		users:        table[chat.UserID, chat.User]{},
		avatars:      table[chat.UserID, chat.Avatar]{},
		sessions:     table[chat.SessionID, chat.Session]{},
		invites:      table[chat.InviteID, chat.Invite]{},
		chats:        table[chat.ChatID, chat.Chat]{},
		participants: map[chat.ChatID]table[chat.UserID, chat.Participant]{},
		messages:     map[chat.ChatID]table[int64, chat.Message]{},
		sent:         table[sentKey, chat.Sent]{},
	}
}

// table is rows by key, each with all its versions by ascending number.
type table[K comparable, V any] map[K][]version[V]

type version[V any] struct {
	at      int64 // the update that put it
	row     V
	deleted bool
}

// get gives the row as it is right after the update at.
func (t table[K, V]) get(key K, at int64) (row V, ok bool) {
	versions := t[key]
	for i := len(versions) - 1; i >= 0; i-- {
		if v := versions[i]; v.at <= at {
			return v.row, !v.deleted
		}
	}
	return row, false
}

// all gives every row as it is right after the update at, in no order.
func (t table[K, V]) all(at int64) iter.Seq[V] {
	return func(yield func(V) bool) {
		for key := range t {
			if row, ok := t.get(key, at); ok && !yield(row) {
				return
			}
		}
	}
}

// put adds a version, and gives back how to take it away.
func (t table[K, V]) put(key K, v version[V]) (undo func()) {
	t[key] = append(t[key], v)
	return func() { t[key] = t[key][:len(t[key])-1] }
}

// in gives the table of a chat, making it if need be.
func in[K comparable, V any](tables map[chat.ChatID]table[K, V], id chat.ChatID) table[K, V] {
	if tables[id] == nil {
		tables[id] = table[K, V]{}
	}
	return tables[id]
}
