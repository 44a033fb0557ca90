package natsbus_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/hub/bustest"
	"github.com/grima-chat/grima/internal/hub/natsbus"
	"github.com/grima-chat/grima/internal/hub/natsbus/natstest"
	"github.com/grima-chat/grima/internal/testserver"
)

const patience = time.Minute

func open(t *testing.T, cfg natsbus.Config) *natsbus.Bus {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if cfg.Epoch == "" {
		cfg.Epoch = "7f3a"
	}
	cfg.ReconnectWait = 5 * time.Millisecond
	b, err := natsbus.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Logf("closing: %v", err)
		}
	})
	return b
}

func TestBus(t *testing.T) {
	bustest.Run(t, func(t *testing.T) func() hub.Bus {
		srv := natstest.Start(t, nil)
		return func() hub.Bus { return open(t, natsbus.Config{URL: srv.URL, Prefix: srv.Prefix}) }
	})
}

// ear writes down what a bus brings.
type ear struct {
	mu      sync.Mutex
	heard   []string
	missed  int
	changed chan struct{}
}

func listen(t *testing.T, b *natsbus.Bus) *ear {
	t.Helper()
	e := &ear{changed: make(chan struct{})}
	err := b.Subscribe(hub.Kinds, func(_ hub.Kind, p []byte) { e.change(func() { e.heard = append(e.heard, string(p)) }) },
		func() { e.change(func() { e.missed++ }) })
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *ear) change(do func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	do()
	close(e.changed)
	e.changed = make(chan struct{})
}

// await waits until what is true of the ear, doing something again and again.
func (e *ear) await(t *testing.T, again func(), what func() bool) {
	t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		again()
		e.mu.Lock()
		ok, changed := what(), e.changed
		e.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-late:
			t.Fatal("it never comes")
		}
	}
}

func say(b *natsbus.Bus, what string) func() {
	return func() { _ = b.Publish(hub.Hints, []byte(what)) } // it may be not connected
}

func TestStoresOfAnotherHistoryAreNotHeard(t *testing.T) {
	srv := natstest.Start(t, nil)
	for _, epoch := range []string{"other", "a.b", "a.*", ">", ""} {
		join := func(epoch string) *natsbus.Bus {
			return open(t, natsbus.Config{URL: srv.URL, Prefix: srv.Prefix, Epoch: epoch})
		}
		one, two := join(epoch+" "), join(epoch+" ")
		mine, theirs := listen(t, two), listen(t, join("7f3a"))
		mine.await(t, say(one, "hi"), func() bool { return len(mine.heard) > 0 })
		theirs.await(t, say(join("7f3a"), "hello"), func() bool { return len(theirs.heard) > 0 })
		for _, p := range theirs.all() {
			if p != "hello" {
				t.Errorf("epoch %q is heard by another: %q", epoch, p)
			}
		}
	}
}

// Whoever loses its connection hears that it may have missed something when it
// is back, and hears on.
func TestLostAndBack(t *testing.T) {
	srv := natstest.Start(t, nil)
	if !srv.Own() {
		t.Skip("another's NATS is not stopped")
	}
	a, b := open(t, natsbus.Config{URL: srv.URL}), open(t, natsbus.Config{URL: srv.URL})
	heard, other := listen(t, b), listen(t, a)
	heard.await(t, say(a, "before"), func() bool { return len(heard.heard) > 0 })
	srv.Stop()
	heard.await(t, func() {}, func() bool { return !a.Connected() && !b.Connected() })
	if err := a.Publish(hub.Hints, []byte("meanwhile")); err == nil {
		t.Error("published to nobody")
	}
	srv.Restart()
	heard.await(t, func() {}, func() bool { return heard.missed > 0 })
	other.await(t, func() {}, func() bool { return other.missed > 0 })
	heard.await(t, say(a, "after"), func() bool { return heard.heard[len(heard.heard)-1] == "after" })
	for _, p := range heard.all() { // "after" was said more than once, and may still come
		if p == "meanwhile" {
			t.Error("a late hint")
		}
	}
	if s := b.Stats(); s.Reconnects != 1 || !s.Connected || s.InMessages == 0 {
		t.Errorf("%+v", s)
	}
}

// NATS may start after Grima.
func TestLaterThanWe(t *testing.T) {
	srv := natstest.Start(t, nil)
	if !srv.Own() {
		t.Skip("another's NATS is not stopped")
	}
	srv.Stop()
	a, b := open(t, natsbus.Config{URL: srv.URL}), open(t, natsbus.Config{URL: srv.URL})
	heard := listen(t, b)
	srv.Restart()
	heard.await(t, func() {}, func() bool { return heard.missed == 1 })
	heard.await(t, say(a, "hi"), func() bool { return len(heard.heard) > 0 })
}

func TestAuthentication(t *testing.T) {
	user, err := nkeys.CreateUser()
	must(t, err)
	public, err := user.PublicKey()
	must(t, err)
	seed, err := user.Seed()
	must(t, err)
	keyFile, caFile := filepath.Join(t.TempDir(), "seed"), filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(keyFile, seed, 0o600))
	must(t, os.WriteFile(caFile, testserver.Authority(), 0o600))

	secure := func(o *server.Options) {
		o.TLSConfig = testserver.ServerTLS()
		o.Users = []*server.User{{Username: "grima", Password: "opensesame"}}
		o.Nkeys = []*server.NkeyUser{{Nkey: public}}
	}
	srv := natstest.Start(t, secure)
	var log lockedBuffer
	quiet := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))

	byName := open(t, natsbus.Config{URL: srv.URLFor("grima", "opensesame"), CAFile: caFile, Log: quiet})
	byKey := open(t, natsbus.Config{URL: srv.URL, CAFile: caFile, NKeyFile: keyFile, Log: quiet})
	heard := listen(t, byKey)
	heard.await(t, say(byName, "hi"), func() bool { return len(heard.heard) > 0 })

	for name, cfg := range map[string]natsbus.Config{
		"a wrong password":     {URL: srv.URLFor("grima", "opensesam"), CAFile: caFile},
		"nobody":               {URL: srv.URL, CAFile: caFile},
		"an unknown authority": {URL: srv.URLFor("grima", "opensesame")},
	} {
		cfg.Log = quiet
		if b := open(t, cfg); b.Connected() || b.Publish(hub.Hints, nil) == nil {
			t.Errorf("%s is let in", name)
		}
	}
	if text := log.String(); strings.Contains(text, "opensesam") || strings.Contains(text, string(seed)) || !strings.Contains(text, "NATS cannot be reached") {
		t.Errorf("the log has secrets, or nothing:\n%s", text)
	}
}

func TestConfigurationThatCannotBe(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for name, cfg := range map[string]natsbus.Config{
		"another scheme":   {URL: "http://ana:opensesame@127.0.0.1"},
		"no host":          {URL: "nats://"},
		"no URL":           {URL: "ana:opensesame@%zz"},
		"one of two":       {URL: "nats://127.0.0.1:1,redis://ana:opensesame@127.0.0.1"},
		"no authorities":   {URL: "nats://127.0.0.1:1", CAFile: missing},
		"no credentials":   {URL: "nats://127.0.0.1:1", CredsFile: missing},
		"no nkey":          {URL: "nats://127.0.0.1:1", NKeyFile: missing},
		"one way too many": {URL: "nats://127.0.0.1:1", CredsFile: missing, NKeyFile: missing},
	} {
		cfg.Epoch = "1"
		switch b, err := natsbus.New(cfg); {
		case err == nil:
			t.Errorf("%s: taken", name)
			_ = b.Close()
		case strings.Contains(err.Error(), "opensesame"):
			t.Errorf("%s: %v", name, err)
		}
	}
	if hosts := natsbus.Hosts("nats://ana:opensesame@one:4222, tls://two"); hosts != "one:4222,two" {
		t.Errorf("hosts %q", hosts)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (e *ear) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.heard)
}
