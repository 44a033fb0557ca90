package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The web client is files that were built (package web): a page and what it
// loads. They are kept in memory, with their compressed variants where the build
// made some (docs/protocol.md#web-client).

// clientPolicy lets the client have what is its own and nothing else: no script
// or style but from files of this server, no text that becomes HTML, and of text
// an address of a script by the one policy named only.
const clientPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; font-src 'self'; " +
	"connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types grima; report-uri " + reportPath

// clientPaths are the addresses that the client shows something at, and people
// keep and send.
var clientPaths = []string{
	"/index.html", "/login", "/browse", "/settings", "/settings/{rest...}", "/c/{chat_id}", "/c/{chat_id}/{seq}",
}

const (
	indexFile = "index.html"
	hashedDir = "assets/" // whose names change with what is in them
)

// mediaTypes are those of the files that a build makes. The system's own table
// is another on every machine.
var mediaTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".ico": "image/x-icon", ".jpg": "image/jpeg",
	".js": "text/javascript; charset=utf-8", ".json": "application/json", ".map": "application/json",
	".mjs": "text/javascript; charset=utf-8", ".png": "image/png", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
	".wasm": "application/wasm", ".webmanifest": "application/manifest+json", ".webp": "image/webp", ".woff2": "font/woff2",
}

// clientFile is a file as it is sent, in each encoding that there is.
type clientFile struct {
	media, caching string
	variants       []variant // the best first, and in the end the file as it is
}

type variant struct {
	encoding string // empty: as it is
	etag     string
	bytes    []byte
}

// encodings are by what a build calls a file's variants, the best first.
var encodings = []struct{ ending, encoding string }{{".br", "br"}, {".gz", "gzip"}}

// plainName is what a file of the client may be called, for its name becomes a
// pattern of the mux.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$`)

// loadClient reads the files. Those that begin with a dot are none of it.
func loadClient(files fs.FS) (map[string]*clientFile, error) {
	found := map[string]*clientFile{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir() || strings.HasPrefix(d.Name(), "."):
			return err
		case !plainName.MatchString(name):
			return fmt.Errorf("%s: such a name is not served", name)
		}
		for _, e := range encodings {
			if whole, is := strings.CutSuffix(name, e.ending); is {
				if _, err := fs.Stat(files, whole); err == nil {
					return nil // it is read with the whole one
				}
			}
		}
		f, err := loadFile(files, name)
		found[name] = f
		return err
	})
	return found, err
}

func loadFile(files fs.FS, name string) (*clientFile, error) {
	f := &clientFile{media: mediaTypes[path.Ext(name)], caching: "no-cache"}
	if f.media == "" {
		return nil, fmt.Errorf("%s: no type is known for such files", name)
	}
	if strings.HasPrefix(name, hashedDir) {
		f.caching = "public, max-age=31536000, immutable"
	}
	add := func(ending, encoding string) error {
		bytes, err := fs.ReadFile(files, name+ending)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(bytes)
		f.variants = append(f.variants, variant{encoding, `"` + base64.RawURLEncoding.EncodeToString(sum[:15]) + `"`, bytes})
		return nil
	}
	for _, e := range encodings {
		if err := add(e.ending, e.encoding); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return f, add("", "")
}

// serveClient registers what the client is made of. Without a build of it
// browsers get pages that say so.
func (h *handler) serveClient(files fs.FS) {
	h.client = map[string]*clientFile{}
	if files != nil {
		loaded, err := loadClient(files)
		if err != nil {
			panic("httpapi: the web client's files: " + err.Error()) // they were built with us
		}
		h.client = loaded
	}
	h.mux.HandleFunc("GET /{$}", h.light(h.index(indexPage, true)))
	h.mux.HandleFunc("GET /join", h.light(h.index(joinPage, true)))
	for _, p := range clientPaths {
		h.mux.HandleFunc("GET "+p, h.light(h.index(indexPage, false)))
	}
	var dirs []string
	for name, f := range h.client {
		dir, _, below := strings.Cut(name, "/")
		switch {
		case name == indexFile:
		case !below:
			h.mux.HandleFunc("GET /"+name, h.light(f.serve))
		case !slices.Contains(dirs, dir):
			// One pattern for all: a name with a hash in it is no good in metrics.
			dirs = append(dirs, dir)
			h.mux.HandleFunc("GET /"+dir+"/{file...}", h.light(h.file))
		}
	}
}

// index is the handler of the client's page. Where there is none it shows page;
// and where there is text for who is no browser, they get that.
func (h *handler) index(page pageText, text bool) http.HandlerFunc {
	instead := h.page(page)
	f := h.client[indexFile]
	return func(w http.ResponseWriter, r *http.Request) {
		if f == nil || text && !acceptsHTML(r) {
			instead(w, r)
			return
		}
		if text {
			w.Header().Add("Vary", "Accept")
		}
		f.serve(w, r)
	}
}

func (h *handler) file(w http.ResponseWriter, r *http.Request) {
	if f, ok := h.client[strings.TrimPrefix(r.URL.Path, "/")]; ok {
		f.serve(w, r)
		return
	}
	notFound(w)
}

func (f *clientFile) serve(w http.ResponseWriter, r *http.Request) {
	v := f.variants[slices.IndexFunc(f.variants, func(v variant) bool { return acceptsEncoding(r, v.encoding) })]
	head := w.Header()
	head.Set("Cache-Control", f.caching)
	head.Set("Content-Security-Policy", clientPolicy)
	head.Set("ETag", v.etag)
	if len(f.variants) > 1 {
		head.Add("Vary", "Accept-Encoding")
	}
	if names(r.Header.Get("If-None-Match"), v.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	head.Set("Content-Type", f.media)
	if v.encoding != "" {
		head.Set("Content-Encoding", v.encoding)
	}
	head.Set("Content-Length", strconv.Itoa(len(v.bytes)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(v.bytes)
}

// acceptsEncoding reports whether r's client decodes that; everybody takes a
// file as it is.
func acceptsEncoding(r *http.Request, encoding string) bool {
	if encoding == "" {
		return true
	}
	for _, line := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(line, ",") {
			name, weight, weighted := strings.Cut(strings.TrimSpace(part), ";")
			if !strings.EqualFold(strings.TrimSpace(name), encoding) {
				continue
			}
			if !weighted {
				return true
			}
			q, err := strconv.ParseFloat(strings.TrimPrefix(strings.ReplaceAll(weight, " ", ""), "q="), 64)
			return err == nil && q > 0
		}
	}
	return false
}

// names reports whether an If-None-Match names etag.
func names(header, etag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		if part = strings.TrimSpace(part); part == "*" || strings.TrimPrefix(part, "W/") == etag {
			return true
		}
	}
	return false
}

func acceptsHTML(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }
