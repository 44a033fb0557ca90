package webtest

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"

	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/protocol"
)

var figures = flag.Bool("web.figures", false, "measure what docs/notes.md tells of the web client")

// TestFigures measures: what the first load costs, how soon a message is there,
// what a long chat costs when one was all through it, and whether the page has
// time for people while much is said.
func TestFigures(t *testing.T) {
	if !*figures {
		t.Skip("only with -web.figures: it takes minutes, and wants the machine for itself")
	}
	srv := Serve(t, filled(t, many))
	ana := srv.Person("ana")
	call(ana, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `
		new MutationObserver((_, me) => {
			if (!document.querySelector('article')) return;
			me.disconnect();
			requestAnimationFrame(() => { window.firstMessage = performance.now(); });
		}).observe(document, { subtree: true, childList: true });
		window.long = [];
		new PerformanceObserver((l) => window.long.push(...l.getEntries().map((e) => Math.round(e.duration)))).observe({ type: 'longtask' });
	`})
	ana.Goto(srv.URL("/"))
	ana.wait("the form", `document.getElementById('username')`)
	const loaded = `[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].reduce((n, e) => n + e.encodedBodySize, 0)`
	t.Logf("first load, up to the login page: %d bytes of bodies", get[int](ana, loaded))
	ana.Login("ana")
	ana.Open("Port")
	t.Logf("and up to the first chat: %d bytes, answers of the API among them", get[int](ana, loaded))
	t.Logf("files: %v", get[[]string](ana, `performance.getEntriesByType('resource').map((e) => new URL(e.name).pathname + ' ' + e.encodedBodySize)`))

	for _, kind := range []string{"kept", "cold cache"} {
		var times []int
		for range 5 {
			if kind != "kept" {
				call(ana, network.ClearBrowserCache, cdp.Empty{})
				get[bool](ana, `indexedDB.databases().then(() => caches.keys()).then((ks) => Promise.all(ks.map((k) => caches.delete(k)))).then(() => true)`)
			}
			ana.Reload()
			ana.wait("the first message", `window.firstMessage`)
			times = append(times, get[int](ana, `Math.round(window.firstMessage)`))
		}
		t.Logf("from navigation to the first message, %s: %v ms", kind, times)
	}
	ana.In()
	ana.InChat("Port")

	heap := func(when string) {
		call(ana, heapprofiler.CollectGarbage, cdp.Empty{})
		h := call(ana, runtime.GetHeapUsage, cdp.Empty{})
		t.Logf("heap, %s: %.1f MB of JavaScript, %d rows drawn, %d elements", when, h.UsedSize/1e6, get[int](ana, "articles().length"), get[int](ana, "document.querySelectorAll('*').length"))
	}
	heap("the chat just opened")

	// 200 messages a second for ten seconds.
	conn, err := harness.Dial(srv.Addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Session(protocol.OpSessionStart, protocol.SessionStartParams{Mechanism: protocol.MechanismPlain, Username: "bob", Password: secret}, nil); err != nil {
		t.Fatal(err)
	}
	chatID := get[string](ana, `location.pathname.split('/')[2]`)
	get[bool](ana, `(window.long.length = 0, true)`)
	answers := make(chan error, 2000)
	tick := time.NewTicker(5 * time.Millisecond)
	begin := time.Now()
	for i := range 2000 {
		<-tick.C
		// Nobody waits for the answers, so that the rate is kept.
		conn.Start(protocol.TypeBroadcastRequest, protocol.OpMessageSend,
			protocol.MessageSendParams{ChatID: chatID, Content: fmt.Sprintf("message %d", many+i+1)},
			func(r protocol.Response, err error) {
				if err == nil && r.Error != nil {
					err = r.Error
				}
				answers <- err
			})
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	tick.Stop()
	for range 2000 {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
	rate := 2000 / time.Since(begin).Seconds()
	ana.wait("the last of them", fmt.Sprintf(`%s.at(-1) === %d`, numbers, many+2000))
	ana.contiguous()
	t.Logf("while %.0f messages a second came for 10 s: tasks over 50 ms: %v", rate, get[[]int](ana, `window.long`))
	heap("after them")

	// All the way up, and down again.
	get[bool](ana, `(window.long.length = 0, true)`)
	for _, way := range []struct{ name, more, there, turn string }{
		{"up", "dataset.atStart", "s.scrollTop = 0", ""},
		{"down", "dataset.atEnd", "s.scrollTop = s.scrollHeight", ""},
	} {
		begin := time.Now()
		for !get[bool](ana, fmt.Sprintf(`(async () => {
			const s = scroller(), end = performance.now() + 15000;
			while (!s.%s && performance.now() < end) {
				%s;
				await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
			}
			return !!s.%s;
		})()`, way.more, way.there, way.more)) {
			if time.Since(begin) > 5*time.Minute {
				t.Fatalf("all the way %s takes too long", way.name)
			}
			ana.contiguous()
		}
		ana.contiguous()
		t.Logf("all the way %s: %.1f s", way.name, time.Since(begin).Seconds())
		heap("all the way " + way.name)
	}
	t.Logf("tasks over 50 ms on the way: %d", get[int](ana, `window.long.length`))
}
