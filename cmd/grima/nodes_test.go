package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub/natsbus"
	"github.com/grima-chat/grima/internal/hub/natsbus/natstest"
	"github.com/grima-chat/grima/internal/store/storetest"
)

func TestNodeFlags(t *testing.T) {
	for name, c := range map[string]struct {
		flags nodeFlags
		alone bool // the store is
		wrong string
	}{
		"nothing":             {flags: nodeFlags{Role: "all"}, alone: true},
		"a bus":               {flags: nodeFlags{Role: "stream", Bus: "nats://one:4222,tls://two", BusNKey: "f", ServerID: "chat-1.example"}},
		"a bus, SQLite":       {flags: nodeFlags{Role: "all", Bus: "nats://one"}, alone: true, wrong: "PostgreSQL"},
		"a role, SQLite":      {flags: nodeFlags{Role: "data"}, alone: true, wrong: "PostgreSQL"},
		"a secret in a wrong": {flags: nodeFlags{Role: "all", Bus: "http://ana:opensesame@one"}, wrong: "nats://HOST"},
		"credentials alone":   {flags: nodeFlags{Role: "all", BusCreds: "f"}, wrong: "go with --bus"},
		"two of them":         {flags: nodeFlags{Role: "all", Bus: "nats://one", BusCreds: "f", BusNKey: "f"}, wrong: "give one"},
		"a prefix":            {flags: nodeFlags{Role: "all", Bus: "nats://one", BusPrefix: "a.b"}, wrong: "bus-prefix"},
		"where data is":       {flags: nodeFlags{Role: "all", DataURL: "https://ana:opensesame@one"}, wrong: "looks like"},
		"and the rest":        {flags: nodeFlags{Role: "all", StreamURL: "https://one/path"}, wrong: "looks like"},
	} {
		if c.flags.BusPrefix == "" {
			c.flags.BusPrefix = "grima"
		}
		err := c.flags.check(!c.alone)
		switch {
		case c.wrong == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("%s: %v, want %q", name, err, c.wrong)
		case err != nil && c.flags.Bus != "" && strings.Contains(err.Error(), "opensesame"):
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A bus that is down is told, and no reason to send clients elsewhere.
func TestDegraded(t *testing.T) {
	srv := natstest.Start(t, nil)
	if !srv.Own() {
		t.Skip("another's NATS is not stopped")
	}
	if why := degraded(nil)(); why != "" {
		t.Errorf("without a bus: %q", why)
	}
	bus, err := natsbus.New(natsbus.Config{URL: srv.URL, Epoch: "1", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	why := degraded(bus)
	if got := why(); got != "" || !ofBus(bus)().Connected {
		t.Errorf("connected: %q", got)
	}
	srv.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !strings.Contains(why(), "bus is not connected") {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("never degraded")
		}
	}
	if ofBus(bus)().Connected || ofBus(nil)().Connected {
		t.Error("connected")
	}
}

// away is a store that can be taken away.
type away struct {
	chat.Store

	gone  atomic.Bool
	asked atomic.Int64
}

func (a *away) View(ctx context.Context, fn func(chat.Reader) error) error {
	a.asked.Add(1)
	if a.gone.Load() {
		<-ctx.Done() // as of a host that is not there
		return errors.Join(errors.New("no route to host"), ctx.Err())
	}
	return a.Store.View(ctx, fn)
}

// A store that cannot be reached is told before long, asked once for all who
// want to know.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &away{Store: storetest.NewMemory()}
		p := &probe{store: store}
		ask := func(want bool) {
			t.Helper()
			answers := make(chan error, 50)
			for range cap(answers) {
				go func() { answers <- p.reach() }()
			}
			for range cap(answers) {
				if err := <-answers; (err != nil) != want {
					t.Errorf("%v", err)
				}
			}
		}
		ask(false)
		store.gone.Store(true)
		ask(false) // as of a moment ago
		time.Sleep(probeEvery)
		ask(true)
		store.gone.Store(false)
		time.Sleep(probeEvery)
		ask(false)
		if n := store.asked.Load(); n != 3 {
			t.Errorf("the store was asked %d times", n)
		}
		if err := store.Store.Close(); err != nil {
			t.Error(err)
		}
	})
}
