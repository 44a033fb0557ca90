package webtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/grima-chat/grima/internal/harness"
)

// patience is how long a person waits for something to appear: a bound for
// slow machines, which nothing ever reaches on others.
const patience = time.Minute

var shots = flag.String("web.shots", "", "directory for screenshots of the main views")

// house is what all tests share: the binary and the browser.
type house struct {
	bin     string
	browser context.Context
	close   []func()
}

var (
	shared    house
	once      sync.Once
	errAbsent error // what is missing
)

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	for _, f := range shared.close {
		f()
	}
	os.Exit(code)
}

// need sees that there are a browser, a page and a binary.
func need(t *testing.T) *house {
	t.Helper()
	if testing.Short() {
		t.Skip("tests with a browser take a minute")
	}
	once.Do(func() { errAbsent = shared.open() })
	if errAbsent != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(errAbsent)
		}
		t.Skip(errAbsent)
	}
	return &shared
}

func (h *house) open() error {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		return errors.New("there is no chromium, which the browser tests drive: apt-get install chromium")
	}
	if _, err := os.Stat("../../web/dist/index.html"); err != nil {
		return errors.New("the page is not built, which the browser tests are of: make web (it needs npm with Node.js 20.19, 22.12, or 24 and newer: Debian 13's will do, Debian 12's will not)")
	}
	dir, err := os.MkdirTemp("", "webtest")
	if err != nil {
		return err
	}
	h.close = append(h.close, func() { _ = os.RemoveAll(dir) }) // the system's to tidy up else
	if h.bin, err = harness.Build(dir); err != nil {
		return err
	}
	alloc, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium),
		chromedp.NoSandbox,
		chromedp.UserDataDir(filepath.Join(dir, "profile")),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("force-prefers-reduced-motion", true),
		chromedp.Flag("lang", "en-GB"),
		chromedp.Env("LANGUAGE=en_GB", "TZ=UTC"),
		chromedp.WSURLReadTimeout(2*time.Minute),
	)...)
	// The same browser for all; a profile for each person.
	var stop context.CancelFunc
	h.browser, stop = chromedp.NewContext(alloc)
	h.close = append([]func(){stop, cancel}, h.close...)
	return chromedp.Do(h.browser)
}

// Server is the real binary on a data directory.
type Server struct {
	t    *testing.T
	h    *house
	Data string
	Addr string
	Link string // the owner's
	cmd  *exec.Cmd
	out  *lines
	gone chan error
}

// lines is what the server prints.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Serve starts a server that ends with the test, and sees at its end that no
// browser reported anything against the page's policy.
func Serve(t *testing.T, data string, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, h: need(t), Data: data}
	if data == "" {
		s.Data = filepath.Join(t.TempDir(), "data")
	}
	s.start(append([]string{"--listen", "127.0.0.1:0"}, args...)...)
	t.Cleanup(func() {
		s.NoReports()
		s.Kill()
		if t.Failed() {
			t.Logf("the server said:\n%s", s.out)
		}
	})
	return s
}

var (
	listening = regexp.MustCompile(`listening on (\S+)`)
	ownerLink = regexp.MustCompile(`http://\S+/join#\S+`)
)

func (s *Server) start(args ...string) {
	s.t.Helper()
	out := &lines{}
	s.out, s.gone = out, make(chan error, 1)
	s.cmd = exec.Command(s.h.bin, append([]string{"serve", "--data", s.Data, "--rate-factor", "0"}, args...)...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pr, pw := io.Pipe()
	s.cmd.Stdout, s.cmd.Stderr = pw, pw
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		once := sync.OnceFunc(func() { close(ready) })
		buf := make([]byte, 4096)
		for {
			n, err := pr.Read(buf)
			_, _ = out.Write(buf[:n]) // it cannot fail
			if listening.MatchString(out.String()) {
				once()
			}
			if err != nil {
				return
			}
		}
	}()
	go func() {
		err := s.cmd.Wait()
		pw.Close()
		s.gone <- err
	}()
	select {
	case <-ready:
	case err := <-s.gone:
		s.t.Fatalf("the server ended: %v\n%s", err, s.out)
	case <-time.After(time.Minute):
		s.t.Fatalf("the server does not come up\n%s", s.out)
	}
	s.Addr = strings.Trim(listening.FindStringSubmatch(s.out.String())[1], `",`)
	s.Link = ownerLink.FindString(s.out.String())
}

// Kill ends the server as a power cut would, if it runs.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	// The group is ours alone; it is gone already when this fails.
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.gone
	s.cmd = nil
}

// Restart starts a killed server again where it was.
func (s *Server) Restart(args ...string) {
	s.t.Helper()
	s.Kill()
	s.start(append([]string{"--listen", s.Addr}, args...)...)
}

// URL is the address of a page.
func (s *Server) URL(path string) string { return "http://" + s.Addr + path }

var reports = regexp.MustCompile(`(?m)^grima_csp_reports_total (\d+)`)

// NoReports fails the test if a browser reported a breach of the policy.
func (s *Server) NoReports() {
	s.t.Helper()
	if s.cmd == nil {
		return
	}
	resp, err := http.Get(s.URL("/metrics"))
	if err != nil {
		s.t.Errorf("asking for the reports: %v", err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Errorf("reading the metrics: %v", err)
	}
	if m := reports.FindSubmatch(body); m == nil || string(m[1]) != "0" {
		s.t.Errorf("browsers reported breaches of the content security policy: %s", m)
	}
}

// Person is somebody in front of a browser.
type Person struct {
	t    *testing.T
	s    *Server
	Name string
	ctx  context.Context

	close context.CancelFunc // of a tab

	mu    sync.Mutex
	wrong []string // what the page threw or complained of
}

// Person opens a browser with nothing in it. Devices of one person are several.
func (s *Server) Person(name string) *Person {
	s.t.Helper()
	ctx, cancel := chromedp.NewContext(s.h.browser, chromedp.WithNewBrowserContext())
	p := &Person{t: s.t, s: s, Name: name, ctx: ctx}
	if err := chromedp.Listen(ctx, p.listen); err != nil {
		cancel()
		s.t.Fatalf("opening a browser for %s: %v", name, err)
	}
	call(p, runtime.Enable, cdp.Empty{})
	call(p, log.Enable, cdp.Empty{})
	// Each behaves as if it alone had the focus.
	call(p, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	p.Screen(1280, 800)
	s.t.Cleanup(func() {
		if s.t.Failed() {
			p.dump()
		}
		p.mu.Lock()
		wrong := p.wrong
		p.mu.Unlock()
		if len(wrong) > 0 {
			s.t.Errorf("%s's page complained:\n%s", name, strings.Join(wrong, "\n"))
		}
		cancel()
	})
	return p
}

// listen keeps what a developer would see in red.
func (p *Person) listen(ev any) {
	var what string
	switch ev := ev.(type) {
	case *runtime.EventExceptionThrown:
		what = thrown(ev.ExceptionDetails)
	case *runtime.EventConsoleAPICalled:
		if ev.Type != runtime.ConsoleAPICalledTypeError && ev.Type != runtime.ConsoleAPICalledTypeWarning {
			return
		}
		for _, a := range ev.Args {
			what += " " + string(a.Value) + a.Description
		}
	case *log.EventEntryAdded:
		if ev.Entry.Level != log.EntryLevelError && ev.Entry.Level != log.EntryLevelWarning || ev.Entry.Source == log.EntrySourceNetwork {
			return // refused requests and lost connections are part of the tests
		}
		what = ev.Entry.Text
	default:
		return
	}
	if strings.Contains(what, "WebSocket connection to") || strings.Contains(what, "ERR_CONNECTION_REFUSED") {
		return // the same
	}
	p.mu.Lock()
	p.wrong = append(p.wrong, what)
	p.mu.Unlock()
}

// dump keeps what a failed test looked like.
func (p *Person) dump() {
	var state json.RawMessage
	if err := p.eval(`{
		path: location.pathname,
		visible: document.visibilityState,
		status: document.querySelector('[data-status]')?.dataset.status,
		top: scroller()?.scrollTop,
		height: scroller()?.scrollHeight,
		...scroller()?.dataset,
		main: document.querySelector('main')?.innerText.slice(0, 300),
		locks: await navigator.locks?.query(),
	}`, &state); err != nil {
		return // it was closed
	}
	p.t.Logf("%s's page: %s", p.Name, state)
	if *shots == "" {
		return
	}
	p.shoot("failed-" + strings.ReplaceAll(p.t.Name(), "/", "-") + "-" + p.Name)
}

func (p *Person) shoot(name string) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Errorf("taking a picture: %v", err)
		return
	}
	if err := os.MkdirAll(*shots, 0o755); err != nil {
		p.t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644); err != nil {
		p.t.Error(err)
	}
}

// Shoot takes a picture of a view, if pictures are wanted.
func (p *Person) Shoot(name string) {
	p.t.Helper()
	if *shots != "" {
		p.shoot(name)
	}
}

// call asks the browser for something.
func call[P, R any](p *Person, cmd cdp.Command[P, R], params P) R {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	res, err := chromedp.Call(ctx, cmd, params)
	if err != nil {
		p.t.Fatalf("%s: %s: %v", p.Name, cmd.Method, err)
	}
	return res
}

// Screen makes the window as large as a screen.
func (p *Person) Screen(width, height int64) {
	p.t.Helper()
	call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600,
	})
}

// Prefers sets what the system prefers, as prefers-color-scheme.
func (p *Person) Prefers(feature, value string) {
	p.t.Helper()
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: feature, Value: value}},
	})
}

// thrown is what a script threw.
func thrown(e *runtime.ExceptionDetails) string {
	if e.Exception != nil && e.Exception.Description != "" {
		return e.Text + " " + e.Exception.Description
	}
	return e.Text
}
