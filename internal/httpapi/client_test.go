package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func gzipped(t *testing.T, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const shell = "<!doctype html><title>Grima</title><script type=module src=/assets/main-abc.js></script>"

func built(t *testing.T) fstest.MapFS {
	return fstest.MapFS{
		".gitignore":            {Data: []byte("*")},
		"index.html":            {Data: []byte(shell)},
		"assets/main-abc.js":    {Data: []byte("1;")},
		"assets/main-abc.js.br": {Data: []byte("brotli's")},
		"assets/main-abc.js.gz": {Data: gzipped(t, "1;")},
		"assets/face-def.woff2": {Data: []byte("wOF2")},
		"sw.js":                 {Data: []byte("self.skipWaiting();")},
		"manifest.webmanifest":  {Data: []byte("{}")},
		"icons/icon.svg":        {Data: []byte("<svg/>")},
	}
}

func withClient(t *testing.T, change func(*Config)) *server {
	s, _ := start(t, func(c *Config) {
		c.Client = built(t)
		if change != nil {
			change(c)
		}
	})
	return s
}

func TestClientFiles(t *testing.T) {
	s := withClient(t, nil)
	const html, forever, fresh = "text/html; charset=utf-8", "public, max-age=31536000, immutable", "no-cache"
	for _, c := range []struct {
		path, accept, encodings     string
		status                      int
		media, caching, body, coded string
	}{
		{path: "/", accept: "text/html,*/*;q=0.8", status: 200, media: html, caching: fresh, body: shell},
		{path: "/", accept: "*/*", status: 200, media: "text/plain; charset=utf-8", caching: "no-store"},
		{path: "/join", accept: "text/html", status: 200, media: html, caching: fresh, body: shell},
		{path: "/join", status: 200, media: "text/plain; charset=utf-8", caching: "no-store"},
		{path: "/index.html", status: 200, media: html, caching: fresh, body: shell},
		{path: "/c/c_12", status: 200, media: html, caching: fresh, body: shell},
		{path: "/c/c_12/43", status: 200, media: html, caching: fresh, body: shell},
		{path: "/login", status: 200, media: html, caching: fresh, body: shell},
		{path: "/browse", status: 200, media: html, caching: fresh, body: shell},
		{path: "/settings", status: 200, media: html, caching: fresh, body: shell},
		{path: "/settings/sessions", status: 200, media: html, caching: fresh, body: shell},
		{path: "/c/c_12/43/5", status: 404},
		{path: "/c", status: 404},
		{path: "/c/", status: 404},
		{path: "/assets/main-abc.js", status: 200, media: "text/javascript; charset=utf-8", caching: forever, body: "1;"},
		{path: "/assets/main-abc.js", encodings: "gzip, deflate, br, zstd", status: 200, media: "text/javascript; charset=utf-8", caching: forever, body: "brotli's", coded: "br"},
		{path: "/assets/main-abc.js", encodings: "gzip", status: 200, media: "text/javascript; charset=utf-8", caching: forever, body: string(gzipped(t, "1;")), coded: "gzip"},
		{path: "/assets/main-abc.js", encodings: "br;q=0, GZIP; q=0.5", status: 200, media: "text/javascript; charset=utf-8", caching: forever, body: string(gzipped(t, "1;")), coded: "gzip"},
		{path: "/assets/main-abc.js", encodings: "identity", status: 200, media: "text/javascript; charset=utf-8", caching: forever, body: "1;"},
		{path: "/assets/face-def.woff2", encodings: "br", status: 200, media: "font/woff2", caching: forever, body: "wOF2"},
		{path: "/sw.js", status: 200, media: "text/javascript; charset=utf-8", caching: fresh, body: "self.skipWaiting();"},
		{path: "/manifest.webmanifest", status: 200, media: "application/manifest+json", caching: fresh, body: "{}"},
		{path: "/icons/icon.svg", status: 200, media: "image/svg+xml", caching: fresh, body: "<svg/>"},
		{path: "/assets/main-abc.js.br", status: 404},
		{path: "/assets/", status: 404},
		{path: "/assets/none.js", status: 404},
		{path: "/.gitignore", status: 404},
		{path: "/assets/../index.html", status: 404},
		{path: "/nowhere", accept: "text/html", status: 404},
	} {
		if c.encodings == "" {
			c.encodings = "identity" // or Go asks for gzip by itself
		}
		r := s.request("", "GET "+c.path, "")
		r.Header.Set("Accept", c.accept)
		r.Header.Set("Accept-Encoding", c.encodings)
		res, body := s.expectOf(c.status, r)
		if c.status != 200 {
			if got := res.Header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("%s: %s", c.path, got)
			}
			continue
		}
		head := res.Header
		if head.Get("Content-Type") != c.media || head.Get("Cache-Control") != c.caching || head.Get("Content-Encoding") != c.coded || c.body != "" && body != c.body {
			t.Errorf("%s (%s; %s): %v %q", c.path, c.accept, c.encodings, head, body)
		}
		if c.caching == "no-store" {
			continue
		}
		if p := head.Get("Content-Security-Policy"); p != clientPolicy {
			t.Errorf("%s: policy %s", c.path, p)
		}
		for name, value := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin", "Permissions-Policy": permissions, "Strict-Transport-Security": "",
		} {
			if got := head.Get(name); got != value {
				t.Errorf("%s: %s is %q", c.path, name, got)
			}
		}
		// What is there already is not sent again, and only in the encoding that it is there in.
		r = s.request("", "GET "+c.path, "")
		r.Header.Set("Accept", c.accept)
		r.Header.Set("Accept-Encoding", c.encodings)
		r.Header.Set("If-None-Match", `"other", W/`+head.Get("ETag"))
		if res, body := s.expectOf(304, r); body != "" || res.Header.Get("ETag") != head.Get("ETag") || res.Header.Get("Cache-Control") != c.caching {
			t.Errorf("%s: %v %q", c.path, res.Header, body)
		}
		r.Method = http.MethodHead
		r.Header.Del("If-None-Match")
		if res, body := s.expectOf(200, r); body != "" || res.Header.Get("ETag") != head.Get("ETag") {
			t.Errorf("HEAD %s: %v %q", c.path, res.Header, body)
		}
	}
	etags := map[string]bool{}
	for _, encodings := range []string{"identity", "br", "gzip"} {
		r := s.request("", "GET /assets/main-abc.js", "")
		r.Header.Set("Accept-Encoding", encodings)
		res, _ := s.expectOf(200, r)
		etags[res.Header.Get("ETag")] = true
		if got := res.Header.Get("Vary"); got != "Accept-Encoding" {
			t.Errorf("Vary: %s", got)
		}
	}
	if len(etags) != 3 {
		t.Errorf("the variants have the tags %v", etags)
	}
	if res, _ := s.expect(405, "", "POST /assets/main-abc.js", ""); res.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("%v", res.Header)
	}
}

// What the API answers keeps its own, stricter policy.
func TestPolicyOfTheRest(t *testing.T) {
	s := withClient(t, nil)
	for _, path := range []string{"/healthz", "/v1/openapi.json"} {
		res, _ := s.expect(200, "", "GET "+path, "")
		if p := res.Header.Get("Content-Security-Policy"); p != contentPolicy || strings.Contains(p, "'self'") {
			t.Errorf("%s: %s", path, p)
		}
	}
}

func TestWithoutAClient(t *testing.T) {
	s, _ := start(t, func(c *Config) { c.Client = fstest.MapFS{".gitignore": {Data: []byte("*")}} })
	for _, path := range []string{"/", "/join", "/c/c_1/2", "/settings"} {
		r := s.request("", "GET "+path, "")
		r.Header.Set("Accept", "text/html")
		res, body := s.expectOf(200, r)
		if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") || !strings.Contains(body, "make build") {
			t.Errorf("%s: %s %s", path, res.Header.Get("Content-Type"), body)
		}
	}
}

func TestUnservableClient(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"a name that is a pattern": {"{x}.js": {}},
		"an unknown kind of file":  {"assets/x.exe": {}},
		"half of a pair":           {"assets/x.js.gz": {}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is served", name)
				}
			}()
			New(Config{Client: files})
		}()
	}
}

func TestStrictTransport(t *testing.T) {
	h := New(Config{Client: built(t)})
	proxied := New(Config{Client: built(t), BehindProxy: true})
	for _, c := range []struct {
		h               http.Handler
		host, forwarded string
		tls, want       bool
	}{
		{h, "chat.example.org", "", true, true},
		{h, "chat.example.org", "", false, false},
		{h, "chat.example.org", "https", false, false},
		{h, "localhost:7007", "", true, false},
		{h, "127.0.0.1:7007", "", true, false},
		{h, "[::1]:7007", "", true, false},
		{proxied, "chat.example.org", "https", false, true},
		{proxied, "chat.example.org", "http", false, false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/index.html", nil)
		r.Host = c.host
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		} else {
			r.TLS = nil
		}
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-Proto", c.forwarded)
		}
		w := httptest.NewRecorder()
		c.h.ServeHTTP(w, r)
		if got := w.Header().Get("Strict-Transport-Security") != ""; got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}

func TestPolicyReports(t *testing.T) {
	var log bytes.Buffer
	told := 0
	s := withClient(t, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
		c.Reported = func() { told++ }
	})
	const report = `{"csp-report":{"document-uri":"http://x/c/c_1","effective-directive":"script-src-elem","blocked-uri":"inline","source-file":"http://x/assets/a.js","line-number":7,"script-sample":"secret words"}}`
	send := func(status int, media, body string) {
		t.Helper()
		r := ours(s.request("", "POST "+reportPath, body))
		r.Header.Set("Content-Type", media)
		s.expectOf(status, r)
	}
	for range reportsLog + 5 {
		send(204, "application/csp-report", report)
	}
	if told != reportsLog+5 {
		t.Errorf("told of %d", told)
	}
	if n := strings.Count(log.String(), "\n"); n != reportsLog {
		t.Errorf("%d lines are logged: %s", n, &log)
	}
	if !strings.Contains(log.String(), "directive=script-src-elem ") || strings.Contains(log.String(), "secret") {
		t.Errorf("%s", &log)
	}
	send(415, "text/plain", report)
	send(400, "application/csp-report", `{"csp-report":`)
	send(413, "application/csp-report", `{"csp-report":{"blocked-uri":"`+strings.Repeat("x", maxReport)+`"}}`)
	if told != reportsLog+5+2 { // what cannot be read counts, too
		t.Errorf("told of %d", told)
	}
	r := s.request("", "POST "+reportPath, report)
	r.Header.Set("Content-Type", "application/csp-report")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	s.expectOf(403, r)
}

func TestReportsAreLoggedAgainLater(t *testing.T) {
	var r reports
	now := time.Date(2026, 9, 20, 10, 0, 0, 0, time.UTC)
	for i := range 3 {
		logged := 0
		for range 100 {
			if r.mayLog(now) {
				logged++
			}
		}
		if logged != reportsLog {
			t.Errorf("minute %d: %d", i, logged)
		}
		now = now.Add(time.Minute)
	}
}
