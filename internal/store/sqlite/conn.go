package sqlite

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
)

// conn is one connection with its prepared statements. One goroutine uses it at
// a time.
type conn struct {
	db    *sqlite3.Conn
	stmts map[string]*stmt
	// busy is set while SQLite runs: a panic that leaves it set came out of the
	// driver, and the connection must not be used again.
	busy bool
}

// connRole is what a connection is for.
type connRole int

const (
	inspecting    connRole = iota // looks at a file that may not be ours
	reading                       // one of the pool
	writing                       // the one writer
	checkpointing                 // copies the WAL into the database
)

const busyTimeout = 5 * time.Second

func openConn(cfg Config, role connRole) (*conn, error) { return openNamed(cfg, dbName, role) }

func openNamed(cfg Config, file string, role connRole) (*conn, error) {
	mode, cache := "ro", cfg.ReaderCache
	switch role {
	case writing:
		mode, cache = "rw", cfg.WriterCache
	case checkpointing:
		mode = "rw"
	}
	path := filepath.Join(cfg.Dir, file)
	query := url.Values{
		"mode":   {mode},
		"modeof": {path}, // the WAL gets the database's mode
		"vfs":    {ourVFS(cfg.vfs, role)},
	}
	name := url.URL{
		Scheme:   "file",
		Path:     "/" + strings.TrimPrefix(filepath.ToSlash(path), "/"),
		RawQuery: strings.ReplaceAll(query.Encode(), "+", "%20"),
	}

	// The driver gives each connection a memory of its own and panics at its
	// end: leave room for much more than the cache.
	ctx := sqlite3.WithMaxMemory(context.Background(), int64(cache)+192<<20)
	db, err := sqlite3.OpenContext(ctx, name.String())
	if err != nil {
		return nil, err
	}
	c := &conn{db: db, stmts: map[string]*stmt{}}
	if err := c.setUp(role, cache); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *conn) setUp(role connRole, cache int) error {
	if err := c.db.BusyTimeout(busyTimeout); err != nil {
		return err
	}
	for op, on := range map[sqlite3.DBConfig]bool{
		sqlite3.DBCONFIG_DEFENSIVE:      true,
		sqlite3.DBCONFIG_TRUSTED_SCHEMA: false,
		sqlite3.DBCONFIG_DQS_DML:        false,
		sqlite3.DBCONFIG_DQS_DDL:        false,
		// A statement is planned once. Else one that was planned with a look at its
		// parameters is planned anew each time they change.
		sqlite3.DBCONFIG_ENABLE_QPSG: true,
		// Close checkpoints on purpose, and only when the store is sound.
		sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE: true,
	} {
		if _, err := c.db.Config(op, on); err != nil {
			return fmt.Errorf("configure the connection: %w", err)
		}
	}
	pragmas := []string{
		"trusted_schema = OFF",
		"cell_size_check = ON",
		"mmap_size = 0",
		"temp_store = MEMORY",
		"foreign_keys = OFF", // schema.sql says why
		fmt.Sprintf("cache_size = -%d", cache>>10),
		"synchronous = FULL",
	}
	if role == writing || role == checkpointing {
		pragmas = append(pragmas, "wal_autocheckpoint = 0")
	}
	for _, p := range pragmas {
		if err := c.exec("PRAGMA " + p); err != nil {
			return fmt.Errorf("set %s: %w", p, err)
		}
	}
	return nil
}

func (c *conn) close() error {
	for _, s := range c.stmts {
		if err := s.s.Close(); err != nil && !isPlain(err) {
			return err
		}
	}
	c.stmts = nil
	return c.db.Close()
}

// isPlain says that err is what the statement last heard, repeated by the
// driver when it is finalised, and no news.
func isPlain(err error) bool {
	_, ok := errors.AsType[*sqlite3.Error](err)
	var code sqlite3.ExtendedErrorCode
	return ok || errors.As(err, &code)
}

// abandon closes a connection in whatever state it is; one that stopped inside
// the driver is left to the end of the process.
func (c *conn) abandon() error {
	if c.busy {
		return errors.New("the connection broke inside the driver")
	}
	return c.close()
}

func (c *conn) exec(sql string) error {
	c.busy = true
	err := c.db.Exec(sql)
	c.busy = false
	return err
}

// text runs a query that gives one value.
func (c *conn) text(sql string) (string, error) {
	s, _, err := c.db.Prepare(sql)
	if err != nil {
		return "", err
	}
	defer s.Close()
	if s.Step() {
		return s.ColumnText(0), nil
	}
	return "", s.Err()
}

func (c *conn) int(sql string) (int64, error) {
	s, _, err := c.db.Prepare(sql)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if s.Step() {
		return s.ColumnInt64(0), nil
	}
	return 0, s.Err()
}

// stmt binds and reads in the order of the columns. Its first error sticks and
// comes out of next, row or run.
type stmt struct {
	c   *conn
	s   *sqlite3.Stmt
	arg int // last bound
	col int // next read
	err error
}

// prep gives the prepared statement for sql, which must be a constant: they are
// kept as long as the connection.
func (c *conn) prep(sql string) *stmt {
	s, ok := c.stmts[sql]
	if !ok {
		s = &stmt{c: c}
		c.busy = true
		s.s, _, s.err = c.db.PrepareFlags(sql, sqlite3.PREPARE_PERSISTENT)
		c.busy = false
		if s.err == nil {
			c.stmts[sql] = s
		}
		s.arg = 0
		return s
	}
	s.arg, s.err = 0, nil
	return s
}

func (s *stmt) bound(err error) *stmt {
	if s.err == nil {
		s.err = err
	}
	return s
}

func (s *stmt) int(v int64) *stmt {
	if s.err != nil {
		return s
	}
	s.arg++
	return s.bound(s.s.BindInt64(s.arg, v))
}

func (s *stmt) bool(v bool) *stmt {
	if v {
		return s.int(1)
	}
	return s.int(0)
}

func (s *stmt) text(v string) *stmt {
	if s.err != nil {
		return s
	}
	s.arg++
	return s.bound(s.s.BindText(s.arg, v))
}

func (s *stmt) blob(v []byte) *stmt {
	if s.err != nil {
		return s
	}
	s.arg++
	return s.bound(s.s.BindBlob(s.arg, v))
}

func (s *stmt) null() *stmt {
	if s.err != nil {
		return s
	}
	s.arg++
	return s.bound(s.s.BindNull(s.arg))
}

// orNull binds NULL for 0.
func (s *stmt) orNull(v int64) *stmt {
	if v == 0 {
		return s.null()
	}
	return s.int(v)
}

func (s *stmt) textOrNull(v string) *stmt {
	if v == "" {
		return s.null()
	}
	return s.text(v)
}

func (s *stmt) time(t time.Time) *stmt { return s.int(t.UnixMilli()) }

func (s *stmt) timeOrNull(t time.Time) *stmt {
	if t.IsZero() {
		return s.null()
	}
	return s.time(t)
}

// next steps to the next row and reports whether there is one. When it reports
// false the statement is reset, and err says whether that was its end.
func (s *stmt) next() bool {
	if s.err != nil {
		return false
	}
	s.col = 0
	s.c.busy = true
	ok := s.s.Step()
	s.c.busy = false
	if ok {
		return true
	}
	s.err = s.s.Err()
	s.reset()
	return false
}

func (s *stmt) reset() {
	s.c.busy = true
	err := s.s.Reset()
	s.c.busy = false
	if s.err == nil {
		s.err = err
	}
}

// row steps to the only row wanted; chat.ErrNotFound when there is none. After
// nil, the caller reads the columns and calls reset.
func (s *stmt) row() error {
	if s.next() {
		return nil
	}
	if s.err != nil {
		return s.err
	}
	return chat.ErrNotFound
}

// run executes a statement that gives no rows.
func (s *stmt) run() error {
	if s.err != nil {
		return s.err
	}
	s.c.busy = true
	err := s.s.Exec()
	s.c.busy = false
	return err
}

func (s *stmt) null1() bool {
	return s.s.ColumnType(s.col) == sqlite3.NULL
}

func (s *stmt) getInt() int64 {
	v := s.s.ColumnInt64(s.col) // 0 for NULL
	s.col++
	return v
}

func (s *stmt) getBool() bool { return s.getInt() != 0 }

func (s *stmt) getText() string {
	v := s.s.ColumnText(s.col) // empty for NULL
	s.col++
	return v
}

// getRaw is only good until the next step.
func (s *stmt) getRaw() []byte {
	v := s.s.ColumnRawBlob(s.col)
	s.col++
	return v
}

func (s *stmt) getTime() time.Time {
	if s.null1() {
		s.col++
		return time.Time{}
	}
	return time.UnixMilli(s.getInt()).UTC()
}

// isFull says that err means "no space left": nothing is broken, and writing
// may go on when there is space again.
func isFull(err error) bool {
	// A failed fsync says nothing about what reached the disk, whatever its
	// reason.
	if errors.Is(err, sqlite3.IOERR_FSYNC) || errors.Is(err, sqlite3.IOERR_DIR_FSYNC) {
		return false
	}
	return errors.Is(err, sqlite3.FULL) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		errors.Is(err, sqlite3.IOERR_SHMSIZE) // the index of the log could not grow
}

// readError says what went wrong with a query, for the caller of the store.
func readError(ctx context.Context, doing string, err error) error {
	switch {
	case err == nil || errors.Is(err, chat.ErrNotFound):
		return err
	case errors.Is(err, sqlite3.INTERRUPT):
		return batch.Timeout(ctx)
	case errors.Is(err, sqlite3.BUSY), errors.Is(err, sqlite3.IOERR), errors.Is(err, sqlite3.CORRUPT),
		errors.Is(err, sqlite3.NOTADB), errors.Is(err, sqlite3.CANTOPEN):
		return chat.Unavailable("the store could not be read", fmt.Errorf("%s: %w", doing, err))
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}
