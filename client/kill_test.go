//go:build linux

package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/ncruces/go-sqlite3"
)

// The real program is killed under load, again and again; whoever sends and
// listens through the client neither loses nor doubles anything.
func TestServerIsKilled(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	p := startProgram(t)
	port := p.port
	p.says.Close()

	way := testserver.StartProxy(t, p.Addr)
	says := open(t, client.Config{Server: way.Addr(), Token: p.ana})
	hears := open(t, client.Config{Server: way.Addr(), Token: p.bob})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := errors.Join(says.Ready(ctx), hears.Ready(ctx)); err != nil {
		t.Fatal(err)
	}
	sent := 0
	l := newLog(t)
	for round := range rounds {
		// What is on its way when the server dies is more than it takes to
		// notice.
		for range 200 {
			if _, err := says.Queue(ctx, client.Draft{ChatID: port, Content: fmt.Sprint(sent)}); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		// Kill it once some of this round was heard.
		for len(l.rows[port]) < 200*round+10*(round+1) {
			ev, err := hears.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			l.take(ev)
		}
		way.To("")
		p.Kill()
		p.start(t)
		way.To(p.Addr)
		says.Reconnect()
		hears.Reconnect()
	}
	for len(l.rows[port]) < sent {
		ev, err := hears.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		l.take(ev)
	}
	rows, err := harness.ReadAll(p.login(t, p.ana), port)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range rows {
		if m.Content != fmt.Sprint(i) || l.rows[port][m.Seq].Content != m.Content {
			t.Fatalf("the %d. message is %+v, and was told as %+v", i, m, l.rows[port][m.Seq])
		}
	}
	if len(rows) != sent || l.resets > 0 {
		t.Errorf("%d messages were sent, and %d are there; it began anew %d times", sent, len(rows), l.resets)
	}
}

// A backup is restored while a client is away: it forgets what it knew, and
// reads what is there.
func TestRestoredBackup(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana"), srv.User("bob")
	a, b := ana.Connect(), bob.Connect()
	port := a.Group("Port", b)
	a.Send(port, "kept")
	backup := t.TempDir()
	srv.RestartAfter(func() {
		if err := os.CopyFS(filepath.Join(backup, "data"), os.DirFS(srv.Dir)); err != nil {
			t.Fatal(err)
		}
	})
	way := testserver.StartProxy(t, srv.Addr)
	c := open(t, client.Config{Server: way.Addr(), Token: b.Token, Timeline: 20})
	l := newLog(t)
	ctx := testContext(t)
	a = ana.Connect()
	next := func() client.Event {
		ev, err := c.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		l.take(ev)
		return ev
	}
	for l.synced == 0 {
		next()
	}
	for i := range 5 {
		a.Send(port, fmt.Sprint("lost ", i))
	}
	for len(l.rows[port]) < 5 {
		next()
	}
	way.To("")
	srv.RestartAfter(func() {
		if err := os.RemoveAll(srv.Dir); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(srv.Dir, os.DirFS(filepath.Join(backup, "data"))); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(srv.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		// What a restore does.
		db, err := sqlite3.Open("file:" + filepath.Join(srv.Dir, "grima.db"))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Exec(`UPDATE meta SET value = 'restored' WHERE name = 'epoch'`), db.Close()); err != nil {
			t.Fatal(err)
		}
	})
	a = ana.Connect()
	a.Send(port, "another history")
	id, err := c.Queue(ctx, client.Draft{ChatID: port, Content: "written meanwhile"})
	if err != nil {
		t.Fatal(err)
	}
	way.To(srv.Addr)
	c.Reconnect()
	var state *client.Chat
	sent := false
	for state == nil || !sent {
		switch ev := next(); {
		case ev.Kind == client.ChatAdded && l.resets > 0:
			state = ev.State
		case ev.Kind == client.OutboxChanged && ev.Outbox.ID == id && ev.Outbox.Progress == client.Sent:
			sent = true
		}
	}
	if l.resets != 1 {
		t.Errorf("it began anew %d times", l.resets)
	}
	var contents []string
	for _, m := range state.Messages {
		contents = append(contents, m.Content)
	}
	if len(contents) < 2 || contents[0] != "kept" || contents[1] != "another history" {
		t.Errorf("it has %q", contents)
	}
	done := make(chan struct{})
	close(done)
	follow(t, ctx, c, l, done, a, []string{port})
	l.equal(a, port, state.Pos)
}
