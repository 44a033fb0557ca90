package main

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func scriptPrivate(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if info.Mode().Perm() != 0o600 {
		ts.Fatalf("%s has mode %v", args[0], info.Mode())
	}
}

func scriptInviteCode(ts *testscript.TestScript, _ bool, args []string) {
	setFrom(ts, "CODE", args[0], `"code":"([^"]+)"`)
}

func scriptTokenOf(ts *testscript.TestScript, _ bool, args []string) {
	setFrom(ts, "TOKEN", args[0], `"token":"([^"]+)"`)
}

func setFrom(ts *testscript.TestScript, name, file, pattern string) {
	m := regexp.MustCompile(pattern).FindStringSubmatch(ts.ReadFile(file))
	if m == nil {
		ts.Fatalf("%s has no %s", file, pattern)
	}
	ts.Setenv(name, m[1])
}

// followers maps each script to its grima tail.
var followers sync.Map

func scriptFollow(ts *testscript.TestScript, _ bool, args []string) {
	r := &running{end: make(chan struct{})}
	r.more = sync.NewCond(&r.mu)
	// Whatever was said a moment ago shows that it is there.
	r.cmd = exec.Command("grima", append([]string{"tail", "--since", "1h"}, args...)...)
	r.cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"))
	out, err := r.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(r.cmd.Start())
	go func() {
		defer close(r.end)
		for s := bufio.NewScanner(out); s.Scan(); {
			r.print(s.Text()+"\n", false)
		}
		r.err = r.cmd.Wait()
		r.print("", true)
	}()
	followers.Store(ts, r)
	ts.Defer(r.kill)
	_, err = r.await(`event`)
	ts.Check(err)
}

func scriptHeard(ts *testscript.TestScript, _ bool, args []string) {
	r, _ := followers.Load(ts)
	_, err := r.(*running).await(args[0])
	ts.Check(err)
}

func scriptUnfollow(ts *testscript.TestScript, _ bool, _ []string) {
	r, _ := followers.Load(ts)
	r.(*running).kill()
}

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"plain, ümläut, 港, 👩‍👩‍👧, \u200c": "plain, ümläut, 港, 👩‍👩‍👧, \u200c",
		"\x1b[2J\x07\r":                    `\x1b[2J\x07\x0d`,
		"\u009b2J":                         `\x9b2J`,
		"a\u202eb\u2066\u200b\ufeff\u2028": `a\u{202e}b\u{2066}\u{200b}\u{feff}\u{2028}`,
		"two\nlines\tand a tab":            `two\x0alines\x09and a tab`,
	} {
		if got := visible(text, false); got != want {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
	if got := visible("two\nlines\x1b", true); got != "two\nlines\\x1b" {
		t.Errorf("with lines: %q", got)
	}
}
