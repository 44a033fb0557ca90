package httpapi

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/api/apitest"
	"github.com/grima-chat/grima/protocol"
)

// server is a running server with ana, bob, cyd and dan, and their tokens.
type server struct {
	*httptest.Server
	t      *testing.T
	tokens map[string]string
}

func start(t *testing.T, change func(*Config)) (s *server, ownerInvite string) {
	t.Helper()
	svc, invite := apitest.NewService(t)
	cfg := Config{API: api.New(svc), Service: svc, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	s = &server{httptest.NewServer(New(cfg)), t, map[string]string{}}
	t.Cleanup(s.Close)
	return s, invite
}

// populated runs a first part of the table's script by hand: ana with a group.
func populated(t *testing.T) *server {
	t.Helper()
	s, invite := start(t, nil)
	s.expect(201, "", "POST /v1/users", `{"username":"ana","password":"correct horse battery","invite":"`+invite+`"}`)
	s.login("ana")
	_, body := s.expect(201, "ana", "POST /v1/invites", ``)
	code := between(body, `"code":"`, `"`)
	s.expect(201, "", "POST /v1/users", `{"username":"bob","password":"correct horse battery","invite":"`+code+`"}`)
	s.login("bob")
	s.expect(201, "ana", "POST /v1/chats", `{"kind":"group","title":"Port"}`)
	return s
}

func (s *server) login(who string) {
	s.t.Helper()
	_, body := s.expect(200, "", "POST /v1/sessions", `{"mechanism":"PLAIN","username":"`+who+`","password":"correct horse battery"}`)
	s.tokens[who] = between(body, `"token":"`, `"`)
}

func between(s, before, after string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, after)
	return s
}

// request makes "METHOD /path" with a body of JSON, as who.
func (s *server) request(who, route, body string) *http.Request {
	s.t.Helper()
	method, path, _ := strings.Cut(route, " ")
	r, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+s.tokens[who])
	}
	return r
}

func (s *server) send(r *http.Request) (*http.Response, string) {
	s.t.Helper()
	res, err := s.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, string(body)
}

// expect sends a request and wants a status.
func (s *server) expect(status int, who, route, body string) (*http.Response, string) {
	s.t.Helper()
	return s.expectOf(status, s.request(who, route, body))
}

func (s *server) expectOf(status int, r *http.Request) (*http.Response, string) {
	s.t.Helper()
	res, answer := s.send(r)
	if res.StatusCode != status {
		s.t.Errorf("%s %s: %d %s, want %d", r.Method, r.URL.Path, res.StatusCode, answer, status)
	}
	return res, answer
}

// The same requests give the same answers through every door of HTTP and
// without any.
func TestSameThroughEveryDoor(t *testing.T) {
	var transcripts [][]string
	for _, door := range []func(s *server, a *api.API) apitest.Door{
		func(_ *server, a *api.API) apitest.Door { return apitest.Direct(a) },
		func(s *server, _ *api.API) apitest.Door { return apitest.HTTPFrames(s.URL, s.Client()) },
		func(s *server, _ *api.API) apitest.Door { return apitest.Resources(s.URL, s.Client()) },
	} {
		var requests *api.API
		s, invite := start(t, func(c *Config) { requests = c.API })
		transcripts = append(transcripts, apitest.Run(t, door(s, requests), invite))
	}
	for _, other := range transcripts[1:] {
		if d := cmp.Diff(transcripts[0], other); d != "" {
			t.Error(d)
		}
	}
}

// Every request of the table that succeeds is one the OpenAPI document allows,
// and every answer is one it describes.
func TestAnswersAreAsDescribed(t *testing.T) {
	s, invite := start(t, nil)
	check := &checkedTransport{t: t, next: s.Client().Transport, described: map[string]bool{}}
	client := &http.Client{Transport: check}
	apitest.Run(t, apitest.Resources(s.URL, client), invite)
	for _, path := range []string{"/v1/openapi.json", "/healthz", "/readyz"} {
		res, err := client.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	for _, op := range api.Operations() {
		if len(op.Routes) > 0 && !slices.ContainsFunc(op.Routes, func(r string) bool { return check.described[r] }) {
			t.Errorf("no request for %s succeeded", op.Name)
		}
	}

	s, invite = start(t, nil)
	apitest.Run(t, apitest.HTTPFrames(s.URL, client), invite)

	for _, body := range []string{ // at the wrong door, or no frame
		`{"type":"BroadcastRequest","id":7,"op":"message.send"}`,
		`{"type":"SessionRequest","id":7,"op":"session.end"}`,
		`{"type":"DataRequest","id":7,"op":"users.me"}`,
		`{"type":"Ping"}`, `[]`,
	} {
		for _, path := range []string{"/v1/data", "/v1/broadcast"} {
			for _, origin := range []string{"", "https://evil.example"} {
				r, err := http.NewRequest(http.MethodPost, s.URL+path, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/json")
				if origin != "" {
					r.Header.Set("Origin", origin)
				}
				res, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
			}
		}
	}
}

func TestFinerPoints(t *testing.T) {
	s := populated(t)
	const problem, plain = "application/problem+json", "application/json"
	for _, c := range []struct {
		name       string
		who, route string
		body       string
		head       string // "Name: value" to send
		status     int
		media      string
		want       string // is in the answer
		wantHead   string // "Name: value" in the answer
	}{
		{name: "no token", route: "GET /v1/chats", status: 401, media: problem, want: `"code":"unauthenticated"`, wantHead: `Www-Authenticate: Bearer realm="grima"`},
		{name: "a wrong token", route: "GET /v1/chats", head: "Authorization: Bearer gt_wrong", status: 401, media: problem, want: `"code":"unauthenticated"`},
		{name: "another scheme", route: "GET /v1/chats", head: "Authorization: Basic YTpi", status: 401, media: problem, want: "Bearer"},
		{name: "bearer in small letters", head: "Authorization: bearer $ana", route: "GET /v1/users/me", status: 200, media: plain, want: `"username":"ana"`},
		{name: "logging in with a stale token", route: "POST /v1/sessions", body: `{"mechanism":"PLAIN","username":"ana","password":"correct horse battery"}`, head: "Authorization: Bearer gt_stale", status: 200, media: plain, want: `"token":"gt_`},
		{name: "registering with a stale token", route: "POST /v1/users", body: `{"username":"eve","password":"correct horse battery"}`, head: "Authorization: Bearer gt_stale", status: 401, media: problem, want: `"code":"unauthenticated"`},
		{name: "a token in the address", route: "GET /v1/chats?access_token=gt_x", status: 400, media: problem, want: "Authorization: Bearer"},
		{name: "a whole problem", who: "ana", route: "GET /v1/chats/c_99", status: 404, media: problem, want: `{"type":"about:blank","title":"Not Found","status":404,"detail":"no such chat","code":"not_found","retryable":false}` + "\n"},

		{name: "created", who: "ana", route: "POST /v1/chats/c_1/messages", body: `{"content":"hi","client_msg_id":"m1"}`, status: 201, media: plain, want: `{"chat_id":"c_1","seq":2,`},
		{name: "created before", who: "ana", route: "POST /v1/chats/c_1/messages", body: `{"content":"hi","client_msg_id":"m1"}`, status: 200, media: plain, want: `"duplicate":true`},
		{name: "in the path and in the body", who: "ana", route: "POST /v1/chats/c_1/messages", body: `{"chat_id":"c_1","content":"hi"}`, status: 400, media: problem, want: "chat_id stands in the path"},
		{name: "in the path and in the query", who: "ana", route: "GET /v1/chats/c_1/messages?chat_id=c_1", status: 400, media: problem, want: "chat_id stands in the path"},
		{name: "in the query of a POST", who: "ana", route: "POST /v1/chats/c_1/messages?content=hi", status: 400, media: problem, want: "in the body"},
		{name: "no body where none is needed", who: "ana", route: "POST /v1/chats/c_1/typing", status: 200, media: plain, want: "{}\n"},
		{name: "an empty object with a blank in it", who: "ana", route: "POST /v1/chats/c_1/typing", body: "{ }", status: 200, media: plain, want: "{}\n"},
		{name: "an empty object over two lines", who: "ana", route: "POST /v1/chats/c_1/typing", body: "{\r\n}", status: 200, media: plain, want: "{}\n"},
		{name: "an object with blanks before its end", who: "ana", route: "POST /v1/chats/c_1/typing", body: "{\"stop\": true\n \t}", status: 200, media: plain, want: "{}\n"},
		{name: "no body where one is needed", who: "ana", route: "POST /v1/chats/c_1/messages", status: 400, media: problem, want: "content is missing"},
		{name: "a body that is no JSON", who: "ana", route: "POST /v1/chats/c_1/messages", body: `{"content":`, status: 400, media: problem, want: `"code":"parse_error"`},
		{name: "a body with blanks before it, told by its byte", who: "ana", route: "POST /v1/chats/c_1/messages", body: "\r\n {\"content\":oops}", status: 400, media: problem, want: "at byte 14"},
		{name: "a body with blanks around it", who: "ana", route: "POST /v1/chats/c_1/messages", body: "\r\n {\"content\":\"hi\"}\r\n", status: 201, media: plain},
		{name: "a body of blanks", who: "ana", route: "POST /v1/chats/c_1/typing", body: " \n", status: 200, media: plain},
		{name: "a frame with blanks around it", who: "ana", route: "POST /v1/data", body: "\n{\"type\":\"DataRequest\",\"op\":\"users.me\"}\n", status: 200, media: plain},
		{name: "a body that ends twice", who: "ana", route: "POST /v1/chats/c_1/messages", body: `{"content":"hi"}}`, status: 400, media: problem, want: `"code":"parse_error"`},
		{name: "a body that is no object", who: "ana", route: "POST /v1/chats/c_1/messages", body: `["hi"]`, status: 400, media: problem},
		{name: "a body that is not UTF-8", who: "ana", route: "POST /v1/chats/c_1/messages", body: "{\"content\":\"\xff\"}", status: 400, media: problem, want: `"code":"invalid_utf8"`},
		{name: "another media type", who: "ana", route: "POST /v1/chats/c_1/messages", body: `{"content":"hi"}`, head: "Content-Type: text/plain", status: 415, media: problem},
		{name: "another charset", who: "ana", route: "POST /v1/chats/c_1/messages", body: `{"content":"hi"}`, head: "Content-Type: application/json; charset=latin1", status: 415, media: problem},
		{name: "the charset that it is", who: "ana", route: "POST /v1/chats/c_1/messages", body: `{"content":"hi"}`, head: "Content-Type: application/json; charset=UTF-8", status: 201, media: plain},
		{name: "a compressed body", who: "ana", route: "POST /v1/chats/c_1/messages", body: `{"content":"hi"}`, head: "Content-Encoding: gzip", status: 415, media: problem},
		{name: "a large body", who: "ana", route: "POST /v1/chats/c_1/messages", body: `{"content":"` + strings.Repeat("x", protocol.MaxFrame) + `"}`, status: 413, media: problem, want: `"code":"frame_too_large"`},
		{name: "a large message", who: "ana", route: "POST /v1/chats/c_1/messages", body: `{"content":"` + strings.Repeat("x", protocol.MaxContent+1) + `"}`, status: 413, media: problem, want: `"code":"content_too_large"`},
		{name: "a large body of nobody's", route: "POST /v1/users", body: `{"username":"` + strings.Repeat("x", protocol.MaxFrameLogin) + `"}`, status: 413, media: problem},
		{name: "a GET with a body", who: "ana", route: "GET /v1/chats", body: `{"limit":1}`, status: 400, media: problem},

		{name: "one name twice", who: "ana", route: "GET /v1/chats?limit=1&limit=2", status: 400, media: problem, want: "twice"},
		{name: "an unknown name", who: "ana", route: "GET /v1/chats?colour=red&shape=%22%C3%A9", status: 200, media: plain, wantHead: `Grima-Ignored: "colour", "shape"`},
		{name: "an unknown name, strict", who: "ana", route: "GET /v1/chats?colour=red", head: "Prefer: respond-async, handling=strict", status: 400, media: problem, want: "colour"},
		{name: "a number that is none", who: "ana", route: "GET /v1/chats?limit=1e1", status: 400, media: problem, want: "limit"},
		{name: "a number in another spelling", who: "ana", route: "GET /v1/chats?limit=01", status: 400, media: problem, want: "limit"},
		{name: "a huge number", who: "ana", route: "GET /v1/chats/c_1/messages?before=9007199254740992", status: 400, media: problem, want: "before"},
		{name: "a position that is none", who: "ana", route: "GET /v1/chats/c_1/messages/first", status: 400, media: problem, want: "seq"},
		{name: "a bad escape", who: "ana", route: "GET /v1/chats?cursor=%zz", status: 400, media: problem},
		{name: "a query that is not UTF-8", who: "ana", route: "GET /v1/users?prefix=%ff", status: 400, media: problem, want: `"code":"invalid_utf8"`},
		{name: "an empty cursor begins", who: "ana", route: "GET /v1/sync?cursor=&timeline_limit=0", status: 200, media: plain, want: `"chat_id":"c_1"`},
		{name: "a list", who: "ana", route: "GET /v1/users?user_ids=u_1,u_99", status: 200, media: plain, want: `"user_id":"u_1"`},
		{name: "a stale cursor", who: "ana", route: "GET /v1/sync?cursor=v1.x.1.2", status: 410, media: problem, want: `"code":"cursor_invalid"`},

		{name: "oneself", who: "bob", route: "PATCH /v1/users/me", body: `{"name":"Bob"}`, status: 200, media: plain, want: `"name":"Bob"`},
		{name: "oneself as somebody else", who: "ana", route: "PATCH /v1/users/me", body: `{"user_id":"u_2","name":"Bob"}`, status: 400, media: problem},
		{name: "somebody else", who: "ana", route: "PATCH /v1/users/u_2", body: `{"name":"Robert"}`, status: 200, media: plain, want: `"name":"Robert"`},

		{name: "no such path", route: "GET /v1/nothing", status: 404, media: problem, want: "no such path"},
		{name: "two slashes", who: "ana", route: "GET /v1//chats", status: 404, media: problem, want: "no such path"},
		{name: "a path with dots", who: "ana", route: "POST /v1/./chats", body: `{}`, status: 404, media: problem, want: "no such path"},
		{name: "a slash too many", who: "ana", route: "GET /v1/chats/", status: 404, media: problem},
		{name: "no such method", who: "ana", route: "PUT /v1/chats", status: 405, media: problem, want: "this path takes", wantHead: "Allow: GET, HEAD, POST"},
		{name: "HEAD", who: "ana", route: "HEAD /v1/users/me", status: 200, media: plain},
		{name: "from another site", route: "POST /v1/users", body: `{}`, head: "Origin: https://evil.example", status: 403, media: problem, want: "another site"},

		{name: "a frame", who: "ana", route: "POST /v1/data", body: `{"type":"DataRequest","id":"x","op":"users.me"}`, status: 200, media: plain, want: `{"type":"DataResponse","id":"x","op":"users.me","result":{"user":{"user_id":"u_1"`},
		{name: "a frame with an error", who: "ana", route: "POST /v1/data", body: `{"type":"DataRequest","id":7,"op":"users.get","params":{"user_id":"x"}}`, status: 404, media: plain, want: `{"type":"DataResponse","id":7,"op":"users.get","error":{"code":"not_found","message":"no such user","retryable":false}}` + "\n"},
		{name: "a frame without a token", route: "POST /v1/data", body: `{"type":"DataRequest","id":7,"op":"users.me"}`, status: 401, media: plain, want: `{"type":"DataResponse","id":7,"op":"users.me","error":{"code":"unauthenticated"`},
		{name: "a frame at the wrong door", who: "ana", route: "POST /v1/data", body: `{"type":"BroadcastRequest","id":7,"op":"message.send"}`, status: 400, media: plain, want: `{"type":"BroadcastResponse","id":7,"op":"message.send","error":{"code":"invalid_request"`},
		{name: "a line that is no frame", who: "ana", route: "POST /v1/broadcast", body: `{"type":`, status: 400, media: plain, want: `{"type":"Error","error":{"code":"parse_error"`},
		{name: "no frame at all", who: "ana", route: "POST /v1/data", status: 400, media: plain, want: `{"type":"Error"`},
		{name: "a frame in the query", who: "ana", route: "POST /v1/data?op=users.me", status: 400, media: plain, want: `{"type":"Error"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &server{s.Server, t, s.tokens}
			r := s.request(c.who, c.route, c.body)
			if name, value, ok := strings.Cut(c.head, ": "); ok {
				r.Header.Set(name, strings.ReplaceAll(value, "$ana", s.tokens["ana"]))
			}
			res, body := s.expectOf(c.status, r)
			if got := res.Header.Get("Content-Type"); got != c.media {
				t.Errorf("Content-Type: %s, want %s", got, c.media)
			}
			if !strings.Contains(body, c.want) {
				t.Errorf("got %swant %s", body, c.want)
			}
			if name, value, ok := strings.Cut(c.wantHead, ": "); ok && res.Header.Get(name) != value {
				t.Errorf("%s: %s, want %s", name, res.Header.Get(name), value)
			}
			for name, value := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Access-Control-Allow-Origin": ""} {
				if got := res.Header.Get(name); got != value {
					t.Errorf("%s: %s, want %s", name, got, value)
				}
			}
		})
	}
}

// A chat one is not in and one that does not exist are the same, to the byte.
func TestAbsentAndForeignAreAlike(t *testing.T) {
	s := populated(t)
	s.expect(201, "ana", "POST /v1/chats/c_1/messages", `{"content":"secret"}`)
	for _, path := range []string{"", "/participants", "/messages", "/messages/2", "/changes?after=0"} {
		heard := map[string]string{}
		for _, id := range []string{"c_1", "c_2", "c_01", "Port", "c_1%2Fmessages"} {
			res, body := s.expect(404, "bob", "GET /v1/chats/"+id+path, "")
			res.Header.Del("Date")
			heard[body] = heard[body] + " " + id
		}
		if len(heard) != 1 {
			t.Errorf("%s tells these apart: %v", path, heard)
		}
	}
}

func TestReady(t *testing.T) {
	var (
		failure error
		log     bytes.Buffer
	)
	degraded := ""
	s, _ := start(t, func(c *Config) {
		c.Ready, c.Degraded = func() error { return failure }, func() string { return degraded }
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	s.expect(200, "", "GET /healthz", "")
	if _, body := s.expect(200, "", "GET /readyz", ""); body != `{"status":"ok"}`+"\n" {
		t.Error(body)
	}
	degraded = "the bus is not connected"
	if _, body := s.expect(200, "", "GET /readyz", ""); !strings.Contains(body, `"status":"degraded"`) || !strings.Contains(body, degraded) {
		t.Error(body)
	}
	failure = errors.New("the disk of /secret is full")
	res, body := s.expect(503, "", "GET /readyz", "")
	if strings.Contains(body, "secret") || res.Header.Get("Retry-After") != "1" {
		t.Errorf("%v %s", res.Header, body)
	}
	s.expect(200, "", "GET /healthz", "")
	// Anybody may ask, and nobody fills the disk by it.
	for range 2 * reportsLog {
		s.expect(503, "", "GET /readyz", "")
	}
	s.Close() // nobody writes to the log any more
	if n := strings.Count(log.String(), "the disk of /secret is full"); n != reportsLog {
		t.Errorf("it is in the log %d times", n)
	}
}

func TestPages(t *testing.T) {
	s, _ := start(t, func(c *Config) { c.Software = "grima/1.2.3" })
	for _, path := range []string{"/", "/join"} {
		res, text := s.expect(200, "", "GET "+path, "")
		if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") || !strings.Contains(text, "curl -s "+s.URL+"/v1/users ") || !strings.Contains(text, "grima/1.2.3") {
			t.Errorf("%s: %s", path, text)
		}
		r := s.request("", "GET "+path, "")
		r.Header.Set("Accept", "text/html,*/*")
		r.Host = `x"><script>`
		res, html := s.expectOf(200, r)
		if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") || strings.Contains(html, "<script") || !strings.Contains(html, "http://localhost/v1") {
			t.Errorf("%s: %s", path, html)
		}
		policy := res.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "script-src") {
			t.Error(policy)
		}
	}
}

// Nobody has to read the rest of a body that is too large.
func TestLargeBodyEndsTheConnection(t *testing.T) {
	s, _ := start(t, nil)
	res, _ := s.expect(413, "", "POST /v1/users", strings.Repeat(" ", protocol.MaxFrameLogin+1))
	if !res.Close {
		t.Error("the connection goes on")
	}
}

// Over TLS nc is of no use, and the numbers of chats are not known before.
func TestPageBehindHTTPS(t *testing.T) {
	s, _ := start(t, nil)
	r := s.request("", "GET /", "")
	r.Host = "chat.example.org"
	r.Header.Set("X-Forwarded-Proto", "https")
	_, text := s.expectOf(200, r)
	for _, want := range []string{"openssl s_client -quiet -connect chat.example.org:443\n", "curl -s https://chat.example.org/v1/users "} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	for _, not := range []string{"nc ", "c_1"} {
		if strings.Contains(text, not) {
			t.Errorf("%s is in %s", not, text)
		}
	}
	if _, text := s.expect(200, "", "GET /", ""); !strings.Contains(text, "nc 127.0.0.1 ") || strings.Contains(text, "openssl") {
		t.Error(text)
	}
}

// Only a good token makes somebody known to the server.
func TestAuthenticatedIsTold(t *testing.T) {
	s := populated(t)
	told := 0
	inner := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r.WithContext(WithAuthenticated(r.Context(), func() { told++ })))
	})
	s.expect(200, "", "GET /healthz", "")
	s.expect(401, "", "GET /v1/chats", "")
	r := s.request("", "GET /v1/chats", "")
	r.Header.Set("Authorization", "Bearer gt_wrong")
	s.expectOf(401, r)
	if told != 0 {
		t.Errorf("told %d times before any good token", told)
	}
	s.expect(200, "ana", "GET /v1/chats", "")
	if told != 1 {
		t.Errorf("told %d times of one good token", told)
	}
}

// A panic is answered, and told where somebody reads it.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	h := &handler{Config: Config{Log: slog.New(slog.NewTextHandler(&log, nil))}}
	do := func(f http.HandlerFunc) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.recovering(f).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/chats", nil))
		return w
	}
	w := do(func(http.ResponseWriter, *http.Request) { panic("at the disco") })
	if w.Code != 500 || !strings.Contains(w.Body.String(), `"code":"internal"`) || strings.Contains(w.Body.String(), "disco") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, want := range []string{"level=ERROR", "at the disco", "path=/v1/chats", "TestPanic"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %s: %s", want, &log)
		}
	}
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("an answer that had begun ended with %v", v)
		}
	}()
	do(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, []byte(`{}`))
		panic("too late")
	})
}

// A header that nobody was told to trust says nothing, and of one that is
// trusted only what the nearest proxy appended.
func TestPeer(t *testing.T) {
	for _, c := range []struct {
		remote    string
		forwarded []string
		trusted   string
		want      string
	}{
		{"192.0.2.1:5", nil, "", "192.0.2.1"},
		{"192.0.2.1:5", []string{"203.0.113.9"}, "", "192.0.2.1"},
		{"127.0.0.1:5", []string{"203.0.113.9"}, "X-Forwarded-For", "203.0.113.9"},
		{"127.0.0.1:5", []string{"1.1.1.1, 203.0.113.9"}, "X-Forwarded-For", "203.0.113.9"},
		{"127.0.0.1:5", []string{"1.1.1.1", "2001:db8::1"}, "X-Forwarded-For", "2001:db8::1"},
		{"127.0.0.1:5", []string{"garbage"}, "X-Forwarded-For", "127.0.0.1"},
		{"127.0.0.1:5", []string{"1.1.1.1:9, 203.0.113.9:567"}, "X-Forwarded-For", "203.0.113.9"},
		{"127.0.0.1:5", []string{"[2001:db8::1]:567"}, "X-Forwarded-For", "2001:db8::1"},
		{"127.0.0.1:5", []string{"[2001:db8::1]"}, "X-Forwarded-For", "2001:db8::1"},
		{"127.0.0.1:5", []string{"[::ffff:203.0.113.9]:567"}, "X-Forwarded-For", "203.0.113.9"},
		{"127.0.0.1:5", []string{"[2001:db8::1"}, "X-Forwarded-For", "127.0.0.1"},
		{"127.0.0.1:5", []string{"203.0.113.9:"}, "X-Forwarded-For", "127.0.0.1"},
		{"127.0.0.1:5", []string{"203.0.113.9:99999"}, "X-Forwarded-For", "127.0.0.1"},
		{"[::ffff:192.0.2.1]:5", nil, "", "192.0.2.1"},
		{"127.0.0.1:5", []string{"203.0.113.9"}, "x-real-ip", "198.51.100.7"},
		{"127.0.0.1:5", nil, "X-Client", "127.0.0.1"},
		{"@", nil, "", ""},
	} {
		h := &handler{Config: Config{ClientHeader: c.trusted}}
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.forwarded, "X-Real-Ip": {"198.51.100.7"}}}
		want := netip.Addr{}
		if c.want != "" {
			want = netip.MustParseAddr(c.want)
		}
		if got := h.peer(r); got != want {
			t.Errorf("%s %v (trusted: %q): %v, want %v", c.remote, c.forwarded, c.trusted, got, want)
		}
	}
}

// Behind a proxy that does not tell, nobody's address is known: wrong passwords
// of one client made the server refuse everybody's.
func TestPeerBehindAProxy(t *testing.T) {
	h := &handler{Config: Config{BehindProxy: true}}
	r := &http.Request{RemoteAddr: "192.0.2.1:5", Header: http.Header{"X-Forwarded-For": {"203.0.113.9"}}}
	if got := h.peer(r); got.IsValid() {
		t.Errorf("no header is trusted: %v", got)
	}
	h.ClientHeader = "X-Forwarded-For"
	if got := h.peer(r); got != netip.MustParseAddr("203.0.113.9") {
		t.Errorf("from the header: %v", got)
	}
	r.Header.Set("X-Forwarded-For", "unknown")
	if got := h.peer(r); got.IsValid() {
		t.Errorf("a header without an address: %v", got)
	}
}

func TestRetryAfter(t *testing.T) {
	for ms, want := range map[int64]string{0: "1", 1: "1", 1000: "1", 1001: "2"} {
		w := httptest.NewRecorder()
		err := protocol.NewError(protocol.CodeRateLimited, "slow down")
		err.RetryAfterMS = ms
		writeProblem(w, 429, err)
		if got := w.Header().Get("Retry-After"); got != want || !bytes.Contains(w.Body.Bytes(), []byte(`"retryable":true`)) {
			t.Errorf("%d ms: Retry-After %s, want %s: %s", ms, got, want, w.Body)
		}
	}
}
