package chat_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// sync asks until there is no more, and gives the titles it met, in order.
func (p *person) sync(pos *chat.SyncPos, limit int) (titles []string) {
	p.w.t.Helper()
	for more := true; more; {
		page, err := p.w.Sync(ctx, p.Actor, *pos, limit, 0)
		ok(p.w.t, err)
		if len(page.Chats) > limit {
			p.w.t.Fatalf("%d chats on a page of %d", len(page.Chats), limit)
		}
		for _, st := range page.Chats {
			title := st.Chat.Title
			if !st.Participant.In() || !st.Chat.DeletedAt.IsZero() {
				title = fmt.Sprintf("left %d at %d", st.Chat.ID, st.Chat.LastSeq)
			}
			titles = append(titles, title)
		}
		*pos, more = page.Next, page.More
	}
	return titles
}

// A cursor from before anything had happened is one, and not a beginning: what
// somebody left since is told.
func TestSyncSinceNothing(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	var pos chat.SyncPos
	same(t, bob.sync(&pos, 10), []string(nil))
	now, err := w.Now(ctx, bob.Actor)
	ok(t, err)
	id := ana.group("a", bob)
	_, err = w.RemoveParticipant(ctx, ana.Actor, id, bob.User)
	ok(t, err)
	left := []string{fmt.Sprintf("left %d at 3", id)}
	same(t, bob.sync(&pos, 10), left)
	same(t, bob.sync(&now, 10), left)
}

// A brief sync is one, or says that there is more to look at.
func TestSyncBrief(t *testing.T) {
	w := newWorld(t)
	ana := w.people("ana")[0]
	ana.group("a")
	_, brief, err := w.SyncBrief(ctx, ana.Actor, chat.SyncPos{}, 10, 0)
	ok(t, err)
	same(t, brief, false) // a first one lists everything
	var pos chat.SyncPos
	ana.sync(&pos, 10)
	page, brief, err := w.SyncBrief(ctx, ana.Actor, pos, 10, 0)
	ok(t, err)
	same(t, brief, true)
	same(t, page, chat.SyncPage{Next: pos})
	ana.group("b")
	page, brief, err = w.SyncBrief(ctx, ana.Actor, pos, 10, 0) // this store does not know who changed
	ok(t, err)
	same(t, brief, false)
	same(t, page, chat.SyncPage{})
}

func TestSync(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	var pos chat.SyncPos
	same(t, ana.sync(&pos, 10), []string(nil))
	same(t, ana.sync(&pos, 10), []string(nil))
	chats := map[string]chat.ChatID{}
	for _, title := range []string{"a", "b", "c", "d", "e"} {
		chats[title] = ana.group(title, bob)
	}
	ana.say(chats["b"], "hi")
	_, err := w.SetRead(ctx, bob.Actor, chats["a"], 1) // bob's own business
	ok(t, err)
	for limit := 1; limit < 7; limit++ {
		pos = chat.SyncPos{}
		same(t, ana.sync(&pos, limit), []string{"b", "e", "d", "c", "a"}) // newest first
		same(t, ana.sync(&pos, limit), []string(nil))
		theirs := chat.SyncPos{}
		same(t, bob.sync(&theirs, limit), []string{"a", "b", "e", "d", "c"})
	}
	ana.say(chats["c"], "hi")
	ana.say(chats["a"], "hi")
	ana.say(chats["c"], "hi")
	_, err = w.SetRead(ctx, ana.Actor, chats["d"], 1)
	ok(t, err)
	same(t, ana.sync(&pos, 2), []string{"a", "c", "d"}) // oldest change first, each once
	same(t, ana.sync(&pos, 2), []string(nil))

	page, err := w.Sync(ctx, ana.Actor, chat.SyncPos{}, 1, 1)
	ok(t, err)
	same(t, len(page.Chats[0].Messages), 0) // d has none
	page, err = w.Sync(ctx, bob.Actor, page.Next, 1, 1)
	ok(t, err)
	same(t, contents(page.Chats[0].Messages), []string{"hi"})

	for _, bad := range []struct{ limit, timeline int }{{-1, 0}, {chat.MaxPage + 1, 0}, {0, -1}, {0, chat.MaxTimeline + 1}} {
		_, err = w.Sync(ctx, ana.Actor, pos, bad.limit, bad.timeline)
		refused(t, err, chat.CodeInvalidRequest)
	}
	for _, ahead := range []chat.SyncPos{{After: pos.After + 1}, {After: 1, Below: pos.After + 2}} {
		_, err = w.Sync(ctx, ana.Actor, ahead, 0, 0)
		refused(t, err, chat.CodeCursorInvalid)
		_, err = w.Chats(ctx, ana.Actor, ahead, 0)
		refused(t, err, chat.CodeCursorInvalid)
	}
	_, err = w.Sync(ctx, nobody, chat.SyncPos{}, 0, 0)
	refused(t, err, chat.CodeUnauthenticated)
	_, err = w.Chats(ctx, operator, chat.SyncPos{}, 0)
	refused(t, err, chat.CodePermissionDenied)
}

// Somebody who left hears of it once, and of nothing that came after.
func TestSyncAfterLeaving(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	a, b, c := ana.group("a", bob), ana.group("b", bob), ana.group("c", bob)
	var pos chat.SyncPos
	same(t, bob.sync(&pos, 1), []string{"c", "b", "a"})
	from := pos
	_, err := w.RemoveParticipant(ctx, ana.Actor, a, bob.User)
	ok(t, err)
	for range 3 {
		ana.say(a, "he is gone")
		ana.say(b, "he is here")
	}
	ok(t, w.DeleteChat(ctx, ana.Actor, c))
	_, err = w.UpdateChat(ctx, ana.Actor, a, chat.ChatPatch{Title: ptr("not for bob")})
	ok(t, err)
	for limit := 1; limit < 4; limit++ {
		pos = from
		same(t, bob.sync(&pos, limit), []string{"left 1 at 3", "b", "left 3 at 3"})
	}
	ana.say(a, "still talking")
	same(t, bob.sync(&pos, 1), []string(nil))
	page, err := w.Sync(ctx, bob.Actor, from, 1, 5)
	ok(t, err)
	same(t, []any{page.Chats[0].Chat.Title, len(page.Chats[0].Messages), page.Chats[0].Unread}, []any{"", 0, int64(0)})
	ana.add(a, "", bob)
	same(t, bob.sync(&pos, 1), []string{"not for bob"})

	first := chat.SyncPos{}
	_, err = w.RemoveParticipant(ctx, bob.Actor, b, bob.User)
	ok(t, err)
	same(t, bob.sync(&first, 1), []string{"not for bob"}) // no word of what is over
}

// While somebody pages through a first sync, everything changes under them;
// nothing is missed.
func TestSyncWhileOthersWrite(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	var all []chat.ChatID
	for i := range 10 {
		all = append(all, ana.group(fmt.Sprint(i), bob))
	}
	var pos chat.SyncPos
	position := map[chat.ChatID]int64{}
	pages := 0
	for more := true; more; pages++ {
		page, err := w.Sync(ctx, bob.Actor, pos, 3, 0)
		ok(t, err)
		for _, st := range page.Chats {
			position[st.Chat.ID] = max(position[st.Chat.ID], st.Chat.LastSeq)
		}
		pos, more = page.Next, page.More
		if more && pages < 8 { // what is still to come moves to the end, and what was there comes again
			ana.say(all[pages], "hi")
			ana.say(all[(pages*7)%10], "hi")
		}
	}
	for _, id := range all {
		same(t, position[id], ana.at(id))
	}
	if pages > 12 {
		t.Errorf("%d pages", pages)
	}
}

func TestChats(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	a, b := ana.group("a", bob), ana.group("b", bob)
	ana.group("c", bob)
	d := ana.group("d", bob)
	ana.say(a, "hi")
	_, err := w.RemoveParticipant(ctx, bob.Actor, b, bob.User)
	ok(t, err)
	ok(t, w.DeleteChat(ctx, ana.Actor, d))
	for limit := 1; limit < 6; limit++ {
		var titles []string
		var pos chat.SyncPos
		for more := true; more; {
			page, err := w.Chats(ctx, bob.Actor, pos, limit)
			ok(t, err)
			for _, st := range page.Chats {
				titles = append(titles, st.Chat.Title)
				same(t, len(st.Messages), 0)
			}
			pos, more = page.Next, page.More
		}
		same(t, titles, []string{"a", "c"})
	}
	st, err := w.Chat(ctx, bob.Actor, a)
	ok(t, err)
	same(t, st.Unread, int64(1))
}

// changes asks until there is no more, and gives the positions of what it met.
func (p *person) changes(id chat.ChatID, after int64, limit int) (positions []int64) {
	p.w.t.Helper()
	for {
		page, err := p.w.Changes(ctx, p.Actor, id, after, limit)
		ok(p.w.t, err)
		var here []int64
		for _, m := range page.Messages {
			here = append(here, m.UpdatedSeq)
		}
		for _, x := range page.Participants {
			here = append(here, x.UpdatedSeq)
		}
		if len(here) > limit {
			p.w.t.Fatalf("%d rows on a page of %d", len(here), limit)
		}
		if page.Chat != nil {
			here = append(here, page.Chat.UpdatedSeq)
		}
		slices.Sort(here)
		for _, at := range here {
			if at <= after || at > page.Next {
				p.w.t.Errorf("%d is not in (%d, %d]", at, after, page.Next)
			}
		}
		positions, after = append(positions, here...), page.Next
		if !page.More {
			same(p.w.t, page.Next, p.at(id))
			return positions
		}
	}
}

func TestChanges(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob", "cem")
	ana, bob, cem := list[0], list[1], list[2]
	id := ana.group("Port", bob) // 1, 2
	one := ana.say(id, "one")    // 3
	ana.say(id, "two")           // 4
	ana.add(id, "", cem)         // 5
	_, err := ana.edit(chat.MessageEdit{Chat: id, Seq: one, Content: "one!"})
	ok(t, err) // 6
	_, err = w.UpdateChat(ctx, ana.Actor, id, chat.ChatPatch{Title: ptr("Harbour")})
	ok(t, err)         // 7
	bob.say(id, "hey") // 8
	_, err = w.RemoveParticipant(ctx, ana.Actor, id, bob.User)
	ok(t, err) // 9
	for limit := 1; limit < 9; limit++ {
		same(t, cem.changes(id, 0, limit), []int64{1, 4, 5, 6, 7, 8, 9})
		same(t, cem.changes(id, 5, limit), []int64{6, 7, 8, 9})
		same(t, cem.changes(id, 7, limit), []int64{8, 9})
		same(t, cem.changes(id, 9, limit), []int64(nil))
	}
	page, err := w.Changes(ctx, ana.Actor, id, 99, 0)
	ok(t, err)
	same(t, page, chat.ChangePage{Next: 9})
	_, err = w.Changes(ctx, ana.Actor, id, -1, 0)
	refused(t, err, chat.CodeInvalidRequest)
	_, err = w.Changes(ctx, ana.Actor, id, 0, chat.MaxPage+1)
	refused(t, err, chat.CodeInvalidRequest)
}
