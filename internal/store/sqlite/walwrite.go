package sqlite

import (
	"sync"

	"github.com/ncruces/go-sqlite3/vfs"
)

// joinWrites gives the name of a VFS that is the one called under ("" is the
// system's), save that it joins SQLite's writes to the write-ahead log. SQLite
// writes a commit there as two small writes per page, in the order of the file,
// and then syncs it; system calls were a quarter of the writer's time.
func joinWrites(under string) string {
	if under == "" {
		under = "os"
	}
	name := "joined-" + under
	joinedMu.Lock()
	defer joinedMu.Unlock()
	if base, ok := vfs.Find(under).(vfs.VFSFilename); ok && vfs.Find(name) == nil {
		vfs.Register(name, joinVFS{base})
	}
	return name
}

var joinedMu sync.Mutex // two stores may open at once

type joinVFS struct{ vfs.VFSFilename }

func (v joinVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, out, err := v.VFSFilename.OpenFilename(name, flags)
	if err == nil && flags&vfs.OPEN_WAL != 0 {
		f = &walFile{File: f}
	}
	return f, out, err
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
	return f.File.Truncate(size)
}

func (f *walFile) Sync(flags vfs.SyncFlag) error {
	if err := f.flush(); err != nil {
		return err
	}
	return f.File.Sync(flags)
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
