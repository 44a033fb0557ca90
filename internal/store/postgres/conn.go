package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// Statements and locks that take longer than these have gone wrong.
	statementTimeout = 10 * time.Second
	viewTimeout      = 30 * time.Second
	lockTimeout      = 5 * time.Second
	// idleInTransaction is after what silence the server ends a writer's
	// transaction, its locks and its hold on LastStamp: that of a node that was
	// frozen, or is cut off. Such a node comes back to a closed connection, and
	// begins again from what is stored then.
	idleInTransaction = 3 * time.Second
	// connectTimeout is for the TCP connection, TLS and login, unless the URL
	// says otherwise.
	connectTimeout = 3 * time.Second
	// answerTimeout is how long an answer may take, beyond which the connection
	// is given up: longer than the server lets any statement run.
	answerTimeout = statementTimeout + 2*time.Second

	leastVersion = 14 // with pg_current_xact_id and xid8
)

// parse reads a postgres:// URL (or a libpq connection string) and adds what
// every connection of ours has.
func parse(url string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "grima"
	}
	return cfg, nil
}

// settings are for the session. Every query of ours goes by an index, whatever
// the planner thinks of a table that was empty when it looked.
func settings(statement, idle time.Duration) map[string]string {
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	return map[string]string{
		"statement_timeout":                   ms(statement),
		"lock_timeout":                        ms(lockTimeout),
		"idle_in_transaction_session_timeout": ms(idle),
		"enable_seqscan":                      "off",
		"enable_hashjoin":                     "off",
		"enable_mergejoin":                    "off",
		"jit":                                 "off",
	}
}

// viewSettings are for a connection that views read with. A plan is made once:
// for a statement that takes lists, the planner would take a new one for each
// length to be worth its while, which costs more than the reading.
func viewSettings() map[string]string {
	set := settings(viewTimeout, viewTimeout)
	set["plan_cache_mode"] = "force_generic_plan"
	return set
}

// server is what a connection finds at the other end.
type server struct {
	version, encoding, fsync, fullPageWrites, commits string

	standby bool
	// home tells histories apart that may have parted: the cluster, its timeline
	// (a standby that took over has a new one, as has a cluster that was restored
	// to a moment), the database, and the table that says so (a dump that was
	// loaded made it anew). Empty if there is no table yet.
	home string
}

const selServer = `SELECT current_setting('server_version_num'), current_setting('server_encoding'), current_setting('fsync'),
current_setting('full_page_writes'), current_setting('synchronous_commit'), pg_is_in_recovery(),
coalesce((SELECT system_identifier FROM pg_control_system()) || '/' ||
CASE WHEN pg_is_in_recovery() THEN '' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END || '/' ||
(SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || to_regclass('meta')::oid, '')`

// look sees that a server can keep our promises, and makes the session ready.
func look(ctx context.Context, c *pgx.Conn, set map[string]string) (s server, err error) {
	r := &reader{ctx: ctx, conn: c}
	q := ask(selServer)
	q.row = func(v *columns) error {
		s = server{v.Text(), v.Text(), v.Text(), v.Text(), v.Text(), v.Bool(), v.Text()}
		return nil
	}
	queries := []query{q}
	for name, value := range set {
		queries = append(queries, ask(`SELECT set_config($1, $2, false)`, name, value))
	}
	if err := r.send(queries...); err != nil {
		return s, fmt.Errorf("look at the server: %w", err)
	}
	if err := s.check(); err != nil {
		return s, err
	}
	switch s.commits {
	case "on", "remote_apply":
	default: // for this session, whatever the server's default is
		return s, r.send(ask(`SELECT set_config('synchronous_commit', 'on', false)`))
	}
	return s, nil
}

// errStandby passes: a standby may become the primary, or the next name of the
// URL be it.
var errStandby = errors.New("this PostgreSQL is a standby, which cannot be written to; name the primary, or all servers and target_session_attrs=read-write, in --store")

func (s server) check() error {
	switch v, err := strconv.Atoi(s.version); {
	case err != nil:
		return ended{fmt.Errorf("the server calls its version %q: %w", s.version, err)}
	case v < leastVersion*10000:
		return ended{fmt.Errorf("PostgreSQL %d is too old: Grima needs %d or newer", v/10000, leastVersion)}
	case s.encoding != "UTF8":
		return ended{fmt.Errorf("the database's encoding is %s: make one with CREATE DATABASE grima ENCODING 'UTF8' TEMPLATE template0", s.encoding)}
	case s.fsync != "on":
		return ended{errors.New("PostgreSQL runs with fsync = off, and a power cut would lose what was acknowledged: " +
			"set fsync = on in postgresql.conf and reload it (SELECT pg_reload_conf())")}
	case s.fullPageWrites != "on":
		return ended{errors.New("PostgreSQL runs with full_page_writes = off, and a power cut could damage it: " +
			"set full_page_writes = on in postgresql.conf and reload it (SELECT pg_reload_conf())")}
	case s.standby:
		return errStandby
	}
	return nil
}

// connect makes a connection that is ready.
func connect(ctx context.Context, cfg *pgx.ConnConfig, set map[string]string) (*pgx.Conn, server, error) {
	c, err := pgx.ConnectConfig(ctx, cfg.Copy())
	if err != nil {
		hint := ""
		if _, spoke := errors.AsType[*pgconn.PgError](err); !spoke {
			hint = " (is it up, and where the URL says?)"
		}
		return nil, server{}, fmt.Errorf("connect to PostgreSQL%s: %w", hint, err)
	}
	s, err := look(ctx, c, set)
	if err != nil {
		return nil, s, errors.Join(err, ignore(drop(c)))
	}
	return c, s, nil
}

// drop closes a connection without waiting for anything.
func drop(c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return c.Close(ctx)
}

// committed says whether the answer to COMMIT was that it happened.
func committed(tag pgconn.CommandTag) bool { return tag.String() == "COMMIT" }
