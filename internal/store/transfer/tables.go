// Package transfer moves everything that a store keeps into another one, of the
// same kind or not (docs/operations.md#moving).
//
// It knows the tables, column by column, and nothing of SQL: a store gives rows
// in the order of their keys and takes them. So both directions are one piece of
// code, and what is copied is exactly what the list below names; a test of each
// store holds the list against its schema.
package transfer

import (
	"bytes"
	"cmp"
	"encoding/binary"
)

// Kind is what a column holds.
type Kind int

// The kinds there are. A ClientMsgID is 'u' and the 16 bytes of a UUID in lower
// case, or 't' and the text of any other id: in this form both stores order them
// the same.
const (
	Int Kind = iota
	Bool
	Text
	Bytes
	ClientMsgID
)

// Column is a column of a table.
type Column struct {
	Name string
	Kind Kind
}

// Table is what both stores keep under one name.
type Table struct {
	Name    string
	Columns []Column // the first Keys of them are the primary key
	Keys    int
	// Unique says that other columns must be unique, too: then rows that have to
	// go do so before any comes.
	Unique bool
	chat   int // which column is the chat's id; -1: the rows are of no chat
	chunk  int // rows that are read at a time
}

// Own are the tables that each store has for itself. What of them has to come
// along is in Facts, and in rows of other tables: where SQLite has the long
// contents of messages is its own affair, and what changed lately on PostgreSQL
// nobody asks of another store.
var Own = []string{"meta", "counters", "writers", "long_contents", "changed"}

// Tables are all others.
var Tables = []*Table{
	table("users", 1, true, 1000, "user_id# username name role bot? disabled? password_hash created_at# hides_presence? status avatar"),
	table("user_words", 2, false, 2000, "word user_id#"),
	table("avatars", 1, false, 20, "user_id# hash type bytes*"),
	table("sessions", 1, true, 1000, "session_id# user_id# token_hash* device client api? created_at# used_at# expires_at#"),
	table("invites", 1, true, 1000, "invite_id# code_hash* role max_uses# uses# created_by# created_at# expires_at#"),
	table("chats", 1, true, 1000, "chat_id# kind title topic history pair_low# pair_high# created_by# client_chat_id body_hash* created_at# deleted_at# last_seq# updated_seq# stamp# listed?"),
	table("participants", 2, false, 2000, "chat_id# user_id# role joined_seq# left_seq# read_seq# updated_seq# stamp# notify"),
	table("messages", 2, false, 1000, "chat_id# seq# updated_seq# sender_id# content reply_to# mentions mention_all? created_at# edited_at# deleted_at#"),
	table("mentions", 3, false, 2000, "user_id# chat_id# seq#"),
	table("reactions", 4, false, 2000, "chat_id# seq# user_id# emoji created_at#"),
	table("sent", 2, false, 2000, "client_msg_id@ sender_id# chat_id# seq# body_hash* created_at#"),
}

// table reads columns whose last character is their kind, and none is a text.
func table(name string, keys int, unique bool, chunk int, columns string) *Table {
	t := &Table{Name: name, Keys: keys, Unique: unique, chat: -1, chunk: chunk}
	for i, f := range bytes.Fields([]byte(columns)) {
		c := Column{string(f), Text}
		if k := bytes.IndexByte([]byte("#?_*@"), f[len(f)-1]); k >= 0 {
			c = Column{string(f[:len(f)-1]), Kind(k)}
		}
		if c.Name == "chat_id" {
			t.chat = i
		}
		t.Columns = append(t.Columns, c)
	}
	return t
}

// Value is what a column of a row has: Int, for a Bool 0 or 1, or Bytes.
type Value struct {
	Null  bool
	Int   int64
	Bytes []byte
}

// Row has a value for each column of its table.
type Row []Value

// compare orders rows by the first n columns.
func (r Row) compare(other Row, n int) int {
	for i := range n {
		if c := cmp.Or(cmp.Compare(r[i].Int, other[i].Int), bytes.Compare(r[i].Bytes, other[i].Bytes)); c != 0 {
			return c
		}
	}
	return 0
}

// same says that two rows are equal in every column.
func (r Row) same(other Row) bool {
	for i, v := range r {
		if v.Null != other[i].Null {
			return false
		}
	}
	return r.compare(other, len(r)) == 0
}

// size is about how many bytes the row has.
func (r Row) size() int {
	n := 16 * len(r)
	for _, v := range r {
		n += len(v.Bytes)
	}
	return n
}

// append writes the row so that no two rows are written the same.
func (r Row) append(b []byte) []byte {
	for _, v := range r {
		switch {
		case v.Null:
			b = append(b, 0)
		case v.Bytes == nil:
			b = binary.BigEndian.AppendUint64(append(b, 1), uint64(v.Int))
		default:
			b = binary.BigEndian.AppendUint64(append(b, 2), uint64(len(v.Bytes)))
			b = append(b, v.Bytes...)
		}
	}
	return b
}
