package webtest

import (
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/emulation"

	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/protocol"
)

// InView waits until a message is on the screen as a whole, with nothing under
// way, and has the focus.
func (p *Person) InView(what, row string) {
	p.t.Helper()
	p.wait(what+", on the screen and with the focus", fmt.Sprintf(`(() => {
		const e = %s, s = scroller()?.getBoundingClientRect(), r = e?.getBoundingClientRect();
		return r && r.top >= s.top && r.bottom <= s.bottom && !scroller().dataset.loading && document.activeElement === e;
	})()`, row))
	// It stays so, whatever else is loaded for it.
	p.calm()
	if at := get[string](p, `document.activeElement.dataset.seq ?? document.activeElement.tagName`); at != get[string](p, row+`.dataset.seq`) {
		p.t.Errorf("%s: then %s has the focus", what, at)
	}
}

// calm waits until the list neither moves nor loads for some frames.
func (p *Person) calm() {
	p.t.Helper()
	get[bool](p, `(async () => {
		for (let calm = 0, was = ''; calm < 6;) {
			await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
			const s = scroller(), now = s.scrollTop + ' ' + s.scrollHeight + ' ' + (s.dataset.loading ?? '');
			calm = now === was && !s.dataset.loading ? calm + 1 : 0;
			was = now;
		}
		return true;
	})()`)
}

func row(seq int) string { return fmt.Sprintf(`document.querySelector('article[data-seq="%d"]')`, seq) }

// as opens a connection of somebody who says things without a browser.
func as(t *testing.T, srv *Server, username string) *harness.Conn {
	t.Helper()
	conn, err := harness.Dial(srv.Addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.Session(protocol.OpSessionStart, protocol.SessionStartParams{Mechanism: protocol.MechanismPlain, Username: username, Password: secret}, nil); err != nil {
		t.Fatal(err)
	}
	return conn
}

func say(t *testing.T, conn *harness.Conn, p protocol.MessageSendParams) (seq int) {
	t.Helper()
	var r protocol.MessageSendResult
	if err := conn.Broadcast(protocol.OpMessageSend, p, &r); err != nil {
		t.Fatal(err)
	}
	return int(r.Seq)
}

// TestLinkedMessage opens links to messages, on fast and slow machines, with and
// without what the browser keeps: the message is in sight and has the focus.
func TestLinkedMessage(t *testing.T) {
	srv := Serve(t, filled(t, 2000))
	ana := srv.Person("ana")
	ana.Login("ana")
	ana.Open("Port")
	chat := srv.URL(get[string](ana, `location.pathname`))
	for i := range 8 {
		seq := 300 + 97*i
		call(ana, emulation.SetCPUThrottlingRate, emulation.SetCPUThrottlingRateParams{Rate: float64(1 + i%4*3)})
		ana.Goto(fmt.Sprintf("%s/%d", chat, seq))
		ana.InView(fmt.Sprintf("the message of the link, the %d. time", i+1), row(seq))
		if i%2 == 0 {
			// The same once more: it is all there by now.
			ana.Reload()
			ana.InView("it again", row(seq))
		}
	}
	call(ana, emulation.SetCPUThrottlingRate, emulation.SetCPUThrottlingRateParams{Rate: 1})
	ana.contiguous()
}

// TestJumps goes wherever the page has a way to.
func TestJumps(t *testing.T) {
	srv := Serve(t, filled(t, 1200))
	ana := srv.Person("ana")
	ana.Login("ana")
	ana.Open("Port")
	chat := get[string](ana, `location.pathname`)
	id := get[string](ana, `location.pathname.split('/')[2]`)

	// To what a reply answers, and to the end again.
	bob := as(t, srv, "bob")
	reply := say(t, bob, protocol.MessageSendParams{ChatID: id, Content: "what you said then", ReplyTo: new(int64(7))})
	ana.Expect("what you said then")
	ana.click("the quote", `message('what you said then')?.querySelector('.quote')`)
	ana.InView("what was answered", row(7))
	ana.contiguous()
	ana.Click("Jump to newest")
	ana.wait("the end", `scroller().dataset.atEnd && message('what you said then') && !button('Jump to newest')`)
	ana.calm()
	if off := get[float64](ana, `scroller().scrollHeight - scroller().scrollTop - scroller().clientHeight`); off > 1 {
		t.Errorf("the newest is %v px below", off)
	}

	// To a date: all of this was said today.
	ana.Click("Jump to date")
	ana.Click("Jump")
	ana.InView("today's first message", `articles()[0]`)
	ana.wait("the beginning", `scroller().dataset.atStart && message('message 1')`)
	ana.contiguous()

	// While one reads there, more is said: the button counts it, nothing moves.
	ana.calm()
	before := get[float64](ana, `articles()[3].getBoundingClientRect().top`)
	unread := say(t, bob, protocol.MessageSendParams{ChatID: id, Content: "and now"})
	ana.wait("the count", `button('1 new message')`)
	ana.calm()
	if after := get[float64](ana, `articles()[3].getBoundingClientRect().top`); after != before {
		t.Errorf("a message far below moved what is read by %v px", after-before)
	}

	// To what is unread, from a link to something old.
	ana.Goto(srv.URL(fmt.Sprintf("%s/%d", chat, 400)))
	ana.InView("the message of the link", row(400))
	ana.Click("Jump to unread")
	ana.wait("the line above it", fmt.Sprintf(`(() => {
		const e = %s, r = e?.getBoundingClientRect(), s = scroller().getBoundingClientRect();
		return r && e.querySelector('.new') && r.top >= s.top && r.bottom <= s.bottom && !button('Jump to unread');
	})()`, row(unread)))
	ana.Unread("Port", "")
	if n := get[int](ana, `all('.new').length`); n != 1 || unread != reply+1 {
		t.Errorf("%d lines, at %d after %d", n, unread, reply)
	}

	// The same line where one comes to a chat with something unread.
	ana.Goto(srv.URL("/"))
	ana.In()
	for i := range 40 {
		say(t, bob, protocol.MessageSendParams{ChatID: id, Content: fmt.Sprintf("while you were away %d", i)})
	}
	ana.Unread("Port", "40")
	ana.Open("Port")
	ana.wait("the line, and below it what is unread", fmt.Sprintf(`(() => {
		const e = %s, r = e?.getBoundingClientRect(), s = scroller().getBoundingClientRect();
		return r && e.querySelector('.new') && r.top >= s.top && r.top < s.top + s.height / 2;
	})()`, row(unread+1)))
}

// TestNothingJumps turns the wheel as a person does, both ways over many pages,
// while much is said and rows above grow: what is looked at moves by what the
// wheel was turned, and by nothing else.
func TestNothingJumps(t *testing.T) {
	srv := Serve(t, filled(t, 3000))
	ana := srv.Person("ana")
	ana.Login("ana")
	ana.Open("Port")
	ana.calm()
	chat := get[string](ana, `location.pathname.split('/')[2]`)
	bob := as(t, srv, "bob")
	first, last := ana.contiguous()
	for _, way := range []struct {
		name string
		dy   float64
	}{{"back", -420}, {"forth", 420}} {
		for i := range 40 {
			if i%4 == 1 { // not at the end, where what is new moves what is there
				last++
				say(t, bob, protocol.MessageSendParams{ChatID: chat, Content: fmt.Sprintf("message %d", last)})
			}
			if i%10 == 5 {
				ana.grow()
			}
			ana.turn(way.name, way.dy)
		}
		if way.dy < 0 {
			if now, _ := ana.contiguous(); now > first-300 {
				t.Errorf("40 turns back came from message %d to %d", first, now)
			}
		}
	}
	ana.contiguous()
	if n := get[int](ana, `articles().length`); n > 400 {
		t.Errorf("%d rows are drawn", n)
	}
}

// turn turns the wheel once, waits until the list is at rest, and sees that what
// was in the middle of the screen moved by as much: by less only at an end.
func (p *Person) turn(way string, dy float64) {
	p.t.Helper()
	at := get[struct {
		Key          string
		Top          float64
		Above, Below float64
	}](p, `(() => {
		const s = scroller(), box = s.getBoundingClientRect();
		const row = articles().find((a) => a.getBoundingClientRect().bottom > box.top + box.height / 2);
		return { Key: row.dataset.key, Top: row.getBoundingClientRect().top, Above: s.scrollTop, Below: s.scrollHeight - s.scrollTop - s.clientHeight };
	})()`)
	p.wheel(dy)
	p.calm()
	due := -dy
	if dy < 0 {
		due = min(due, at.Above)
	} else {
		due = max(due, -at.Below)
	}
	now := get[float64](p, fmt.Sprintf(`document.getElementById('m' + %s)?.getBoundingClientRect().top ?? 1e9`, quote(at.Key)))
	if max(now-at.Top-due, at.Top+due-now) > 2 {
		p.t.Errorf("going %s, the row %s that was at %v is at %v and not at %v", way, at.Key, at.Top, now, at.Top+due)
	}
}

// grow makes a row above and one below the screen higher, as a picture that comes
// late would, and sees that what is on it stays where it is.
func (p *Person) grow() {
	p.t.Helper()
	off := get[float64](p, `(async () => {
		const s = scroller(), box = s.getBoundingClientRect(), list = articles();
		const mid = list.findIndex((a) => a.getBoundingClientRect().bottom > box.top + box.height / 2);
		const row = list[mid], was = row.getBoundingClientRect().top;
		for (const a of [list[0], list.findLast((a) => a.getBoundingClientRect().bottom < box.top), list.at(-1)]) if (a) a.style.paddingBottom = '240px';
		for (let i = 0; i < 4; i++) await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
		return row.getBoundingClientRect().top - was;
	})()`)
	if off > 2 || off < -2 {
		p.t.Errorf("a picture above moved what is looked at by %v px", off)
	}
}
