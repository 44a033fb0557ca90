//go:build linux || darwin || freebsd || dragonfly

package sqlite

import "golang.org/x/sys/unix"

// diskFree is how many bytes of the disk that dir is on we may still take.
func diskFree(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
