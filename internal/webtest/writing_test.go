package webtest

import (
	"strings"
	"testing"

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
}

// TestEditOverAnotherChat: who looks into another chat in the middle of an edit, or of
// a reply, finds it as it was.
func TestEditOverAnotherChat(t *testing.T) {
	_, ana, bob := pair(t)
	ana.Group("Crew", "bob")
	ana.Open("Port")
	ana.Send("frist")
	ana.ExpectSent("frist")
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
}
