//go:build linux

package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/sys/unix"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/client/cache"
	"github.com/grima-chat/grima/internal/testserver"
)

// terminal is a real one, without anybody in front of it: a pseudoterminal, of
// which the test reads what is written to it and types into it.
type terminal struct {
	t           testing.TB
	master, tty *os.File
}

func newTerminal(t testing.TB, width, height int) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, master: master}
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	control := func(f func(fd int) error) {
		t.Helper()
		var did error
		if err := errors.Join(raw.Control(func(fd uintptr) { did = f(int(fd)) }), did); err != nil {
			t.Fatal(err)
		}
	}
	control(func(fd int) error { return unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0) })
	control(func(fd int) (err error) { n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); return err })
	control(func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(height), Col: uint16(width)})
	})
	if x.tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.close)
	return x
}

func (x *terminal) close() {
	_ = x.tty.Close()    // both may be closed
	_ = x.master.Close() // already
}

func (x *terminal) types(s string) {
	x.t.Helper()
	if _, err := io.WriteString(x.master, s); err != nil {
		x.t.Fatal(err)
	}
}

// watcher is a Model of which a test hears what it has drawn.
type watcher struct {
	*Model
	drawn func(m *Model, msg tea.Msg)
}

func (w watcher) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	_, cmd := w.Model.Update(msg)
	w.drawn(w.Model, msg)
	return w, cmd
}

// ticksOf is tea.Tick that ends with ctx, so that nothing is left of a test.
func ticksOf(ctx context.Context) func(time.Duration, func(time.Time) tea.Msg) tea.Cmd {
	return func(in time.Duration, f func(time.Time) tea.Msg) tea.Cmd {
		return func() tea.Msg {
			timer := time.NewTimer(in)
			defer timer.Stop()
			select {
			case at := <-timer.C:
				return f(at)
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// many is a server on which somebody is in n chats, each with one message.
func many(t testing.TB, n int) (*testserver.Server, *testserver.User) {
	s := testserver.Start(t)
	ana := s.User("ana")
	bob, member := s.User("bob").Connect(), ana.Connect()
	for i := range n {
		bob.Send(bob.Group(fmt.Sprintf("chat %d", i), member), "hello")
	}
	return s, ana
}

// running is grima chat on a terminal of its own.
type running struct {
	*terminal
	client *client.Client
	stop   context.CancelFunc
	runs   sync.WaitGroup
}

// run starts it. drawn is called after each Update, on Bubble Tea's goroutine.
func (x *terminal) run(cfg client.Config, drawn func(m *Model, msg tea.Msg)) *running {
	x.t.Helper()
	cl, err := client.Open(cfg)
	if err != nil {
		x.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m := New(ctx, cl, Options{Location: time.UTC, Theme: "dark"})
	m.tick = ticksOf(ctx)
	r := &running{terminal: x, client: cl, stop: stop}
	r.runs.Go(func() {
		if err := m.run(ctx, watcher{m, drawn}, x.tty, x.tty); err != nil {
			x.t.Error(err)
		}
	})
	return r
}

// quit leaves it.
func (r *running) quit() {
	r.t.Helper()
	r.types("\x11") // ^Q
	r.runs.Wait()
	r.stop()
	if err := r.client.Close(); err != nil {
		r.t.Error(err)
	}
}

// BenchmarkUsable is from the start of grima chat to a chat that can be read and
// written in, with 1,000 of them: the first time, and with what is kept. And how
// long it takes until it knows all of them.
func BenchmarkUsable(b *testing.B) {
	s, ana := many(b, 1000)
	cfg := config(b, s, ana)
	dir := b.TempDir()
	start := func(b *testing.B, file string) (usable, whole time.Duration) {
		began := time.Now()
		kept, err := cache.Open(file)
		if err != nil {
			b.Fatal(err)
		}
		cfg.Store, cfg.Lazy, cfg.MaxCatchUp = kept, true, 5000
		x := newTerminal(b, 120, 40)
		var reads sync.WaitGroup
		reads.Go(func() { _, _ = io.Copy(io.Discard, x.master) }) // until it is closed
		all := make(chan struct{})
		var once sync.Once
		r := x.run(cfg, func(m *Model, _ tea.Msg) {
			said := strings.Contains(m.screen, "hello")
			if usable == 0 && said {
				usable = time.Since(began)
			}
			if said && m.synced && len(m.order) == 1000 {
				once.Do(func() {
					whole = time.Since(began)
					close(all)
				})
			}
		})
		<-all
		r.quit()
		if err := kept.Close(); err != nil {
			b.Fatal(err)
		}
		x.close()
		reads.Wait()
		return usable, whole
	}
	each := func(b *testing.B, file func(i int) string) {
		var usable, whole time.Duration
		n := 0
		for ; b.Loop(); n++ {
			u, w := start(b, file(n))
			usable, whole = usable+u, whole+w
		}
		b.ReportMetric(float64(usable.Milliseconds())/float64(n), "usable-ms")
		b.ReportMetric(float64(whole.Milliseconds())/float64(n), "whole-ms")
	}
	b.Run("first", func(b *testing.B) {
		each(b, func(i int) string { return filepath.Join(dir, fmt.Sprintf("first-%d-%d.db", b.N, i)) })
	})
	b.Run("again", func(b *testing.B) {
		each(b, func(int) string { return filepath.Join(dir, "again.db") })
	})
}
