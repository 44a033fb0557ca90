package batch

import (
	"fmt"
	"io/fs"
)

// Migrations are the steps from an empty database to today's schema, in the
// order of their files' names; the n-th makes version n. They are never changed
// once released.
func Migrations(files fs.FS) ([]string, error) {
	names, err := fs.Glob(files, "migrations/*.sql") // sorted
	if err != nil {
		return nil, fmt.Errorf("list the migrations: %w", err)
	}
	steps := make([]string, len(names))
	for i, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read a migration: %w", err)
		}
		steps[i] = string(text)
	}
	return steps, nil
}
