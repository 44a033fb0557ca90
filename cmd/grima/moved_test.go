//go:build unix

package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A server whose database is moved away takes no more clients, and waits for its
// operator: a new start would begin an empty database.
func TestDatabaseMovedAway(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	r, err := startServer(dir, []string{"GRIMA_DATA=" + data, "PATH=" + os.Getenv("PATH")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.kill)
	addr, err := r.await(`listening on (\S+)`)
	if err != nil {
		t.Fatal(err)
	}
	ready := func() int {
		res, err := http.Get("http://" + addr + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode
	}
	if code := ready(); code != http.StatusOK {
		t.Fatalf("ready: %d", code)
	}
	file := filepath.Join(data, databaseFile)
	if err := os.Rename(file, file+".old"); err != nil {
		t.Fatal(err)
	}
	if code := ready(); code != http.StatusServiceUnavailable {
		t.Errorf("ready: %d", code)
	}
	if _, err := r.await(`the store stops writing until .*grima.db is gone`); err != nil {
		t.Error(err)
	}
	if err := r.stop(syscall.SIGTERM); err == nil || !strings.Contains(r.output(), "see docs/operations.md#moved-files before") {
		t.Errorf("it ended with %v:\n%s", err, r.output())
	}
	if n := strings.Count(r.output(), "stops writing"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
}
