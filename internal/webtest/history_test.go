package webtest

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/password"
	"github.com/grima-chat/grima/internal/store/sqlite"
)

const many = 50_000

// nobody hears what happens while a store is filled.
type nobody struct{}

func (nobody) Publish(chat.Event)                           {}
func (nobody) PublishPlace(chat.Participant, bool)          {}
func (nobody) PublishTyping(chat.ChatID, chat.UserID, bool) {}
func (nobody) PublishPresence(chat.UserID)                  {}
func (nobody) PublishUser(chat.UserID)                      {}
func (nobody) EndSessions([]chat.SessionID)                 {}

// rules are the rules on a data directory that no server has open.
func rules(t *testing.T, dir string) (chat.Store, *chat.Service) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(context.Background(), sqlite.Config{Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return store, chat.NewService(chat.Config{
		Store: store, Publisher: nobody{}, Passwords: password.New(password.Params{Memory: 64, Time: 1}),
		Registration: chat.RegistrationOpen, NoLimits: true, Log: log,
	})
}

// leaves has somebody leave all their groups while there is no server.
func leaves(t *testing.T, dir, username string) {
	t.Helper()
	ctx := context.Background()
	store, svc := rules(t, dir)
	users, _, err := svc.Users(ctx, chat.Actor{Operator: true}, nil, username, 0, 1)
	if err != nil || len(users) != 1 {
		t.Fatalf("looking for %s: %v", username, err)
	}
	actor := chat.Actor{User: users[0].ID}
	page, err := svc.Chats(ctx, actor, chat.SyncPos{}, 0)
	if err != nil || len(page.Chats) == 0 {
		t.Fatalf("the chats of %s: %d, %v", username, len(page.Chats), err)
	}
	for _, c := range page.Chats {
		if _, err := svc.RemoveParticipant(ctx, actor, c.Chat.ID, actor.User); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// filled is a data directory in which Ana and Bob have said a great deal in
// Port: the messages 3 to many+2 say their own numbers, from "message 1" on.
func filled(t *testing.T, many int) string {
	t.Helper()
	need(t)
	dir := filepath.Join(t.TempDir(), "data")
	ctx := context.Background()
	store, svc := rules(t, dir)
	var ids [2]chat.UserID
	for i, name := range []string{"ana", "bob"} {
		u, err := svc.Register(ctx, chat.Actor{}, netip.Addr{}, chat.NewUser{Username: name, Password: secret})
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = u.ID
	}
	port, _, err := svc.CreateChat(ctx, chat.Actor{User: ids[0]}, chat.NewChat{Kind: chat.KindGroup, Title: "Port", Users: ids[1:]})
	if err != nil {
		t.Fatal(err)
	}
	places, errs := make(chan struct{}, 4096), make(chan error, many)
	for i := range many {
		places <- struct{}{}
		// Ana says everything she says last, so that nothing is unread to her.
		svc.Send(chat.Actor{User: ids[i/7%2]}, chat.NewMessage{Chat: port.Chat.ID, Content: said(i + 1)}, nil, func(_ chat.SendResult, err error) {
			errs <- err
			<-places
		})
	}
	for range many {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		if _, err := svc.SetRead(ctx, chat.Actor{User: id}, port.Chat.ID, int64(many)+2); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func said(i int) string {
	if i%10 == 0 {
		return fmt.Sprintf("message %d\n\nhas **two** paragraphs, so that rows differ in height", i)
	}
	return fmt.Sprintf("message %d", i)
}

// number is which message a row shows.
const numbers = `articles().map((a) => Number(/^message (\d+)/.exec(body(a))?.[1]))`

// contiguous sees that the rows are a run without holes or doubles.
func (p *Person) contiguous() (first, last int) {
	p.t.Helper()
	list := get[[]int](p, numbers)
	for i := 1; i < len(list); i++ {
		if list[i] != list[i-1]+1 {
			p.t.Fatalf("%s sees message %d after %d", p.Name, list[i], list[i-1])
		}
	}
	if len(list) == 0 {
		p.t.Fatalf("%s sees no messages", p.Name)
	}
	return list[0], list[len(list)-1]
}

// wheel turns the wheel over the messages and sees that what was on the screen
// moved by as much, whatever was loaded meanwhile.
func (p *Person) wheel(dy float64) {
	p.t.Helper()
	p.wait("messages", `scroller() && !scroller().dataset.loading`)
	p.do("turning the wheel", chromedp.MouseEvent(input.DispatchMouseEventTypeMouseWheel, 800, 400, func(q *input.DispatchMouseEventParams) {
		q.DeltaX, q.DeltaY = 0.01, dy // the one must not be 0 to be sent
	}))
}

// TestLongHistory goes to the beginning of a chat of 50,000 messages and back.
func TestLongHistory(t *testing.T) {
	srv := Serve(t, filled(t, many))
	ana := srv.Person("ana")
	ana.Login("ana")
	ana.Open("Port")
	if _, last := ana.contiguous(); last != many {
		t.Fatalf("the newest is message %d", last)
	}

	// Back by the wheel, page by page: nothing jumps.
	seen, _ := ana.contiguous()
	for range 25 {
		before := seen
		ana.wheel(-20_000)
		ana.wait("older messages", fmt.Sprintf(`%s[0] < %d`, numbers, before))
		ana.wait("them all", `!scroller().dataset.loading`)
		if seen, _ = ana.contiguous(); seen >= before {
			t.Fatalf("scrolling back from %d came to %d", before, seen)
		}
	}
	if n := get[int](ana, `articles().length`); n > 400 {
		t.Errorf("%d rows are drawn", n)
	}
	if err := ana.eval(holds, nil); err != nil {
		t.Errorf("what was looked at moved: %v", err)
	}
	if first, _ := ana.contiguous(); first >= seen {
		t.Errorf("nothing was loaded meanwhile: the first is message %d still", first)
	}

	// To the very beginning, and forth from there.
	ana.Press(kb.Tab, kb.ModifierShift)
	ana.wait("the focus in the list", `document.activeElement.matches('article')`)
	ana.Press(kb.Home)
	ana.wait("the first message", `scroller().dataset.atStart && message('message 1')`)
	if first, _ := ana.contiguous(); first != 1 {
		t.Errorf("the first is message %d", first)
	}
	_, end := ana.contiguous()
	for range 10 {
		before := end
		// A turn in the moment in which rows come may be lost to them: who reads
		// turns on.
		more := fmt.Sprintf(`%s.at(-1) > %d`, numbers, before)
		for turns := 0; turns < 10 && !get[bool](ana, more); turns++ {
			ana.wheel(20_000)
			if err := ana.eval(fmt.Sprintf(`new Promise((done) => { const begun = Date.now(); const look = () => %s || Date.now() - begun > 2000 ? done(true) : setTimeout(look, 20); look(); })`, more), nil); err != nil {
				t.Fatal(err)
			}
		}
		ana.wait("newer messages", more)
		ana.wait("them all", `!scroller().dataset.loading`)
		if _, end = ana.contiguous(); end <= before {
			t.Fatalf("scrolling forth from %d came to %d", before, end)
		}
	}
	ana.Click("Jump to newest")
	ana.wait("the newest", fmt.Sprintf(`scroller().dataset.atEnd && %s.at(-1) === %d`, numbers, many))
	ana.contiguous()

	// A link to a message in the middle, and a new one at the end.
	ana.Goto(srv.URL(get[string](ana, `location.pathname`)) + "/25002")
	ana.InView("the message that the link is to", row(25002))
	ana.contiguous()
	ana.Send("the last word")
	ana.ExpectSent("the last word")
	ana.wait("the end", `scroller().dataset.atEnd && body(articles().at(-1)) === 'the last word'`)
}

// holds scrolls back by a row's height again and again over a page's border, and
// throws if what was on the screen moved by anything else.
const holds = `(async () => {
	const s = scroller();
	const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))));
	// What the wheel began comes to rest first.
	for (let calm = 0, was = -1; calm < 5; was = s.scrollTop) {
		await frame();
		calm = s.scrollTop === was && !s.dataset.loading ? calm + 1 : 0;
	}
	for (let i = 0; i < 60; i++) {
		const top = s.getBoundingClientRect().top;
		const row = articles().find((a) => a.getBoundingClientRect().top > top + 60);
		const key = row.dataset.key, was = row.getBoundingClientRect().top;
		const step = Math.min(200, s.scrollTop);
		s.scrollTop -= step;
		await frame(); await frame();
		const now = document.getElementById('m' + key)?.getBoundingClientRect().top;
		if (now === undefined || Math.abs(now - was - step) > 2) throw new Error('row ' + key + ' moved by ' + (now - was) + ' and not by ' + step);
	}
	return true;
})()`
