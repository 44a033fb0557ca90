//go:build darwin || freebsd || dragonfly

package sqlite

import "golang.org/x/sys/unix"

// diskFree is how many bytes of the disk that dir is on we may still take.
func diskFree(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	// Below 0 is that root has begun with what is kept for it.
	return freeBytes(uint64(s.Blocks), uint64(max(s.Bavail, 0)), uint64(s.Bsize)), nil
}
