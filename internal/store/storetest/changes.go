package storetest

import (
	"errors"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// The least of the rules that makes logs worth storing: each function gives the
// Run of an update that takes the chat's next number, as the real ones do. They
// look at nothing but what they need to stay consistent.

type write = func(chat.Tx) error

// change gives the chat's next number to what row puts.
func change(id chat.ChatID, row func(tx chat.Tx, c *chat.Chat) error) write {
	return func(tx chat.Tx) error {
		c, err := tx.Chat(id)
		if err != nil {
			return err
		}
		c.LastSeq++
		if err := row(tx, &c); err != nil {
			return err
		}
		return tx.PutChat(c)
	}
}

// create makes c with its creator and further members, and sets its ID.
func create(c *chat.Chat, others ...chat.UserID) write {
	return func(tx chat.Tx) error {
		id, err := tx.NewChatID()
		if err != nil {
			return err
		}
		c.ID, c.UpdatedSeq, c.LastSeq = id, 1, 1+int64(len(others))
		if err := tx.PutChat(*c); err != nil {
			return err
		}
		first := chat.Participant{Chat: id, User: c.CreatedBy, Role: chat.RoleOwner, JoinedSeq: 1, UpdatedSeq: 1}
		if err := tx.PutParticipant(first); err != nil {
			return err
		}
		for i, u := range others {
			seq := int64(i) + 2
			p := chat.Participant{Chat: id, User: u, Role: chat.RoleMember, JoinedSeq: seq, UpdatedSeq: seq}
			if err := tx.PutParticipant(p); err != nil {
				return err
			}
		}
		return nil
	}
}

// send puts m at the end of its chat; Seq need not be set. With a key, a second
// send puts nothing.
func send(m chat.Message, key string) write {
	return func(tx chat.Tx) error {
		if key != "" {
			_, err := tx.Sent(m.Sender, key)
			if err == nil {
				return nil
			}
			if !errors.Is(err, chat.ErrNotFound) {
				return err
			}
		}
		return change(m.Chat, func(tx chat.Tx, c *chat.Chat) error {
			m := m
			m.Seq, m.UpdatedSeq = c.LastSeq, c.LastSeq
			if key != "" {
				s := chat.Sent{Sender: m.Sender, ClientMsgID: key, Chat: m.Chat, Seq: m.Seq, CreatedAt: m.CreatedAt}
				if err := tx.PutSent(s); err != nil {
					return err
				}
			}
			return tx.PutMessage(m)
		})(tx)
	}
}

func changeMessage(id chat.ChatID, seq int64, set func(*chat.Message)) write {
	return change(id, func(tx chat.Tx, c *chat.Chat) error {
		m, err := tx.Message(id, seq)
		if err != nil {
			return err
		}
		if !m.DeletedAt.IsZero() { // that is the end of it
			return chat.ErrNotFound
		}
		set(&m)
		m.UpdatedSeq = c.LastSeq
		return tx.PutMessage(m)
	})
}

func edit(id chat.ChatID, seq int64, content string, at time.Time, all bool, mentions ...chat.UserID) write {
	return changeMessage(id, seq, func(m *chat.Message) {
		m.Content, m.EditedAt, m.MentionAll, m.Mentions = content, at, all, mentions
	})
}

func erase(id chat.ChatID, seq int64, at time.Time) write {
	return changeMessage(id, seq, func(m *chat.Message) {
		m.Content, m.DeletedAt, m.MentionAll, m.Mentions = "", at, false, nil
	})
}

func rename(id chat.ChatID, title string) write {
	return change(id, func(_ chat.Tx, c *chat.Chat) error {
		c.Title, c.UpdatedSeq = title, c.LastSeq
		return nil
	})
}

// join lets user in, for the first time or again.
func join(id chat.ChatID, user chat.UserID, role chat.Role) write {
	return change(id, func(tx chat.Tx, c *chat.Chat) error {
		p, err := tx.Participant(id, user)
		if err != nil && !errors.Is(err, chat.ErrNotFound) {
			return err
		}
		p.Chat, p.User, p.Role, p.JoinedSeq, p.LeftSeq, p.UpdatedSeq = id, user, role, c.LastSeq, 0, c.LastSeq
		return tx.PutParticipant(p)
	})
}

func changeParticipant(id chat.ChatID, user chat.UserID, set func(p *chat.Participant, seq int64)) write {
	return change(id, func(tx chat.Tx, c *chat.Chat) error {
		p, err := tx.Participant(id, user)
		if err != nil {
			return err
		}
		set(&p, c.LastSeq)
		p.UpdatedSeq = c.LastSeq
		return tx.PutParticipant(p)
	})
}

// leave also stamps the leaver's own row, which is how sync tells them.
func leave(id chat.ChatID, user chat.UserID) write {
	out := changeParticipant(id, user, func(p *chat.Participant, seq int64) { p.LeftSeq = seq })
	return func(tx chat.Tx) error {
		if err := out(tx); err != nil {
			return err
		}
		p, err := tx.Participant(id, user)
		if err != nil {
			return err
		}
		return tx.PutReadMark(id, user, p.ReadSeq)
	}
}

func setRole(id chat.ChatID, user chat.UserID, role chat.Role) write {
	return changeParticipant(id, user, func(p *chat.Participant, _ int64) { p.Role = role })
}

func listed(id chat.ChatID, yes bool) write {
	return change(id, func(_ chat.Tx, c *chat.Chat) error {
		c.Listed, c.UpdatedSeq = yes, c.LastSeq
		return nil
	})
}

// notify also stamps the row, as leave does.
func notify(id chat.ChatID, user chat.UserID, level chat.Notify) write {
	return func(tx chat.Tx) error {
		p, err := tx.Participant(id, user)
		if err != nil {
			return err
		}
		p.Notify = level
		return errors.Join(tx.PutParticipant(p), tx.PutReadMark(id, user, p.ReadSeq))
	}
}

// showAvatar gives a user a picture, or with an empty hash none.
func showAvatar(user chat.UserID, hash string) write {
	return func(tx chat.Tx) error {
		u, err := tx.User(user)
		if err != nil {
			return err
		}
		u.Avatar = hash
		if hash == "" {
			return errors.Join(tx.PutUser(u), tx.DeleteAvatar(user))
		}
		return errors.Join(tx.PutUser(u), tx.PutAvatar(chat.Avatar{User: user, Hash: hash, Type: "image/png", Bytes: []byte(hash)}))
	}
}

func mark(id chat.ChatID, user chat.UserID, seq int64) write {
	return func(tx chat.Tx) error { return tx.PutReadMark(id, user, seq) }
}
