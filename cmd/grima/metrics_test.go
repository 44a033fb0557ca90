package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// notYet lists the documented metrics that a server does not show yet, as
// nothing tells them; a server that shows one of them has to be taken off here.
var notYet = []string{
	// of connections and the queues
	"grima_frames_total", "grima_frame_bytes_total", "grima_writes_total", "grima_outbox_bytes", "grima_goodbyes_total",
	"grima_queue_clients", "grima_queue_depth", "grima_workers", "grima_queue_wait_seconds", "grima_turn_seconds",
}

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
	shown := names(regexp.MustCompile(`(?m)^# TYPE (grima_\w+) `), get("/metrics"))
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := names(regexp.MustCompile("(?m)^\\| `(grima_\\w+)` \\|"), string(page))
	shown = append(shown, notYet...)
	slices.Sort(shown)
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
