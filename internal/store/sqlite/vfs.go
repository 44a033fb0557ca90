package sqlite

import (
	"errors"
	"sync"
	"syscall"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// ourVFS gives the name of a VFS that is the one called under ("" is the
// system's), with three differences. A disk without room is reported as
// SQLITE_FULL, which undoes a transaction and leaves the file good; the driver
// means to do that and does not (it looks for a bare errno, and os.File wraps
// its errors), so that a full disk looked like a broken one. And the writer's
// writes to the write-ahead log are joined: SQLite writes a commit there as two
// small writes per page, in the order of the file, and then syncs it; system
// calls were a quarter of the writer's time. The third is
// [file.DeviceCharacteristics].
func ourVFS(under string, role connRole) string {
	if under == "" {
		under = "os"
	}
	name := "grima-" + under
	join := role == writing
	if join {
		name += "-writer"
	}
	registering.Lock()
	defer registering.Unlock()
	if base, ok := vfs.Find(under).(vfs.VFSFilename); ok && vfs.Find(name) == nil {
		vfs.Register(name, fileSystem{base, join})
	}
	return name
}

var registering sync.Mutex // two stores may open at once

type fileSystem struct {
	vfs.VFSFilename
	join bool
}

func (v fileSystem) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, out, err := v.VFSFilename.OpenFilename(name, flags)
	if err != nil {
		return nil, out, noRoom(err)
	}
	f = &file{f}
	if v.join && flags&vfs.OPEN_WAL != 0 {
		f = &walFile{File: f}
	}
	return f, out, nil
}

// file says what went wrong with a write as SQLite should hear it.
type file struct{ vfs.File }

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	return n, noRoom(err)
}

// DeviceCharacteristics does not say that parts of pages may be read. If it did,
// SQLite would read what of a row does not fit on its page past the cache, each
// time anew; and since the rows of messages are keys to it, it does so for each
// long one that a search of the tree meets.
func (f *file) DeviceCharacteristics() vfs.DeviceCharacteristic {
	return f.File.DeviceCharacteristics() &^ vfs.IOCAP_SUBPAGE_READ
}

func (f *file) Truncate(size int64) error { return noRoom(f.File.Truncate(size)) }

// SharedMemory and the others let SQLite reach what the file under this one can
// do besides.
func (f *file) SharedMemory() vfs.SharedMemory {
	if under, ok := f.File.(vfs.FileSharedMemory); ok {
		return under.SharedMemory()
	}
	return nil
}

func (f *file) SizeHint(size int64) error {
	if under, ok := f.File.(vfs.FileSizeHint); ok {
		return noRoom(under.SizeHint(size))
	}
	return nil
}

func (f *file) HasMoved() (bool, error) {
	if under, ok := f.File.(vfs.FileHasMoved); ok {
		return under.HasMoved()
	}
	return false, nil
}

// noRoom gives an error that means "no space left" SQLite's code for it.
func noRoom(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return vfs.SystemError(err, sqlite3.FULL)
	}
	return err
}

// walJoin bounds what is held back for one write.
const walJoin = 1 << 20

// walFile is a connection's view of the log. What it holds back is nobody
// else's business: other connections read the log only up to the last commit,
// and a commit is published after its sync (synchronous=FULL), which writes
// everything first. Each method that could see the difference does too.
type walFile struct {
	vfs.File
	held []byte // is to be written at off
	off  int64
	long int64 // how long the log is known to be, at least until it is truncated
}

// flush writes what is held back. After an error nothing is: SQLite gives the
// transaction up, or the store the file.
func (f *walFile) flush() error {
	if len(f.held) == 0 {
		return nil
	}
	_, err := f.File.WriteAt(f.held, f.off)
	f.held = f.held[:0]
	return err
}

func (f *walFile) WriteAt(p []byte, off int64) (int, error) {
	if off != f.off+int64(len(f.held)) || len(f.held)+len(p) > walJoin {
		if err := f.flush(); err != nil {
			return 0, err
		}
		f.off = off
	}
	f.held = append(f.held, p...)
	return len(p), nil
}

func (f *walFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.flush(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *walFile) Truncate(size int64) error {
	if err := f.flush(); err != nil {
		return err
	}
	f.long = 0
	return f.File.Truncate(size)
}

func (f *walFile) Sync(flags vfs.SyncFlag) error {
	n := len(f.held)
	if err := f.flush(); err != nil {
		return err
	}
	if n > 0 && n <= walAlone {
		f.lengthen(f.off + int64(n))
	}
	return f.File.Sync(flags)
}

// The log is made longer in steps. A file that has grown is synced by two writes
// that wait for one another, what is new and then how long it is; where commits
// are small that is most of what they take.
const (
	walAlone = 64 << 10  // to a larger commit one write more is little
	walAhead = 256 << 10 // a step is an eighth of the log, up to this
)

var zeros [walAhead]byte

// lengthen writes zeros behind a log that has become longer, of which the next
// commits take the place. SQLite takes them for the log's end, as it does what is
// left of an older one: no frame is of page 0. If it fails that is nobody's loss;
// what is wrong with the disk is seen by what has to be written.
func (f *walFile) lengthen(end int64) {
	if end <= f.long {
		return
	}
	size, err := f.File.Size()
	if err != nil {
		return
	}
	f.long = size
	if size > end {
		return // a new log in the place of a longer one
	}
	step := min(size/8, walAhead)
	if _, err := f.File.WriteAt(zeros[:step], size); err == nil {
		f.long += step
	}
}

func (f *walFile) Size() (int64, error) {
	if err := f.flush(); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *walFile) Close() error {
	err := f.flush()
	if closing := f.File.Close(); err == nil {
		err = closing
	}
	return err
}
