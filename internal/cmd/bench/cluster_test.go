//go:build linux

package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/internal/hub/natsbus/natstest"
)

// testGroup is a control group, if one may make one here.
func testGroup(t *testing.T) *group {
	t.Helper()
	g, err := newGroup(strings.ReplaceAll(t.Name(), "/", "-"))
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		t.Skipf("processes cannot be bounded here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.remove(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// A busy process gets its share and no more, and what it used is counted although
// it has ended.
func TestAGroupBoundsAndCounts(t *testing.T) {
	g := testGroup(t)
	if err := g.limit(0.1); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	argv := append(g.wrap(), "timeout", "0.5", "sh", "-c", "while :; do :; done")
	var exit *exec.ExitError
	if err := exec.Command(argv[0], argv[1:]...).Run(); !errors.As(err, &exit) || exit.ExitCode() != 124 {
		t.Fatalf("timeout ended it with %v", err)
	}
	took := time.Since(began)
	used, err := g.used()
	if err != nil {
		t.Fatal(err)
	}
	// The kernel may hand out a slice more than was left.
	if most := took.Seconds()*0.1 + 0.05; used <= 0 || used.Seconds() > most {
		t.Errorf("it used %v of %v", used, took)
	}
	if err := g.limit(0); err != nil {
		t.Error(err)
	}
}

func TestAGroupTakesWhoIsThere(t *testing.T) {
	g := testGroup(t)
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	children, err := childrenOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, pid := range children {
		found = found || pid == cmd.Process.Pid
	}
	if !found {
		t.Errorf("%d is not among the children %v", cmd.Process.Pid, children)
	}
	if err := g.take(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// What is delivered twice, or to nobody's message, is no figure but a failure.
func TestACastNoticesWhatComesTwice(t *testing.T) {
	l, err := newLoop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	by := &client{waits: true}
	c := &cast{standing: &standing{clusterRun: &clusterRun{}}, l: l, homes: []int{0, 1}, rooms: []castRoom{{id: "c_1", by: by, receivers: 2}}}
	c.say(0)
	hear := func(id int) { c.heard(&client{id: id}, appendMessage(nil, 0, 40)) }
	c.stopping, c.measuring = true, true
	hear(0)
	hear(1)
	if l.err != nil || c.messages != 1 || len(c.same) != 1 || len(c.other) != 1 {
		t.Fatalf("%v; %d messages, %d and %d deliveries", l.err, c.messages, len(c.same), len(c.other))
	}
	hear(1)
	if l.err == nil {
		t.Error("a message that came twice was not noticed")
	}
}

// The whole suite, tiny: one node and three, SQLite, PostgreSQL, NATS.
func TestClusterRuns(t *testing.T) {
	testGroup(t)
	if _, err := exec.LookPath("postgres"); err != nil && os.Getenv("CI") == "" {
		if _, err := os.Stat("/usr/lib/postgresql"); err != nil {
			t.Skip("there is no PostgreSQL here; `make tools` installs it")
		}
	}
	b := testBench(t)
	b.report = &report{name: "cluster"}
	var err error
	if b.bin, err = harness.Build(b.tmp); err != nil {
		t.Fatal(err)
	}
	c := &clusterRun{bench: b, size: clusterSizes{teams: 3, team: 4, halls: 1, hall: 6, senders: 6, idle: 20 * time.Millisecond}}
	c.natsURL = natstest.Start(t, nil).URL
	if err := c.run(); err != nil {
		t.Fatal(err)
	}
	for _, step := range b.live.steps {
		for _, err := range step.failed {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	for _, s := range b.report.sections {
		for _, row := range s.rows {
			if len(row) != len(s.head) {
				t.Errorf("%s: a row of %d cells under %d", s.title, len(row), len(s.head))
			}
		}
	}
	for _, figure := range []struct{ arrangement, what, name string }{
		{oneOnSQLite, sendsMany, "rate"},
		{oneOnPG, sendsHot, "batch"},
		{threeOnPG, hintsOnly, "hinted"},
		{threeOnPG, quietCast, "other p50"},
		{threeOnPG, teamsCast, "rate"},
		{oneLargeOnPG, hallsCast, "nodes"},
	} {
		if v := b.live.found.get(clusterKey(figure.arrangement, figure.what), figure.name); len(v) != 1 || v[0] <= 0 {
			t.Errorf("%v: found %v", figure, v)
		}
	}
}
