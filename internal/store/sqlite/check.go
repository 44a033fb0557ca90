package sqlite

import (
	"context"
	"fmt"
	"strings"

	"github.com/grima-chat/grima/internal/chat"
)

// checks are queries that find nothing in a sound database: each row they give
// names something wrong.
var checks = []struct{ wrong, sql string }{
	{"the position of a chat is not that of its latest change", `
SELECT chat_id FROM chats c WHERE last_seq <> max(updated_seq,
  ifnull((SELECT max(seq) FROM messages m WHERE m.chat_id = c.chat_id), 0),
  ifnull((SELECT max(updated_seq) FROM messages m WHERE m.chat_id = c.chat_id AND updated_seq > seq), 0),
  ifnull((SELECT max(updated_seq) FROM participants p WHERE p.chat_id = c.chat_id), 0))`},
	{"two changes of a chat have one position", `
SELECT chat_id FROM (
  SELECT chat_id, updated_seq AS at FROM messages
  UNION ALL SELECT chat_id, updated_seq FROM participants
  UNION ALL SELECT chat_id, updated_seq FROM chats WHERE updated_seq > 1 -- 1 is also its creator's
) GROUP BY chat_id, at HAVING count(*) > 1`},
	{"a message belongs to no chat", `
SELECT DISTINCT chat_id FROM messages WHERE chat_id NOT IN (SELECT chat_id FROM chats)`},
	{"a participant belongs to no chat", `
SELECT DISTINCT chat_id FROM participants WHERE chat_id NOT IN (SELECT chat_id FROM chats)`},
	{"a client_msg_id leads to no message of its sender's", `
SELECT s.chat_id FROM sent s LEFT JOIN messages m ON m.chat_id = s.chat_id AND m.seq = s.seq
WHERE m.sender_id IS NOT s.sender_id`},
	{"a mention leads to no message that has it", `
SELECT n.chat_id FROM mentions n LEFT JOIN messages m ON m.chat_id = n.chat_id AND m.seq = n.seq
WHERE NOT ifnull(CASE n.user_id WHEN 0 THEN m.mention_all
  ELSE EXISTS (SELECT 1 FROM json_each(m.mentions) WHERE value = n.user_id) END, 0)`},
	{"a deleted message still has content", `
SELECT chat_id FROM messages WHERE deleted_at IS NOT NULL AND (content <> '' OR mentions IS NOT NULL OR mention_all)`},
	{"a long content belongs to no message without content", `
SELECT l.chat_id FROM long_contents l LEFT JOIN messages m ON m.chat_id = l.chat_id AND m.seq = l.seq
WHERE m.content IS NOT '' OR m.deleted_at IS NOT NULL`},
	{"a change stamp is above the counter", `
SELECT chat_id FROM chats WHERE stamp > (SELECT value FROM counters WHERE name = 'stamp')
UNION SELECT chat_id FROM participants WHERE stamp > (SELECT value FROM counters WHERE name = 'stamp')`},
	{"a user has an avatar that is not there", `
SELECT user_id FROM users u WHERE avatar <> ifnull((SELECT hash FROM avatars a WHERE a.user_id = u.user_id), '')`},
	{"an avatar belongs to no user", `
SELECT user_id FROM avatars WHERE user_id NOT IN (SELECT user_id FROM users)`},
	{"a user is not found by their username", `
SELECT user_id FROM users WHERE user_id NOT IN (SELECT user_id FROM user_words)`},
	{"a word finds no user", `
SELECT user_id FROM user_words WHERE user_id NOT IN (SELECT user_id FROM users)`},
	{"a chat has a number that was not given out yet", `
SELECT chat_id FROM chats WHERE chat_id > (SELECT value FROM counters WHERE name = 'chat')`},
}

// Check reads the whole database and says what is wrong with it; nil: nothing.
// It may take long, and goes on beside everything else.
func (s *Store) Check(ctx context.Context) error {
	return s.View(ctx, func(r chat.Reader) error {
		c := r.(*reader).c
		found, err := c.texts("PRAGMA quick_check(10)")
		if err != nil {
			return readError(ctx, "check the file", err)
		}
		if len(found) != 1 || found[0] != "ok" {
			return fmt.Errorf("the database is damaged: %s", strings.Join(found, "; "))
		}
		for _, check := range checks {
			rows, err := c.texts(check.sql + " LIMIT 10")
			if err != nil {
				return readError(ctx, "check that not "+check.wrong, err)
			}
			if len(rows) > 0 {
				return fmt.Errorf("the database is inconsistent: %s: %s", check.wrong, strings.Join(rows, ", "))
			}
		}
		return nil
	})
}

// texts gives the first column of a query that is asked rarely.
func (c *conn) texts(sql string) ([]string, error) {
	s, _, err := c.db.Prepare(sql)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var list []string
	for s.Step() {
		list = append(list, s.ColumnText(0))
	}
	return list, s.Err()
}
