// Package httpapi is Grima over HTTP/1.1: a resource-shaped route for every row
// of api's table that has one, the two doors that take and give the frames
// themselves, the OpenAPI document made from the same table, health, and a page
// that says what this is (docs/protocol.md#http). And it serves the files of the
// web client, which is one more client of all that.
//
// It holds no state. Who asks is told by a bearer token on every request, or by
// a cookie where a browser says that the page which asks is ours.
package httpapi

import (
	"context"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/limits"
	"github.com/grima-chat/grima/protocol"
)

// Config is what a handler needs. API and Service are required; of the rest,
// zero means the value in parentheses.
type Config struct {
	API     *api.API
	Service *chat.Service
	Limits  *limits.Limits // (none)

	Software string       // as the page and the OpenAPI document show it ("grima")
	Ready    func() error // why this node should get no traffic; it is asked by /readyz (always ready)
	// Degraded says what does not work as it should, for /readyz, while traffic
	// may come all the same; empty: nothing (nothing).
	Degraded func() string
	// BehindProxy says that connections come from a proxy, whose address would
	// make one client of all of them, and that TLS may have ended there (no).
	BehindProxy bool
	// ClientHeader names the header whose last address is the client's: the
	// nearest proxy wrote it. Where a client reaches us past a proxy that sets
	// it, it chooses its own address (none: the peer of the connection).
	ClientHeader   string
	RequestTimeout time.Duration // of one request (30 s)
	Log            *slog.Logger  // (slog.Default())

	// TakeOver serves connections that outlive their request. It must not
	// block (nil: there is no WebSocket and there are no events).
	TakeOver func(Taken)
	// Observe hears of every answer: the route's pattern (empty: there is none),
	// the status, and the time it took. It must not block (nil: nobody hears).
	Observe func(route string, status int, took time.Duration)
	// Metrics answers GET /metrics, to who may see it: programs on this machine
	// and, if there is a MetricsToken, whoever has it (nil: no such path).
	Metrics      http.Handler
	MetricsToken string

	// Client is the web client as it was built, with an index.html (nil, or
	// without that file: browsers get a page that says how to build it).
	Client fs.FS
	// Reported hears of each report that the web client was kept from something
	// by its content security policy. It must not block (nil: nobody hears).
	Reported func()

	// Origins are those of pages elsewhere that may open a WebSocket (none).
	Origins []string
}

type authenticatedKey struct{}

// WithAuthenticated gives a request's context a function that is called as soon
// as the request's token has turned out to be good.
func WithAuthenticated(ctx context.Context, call func()) context.Context {
	return context.WithValue(ctx, authenticatedKey{}, call)
}

// handler is what New makes.
type handler struct {
	Config
	mux     *http.ServeMux
	client  map[string]*clientFile
	reports reports
	unready reports
	drawing chan struct{} // holds one while a picture is drawn

	openAPIOnce     sync.Once
	openAPIDocument []byte
}

// New makes the handler of everything HTTP. Timeouts of connections, headers
// and idleness are the http.Server's business.
func New(cfg Config) http.Handler {
	if cfg.Software == "" {
		cfg.Software = "grima"
	}
	if cfg.Ready == nil {
		cfg.Ready = func() error { return nil }
	}
	if cfg.RequestTimeout == 0 {
		cfg.RequestTimeout = 30 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	h := &handler{Config: cfg, mux: http.NewServeMux(), drawing: make(chan struct{}, 1)}
	for _, op := range api.Operations() {
		for _, route := range op.Routes {
			h.mux.HandleFunc(route, h.resource(op, route))
		}
	}
	h.mux.HandleFunc("POST /v1/data", h.frames("/v1/data", protocol.TypeDataRequest))
	h.mux.HandleFunc("POST /v1/broadcast", h.frames("/v1/broadcast", protocol.TypeBroadcastRequest))
	if cfg.TakeOver != nil {
		h.mux.HandleFunc(webSocketPath, h.light(h.webSocket))
		h.mux.HandleFunc("GET "+eventsPath, h.events)
	}
	h.mux.HandleFunc("GET /v1/openapi.json", h.light(h.openAPI))
	if cfg.Metrics != nil {
		h.mux.HandleFunc("GET "+metricsPath, h.light(h.metrics))
	}
	h.mux.HandleFunc("GET /healthz", h.healthz)
	h.mux.HandleFunc("GET /readyz", h.readyz)
	h.mux.HandleFunc("PUT "+ownAvatar, h.putAvatar)
	h.mux.HandleFunc("DELETE "+ownAvatar, h.deleteAvatar)
	h.mux.HandleFunc("GET "+avatars, h.getAvatar)
	h.mux.HandleFunc("POST "+reportPath, h.light(h.cspReport))
	h.serveClient(cfg.Client)

	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, http.StatusForbidden, protocol.NewError(protocol.CodePermissionDenied, "another site's page asked for this"))
	}))
	return h.sealed(h.recovering(sameOrigin.Handler(http.HandlerFunc(h.route))))
}

// permissions are those of a browser's that no page of ours needs.
const permissions = "camera=(), display-capture=(), geolocation=(), hid=(), microphone=(), midi=(), payment=(), serial=(), usb=()"

// sealed sets the headers that every answer carries.
func (h *handler) sealed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Cache-Control", "no-store")
		head.Set("Content-Security-Policy", contentPolicy)
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		head.Set("Permissions-Policy", permissions)
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("X-Frame-Options", "DENY")
		if h.secure(r) && !local(r.Host) {
			head.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// secure reports whether r came in TLS, which may have ended at the proxy.
func (h *handler) secure(r *http.Request) bool {
	return r.TLS != nil || h.BehindProxy && r.Header.Get("X-Forwarded-Proto") == "https"
}

// local reports whether host names this machine from within: a browser told to
// use TLS with that name would do so with every other program that it names.
func local(host string) bool {
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	}
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return name == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// route is the mux, save that where nothing matches, the mux's plain text
// becomes a problem.
func (h *handler) route(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), h.RequestTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	unmatched, pattern := h.mux.Handler(r)
	clean := path.Clean(r.URL.EscapedPath()) == r.URL.EscapedPath()
	if h.Observe != nil {
		route := pattern
		if !clean {
			route = ""
		}
		defer func(began time.Time) {
			if answer, ok := w.(*beginning); ok && answer.yes {
				h.Observe(route, answer.status, time.Since(began))
			}
		}(time.Now())
	}
	if pattern != "" && clean {
		h.mux.ServeHTTP(w, r)
		return
	}
	h.light(func(w http.ResponseWriter, r *http.Request) { nowhere(w, r, unmatched, clean) })(w, r)
}

// nowhere answers what the mux has no handler for.
func nowhere(w http.ResponseWriter, r *http.Request, unmatched http.Handler, clean bool) {
	if !clean {
		// The mux would redirect to the clean path, and who follows that turns
		// a POST into a GET.
		notFound(w)
		return
	}
	verdict := verdict{head: http.Header{}}
	unmatched.ServeHTTP(&verdict, r)
	if verdict.status == http.StatusMethodNotAllowed {
		allow := verdict.head.Get("Allow")
		w.Header().Set("Allow", allow)
		writeProblem(w, verdict.status, protocol.NewError(protocol.CodeInvalidRequest, "this path takes "+allow))
		return
	}
	notFound(w)
}

func notFound(w http.ResponseWriter) {
	writeProblem(w, http.StatusNotFound, protocol.NewError(protocol.CodeNotFound, "no such path; GET /v1/openapi.json lists them"))
}

// verdict is a ResponseWriter that keeps what the mux says of a request that it
// has no handler for.
type verdict struct {
	head   http.Header
	status int
}

func (v *verdict) Header() http.Header         { return v.head }
func (v *verdict) WriteHeader(status int)      { v.status = status }
func (v *verdict) Write(b []byte) (int, error) { return len(b), nil }

// caller tells who asks for something of that cost, and whether they may ask
// now; admit comes before it. Without a token, in a header or a cookie, it is
// nobody yet.
func (h *handler) caller(r *http.Request, cost api.Cost) (api.Caller, *protocol.Error) {
	c := api.Caller{Peer: h.peer(r)}
	values := r.Header.Values("Authorization")
	var token string
	if len(values) == 0 {
		var err *protocol.Error
		if token, err = h.cookie(r); token == "" {
			return c, err
		}
	} else {
		scheme, given, _ := strings.Cut(values[0], " ")
		token = strings.TrimLeft(given, " ")
		if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
			return c, protocol.NewError(protocol.CodeUnauthenticated, "the Authorization header must be: Bearer <token>")
		}
	}
	actor, err := h.Service.Authenticate(r.Context(), token)
	if err != nil {
		return c, h.API.Error("authentication", err)
	}
	c.Actor = actor
	if err := pause(r.Context(), h.Limits.TakeUser, actor.User, cost); err != nil {
		return c, err
	}
	if cost == api.Heavy {
		c.OnSpent = func(took time.Duration) { h.Limits.Spent(actor.User, c.Peer, took) }
	}
	if authenticated, ok := r.Context().Value(authenticatedKey{}).(func()); ok {
		authenticated()
	}
	return c, nil
}

func (h *handler) peer(r *http.Request) netip.Addr {
	if h.ClientHeader != "" {
		if hops := r.Header.Values(h.ClientHeader); len(hops) > 0 {
			all := hops[len(hops)-1]
			last := strings.TrimSpace(all[strings.LastIndexByte(all, ',')+1:])
			if addr, ok := parseHop(last); ok {
				return addr
			}
		}
	}
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || h.BehindProxy {
		return netip.Addr{} // not known, as of a socket without addresses
	}
	return addr.Addr().Unmap()
}

// parseHop reads a client's address as proxies write it: an IPv6 one may be in
// brackets, and either may have a port.
func parseHop(s string) (netip.Addr, bool) {
	if at, err := netip.ParseAddrPort(s); err == nil {
		return at.Addr().Unmap(), true
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if s, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.Addr{}, false
		}
	}
	addr, err := netip.ParseAddr(s)
	return addr.Unmap(), err == nil
}

// do carries out req and waits for its answer, or for the end of the request.
func (h *handler) do(ctx context.Context, c api.Caller, req protocol.Request) protocol.Response {
	answer := make(chan protocol.Response, 1)
	h.API.Do(ctx, c, req, func(r protocol.Response) { answer <- r })
	select {
	case r := <-answer:
		return r
	case <-ctx.Done():
		return protocol.Response{
			Type: req.Type.Response(), ID: req.ID, Op: req.Op,
			Error: protocol.NewError(protocol.CodeTimeout, "it took too long; it may or may not have happened"),
		}
	}
}

func (h *handler) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, []byte(`{"status":"ok"}`))
}

func (h *handler) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := h.Ready(); err != nil {
		if h.unready.mayLog(time.Now()) { // anybody may ask, as often as they like
			h.Log.Warn("not ready", "error", err)
		}
		writeProblem(w, http.StatusServiceUnavailable, protocol.NewError(protocol.CodeUnavailable, "not ready; the log says why"))
		return
	}
	if h.Degraded != nil {
		if why := h.Degraded(); why != "" {
			body, err := json.Marshal(map[string]string{"status": "degraded", "detail": why})
			if err != nil {
				panic(err) // strings of ours
			}
			writeJSON(w, http.StatusOK, body)
			return
		}
	}
	writeJSON(w, http.StatusOK, []byte(`{"status":"ok"}`))
}
