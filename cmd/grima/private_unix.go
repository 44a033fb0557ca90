//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// keepPrivate makes what we create from now on readable for its owner alone.
func keepPrivate() { syscall.Umask(0o077) }

// checkOwner sees that what info describes at path is ours: files that root
// leaves in somebody else's data directory would lock the server out.
func checkOwner(path string, info fs.FileInfo) error {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() {
		return nil
	}
	return fmt.Errorf("%s belongs to the user with id %d and you are %d: run this as its owner (sudo -u '#%d' grima ...)",
		path, owner.Uid, os.Geteuid(), owner.Uid)
}
