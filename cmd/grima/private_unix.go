//go:build unix

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// keepPrivate makes what we create from now on readable for its owner alone.
func keepPrivate() { syscall.Umask(0o077) }

// checkOwner sees that what info describes at path is ours: files that root
// leaves in somebody else's data directory would lock the server out.
func checkOwner(path string, info fs.FileInfo) error {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() {
		return checkWritable(path)
	}
	return fmt.Errorf("%s belongs to the user with id %d and you are %d: run this as its owner (sudo -u '#%d' grima ...)",
		path, owner.Uid, os.Geteuid(), owner.Uid)
}

// checkWritable sees that files can be made in the directory at path.
func checkWritable(path string) error {
	err := unix.Access(path, unix.W_OK|unix.X_OK)
	switch {
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s is on a file system that is mounted read only: mount it otherwise, or choose another directory with --data DIR", path)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s cannot be written to: chmod 700 %s, or choose another directory with --data DIR", path, path)
	}
	return nil // whatever else there is, opening files there says it better
}
