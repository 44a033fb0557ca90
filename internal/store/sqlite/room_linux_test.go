package sqlite

import (
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFreeOf(t *testing.T) {
	for _, c := range []struct {
		name string
		s    unix.Statfs_t
		want int64
	}{
		{"a disk", unix.Statfs_t{Bsize: 4096, Frsize: 4096, Blocks: 100, Bavail: 10}, 40960},
		{"one that is written in large pieces", unix.Statfs_t{Bsize: 1 << 20, Frsize: 4096, Blocks: 100, Bavail: 10}, 40960},
		{"one without fragments", unix.Statfs_t{Bsize: 512, Blocks: 100, Bavail: 10}, 5120},
		{"a full one", unix.Statfs_t{Bsize: 4096, Frsize: 4096, Blocks: 100}, 0},
		{"one that does not count", unix.Statfs_t{Bsize: 4096, Frsize: 4096}, math.MaxInt64},
		{"one without end", unix.Statfs_t{Bsize: 4096, Frsize: 4096, Blocks: 1 << 62, Bavail: 1 << 62}, math.MaxInt64},
		{"one of more than can be said", unix.Statfs_t{Bsize: 4096, Frsize: 4096, Blocks: 1 << 51, Bavail: 1 << 51}, math.MaxInt64},
	} {
		if got := freeOf(&c.s); got != c.want {
			t.Errorf("%s has %d bytes, want %d", c.name, got, c.want)
		}
	}
	var s unix.Statfs_t
	must(t, unix.Statfs(t.TempDir(), &s))
	if free, err := diskFree(t.TempDir()); err != nil || free <= 0 {
		t.Errorf("here are %d bytes, %v", free, err)
	}
}
