package webtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// offers are the names of what the page offers in a chat's details, of those
// that not everybody may do.
const offers = `['Edit name and topic', 'Add people', 'Leave chat', 'Delete group'].filter((n) => all('aside button').some((b) => label(b).trim() === n)).join() +
	(all('aside select.role').length ? ',roles' : '') + ',' + all('aside li button').filter((b) => label(b).startsWith('Remove ')).map((b) => label(b).slice(7)).sort().join()`

// TestRoles: what the page offers is what one may do, and follows one's role.
func TestRoles(t *testing.T) {
	srv, ana, bob := pair(t)
	carla := srv.Person("carla")
	carla.Join(ana.Invite(), "carla", "Carla Núñez")
	ana.Group("Crew", "bob", "carla")
	for _, p := range []*Person{bob, carla} {
		p.Open("Crew")
	}
	for _, p := range []*Person{ana, bob, carla} {
		p.Click("Details")
		p.wait("the members", `all('aside li').length === 3`)
	}
	offered := func(p *Person, want string) {
		t.Helper()
		p.wait("what one may do: "+want, fmt.Sprintf(`(%s) === %s`, offers, quote(want)))
	}
	offered(ana, "Edit name and topic,Add people,Leave chat,Delete group,roles,Bob Okafor,Carla Núñez")
	offered(bob, "Leave chat,")
	carla.Send("mine")
	bob.Expect("mine")
	ana.Expect("mine")
	tools := func(p *Person, text string) []string {
		t.Helper()
		p.on(text, "Copy text")
		return get[[]string](p, `[...message(`+quote(text)+`).querySelectorAll('.tools button')].map(label)`)
	}
	has := func(list []string, what string) bool {
		for _, s := range list {
			if s == what {
				return true
			}
		}
		return false
	}
	if got := tools(bob, "mine"); has(got, "Delete") || has(got, "Edit") {
		t.Errorf("a member is offered %q for somebody else's message", got)
	}
	if got := tools(ana, "mine"); !has(got, "Delete") || has(got, "Edit") {
		t.Errorf("the owner is offered %q for somebody else's message", got)
	}

	// The owner makes Bob an admin; what he is offered changes in front of him.
	ana.choose("Role of Bob Okafor", "admin")
	offered(bob, "Edit name and topic,Add people,Leave chat,Carla Núñez")
	carla.wait("that he is one", `all('aside li').some((l) => l.innerText.includes('Bob Okafor') && l.innerText.includes('Admin'))`)
	bob.Click("Remove Carla Núñez")
	bob.Dialog("Remove Carla Núñez?")
	bob.look("remove")
	bob.Confirm()
	carla.wait("that it is gone", `!chat('Crew') && document.body.innerText.includes('This chat is not here')`)
	carla.look("gone")
	was := get[int](carla, `history.length`)
	carla.Click("Back to chats")
	carla.wait("the chats", `location.pathname === '/'`)
	if n := get[int](carla, `history.length`); n != was {
		t.Error("what is not there stays in the browser's history")
	}
	ana.wait("that she is gone", `all('aside li').length === 2`)
	// The button that was pressed is gone, with her row.
	bob.wait("the focus among the others", `document.activeElement.matches('aside ul')`)

	// The last owner cannot just go, and is told so.
	ana.Click("Leave chat")
	ana.click("the confirmation", `all('dialog[open] footer button').at(-1)`)
	ana.wait("the reason", `document.querySelector('dialog[open] [role=alert]')`)
	if why := get[string](ana, `document.querySelector('dialog[open] [role=alert]').innerText`); why == "Something went wrong. Try again." {
		t.Errorf("the last owner hears %q", why)
	}
	ana.Press(kb.Escape)
	ana.NoDialog()
	ana.choose("Role of Bob Okafor", "owner")
	offered(bob, "Edit name and topic,Add people,Leave chat,Delete group,roles,Ana Lima")
	ana.Click("Leave chat")
	before := get[int](ana, `history.length`)
	ana.Confirm()
	ana.wait("that it is gone", `!chat('Crew') && location.pathname === '/'`)
	if n := get[int](ana, `history.length`); n != before {
		t.Error("what was left stays in the browser's history")
	}

	// A name as long as may be bends nothing.
	long := "A very long name for a group that nobody would ever type but somebody will " + fmt.Sprintf("%053d", 7)
	bob.Click("Edit name and topic")
	bob.Fill("d-title", long)
	bob.Click("Save")
	bob.InChat(long)
	bob.fits("a long name")
	bob.Screen(390, 844)
	bob.wait("the details", `shown(document.querySelector('aside'))`)
	bob.fits("a long name on a phone")
	bob.Shoot("long-name-phone")
	bob.Screen(1280, 800)
	bob.Click("Delete group")
	bob.Confirm()
	bob.wait("that it is gone", fmt.Sprintf(`!chat(%s) && location.pathname === '/'`, quote(long)))
	srv.NoReports()
}

// TestRemovedWhileWriting: whoever is removed while they write is told so, and
// nobody goes on hearing that they write.
func TestRemovedWhileWriting(t *testing.T) {
	_, ana, bob := pair(t)
	ana.Click("Details")
	ana.Send(strings.Repeat("line\n", 24) + "end")
	ana.Send(strings.Repeat("line\n", 24) + "end")
	bob.wait("them", `articles().length === 2`)
	bob.Write("I was about to")
	const typing = `document.querySelector('.conv .typing').innerText`
	ana.wait("that he types", typing+` === 'Bob Okafor is typing…'`)
	ana.Click("Remove Bob Okafor")
	ana.Confirm()
	ana.wait("that he is gone", `all('aside li').length === 1`)
	if got := get[string](ana, typing); got != "" {
		t.Errorf("of who is not in any more it is said: %s", got)
	}
	bob.wait("that it is said, and in the title no more", `document.querySelector('main [role=alert]')?.innerText.includes('This chat is not here') && document.title === 'Grima'`)
	// What was written is there when they are in again.
	ana.Click("Add people")
	ana.click("Bob", `all('.found button').find((b) => b.innerText.includes('@bob'))`)
	ana.click("Add", `all('.add')[0]`)
	ana.wait("the focus where it began", `label(document.activeElement) === 'Add people'`)
	bob.InChat("Port")
	bob.wait("what was written", `document.querySelector('.composer textarea').value === 'I was about to'`)
	// And what is said is seen, as before.
	ana.Send("welcome back")
	bob.Expect("welcome back")
	bob.wait("the list at its end", `(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight < 2)(scroller())`)
	bob.Unread("Port", "")
}

// TestChoicesThatComeToNothing: what was chosen and is refused, or cannot be asked
// for, is not shown as if it were so.
func TestChoicesThatComeToNothing(t *testing.T) {
	srv, ana, _ := pair(t)
	ana.Click("Details")
	ana.wait("the members", `all('aside li').length === 2`)
	const chosen = `[...all('aside select').map((e) => e.value), ...all('aside input[type=checkbox]').map((e) => e.checked)].join()`
	as := func(why, want string) {
		t.Helper()
		ana.wait(why, `document.querySelector('aside [role=alert]')?.innerText.startsWith(`+quote(why)+`)`)
		ana.wait("what is so: "+want, chosen+` === `+quote(want))
	}
	const so = "all,owner,member,false"
	ana.choose("Role of Ana Lima", "member")
	as("You are the last owner", so)
	srv.Kill()
	ana.Status("offline")
	ana.choose("Role of Bob Okafor", "admin")
	as("There is no connection.", so)
	ana.choose("Notifications", "none")
	as("There is no connection.", so)
	ana.click("the box", `all('aside label.check')[0]`)
	as("There is no connection.", so)
	ana.Settings("Profile")
	ana.click("the box", `all('dialog label.check')[0]`)
	ana.wait("why, and what is so", `document.querySelector('dialog [role=alert]')?.innerText === 'There is no connection.' && !document.querySelector('dialog label.check input').checked`)
	ana.Click("Look")
	ana.click("the box", `all('dialog label.check').at(-1)`)
	ana.wait("why, and what is so", `document.querySelector('dialog [role=alert]')?.innerText.startsWith('This browser does not allow') && !all('dialog label.check input').at(-1).checked`)
	ana.Click("Close")
	srv.Restart()
	ana.In()
	ana.choose("Role of Bob Okafor", "admin")
	ana.wait("the end of what was wrong", `!document.querySelector('aside [role=alert]')`)
	ana.wait("what is so then", chosen+` === 'all,owner,admin,false'`)
}

// TestNotificationLevel: of what one is told is the same on all devices, and
// what is muted counts for nothing.
func TestNotificationLevel(t *testing.T) {
	srv, ana, bob := pair(t)
	phone := srv.Person("ana's phone")
	phone.Screen(390, 844)
	phone.Login("ana")
	ana.Click("Details")
	ana.choose("Notifications", "none")
	ana.wait("that it is muted", `chat('Port').querySelector('[title=Muted]')`)
	ana.Goto(srv.URL("/"))
	ana.In()
	phone.Reload()
	phone.In()
	phone.wait("that it is muted there", `chat('Port').querySelector('[title=Muted]')`)
	bob.Send("anybody?")
	ana.Unread("Port", "1")
	phone.Unread("Port", "1")
	ana.wait("a quiet title", `document.title === 'Grima' && !chat('Port').classList.contains('unread')`)
	ana.Open("Port")
	ana.Unread("Port", "") // the mark comes a moment after the look
	ana.Click("Details")
	ana.choose("Notifications", "mentions")
	ana.wait("that it is heard", `!chat('Port').querySelector('[title=Muted]')`)
	ana.Goto(srv.URL("/"))
	ana.In()
	bob.Send("still nobody")
	bob.Send("@ana you?")
	ana.Unread("Port", "@ 2")
	ana.wait("the title, which counts the mention", `document.title.startsWith('(1) ')`)
	srv.NoReports()
}

// TestAccount: the password, and one's devices.
func TestAccount(t *testing.T) {
	srv, _, bob := pair(t)
	phone := srv.Person("bob's phone")
	phone.Login("bob")
	if made := get[int](phone, `fetch('/v1/tokens', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"device":"weather bot"}' }).then((r) => r.status)`); made != 201 {
		t.Fatalf("making a token was answered with %d", made)
	}
	bob.Settings("Devices")
	bob.wait("three devices", `all('#panel-set li').length === 3 && all('#panel-set li').filter((l) => l.innerText.includes('This device')).length === 1`)
	gone := `document.getElementById('username') && document.body.innerText.includes('You were signed out on this device.')`
	bob.Click("Sign out everywhere else")
	bob.wait("one device", `all('#panel-set li').length === 1`)
	back := func(p *Person, password string) {
		t.Helper()
		p.wait("the login", gone)
		p.Fill("username", "bob")
		p.Fill("password", password)
		p.Click("Log in")
	}
	back(phone, secret)
	phone.In()
	bob.Click("Look")
	bob.Click("Devices")
	bob.wait("two devices", `all('#panel-set li').length === 2`)
	bob.click("Sign out", `all('#panel-set li button')[0]`)
	back(phone, secret)
	phone.In()
	bob.Click("Profile")
	bob.Fill("s-current", "not the one it is")
	bob.Fill("s-new", "another battery horse")
	bob.Click("Change password")
	bob.Says("The current password is not right.")
	bob.Fill("s-current", secret)
	bob.Fill("s-new", "another battery horse")
	bob.Click("Change password")
	bob.Says("Changed. All other devices were signed out.")
	bob.Click("Close")
	bob.In()
	bob.Send("I am still in")
	bob.ExpectSent("I am still in")
	back(phone, secret)
	phone.wait("the refusal", `document.querySelector('[role=alert]')?.innerText === 'This username and password do not go together.'`)
	phone.look("login-refused")
	phone.Fill("password", "another battery horse")
	phone.Click("Log in")
	phone.In()
	srv.NoReports()
}
