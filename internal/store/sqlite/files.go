package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/store/batch"
)

// makeDir makes the data directory, for its owner alone, and gives its full
// path.
func makeDir(dir string, log *slog.Logger) (string, error) {
	if dir == "" {
		return "", errors.New("no data directory was named")
	}
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the data directory %s: %w", dir, err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("make the data directory %s: %w", path, err)
	}
	// The database refuses symbolic links; that one leads to its directory is
	// the operator's business.
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", fmt.Errorf("find the data directory %s: %w", dir, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("look at the data directory %s: %w", path, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		log.Warn("the data directory is open to other users; chmod 700 would close it", "dir", path, "mode", mode)
	}
	return path, nil
}

// lockDir locks the data directory for this process, until the file is closed.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	f, err := openOwn(path)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory %s: is it writable? %w", dir, err)
	}
	if err := lockFile(f); err != nil {
		if errors.Is(err, errLocked) {
			err = inUse{dir, owner(f)}
		} else {
			err = fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, errors.Join(err, f.Close())
	}
	// Who holds the lock is only for people to read.
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil && !isFull(err) {
		return nil, errors.Join(fmt.Errorf("write %s: %w", path, err), f.Close())
	}
	return f, nil
}

// inUse says that another process has the data directory.
type inUse struct{ dir, owner string }

func (e inUse) Error() string {
	return fmt.Sprintf("the data directory %s is in use by another process%s: stop it, or choose another directory", e.dir, e.owner)
}

func owner(f *os.File) string {
	text, err := io.ReadAll(io.LimitReader(f, 20))
	if pid := strings.TrimSpace(string(text)); err == nil && pid != "" {
		return " (pid " + pid + ")"
	}
	return ""
}

// openOwn opens a file that only its owner may read, and makes it if need be.
func openOwn(path string) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file (%s)", path, info.Mode().Type())
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

// makeFiles makes files of the database's that SQLite would make readable for
// others. They may be empty.
func makeFiles(dir string, names ...string) error {
	for _, name := range names {
		f, err := openOwn(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// create makes the database if there is none. It is made under another name and
// renamed when it is complete and durable, so that a crash meanwhile leaves
// nothing that a later start would have to understand.
func create(cfg Config) error {
	path, unfinished := filepath.Join(cfg.Dir, dbName), dbName+".new"
	info, err := os.Lstat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("it is no regular file (%s)", info.Mode().Type())
	case err == nil && info.Size() > 0:
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if info, err := os.Lstat(path + "-wal"); err == nil && info.Size() > 0 {
		return errors.New("it is empty or gone, but its write-ahead log is not: the database was cut off. " +
			"Put both files back as they were, or restore a backup")
	}
	if err == nil {
		return errors.New("the file is empty, as a copy on a full disk leaves it and Grima never does. " +
			"Restore a backup, or move it away to start afresh")
	}
	if err := removeFiles(cfg.Dir, unfinished, unfinished+"-journal", unfinished+"-wal", unfinished+"-shm"); err != nil {
		return err
	}
	if err := makeFiles(cfg.Dir, unfinished, unfinished+"-shm"); err != nil {
		return err
	}
	c, err := openNamed(cfg, unfinished, writing)
	if err != nil {
		return err
	}
	err = c.exec(fmt.Sprintf("PRAGMA page_size = %d", pageSize)) // now or never
	if err == nil {
		err = migrate(c, cfg)
	}
	if err == nil {
		err = turnWALOn(c)
	}
	if err := errors.Join(err, c.close()); isFull(err) {
		return fmt.Errorf("there is no room on the disk for a new database: make some, and start again: %w", err)
	} else if err != nil {
		return fmt.Errorf("make a new database: %w", err)
	}
	if err := removeFiles(cfg.Dir, unfinished+"-wal", unfinished+"-shm"); err != nil { // nothing is in them
		return err
	}
	if err := os.Rename(filepath.Join(cfg.Dir, unfinished), path); err != nil {
		return err
	}
	if err := syncDir(cfg.Dir); err != nil {
		return err
	}
	cfg.Log.Info("there was no database yet: made a new one", "file", path)
	return nil
}

func removeFiles(dir string, names ...string) error {
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// inspect refuses a database that is not ours to write to, without writing to
// it.
func inspect(cfg Config) error {
	path := filepath.Join(cfg.Dir, dbName)
	head := make([]byte, 16)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.ReadFull(f, head)
	if err := errors.Join(err, f.Close()); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if !bytes.Equal(head, []byte("SQLite format 3\x00")) {
		return errors.New("the file is not an SQLite database, or its beginning is damaged. " +
			"Move it away to start afresh, or restore a backup")
	}
	c, err := openConn(cfg, inspecting)
	if err != nil {
		return refine(err)
	}
	err = c.inspect()
	return errors.Join(refine(err), c.close())
}

func (c *conn) inspect() error {
	steps, err := batch.Migrations(migrationFiles)
	if err != nil {
		return err
	}
	id, err := c.int("PRAGMA application_id")
	if err != nil {
		return err
	}
	version, err := c.int("PRAGMA user_version")
	if err != nil {
		return err
	}
	switch {
	case id != applicationID:
		return fmt.Errorf("the file belongs to another program (application id %#x). "+
			"Move it away, or choose another data directory", id)
	case version > int64(len(steps)):
		return fmt.Errorf("a newer version of Grima wrote it: its schema is version %d, this program knows %d. "+
			"Run the newer program, or restore a backup made before the upgrade", version, len(steps))
	case version < 1:
		return errors.New("the file has our mark but no schema version: it is damaged. Restore a backup")
	}
	return nil
}

// refine adds the next step to what SQLite says about a damaged file.
func refine(err error) error {
	if errors.Is(err, sqlite3.CORRUPT) || errors.Is(err, sqlite3.NOTADB) {
		return fmt.Errorf("the file is damaged; nothing was changed. Restore a backup, "+
			"or copy the file and try sqlite3's .recover on the copy: %w", err)
	}
	return err
}

// syncDir makes the directory's entries durable, as a file's own fsync does not.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = syncDirFile(d)
	if err := errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("sync the directory %s: %w", dir, err)
	}
	return nil
}
