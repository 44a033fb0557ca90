package tui

import (
	"strings"
	"testing"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// On its way from the outbox into the history a message is on the screen once,
// in every picture.
func TestASentMessageIsAlwaysThere(t *testing.T) {
	f := newFake()
	f.group("c_1", "Port")
	f.say("c_1", "u_2", "the first number is never missing")
	d := play(t, f, 80, 24)
	once := func(when string) {
		t.Helper()
		if n := strings.Count(d.text(), "all aboard"); n != 1 {
			t.Errorf("%s it is there %d times:\n%s", when, n, d.text())
		}
	}
	d.keys("all aboard", "enter")
	once("waiting")
	c := d.m.open
	ev := f.say("c_1", "u_1", "all aboard")
	d.events(client.Event{Kind: client.OutboxChanged, Outbox: &client.Item{Draft: f.queued[0], Progress: client.Sent, Seq: ev.Seq}})
	once("sent")
	d.wantNot("◷")

	page, err := f.History(t.Context(), protocol.MessagesListParams{ChatID: "c_1", Limit: pageSize})
	if err != nil {
		t.Fatal(err)
	}
	d.send(pageMsg{c: c, gen: c.gen, page: page})
	once("on a page, before its event,")

	// The chat is told anew: what was held is gone until it is asked for.
	f.asked = func() error {
		once("while the history is asked for")
		return nil
	}
	pages := f.pages
	for _, pos := range []int64{0, ev.Seq} {
		st := *ev.State
		st.Pos = pos
		d.events(client.Event{Kind: client.ChatAdded, ChatID: "c_1", State: &st})
		once("in a chat told anew")
	}
	d.events(ev)
	once("arrived")
	if f.pages != pages+2 || len(c.waiting) > 0 {
		t.Errorf("asked %d times; %d still wait", f.pages-pages, len(c.waiting))
	}
}

// Of a chat one is put out of, nothing that was sent comes any more.
func TestWhatWasSentGoesWithItsChat(t *testing.T) {
	f := newFake()
	f.group("c_1", "Port")
	f.say("c_1", "u_2", "the first number is never missing")
	d := play(t, f, 80, 24)
	d.keys("all aboard", "enter")
	d.events(
		client.Event{Kind: client.OutboxChanged, Outbox: &client.Item{Draft: f.queued[0], Progress: client.Sent, Seq: 2}},
		client.Event{Kind: client.ChatRemoved, ChatID: "c_1", Seq: 3},
	)
	d.wantNot("all aboard")
}

// Without a connection, and nothing kept of a chat, what waits is shown, and the
// history is asked for once (what is unread, and then the end) and not for ever;
// then again when it can be had.
func TestNothingIsKeptOfTheChat(t *testing.T) {
	f := port()
	f.link = client.Offline
	f.asked = func() error { return client.ErrOffline }
	d := play(t, f, 80, 24)
	draft := client.Draft{ID: "k", ChatID: "c_1", Content: "all aboard"}
	d.events(client.Event{Kind: client.OutboxChanged, Outbox: &client.Item{Draft: draft, Progress: client.Pending}})
	d.want("all aboard ◷", "could not be loaded: not connected")
	if f.pages != 2 {
		t.Errorf("asked %d times", f.pages)
	}
	// The first answer is from before there was a connection.
	late := true
	f.asked = func() error {
		if !late {
			return nil
		}
		late = false
		return client.ErrOffline
	}
	d.events(client.Event{Kind: client.ConnectionChanged, Connection: &client.Connection{Link: client.Online}})
	d.want("see you, @ana", "all aboard ◷")
	d.wantNot("could not be loaded")
	if f.pages != 4 {
		t.Errorf("asked %d times", f.pages)
	}
}
