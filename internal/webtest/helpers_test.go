package webtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Tab opens another tab in the same browser, with the same cookies and the same
// of all that is kept. The one there was goes to the background.
func (p *Person) Tab(name string) *Person {
	p.t.Helper()
	ctx, cancel := chromedp.NewContext(p.ctx)
	tab := &Person{t: p.t, s: p.s, Name: name, ctx: ctx}
	if err := chromedp.Listen(ctx, tab.listen); err != nil {
		cancel()
		p.t.Fatalf("opening %s: %v", name, err)
	}
	call(tab, runtime.Enable, cdp.Empty{})
	call(tab, log.Enable, cdp.Empty{})
	call(tab, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	tab.Screen(1280, 800)
	tab.close = cancel
	p.t.Cleanup(func() {
		if p.t.Failed() {
			tab.dump()
		}
		tab.end()
	})
	return tab
}

// Front brings a tab to the front.
func (p *Person) Front() {
	p.t.Helper()
	call(p, page.BringToFront, cdp.Empty{})
}

// Close closes a tab, as people do.
func (p *Person) Close() {
	p.t.Helper()
	p.end()
	p.close()
}

// end says what the page complained of, once.
func (p *Person) end() {
	p.mu.Lock()
	wrong := p.wrong
	p.wrong = nil
	p.mu.Unlock()
	for _, w := range wrong {
		p.t.Errorf("%s's page complained: %s", p.Name, w)
	}
}

// Dialog waits for a dialog, by its name.
func (p *Person) Dialog(name string) {
	p.t.Helper()
	p.wait("the dialog "+name, fmt.Sprintf(`all('dialog[open]').at(-1)?.getAttribute('aria-label') === %s`, quote(name)))
}

// NoDialog waits until none is open.
func (p *Person) NoDialog() {
	p.t.Helper()
	p.wait("the end of the dialog", `!document.querySelector('dialog[open]')`)
}

// Confirm says yes to a question.
func (p *Person) Confirm() {
	p.t.Helper()
	p.click("the confirmation", `all('dialog[open] footer button').at(-1)`)
	p.NoDialog()
}

// Settings opens a tab of the settings.
func (p *Person) Settings(tab string) {
	p.t.Helper()
	p.Click("Settings")
	p.Dialog("Settings")
	p.Click(tab)
	p.wait("the tab", fmt.Sprintf(`all('[role=tab][aria-selected=true]').some((e) => e.innerText === %s)`, quote(tab)))
}

// Says waits for a notice in the settings.
func (p *Person) Says(text string) {
	p.t.Helper()
	p.wait("the notice "+text, fmt.Sprintf(`all('.done, [role=alert]').some((e) => e.innerText.startsWith(%s))`, quote(text)))
}

// Upload gives a file to a field for files.
func (p *Person) Upload(css, path string) {
	p.t.Helper()
	field := call(p, runtime.Evaluate, runtime.EvaluateParams{Expression: "document.querySelector(" + quote(css) + ")"})
	if field.Result.ObjectID == "" {
		p.t.Fatalf("%s: there is no field %s", p.Name, css)
	}
	call(p, dom.SetFileInputFiles, dom.SetFileInputFilesParams{Files: []string{path}, ObjectID: field.Result.ObjectID})
}

// file is a file with these bytes.
func file(t *testing.T, name string, bytes []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// choose chooses of a select, by its name.
func (p *Person) choose(name, value string) {
	p.t.Helper()
	find := fmt.Sprintf(`all('select').find((e) => (e.getAttribute('aria-label') ?? document.getElementById(e.getAttribute('aria-labelledby'))?.innerText) === %s)`, quote(name))
	p.wait("the choice "+name, find)
	get[bool](p, fmt.Sprintf(`(() => { const e = %s; e.value = %s; e.dispatchEvent(new Event('change', { bubbles: true })); return true; })()`, find, quote(value)))
}

// tabTo presses Tab until the focus is on what an expression of the focused
// element says.
func (p *Person) tabTo(what, is string, mods ...kb.Modifier) {
	p.t.Helper()
	for range 40 {
		if get[bool](p, `((e) => !!(`+is+`))(document.activeElement)`) {
			return
		}
		p.Press(kb.Tab, mods...)
	}
	p.t.Fatalf("%s: the Tab key does not come to %s", p.Name, what)
}

// fits sees that nothing of a view is wider than the screen, and that an open
// dialog is on it.
func (p *Person) fits(view string) {
	p.t.Helper()
	wide := get[[]string](p, `(() => {
		const w = innerWidth, bad = [];
		if (document.documentElement.scrollWidth > w) bad.push('the page is ' + document.documentElement.scrollWidth + ' wide');
		for (const e of all('dialog[open], dialog[open] *')) {
			const r = e.getBoundingClientRect();
			if (r.width && (r.left < -1 || r.right > w + 1)) bad.push(e.tagName + '.' + e.className + ' ' + label(e).slice(0, 40) + ': ' + Math.round(r.left) + ' to ' + Math.round(r.right));
		}
		for (const d of all('dialog[open] .body')) if (d.scrollWidth > d.clientWidth + 1) bad.push('the dialog scrolls sideways');
		return bad.slice(0, 5);
	})()`)
	for _, w := range wide {
		p.t.Errorf("%s: %s", view, w)
	}
}

// forgive takes out of what the page complained of what a test is about.
func (p *Person) forgive(about ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrong = slices.DeleteFunc(p.wrong, func(w string) bool {
		return slices.ContainsFunc(about, func(a string) bool { return strings.Contains(w, a) })
	})
}

// hold keeps back what is asked for by an operation until come: how many are under
// way is window.held.length.
func (p *Person) hold(op string) {
	p.t.Helper()
	get[bool](p, `(() => {
		const { send } = WebSocket.prototype;
		window.held = [];
		WebSocket.prototype.send = function (line) {
			if (line.includes('"op":`+quote(op)+`')) return void window.held.push(() => send.call(this, line));
			return send.call(this, line);
		};
		window.come = () => {
			WebSocket.prototype.send = send;
			for (const go of window.held) go();
			return true;
		};
		return true;
	})()`)
}

// come lets go of what was held.
func (p *Person) come() {
	p.t.Helper()
	get[bool](p, `window.come()`)
}
