package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// complaints is a test that only listens.
type complaints struct{ list []string }

func (*complaints) Helper() {}
func (c *complaints) Errorf(format string, args ...any) {
	c.list = append(c.list, fmt.Sprintf(format, args...))
}
func (c *complaints) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func TestCheckLogFindsWhatIsWrong(t *testing.T) {
	const id = 1
	message := func(seq, updated int64, change ...func(*chat.Message)) write {
		m := chat.Message{Chat: id, Seq: seq, UpdatedSeq: updated, Sender: 1, Content: "hi", CreatedAt: someTime(0)}
		for _, c := range change {
			c(&m)
		}
		return func(tx chat.Tx) error { return tx.PutMessage(m) }
	}
	participant := func(p chat.Participant) write {
		p.Chat, p.Role = id, chat.RoleMember
		return func(tx chat.Tx) error { return tx.PutParticipant(p) }
	}
	row := func(last, updated int64) write {
		return func(tx chat.Tx) error {
			c, err := tx.Chat(id)
			if err != nil {
				return err
			}
			c.LastSeq, c.UpdatedSeq = last, updated
			return tx.PutChat(c)
		}
	}
	for _, c := range []struct {
		name string
		puts []write
		want string // empty: nothing is wrong
	}{
		{"a sound log", []write{message(4, 6), message(5, 5), row(6, 1)}, ""},
		{"a renamed chat hides numbers", []write{message(6, 6), row(7, 7)}, ""},
		{"an edit that was edited again hides a number", []write{message(4, 7), message(5, 5), row(7, 1)}, ""},
		{"somebody who came back hides numbers", []write{participant(chat.Participant{User: 3, JoinedSeq: 7, UpdatedSeq: 7}), message(5, 5), row(7, 1)}, ""},
		{"a hole", []write{message(4, 4), message(6, 6), row(6, 1)}, "nobody has number 5"},
		{"a hole above an edit", []write{message(4, 5), message(7, 7), row(7, 1)}, "nobody has number 6"},
		{"a hole before an edited message", []write{message(5, 6), row(6, 1)}, "nobody has number 4"},
		{"a number taken twice", []write{message(4, 5), message(5, 5), row(5, 1)}, "message 4 and message 5 both have number 5"},
		{"a number of a participant's", []write{message(3, 3), row(3, 1)}, "participant 3 and message 3 both have number 3"},
		{"a number of the chat's", []write{message(4, 4), row(4, 4)}, "the chat and message 4 both have number 4"},
		{"last_seq too high", []write{message(4, 4), row(5, 1)}, "last_seq is 5 and the latest change 4"},
		{"last_seq too low", []write{message(4, 4)}, "has number 4 of 1..3"},
		{"an unknown sender", []write{message(4, 4, func(m *chat.Message) { m.Sender = 9 }), row(4, 1)}, "the sender has never been in the chat"},
		{"a reply to nothing", []write{message(4, 4, func(m *chat.Message) { m.ReplyTo = 3 }), row(4, 1)}, "there is no such message before it"},
		{"a reply to itself", []write{message(4, 4, func(m *chat.Message) { m.ReplyTo = 4 }), row(4, 1)}, "there is no such message before it"},
		{"a deleted message with content", []write{message(4, 5, func(m *chat.Message) { m.DeletedAt = someTime(1) }), row(5, 1)}, "is deleted and has content"},
		{"a read mark beyond the end", []write{participant(chat.Participant{User: 3, JoinedSeq: 3, UpdatedSeq: 3, ReadSeq: 9})}, "ReadSeq:9"},
		{"left before joined", []write{participant(chat.Participant{User: 3, JoinedSeq: 4, LeftSeq: 3, UpdatedSeq: 4}), row(4, 1)}, "LeftSeq:3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBox(t, openMemory)
			users := b.users(3)
			b.group(users[0], users[1], users[2])
			b.do(c.puts...)
			found := &complaints{}
			CheckLog(found, b.store)
			all := strings.Join(found.list, "\n")
			if c.want == "" && all != "" || !strings.Contains(all, c.want) {
				t.Errorf("got %q, want %q", all, c.want)
			}
		})
	}
}
