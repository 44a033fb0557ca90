package sqlite

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
)

// places notices when the names of the store's files come to lead elsewhere:
// when somebody moves, deletes or replaces them under it. What is written then is
// in files that the next start does not find. Once noticed, the store is read only
// until it is opened again, also if they are put back: somebody else may have
// written to them meanwhile.
//
// What is written over in place keeps its name and is not noticed by this.
type places struct {
	log   *slog.Logger
	paths [3]string
	were  [3]os.FileInfo
	gone  atomic.Pointer[movedError] // nil: all are where they were
	since chan struct{}              // closed when they are not
}

type movedError struct{ what string }

func (e *movedError) Error() string {
	return e.what + ": the database's files were moved, replaced or deleted while they were in use"
}

// newPlaces remembers the files in dir, before SQLite opens them: later nobody may
// close one, as that would give up SQLite's locks on it.
func newPlaces(dir string, log *slog.Logger) (*places, error) {
	p := &places{log: log, since: make(chan struct{})}
	for i, suffix := range []string{"", "-wal", "-shm"} {
		p.paths[i] = filepath.Join(dir, dbName+suffix)
		// Opened to be written: what is in a lower layer of an overlay (an image of a
		// container) may become another file by that, once. It would look as if somebody
		// had replaced it, and the first start would end.
		f, err := os.OpenFile(p.paths[i], os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		p.were[i], err = f.Stat()
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	return p, p.look() // which has Windows look who the files are, too
}

// look says whether the files are where they were. It takes some microseconds,
// and any goroutine may call it. What it cannot see for another reason it takes
// for unchanged.
func (p *places) look() error {
	if err := p.err(); err != nil {
		return err
	}
	for i, path := range p.paths {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
			return p.moved(path + " is gone")
		case err == nil && !os.SameFile(info, p.were[i]):
			return p.moved(path + " is another file than before")
		}
	}
	return nil
}

// err is what look found, if it did.
func (p *places) err() error {
	if gone := p.gone.Load(); gone != nil {
		return gone
	}
	return nil
}

func (p *places) moved(what string) error {
	err := &movedError{what}
	if p.gone.CompareAndSwap(nil, err) {
		close(p.since)
		p.log.Error("the store stops writing until the server is started again. First put the files back, or what is to take their place; "+
			"if they were deleted, they last as long as this process does (docs/operations.md#moved-files)", "error", err)
	}
	return err
}
