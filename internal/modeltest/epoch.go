package modeltest

import (
	"fmt"
	"path/filepath"

	"github.com/ncruces/go-sqlite3"
)

// newEpoch gives the store in dir another epoch, as restoring a backup does.
func newEpoch(dir string) (err error) {
	db, err := sqlite3.Open("file:" + filepath.Join(dir, "grima.db"))
	if err != nil {
		return fmt.Errorf("opening the copy: %w", err)
	}
	defer func() {
		if closing := db.Close(); err == nil {
			err = closing
		}
	}()
	return db.Exec("UPDATE meta SET value = lower(hex(randomblob(4))) WHERE name = 'epoch'")
}
