package main

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grima-chat/grima/internal/login"
)

// A server's words moved the cursor and set the window's title, where they were
// printed as they came.
func TestNobodyElsesWordsAreObeyed(t *testing.T) {
	raw := []byte("{\"a\":\"x\u009b31m\u202ey\x7f\U000e0041\"}")
	shown := visibleJSON(raw)
	if strings.ContainsFunc(string(shown), hidden) {
		t.Errorf("shown as %q", shown)
	}
	var before, after map[string]string
	if err := errors.Join(json.Unmarshal(raw, &before), json.Unmarshal(shown, &after)); err != nil {
		t.Fatal(err)
	}
	if before["a"] != after["a"] {
		t.Errorf("%q means %q, not %q", shown, after["a"], before["a"])
	}
	var out strings.Builder
	report(&out, errors.New("not_found: \x1b]0;owned\a:\n\tdb.host"))
	if want := "grima: not_found: \\x1b]0;owned\\x07:\n  db.host\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// A user_id is the server's, and led the cache out of its directory.
func TestCacheStaysInItsDirectory(t *testing.T) {
	base := t.TempDir()
	t.Setenv("XDG_STATE_HOME", base)
	dir, err := stateDir(login.Login{Server: "grima://127.0.0.1:7007", UserID: "x/../../../../evil"})
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Dir(dir) != filepath.Join(base, "grima") {
		t.Errorf("the cache is in %s", dir)
	}
}
