package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/limits"
	"github.com/grima-chat/grima/internal/server"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// stopped is a clock that moves only when it is told to, so that a debt stays
// what it is however slow the machine.
type stopped struct {
	mu  sync.Mutex
	now time.Time
}

func (s *stopped) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *stopped) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// tight are limits by key: of light requests five at once and ten slowly, each
// after 5 ms; then no more, for the clock stands still.
func tight(key limits.Key) (*limits.Config, *stopped) {
	clock := &stopped{now: time.Date(2026, 9, 20, 10, 0, 0, 0, time.UTC)}
	cfg := &limits.Config{Slack: 100 * time.Millisecond, Now: clock.Now}
	for k := range cfg.Rates {
		for c := range cfg.Rates[k] {
			cfg.Rates[k][c] = limits.Rate{PerSecond: 100, Burst: 1e6}
		}
	}
	cfg.Rates[key][api.Light].Burst = 5
	return cfg, clock
}

const me = `{"type":"DataRequest","id":%d,"op":"users.me"}`

// flood pipelines n requests and wants that many of the first to succeed and
// all others to be refused. It returns how long the last one is to wait.
func flood(t *testing.T, c *testserver.Conn, n, succeed int) (retry time.Duration) {
	t.Helper()
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, me+"\n", i)
	}
	c.Raw(all.String())
	for i := range n {
		var r protocol.Response
		line := c.Next()
		if err := json.Unmarshal([]byte(line), &r); err != nil || string(r.ID) != fmt.Sprint(i) {
			t.Fatalf("%s: %v, want the answer to %d", line, err, i)
		}
		switch {
		case i < succeed && r.Error != nil, i >= succeed && r.Error == nil:
			t.Fatalf("of %d requests %d were to succeed, but the answer to %d is %s", n, succeed, i, line)
		case r.Error != nil:
			if r.Error.Code != protocol.CodeRateLimited || !r.Error.Retryable || r.Error.RetryAfterMS < 1000 {
				t.Fatalf("refused with %s", line)
			}
			retry = time.Duration(r.Error.RetryAfterMS) * time.Millisecond
		}
	}
	return retry
}

// A flooder is slowed, then refused, and let through again when it was told; its
// neighbour at the same address does not notice.
func TestFlooderAndNeighbour(t *testing.T) {
	for wire, dial := range map[string]func(*testserver.Server) *testserver.Conn{
		"TCP":              (*testserver.Server).Dial,
		"TLS":              (*testserver.Server).DialTLS,
		"WebSocket":        (*testserver.Server).DialWebSocket,
		"WebSocket in TLS": (*testserver.Server).DialWebSocketTLS,
	} {
		t.Run(wire, func(t *testing.T) {
			rates, clock := tight(limits.Connection)
			srv := testserver.Start(t, testserver.Options{Rates: rates})
			eve, bob := srv.User("eve").Login(dial(srv)), srv.User("bob").Login(dial(srv))
			port := bob.Group("Port")

			began := time.Now()
			retry := flood(t, eve.Conn, 17, 15)
			if took := time.Since(began); took < 10*5*time.Millisecond {
				t.Errorf("ten slow requests took %v", took)
			}
			for _, r := range srv.Limits.Stats().Rates {
				want := limits.RateStats{Key: r.Key, Cost: r.Cost}
				if r.Key == limits.Connection && r.Cost == api.Light {
					want.Delayed, want.Refused = 10, 2
				}
				if r != want {
					t.Errorf("%+v, want %+v", r, want)
				}
			}
			// What cannot be refused in its own words is answered all the same.
			eve.Line(`{"type":"Ping","id":"p"}`, `{"nonsense`)
			eve.Want(`{"type":"Pong","id":"p"}`, `{"type":"Error","error":{"code":"parse_error"}}`)

			// While eve's requests wait, bob speaks with himself.
			eve.Line(strings.TrimSuffix(strings.Repeat(`{"type":"Ping","id":"again"}`+"\n", 3), "\n"))
			for i := range 5 {
				said := fmt.Sprint("undisturbed ", i)
				bob.Send(port, said)
				bob.Expect(said)
				if _, err := bob.Try(protocol.OpUsersMe, struct{}{}); err != nil {
					t.Errorf("bob: %v", err)
				}
			}
			for range 3 {
				eve.Want(`{"type":"Pong","id":"again"}`)
			}
			clock.pass(retry)
			eve.Line(fmt.Sprintf(me, 99))
			eve.Want(`{"id":99,"result":{}}`)
		})
	}
}

// A second connection does not help against a user's limit, and over HTTP it is
// the same count.
func TestUserIsCountedThroughAllDoors(t *testing.T) {
	rates, clock := tight(limits.User)
	srv := testserver.Start(t, testserver.Options{Rates: rates})
	eve := srv.User("eve")
	one, two := eve.Connect(), eve.ConnectTLS()
	flood(t, one.Conn, 8, 8)
	flood(t, two.Conn, 8, 7)
	for i, route := range []string{"GET /v1/users/me", "POST /v1/data"} {
		if i > 0 {
			flood(t, two.Conn, 15, 14) // one went over HTTP
		}
		clock.pass(refusedOverHTTP(t, srv, one.Token, route))
		if res, body := overHTTP(t, srv, one.Token, route); res.StatusCode != http.StatusOK {
			t.Errorf("%s after that time: %s %s", route, res.Status, body)
		}
	}
	bob := srv.User("bob").Connect()
	if res, body := overHTTP(t, srv, bob.Token, "GET /v1/users/me"); res.StatusCode != http.StatusOK {
		t.Errorf("bob: %s %s", res.Status, body)
	}
}

// Without a login there is only the address to count by: what there is without
// one, what comes to nothing, and tokens that are none.
func TestAddressIsCountedOverHTTP(t *testing.T) {
	rates, clock := tight(limits.Address)
	srv := testserver.Start(t, testserver.Options{Rates: rates})
	routes := []struct {
		route string
		ok    int
	}{
		{"GET /v1/openapi.json", http.StatusOK},
		{"GET /nowhere", http.StatusNotFound},
		{"GET //nowhere", http.StatusNotFound},
		{"GET /", http.StatusOK},
		{"GET /v1/ws", http.StatusUpgradeRequired},
		{"POST /v1/data", http.StatusUnauthorized},
		{"GET /v1/users/me", http.StatusUnauthorized},
	}
	for n := range 15 {
		r := routes[n%len(routes)]
		if res, body := overHTTP(t, srv, "gt_wrong", r.route); res.StatusCode != r.ok {
			t.Fatalf("%s: %s %s", r.route, res.Status, body)
		}
	}
	for _, r := range routes {
		if res, body := overHTTP(t, srv, "gt_wrong", "GET /healthz"); res.StatusCode != http.StatusOK {
			t.Errorf("/healthz: %s %s", res.Status, body)
		}
		refusedOverHTTP(t, srv, "gt_wrong", r.route)
	}
	clock.pass(time.Second)
	for _, r := range routes {
		if res, body := overHTTP(t, srv, "gt_wrong", r.route); res.StatusCode != r.ok {
			t.Errorf("%s later: %s %s", r.route, res.Status, body)
		}
	}
}

// overHTTP makes a request; what is posted asks for users.me.
func overHTTP(t *testing.T, srv *testserver.Server, token, route string) (*http.Response, string) {
	t.Helper()
	method, path, _ := strings.Cut(route, " ")
	var body io.Reader = http.NoBody
	if method == http.MethodPost {
		body = strings.NewReader(fmt.Sprintf(me, 1))
	}
	r, err := http.NewRequest(method, srv.URL()+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// refusedOverHTTP wants a request to be refused, and says for how long.
func refusedOverHTTP(t *testing.T, srv *testserver.Server, token, route string) time.Duration {
	t.Helper()
	res, body := overHTTP(t, srv, token, route)
	var said struct {
		protocol.Error
		Frame *protocol.Error `json:"error"`
	}
	if err := json.Unmarshal([]byte(body), &said); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if said.Frame != nil {
		said.Error = *said.Frame
	}
	after, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if res.StatusCode != http.StatusTooManyRequests || err != nil || said.Code != protocol.CodeRateLimited ||
		int64(after) != (said.RetryAfterMS+999)/1000 || said.RetryAfterMS < 1000 {
		t.Fatalf("%s: %s, Retry-After %q, %s", route, res.Status, res.Header.Get("Retry-After"), body)
	}
	return time.Duration(said.RetryAfterMS) * time.Millisecond
}

// Beyond an account's number of live connections a login is refused, on all
// wires, until another one ends.
func TestConnectionsOfAnAccount(t *testing.T) {
	srv := testserver.Start(t, testserver.Options{Rates: &limits.Config{NoRates: true, Connections: 2}})
	eve := srv.User("eve")
	first := eve.Connect()
	listen(t, srv, first.Token, "").want(`{"type":"Hello"}`, `{"op":"sync","result":{}}`)

	login := testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: first.Token})
	const refused = `{"id":1,"error":{"code":"rate_limited","retryable":true,"message":"this account has 2 connections already; close some"}}`
	const goodbye = `{"type":"Goodbye","code":"too_many_connections","reconnect":false}`
	for _, dial := range []func() *testserver.Conn{srv.Dial, srv.DialTLS, srv.DialWebSocket} {
		c := dial()
		c.Want(`{"type":"Hello"}`)
		c.Line(login)
		c.Want(refused, goodbye)
		c.WantEnd()
	}
	listen(t, srv, first.Token, "").want(`{"type":"Hello"}`, `{"type":"Error","error":{"code":"rate_limited"}}`, goodbye)

	// Others come in, and whoever has a place goes on.
	srv.User("bob").Connect()
	first.WantSilence()

	first.EOF()
	first.WantEnd()
	c := srv.DialWebSocket()
	c.Want(`{"type":"Hello"}`)
	c.Line(login)
	c.Want(`{"id":1,"result":{}}`)
	if n := srv.Limits.Stats().TooMany; n != 4 {
		t.Errorf("%d were refused", n)
	}
}

// Beyond an address's number of connections the next one is refused, logged in
// or not, until another one ends.
func TestConnectionsOfAnAddress(t *testing.T) {
	srv := testserver.Start(t, testserver.Options{Limits: true, Server: func(c *server.Config) { c.MaxPerAddress = 2 }})
	// That of the people who are made here is the operator's, which has no address.
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	refused := func() bool {
		c := srv.Dial()
		defer c.Close()
		line := c.Next()
		return testserver.Differs(`{"type":"Goodbye","code":"too_many_connections","message":"there are too many connections from your address"}`, line) == ""
	}
	if !refused() {
		t.Error("a third of two was let in")
	}
	res, body := overHTTP(t, srv, ana.Token, "GET /v1/users/me")
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
		t.Errorf("over HTTP: %s %s", res.Status, body)
	}
	bob.EOF()
	bob.WantEnd()
	for began := time.Now(); refused(); { // its place is given back just after
		if time.Since(began) > patience {
			t.Fatal("a place that is free is not given away")
		}
	}
	ana.WantSilence()
}
