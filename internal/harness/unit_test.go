package harness_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/protocol"
)

// The unit in docs/operations.md allows every system call that a server makes, from
// its first start to its stop. One that it did not allow would end the server, as
// fchown, by which SQLite gives its files their owner, and setpriority once did.
func TestTheUnitAllowsWhatTheServerCalls(t *testing.T) {
	strace := needStrace(t)
	allowed := allowedCalls(t)
	dir := t.TempDir()
	data, trace := filepath.Join(dir, "data"), filepath.Join(dir, "trace")
	for range 2 { // also the start on what is there
		use(t, data, append(strace, "-s", "0", "-A", "-o", trace))
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	called := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\d+ +([a-z0-9_]+)\(`).FindAllStringSubmatch(string(text), -1) {
		called[m[1]] = true
	}
	for _, name := range []string{"execve", "fdatasync", "accept4", "setpriority"} {
		if !called[name] {
			t.Errorf("it never called %s, so this proves little", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(called)) {
		if !allowed[name] {
			t.Errorf("it calls %s, which SystemCallFilter= does not allow", name)
		}
	}
}

// use starts a server on data, has it do a little of everything, and stops it.
func use(t *testing.T, data string, wrap []string) {
	t.Helper()
	p, err := harness.Start(build(t), data, wrap, "--wal-mib", "1")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	name := "ana"
	if _, err := os.Stat(filepath.Join(data, "used")); err == nil {
		name = "bob"
	}
	token, _, err := harness.Register(p.Addr, name)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := harness.Login(p.Addr, token, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	chat, err := harness.CreateGroup(conn, "unit", nil)
	if err != nil {
		t.Fatal(err)
	}
	content := strings.Repeat("x", protocol.MaxContent)
	for range 100 { // the log has to start afresh
		if err := conn.Broadcast(protocol.OpMessageSend, protocol.MessageSendParams{ChatID: chat, Content: content}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := harness.ReadAll(conn, chat); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "used"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// strace, in the same group, takes no signal while it has somewhere to write.
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		if err := syscall.Kill(-p.Pid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Err(); err != nil {
		t.Fatalf("it ended with %v\n%s", err, p.Log())
	}
}

// allowedCalls is what the unit's SystemCallFilter= lines allow together.
func allowedCalls(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("testdata/systemd-syscalls.txt")
	if err != nil {
		t.Fatal(err)
	}
	groups := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if names := strings.Fields(line); names[0] != "#" {
			groups[names[0]] = names[1:]
		}
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, unit, _ := strings.Cut(string(page), "# /etc/systemd/system/grima.service\n")
	unit, _, _ = strings.Cut(unit, "```")
	allowed := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^SystemCallFilter=(~?)(.+)$`).FindAllStringSubmatch(unit, -1) {
		for _, name := range strings.Fields(m[2]) {
			names := []string{name}
			if strings.HasPrefix(name, "@") {
				if names = groups[name]; names == nil {
					t.Fatalf("testdata does not say what %s is", name)
				}
			}
			for _, call := range names {
				allowed[call] = m[1] == ""
			}
		}
	}
	if len(allowed) == 0 {
		t.Fatal("the unit filters no system calls")
	}
	return allowed
}
