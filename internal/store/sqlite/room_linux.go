package sqlite

import "golang.org/x/sys/unix"

// diskFree is how many bytes of the disk that dir is on we may still take.
func diskFree(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return freeOf(&s), nil
}

// freeOf counts in fragments. Bsize is what reads and writes are best done in: to
// file systems that are programs, and those shared with a virtual machine's host,
// often much more.
func freeOf(s *unix.Statfs_t) int64 {
	size := s.Frsize
	if size == 0 {
		size = s.Bsize
	}
	return freeBytes(s.Blocks, s.Bavail, uint64(size))
}
