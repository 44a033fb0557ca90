package webtest

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// TestAnswerThatWasLost: who joined and never heard so tries again, and is in: the
// name and the invite are theirs. Who asks for another's name hears that it is taken,
// and is not let in by a password that happens to be the same.
func TestAnswerThatWasLost(t *testing.T) {
	srv := Serve(t, "")
	ana := srv.Person("ana")
	ana.Goto(srv.Link)
	ana.Fill("name", "Ana Lima")
	ana.Fill("username", "ana")
	ana.Fill("password", secret)
	get[bool](ana, `(() => {
		const ask = window.fetch;
		window.fetch = async (...args) => {
			const answer = await ask(...args);
			if (args[0] !== '/v1/users') return answer;
			window.fetch = ask;
			throw new TypeError('Failed to fetch');
		};
		return true;
	})()`)
	ana.Click("Create account")
	ana.wait("what went wrong", `all('[role=alert]').length`)
	ana.Click("Create account") // the owner's link is used up by now
	ana.In()
	ana.wait("her name", `document.body.innerText.includes('Ana Lima')`)

	bob := srv.Person("bob")
	bob.Goto(ana.Invite())
	bob.Fill("username", "ana")
	bob.Fill("password", secret) // which is hers, too
	bob.Click("Create account")
	bob.wait("that it is taken", `all('[role=alert]').some((e) => e.innerText === 'This username is taken.')`)
	srv.NoReports()
}

// TestDraftsThatCannotBeKept: a browser that takes no more says so, once.
func TestDraftsThatCannotBeKept(t *testing.T) {
	srv := Serve(t, "")
	ana := srv.Person("ana")
	ana.Join(srv.Link, "ana", "Ana Lima")
	ana.Group("Port")
	ana.fullFor("drafts")
	ana.Write("not to be lost")
	note := `all('[role=alert]').some((e) => e.innerText.startsWith('This browser lets the page keep nothing'))`
	ana.wait("that nothing is kept", note)
	ana.click("Close", `all('.note button')[0]`)
	ana.Type(", and more")
	ana.wait("the rest of it", `document.querySelector('.composer textarea').value === 'not to be lost, and more'`)
	if get[bool](ana, note) {
		t.Error("it is said again with every letter")
	}
	ana.Press(kb.Enter)
	ana.ExpectSent("not to be lost, and more")
	srv.NoReports()
}

// fullFor makes the browser's database take nothing of a kind any more, until it is
// called with the name of no kind, "".
func (p *Person) fullFor(kind string) {
	p.t.Helper()
	get[bool](p, fmt.Sprintf(`(() => {
		const put = (window.reallyPut ??= IDBObjectStore.prototype.put);
		IDBObjectStore.prototype.put = function (...args) {
			if (this.name === %s) throw new DOMException('no space left', 'QuotaExceededError');
			return put.apply(this, args);
		};
		return true;
	})()`, quote(kind)))
}
