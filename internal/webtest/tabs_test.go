package webtest

import (
	"fmt"
	"strings"
	"testing"
)

// connections waits until the server has so many that hear events.
func (p *Person) connections(n int) {
	p.t.Helper()
	p.wait(fmt.Sprintf("%d connections", n), fmt.Sprintf(`fetch('/metrics').then((r) => r.text()).then((m) => m.includes('\ngrima_subscribers %d\n'))`, n))
}

// TestTabs: several tabs have one connection and agree; when the tab that has it
// is closed another goes on, and who signs out in one is out in all.
func TestTabs(t *testing.T) {
	srv, ana, bob := pair(t)
	zero := ana.Tab("ana's first tab")
	zero.Goto(srv.URL("/"))
	zero.In()
	zero.Open("Port")
	ana.Goto("about:blank") // it was only for the login
	one := ana.Tab("ana's second tab")
	one.Goto(srv.URL("/"))
	one.In()
	one.Open("Port")
	two := ana.Tab("ana's third tab")
	two.Goto(srv.URL("/"))
	two.In()
	two.Open("Port")
	bob.connections(2) // his own, and one for three tabs

	// The same chat in all, whoever speaks where.
	bob.Send("hello to all tabs")
	one.Front()
	one.Send("from the second")
	two.Front()
	two.Send("from the third")
	for _, p := range []*Person{zero, one, two} {
		p.Expect("hello to all tabs")
		p.ExpectSent("from the second")
		p.ExpectSent("from the third")
	}
	bob.Expect("from the third")
	want := bob.Messages()
	for _, p := range []*Person{zero, one, two} {
		if got := p.Messages(); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s sees %q and Bob %q", p.Name, got, want)
		}
	}

	// The first tab has the connection. What it had under way is not lost with it.
	one.Front()
	one.Send("just before")
	zero.Close()
	one.ExpectSent("just before")
	bob.Expect("just before")
	one.In()
	two.In()
	bob.Send("are you there?")
	one.Expect("are you there?")
	two.Expect("are you there?")
	two.Front()
	two.Send("I am")
	two.ExpectSent("I am")
	one.ExpectSent("I am")
	bob.Expect("I am")
	bob.connections(2)

	// Read in one is read in the other.
	one.Front()
	one.Goto(srv.URL("/"))
	one.In()
	one.Unread("Port", "")

	two.Front()
	two.Click("Settings")
	two.Click("Sign out of this device")
	two.Confirm()
	two.wait("the login", `document.getElementById('username')`)
	one.wait("the login in the other", `document.getElementById('username') && !document.querySelector('nav.side')`)
	one.wait("that nothing is kept", `kept().then((rows) => !rows.some((r) => r.includes('hello to all tabs')))`)

	// And who logs in in one is in in all, once, also where the form was sent just then.
	for _, p := range []*Person{one, two} {
		p.Fill("username", "ana")
		p.Fill("password", secret)
	}
	get[bool](one, `(window.addEventListener('storage', () => document.querySelector('form')?.requestSubmit(), { once: true }), true)`)
	two.Click("Log in")
	for _, p := range []*Person{two, one} {
		p.In()
		p.Open("Port")
		p.Expect("hello to all tabs")
	}
	bob.connections(2)
	if n := get[int](one, `navigator.locks.query().then(({ held }) => held.filter((l) => l.name.includes(':tab:')).length)`); n != 2 {
		t.Errorf("two tabs are %d clients", n)
	}
	srv.NoReports()
}

// TestFailedSends: what the server refuses stays with its reason, is sent again
// once it can be, or is discarded.
func TestFailedSends(t *testing.T) {
	srv, ana, bob := pair(t)
	ana.Send("before")
	ana.ExpectSent("before")
	bob.Expect("before")
	ana.wait("Bob, who can be mentioned", `document.querySelector('.conv .sub').innerText === '2 members'`)
	srv.Kill()
	ana.Status("offline")
	ana.Send("@bob are you there?")
	ana.Send("@bob never mind")
	ana.ExpectPending("@bob never mind")
	// Bob leaves meanwhile: nobody can be mentioned who is not in the chat.
	leaves(t, srv.Data, "bob")
	srv.Restart()
	ana.In()
	failed := func(text string) string {
		return fmt.Sprintf(`message(%s)?.classList.contains('failed') && message(%s).querySelector('[role=alert]').innerText.includes('Not sent: ')`, quote(text), quote(text))
	}
	ana.wait("that it was refused, and why", failed("@bob are you there?"))
	ana.wait("the other too", failed("@bob never mind"))
	ana.wait("a mark in the list of chats", `chat('Port').innerText !== '' && chat('Port').querySelector('.bad')`)
	ana.look("failed")

	// They are there still after a reload, and go on failing.
	ana.Reload()
	ana.In()
	ana.InChat("Port")
	ana.wait("the failed one", failed("@bob are you there?"))
	// A try that does not come into the outbox is said, and changes nothing.
	ana.fullFor("outbox")
	ana.click("Send again", `[...message('@bob are you there?').querySelectorAll('button')].find((b) => b.innerText === 'Send again')`)
	ana.wait("that it did not work", `document.querySelector('.toast')?.innerText === "This browser's storage does not work, or is full."`)
	ana.wait("the failed one, as before", failed("@bob are you there?"))
	ana.fullFor("")
	ana.click("Send again", `[...message('@bob are you there?').querySelectorAll('button')].find((b) => b.innerText === 'Send again')`)
	ana.wait("the refusal again, as the last one now", failed("@bob are you there?")+` && body(articles().at(-1)) === '@bob are you there?'`)
	ana.click("Discard", `[...message('@bob never mind').querySelectorAll('button')].find((b) => b.innerText === 'Discard')`)
	ana.Gone("@bob never mind")

	ana.Click("Details")
	ana.Click("Add people")
	ana.click("Bob", `all('.found button').find((b) => b.innerText.includes('@bob'))`)
	ana.click("Add", `all('.add')[0]`)
	ana.wait("Bob among them", `all('aside li').some((l) => l.innerText.includes('Bob Okafor'))`)
	ana.click("Send again", `[...message('@bob are you there?').querySelectorAll('button')].find((b) => b.innerText === 'Send again')`)
	ana.ExpectSent("@bob are you there?")
	bob.In()
	bob.wait("the chat", `chat('Port')`)
	bob.Open("Port")
	bob.Expect("@bob are you there?")
	if n := get[int](bob, `articles().filter((a) => body(a).includes('never mind')).length`); n != 0 {
		t.Error("what was discarded was sent")
	}
	srv.NoReports()
}

// TestTabWhoseStorageFails: the tab that has the connection can keep nothing any
// more. Another has it then, and both go on.
func TestTabWhoseStorageFails(t *testing.T) {
	srv, ana, bob := pair(t)
	ana.Goto("about:blank")
	one, two := ana.Tab("ana's first tab"), ana.Tab("ana's second tab")
	for _, p := range []*Person{one, two} {
		p.Goto(srv.URL("/"))
		p.In()
		p.Open("Port")
	}
	get[bool](one, `(() => {
		IDBObjectStore.prototype.put = () => { throw new DOMException('no space left', 'QuotaExceededError'); };
		return true;
	})()`)
	bob.Send("too much for the first")
	for _, p := range []*Person{one, two} {
		p.Expect("too much for the first")
	}
	two.wait("that it keeps what is said", `kept().then((rows) => rows.some((r) => r.includes('too much for the first')))`)
	for _, p := range []*Person{one, two} {
		p.In()
	}
	bob.connections(2) // his own, and one for both tabs
	one.Front()
	one.Send("said by the first")
	one.ExpectSent("said by the first")
	two.ExpectSent("said by the first")
	bob.Expect("said by the first")
	one.forgive("not kept")
}
