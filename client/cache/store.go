package cache

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// Load implements [client.Store]. It can be called at any time, as to show chats
// before there is a client.
func (c *Cache) Load(ctx context.Context) (st client.State, err error) {
	err = c.locked(ctx, "loading the state", func() error {
		err := c.run("SELECT name, value FROM meta", nil, func(s *sqlite3.Stmt) error {
			switch value := s.ColumnText(1); s.ColumnText(0) {
			case "user":
				st.UserID = value
			case "epoch":
				st.Epoch = value
			case "cursor":
				st.Cursor = value
			case "complete":
				st.Complete = value == "yes"
			}
			return nil
		})
		if err != nil {
			return err
		}
		if st.Chats, err = list[client.Chat](c, "SELECT state FROM chats ORDER BY chat_id"); err != nil {
			return err
		}
		st.Outbox, err = list[client.Item](c, "SELECT item FROM outbox ORDER BY ordinal")
		return err
	})
	return st, err
}

// list reads the JSON that sql gives in its first column.
func list[T any](c *Cache, sql string, args ...any) (all []T, err error) {
	err = c.run(sql, args, func(s *sqlite3.Stmt) error {
		var v T
		if err := json.Unmarshal(s.ColumnRawText(0), &v); err != nil {
			return err
		}
		all = append(all, v)
		return nil
	})
	return all, err
}

// Apply implements [client.Store].
func (c *Cache) Apply(ctx context.Context, events []client.Event) error {
	return c.locked(ctx, "keeping events", func() error {
		b := batch{c: c, states: map[string]*client.Chat{}, floors: map[string]int64{}, held: map[string]client.Ranges{}}
		if err := c.transact(func() error {
			for _, ev := range events {
				if err := b.apply(ev); err != nil {
					return err
				}
			}
			return b.end()
		}); err != nil {
			return err
		}
		for id, r := range b.held {
			if len(r) == 0 {
				delete(c.held, id)
			} else {
				c.held[id] = r
			}
		}
		return nil
	})
}

// batch is an Apply under way: what is written once at its end.
type batch struct {
	c      *Cache
	states map[string]*client.Chat // nil: the chat is gone
	floors map[string]int64
	held   map[string]client.Ranges
}

func (b *batch) apply(ev client.Event) error {
	c := b.c
	switch ev.Kind {
	case client.Reset:
		for _, sql := range []string{
			"DELETE FROM chats", "DELETE FROM messages", "DELETE FROM held",
			"DELETE FROM meta WHERE name IN ('cursor', 'complete')",
		} {
			if err := c.exec(sql); err != nil {
				return err
			}
		}
		clear(b.states)
		clear(b.floors)
		clear(b.held)
		for id := range c.held {
			b.held[id] = nil
		}
		return c.setMeta("epoch", ev.Epoch)
	case client.CursorMoved:
		if ev.Cursor == "" {
			return c.setMeta("user", ev.UserID)
		}
		complete := "no"
		if ev.Complete {
			complete = "yes"
		}
		for name, value := range map[string]string{"user": ev.UserID, "epoch": ev.Epoch, "cursor": ev.Cursor, "complete": complete} {
			if err := c.setMeta(name, value); err != nil {
				return err
			}
		}
		return nil
	case client.OutboxChanged:
		return c.putItem(*ev.Outbox, false)
	case client.UserChanged:
		return c.putUser(*ev.User)
	case client.ChatAdded:
		if err := b.forget(ev.ChatID); err != nil {
			return err
		}
		b.floors[ev.ChatID] = ev.State.Pos
	case client.Skipped:
		if err := b.forget(ev.ChatID); err != nil {
			return err
		}
		b.floors[ev.ChatID] = ev.Seq
	case client.ChatRemoved:
		b.states[ev.ChatID] = nil
		return b.forget(ev.ChatID)
	}
	if ev.State == nil {
		return nil
	}
	b.states[ev.ChatID] = ev.State
	if ev.Seq == 0 || ev.Kind == client.Skipped {
		return nil
	}
	r := b.ranges(ev.ChatID)
	r.Add(ev.PrevSeq+1, ev.Seq)
	b.held[ev.ChatID] = r
	if ev.Message != nil {
		return c.putMessage(*ev.Message)
	}
	return nil
}

// ranges is what is held of a chat, for the batch to change.
func (b *batch) ranges(chatID string) client.Ranges {
	if r, ok := b.held[chatID]; ok {
		return r
	}
	return append(client.Ranges(nil), b.c.held[chatID]...)
}

// forget drops a chat's history.
func (b *batch) forget(chatID string) error {
	b.held[chatID] = nil
	return b.c.exec("DELETE FROM messages WHERE chat_id = ?", chatID)
}

// end writes how the chats stand.
func (b *batch) end() error {
	for id, st := range b.states {
		if st == nil {
			if err := b.c.exec("DELETE FROM chats WHERE chat_id = ?", id); err != nil {
				return err
			}
			continue
		}
		text, err := json.Marshal(st)
		if err != nil {
			return fmt.Errorf("encoding a chat: %w", err)
		}
		if err := b.c.exec(`INSERT INTO chats (chat_id, floor, state) VALUES (?1, ?2, ?3)
			ON CONFLICT (chat_id) DO UPDATE SET floor = max(floor, excluded.floor), state = excluded.state`, id, b.floors[id], text); err != nil {
			return err
		}
	}
	for id, r := range b.held {
		if err := b.c.putHeld(id, r); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cache) putHeld(chatID string, r client.Ranges) error {
	if err := c.exec("DELETE FROM held WHERE chat_id = ?", chatID); err != nil {
		return err
	}
	for _, x := range r {
		if err := c.exec("INSERT INTO held (chat_id, lo, hi) VALUES (?, ?, ?)", chatID, x.From, x.To); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cache) loadHeld() error {
	c.held = map[string]client.Ranges{}
	return c.run("SELECT chat_id, lo, hi FROM held ORDER BY chat_id, lo", nil, func(s *sqlite3.Stmt) error {
		id := s.ColumnText(0)
		c.held[id] = append(c.held[id], client.Range{From: s.ColumnInt64(1), To: s.ColumnInt64(2)})
		return nil
	})
}

func (c *Cache) setMeta(name, value string) error {
	return c.exec("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
}

// putMessage keeps m if it is newer than what is kept.
func (c *Cache) putMessage(m protocol.Message) error {
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding a message: %w", err)
	}
	return c.exec(`INSERT INTO messages (chat_id, seq, updated_seq, row, folded) VALUES (?1, ?2, ?3, ?4, ?5)
		ON CONFLICT (chat_id, seq) DO UPDATE SET updated_seq = excluded.updated_seq, row = excluded.row, folded = excluded.folded
		WHERE messages.updated_seq < excluded.updated_seq`, m.ChatID, m.Seq, m.UpdatedSeq, text, fold(m.Content))
}

// Put implements [client.Store].
func (c *Cache) Put(ctx context.Context, item client.Item) error {
	return c.locked(ctx, "keeping a message to send", func() error { return c.putItem(item, true) })
}

// putItem keeps how an item stands; one that is not kept only if it is fresh:
// otherwise it was dropped.
func (c *Cache) putItem(item client.Item, fresh bool) error {
	if item.Progress == client.Sent || item.Progress == client.Discarded {
		return c.exec("DELETE FROM outbox WHERE id = ?", item.ID)
	}
	text, err := json.Marshal(item)
	if err != nil {
		return fmt.Errorf("encoding a message: %w", err)
	}
	if fresh {
		// REPLACE: one that is there already goes behind the others.
		return c.exec("REPLACE INTO outbox (ordinal, id, item) VALUES ((SELECT coalesce(max(ordinal), 0) + 1 FROM outbox), ?, ?)", item.ID, text)
	}
	return c.exec("UPDATE outbox SET item = ?2 WHERE id = ?1", item.ID, text)
}

// Drop implements [client.Store].
func (c *Cache) Drop(ctx context.Context, id string) error {
	return c.locked(ctx, "dropping a message to send", func() error { return c.exec("DELETE FROM outbox WHERE id = ?", id) })
}

// Users implements [client.Directory]: the people that were looked up, of these
// ids; none: all.
func (c *Cache) Users(ctx context.Context, ids ...string) (users []protocol.User, err error) {
	err = c.locked(ctx, "reading people", func() error {
		if len(ids) == 0 {
			users, err = list[protocol.User](c, "SELECT row FROM users ORDER BY user_id")
			return err
		}
		for _, id := range ids {
			found, err := list[protocol.User](c, "SELECT row FROM users WHERE user_id = ?", id)
			if err != nil {
				return err
			}
			users = append(users, found...)
		}
		return nil
	})
	return users, err
}

// PutUsers implements [client.Directory].
func (c *Cache) PutUsers(ctx context.Context, users ...protocol.User) error {
	return c.locked(ctx, "keeping people", func() error {
		return c.transact(func() error {
			for _, u := range users {
				if err := c.putUser(u); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func (c *Cache) putUser(u protocol.User) error {
	text, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("encoding a user: %w", err)
	}
	return c.exec("INSERT INTO users (user_id, row) VALUES (?, ?) ON CONFLICT (user_id) DO UPDATE SET row = excluded.row", u.UserID, text)
}
