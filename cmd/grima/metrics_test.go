package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A server shows what the page lists.
func TestServerShowsTheMetricsOfThePage(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	r, err := startServer(t.TempDir(), append(os.Environ(), "GRIMA_DATA="+data))
	if err != nil {
		t.Fatal(err)
	}
	defer r.kill()
	addr, err := r.await(`listening on (\S+)`)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) string {
		t.Helper()
		res, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	// What has labels is there once it has happened.
	login, err := http.Post("http://"+addr+"/v1/sessions", "application/json", strings.NewReader(`{"mechanism":"TOKEN","token":"gt_none"}`))
	if err != nil || login.Body.Close() != nil {
		t.Fatal(err)
	}
	get("/healthz")
	nonsense, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nonsense, strings.Repeat("{\n", 16)); err != nil {
		t.Fatal(err)
	}
	if last, err := io.ReadAll(nonsense); err != nil || !strings.Contains(string(last), "Goodbye") {
		t.Fatalf("%q, %v", last, err)
	}
	shown := names(regexp.MustCompile(`(?m)^# TYPE (grima_\w+) `), get("/metrics"))
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := names(regexp.MustCompile("(?m)^\\| `(grima_\\w+)` \\|"), string(page))
	if d := cmp.Diff(listed, shown); d != "" {
		t.Errorf("metrics (-page +server):\n%s", d)
	}
}

// names are what the pattern's group matches in text, sorted.
func names(pattern *regexp.Regexp, text string) (found []string) {
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	slices.Sort(found)
	return found
}
