package webtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp/kb"
)

// TestListStaysAtItsEndWhileOneWrites: a message of several lines takes room from the
// list, which stays at its end: what is said meanwhile is seen.
func TestListStaysAtItsEndWhileOneWrites(t *testing.T) {
	_, ana, bob := pair(t)
	for range 2 {
		bob.Send(strings.Repeat("line\n", 24) + "end")
	}
	ana.wait("them", `articles().length === 2 && articles().at(-1).dataset.seq`)
	// How far the list is from its end, once the browser has told everybody what it did.
	const off = `(async () => {
		for (let i = 0; i < 3; i++) await new Promise((done) => requestAnimationFrame(done));
		const s = scroller();
		return Math.round(s.scrollHeight - s.scrollTop - s.clientHeight);
	})()`
	if n := get[int](ana, off); n != 0 {
		t.Fatalf("the list is %d px from its end to begin with", n)
	}
	ana.Write("one")
	for range 6 {
		ana.Type("\nanother line")
		if n := get[int](ana, off); n != 0 {
			t.Fatalf("the list is %d px from its end while one writes", n)
		}
	}
	bob.Send("look")
	ana.Expect("look")
	ana.Unread("Port", "")
	if n := get[int](ana, off); n != 0 {
		t.Errorf("the list is %d px from its end when somebody has said something", n)
	}
	ana.Press(kb.Enter)
	ana.wait("the message", `articles().length === 4 && articles().at(-1).dataset.seq`)
	if n := get[int](ana, off); n != 0 {
		t.Errorf("the list is %d px from its end when it is sent", n)
	}

	// Who has scrolled up goes on seeing what they look at.
	get[bool](ana, `(scroller().scrollTop = 100, true)`)
	ana.calm()
	const top = `Math.round(articles()[0].getBoundingClientRect().top)`
	was := get[int](ana, top)
	ana.Write("one")
	for range 4 {
		ana.Type("\nanother line")
		ana.calm()
		if got := get[int](ana, top); got != was {
			t.Fatalf("what one looks at goes from %d to %d px while one writes", was, got)
		}
	}
}

// TestUpMeansTheLastOne: the Up key takes back what was said last, and nothing older
// while that is yet to be sent.
func TestUpMeansTheLastOne(t *testing.T) {
	srv, ana, _ := pair(t)
	ana.Send("first")
	ana.ExpectSent("first")
	srv.Kill()
	ana.Status("offline")
	ana.Send("second")
	ana.ExpectPending("second")
	ana.Press(kb.ArrowUp)
	ana.wait("why not", `document.querySelector('.toast.shown')?.innerText === 'Your last message is not sent yet: then it can be edited.'`)
	if got := get[string](ana, `document.querySelector('.composer textarea').value`); got != "" {
		t.Errorf("what is edited is %q", got)
	}
	srv.Restart()
	ana.ExpectSent("second")
	ana.Press(kb.ArrowUp)
	ana.wait("the edit", `document.querySelector('.mode') && document.activeElement.value === 'second'`)
}

// TestEditOfWhatIsGone: what became of an edit is said as long as it is one.
func TestEditOfWhatIsGone(t *testing.T) {
	_, ana, bob := pair(t)
	bob.Send("mine")
	bob.ExpectSent("mine")
	ana.Expect("mine")
	bob.Press(kb.ArrowUp)
	bob.wait("the edit", `document.querySelector('.mode') && document.activeElement.value === 'mine'`)
	bob.Type(", changed")
	ana.Delete("mine")
	bob.Gone("mine")
	bob.Press(kb.Enter)
	bob.wait("what is wrong", `document.querySelector('.composer [role=alert]')?.innerText === 'This message was deleted.'`)
	if got := get[string](bob, `document.activeElement.value`); got != "mine, changed" {
		t.Errorf("what was written is %q by then", got)
	}
	bob.Press(kb.Escape)
	bob.wait("the end of it", `!document.querySelector('.mode') && !document.querySelector('.composer [role=alert]')`)

	// Where another chat is open by then it is said there, and the edit waits.
	ana.Group("Crew", "bob")
	ana.Open("Port")
	bob.Send("mine, too")
	bob.ExpectSent("mine, too")
	bob.wait("its chat above the other", `all('nav a')[0] === chat('Port') && chat('Crew')`)
	bob.Press(kb.ArrowUp)
	bob.Type("!")
	bob.hold("message.edit")
	bob.Press(kb.Enter)
	bob.wait("that it is asked for", `window.held.length === 1`)
	bob.Open("Crew")
	ana.Delete("mine, too")
	bob.come()
	bob.wait("what is wrong", `document.querySelector('.toast.shown')?.innerText === 'This message was deleted.'`)
	bob.Open("Port")
	bob.wait("what was written", `document.querySelector('.mode') && document.activeElement.value === 'mine, too!'`)
}

// TestPastes: what no message can have is left out of what is sent, and what is too
// long stays to be shortened, which is said once.
func TestPastes(t *testing.T) {
	_, ana, bob := pair(t)
	paste := func(js string) {
		t.Helper()
		ana.click("the message field", `all('.composer textarea')[0]`)
		get[bool](ana, `document.execCommand('insertText', false, `+js+`)`)
	}
	paste(`'a\u0000b \ud83d!\r\nc'`)
	ana.Press(kb.Enter)
	bob.Expect("ab \ufffd!\nc")
	ana.ExpectSent("ab \ufffd!\nc")

	paste(`'x'.repeat(17000)`)
	const said = `all('.composer [role=alert]').map((e) => e.innerText).join()`
	ana.wait("how much it is too long", said+` === '616 bytes too long'`)
	ana.Press(kb.Enter)
	ana.Press(kb.Backspace)
	ana.wait("how much it is now", said+` === '615 bytes too long'`)
	get[bool](ana, `((e) => (e.setSelectionRange(16000, 17000), true))(document.activeElement)`)
	ana.Press(kb.Backspace)
	ana.wait("that it is short enough", said+` === ''`)
	ana.Press(kb.Enter)
	bob.wait("it", `articles().some((a) => body(a).length === 16000)`)

	// Blanks at its end are not sent, and so are not too long.
	paste(`'y'.repeat(16384) + '\n  '`)
	ana.Press(kb.Enter)
	bob.wait("as much as may be", `articles().some((a) => body(a).length === 16384)`)
}

// TestEditOverAnotherChat: who looks into another chat in the middle of an edit, or of
// a reply, finds it as it was.
func TestEditOverAnotherChat(t *testing.T) {
	_, ana, bob := pair(t)
	ana.Group("Crew", "bob")
	ana.Open("Port")
	ana.Send("frist")
	ana.ExpectSent("frist")
	ana.wait("its chat above the other", `all('nav a')[0] === chat('Port')`)
	ana.Press(kb.ArrowUp)
	ana.wait("the edit", `document.querySelector('.mode') && document.activeElement.value === 'frist'`)
	ana.Press(kb.Backspace)
	ana.Type("t, I mean first")
	ana.Open("Crew")
	ana.wait("nothing of it", `!document.querySelector('.mode') && document.activeElement.value === ''`)
	ana.Open("Port")
	ana.wait("the edit still", `document.querySelector('.mode') && document.activeElement.value === 'frist, I mean first'`)
	ana.Press(kb.Enter)
	bob.Expect("frist, I mean first")
	ana.wait("the end of it", `!document.querySelector('.mode') && document.activeElement.value === ''`)

	ana.Press(kb.Tab, kb.ModifierShift)
	ana.Press("r")
	ana.wait("what is answered", `document.querySelector('.mode')`)
	ana.Type("an answer")
	ana.Open("Crew")
	ana.Open("Port")
	ana.wait("the answer still", `document.querySelector('.mode') && document.activeElement.value === 'an answer'`)
	ana.Press(kb.Enter)
	bob.wait("it, and to what", `message('an answer')?.querySelector('.quote').innerText.includes('frist, I mean first')`)

	// On a phone what waits does not open the keyboard.
	ana.Screen(390, 844)
	call(ana, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: true})
	ana.Reload()
	ana.on("an answer", "Reply")
	ana.wait("what is answered, and the keyboard", `document.querySelector('.mode') && document.activeElement.matches('textarea')`)
	ana.Click("Back to chats")
	ana.Open("Port")
	if !get[bool](ana, `!!document.querySelector('.mode') && !document.activeElement.matches('textarea')`) {
		t.Error("what waits opens the keyboard, or is gone")
	}
}

// TestEditUnderWay: an edit is asked for once, however often one says so, and its end
// takes nothing that was begun since.
func TestEditUnderWay(t *testing.T) {
	_, ana, bob := pair(t)
	ana.Group("Crew", "bob")
	ana.Open("Port")
	for _, text := range []string{"first", "second"} {
		ana.Send(text)
		ana.ExpectSent(text)
	}
	ana.wait("its chat above the other", `all('nav a')[0] === chat('Port')`)
	const value = `document.querySelector('.composer textarea').value`
	edit := func(text string) {
		t.Helper()
		ana.on(text, "Edit")
		ana.wait("the edit", value+` === `+quote(text))
		ana.Type("!")
	}
	held := func(n int) {
		t.Helper()
		ana.wait("that it is asked for", `window.held.length >= `+fmt.Sprint(n))
		if got := get[int](ana, `window.held.length`); got != n {
			t.Fatalf("it is asked for %d times", got)
		}
	}

	// Several times, and something more before the answer.
	edit("second")
	ana.hold("message.edit")
	ana.Press(kb.Enter)
	ana.Press(kb.Enter)
	ana.Press(kb.Enter)
	held(1)
	ana.Type("?")
	ana.come()
	bob.Expect("second!")
	ana.Expect("second!")
	ana.Press(kb.Enter)
	bob.Expect("second!?")
	ana.wait("the end of it", `!document.querySelector('.mode') && `+value+` === ''`)

	// What was begun since.
	edit("first")
	ana.hold("message.edit")
	ana.Press(kb.Enter)
	held(1)
	ana.Press(kb.Escape)
	edit("second!?")
	ana.come()
	bob.Expect("first!")
	ana.Expect("first!")
	ana.wait("the other edit still", `document.querySelector('.mode') && `+value+` === 'second!?!'`)
	ana.Press(kb.Escape)

	// Over another chat: there and back before the answer, and after it.
	for _, back := range []bool{true, false} {
		was := ana.Messages()[0]
		edit(was)
		ana.hold("message.edit")
		ana.Press(kb.Enter)
		held(1)
		ana.Open("Crew")
		if back {
			ana.Open("Port")
			ana.wait("the edit still", value+` === `+quote(was+"!"))
			ana.Press(kb.Enter)
			held(1)
		}
		ana.come()
		bob.Expect(was + "!")
		ana.Open("Port")
		ana.Expect(was + "!")
		ana.wait("the end of it", `!document.querySelector('.mode') && `+value+` === ''`)
	}
}
