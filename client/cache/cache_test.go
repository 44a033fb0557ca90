package cache_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/client/cache"
	"github.com/grima-chat/grima/protocol"
)

func openCache(t testing.TB, path string) *cache.Cache {
	t.Helper()
	c, err := cache.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func message(seq int64, content string) protocol.Message {
	return protocol.Message{ChatID: "c_1", Seq: seq, UpdatedSeq: seq, SenderID: "u_2", Content: content, CreatedAt: fmt.Sprintf("2026-01-01T00:00:%02d.000Z", seq)}
}

func state(pos, last int64) *client.Chat {
	c := &client.Chat{Pos: pos}
	c.ChatID, c.Kind, c.Title, c.LastSeq, c.JoinedSeq, c.Membership = "c_1", "group", "Port", last, 2, "joined"
	return c
}

func told(kind client.Kind, m protocol.Message) client.Event {
	return client.Event{Kind: kind, ChatID: "c_1", PrevSeq: m.UpdatedSeq - 1, Seq: m.UpdatedSeq, Message: &m, State: state(m.UpdatedSeq, m.UpdatedSeq)}
}

func contents(ms []protocol.Message) (all []string) {
	for _, m := range ms {
		all = append(all, m.Content)
	}
	return all
}

func TestStateIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.db")
	c, err := cache.Open(path)
	must(t, err)
	ctx := t.Context()
	st, err := c.Load(ctx)
	must(t, err)
	if diff := cmp.Diff(client.State{}, st); diff != "" {
		t.Errorf("a new file:\n%s", diff)
	}
	first, second := client.Item{Draft: client.Draft{ID: "k1", ChatID: "c_1", Content: "one", Mentions: []string{"u_3"}}, Progress: client.Pending, QueuedAt: time.Unix(1, 0).UTC()},
		client.Item{Draft: client.Draft{ID: "k0", ChatID: "c_1", Content: "two"}, Progress: client.Pending, QueuedAt: time.Unix(2, 0).UTC()}
	must(t, c.Put(ctx, first))
	must(t, c.Put(ctx, second))
	must(t, c.Put(ctx, client.Item{Draft: client.Draft{ID: "k3"}, Progress: client.Pending}))
	added := client.Event{Kind: client.ChatAdded, ChatID: "c_1", State: state(5, 7)}
	other := state(1, 1)
	other.ChatID = "c_2"
	sent := client.Item{Draft: client.Draft{ID: "k3"}, Progress: client.Sent, Seq: 9}
	failed := first
	failed.Progress, failed.Error, failed.Tries = client.Failed, "not_found: no such chat", 1
	must(t, c.Apply(ctx, []client.Event{
		added,
		{Kind: client.ChatAdded, ChatID: "c_2", State: other},
		{Kind: client.CursorMoved, UserID: "u_1", Epoch: "e", Cursor: "k", Complete: true},
		told(client.MessageCreated, message(6, "hi")),
		{Kind: client.OutboxChanged, Outbox: &sent},
		{Kind: client.OutboxChanged, Outbox: &failed},
		{Kind: client.ChatRemoved, ChatID: "c_2"},
		{Kind: client.Synced},
		{Kind: "of a later version"},
	}))
	must(t, c.Close())

	c = openCache(t, path)
	st, err = c.Load(ctx)
	must(t, err)
	want := client.State{
		UserID: "u_1", Epoch: "e", Cursor: "k", Complete: true,
		Chats: []client.Chat{*state(6, 6)}, Outbox: []client.Item{failed, second},
	}
	if diff := cmp.Diff(want, st, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("after opening again:\n%s", diff)
	}
	must(t, c.Drop(ctx, "k0"))
	must(t, c.Apply(ctx, []client.Event{{Kind: client.Reset, Epoch: "f"}}))
	st, err = c.Load(ctx)
	must(t, err)
	if diff := cmp.Diff(client.State{UserID: "u_1", Epoch: "f", Outbox: []client.Item{failed}}, st, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("after a reset:\n%s", diff)
	}
	if found, err := c.Search(ctx, cache.Query{Text: "hi"}); err != nil || len(found) > 0 {
		t.Errorf("found %v, %v", found, err)
	}
}

func TestPages(t *testing.T) {
	c := openCache(t, filepath.Join(t.TempDir(), "c.db"))
	ctx := t.Context()
	must(t, c.Apply(ctx, []client.Event{{Kind: client.ChatAdded, ChatID: "c_1", State: state(20, 20)}}))
	at := func(n int64) *int64 { return &n }
	page := func(p protocol.MessagesListParams) (protocol.MessagesListResult, bool) {
		t.Helper()
		p.ChatID = "c_1"
		page, whole, err := c.Page(ctx, p)
		must(t, err)
		return page, whole
	}
	if p, whole := page(protocol.MessagesListParams{}); whole || len(p.Messages) > 0 || !p.HasMoreBefore {
		t.Errorf("of nothing: %+v, %v", p, whole)
	}
	// The server's newest page, and one further back.
	newest := protocol.MessagesListResult{Messages: []protocol.Message{message(15, "15"), message(18, "18"), message(19, "19")}, HasMoreBefore: true, LastSeq: 20}
	must(t, c.PutPage(ctx, protocol.MessagesListParams{ChatID: "c_1", Limit: 3}, newest, 2))
	back := protocol.MessagesListResult{Messages: []protocol.Message{message(5, "5"), message(7, "7")}, HasMoreBefore: true, HasMoreAfter: true, LastSeq: 20}
	must(t, c.PutPage(ctx, protocol.MessagesListParams{ChatID: "c_1", Before: at(9), Limit: 2}, back, 2))
	must(t, c.Apply(ctx, []client.Event{told(client.MessageCreated, message(21, "21"))}))
	edited := message(18, "18!")
	edited.UpdatedSeq = 22
	must(t, c.Apply(ctx, []client.Event{told(client.MessageUpdated, edited)}))

	for _, x := range []struct {
		name   string
		p      protocol.MessagesListParams
		want   string
		whole  bool
		before bool
		after  bool
	}{
		{"newest", protocol.MessagesListParams{Limit: 3}, "18! 19 21", true, true, false},
		{"newest, too many", protocol.MessagesListParams{Limit: 9}, "15 18! 19 21", false, true, false},
		{"before", protocol.MessagesListParams{Before: at(21), Limit: 2}, "18! 19", true, true, true},
		{"before what is held", protocol.MessagesListParams{Before: at(15), Limit: 2}, "", false, true, true},
		{"before, further back", protocol.MessagesListParams{Before: at(8), Limit: 1}, "7", true, true, true},
		{"after", protocol.MessagesListParams{After: at(15), Limit: 2}, "18! 19", true, true, true},
		{"after, to the end", protocol.MessagesListParams{After: at(15), Limit: 9}, "18! 19 21", true, true, false},
		{"after, into a hole", protocol.MessagesListParams{After: at(5), Limit: 9}, "7", false, true, true},
		{"around", protocol.MessagesListParams{Around: at(18), Limit: 2}, "15 18!", false, true, true},
		{"around, inside", protocol.MessagesListParams{Around: at(19), Limit: 2}, "18! 19", true, true, true},
	} {
		p, whole := page(x.p)
		if got := strings.Join(contents(p.Messages), " "); got != x.want || whole != x.whole && x.name != "around" || p.HasMoreBefore != x.before || p.HasMoreAfter != x.after {
			t.Errorf("%s: %q, whole %v, more %v %v", x.name, got, whole, p.HasMoreBefore, p.HasMoreAfter)
		}
	}

	// Pages that are no good any more.
	old := protocol.MessagesListResult{Messages: []protocol.Message{message(3, "old")}, LastSeq: 19}
	must(t, c.PutPage(ctx, protocol.MessagesListParams{ChatID: "c_1", Before: at(4)}, old, 2)) // from before the client knew the chat
	old.LastSeq = 22
	must(t, c.PutPage(ctx, protocol.MessagesListParams{ChatID: "c_1", Before: at(4)}, old, 1)) // of an earlier membership
	must(t, c.PutPage(ctx, protocol.MessagesListParams{ChatID: "c_9"}, old, 2))
	if p, _ := page(protocol.MessagesListParams{Before: at(4)}); len(p.Messages) > 0 {
		t.Errorf("kept %+v", p)
	}
	// A late page has an old row, and the new one stays.
	must(t, c.PutPage(ctx, protocol.MessagesListParams{ChatID: "c_1", Limit: 3}, newest, 2))
	if p, _ := page(protocol.MessagesListParams{Limit: 3}); p.Messages[0].Content != "18!" {
		t.Errorf("kept %+v", p.Messages[0])
	}
	// What was skipped may have changed anything.
	must(t, c.Apply(ctx, []client.Event{{Kind: client.Skipped, ChatID: "c_1", PrevSeq: 22, Seq: 90, State: state(90, 90)}}))
	if p, whole := page(protocol.MessagesListParams{Limit: 3}); len(p.Messages) > 0 || whole {
		t.Errorf("after a skip: %+v", p)
	}
}

func TestSearch(t *testing.T) {
	c := openCache(t, filepath.Join(t.TempDir(), "c.db"))
	ctx := t.Context()
	must(t, c.Apply(ctx, []client.Event{{Kind: client.ChatAdded, ChatID: "c_1", State: state(0, 0)}}))
	for i, text := range []string{
		"The ship leaves at noon", "no SHIPS today", "ein Café am Hafen", "港に船が着く", `a "quoted" word AND more`, "100% sure", "gone",
	} {
		must(t, c.Apply(ctx, []client.Event{told(client.MessageCreated, message(int64(i+1), text))}))
	}
	edited, deleted := message(2, "no boats today"), message(7, "")
	edited.UpdatedSeq, deleted.UpdatedSeq, deleted.Deleted = 8, 9, true
	must(t, c.Apply(ctx, []client.Event{told(client.MessageUpdated, edited), told(client.MessageDeleted, deleted)}))
	for query, want := range map[string][]int64{
		"ship":        {1},
		"Ship NOON":   {1},
		"boa":         {2},
		"cafe":        {3},
		"船":           {4},
		`"quoted`:     {5},
		"船 港":         {4},
		"and":         {5},
		"' OR 1":      nil,
		"*":           nil,
		"100%":        {6},
		"%":           {6},
		"gone":        nil,
		"":            nil,
		"word ship":   nil,
		"today boats": {2},
	} {
		found, err := c.Search(ctx, cache.Query{Text: query})
		must(t, err)
		var got []int64
		for _, m := range found {
			got = append(got, m.Seq)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", query, got, want)
		}
	}
	if found, err := c.Search(ctx, cache.Query{Text: "ship", ChatID: "c_2"}); err != nil || len(found) > 0 {
		t.Errorf("in another chat: %v, %v", found, err)
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "with space?#%.db")
	c := openCache(t, path)
	must(t, c.PutUsers(t.Context(), protocol.User{UserID: "u_1", Username: "ana"}, protocol.User{UserID: "u_2", Username: "bob"}))
	users, err := c.Users(t.Context(), "u_2", "u_9")
	must(t, err)
	if len(users) != 1 || users[0].Username != "bob" {
		t.Errorf("people: %+v", users)
	}
	// Who is called otherwise now is kept so.
	must(t, c.Apply(t.Context(), []client.Event{{Kind: client.UserChanged, UserID: "u_2", User: &protocol.User{UserID: "u_2", Username: "bob", Name: "Bob O."}}}))
	users, err = c.Users(t.Context(), "u_2")
	must(t, err)
	if len(users) != 1 || users[0].Name != "Bob O." {
		t.Errorf("people: %+v", users)
	}
	files, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range files {
		info, err := f.Info()
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
	}
	if _, err := cache.Open(path); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("opened twice: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Load(ctx); err == nil {
		t.Error("a context that ended")
	}
	other := filepath.Join(dir, "other")
	must(t, os.WriteFile(other, []byte(strings.Repeat("no database ", 1000)), 0o600))
	if _, err := cache.Open(other); err == nil {
		t.Error("a file that is no database was opened")
	}
	must(t, c.Close())
	if _, err := c.Load(t.Context()); err == nil {
		t.Error("a closed cache was read")
	}
}

// A page far from the end of what is held is as new as what was told of the
// chat, or a window that knows how far that is would ask for it for ever.
func TestAPageFarBackIsNotStale(t *testing.T) {
	c := openCache(t, filepath.Join(t.TempDir(), "c.db"))
	ctx := t.Context()
	added := client.Event{Kind: client.ChatAdded, ChatID: "c_1", State: state(20, 20)}
	must(t, c.Apply(ctx, []client.Event{added}))
	var window client.Timeline
	window.Apply(added)
	before := int64(9)
	p := protocol.MessagesListParams{ChatID: "c_1", Before: &before, Limit: 2}
	page := protocol.MessagesListResult{Messages: []protocol.Message{message(5, "5"), message(7, "7")}, HasMoreBefore: true, HasMoreAfter: true, LastSeq: 20}
	must(t, c.PutPage(ctx, p, page, 2))
	got, whole, err := c.Page(ctx, p)
	must(t, err)
	if diff := cmp.Diff([]string{"5", "7"}, contents(got.Messages)); diff != "" || got.LastSeq != 20 {
		t.Errorf("up to %d, whole %v:\n%s", got.LastSeq, whole, diff)
	}
	must(t, window.ApplyPage(p, got))
	if ms := window.Messages(7); len(ms) != 2 {
		t.Errorf("held: %+v", window.Held())
	}
}
