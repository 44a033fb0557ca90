package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// startTail begins a tail of Port as somebody, and returns where it prints to.
func startTail(t *testing.T, srv *testserver.Server, token string, when since) (*tailing, *bytes.Buffer) {
	t.Helper()
	c, err := client.Open(client.Config{Server: srv.Addr, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	var text bytes.Buffer
	tail := &tailing{c: c, out: bufio.NewWriter(&text), json: true, since: when}
	if err := tail.begin(t.Context(), []string{"Port"}); err != nil {
		t.Fatal(err)
	}
	return tail, &text
}

// printed are the events that a tail printed so far.
func printed(t *testing.T, tail *tailing, text *bytes.Buffer) (evs []client.Event) {
	t.Helper()
	if err := tail.out.Flush(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		var ev client.Event
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		evs = append(evs, ev)
	}
	return evs
}

// followUntil lets a tail follow until the message "stop" was printed.
func followUntil(t *testing.T, tail *tailing, text *bytes.Buffer) []client.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := tail.out.Flush(); err != nil {
		t.Fatal(err)
	}
	over := errors.New("over")
	tail.out = bufio.NewWriter(writerFunc(func(p []byte) (int, error) {
		text.Write(p)
		if bytes.Contains(text.Bytes(), []byte(`"content":"stop"`)) {
			return len(p), over
		}
		return len(p), nil
	}))
	if err := tail.follow(ctx); !errors.Is(err, over) {
		t.Fatal(err)
	}
	tail.out = bufio.NewWriter(text)
	return printed(t, tail, text)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// What happens between the login and the pages of old messages, and between one
// page and the next, is printed once: as an old message as it is by then, or as
// it happens.
func TestTailLeavesNothingOut(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob, cid := srv.User("ana").Connect(), srv.User("bob").Connect(), srv.User("cid")
	port := ana.Group("Port", bob)
	first, second := ana.Send(port, "first"), ana.Send(port, "second")
	edit := func(seq int64, content string) {
		ana.Do(protocol.OpMessageEdit, protocol.MessageEditParams{ChatID: port, Seq: seq, Content: content}, nil)
	}
	tail, text := startTail(t, srv, bob.Token, since{seq: first.Seq})
	edit(first.Seq, "first, edited") // older than what is asked for
	edit(second.Seq, "second, edited")
	ana.Add(port, cid)
	ana.Send(port, "third")
	if err := tail.past(t.Context()); err != nil {
		t.Fatal(err)
	}
	edit(second.Seq, "second, edited again")
	ana.Send(port, "stop")
	var got []string
	for _, ev := range followUntil(t, tail, text) {
		what := string(ev.Kind)
		if ev.Message != nil {
			what += " " + ev.Message.Content
		}
		got = append(got, what)
	}
	want := []string{
		"message.created second, edited", "message.created third",
		"message.updated first, edited", "participant.added", "message.updated second, edited again", "message.created stop",
	}
	if !slices.Equal(got, want) {
		t.Errorf("printed %q", got)
	}
}

// However many pages it takes, what was said since then is printed once and in
// order, and nothing from before.
func TestTailSince(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	port := ana.Group("Port", bob)
	var all []protocol.Message
	for i := range 2*protocol.MaxPage + 50 {
		r := ana.Send(port, fmt.Sprint(i))
		all = append(all, protocol.Message{Seq: r.Seq, CreatedAt: r.CreatedAt})
	}
	at := func(i int) since {
		when, err := time.Parse(time.RFC3339, all[i].CreatedAt)
		if err != nil {
			t.Fatal(err)
		}
		return since{time: when}
	}
	for name, c := range map[string]struct {
		since since
		first int64
	}{
		"everything":             {since{time: time.Unix(0, 0)}, all[0].Seq},
		"a time, two pages back": {at(20), 0},
		"a time, one page back":  {at(120), 0},
		"a time, the last page":  {at(len(all) - 3), 0},
		"later":                  {since{time: time.Now().Add(time.Hour)}, 1 << 40},
		"a seq, two pages back":  {since{seq: all[30].Seq}, all[31].Seq},
		"the last seq":           {since{seq: all[len(all)-1].Seq}, 1 << 40},
	} {
		var want, got []int64
		for _, m := range all {
			when, err := time.Parse(time.RFC3339, m.CreatedAt)
			if err != nil {
				t.Fatal(err)
			}
			if c.first > 0 && m.Seq >= c.first || c.first == 0 && !when.Before(c.since.time) {
				want = append(want, m.Seq)
			}
		}
		tail, text := startTail(t, srv, bob.Token, c.since)
		if err := tail.past(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, ev := range printed(t, tail, text) {
			got = append(got, ev.Seq)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: printed %d, from %v on; want %d", name, len(got), got[:min(len(got), 3)], len(want))
		}
	}
}
