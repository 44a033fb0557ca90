package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// told is what an application was told of one chat, checked as it comes.
type told struct {
	t      testing.TB
	pos    map[string]int64
	rows   map[string]map[int64]protocol.Message
	fresh  map[string]map[int64]bool
	synced int
	resets int
}

func newLog(t testing.TB) *told {
	return &told{t: t, pos: map[string]int64{}, rows: map[string]map[int64]protocol.Message{}, fresh: map[string]map[int64]bool{}}
}

func (l *told) take(ev client.Event) {
	l.t.Helper()
	id := ev.ChatID
	switch ev.Kind {
	case client.Reset:
		l.resets++
		clear(l.pos)
		clear(l.rows)
		clear(l.fresh)
	case client.Synced:
		l.synced++
	case client.ChatAdded:
		l.pos[id], l.rows[id], l.fresh[id] = ev.State.Pos, map[int64]protocol.Message{}, map[int64]bool{}
	case client.ChatRemoved:
		delete(l.pos, id)
		delete(l.rows, id)
	}
	if ev.Seq == 0 {
		return
	}
	if ev.PrevSeq != l.pos[id] {
		l.t.Errorf("%s of %s at %d follows %d, and %d was told", ev.Kind, id, ev.Seq, ev.PrevSeq, l.pos[id])
	}
	l.pos[id] = ev.Seq
	if m := ev.Message; m != nil {
		if ev.Kind == client.MessageCreated && l.fresh[id][m.Seq] {
			l.t.Errorf("message %d of %s is told twice", m.Seq, id)
		}
		l.fresh[id][m.Seq] = true
		l.rows[id][m.Seq] = *m
	}
}

// read reads everything from the server.
func readAll(t testing.TB, d *testserver.Client, chat string) (all []protocol.Message, last int64) {
	t.Helper()
	for after := int64(0); ; {
		var page protocol.MessagesListResult
		d.Do(protocol.OpMessagesList, protocol.MessagesListParams{ChatID: chat, After: &after, Limit: 200}, &page)
		all = append(all, page.Messages...)
		if !page.HasMoreAfter {
			return all, page.LastSeq
		}
		after = all[len(all)-1].Seq
	}
}

// equal checks that the log has what the server has, above base.
func (l *told) equal(d *testserver.Client, chat string, base int64) {
	l.t.Helper()
	all, last := readAll(l.t, d, chat)
	if l.pos[chat] != last {
		l.t.Errorf("%s is at %d, and was told up to %d", chat, last, l.pos[chat])
	}
	for _, m := range all {
		got, ok := l.rows[chat][m.Seq]
		if m.UpdatedSeq > base && (!ok || got.UpdatedSeq != m.UpdatedSeq || got.Content != m.Content) {
			l.t.Errorf("%s: told %+v of %+v", chat, got, m)
			return
		}
	}
}

// Everything is cut at random bytes, on the way there and back, again and
// again. Both sides talk, edit and delete meanwhile; nothing is lost, doubled or
// out of order, and nothing that was sent is there twice.
func TestCutAnywhere(t *testing.T) {
	for _, scheme := range []string{"grima", "wss"} {
		for _, buffer := range []int{0, 256} {
			t.Run(fmt.Sprintf("%s, buffer %d", scheme, buffer), func(t *testing.T) {
				testCutAnywhere(t, scheme, buffer)
			})
		}
	}
}

func testCutAnywhere(t *testing.T, scheme string, buffer int) {
	srv := testserver.Start(t, testserver.Options{MayFail: true})
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	chats := []string{ana.Group("Port", bob), ana.Group("Pier", bob)}
	base := map[string]int64{}
	p := testserver.StartProxy(t, srv.Addr)
	c := open(t, client.Config{Server: scheme + "://" + p.Addr(), Token: bob.Token, TLS: testserver.TLSConfig(), Buffer: buffer})
	ctx := testContext(t)
	l := newLog(t)
	for l.synced == 0 {
		ev, err := c.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		l.take(ev)
	}
	for _, id := range chats {
		base[id] = l.pos[id]
	}
	least := 400 // a login and its answers
	if scheme == "wss" {
		least = 3000
	}
	p.KillBetween(least, 4*least)
	p.KillAll()

	const n = 50
	var sent []client.Item
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			it, err := c.Send(ctx, client.Draft{ChatID: chats[i%2], Content: fmt.Sprint("bob ", i)})
			if err != nil {
				t.Errorf("sending: %v", err)
				return
			}
			sent = append(sent, it)
		}
	})
	wg.Go(func() {
		for i := range n {
			id := chats[i%2]
			r := ana.Send(id, fmt.Sprint("ana ", i))
			switch i % 5 {
			case 1:
				ana.Do(protocol.OpMessageEdit, protocol.MessageEditParams{ChatID: id, Seq: r.Seq, Content: "edited"}, nil)
			case 2:
				ana.Do(protocol.OpMessageDelete, protocol.MessageParams{ChatID: id, Seq: r.Seq}, nil)
			}
		}
	})
	done := make(chan struct{})
	go func() {
		wg.Wait()
		p.KillBetween(0, 0)
		close(done)
	}()
	follow(t, ctx, c, l, done, ana, chats)
	for _, id := range chats {
		l.equal(ana, id, base[id])
	}
	// Each thing that was sent is there once, where it was told to be.
	all := map[string]int{}
	for _, id := range chats {
		rows, _ := readAll(t, ana, id)
		for _, m := range rows {
			if m.SenderID == bob.ID {
				all[m.Content]++
			}
		}
	}
	for i, it := range sent {
		if all[fmt.Sprint("bob ", i)] != 1 {
			t.Errorf("bob's %d. message is there %d times", i, all[fmt.Sprint("bob ", i)])
		}
		if l.rows[it.ChatID][it.Seq].Content != it.Content {
			t.Errorf("%+v was told as %+v", it, l.rows[it.ChatID][it.Seq])
		}
	}
	if len(sent) != n || len(c.Outbox()) != 0 {
		t.Errorf("%d sent, and still in the outbox: %+v", len(sent), c.Outbox())
	}
	if p.Killed() < 10 {
		t.Errorf("only %d connections were cut, so this proves little", p.Killed())
	}
	t.Logf("%d connections were cut", p.Killed())
}

// follow reads events until done is closed and everything the server has was
// told.
func follow(t testing.TB, ctx context.Context, c *client.Client, l *told, done <-chan struct{}, d *testserver.Client, chats []string) {
	t.Helper()
	over := false
	for {
		if !over {
			select {
			case <-done:
				over = true
			default:
			}
		}
		if over && !slices.ContainsFunc(chats, func(id string) bool {
			_, last := readAll(t, d, id)
			return l.pos[id] < last
		}) {
			return
		}
		wait, stop := context.WithTimeout(ctx, 50*time.Millisecond)
		evs, err := c.Batch(wait)
		stop()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			t.Fatalf("the client ended: %v; told %v; %+v", err, l.pos, c.Connection())
		}
		for _, ev := range evs {
			l.take(ev)
		}
	}
}

// The server goes down and comes back elsewhere, several times.
func TestServerRestarts(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana"), srv.User("bob")
	a, b := ana.Connect(), bob.Connect()
	port := a.Group("Port", b)
	p := testserver.StartProxy(t, srv.Addr)
	c := open(t, client.Config{Server: p.Addr(), Token: b.Token})
	l := newLog(t)
	ctx := testContext(t)
	for l.synced == 0 {
		ev, err := c.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		l.take(ev)
	}
	base := l.pos[port]
	for i := range 4 {
		p.To("")
		srv.Restart()
		a = ana.Connect()
		a.Send(port, fmt.Sprint("while away ", i))
		queued, err := c.Queue(ctx, client.Draft{ChatID: port, Content: fmt.Sprint("written offline ", i)})
		if err != nil {
			t.Fatal(err)
		}
		p.To(srv.Addr)
		c.Reconnect()
		for {
			ev, err := c.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			l.take(ev)
			if ev.Kind == client.OutboxChanged && ev.Outbox.ID == queued && ev.Outbox.Progress == client.Sent {
				break
			}
		}
	}
	done := make(chan struct{})
	close(done)
	follow(t, ctx, c, l, done, a, []string{port})
	l.equal(a, port, base)
	if l.resets > 0 {
		t.Errorf("it began anew %d times", l.resets)
	}
}
