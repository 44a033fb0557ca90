// Package pgtest gives tests a PostgreSQL of their own: a cluster in a temporary
// directory, reached by a socket in it, run by a user that is not root. Each
// test binary has one, and each test a database in it. GRIMA_TEST_POSTGRES names
// a server to use instead, by the URL of a user who may create databases.
//
// Where there is no PostgreSQL, tests are skipped; with CI set they fail.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Main runs a package's tests and stops what they started: for TestMain.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
func Main(m *testing.M) int {
	defer shared.stop()
	return m.Run()
}

// shared is the cluster of this test binary, started by the first test that
// wants a database.
var shared lazy

type lazy struct {
	once sync.Once
	c    *Cluster
	err  error
}

func (l *lazy) stop() {
	if l.c != nil {
		l.c.stop()
	}
}

var databases atomic.Int64

// New makes an empty database for a test, and gives its URL. It is dropped with
// the cluster, or at the end of the test on a server of somebody else's.
func New(t testing.TB) string {
	t.Helper()
	if server := os.Getenv("GRIMA_TEST_POSTGRES"); server != "" {
		return create(t, server, true)
	}
	shared.once.Do(func() { shared.c, shared.err = start() })
	if shared.err != nil {
		unavailable(t, shared.err)
	}
	return create(t, shared.c.admin(), false)
}

// ErrMissing says that PostgreSQL is not installed.
var ErrMissing = errors.New("there is no PostgreSQL here; `make tools` installs it, or set GRIMA_TEST_POSTGRES=postgres://... to one")

func unavailable(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	t.Fatal(err)
}

// role is who owns the databases: nobody special.
const role = "grima_test"

func create(t testing.TB, server string, drop bool) string {
	t.Helper()
	ctx := context.Background()
	database, name, err := makeDatabase(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	if drop {
		t.Cleanup(func() {
			c, err := pgx.Connect(ctx, server)
			if err != nil {
				t.Errorf("connect to PostgreSQL: %v", err)
				return
			}
			defer c.Close(ctx)
			if _, err := c.Exec(ctx, `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
				t.Errorf("drop the test's database: %v", err)
			}
		})
	}
	return database
}

// makeDatabase makes an empty database, and gives its URL and its name.
func makeDatabase(ctx context.Context, server string) (database, name string, err error) {
	c, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", "", fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	name = fmt.Sprintf("grima_test_%d_%d", os.Getpid(), databases.Add(1))
	for _, sql := range []string{
		`DO $$ BEGIN CREATE ROLE ` + role + ` LOGIN PASSWORD 'grima'; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$`,
		`CREATE DATABASE ` + name + ` OWNER ` + role + ` TEMPLATE template0 ENCODING 'UTF8'`,
	} {
		if _, err := c.Exec(ctx, sql); err != nil {
			return "", "", fmt.Errorf("%s: %w", sql, err)
		}
	}
	u, err := url.Parse(server)
	if err != nil {
		return "", "", err
	}
	u.User, u.Path = url.UserPassword(role, "grima"), "/"+name
	return u.String(), name, nil
}

// Cluster is a PostgreSQL that a test may stop and start.
type Cluster struct {
	bin, dir string
	owner    *syscall.Credential // nil: ourselves
	cmd      *exec.Cmd
	exited   chan error
	log      bytes.Buffer
}

// Start starts a cluster for one test, with these settings of postgresql.conf
// besides. A server of somebody else's cannot be used for such a test.
func Start(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	c, err := start(settings...)
	if err != nil {
		unavailable(t, err)
	}
	t.Cleanup(c.stop)
	return c
}

// Open starts a cluster for a program that is no test, which ends it by Close.
func Open(settings ...string) (*Cluster, error) { return start(settings...) }

// Close ends a cluster of Open's and removes what it kept.
func (c *Cluster) Close() { c.stop() }

// Database makes an empty database in the cluster, and gives its URL.
func (c *Cluster) Database(ctx context.Context) (string, error) {
	database, _, err := makeDatabase(ctx, c.admin())
	return database, err
}

// Pid is the process that the cluster's others are children of; 0 while it is
// stopped.
func (c *Cluster) Pid() int {
	if c.cmd == nil {
		return 0
	}
	return c.cmd.Process.Pid
}

// New makes an empty database in the cluster, and gives its URL.
func (c *Cluster) New(t testing.TB) string { return create(t, c.admin(), false) }

// Socket is where the server listens.
func (c *Cluster) Socket() string { return filepath.Join(c.dir, ".s.PGSQL.5432") }

// Superuser is the URL of one, who may do anything to the cluster.
func (c *Cluster) Superuser() string { return c.admin() }

func (c *Cluster) admin() string {
	return (&url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/postgres", RawQuery: url.Values{"host": {c.dir}}.Encode()}).String()
}

// Admin is the URL of a superuser, who may do anything to the cluster that URL
// leads to.
func Admin(t testing.TB, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	if server := os.Getenv("GRIMA_TEST_POSTGRES"); server != "" {
		admin, err := url.Parse(server)
		if err != nil {
			t.Fatal(err)
		}
		admin.Path = u.Path
		return admin.String()
	}
	u.User = url.User("postgres")
	return u.String()
}

// bins finds the programs of the newest PostgreSQL.
func bins() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // Debian's
	if err != nil || len(found) == 0 {
		return "", ErrMissing
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0: not one of theirs
		return n
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

// unprivileged is who runs the server, which refuses to be run by root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	var errs []error
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.Join(errs...)
}

func start(settings ...string) (c *Cluster, err error) {
	c = &Cluster{}
	if c.bin, err = bins(); err != nil {
		return nil, err
	}
	if c.owner, err = unprivileged(); err != nil {
		return nil, fmt.Errorf("find a user to run PostgreSQL: %w", err)
	}
	// A socket's path has some hundred bytes, which a test's directory may not
	// leave room for.
	if c.dir, err = os.MkdirTemp("/tmp", "grima-pg-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(c.dir))
		}
	}()
	if c.owner != nil {
		if err := os.Chown(c.dir, int(c.owner.Uid), int(c.owner.Gid)); err != nil {
			return nil, err
		}
	}
	initdb := c.command("initdb", "--pgdata", c.data(), "--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	conf := fmt.Sprintf("listen_addresses = ''\nunix_socket_directories = '%s'\nmax_connections = 200\nautovacuum_naptime = 1h\n", c.dir)
	for _, s := range settings {
		conf += s + "\n"
	}
	f, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(conf)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return c, c.run()
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner, Setpgid: true}
	return cmd
}

// run starts the server and waits until it takes connections.
func (c *Cluster) run() error {
	c.cmd = c.command("postgres", "-D", c.data())
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	endWithUs(c.cmd)
	c.exited = make(chan error, 1)
	started := make(chan error, 1)
	go func() {
		// Whose thread ends, ends its child: this one stays until then.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			c.exited <- c.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	return c.Ready()
}

// Ready waits until the server takes connections.
func (c *Cluster) Ready() error {
	late := time.Now().Add(time.Minute)
	for {
		conn, err := pgx.Connect(context.Background(), c.admin())
		if err == nil {
			return conn.Close(context.Background())
		}
		select {
		case end := <-c.exited:
			return fmt.Errorf("PostgreSQL ended: %w\n%s", end, c.log.Bytes())
		case <-time.After(20 * time.Millisecond): // nothing tells when it is ready
		}
		if time.Now().After(late) {
			c.end(syscall.SIGQUIT)
			return fmt.Errorf("PostgreSQL does not take connections: %w\n%s", err, c.log.Bytes())
		}
	}
}

// end signals the server and waits for its end.
func (c *Cluster) end(sig syscall.Signal) {
	if c.cmd == nil {
		return
	}
	if err := c.cmd.Process.Signal(sig); err == nil {
		<-c.exited
	}
	c.cmd = nil
}

// Stop stops the server, rolling back what is under way; Start starts it again.
func (c *Cluster) Stop() { c.end(syscall.SIGINT) }

// Crash ends the server as if its machine had failed, save that what it gave to
// the kernel stays: it recovers from its log.
func (c *Cluster) Crash() { c.end(syscall.SIGQUIT) }

// Restart starts the server again after Stop or Crash.
func (c *Cluster) Restart(t testing.TB) {
	t.Helper()
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
}

// Resume is Restart outside of tests.
func (c *Cluster) Resume() error { return c.run() }

func (c *Cluster) stop() {
	c.end(syscall.SIGINT)
	_ = os.RemoveAll(c.dir) // what it leaves is in the temporary directory
}
