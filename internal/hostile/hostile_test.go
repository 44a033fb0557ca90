package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/testserver"
)

var (
	frames  = flag.Int64("hostile.frames", 10_000, "how many frames to send")
	seed    = flag.Uint64("hostile.seed", 1, "what to draw them from")
	clients = flag.Int("hostile.clients", 12, "how many clients send them at once")
)

// bound is how long the bystander may wait, beyond what an echo on loopback
// takes at its worst meanwhile: the machine may be busy with other things.
const bound = time.Second

// The server answers ten thousand frames that are mostly wrong, or ends the
// conversation; a bystander does not wait longer than a second; nothing is left
// of it all, and no error is logged. A million, for a night:
//
//	go test ./internal/hostile -hostile.frames=1000000 -timeout 0 -v
func TestHostileClients(t *testing.T) {
	srv := testserver.Start(t)
	watchdog := login(srv, "watchdog")
	chat := watchdog.Group("Port")
	for range 30 {
		watchdog.Send(chat, "all is well")
	}
	a := &Attack{
		Addr: srv.Addr, Clients: *clients, Frames: *frames, Seed: *seed, Fault: t.Errorf,
		Names: []string{watchdog.ID, "u_1", "u_99", "c_1", "c_2", "c_3", "c_99", "s_1", "i_1"},
		Every: max(*frames/20, 10_000),
	}
	for _, name := range []string{"ana", "bob", "cem"} {
		c := login(srv, name)
		id := c.Group("Mischief " + name)
		c.Send(id, "the first of many")
		a.Names = append(a.Names, id, c.ID)
		a.Tokens = append(a.Tokens, c.Token)
		a.Samples = append(a.Samples, requests(id, c.ID)...)
		must(c.Close())
	}
	a.Samples = append(a.Samples, vectors(t)...)
	begun := time.Now()
	a.Progress = func(sent int64, conns map[string]int64) {
		t.Logf("%v: %d frames, %v", time.Since(begun).Round(time.Second), sent, conns)
	}
	files, goroutines := open(t, srv.Dir), runtime.NumGoroutine()

	ctx, stop := context.WithCancel(t.Context())
	type watched struct {
		waits []time.Duration
		err   error
	}
	watching, echoing := make(chan watched, 1), make(chan watched, 1)
	go func() {
		waits, err := (&Watchdog{Conn: watchdog.Conn, Chat: chat}).Watch(ctx)
		watching <- watched{waits, err}
	}()
	go func() {
		waits, err := echo(ctx)
		echoing <- watched{waits, err}
	}()
	sent, conns := a.Run(t.Context())
	stop()
	w, e := <-watching, <-echoing
	if w.err != nil {
		t.Errorf("the bystander: %v", w.err)
	}
	if e.err != nil {
		t.Errorf("the echo: %v", e.err)
	}
	t.Logf("%d frames on %v in %v; the bystander asked %d times and waited %v (p50), %v (p99), %v (at most); an echo took %v (p99), %v (at most)",
		sent, conns, time.Since(begun).Round(time.Millisecond), len(w.waits), at(w.waits, 50), at(w.waits, 99), at(w.waits, 100), at(e.waits, 99), at(e.waits, 100))
	if len(w.waits) == 0 {
		t.Fatal("the bystander asked for nothing")
	}
	if worst, busy := at(w.waits, 100), at(e.waits, 100); worst > bound+busy {
		t.Errorf("the bystander waited %v, and an echo %v", worst, busy)
	}
	settled(t, "files", files, func() int { return open(t, srv.Dir) })
	settled(t, "goroutines", goroutines, runtime.NumGoroutine)
	// It is still the server it was.
	if got := watchdog.Send(chat, "still"); got.Seq != 32 {
		t.Errorf("the watchdog's next message is %d, want 32", got.Seq)
	}
}

// login makes an account and logs in, without waiting for a silent server.
func login(srv *testserver.Server, name string) *testserver.Client {
	u := srv.User(name)
	c := srv.Dial()
	c.Raw("\n")
	return u.Login(c)
}

func at(waits []time.Duration, percent int) time.Duration {
	if len(waits) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(waits))
	return sorted[min(len(sorted)-1, len(sorted)*percent/100)]
}

// echo is a bystander's way without a server: a byte over loopback and back.
func echo(ctx context.Context) (waits []time.Duration, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		_, _ = io.Copy(nc, nc) // until it is closed
	}()
	defer func() { <-done }()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	b := make([]byte, 1)
	for ctx.Err() == nil {
		begun := time.Now()
		if _, err := nc.Write(b); err != nil {
			return waits, err
		}
		if _, err := io.ReadFull(nc, b); err != nil {
			return waits, err
		}
		waits = append(waits, time.Since(begun))
		select { // not to be a load of its own
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	return waits, nil
}

// open counts the open files of this process, besides those of the store, whose
// readers come and go.
func open(t *testing.T, store string) (n int) {
	t.Helper()
	const dir = "/proc/self/fd/"
	list, err := os.ReadDir(dir)
	if err != nil {
		return 0 // only where there is /proc
	}
	for _, f := range list {
		name, err := os.Readlink(dir + f.Name())
		if err == nil && !strings.HasPrefix(name, store) {
			n++
		}
	}
	return n
}

// settled waits until there are no more of something than there were.
func settled(t *testing.T, what string, before int, now func() int) {
	t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for now() > before {
		select {
		case <-tick.C:
		case <-late:
			t.Errorf("there were %d %s, and are %d", before, what, now())
			return
		}
	}
}

// vectors are the lines of the protocol's vectors.
func vectors(t *testing.T) (lines [][]byte) {
	t.Helper()
	for _, name := range []string{"requests", "frames"} {
		raw, err := os.ReadFile("../../protocol/testdata/vectors/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Vectors []struct{ Line string }
		}
		if err := json.Unmarshal(raw, &file); err != nil {
			t.Fatal(err)
		}
		for _, v := range file.Vectors {
			if v.Line != "" && !strings.Contains(v.Line, "\n") {
				lines = append(lines, bytes.Clone([]byte(v.Line)))
			}
		}
	}
	if len(lines) < 50 {
		t.Fatalf("%d vectors", len(lines))
	}
	return lines
}
