//go:build unix

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// wire is a way to a server that can be cut.
type wire struct {
	net.Listener
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
	wg    sync.WaitGroup
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: ln}
	w.wg.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			w.mu.Lock()
			if err != nil || w.cut {
				_ = near.Close() // as if nobody were there
				if err == nil {
					_ = far.Close()
				}
				w.mu.Unlock()
				continue
			}
			w.conns = append(w.conns, near, far)
			w.mu.Unlock()
			for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
				w.wg.Go(func() {
					_, _ = io.Copy(pair[0], pair[1]) // either end may go
					_ = pair[0].Close()
					_ = pair[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		w.set(true)
		w.wg.Wait()
	})
	return w
}

func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for _, c := range w.conns {
		_ = c.Close() // its other end may have closed it
	}
	w.conns = nil
}

// tmux is a terminal with the real program in each of its sessions.
type tmux struct {
	t    *testing.T
	name string
}

func newTmux(t *testing.T) *tmux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("needs tmux, which make tools gets")
		}
		t.Skip("needs tmux, which make tools gets")
	}
	x := &tmux{t, fmt.Sprintf("grima-test-%d", os.Getpid())}
	t.Cleanup(func() { _, _ = x.try("kill-server") }) // there may be none
	return x
}

func (x *tmux) try(args ...string) (string, error) {
	out, err := exec.Command("tmux", append([]string{"-L", x.name, "-f", "/dev/null"}, args...)...).CombinedOutput()
	return string(out), err
}

func (x *tmux) do(args ...string) string {
	x.t.Helper()
	out, err := x.try(args...)
	if err != nil {
		x.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return out
}

// chat starts grima chat as somebody and returns its process.
func (x *tmux) chat(session, home, server, token string) (pid int) {
	x.t.Helper()
	// The shell is replaced, so that the pane's process is grima's.
	x.do("new-session", "-d", "-x", "90", "-y", "24", "-s", session,
		"-e", "HOME="+home, "-e", "XDG_STATE_HOME="+filepath.Join(home, "state"), "-e", "GRIMA_SERVER="+server, "-e", "GRIMA_TOKEN="+token,
		"-e", "PATH="+os.Getenv("PATH"), "exec grima chat")
	if _, err := fmt.Sscan(x.do("list-panes", "-t", session, "-F", "#{pane_pid}"), &pid); err != nil {
		x.t.Fatal(err)
	}
	return pid
}

// shows waits until a session shows everything of this.
func (x *tmux) shows(session string, parts ...string) {
	x.t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	var text string
	for end := time.Now().Add(patience); time.Now().Before(end); <-look.C {
		text, _ = x.try("capture-pane", "-p", "-t", session)
		missing := false
		for _, p := range parts {
			missing = missing || !strings.Contains(text, p)
		}
		if !missing {
			return
		}
	}
	x.t.Fatalf("%s never showed %q:\n%s", session, parts, text)
}

func (x *tmux) types(session, text string) {
	x.t.Helper()
	x.do("send-keys", "-t", session, "-l", text)
	x.do("send-keys", "-t", session, "Enter")
}

// Two people in two terminals; one's network goes, then one's program, by
// kill -9, with messages that are not sent. Started again they go out, once.
func TestChatInTerminals(t *testing.T) {
	x := newTmux(t)
	s := testserver.Start(t)
	w := newWire(t, s.Addr)
	ana, bob := s.User("ana").Connect(), s.User("bob").Connect()
	home, server := t.TempDir(), "grima://"+w.Addr().String()
	pid := x.chat("ana", home, server, ana.Token)
	x.chat("bob", t.TempDir(), "grima://"+s.Addr, bob.Token)
	x.shows("ana", "● online")
	x.shows("bob", "● online")
	x.types("ana", "/msg @bob hello bob")
	x.shows("bob", "hello bob")
	x.types("bob", "hello ana")
	x.shows("ana", "hello bob", "hello ana")

	w.set(true)
	x.types("ana", "unsent one")
	x.types("ana", "unsent two")
	x.shows("ana", "2 messages wait", "unsent one", "unsent two")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.set(false)
	x.chat("again", home, server, ana.Token)
	x.shows("again", "● online", "unsent two")
	x.shows("bob", "unsent one", "unsent two")
	bob.Expect("hello bob", "hello ana", "unsent one", "unsent two")
	var chats protocol.ChatsListResult
	bob.Do(protocol.OpChatsList, protocol.ChatsListParams{}, &chats)
	var page protocol.MessagesListResult
	bob.Do(protocol.OpMessagesList, protocol.MessagesListParams{ChatID: chats.Chats[0].ChatID}, &page)
	if len(page.Messages) != 4 {
		t.Errorf("there are %d messages, not 4: %+v", len(page.Messages), page.Messages)
	}
	x.do("send-keys", "-t", "again", "C-q")
	x.do("send-keys", "-t", "bob", "C-q")
}
