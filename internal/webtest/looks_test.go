package webtest

import (
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// audit looks a view over with axe-core, which knows what people who listen to a
// page, or use it without a mouse, stumble over.
func (p *Person) audit(view string) {
	p.t.Helper()
	axe, err := os.ReadFile("../../web/node_modules/axe-core/axe.min.js")
	if err != nil {
		p.t.Fatalf("axe-core is not installed: %v", err)
	}
	if err := p.eval("(() => { "+string(axe)+"; window.axe = axe; return true; })()", nil); err != nil {
		p.t.Fatalf("loading axe-core: %v", err)
	}
	found := get[[]string](p, `axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations.map((v) => v.id + ': ' + v.help + '\n    ' + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200) + '\n      ' + (n.any[0]?.message ?? '')).join('\n    ')))`)
	for _, f := range found {
		p.t.Errorf("%s: %s", view, f)
	}
}

// look takes a picture of a view and audits it.
func (p *Person) look(view string) {
	p.t.Helper()
	p.audit(view)
	p.Shoot(view)
}

// dialogs opens the dialogs one by one, looks them over, and sees that they fit,
// also from right to left. Where they were audited they are only looked at.
func (p *Person) dialogs(prefix string, audited bool) {
	p.t.Helper()
	one := func(name string) {
		p.t.Helper()
		name = strings.TrimPrefix(prefix+"-"+name, "-")
		if !audited {
			p.audit(name)
		}
		p.Shoot(name)
		p.fits(name)
		get[bool](p, `(document.documentElement.dir = 'rtl', true)`)
		p.fits(name + ", right to left")
		p.Shoot(name + "-rtl")
		get[bool](p, `(document.documentElement.dir = '', true)`)
		p.Press(kb.Escape)
		p.NoDialog()
	}
	for _, tab := range []string{"Profile", "Look", "Devices", "Invites", "Keyboard"} {
		p.Settings(tab)
		one("settings-" + strings.ToLower(tab))
	}
	for _, kind := range []string{"One person", "Group", "Browse"} {
		p.Click("New chat")
		p.Click(kind)
		one("new-" + strings.ToLower(strings.Fields(kind)[0]))
	}
}

// TestNarrow is the smallest phone, with names and code that are wider than it.
func TestNarrow(t *testing.T) {
	srv := Serve(t, "")
	ana := srv.Person("ana")
	ana.Join(srv.Link, "ana", "Wolfeschlegelsteinhausenbergerdorff-Hohenstein von und zu Ulm")
	ana.Group("Port")
	ana.Send("For tonight:\n```\ncurl -s http://127.0.0.1:7007/v1/chats | jq -c .chats\n```")
	ana.wait("it", `articles().at(-1)?.dataset.seq`)
	ana.Press(kb.Tab, kb.ModifierShift)
	ana.Press("r")
	ana.wait("what is answered", `document.querySelector('.mode')`)
	ana.Send("thanks")
	ana.ExpectSent("thanks")
	ana.Screen(320, 568)
	ana.wait("the small screen", `innerWidth === 320 && scroller().clientWidth <= 320`)
	ana.look("narrow")
	if wide := get[[]string](ana, `all('.scroller *').filter((e) => !e.closest('pre') && e.getBoundingClientRect().right > innerWidth).map((e) => e.className)`); len(wide) > 0 {
		t.Errorf("wider than the screen: %q", wide)
	}
	for _, dir := range []string{"rtl", "ltr"} {
		get[bool](ana, `(document.documentElement.dir = `+quote(dir)+`, true)`)
		if over := get[bool](ana, `((code, copy) => code.right > copy.left)(...['pre', '.copy'].map((css) => document.querySelector('article ' + css).getBoundingClientRect()))`); over {
			t.Errorf("%s: the button that copies code is not where the code ends", dir)
		}
	}
	ana.Click("Jump to date")
	ana.Dialog("Jump to date")
	ana.fits("the date")
	ana.Press(kb.Escape)
	ana.NoDialog()
}

// TestForcedColors: where the system has the say of colours, what is chosen and what
// has the focus is told by lines.
func TestForcedColors(t *testing.T) {
	_, ana, _ := pair(t)
	ana.Prefers("forced-colors", "active")
	line := func(what, css string) {
		t.Helper()
		if get[string](ana, `getComputedStyle(document.querySelector(`+quote(css)+`)).outlineStyle`) == "none" {
			t.Errorf("nothing tells %s", what)
		}
	}
	ana.wait("the field", `document.activeElement.matches('.composer textarea')`)
	line("where one writes", ".composer .box")
	line("which chat is open", "nav a[aria-current]")
	line("which chats are shown", "nav button[aria-pressed=true]")
	ana.Press("k", kb.ModifierCtrl)
	ana.wait("the switcher", `document.activeElement.matches('.query')`)
	ana.Type("port")
	ana.wait("the chat", `all('#found li').length === 1`)
	line("what is chosen", "#found [aria-selected=true]")
	ana.Shoot("forced-colors")
}

// TestLooks goes through the main views, wide and narrow, light and dark, from
// left to right and back.
func TestLooks(t *testing.T) {
	srv := Serve(t, "")
	ana, bob, carla := srv.Person("ana"), srv.Person("bob"), srv.Person("carla")
	ana.Goto(srv.Link)
	ana.wait("the form", `document.getElementById('name')`)
	ana.look("join")
	ana.Join(srv.Link, "ana", "Ana Lima")
	link := ana.Invite()
	bob.Join(link, "bob", "Bob Okafor")
	carla.Join(link, "carla", "Carla Núñez")
	ana.Group("Port", "bob", "carla")
	bob.Open("Port")
	carla.Open("Port")
	ana.Send("Good morning. The *Meridian* is in; who is at the port today?")
	bob.Expect("Good morning. The Meridian is in; who is at the port today?")
	bob.Send("I am, with the crane. Berth **7**, as always.")
	carla.Expect("I am, with the crane. Berth 7, as always.")
	carla.Reply("I am, with the crane. Berth 7, as always.", "Then I take the papers. The list is at https://example.org/manifest/14")
	bob.Expect("Then I take the papers. The list is at https://example.org/manifest/14")
	bob.Send("For whoever unloads tonight:\n```sh\ngrima tail --since 1h Port | jq -c .message.content\n```")
	bob.Send("👍")
	ana.wait("it", `articles().length === 5`)
	ana.Send("- [14] customs: done\n- [15] weight: Carla\n- [16] seal: Bob")
	ana.Send("صباح الخير، السفينة في الميناء الآن")
	ana.wait("it", `articles().length === 7 && articles().at(-1).dataset.seq`)
	bob.Click("New chat")
	bob.click("Ana", `all('.found button').find((b) => b.innerText.includes('@ana'))`)
	bob.InChat("Ana Lima")
	bob.Send("Do you have the key to the shed?")
	bob.ExpectSent("Do you have the key to the shed?")
	carla.Group("Night shift", "ana", "bob")
	carla.Send("@ana who takes over at ten?")
	carla.ExpectSent("@ana who takes over at ten?")
	ana.Unread("Bob Okafor", "1")
	ana.Unread("Night shift", "@ 1")

	ana.look("wide")
	ana.Prefers("prefers-color-scheme", "dark")
	ana.wait("the dark", `document.documentElement.dataset.theme === 'dark'`)
	ana.look("dark")
	get[bool](ana, `(document.documentElement.dir = 'rtl', true)`)
	ana.look("rtl-dark")
	ana.Prefers("prefers-color-scheme", "light")
	ana.wait("the light", `document.documentElement.dataset.theme === 'light'`)
	ana.look("rtl")
	get[bool](ana, `(document.documentElement.dir = '', true)`)

	ana.Click("Details")
	ana.wait("the people", `all('aside li').length === 3`)
	ana.look("details")
	ana.Click("Close details")
	ana.Press("k", kb.ModifierCtrl)
	ana.wait("the switcher", `document.activeElement.matches('.query')`)
	ana.look("switcher")
	ana.Press(kb.Escape)
	ana.dialogs("", false)
	ana.Click("Emoji")
	ana.wait("the emoji", `all('.picker .e').length > 100`)
	ana.look("emoji")
	ana.Press(kb.Escape)
	// Under the pointer a message has its tools.
	ana.on("👍", "Reply")
	ana.look("reply")
	ana.Click("Cancel")

	ana.Screen(390, 844)
	ana.look("phone")
	ana.Prefers("prefers-color-scheme", "dark")
	ana.look("phone-dark")
	ana.Click("Back to chats")
	ana.wait("the list", `shown(document.querySelector('nav.side')) && !document.querySelector('.conv')`)
	ana.look("phone-list")
	ana.dialogs("phone", true)
	ana.Prefers("prefers-color-scheme", "light")
	ana.Screen(1280, 800)

	srv.Kill()
	ana.Status("offline")
	ana.Open("Port")
	ana.Send("Written on the boat")
	ana.ExpectPending("Written on the boat")
	ana.look("offline")
	srv.Restart()
	ana.In()
	ana.ExpectSent("Written on the boat")

	out := srv.Person("somebody")
	out.Goto(srv.URL("/"))
	out.wait("the form", `document.getElementById('username')`)
	out.look("login")
}
