package webtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// pair is a server with Ana, its owner, and Bob, whom she invited, both in the
// group Port.
func pair(t *testing.T) (srv *Server, ana, bob *Person) {
	t.Helper()
	srv = Serve(t, "")
	ana, bob = srv.Person("ana"), srv.Person("bob")
	ana.Join(srv.Link, "ana", "Ana Lima")
	bob.Join(ana.Invite(), "bob", "Bob Okafor")
	ana.Group("Port", "bob")
	bob.Open("Port")
	return srv, ana, bob
}

func TestTalk(t *testing.T) {
	srv, ana, bob := pair(t)
	ana.Send("hi")
	bob.Expect("hi")
	ana.ExpectSent("hi")

	bob.Write("hel")
	ana.wait("that Bob types", `document.querySelector('.conv .typing').innerText === 'Bob Okafor is typing…'`)
	bob.Type("lo")
	bob.Press(kb.Enter)
	ana.Expect("hello")
	ana.wait("that he stopped", `document.querySelector('.conv .typing').innerText === ''`)

	bob.Reply("hi", "who is at the **port**?")
	ana.Expect("who is at the port?")
	ana.wait("the quote", `message('who is at the port?').querySelector('.quote').innerText.includes('hi')`)
	ana.wait("bold text", `message('who is at the port?').querySelector('.content strong').innerText === 'port'`)

	ana.Edit("hi", "hi, Bob")
	bob.Expect("hi, Bob")
	bob.wait("that it was edited", `message('hi, Bob').innerText.includes('(edited)')`)
	bob.wait("the quote of it", `message('who is at the port?').querySelector('.quote').innerText.includes('hi, Bob')`)

	ana.Delete("hi, Bob")
	bob.Gone("hi, Bob")
	bob.Expect("This message was deleted.")

	// Keys alone: the last message of one's own, from the list, is deleted.
	bob.Send("oops")
	bob.ExpectSent("oops")
	bob.Press(kb.Tab, kb.ModifierShift)
	bob.wait("the focus in the list", `document.activeElement.matches('article')`)
	bob.Press(kb.Delete)
	bob.wait("the question", `document.querySelector('dialog[open]')`)
	bob.Press(kb.Enter)
	ana.Gone("oops")

	// A mention is completed, and is one for whom it means.
	bob.Write("look, @an")
	bob.wait("a name", `all('#names li').some((l) => l.innerText.includes('@ana'))`)
	bob.Press(kb.Enter)
	bob.Type("it is in")
	bob.Press(kb.Enter)
	ana.Expect("look, @ana it is in")
	ana.wait("that she is meant", `message('look, @ana it is in').classList.contains('for-me') && message('look, @ana it is in').querySelector('.mention.me')`)
	// So is everybody, at the end of a sentence too.
	bob.Type("it is in, @all.")
	bob.Press(kb.Enter)
	ana.Expect("it is in, @all.")
	ana.wait("that she is meant, as all are", `message('it is in, @all.').classList.contains('for-me')`)

	srv.NoReports()
}

func TestUnreadOnAllDevices(t *testing.T) {
	srv, ana, bob := pair(t)
	phone := srv.Person("ana's phone")
	phone.Screen(390, 844)
	phone.Login("ana")

	// Ana is elsewhere: in her chat with Bob, found by name.
	ana.Press("k", kb.ModifierCtrl)
	ana.wait("the switcher", `document.activeElement.matches('.query')`)
	ana.Type("bob")
	ana.wait("Bob", `all('#found li').some((l) => l.innerText.includes('@bob'))`)
	ana.Press(kb.Enter)
	ana.InChat("Bob Okafor")

	bob.Send("one")
	bob.Send("two")
	ana.Unread("Port", "2")
	phone.Unread("Port", "2")
	bob.Send("@ana three")
	ana.Unread("Port", "@ 3")
	phone.Unread("Port", "@ 3")
	ana.wait("the title", `document.title.startsWith('(3) ')`)

	// Read on the phone is read at the desk; the line says from where on.
	phone.Open("Port")
	phone.wait("the line", `message('one').querySelector('.new')`)
	ana.Unread("Port", "")
	phone.Click("Back to chats")
	phone.Unread("Port", "")
	phone.Open("Port")

	// What is written on one device is on the other.
	phone.Send("from the boat")
	bob.Expect("from the boat")
	ana.Open("Port")
	ana.ExpectAll("one", "two", "@ana three", "from the boat")
	ana.wait("the phone's draft field", `all('.composer textarea')[0].value === ''`)
}

// TestOutage kills the server while people write. What they wrote waits, also
// over a reload without a server, goes out when it is back, and is there once
// and in one order.
func TestOutage(t *testing.T) {
	srv, ana, bob := pair(t)
	var sent []string
	for i := range 3 {
		text := fmt.Sprintf("before %d", i)
		ana.Send(text)
		ana.ExpectSent(text)
		sent = append(sent, text)
	}
	bob.ExpectAll(sent...)
	// The page itself is kept: its worker is there.
	ana.wait("the service worker", `navigator.serviceWorker.controller`)

	srv.Kill()
	ana.Status("offline")
	bob.Status("offline")
	for i := range 3 {
		ana.Send(fmt.Sprintf("ana meanwhile %d", i))
		bob.Send(fmt.Sprintf("bob meanwhile %d", i))
	}
	ana.ExpectPending("ana meanwhile 2")
	bob.ExpectPending("bob meanwhile 2")
	ana.Write("half a thought")
	ana.wait("the kept draft", `kept().then((rows) => rows.some((r) => r.includes('half a thought')))`)

	ana.Reload()
	ana.InChat("Port")
	ana.Status("offline")
	ana.ExpectPending("ana meanwhile 0")
	ana.ExpectPending("ana meanwhile 2")
	ana.wait("the draft", `all('.composer textarea')[0].value === 'half a thought'`)

	srv.Restart()
	ana.Status("online")
	bob.Status("online")
	ana.ExpectSent("ana meanwhile 2")
	bob.ExpectSent("bob meanwhile 2")
	ana.Expect("bob meanwhile 2")
	bob.Expect("ana meanwhile 2")
	got := ana.Messages()
	if other := bob.Messages(); !slices.Equal(got, other) {
		t.Errorf("they see different things:\n%q\n%q", got, other)
	}
	for _, who := range []string{"ana", "bob"} {
		var of []string
		for _, m := range got {
			if strings.HasPrefix(m, who+" meanwhile") {
				of = append(of, m)
			}
		}
		if want := []string{who + " meanwhile 0", who + " meanwhile 1", who + " meanwhile 2"}; !slices.Equal(of, want) {
			t.Errorf("of %s there is %q", who, of)
		}
	}
	if len(got) != len(sent)+6 || !slices.Equal(got[:3], sent) {
		t.Errorf("in all there is %q", got)
	}
}

func TestRevokedSessionIsThrownOut(t *testing.T) {
	srv, ana, _ := pair(t)
	phone := srv.Person("ana's phone")
	phone.Login("ana")
	phone.Open("Port")
	phone.wait("what is kept", `kept().then((rows) => rows.some((r) => r.includes('Port')))`)
	ana.Click("Settings")
	ana.Click("Devices")
	ana.wait("both devices", `all('#panel-set li').length >= 2`)
	ana.Click("Sign out")
	phone.wait("the login", `document.getElementById('username') && document.body.innerText.includes('You were signed out on this device.')`)
	phone.wait("why, where the focus is", `document.getElementById(document.activeElement.getAttribute('aria-describedby'))?.innerText === 'You were signed out on this device.'`)
	phone.wait("that nothing is kept", `!document.querySelector('article') && kept().then((rows) => !rows.some((r) => r.includes('Port')))`)
	phone.Goto(srv.URL("/"))
	phone.wait("the login", `document.getElementById('username')`)
}

// TestSignOutForgets is the shared computer: after a sign-out neither the back
// button nor what is kept shows anything.
func TestSignOutForgets(t *testing.T) {
	srv, ana, bob := pair(t)
	bob.Send("for Ana's eyes")
	ana.Expect("for Ana's eyes")
	if tokens := get[bool](ana, `JSON.stringify({ ...localStorage, ...sessionStorage, cookie: document.cookie }).includes('gt_')`); tokens {
		t.Error("a script can read a token")
	}
	ana.Click("Settings")
	ana.Click("Sign out of this device")
	ana.click("the confirmation", `all('dialog[open] footer button').at(-1)`)
	ana.wait("the login", `document.getElementById('username')`)
	get[bool](ana, `(history.back(), true)`)
	ana.wait("the login still", `document.getElementById('username') && !document.body.innerText.includes('Ana\'s eyes')`)
	ana.Login("bob")
	ana.wait("Bob", `document.querySelector('.me').innerText.includes('Bob Okafor')`)
	ana.Open("Port")
	ana.Expect("for Ana's eyes")
	srv.NoReports()
}

// TestManage makes, finds, renames and leaves groups, and changes who one is.
func TestManage(t *testing.T) {
	_, ana, bob := pair(t)
	// Everybody may join this one.
	ana.Click("New chat")
	ana.Click("Group")
	ana.Fill("g-title", "Harbour")
	ana.click("the box", `all('dialog label.check').at(-1)`)
	ana.Click("Create group")
	ana.InChat("Harbour")
	ana.Send("welcome")
	bob.Click("New chat")
	bob.Click("Browse")
	bob.Click("Join")
	bob.InChat("Harbour")
	bob.Expect("welcome")

	ana.Click("Details")
	ana.Click("Edit name and topic")
	ana.Fill("d-title", "The harbour")
	ana.Fill("d-topic", "Ships and **tides**")
	ana.Click("Save")
	bob.InChat("The harbour")
	bob.wait("the topic", `document.querySelector('.conv .sub').innerText === 'Ships and **tides**'`)
	ana.wait("Bob in the list", `all('aside li').some((l) => l.innerText.includes('Bob Okafor'))`)

	bob.Click("Details")
	bob.Click("Leave chat")
	bob.click("the confirmation", `all('dialog[open] footer button').at(-1)`)
	bob.wait("that it is gone", `!chat('The harbour')`)
	ana.wait("that he is gone", `!all('aside li').some((l) => l.innerText.includes('Bob Okafor'))`)

	bob.Click("Settings")
	bob.Fill("s-name", "Bob O.")
	bob.Fill("s-status", "On the boat")
	bob.Click("Save")
	bob.wait("that it is saved", `document.querySelector('.done').innerText === 'Saved'`)
	bob.Click("Close")
	bob.wait("the new name", `document.querySelector('.me').innerText.includes('Bob O.')`)

	bob.Click("Settings")
	bob.Fill("s-current", secret)
	bob.Fill("s-new", "another battery horse")
	bob.Click("Change password")
	bob.wait("that it is changed", `document.querySelector('.done').innerText.startsWith('Changed.')`)
	bob.Click("Close")
	bob.In()
}
