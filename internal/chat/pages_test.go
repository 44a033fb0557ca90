package chat_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// bounded checks a page's bound, which used to be that of its rows only: one
// answer had up to 390 MB.
func bounded(t *testing.T, list []chat.Message) {
	t.Helper()
	size := 0
	for _, m := range list {
		size += len(m.Content)
	}
	if size > chat.MaxPageBytes {
		t.Fatalf("%d bytes on a page", size)
	}
}

// Pages of the longest messages end before their limit, and going through all
// of them gives each message once, in both directions.
func TestPagesOfLongMessages(t *testing.T) {
	w := newWorld(t)
	ana := w.people("ana")[0]
	id := ana.group("Port")
	const count, fit = 150, chat.MaxPageBytes / chat.MaxContent
	var all []int64
	for range count {
		all = append(all, ana.say(id, strings.Repeat("x", chat.MaxContent)))
	}
	page := func(at chat.Anchor) chat.MessagePage {
		t.Helper()
		got, err := w.Messages(ctx, ana.Actor, id, at, chat.MaxPage)
		ok(t, err)
		bounded(t, got.Messages)
		return got
	}

	var up []int64
	for after, more := int64(0), true; more; {
		got := page(chat.Anchor{After: &after})
		same(t, got.HasMoreBefore, len(up) > 0)
		up = append(up, seqs(got.Messages)...)
		after, more = up[len(up)-1], got.HasMoreAfter
	}
	same(t, up, all)

	down := []int64{}
	got := page(chat.Anchor{}) // the newest
	same(t, len(got.Messages), fit)
	for {
		same(t, got.HasMoreAfter, len(down) > 0)
		down = append(seqs(got.Messages), down...)
		if !got.HasMoreBefore {
			break
		}
		got = page(chat.Anchor{Before: &down[0]})
	}
	same(t, down, all)

	for _, i := range []int{0, 10, 75, 140, count - 1} {
		got := page(chat.Anchor{Around: &all[i]})
		here := seqs(got.Messages)
		from := slices.Index(all, here[0])
		same(t, here, all[from:from+fit]) // contiguous
		same(t, from, min(max(0, i-fit/2), count-fit))
		same(t, []bool{got.HasMoreBefore, got.HasMoreAfter}, []bool{from > 0, from+fit < count})
	}
}

// The same for changes, with others' rows in between.
func TestChangesOfLongMessages(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	id := ana.group("Port") // 1
	var want []int64
	for i := range 150 {
		want = append(want, ana.say(id, strings.Repeat("x", chat.MaxContent)))
		if i == 100 {
			ana.add(id, "", bob)
			want = append(want, ana.at(id))
		}
	}
	_, err := w.UpdateChat(ctx, ana.Actor, id, chat.ChatPatch{Title: ptr("Harbour")})
	ok(t, err)
	want = append([]int64{1}, append(want, ana.at(id))...)
	same(t, ana.changes(id, 0, chat.MaxPage), want)
	same(t, ana.changes(id, 0, 63), want)
	for after, more := int64(0), true; more; {
		page, err := w.Changes(ctx, ana.Actor, id, after, chat.MaxPage)
		ok(t, err)
		bounded(t, page.Messages)
		after, more = page.Next, page.More
	}
}

// A page of changes looks through a bounded part of the log, however many
// messages of it have changed again since or are hidden from the reader: it may
// be empty then, and is not the last.
func TestChangesOfWhatChangedAgain(t *testing.T) {
	const span, count = 4096, 4200
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	st, _, err := w.CreateChat(ctx, ana.Actor, chat.NewChat{Kind: chat.KindGroup, Title: "Port", History: chat.HistoryJoined})
	ok(t, err)
	id := st.Chat.ID // 1
	for i := range count {
		same(t, ana.say(id, "hi"), int64(i+2))
	}
	ana.add(id, "", bob)
	joined := ana.at(id)
	for i := range count { // each again
		_, err := ana.edit(chat.MessageEdit{Chat: id, Seq: int64(i + 2), Content: "hi!"})
		ok(t, err)
	}
	last := ana.at(id)
	read := func(p *person, floor int64, limit int) (rows, pages int) {
		t.Helper()
		for after, more := int64(0), true; more; pages++ {
			page, err := w.Changes(ctx, p.Actor, id, after, limit)
			ok(t, err)
			if page.Next <= after || page.Next > max(after, floor)+span || page.More != (page.Next < last) {
				t.Fatalf("a page after %d, of %d: next %d, more %v", after, last, page.Next, page.More)
			}
			for _, m := range page.Messages {
				if m.UpdatedSeq <= after || m.UpdatedSeq > page.Next {
					t.Fatalf("a message at %d on the page after %d up to %d", m.UpdatedSeq, after, page.Next)
				}
			}
			rows += len(page.Messages) + len(page.Participants)
			after, more = page.Next, page.More
		}
		return rows, pages
	}
	for _, limit := range []int{17, chat.MaxPage} {
		rows, _ := read(ana, 0, limit)
		same(t, rows, count+2)
		rows, pages := read(bob, joined-1, limit)
		same(t, []int{rows, pages}, []int{2, 2}) // he sees none of the messages
	}
	page, err := w.Changes(ctx, ana.Actor, id, 1, 1)
	ok(t, err)
	same(t, page, chat.ChangePage{Next: 1 + span, More: true})
}

// A page of sync ends before a chat whose messages would make it too long; no
// chat's messages are cut.
func TestSyncOfLongMessages(t *testing.T) {
	w := newWorld(t)
	ana := w.people("ana")[0]
	const count = 8
	talk := func() {
		for i := range count {
			for range chat.MaxTimeline {
				ana.say(chat.ChatID(i+1), strings.Repeat("x", chat.MaxContent))
			}
		}
	}
	for i := range count {
		same(t, ana.group(fmt.Sprint(i)), chat.ChatID(i+1))
	}
	talk()
	var pos chat.SyncPos
	walk := func() (ids []chat.ChatID) {
		t.Helper()
		for more := true; more; {
			page, err := w.Sync(ctx, ana.Actor, pos, chat.MaxPage, chat.MaxTimeline)
			ok(t, err)
			var all []chat.Message
			for _, st := range page.Chats {
				same(t, len(st.Messages), chat.MaxTimeline)
				all = append(all, st.Messages...)
				ids = append(ids, st.Chat.ID)
			}
			bounded(t, all)
			pos, more = page.Next, page.More
		}
		return ids
	}
	same(t, walk(), []chat.ChatID{8, 7, 6, 5, 4, 3, 2, 1})
	talk()
	same(t, walk(), []chat.ChatID{1, 2, 3, 4, 5, 6, 7, 8})
	same(t, walk(), []chat.ChatID(nil))
}
