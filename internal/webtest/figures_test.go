package webtest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/profiler"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/tracing"
	"github.com/chromedp/chromedp"

	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/protocol"
)

var (
	figures = flag.Bool("web.figures", false, "measure what docs/notes.md tells of the web client")
	trace   = flag.String("web.trace", "", "file for a trace of the browser under a flood of messages, which its tools open")
	slower  = flag.Float64("web.slower", 1, "how many times slower than this one the processor under a flood of messages is")
	profile = flag.String("web.profile", "", "file for a CPU profile of the page under a flood of messages, which a browser's tools open (it slows the page)")
)

// timing notes when the first message is drawn, and everything that kept the
// page from answering a person: tasks over 50 ms, and of what they were made.
const timing = `
	new MutationObserver((_, me) => {
		if (!document.querySelector('article')) return;
		me.disconnect();
		requestAnimationFrame(() => { window.firstMessage = performance.now(); });
	}).observe(document, { subtree: true, childList: true });
	window.long = [];
	new PerformanceObserver((l) => window.long.push(...l.getEntries().map((e) => Math.round(e.duration)))).observe({ type: 'longtask' });
	window.slow = [];
	new PerformanceObserver((l) => window.slow.push(...l.getEntries().map((e) => Math.round(e.duration) + ' ms, style and layout after ' +
		Math.round(e.styleAndLayoutStart - e.startTime) + ': ' + e.scripts.map((s) => s.invoker + ' ' + Math.round(s.duration) +
		' (forced layout ' + Math.round(s.forcedStyleAndLayoutDuration) + ')').join(', ')))).observe({ type: 'long-animation-frame' });
`

// measured opens a browser that measures, on a server with a chat of that many
// messages.
func measured(t *testing.T, many int) *Person {
	t.Helper()
	if !*figures {
		t.Skip("only with -web.figures: it takes minutes, and wants the machine for itself")
	}
	srv := Serve(t, filled(t, many))
	ana := srv.Person("ana")
	call(ana, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: timing})
	ana.Goto(srv.URL("/"))
	ana.wait("the form", `document.getElementById('username')`)
	return ana
}

// heap tells what the page takes.
func (p *Person) heap(when string) {
	p.t.Helper()
	call(p, heapprofiler.CollectGarbage, cdp.Empty{})
	h := call(p, runtime.GetHeapUsage, cdp.Empty{})
	p.t.Logf("heap, %s: %.1f MB of JavaScript, %d rows drawn, %d elements", when, h.UsedSize/1e6, get[int](p, "articles().length"), get[int](p, "document.querySelectorAll('*').length"))
}

// spent tells what the page's thread has done up to now, in seconds: the work as a
// whole, and of it the scripts, styles and layout.
func (p *Person) spent() map[string]float64 {
	p.t.Helper()
	all := map[string]float64{}
	for _, m := range call(p, performance.GetMetrics, cdp.Empty{}).Metrics {
		all[m.Name] = m.Value
	}
	return all
}

// traced begins a trace of what the page's process does, and gives what ends it.
func (p *Person) traced(file string) (end func()) {
	p.t.Helper()
	all := make(chan []byte, 4096)
	if err := chromedp.Listen(p.ctx, func(ev any) {
		switch ev := ev.(type) {
		case *tracing.EventDataCollected:
			for _, e := range ev.Value {
				all <- []byte(e)
			}
		case *tracing.EventTracingComplete:
			close(all)
		}
	}); err != nil {
		p.t.Fatal(err)
	}
	call(p, tracing.Start, tracing.StartParams{TraceConfig: &tracing.TraceConfig{
		IncludedCategories: []string{"-*", "toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline", "blink", "cc", "v8", "v8.execute", "disabled-by-default-v8.gc", "blink.user_timing", "loading"},
	}})
	return func() {
		call(p, tracing.End, cdp.Empty{})
		var events [][]byte
		for e := range all {
			events = append(events, e)
		}
		if err := os.WriteFile(file, slices.Concat([]byte(`{"traceEvents":[`), bytes.Join(events, []byte(",\n")), []byte("]}")), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
}

// TestFiguresLoad measures what the first load costs, and how soon a message is
// there.
func TestFiguresLoad(t *testing.T) {
	ana := measured(t, many)
	const loaded = `[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].reduce((n, e) => n + e.encodedBodySize, 0)`
	t.Logf("first load, up to the login page: %d bytes of bodies", get[int](ana, loaded))
	ana.Login("ana")
	ana.Open("Port")
	t.Logf("and up to the first chat: %d bytes, answers of the API among them", get[int](ana, loaded))
	t.Logf("files: %v", get[[]string](ana, `performance.getEntriesByType('resource').map((e) => new URL(e.name).pathname + ' ' + e.encodedBodySize)`))

	for _, kind := range []string{"kept", "cold cache"} {
		var times []int
		for range 9 {
			if kind != "kept" {
				call(ana, network.ClearBrowserCache, cdp.Empty{})
				get[bool](ana, `caches.keys().then((ks) => Promise.all(ks.map((k) => caches.delete(k)))).then(() => true)`)
			}
			ana.Reload()
			ana.wait("the first message", `window.firstMessage`)
			times = append(times, get[int](ana, `Math.round(window.firstMessage)`))
		}
		t.Logf("from navigation to the first message, %s: %v ms", kind, times)
	}
	ana.In()
	ana.InChat("Port")
	ana.heap("a chat of 50,000 messages just opened")
}

// TestFiguresFlood measures whether the page has time for people while 200
// messages a second are said in the chat that is open.
func TestFiguresFlood(t *testing.T) {
	const (
		senders = 4
		each    = 500
		gap     = 20 * time.Millisecond // between two messages of one sender
	)
	ana := measured(t, 1000)
	ana.Login("ana")
	ana.Open("Port")
	ana.contiguous()
	ana.heap("before them")
	chatID := get[string](ana, `location.pathname.split('/')[2]`)
	conns := make([]*harness.Conn, senders)
	for i := range conns {
		conn, err := harness.Dial(ana.s.Addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.Session(protocol.OpSessionStart, protocol.SessionStartParams{Mechanism: protocol.MechanismPlain, Username: "bob", Password: secret}, nil); err != nil {
			t.Fatal(err)
		}
		conns[i] = conn
	}
	before := get[int](ana, `(window.long.length = window.slow.length = 0, Number(articles().at(-1).dataset.seq))`)
	get[bool](ana, `(window.frames1 = 0, requestAnimationFrame(function f() { window.frames1++; requestAnimationFrame(f); }), true)`)
	if *profile != "" {
		call(ana, profiler.Enable, cdp.Empty{})
		call(ana, profiler.Start, cdp.Empty{})
	}
	call(ana, performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks})
	call(ana, emulation.SetCPUThrottlingRate, emulation.SetCPUThrottlingRateParams{Rate: *slower})
	spent := ana.spent()
	var traced func()
	if *trace != "" {
		traced = ana.traced(*trace)
	}
	answers := make(chan error, senders*each)
	begin := time.Now()
	var wg sync.WaitGroup
	for i, conn := range conns {
		wg.Go(func() {
			for n := range each {
				// By the clock, and nobody waits for answers: a machine that is late
				// catches up, so that the rate is kept.
				due := begin.Add(time.Duration(n)*gap + time.Duration(i)*gap/senders)
				if wait := time.Until(due); wait > 0 {
					<-time.After(wait)
				}
				conn.Start(protocol.TypeBroadcastRequest, protocol.OpMessageSend,
					protocol.MessageSendParams{ChatID: chatID, Content: fmt.Sprintf("sender %d says **%d** things, and `so on`", i, n+1)},
					func(r protocol.Response, err error) {
						if err == nil && r.Error != nil {
							err = r.Error
						}
						answers <- err
					})
				if err := conn.Flush(); err != nil {
					answers <- err
					return
				}
			}
		})
	}
	for range senders * each {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(begin)
	wg.Wait()
	ana.wait("the last of them", fmt.Sprintf(`articles().at(-1)?.dataset.seq === '%d'`, before+senders*each))
	shown := time.Since(begin)
	frames := get[int](ana, `window.frames1`)
	for name, now := range ana.spent() {
		spent[name] = now - spent[name]
	}
	call(ana, emulation.SetCPUThrottlingRate, emulation.SetCPUThrottlingRateParams{Rate: 1})
	if traced != nil {
		traced()
	}
	if *profile != "" {
		raw, err := json.Marshal(call(ana, profiler.Stop, cdp.Empty{}).Profile)
		if err == nil {
			err = os.WriteFile(*profile, raw, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	seqs := get[[]int](ana, `articles().map((a) => Number(a.dataset.seq))`)
	for i := 1; i < len(seqs); i++ {
		if seqs[i] != seqs[i-1]+1 {
			t.Errorf("message %d is drawn after %d", seqs[i], seqs[i-1])
		}
	}
	rate := senders * each / took.Seconds()
	t.Logf("while %.0f messages a second came for %.1f s: %.0f frames a second, tasks over 50 ms: %v", rate, took.Seconds(), float64(frames)/shown.Seconds(), get[[]int](ana, `window.long`))
	t.Logf("the page's thread was busy for %.1f s: %.2f ms a message, of it %.2f scripts, %.2f styles, %.2f layout (%.1f layouts a frame)", spent["TaskDuration"],
		1000*spent["TaskDuration"]/senders/each, 1000*spent["ScriptDuration"]/senders/each, 1000*spent["RecalcStyleDuration"]/senders/each, 1000*spent["LayoutDuration"]/senders/each, spent["LayoutCount"]/float64(frames))
	for _, s := range get[[]string](ana, `window.slow`) {
		t.Logf("a slow frame: %s", s)
	}
	if rate < 190 {
		t.Errorf("%.0f messages a second are no 200: the machine has no time to measure", rate)
	}
	ana.heap("after them")
}

// TestFiguresHistory measures what a long chat costs when one was all through it.
func TestFiguresHistory(t *testing.T) {
	ana := measured(t, many)
	ana.Login("ana")
	ana.Open("Port")
	ana.heap("the chat just opened")
	get[bool](ana, `(window.long.length = 0, true)`)
	for _, way := range []struct{ name, more, there string }{
		{"up", "dataset.atStart", "s.scrollTop = 0"},
		{"down", "dataset.atEnd", "s.scrollTop = s.scrollHeight"},
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
		ana.heap("all the way " + way.name)
	}
	t.Logf("tasks over 50 ms on the way: %v", get[[]int](ana, `window.long`))
}
