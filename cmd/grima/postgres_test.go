package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/grima-chat/grima/internal/pgtest"
)

func TestStoreFlag(t *testing.T) {
	for store, shown := range map[string]string{
		"sqlite:": "sqlite:", "postgres://grima@db/grima": "postgres://grima@db/grima",
		"postgresql://grima:sesame@db/grima?sslmode=verify-full": "postgresql://grima@db/grima?sslmode=verify-full",
		"postgres://db/grima?user=grima&password=sesame":         "postgres://db/grima?user=grima",
	} {
		f := dataFlags{Store: store}
		if err := f.checkStore(); err != nil {
			t.Errorf("%s: %v", store, err)
		}
		if got := storeWithoutPassword(store); got != shown {
			t.Errorf("%s is shown as %s", store, got)
		}
	}
	for _, store := range []string{"postgres", "postgres://u:ses ame@[/grima", "host=db password=sesame"} {
		f := dataFlags{Store: store}
		err := f.checkStore()
		if _, ok := errors.AsType[usageError](err); !ok || strings.Contains(err.Error(), "ame") {
			t.Errorf("%s: %v", store, err)
		}
		if shown := storeWithoutPassword(store); strings.Contains(shown, "ame") {
			t.Errorf("%s is shown as %s", store, shown)
		}
	}
}

// A server keeps everything in PostgreSQL: what it had is there when another one
// starts in an empty directory, and an operator's command works on it with and
// without a server.
func TestServePostgres(t *testing.T) {
	database := pgtest.New(t)
	conf := filepath.Join(t.TempDir(), "grima.conf")
	if err := os.WriteFile(conf, []byte("store = \""+database+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	grima := func(stdin string, args ...string) string {
		t.Helper()
		var out strings.Builder
		if code := run(context.Background(), args, strings.NewReader(stdin), &out, &out); code != 0 {
			t.Fatalf("grima %v: %d\n%s", args, code, out.String())
		}
		return out.String()
	}
	for _, name := range []string{"ana", "bob"} {
		data := filepath.Join(t.TempDir(), "data")
		r, err := startServer(t.TempDir(), []string{"GRIMA_DATA=" + data, "GRIMA_CONFIG=" + conf})
		if err != nil {
			t.Fatal(err)
		}
		grima("correct horse battery\n", "user", "add", name, "--data", data, "--config", conf) // through the server
		if err := r.stop(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(data, databaseFile)); err == nil {
			t.Error("there is a database in the data directory")
		}
	}
	// And without one.
	if list := grima("", "user", "list", "--data", t.TempDir(), "--config", conf); !strings.Contains(list, "ana") || !strings.Contains(list, "bob") {
		t.Errorf("the users are\n%s", list)
	}
}
