package webtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// helpers are what the scripts below speak with. They run in the page but are
// not the page's: the debugger evaluates them.
const helpers = `
const shown = (e) => !!e && e.getClientRects().length > 0;
const all = (css, root = document) => [...root.querySelectorAll(css)].filter(shown);
const label = (e) => e.getAttribute('aria-label') || e.innerText || '';
const named = (css, name) => all(css).find((e) => label(e).trim() === name) || all(css).find((e) => label(e).trim().startsWith(name));
const button = (name) => { const top = all('dialog[open]').at(-1); const within = (l) => !top || top.contains(l); const bs = all('button, [role=option], [role=tab]').filter(within); return bs.find((e) => label(e).trim() === name) || bs.find((e) => label(e).trim().startsWith(name)); };
const articles = () => all('article[data-key]');
const body = (a) => { const c = a.querySelector('.content .blocks'); return c ? c.innerText.trim().replace(/ ?\(edited\)$/, '') : a.querySelector('.gone')?.innerText ?? ''; };
const message = (text) => articles().findLast((a) => body(a) === text);
const scroller = () => document.querySelector('.scroller');
const chat = (name) => all('nav a').find((a) => a.querySelector('.name')?.innerText === name);
const kept = async () => { const rows = []; for (const { name } of await indexedDB.databases()) { const db = await new Promise((y, n) => { const r = indexedDB.open(name); r.onsuccess = () => y(r.result); r.onerror = () => n(r.error); }); for (const s of db.objectStoreNames) rows.push(...await new Promise((y, n) => { const r = db.transaction(s).objectStore(s).getAll(); r.onsuccess = () => y(r.result); r.onerror = () => n(r.error); })); db.close(); } return rows.map((r) => JSON.stringify(r)); };
const count = (name) => { const b = chat(name)?.querySelector('.badge'); return b ? b.innerText.trim() : chat(name) ? '' : null; };
`

// eval evaluates a JavaScript expression, waiting for promises, into v.
func (p *Person) eval(expr string, v any) error {
	ctx, cancel := context.WithTimeout(p.ctx, patience+10*time.Second)
	defer cancel()
	yes := true
	res, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{
		Expression:   "(async () => {" + helpers + "return JSON.stringify(await (async () => (" + expr + "))()) })()",
		AwaitPromise: &yes, ReturnByValue: &yes, UserGesture: &yes,
	})
	if err != nil {
		return err
	}
	if res.ExceptionDetails != nil {
		return errors.New(thrown(res.ExceptionDetails))
	}
	raw := []byte(res.Result.Value)
	var text string
	if len(raw) == 0 || json.Unmarshal(raw, &text) != nil {
		return nil // undefined
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal([]byte(text), v)
}

// get evaluates an expression that cannot fail.
func get[T any](p *Person, expr string) T {
	p.t.Helper()
	var v T
	if err := p.eval(expr, &v); err != nil {
		p.t.Fatalf("%s: %s: %v", p.Name, expr, err)
	}
	return v
}

// wait waits until an expression is true of the page: it looks again whenever
// the page changes. The last try says what it was instead.
func (p *Person) wait(what, expr string) {
	p.t.Helper()
	end := time.Now().Add(patience)
	for {
		left := time.Until(end)
		// A navigation ends the script; then it begins anew in the new page.
		var ok bool
		err := p.eval(fmt.Sprintf(`await (async () => {
			const end = performance.now() + %d;
			for (;;) {
				try { if (await (%s)) return true; } catch (e) { if (performance.now() > end) throw e; }
				if (performance.now() > end) return false;
				await new Promise((done) => {
					const watch = new MutationObserver(again), timer = setTimeout(again, 100);
					function again() { watch.disconnect(); clearTimeout(timer); done(); }
					watch.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
				});
			}
		})()`, max(left.Milliseconds(), 1), expr), &ok)
		if ok {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s: %s did not come (%v)", p.Name, what, err)
		}
	}
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Goto opens an address.
func (p *Person) Goto(url string) {
	p.t.Helper()
	res := call(p, page.Navigate, page.NavigateParams{URL: url})
	if res.ErrorText != "" {
		p.t.Fatalf("%s opens %s: %s", p.Name, url, res.ErrorText)
	}
}

// Reload loads the page again.
func (p *Person) Reload() {
	p.t.Helper()
	// What is there afterwards is waited for; the mark tells the old page from
	// the new one.
	get[bool](p, `(window.before = true)`)
	call(p, page.Reload, page.ReloadParams{})
	p.wait("the new page", `!window.before && document.querySelector('#app *')`)
}

// click clicks in the middle of what an expression gives, once it is there.
func (p *Person) click(what, expr string) {
	p.t.Helper()
	p.wait(what, expr)
	// Where it comes to rest: people do not click at what moves, nor at a button
	// that is gray because something is under way.
	at := get[struct{ X, Y float64 }](p, fmt.Sprintf(`(async () => {
		let was = '', calm = 0;
		for (const late = performance.now() + 30000; performance.now() < late;) {
			const e = %s;
			e?.scrollIntoView({ block: 'nearest' });
			const r = e && !e.disabled && e.getBoundingClientRect(), at = r && { X: r.x + r.width / 2, Y: r.y + r.height / 2 };
			calm = at && was === JSON.stringify(at) ? calm + 1 : 0;
			if (calm === 3) return at;
			was = JSON.stringify(at);
			await new Promise((done) => requestAnimationFrame(done));
		}
		throw new Error('it does not come to rest, or is not to be clicked');
	})()`, expr))
	p.do("clicking "+what, chromedp.MouseClickXY(at.X, at.Y))
}

func (p *Person) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("%s: %s: %v", p.Name, what, err)
	}
}

// Press presses a key, which kb names or which is a letter, as a keyboard would:
// what the page prevents does not happen.
func (p *Person) Press(key string, mods ...kb.Modifier) {
	p.t.Helper()
	for _, r := range key {
		events := kb.Encode(r)
		down, up := *events[0], *events[len(events)-1]
		if len(events) == 3 && len(mods) == 0 {
			down.Text, down.UnmodifiedText = events[1].Text, events[1].UnmodifiedText
		}
		for _, m := range mods {
			down.Modifiers |= int64(m)
			up.Modifiers |= int64(m)
		}
		call(p, input.DispatchKeyEvent, down)
		call(p, input.DispatchKeyEvent, up)
	}
}

// Click clicks a button by its name.
func (p *Person) Click(name string) {
	p.t.Helper()
	p.click("the button "+name, "button("+quote(name)+")")
}

// Type puts text where the focus is.
func (p *Person) Type(text string) {
	p.t.Helper()
	call(p, input.InsertText, input.InsertTextParams{Text: text})
}

// Fill fills a field by its label's id, in place of what is there.
func (p *Person) Fill(id, text string) {
	p.t.Helper()
	p.wait("the field "+id, "shown(document.getElementById("+quote(id)+"))")
	get[bool](p, fmt.Sprintf("(() => { const e = document.getElementById(%s); e.focus(); e.select(); return true; })()", quote(id)))
	p.Type(text)
	p.wait("the text in "+id, fmt.Sprintf("document.getElementById(%s).value === %s", quote(id), quote(text)))
}

const secret = "correct horse battery"

// Join makes an account with a link and goes in.
func (p *Person) Join(link, username, name string) {
	p.t.Helper()
	p.Goto(link)
	p.Fill("name", name)
	p.Fill("username", username)
	p.Fill("password", secret)
	p.Click("Create account")
	p.In()
}

// Login logs in.
func (p *Person) Login(username string) {
	p.t.Helper()
	p.Goto(p.s.URL("/"))
	p.Fill("username", username)
	p.Fill("password", secret)
	p.Click("Log in")
	p.In()
}

// In waits until one is in and everything is known.
func (p *Person) In() {
	p.t.Helper()
	p.wait("the connection", `document.querySelector('[data-status=online]')`)
}

// Status waits for the state of the connection.
func (p *Person) Status(status string) {
	p.t.Helper()
	p.wait("the state "+status, "document.querySelector('[data-status="+status+"]')")
}

// Invite makes an invite link.
func (p *Person) Invite() string {
	p.t.Helper()
	p.Click("Settings")
	p.Click("Invites")
	p.Fill("s-uses", "20")
	p.Click("New invite link")
	p.wait("the link", `all('.link input').length`)
	link := get[string](p, `all('.link input')[0].value`)
	p.Click("Close")
	return link
}

// Group makes a group with people by their usernames.
func (p *Person) Group(title string, usernames ...string) {
	p.t.Helper()
	p.Click("New chat")
	p.Click("Group")
	p.Fill("g-title", title)
	for _, u := range usernames {
		p.click("the field for people", `all('dialog input[type=search]')[0]`)
		get[bool](p, `(() => { document.activeElement.select(); return true; })()`)
		p.Type(u)
		p.click(u, fmt.Sprintf(`all('.found button').find((b) => b.innerText.includes(%s))`, quote("@"+u)))
	}
	p.Click("Create group")
	p.InChat(title)
}

// Open opens a chat by its name.
func (p *Person) Open(name string) {
	p.t.Helper()
	p.click("the chat "+name, "chat("+quote(name)+")")
	p.InChat(name)
}

// InChat waits until a chat is open and its messages are there.
func (p *Person) InChat(name string) {
	p.t.Helper()
	p.wait("the chat "+name, fmt.Sprintf(`all('.conv [role=heading]').some((h) => h.innerText === %s) && scroller() && !scroller().dataset.loading`, quote(name)))
}

// Write puts a text into the message field.
func (p *Person) Write(text string) {
	p.t.Helper()
	p.click("the message field", `all('.composer textarea')[0]`)
	p.Type(text)
}

// Send writes a message and sends it.
func (p *Person) Send(text string) {
	p.t.Helper()
	p.Write(text)
	p.Press(kb.Enter)
	p.wait("the empty field", `all('.composer textarea')[0].value === ''`)
}

// Expect waits for a message, and sees that there is one of it only.
func (p *Person) Expect(text string) {
	p.t.Helper()
	p.wait("the message "+quote(text), "message("+quote(text)+")")
	if n := get[int](p, "articles().filter((a) => body(a) === "+quote(text)+").length"); n > 1 {
		p.t.Errorf("%s sees %q %d times", p.Name, text, n)
	}
}

// ExpectSent waits until one's own message is on the server.
func (p *Person) ExpectSent(text string) {
	p.t.Helper()
	p.wait("the sent message "+quote(text), "message("+quote(text)+")?.dataset.seq")
}

// ExpectPending waits until one's own message is there and not sent.
func (p *Person) ExpectPending(text string) {
	p.t.Helper()
	p.wait("the waiting message "+quote(text), "message("+quote(text)+")?.classList.contains('pending')")
}

// Gone waits until a message is not there any more.
func (p *Person) Gone(text string) {
	p.t.Helper()
	p.wait("the end of "+quote(text), "!message("+quote(text)+")")
}

// Messages are the texts on the page, in order.
func (p *Person) Messages() []string {
	p.t.Helper()
	return get[[]string](p, "articles().map(body)")
}

// ExpectAll waits until exactly these messages are there, in this order.
func (p *Person) ExpectAll(texts ...string) {
	p.t.Helper()
	p.wait("the last message", fmt.Sprintf("articles().length >= %d && body(articles().at(-1)) === %s", len(texts), quote(texts[len(texts)-1])))
	if got := p.Messages(); !slices.Equal(got, texts) {
		p.t.Errorf("%s sees\n  %s\nand not\n  %s", p.Name, strings.Join(got, "\n  "), strings.Join(texts, "\n  "))
	}
}

// on points at a message and clicks one of its tools.
func (p *Person) on(text, tool string) {
	p.t.Helper()
	p.wait("the message "+quote(text), "message("+quote(text)+")?.dataset.seq")
	at := get[struct{ X, Y float64 }](p, fmt.Sprintf(`(() => { const e = message(%s).querySelector('.content'); e.scrollIntoView({ block: 'nearest' }); const r = e.getBoundingClientRect(); return { X: r.x + 4, Y: r.y + Math.min(8, r.height / 2) }; })()`, quote(text)))
	p.do("pointing at a message", chromedp.MouseEvent(chromedp.MouseMoved, at.X, at.Y))
	p.click(tool, fmt.Sprintf("[...(message(%s)?.querySelectorAll('.tools button') ?? [])].find((b) => label(b) === %s)", quote(text), quote(tool)))
}

// Edit changes a message.
func (p *Person) Edit(text, to string) {
	p.t.Helper()
	p.on(text, "Edit")
	p.wait("the text to edit", `all('.composer textarea')[0].value === `+quote(text))
	get[bool](p, `(() => { const e = all('.composer textarea')[0]; e.focus(); e.select(); return true; })()`)
	p.Type(to)
	p.Press(kb.Enter)
	p.wait("the end of the edit", `!document.querySelector('.mode')`)
}

// Delete deletes a message.
func (p *Person) Delete(text string) {
	p.t.Helper()
	p.on(text, "Delete")
	p.click("the confirmation", `all('dialog[open] footer button').find((b) => b.innerText === 'Delete')`)
	p.wait("the end of the dialog", `!document.querySelector('dialog[open]')`)
}

// Reply answers a message.
func (p *Person) Reply(to, text string) {
	p.t.Helper()
	p.on(to, "Reply")
	p.wait("what is answered", `document.querySelector('.mode')`)
	p.Send(text)
}

// Unread waits for what a chat's badge says; "": none.
func (p *Person) Unread(chat, badge string) {
	p.t.Helper()
	p.wait(fmt.Sprintf("%q unread in %s", badge, chat), fmt.Sprintf("count(%s) === %s", quote(chat), quote(badge)))
}
