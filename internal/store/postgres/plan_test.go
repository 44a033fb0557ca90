package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/pgtest"
)

// planOf is how a view carries a statement out once there are these rows. prepare
// gives it a name and its parameters types, execute gives them values.
func planOf(t *testing.T, rows, prepare, execute string) string {
	t.Helper()
	url := pgtest.New(t)
	open(t, url)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{ctx: t.Context(), conn: conn}
	for name, value := range viewSettings() {
		if err := r.send(ask(`SELECT set_config($1, $2, false)`, name, value)); err != nil {
			t.Fatal(err)
		}
	}
	var plan strings.Builder
	explain := ask(`EXPLAIN EXECUTE ` + execute)
	explain.row = func(c *columns) error {
		plan.WriteString(c.Text() + "\n")
		return nil
	}
	for _, q := range []query{ask(rows), ask(`ANALYZE`), ask(`PREPARE ` + prepare), explain} {
		if err := r.send(q); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return plan.String()
}

// What a hint costs must not grow with the chat, nor with the store.
func TestTailsGoByIndexes(t *testing.T) {
	plan := planOf(t, `INSERT INTO messages (chat_id, seq, updated_seq, sender_id, content, mention_all, created_at)
SELECT c, s, CASE WHEN s % 20 = 0 THEN s + 1000 ELSE s END, 1, 'hi', false, 0 FROM generate_series(1, 10) c, generate_series(1, 3000) s`,
		`tails (bigint[], bigint[], bigint) AS `+selTails, `tails (ARRAY[1, 2]::bigint[], ARRAY[3, 4]::bigint[], 51)`)
	for _, want := range []string{"chats_pkey", "messages_pkey", "messages_by_change", "participants_by_change"} {
		if !strings.Contains(plan, want) {
			t.Errorf("%s is not used:\n%s", want, plan)
		}
	}
	for _, no := range []string{"Seq Scan", "Join Filter"} {
		if strings.Contains(plan, no) {
			t.Errorf("there is a %s:\n%s", no, plan)
		}
	}
}

// Who looks for people by their names has those of that name looked at. The order
// of the page once led through everybody by their ids, for as long as few had it.
func TestPrefixesGoByNames(t *testing.T) {
	plan := planOf(t, `INSERT INTO users (user_id, username, name, role, bot, disabled, password_hash, created_at, hides_presence, status, avatar)
SELECT n, 'user' || n, 'User', 'member', false, false, '', 0, false, '', '' FROM generate_series(1, 50000) n`,
		`people (text, text, bigint, bigint) AS `+selUsersPrefix, `people ('zo', 'zp', 0, 51)`)
	if !strings.Contains(plan, "users_username_key") || strings.Contains(plan, "users_pkey") || strings.Contains(plan, "Seq Scan") {
		t.Errorf("it does not go by names alone:\n%s", plan)
	}
}

// So do those who are looked for by a word, however many have it.
func TestFindingGoesByWords(t *testing.T) {
	plan := planOf(t, `WITH u AS (INSERT INTO users (user_id, username, name, role, bot, disabled, password_hash, created_at, hides_presence, status, avatar)
SELECT n, 'user' || n, 'Maria', 'member', false, false, '', 0, false, '', '' FROM generate_series(1, 50000) n RETURNING user_id, username)
INSERT INTO user_words (word, user_id) SELECT 'maria', user_id FROM u UNION ALL SELECT username, user_id FROM u`,
		`people (text, bigint, text, bigint) AS `+selFound, `people ('mar', 0, 'mas', 51)`)
	if !strings.Contains(plan, "user_words_pkey") || !strings.Contains(plan, "users_pkey") || strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "Sort") {
		t.Errorf("it does not go by words, and by nothing else:\n%s", plan)
	}
}

// A View that begins with Tails has no transaction, and so nothing more to read;
// its connection is good for the next one.
func TestNothingIsReadBehindTails(t *testing.T) {
	s := open(t, pgtest.New(t))
	id := makeChat(t, s, 1, 2)
	for range 20 { // more often than there are connections
		err := s.View(t.Context(), func(r chat.Reader) error {
			tails, err := r.Tails([]chat.Position{{Chat: id}}, 10)
			if err != nil || len(tails) != 1 || len(tails[0].Participants) != 2 {
				t.Errorf("%+v, %v", tails, err)
			}
			_, err = r.Chat(id)
			return err
		})
		if !errors.Is(err, errAlone) {
			t.Fatalf("reading on: %v", err)
		}
		view(t, s, func(r chat.Reader) error {
			_, err := r.Chat(id)
			return err
		})
	}
}
