package postgres

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/pgtest"
)

func TestWhatWasAckedIsThereAfterReopening(t *testing.T) {
	url := pgtest.New(t)
	s := open(t, url)
	epoch := s.Epoch()
	id := makeChat(t, s, 1, 2)
	for i := range 10 {
		if err := do(s, sendOp(id, 1, fmt.Sprint("m", i), fmt.Sprint("hello ", i), nil)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, url)
	if s.Epoch() != epoch || epoch == "" {
		t.Errorf("the epoch is %q, was %q", s.Epoch(), epoch)
	}
	if list := log(t, s, id, 3); len(list) != 10 || list[9].Content != "hello 9" {
		t.Errorf("read %d messages: %+v", len(list), list)
	}
}

// A writer that has lost its connection, and has not noticed, is not shut out by
// a copy that comes in between: the connections that read keep it away.
func TestNoCopyWhileTheWriterIsAway(t *testing.T) {
	url := pgtest.New(t)
	s := open(t, url)
	id := makeChat(t, s, 1)
	log(t, s, id, 2) // there is one
	exec(t, pgtest.Admin(t, url), fmt.Sprintf(`SELECT pg_terminate_backend(%d)`, s.writer.conn.PgConn().PID()))
	if to, err := OpenDestination(t.Context(), Config{URL: url}); err == nil {
		t.Error("a copy may write to it")
		_ = to.Close()
	}
	from, err := OpenSource(t.Context(), Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	if from.alone {
		t.Error("a copy believes that nobody writes to it")
	}
	if err := from.Close(); err != nil {
		t.Error(err)
	}
	if err := do(s, sendOp(id, 1, "", "hi", nil)); err != nil {
		t.Errorf("the server cannot go on: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	to, err := OpenDestination(t.Context(), Config{URL: url})
	if err != nil {
		t.Fatalf("and when it is closed: %v", err)
	}
	if err := to.Close(); err != nil {
		t.Error(err)
	}
}

// Nodes that are started together make one schema and one epoch.
func TestNodesOpenTogether(t *testing.T) {
	url := pgtest.New(t)
	var wg sync.WaitGroup
	stores, errs := make([]*Store, 6), make([]error, 6)
	for i := range stores {
		wg.Go(func() { stores[i], errs[i] = tryOpen(url) })
	}
	wg.Wait()
	for i, s := range stores {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if s.Epoch() != stores[0].Epoch() {
			t.Errorf("node %d has the epoch %s, node 0 %s", i, s.Epoch(), stores[0].Epoch())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A server that would lose what is acknowledged is refused, with what to do.
func TestRefusals(t *testing.T) {
	refused := func(t *testing.T, url, want string) {
		t.Helper()
		s, err := tryOpen(url)
		if err == nil {
			_ = s.Close()
			t.Fatal("it opened")
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q in it", err, want)
		}
	}
	for _, set := range []string{"fsync = off", "full_page_writes = off"} {
		t.Run(set, func(t *testing.T) {
			name, _, _ := strings.Cut(set, " ")
			refused(t, pgtest.Start(t, set).New(t), "set "+name+" = on in postgresql.conf")
		})
	}
	t.Run("newer", func(t *testing.T) {
		url := pgtest.New(t)
		if err := open(t, url).Close(); err != nil {
			t.Fatal(err)
		}
		exec(t, url, `UPDATE meta SET value = '999' WHERE name = 'version'`)
		refused(t, url, "a newer Grima")
	})
	t.Run("encoding", func(t *testing.T) {
		url := pgtest.New(t)
		conf, err := pgx.ParseConfig(url)
		if err != nil {
			t.Fatal(err)
		}
		name := conf.Database + "_latin"
		exec(t, pgtest.Admin(t, url), fmt.Sprintf(`CREATE DATABASE %s ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0 OWNER %s`, name, conf.User))
		t.Cleanup(func() { exec(t, pgtest.Admin(t, url), `DROP DATABASE `+name+` WITH (FORCE)`) })
		refused(t, strings.Replace(url, "/"+conf.Database, "/"+name, 1), "ENCODING 'UTF8'")
	})
	t.Run("another program's", func(t *testing.T) {
		url := pgtest.New(t)
		exec(t, url, `CREATE TABLE users (id int)`)
		refused(t, url, "bring the schema to version 1")
	})
	t.Run("nobody there", func(t *testing.T) {
		refused(t, "postgres://u:sesame@127.0.0.1:1/grima?sslmode=disable", "connect to PostgreSQL (is it up, and where the URL says?)")
		s, err := tryOpen("postgres://u:sesame@127.0.0.1:1/grima?sslmode=disable")
		if err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%v, %v", s, err)
		}
	})
}

// A default of the database's does not make commits unsafe.
func TestCommitsAreSynchronous(t *testing.T) {
	url := pgtest.New(t)
	conf, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, pgtest.Admin(t, url), `ALTER DATABASE `+conf.Database+` SET synchronous_commit = off`)
	s := open(t, url)
	var mode string
	mustUpdate(t, s, func(chat.Tx) error { // on the writer's goroutine, whose connection it is
		return s.writer.conn.QueryRow(t.Context(), `SHOW synchronous_commit`).Scan(&mode)
	})
	if mode != "on" {
		t.Errorf("synchronous_commit is %s", mode)
	}
}

// schema.sql is what the migrations make.
func TestSchemaIsWhatMigrationsMake(t *testing.T) {
	page, err := os.ReadFile("schema.sql")
	if err != nil {
		t.Fatal(err)
	}
	shown, made := pgtest.New(t), pgtest.New(t)
	exec(t, shown, string(page))
	if err := open(t, made).Close(); err != nil {
		t.Fatal(err)
	}
	want, got := describe(t, made), describe(t, shown)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("schema.sql differs from what the migrations make (-migrations +schema.sql):\n%s", diff)
	}
	if len(want) < 60 {
		t.Errorf("the schema has only %d parts", len(want))
	}
}

// Who is there before there are words is found by them.
func TestUpgradeFindsPeople(t *testing.T) {
	const people = 2500
	url := pgtest.New(t)
	s := open(t, url)
	mustUpdate(t, s, func(tx chat.Tx) error {
		for i := range people {
			id, err := tx.NewUserID()
			if err != nil {
				return err
			}
			if err := tx.PutUser(chat.User{ID: id, Username: fmt.Sprint("user", i), Name: "Mária Silva", Role: chat.RoleMember}); err != nil {
				return err
			}
		}
		return nil
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	exec(t, url, fmt.Sprintf(`DROP TABLE user_words; UPDATE meta SET value = '%d' WHERE name = 'version'`, userWords-1))
	s = open(t, url)
	view(t, s, func(r chat.Reader) error {
		list, _, err := r.FindUsers("maria", chat.FoundPos{}, people+1)
		if len(list) != people {
			t.Errorf("%d are found by their names, want %d", len(list), people)
		}
		if list, _, err := r.FindUsers("user2499", chat.FoundPos{}, 2); len(list) != 1 {
			t.Errorf("by the last one's username %v are found, %v", list, err)
		}
		return err
	})
}

func describe(t *testing.T, url string) (parts []string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	rows, err := c.Query(t.Context(), `
SELECT 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnum || ' ' || a.attstorage::text
  || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
  || coalesce(' collate ' || (SELECT collname FROM pg_collation WHERE oid = a.attcollation), '')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE n.nspname = 'public' AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL SELECT 'table ' || relname || ' ' || coalesce(reloptions::text, '') FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND relkind = 'r'
UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	if parts, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		t.Fatal(err)
	}
	return parts
}
