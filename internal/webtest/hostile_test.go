package webtest

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// hostile are texts that a page could take for something else than text.
var hostile = []string{
	`<script>window.broken = 1</script>`,
	`<img src=x onerror="window.broken=1">`,
	`<svg/onload=window.broken=1>`,
	`"><iframe srcdoc="<script>parent.broken=1</script>">`,
	`[click](javascript:window.broken=1)`,
	`[click](JaVaScRiPt:window.broken=1)`,
	`[click](data:text/html,<script>parent.broken=1</script>)`,
	`<a href="javascript:window.broken=1">x</a>`,
	`<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=window.broken=1&gt;">`,
	`<noscript><p title="</noscript><img src=x onerror=window.broken=1>">`,
	`]]> --> */ </style></title></textarea>`,
	`{{constructor.constructor('window.broken=1')()}} ${window.broken=1} {@html '<b>'}`,
	`&lt;b&gt; &#x3c;script&#x3e;`,
	`[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[`,
	`<style>*{display:none}</style>`,
	`javascript:window.broken=1//https://x`,
}

// TestHostileTextIsText sends what would break a page that makes HTML of text:
// as messages, names, titles, topics and status, in the list, the page's title,
// quotes, the switcher and notes of errors.
func TestHostileTextIsText(t *testing.T) {
	srv, ana, bob := pair(t)
	for _, text := range hostile {
		bob.Send(text)
	}
	for _, text := range hostile {
		// Links lose their marks where they are links; none of these may be one.
		ana.wait("the text "+quote(text), "message("+quote(text)+")")
	}
	bob.Send(`![a picture](https://example.org/x.png)`)
	ana.Expect("a picture")
	if links := get[[]string](ana, `all('article a').map((a) => a.href)`); len(links) > 0 {
		for _, l := range links {
			if !strings.HasPrefix(l, "https://") {
				t.Errorf("a link to %q", l)
			}
		}
	}
	if bad := get[int](ana, `all('article a').filter((a) => !a.rel.includes('noopener') || a.target !== '_blank').length`); bad > 0 {
		t.Errorf("%d links let the other page reach this one", bad)
	}
	if n := get[int](ana, `document.querySelectorAll('article script, article img, article iframe, article style, article math, article .content svg').length`); n > 0 {
		t.Errorf("%d elements came out of texts", n)
	}

	name := `<img src=x onerror=window.broken=1>`
	bob.Click("Settings")
	bob.Fill("s-name", name)
	bob.Fill("s-status", `"><script>window.broken=1</script>`)
	bob.Click("Save")
	bob.wait("that it is saved", `document.querySelector('.done').innerText === 'Saved'`)
	bob.Click("Close")
	bob.Group(`</title><script>window.broken=1</script>`, "ana")
	bob.Send(`<b>quoted</b>`)
	bob.Reply(`<b>quoted</b>`, "answer")
	bob.wait("the quote", `message('answer').querySelector('.quote').innerText.includes('<b>quoted</b>')`)
	ana.Reload()
	ana.In()
	ana.Open(`</title><script>window.broken=1</script>`)
	ana.wait("the title", `document.title.includes('</title><script>')`)
	ana.wait("the name", "all('article .name').some((n) => n.innerText === "+quote(name)+")")
	ana.Press("k", kb.ModifierCtrl)
	ana.wait("the switcher", `document.activeElement.matches('.query')`)
	ana.Type("</title>")
	ana.wait("the chat", `all('#found li').some((l) => l.innerText.includes('</title>'))`)
	ana.Press(kb.Escape)
	ana.wait("the end of the switcher", `!document.querySelector('dialog[open]')`)

	// One word wider than any screen, and a message of many lines.
	bob.Send(strings.Repeat("w", 5000))
	ana.wait("the word", `articles().some((a) => body(a).length === 5000)`)
	bob.Send(strings.Repeat("> ", 300) + strings.Repeat("*_~~`[", 1500))
	ana.wait("the nest", `articles().length >= 3`)
	bob.Send("after all that")
	ana.Expect("after all that")
	if wide := get[bool](ana, `document.documentElement.scrollWidth > innerWidth || scroller().scrollWidth > scroller().clientWidth`); wide {
		t.Error("a long word makes the page wider than the screen")
	}
	for _, p := range []*Person{ana, bob} {
		if get[bool](p, `'broken' in window`) {
			t.Errorf("a text ran as a script in %s's page", p.Name)
		}
	}
	srv.NoReports()
}
