package webtest

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// builds is a door in front of a server that gives out the page in one of two
// builds: the one there is, and one that differs from it in the names of all its
// files and in a word. The server behind it has no page then.
type builds struct {
	mu    sync.Mutex
	files map[string][]byte
	down  bool
	asked map[string]int // for files that there are not
}

// build reads the page as it was built; later is the other one.
func build(t *testing.T, later bool) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	root := "../../web/dist"
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, ".br") || strings.HasSuffix(name, ".gz") {
			return err
		}
		b, err := os.ReadFile(name)
		files[strings.TrimPrefix(filepath.ToSlash(name), root)] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !later {
		return files
	}
	var old []string
	for name := range files {
		if strings.HasPrefix(name, "/assets/") {
			old = append(old, path.Base(name))
		}
	}
	other := func(name string) string { return strings.TrimSuffix(name, path.Ext(name)) + "2" + path.Ext(name) }
	renamed := map[string][]byte{}
	for name, b := range files {
		if n := path.Ext(name); n == ".js" || n == ".html" || n == ".css" {
			for _, o := range old {
				b = bytes.ReplaceAll(b, []byte(o), []byte(other(o)))
			}
			b = bytes.ReplaceAll(b, []byte("Find or jump to…"), []byte("Find or go to…"))
		}
		if strings.HasPrefix(name, "/assets/") {
			name = "/assets/" + other(path.Base(name))
		}
		renamed[name] = b
	}
	// The version is a hash of the files; here a mark will do.
	hash := regexp.MustCompile(`[0-9a-f]{16}`)
	if len(hash.FindAll(renamed["/sw.js"], -1)) != 1 {
		t.Fatal("the service worker has no version, or more than one")
	}
	renamed["/sw.js"] = hash.ReplaceAll(renamed["/sw.js"], []byte("2222222222222222"))
	return renamed
}

func (b *builds) set(files map[string][]byte, down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
	if files != nil {
		b.files = files
	}
}

func (b *builds) ServeHTTP(w http.ResponseWriter, r *http.Request, behind http.Handler) {
	b.mu.Lock()
	files, down := b.files, b.down
	b.mu.Unlock()
	if down {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.Close()
		}
		return
	}
	if r.Method != http.MethodGet || strings.HasPrefix(r.URL.Path, "/v1/") {
		behind.ServeHTTP(w, r)
		return
	}
	name := r.URL.Path
	if strings.HasPrefix(name, "/c/") || name == "/" || name == "/login" || name == "/join" {
		name = "/index.html"
	}
	body, ok := files[name]
	if !ok {
		b.mu.Lock()
		b.asked[name]++
		b.mu.Unlock()
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	if strings.HasPrefix(name, "/assets/") {
		h.Set("Cache-Control", "max-age=31536000, immutable")
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
}

// door puts builds in front of a server; its address is that of the page.
func (b *builds) door(t *testing.T, srv *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	behind := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: srv.Addr})
			r.Out.Host = r.In.Host
		},
		ErrorLog: log.New(io.Discard, "", 0), // it dies in the middle
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.ServeHTTP(w, r, behind) }), ReadHeaderTimeout: time.Minute}
	gone := make(chan error, 1)
	go func() { gone <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		<-gone
	})
	return "http://" + l.Addr().String()
}

// TestNewBuild: a new version of the page is offered to who has the old one open,
// used when they say so, and not mixed with it; without a server each opens what
// it has.
func TestNewBuild(t *testing.T) {
	old, later := build(t, false), build(t, true)
	srv := Serve(t, "")
	b := &builds{files: old, asked: map[string]int{}}
	addr := b.door(t, srv)
	ana := srv.Person("ana")
	ana.Join(strings.Replace(srv.Link, srv.URL(""), addr, 1), "ana", "Ana Lima")
	ana.Group("Port")
	ana.Send("kept")
	ana.ExpectSent("kept")
	ana.wait("the service worker", `navigator.serviceWorker.controller`)
	second := ana.Tab("ana's second tab")
	second.Goto(addr + "/")
	second.In()
	find := func(p *Person, text string) {
		t.Helper()
		p.wait("the build with "+text, fmt.Sprintf(`document.querySelector('.find span')?.innerText === %s`, quote(text)))
	}
	find(ana, "Find or jump to…")

	// The server comes back as a newer one. Both tabs are told, and go on as they
	// were, also with the parts that they had not loaded yet.
	b.set(later, false)
	srv.Restart()
	ana.In()
	second.In()
	const offered = `all('.note').some((n) => n.innerText.includes('A new version of this page is ready.'))`
	ana.wait("the offer", offered)
	second.wait("the offer", offered)
	find(ana, "Find or jump to…")
	ana.Front()
	ana.Click("Settings")
	ana.Dialog("Settings")
	ana.Click("Close")
	ana.look("update")

	// Who takes it has all of it. The other tab stays what it was, and whole.
	ana.Click("Reload")
	find(ana, "Find or go to…")
	ana.In()
	ana.wait("no more offer", `!(`+offered+`)`)
	ana.Click("Settings")
	ana.Dialog("Settings")
	ana.Click("Close")
	mixed := `performance.getEntriesByType('resource').map((e) => new URL(e.name).pathname).filter((p) => p.startsWith('/assets/') && p.includes('2.') !== %v)`
	if bad := get[[]string](ana, fmt.Sprintf(mixed, true)); len(bad) > 0 {
		t.Errorf("the new page loaded %q of the old one", bad)
	}
	find(second, "Find or jump to…")
	second.Front()
	second.Click("New chat")
	second.Dialog("New chat")
	second.Click("Close")
	if bad := get[[]string](second, fmt.Sprintf(mixed, false)); len(bad) > 0 {
		t.Errorf("the old page loaded %q of the new one", bad)
	}

	// Without a server the new one opens, whole.
	ana.Front()
	if n := get[int](ana, `caches.keys().then((ks) => ks.length)`); n != 2 {
		t.Errorf("%d builds are kept, not the new one and the one before", n)
	}
	b.set(nil, true)
	srv.Kill()
	ana.Status("offline")
	ana.Reload()
	find(ana, "Find or go to…")
	ana.Open("Port")
	ana.Expect("kept")
	ana.Click("Settings")
	ana.Dialog("Settings")
	ana.Click("Close")
	b.set(nil, false)
	srv.Restart()
	ana.In()
	second.In()
	second.Front()
	second.Click("Reload")
	find(second, "Find or go to…")
	second.In()

	b.mu.Lock()
	defer b.mu.Unlock()
	for name, n := range b.asked {
		if strings.HasPrefix(name, "/assets/") {
			t.Errorf("%s was asked for %d times of a server that has it no more", name, n)
		}
	}
}

// TestPartThatIsGone: a part of the page that cannot be loaded any more says so,
// and does not take the rest with it.
func TestPartThatIsGone(t *testing.T) {
	old := build(t, false)
	delete(old, "/sw.js") // a private window has no worker
	srv := Serve(t, "")
	b := &builds{files: old, asked: map[string]int{}}
	addr := b.door(t, srv)
	ana := srv.Person("ana")
	ana.Join(strings.Replace(srv.Link, srv.URL(""), addr, 1), "ana", "Ana Lima")
	ana.Group("Port")
	b.set(build(t, true), false)
	ana.Click("Settings")
	ana.wait("the notice", `all('.note').some((n) => n.innerText.includes('This part of the page could not be loaded.'))`)
	ana.Send("and yet")
	ana.ExpectSent("and yet")
	ana.Click("Reload")
	ana.wait("the later build", `document.querySelector('.find span')?.innerText === 'Find or go to…'`)
	ana.In()
	ana.Settings("Profile")
	ana.forgive("Refused to apply style", "sw.js") // what the test is about
}
