package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/hub"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// replica is what a client keeps that does as docs/protocol.md#resume says.
type replica struct {
	t      *testing.T
	who    *testserver.Client
	accept string
	cursor string
	chats  map[string]*copied
	cut    func(protocol.Event) bool // ends a connection behind an event; nil: none does

	events, syncs, cuts int
}

type copied struct {
	Pos          int64
	Title        string
	Messages     map[int64]protocol.Message
	Participants map[string]protocol.Participant
}

func newReplica(t *testing.T, who *testserver.Client, accept string) *replica {
	return &replica{t: t, who: who, accept: accept, chats: map[string]*copied{}}
}

// follow listens until so many bytes were read, or, if negative, until it has
// caught up.
func (r *replica) follow(srv *testserver.Server, bytes int) {
	r.t.Helper()
	l := listen(r.t, srv, r.who.Token, "?cursor="+r.cursor, "Accept: "+r.accept)
	defer func() { must(r.t, l.Body.Close()) }()
	if bytes >= 0 {
		l.in = bufio.NewReader(io.LimitReader(l.Body, int64(bytes)))
	}
	at := map[string]int64{}   // where this stream is in each chat
	told := map[string]int64{} // and where its first sync said that it begins
	// Chats that only events have told of, until this stream's sync is through;
	// then nil.
	heard := map[string]bool{}
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) && bytes >= 0 {
			r.cuts++
			return
		}
		if err != nil {
			r.t.Fatal(err)
		}
		var f struct {
			protocol.Event
			synced

			Op string `json:"op"`
		}
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			r.t.Fatalf("%s: %v", line, err)
		}
		switch {
		case f.Op == protocol.OpSync:
			r.synced(f.Result)
			for _, c := range f.Result.Chats {
				if _, begun := at[c.ChatID]; !begun {
					told[c.ChatID] = c.LastSeq
				}
			}
			if l.sse && l.id != f.Result.Cursor {
				r.t.Fatalf("the id is %q: %s", l.id, line)
			}
			if f.Result.HasMore {
				continue
			}
			for id := range heard {
				if r.chats[id] == nil {
					r.fetch(id)
				}
			}
			heard = nil
			if bytes < 0 {
				return
			}
		case f.Seq > 0:
			prev := f.PrevSeq
			if prev == 0 {
				prev = f.Seq - 1
			}
			mine := f.Participant != nil && f.Participant.UserID == r.who.ID
			if was, known := at[f.ChatID]; known && prev != was && !mine {
				r.t.Fatalf("this stream was at %d of the chat: %s", was, line)
			} else if begins, said := told[f.ChatID]; !known && said && prev > begins && !mine {
				r.t.Fatalf("this stream began at %d of the chat: %s", begins, line)
			}
			at[f.ChatID] = f.Seq
			r.events++
			if r.chats[f.ChatID] == nil && heard != nil {
				heard[f.ChatID] = true
			} else {
				r.event(f.Event, prev, mine)
			}
			if r.cut != nil && r.cut(f.Event) {
				r.cuts++
				return
			}
		}
	}
}

func (r *replica) synced(page protocol.SyncResult) {
	r.t.Helper()
	r.syncs++
	for _, c := range page.Chats {
		have := r.chats[c.ChatID]
		if c.Membership == "left" {
			if have != nil && have.Participants[r.who.ID].JoinedSeq <= c.LastSeq {
				delete(r.chats, c.ChatID)
			}
			continue
		}
		if have == nil || have.Pos < c.LastSeq {
			r.fetch(c.ChatID)
		}
	}
	r.cursor = page.Cursor // only now
}

func (r *replica) event(e protocol.Event, prev int64, mine bool) {
	r.t.Helper()
	c := r.chats[e.ChatID]
	switch {
	case c != nil && e.Seq <= c.Pos:
		return
	case e.Event == protocol.EventChatDeleted, mine && e.Event == protocol.EventParticipantRemoved:
		delete(r.chats, e.ChatID)
		return
	case c == nil, prev > c.Pos, e.Event == protocol.EventGap:
		r.fetch(e.ChatID)
		return
	}
	if e.Chat != nil {
		c.Title = e.Chat.Title
	}
	if e.Message != nil {
		c.Messages[e.Message.Seq] = *e.Message
	}
	if e.Participant != nil {
		c.Participants[e.Participant.UserID] = *e.Participant
	}
	c.Pos = e.Seq
}

// fetch reads what changed in a chat since the position in it.
func (r *replica) fetch(id string) {
	r.t.Helper()
	c := r.chats[id]
	if c == nil {
		c = &copied{Messages: map[int64]protocol.Message{}, Participants: map[string]protocol.Participant{}}
	}
	for more := true; more; {
		raw, failure := r.who.Try(protocol.OpChangesList, protocol.ChangesListParams{ChatID: id, After: c.Pos, Limit: 50})
		if failure != nil {
			if failure.Code != protocol.CodeNotFound {
				r.t.Fatalf("the changes of %s: %v", id, failure)
			}
			delete(r.chats, id) // out of it by now
			return
		}
		var page protocol.ChangesListResult
		if err := json.Unmarshal(raw, &page); err != nil {
			r.t.Fatal(err)
		}
		if page.Chat != nil {
			c.Title = page.Chat.Title
		}
		for _, m := range page.Messages {
			c.Messages[m.Seq] = m
		}
		for _, p := range page.Participants {
			c.Participants[p.UserID] = p
		}
		c.Pos, more = page.Next, page.HasMore
	}
	r.chats[id] = c
}

// A sync without a cursor names the chats that there are, and none that there
// were. What events had told of before its first page was then kept for ever: by
// who was cut off before the page and began again without a cursor, and by who
// heard of a chat, read it, and was cut off between a page that does not name it
// any more and the event that says why.
func TestEventsBeforeTheFirstPage(t *testing.T) {
	// A client may ask while its sync is held up: there are to be places for both.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for _, tt := range []struct {
		name   string
		before bool // the connection ends before the page
	}{{"cut off before it", true}, {"cut off behind it", false}} {
		t.Run(tt.name, func(t *testing.T) {
			g := &gate{reached: make(chan struct{}), open: make(chan struct{})}
			p := &forgetful{}
			srv := testserver.Start(t, testserver.Options{
				Store:     func(s chat.Store) chat.Store { g.Store = s; return g },
				Publisher: func(h *hub.Hub) chat.Publisher { p.Publisher = h; return p },
				Hub:       func(c *hub.Config) { c.Scan = time.Hour }, // which would ask, too
			})
			ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
			r := newReplica(t, bob, "application/x-ndjson")
			made := make(chan string, 1)
			go func() {
				<-g.reached // it hears what happens, and has not read what there is
				made <- ana.Group("Short", bob)
			}()
			r.cut = func(e protocol.Event) bool {
				if id := <-made; e.Event != protocol.EventParticipantAdded || e.ChatID != id {
					t.Errorf("made %s, heard of %s %s", id, e.Event, e.ChatID)
				}
				if !tt.before {
					ana.Do(protocol.OpChatsDelete, protocol.ChatParams{ChatID: e.ChatID}, nil)
					close(g.open)
				}
				return tt.before
			}
			g.left.Store(2) // the first is whether the cursor is good
			r.follow(srv, -1)
			if tt.before {
				close(g.open)
				ana.Do(protocol.OpChatsDelete, protocol.ChatParams{ChatID: "c_1"}, nil)
			}
			if r.events != 1 {
				t.Fatalf("it heard %d events before the page", r.events)
			}
			r.follow(srv, -1)
			if d := cmp.Diff(map[string]*copied{}, r.chats); d != "" {
				t.Errorf("(-there is +it has):\n%s", d)
			}
		})
	}
}

// gate holds a sync up before its snapshot begins.
type gate struct {
	chat.Store

	left    atomic.Int32  // syncs until the one that is held up; 0: none is
	reached chan struct{} // closed when it waits
	open    chan struct{} // closed: it goes on
}

func (g *gate) View(ctx context.Context, fn func(chat.Reader) error) error {
	return g.Store.View(ctx, func(r chat.Reader) error { return fn(&gateReader{Reader: r, gate: g}) })
}

// gateReader knows a sync by what it reads first.
type gateReader struct {
	chat.Reader

	gate  *gate
	begun bool
}

func (r *gateReader) Memberships(user chat.UserID) ([]chat.Membership, error) {
	r.begun = true
	return r.Reader.Memberships(user)
}

func (r *gateReader) LastStamp() (int64, error) {
	g := r.gate
	if !r.begun && g.left.Load() > 0 && g.left.Add(-1) == 0 {
		close(g.reached)
		<-g.open
	}
	r.begun = true
	return r.Reader.LastStamp()
}

// forgetful tells nobody that a chat is gone.
type forgetful struct{ chat.Publisher }

func (f *forgetful) Publish(e chat.Event) {
	if e.Kind != chat.ChatDeleted {
		f.Publisher.Publish(e)
	}
}
