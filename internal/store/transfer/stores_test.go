package transfer_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/ncruces/go-sqlite3"
	"go.uber.org/goleak"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/pgtest"
	"github.com/grima-chat/grima/internal/store/postgres"
	"github.com/grima-chat/grima/internal/store/sqlite"
	"github.com/grima-chat/grima/internal/store/storetest"
	"github.com/grima-chat/grima/internal/store/transfer"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			os.Stderr.WriteString("goroutines are left: " + err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}

// quiet drops what stores log: here they are told to fail.
var quiet = slog.New(slog.DiscardHandler)

// place is where a store is: a directory, or the URL of a database.
type place string

func (p place) shared() bool { return strings.Contains(string(p), "://") }

func (p place) open() (chat.Store, error) {
	if p.shared() {
		return postgres.Open(context.Background(), postgres.Config{URL: string(p), Log: quiet})
	}
	return sqlite.Open(context.Background(), sqlite.Config{Dir: string(p), Log: quiet})
}

func (p place) serve(t testing.TB) chat.Store {
	t.Helper()
	s, err := p.open()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// refuses wants that no server starts there.
func (p place) refuses(t testing.TB, want string) {
	t.Helper()
	s, err := p.open()
	if err == nil {
		err = s.Close()
		t.Fatalf("%s can be served (%v)", p, err)
	}
	if !strings.Contains(err.Error(), want) {
		t.Fatalf("%s: %v, want %q", p, err, want)
	}
}

type side interface {
	transfer.Store
	Close() error
}

func (p place) source(ctx context.Context) (side, error) {
	if p.shared() {
		return postgres.OpenSource(ctx, postgres.Config{URL: string(p), Log: quiet})
	}
	return sqlite.OpenSource(ctx, sqlite.Config{Dir: string(p), Log: quiet})
}

func (p place) destination(ctx context.Context) (side, error) {
	if p.shared() {
		return postgres.OpenDestination(ctx, postgres.Config{URL: string(p), Log: quiet})
	}
	return sqlite.OpenDestination(ctx, sqlite.Config{Dir: string(p), Log: quiet})
}

// move copies, as grima copy does; wrap may stand between.
func move(ctx context.Context, from, to place, fork bool, wrap func(side) transfer.Store) (r transfer.Result, err error) {
	a, err := from.source(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	b, err := to.destination(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	var there transfer.Store = b
	if wrap != nil {
		there = wrap(b)
	}
	return transfer.Copy(ctx, transfer.Config{From: a, To: there, Fork: fork, ToName: string(to)})
}

func mustMove(t testing.TB, from, to place) transfer.Result {
	t.Helper()
	r, err := move(context.Background(), from, to, false, nil)
	if err != nil || !r.Finished {
		t.Fatalf("copy %s to %s: %+v, %v", from, to, r, err)
	}
	return r
}

// moving is a store that goes to another place each time it is restarted: from
// SQLite to PostgreSQL, from there to SQLite, and back to the first two, which
// have an older state then.
type moving struct {
	chat.Store
	at     int
	places []place
}

// Everything that can be read, old positions of sync among it, is the same after
// random moves between random updates, and what went there and back is the same
// byte for byte.
func TestRandomMoves(t *testing.T) {
	if err := flag.Set("rapid.checks", "8"); err != nil { // each with a database of its own
		t.Fatal(err)
	}
	storetest.RunRandom(t,
		func(t testing.TB) chat.Store {
			m := &moving{places: []place{place(t.TempDir()), place(pgtest.New(t)), place(t.TempDir())}}
			m.Store = m.places[0].serve(t)
			return m
		},
		func(t testing.TB, old chat.Store) chat.Store {
			m := old.(*moving)
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			n := len(m.places)
			from, via, to := m.places[m.at], m.places[(m.at+1)%n], m.places[(m.at+2)%n]
			there := mustMove(t, from, via)
			from.refuses(t, "it was moved to")
			back := mustMove(t, via, to)
			if there.Digest.String() != back.Digest.String() {
				t.Fatalf("%s became %s on its way back", there.Digest, back.Digest)
			}
			m.at = (m.at + 2) % n
			m.Store = to.serve(t)
			return m
		})
}

// What a list of columns forgets is not copied: it has to name everything that
// each schema has.
func TestEveryColumnIsCopied(t *testing.T) {
	listed := map[string][]string{}
	for _, table := range transfer.Tables {
		for i, c := range table.Columns {
			kind := map[transfer.Kind]string{transfer.Int: "int", transfer.Bool: "bool", transfer.Text: "text", transfer.Bytes: "bytes", transfer.ClientMsgID: "key"}[c.Kind]
			if i < table.Keys {
				kind += fmt.Sprint(" key ", i+1)
			}
			listed[table.Name] = append(listed[table.Name], c.Name+" "+kind)
		}
		if table.Unique {
			listed[table.Name] = append(listed[table.Name], "unique")
		}
		slices.Sort(listed[table.Name])
	}
	check := func(t *testing.T, schema map[string][]string, counters, facts []string) {
		t.Helper()
		for name, columns := range schema {
			slices.Sort(columns)
			if slices.Contains(transfer.Own, name) {
				continue
			}
			if !slices.Equal(columns, listed[name]) {
				t.Errorf("the schema's table %s has\n%q\nwhat is copied\n%q", name, columns, listed[name])
			}
		}
		for name := range listed {
			if schema[name] == nil {
				t.Errorf("the schema has no table %s", name)
			}
		}
		slices.Sort(counters)
		if want := transfer.Counters; !slices.Equal(counters, want) {
			t.Errorf("the counters are %q, those that are copied %q", counters, want)
		}
		for _, name := range facts { // what others there are would have to come along in Facts
			if !slices.Contains([]string{"epoch", "version", "home", "stamp_offset"}, name) {
				t.Errorf("the table meta has %s, of which the copy knows nothing", name)
			}
		}
	}

	t.Run("sqlite", func(t *testing.T) {
		dir := t.TempDir()
		if err := place(dir).serve(t).Close(); err != nil {
			t.Fatal(err)
		}
		db, err := sqlite3.Open(filepath.Join(dir, "grima.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		query := func(sql string) (rows [][]string) {
			s, _, err := db.Prepare(sql)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for s.Step() {
				var row []string
				for i := range s.ColumnCount() {
					row = append(row, s.ColumnText(i))
				}
				rows = append(rows, row)
			}
			if err := s.Err(); err != nil {
				t.Fatal(err)
			}
			return rows
		}
		schema := map[string][]string{}
		for _, r := range query(`SELECT m.name, c.name, CASE
  WHEN m.sql LIKE '%CHECK (' || c.name || ' IN (0, 1))%' THEN 'bool'
  ELSE CASE c.type WHEN 'INTEGER' THEN 'int' WHEN 'TEXT' THEN 'text' WHEN 'BLOB' THEN 'bytes' WHEN 'ANY' THEN 'key' ELSE c.type END END
  || CASE c.pk WHEN 0 THEN '' ELSE ' key ' || c.pk END
FROM sqlite_schema m, pragma_table_xinfo(m.name) c WHERE m.type = 'table'
UNION ALL SELECT DISTINCT m.name, 'unique', '' FROM sqlite_schema m, pragma_index_list(m.name) i WHERE m.type = 'table' AND i."unique" AND i.origin <> 'pk'`) {
			schema[r[0]] = append(schema[r[0]], strings.TrimSpace(r[1]+" "+r[2]))
		}
		var counters, facts []string
		for _, r := range query(`SELECT name FROM counters WHERE name <> 'stamp'`) {
			counters = append(counters, r[0])
		}
		for _, r := range query(`SELECT name FROM meta`) {
			facts = append(facts, r[0])
		}
		check(t, schema, counters, facts)
	})
	t.Run("postgres", func(t *testing.T) {
		url := pgtest.New(t)
		if err := place(url).serve(t).Close(); err != nil {
			t.Fatal(err)
		}
		c := connect(t, url)
		query := func(sql string) (rows [][]string) {
			r, err := c.Query(t.Context(), sql)
			if err != nil {
				t.Fatal(err)
			}
			rows, err = pgx.CollectRows(r, pgx.RowTo[[]string])
			if err != nil {
				t.Fatal(err)
			}
			return rows
		}
		schema := map[string][]string{}
		for _, r := range query(`SELECT ARRAY[t.relname, CASE WHEN a.attname = 'client_msg_id' THEN 'client_msg_id key' ELSE a.attname || ' ' ||
CASE format_type(a.atttypid, a.atttypmod) WHEN 'bigint' THEN 'int' WHEN 'boolean' THEN 'bool' WHEN 'text' THEN 'text' WHEN 'bytea' THEN 'bytes' ELSE format_type(a.atttypid, a.atttypmod) END END
|| coalesce(' key ' || array_position(i.indkey::int2[], a.attnum) + 1, '')]::text[]
FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped LEFT JOIN pg_index i ON i.indrelid = t.oid AND i.indisprimary
WHERE t.relkind IN ('r', 'p') AND t.relnamespace = current_schema()::regnamespace
UNION ALL SELECT DISTINCT ARRAY[t.relname, 'unique']::text[] FROM pg_class t JOIN pg_index i ON i.indrelid = t.oid
WHERE i.indisunique AND NOT i.indisprimary AND t.relnamespace = current_schema()::regnamespace`) {
			schema[r[0]] = append(schema[r[0]], r[1])
		}
		var counters, facts []string
		for _, r := range query(`SELECT ARRAY[name] FROM counters`) {
			counters = append(counters, r[0])
		}
		for _, r := range query(`SELECT ARRAY[name] FROM meta`) {
			facts = append(facts, r[0])
		}
		check(t, schema, counters, facts)
		// There is nothing else that gives numbers out.
		if others := query(`SELECT ARRAY[relname]::text[] FROM pg_class WHERE relkind NOT IN ('r', 'i', 't') AND relnamespace = current_schema()::regnamespace`); len(others) > 0 {
			t.Errorf("the schema also has %v", others)
		}
	})
}

func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}
