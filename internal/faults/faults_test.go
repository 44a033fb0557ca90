package faults_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/faults"
	"github.com/grima-chat/grima/internal/harness"
)

var bin = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "grima-faults")
	if err != nil {
		return "", err
	}
	return harness.Build(dir)
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := bin(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path)) // it is in the temporary directory
	}
	os.Exit(code)
}

// start starts servers with these roles.
func start(t *testing.T, roles ...string) *faults.Cluster {
	t.Helper()
	path, err := bin()
	if err != nil {
		t.Fatal(err)
	}
	c, err := faults.Start(path, t.TempDir(), 4, roles...)
	if faults.Missing(err) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Whatever fails around three servers: nothing that was acknowledged is lost,
// nothing is there twice, everything is in order, and soon after all is well
// everybody has everything (docs/protocol.md#invariants). go run
// ./internal/cmd/faults does the same for longer, with figures.
func TestFaults(t *testing.T) { play(t, faults.List()) }

// The same when packets are lost, which the kernel does in a network namespace.
func TestPacketsLost(t *testing.T) {
	if faults.Inside() {
		play(t, faults.Losses())
		return
	}
	cmd, err := faults.Namespace(t.Context(), "-test.run=^TestPacketsLost$", "-test.v")
	if err != nil {
		if os.Geteuid() == 0 && os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

func play(t *testing.T, list []faults.Fault) {
	t.Helper()
	c := start(t, "all", "all", "all")
	for _, f := range list {
		t.Run(f.Name, func(t *testing.T) {
			inTime(t, func() []string {
				r, err := c.Run(t.Context(), f, f.Short, faults.Talk{Chats: 3, Rate: 10, Lead: 500 * time.Millisecond, Late: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				t.Log(r.Row())
				for _, w := range r.Wrong {
					t.Error(w)
				}
				return r.Missed()
			})
		})
	}
}

// inTime has it done again if a bound was missed, since the machine may have been
// busy with something else for seconds: three times are no chance. What is wrong
// at any speed is for do to tell.
func inTime(t *testing.T, do func() (missed []string)) {
	t.Helper()
	for range 2 {
		missed := do()
		if missed == nil || t.Failed() {
			return
		}
		t.Logf("and again: %q", missed)
	}
	for _, m := range do() {
		t.Error(m)
	}
}

// Of servers that share the work, one kind dies, and the other goes on with its
// own; when it is back, so is everything.
func TestSplitRoles(t *testing.T) {
	c := start(t, "data", "stream", "stream")
	inTime(t, func() []string {
		r, err := c.Roles(t.Context(), faults.Talk{Chats: 2, Rate: 10, Lead: time.Second, Late: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(r)
		for _, w := range r.Wrong {
			t.Error(w)
		}
		return r.Missed()
	})
}
