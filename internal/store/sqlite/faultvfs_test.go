package sqlite

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ncruces/go-sqlite3/vfs"
)

// disk stands between SQLite and the file system. It counts what SQLite asks
// for, makes it fail on demand, and writes it down, so that a power cut at any
// moment can be played afterwards.
type disk struct {
	name  string
	under vfs.VFSFilename

	mu     sync.Mutex
	ops    int                   // writes, truncations and syncs so far
	fault  func(op action) error // nil: none
	record bool
	log    []action
}

type action struct {
	n    int
	kind kind
	file string // its base name
	off  int64  // of a write; the size, of a truncation
	data []byte
	ack  int // of kind acked: what was acked
}

type kind string

const (
	write    kind = "write"
	truncate kind = "truncate"
	syncing  kind = "sync"
	remove   kind = "remove"
	rename   kind = "rename" // of the new database to its name
	acked    kind = "ack"
)

var disks atomic.Int64

func newDisk(t testing.TB) *disk {
	d := &disk{name: fmt.Sprint("disk", disks.Add(1)), under: vfs.Find("os").(vfs.VFSFilename)}
	vfs.Register(d.name, d)
	t.Cleanup(func() { vfs.Unregister(d.name) })
	return d
}

// on puts a store on the disk.
func (d *disk) on(c *Config) { c.vfs = d.name }

// do counts and writes down what is asked for, and fails it if it is to fail.
func (d *disk) do(a action) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ops++
	a.n = d.ops
	if d.fault != nil {
		err := d.fault(a)
		if err != nil { // as os.File says it, not as the driver would like to hear it
			return &os.PathError{Op: string(a.kind), Path: a.file, Err: err}
		}
	}
	if d.record {
		a.data = bytes.Clone(a.data)
		d.log = append(d.log, a)
	}
	return nil
}

// ack notes that the n-th thing was acked now.
func (d *disk) ack(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, action{kind: acked, ack: n})
}

func (d *disk) fails(fault func(action) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

func (d *disk) Open(string, vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	panic("OpenFilename is called instead")
}

func (d *disk) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := d.under.OpenFilename(name, flags)
	if err != nil {
		return nil, flags, err
	}
	if base := filepath.Base(name.String()); flags&vfs.OPEN_MAIN_DB != 0 && base == dbName {
		d.renamed()
	}
	return &diskFile{File: f, disk: d, name: filepath.Base(name.String())}, flags, nil
}

// renamed writes down that the new database has its name now, which happens
// without SQLite, and so later than it was.
func (d *disk) renamed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.record && !slices.ContainsFunc(d.log, func(a action) bool { return a.kind == rename }) {
		d.log = append(d.log, action{kind: rename, file: dbName + ".new"})
	}
}

func (d *disk) Delete(name string, syncDir bool) error {
	if err := d.do(action{kind: remove, file: filepath.Base(name)}); err != nil {
		return err
	}
	return d.under.Delete(name, syncDir)
}

func (d *disk) Access(name string, flags vfs.AccessFlag) (bool, error) {
	return d.under.Access(name, flags)
}

func (d *disk) FullPathname(name string) (string, error) { return d.under.FullPathname(name) }

type diskFile struct {
	vfs.File
	disk *disk
	name string
}

func (f *diskFile) SharedMemory() vfs.SharedMemory {
	return f.File.(vfs.FileSharedMemory).SharedMemory()
}

func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.disk.do(action{kind: write, file: f.name, off: off, data: p}); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *diskFile) Truncate(size int64) error {
	if err := f.disk.do(action{kind: truncate, file: f.name, off: size}); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *diskFile) Sync(flags vfs.SyncFlag) error {
	if err := f.disk.do(action{kind: syncing, file: f.name}); err != nil {
		return err
	}
	return f.File.Sync(flags)
}

// image is what files hold.
type image map[string][]byte

// after plays the first n actions of the log on an empty disk and cuts the
// power: what a file was synced with is there; of what came later, survives
// decides.
func (d *disk) after(n int, survives func() bool) (image, []int) {
	synced := map[string]int{} // where in the log each file was last synced
	for i, a := range d.log[:n] {
		if a.kind == syncing || a.kind == remove || a.kind == rename {
			synced[a.file] = i
		}
	}
	files, acks := image{}, []int(nil)
	for i, a := range d.log[:n] {
		if last, ok := synced[a.file]; a.kind != acked && (!ok || i > last) && !survives() {
			continue
		}
		data := files[a.file]
		switch a.kind {
		case acked:
			acks = append(acks, a.ack)
		case write:
			if end := int(a.off) + len(a.data); end > len(data) {
				data = append(data, make([]byte, end-len(data))...)
			}
			copy(data[a.off:], a.data)
			files[a.file] = data
		case truncate:
			data = append(data, make([]byte, max(0, int(a.off)-len(data)))...)
			files[a.file] = data[:a.off]
		case remove:
			delete(files, a.file)
		case rename:
			files[dbName] = files[a.file]
			delete(files, a.file)
		}
	}
	return files, acks
}

func (i image) put(t *testing.T, dir string) {
	t.Helper()
	for name, data := range i {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func nothing() bool { return false }

// some lets each write that was not synced reach the disk or not, by chance.
func some(seed uint64) func() bool {
	r := rand.New(rand.NewPCG(seed, 1))
	return func() bool { return r.IntN(2) == 0 }
}
