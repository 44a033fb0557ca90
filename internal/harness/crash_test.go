//go:build linux

package harness_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/protocol"
)

// bin is the real binary, built once for all tests here.
var bin = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "grima-harness")
	if err != nil {
		return "", err
	}
	return harness.Build(dir)
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := bin(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func build(t *testing.T) string {
	t.Helper()
	path, err := bin()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, c harness.Crash) harness.CrashReport {
	t.Helper()
	c.Bin, c.Data, c.Progress = build(t), filepath.Join(t.TempDir(), "data"), t.Logf
	report, err := c.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report)
	for _, f := range report.Faults {
		t.Error(f)
	}
	return report
}

// I1 to I5 and I19: whatever was acknowledged when the process was killed is
// there once, in order, with its exact body; whoever says again what was not
// answered ends with exactly what they meant to say; nobody saw live what is
// not there (docs/protocol.md#invariants).
func TestKillUnderLoad(t *testing.T) {
	rounds := 50
	if testing.Short() {
		rounds = 5
	}
	r := run(t, harness.Crash{Rounds: rounds, Senders: 6, Chats: 4, Window: 16, Life: 300 * time.Millisecond, Seed: 1})
	if r.Acked == 0 || r.Retried == 0 || r.LiveEvents == 0 {
		t.Errorf("the load never got going, so this proves nothing: %v", r)
	}
}

// The same with the process killed at every N-th write, sync or truncation, from
// the start through a load until a run makes no more of them.
// internal/cmd/crash -sweep does it with N = 1.
func TestKillAtEverySyscall(t *testing.T) {
	strace := needStrace(t)
	for call, every := range map[string]int{"pwrite64": 6, "fdatasync": 3, "ftruncate": 1} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := harness.Sweep{
				Crash: harness.Crash{
					Bin: build(t), Data: filepath.Join(dir, "data"), Args: []string{"--wal-mib", "1"},
					Rounds: 200, Senders: 3, Chats: 2, Window: 4, Messages: 40, Life: time.Minute, Seed: 2,
				},
				Strace: strace, Call: call, Every: every, Trace: filepath.Join(dir, "trace"),
			}
			if testing.Short() {
				s.Every *= 4
			}
			r, err := s.Run()
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r)
			for _, f := range r.Faults {
				t.Error(f)
			}
			if !r.Complete() {
				t.Errorf("after %d kills a run still makes %d-th calls", r.Kills, r.Every)
			}
			if len(r.At) == 0 {
				t.Errorf("it never died of %s, so this proves nothing", call)
			}
		})
	}
}

// The first start ever, killed at its K-th write or sync: the next start goes
// through, as an empty server or a finished one, never stuck.
func TestKillInMigration(t *testing.T) {
	strace := needStrace(t)
	last := 60
	if testing.Short() {
		last = 6
	}
	for _, call := range []string{"pwrite64", "fdatasync", "ftruncate"} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			died := 0
			for k := 1; k <= last; k++ {
				data := filepath.Join(t.TempDir(), "data")
				wrap := append(append([]string{}, strace...), "-o", "/dev/null", "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, k))
				p, err := harness.Start(build(t), data, wrap)
				if err == nil {
					p.Kill()
				} else {
					died++
				}
				again, err := harness.Start(build(t), data, nil)
				if err != nil {
					t.Fatalf("after a kill at %s %d: %v", call, k, err)
				}
				if _, _, err := harness.Register(again.Addr, "ana"); err != nil {
					t.Errorf("after a kill at %s %d: %v", call, k, err)
				}
				if err := again.Stop(); err != nil {
					t.Errorf("stopping after a kill at %s %d: %v", call, k, err)
				}
				if p != nil {
					break // a start makes no more of these calls (on one thread)
				}
			}
			t.Logf("%d starts died at a %s", died, call)
			if died == 0 {
				t.Errorf("no start ever died at a %s, so this proves nothing", call)
			}
		})
	}
}

// I20: from a failed sync on nothing is acknowledged, the process ends with an
// error that says so, and after a restart everything acknowledged is there.
func TestFailingSyncIsFatal(t *testing.T) {
	strace := needStrace(t)
	data := filepath.Join(t.TempDir(), "data")
	token, chat := prepare(t, data)
	// The store syncs with fdatasync, the kernel's cheaper fsync.
	p, err := harness.Start(build(t), data, append(strace, "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=8+"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	acked := sendUntilError(t, p, token, chat)
	select {
	case <-p.Gone():
	case <-time.After(time.Minute):
		t.Fatalf("the process goes on after a failed sync\n%s", p.Log())
	}
	if exit, ok := errors.AsType[*exec.ExitError](p.Err()); !ok || exit.ExitCode() <= 0 {
		t.Errorf("the process ended with %v, want an exit code that says failure", p.Err())
	}
	verifyAcked(t, data, token, chat, acked)
}

// I20: a full disk refuses with a typed error and takes no number; when there
// is room again the server goes on by itself.
func TestFullDisk(t *testing.T) {
	dir, grow := smallDisk(t)
	data := filepath.Join(dir, "data")
	token, chat := prepare(t, data)
	p, err := harness.Start(build(t), data, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	acked := sendUntilError(t, p, token, chat)
	conn, err := harness.Login(p.Addr, token, false, nil)
	if err != nil {
		t.Fatalf("logging in while the disk is full: %v\n%s", err, p.Log())
	}
	defer conn.Close()
	if got, err := harness.ReadAll(conn, chat); err != nil || len(got) != len(acked) {
		t.Errorf("reading while the disk is full gives %d messages and %v, want %d", len(got), err, len(acked))
	}
	grow()
	var res protocol.MessageSendResult
	if err := conn.Broadcast(protocol.OpMessageSend, protocol.MessageSendParams{ChatID: chat, Content: "room again", ClientMsgID: "room"}, &res); err != nil {
		t.Fatalf("sending when there is room again: %v\n%s", err, p.Log())
	}
	acked = append(acked, ack{"room again", res.Seq})
	if err := p.Stop(); err != nil {
		t.Errorf("stopping: %v\n%s", err, p.Log())
	}
	verifyAcked(t, data, token, chat, acked)
}

// smallDisk gives an empty directory with room for little, and what makes it more.
func smallDisk(t *testing.T) (dir string, grow func()) {
	dir = filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("grima-test", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Skipf("mounting a small tmpfs needs root: %v (the store's own tests fill its disk in process)", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir, func() {
		if err := syscall.Mount("grima-test", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
			t.Fatal(err)
		}
	}
}

// A server whose disk is full, and its log with it, could not be started any more.
func TestStartOnFullDisk(t *testing.T) {
	dir, grow := smallDisk(t)
	data := filepath.Join(dir, "data")
	token, chat := prepare(t, data)
	p, err := harness.Start(build(t), data, nil)
	if err != nil {
		t.Fatal(err)
	}
	acked := sendUntilError(t, p, token, chat)
	p.Kill()
	if p, err = harness.Start(build(t), data, nil); err != nil {
		t.Fatalf("starting on a full disk: %v", err)
	}
	defer p.Kill()
	conn, err := harness.Login(p.Addr, token, false, nil)
	if err != nil {
		t.Fatalf("logging in while the disk is full: %v\n%s", err, p.Log())
	}
	defer conn.Close()
	if got, err := harness.ReadAll(conn, chat); err != nil || len(got) != len(acked) {
		t.Errorf("reading while the disk is full gives %d messages and %v, want %d", len(got), err, len(acked))
	}
	sendOne := func() (protocol.MessageSendResult, error) {
		var res protocol.MessageSendResult
		err := conn.Broadcast(protocol.OpMessageSend, protocol.MessageSendParams{ChatID: chat, Content: "room again", ClientMsgID: "room"}, &res)
		return res, err
	}
	for range 3 {
		_, err := sendOne()
		if perr, ok := errors.AsType[*protocol.Error](err); !ok || perr.Code != protocol.CodeUnavailable || !perr.Retryable {
			t.Fatalf("the refusal is %v, want a retryable unavailable\n%s", err, p.Log())
		}
	}
	grow()
	res, err := sendOne()
	for began := time.Now(); err != nil && time.Since(began) < 10*time.Second; { // it is tried once a second
		res, err = sendOne()
	}
	if err != nil {
		t.Fatalf("sending when there is room again: %v\n%s", err, p.Log())
	}
	acked = append(acked, ack{"room again", res.Seq})
	if err := p.Stop(); err != nil {
		t.Errorf("stopping: %v\n%s", err, p.Log())
	}
	verifyAcked(t, data, token, chat, acked)
}

type ack struct {
	content string
	seq     int64
}

// prepare makes a store with one user, alone in a group.
func prepare(t *testing.T, data string) (token, chat string) {
	t.Helper()
	p, err := harness.Start(build(t), data, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err = harness.Register(p.Addr, "ana")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := harness.Login(p.Addr, token, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if chat, err = harness.CreateGroup(conn, "faults", nil); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	return token, chat
}

// sendUntilError sends one message after the other until one is not
// acknowledged, which must come as a typed, retryable error or as the end of
// the connection, and returns the acknowledged ones.
func sendUntilError(t *testing.T, p *harness.Process, token, chat string) []ack {
	t.Helper()
	conn, err := harness.Login(p.Addr, token, false, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Log())
	}
	defer conn.Close()
	var acked []ack
	for i := range 100_000 {
		content := fmt.Sprintf("%d %s", i, strings.Repeat("x", 4000))
		var res protocol.MessageSendResult
		err := conn.Broadcast(protocol.OpMessageSend, protocol.MessageSendParams{ChatID: chat, Content: content, ClientMsgID: fmt.Sprint(i)}, &res)
		if err == nil {
			acked = append(acked, ack{content, res.Seq})
			continue
		}
		if perr, ok := errors.AsType[*protocol.Error](err); ok && (perr.Code != protocol.CodeUnavailable || !perr.Retryable) {
			t.Errorf("the refusal is %v, want a retryable unavailable", perr)
		} else if !ok && !errors.Is(err, harness.ErrClosed) {
			t.Errorf("send %d: %v", i, err)
		}
		t.Logf("%d acknowledged, then: %v", len(acked), err)
		return acked
	}
	t.Fatal("the fault never came")
	return nil
}

// verifyAcked starts a healthy server and wants exactly the acknowledged
// messages (and at most one more, whose answer was lost) without a hole.
func verifyAcked(t *testing.T, data, token, chat string, acked []ack) {
	t.Helper()
	p, err := harness.Start(build(t), data, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	conn, err := harness.Login(p.Addr, token, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rows, err := harness.ReadAll(conn, chat)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) < len(acked) || len(rows) > len(acked)+1 {
		t.Fatalf("%d messages are stored and %d were acknowledged", len(rows), len(acked))
	}
	for i, a := range acked {
		if rows[i].Seq != a.seq || rows[i].Seq != int64(i+2) || rows[i].Content != a.content {
			t.Fatalf("row %d has seq %d, want %d with its exact body", i, rows[i].Seq, a.seq)
		}
	}
}

// needStrace returns the command that runs another under strace.
func needStrace(t *testing.T) []string {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must have strace")
		}
		t.Skip("strace is not installed (apt-get install strace)")
	}
	return []string{path, "-f", "-q"}
}
