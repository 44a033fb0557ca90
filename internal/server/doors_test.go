package server_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/internal/api/apitest"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/pgtest"
	"github.com/grima-chat/grima/internal/server"
	"github.com/grima-chat/grima/internal/store/postgres"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// doors are all ways into a server.
var doors = []struct {
	name string
	open func(testing.TB, *testserver.Server) apitest.Door
}{
	{"TCP", func(t testing.TB, srv *testserver.Server) apitest.Door {
		return apitest.Lines(t, func() (net.Conn, error) { return net.Dial("tcp", srv.Addr) })
	}},
	{"TLS", func(t testing.TB, srv *testserver.Server) apitest.Door {
		return apitest.Lines(t, func() (net.Conn, error) { return tls.Dial("tcp", srv.Addr, testserver.TLSConfig()) })
	}},
	{"WebSocket", func(t testing.TB, srv *testserver.Server) apitest.Door {
		return apitest.Lines(t, func() (net.Conn, error) {
			return testserver.DialWebSocket(func() (net.Conn, error) { return net.Dial("tcp", srv.Addr) })
		})
	}},
	{"WebSocket in TLS", func(t testing.TB, srv *testserver.Server) apitest.Door {
		return apitest.Lines(t, func() (net.Conn, error) {
			return testserver.DialWebSocket(func() (net.Conn, error) { return tls.Dial("tcp", srv.Addr, testserver.TLSConfig()) })
		})
	}},
	{"HTTP frames", func(t testing.TB, srv *testserver.Server) apitest.Door {
		return apitest.HTTPFrames("http://"+srv.Addr, client(t))
	}},
	{"HTTPS frames", func(t testing.TB, srv *testserver.Server) apitest.Door {
		return apitest.HTTPFrames("https://"+srv.Addr, client(t))
	}},
	{"HTTP resources", func(t testing.TB, srv *testserver.Server) apitest.Door {
		return apitest.Resources("http://"+srv.Addr, client(t))
	}},
	{"HTTPS resources", func(t testing.TB, srv *testserver.Server) apitest.Door {
		return apitest.Resources("https://"+srv.Addr, client(t))
	}},
}

// Whichever way a request comes in, the answer is the same: on one server with
// SQLite, and on three with PostgreSQL and NATS, where each request goes to
// another one than the request before it.
func TestEveryDoorGivesTheSame(t *testing.T) {
	var first []string
	run := func(t *testing.T, door apitest.Door, srv *testserver.Server) {
		t.Helper()
		invite, ok, err := srv.Service.OwnerInvite(t.Context())
		if err != nil || !ok {
			t.Fatalf("no invite for the first owner: %v", err)
		}
		transcript := apitest.Run(t, door, invite)
		if first == nil {
			first = transcript
		}
		if diff := cmp.Diff(first, transcript); diff != "" {
			t.Errorf("not what the first door gave:\n%s", diff)
		}
	}
	for _, door := range doors {
		t.Run(door.name, func(t *testing.T) {
			srv := testserver.Start(t, testserver.Options{Registration: chat.RegistrationInvite})
			run(t, door.open(t, srv), srv)
		})
	}
	for _, door := range doors {
		t.Run(door.name+" of three servers", func(t *testing.T) {
			o := onPostgres(t, testserver.Options{Registration: chat.RegistrationInvite})
			c := startCluster(t, o, o, o)
			var each []apitest.Door
			for _, srv := range c.servers {
				each = append(each, door.open(t, srv))
			}
			run(t, apitest.Several(each...), c.servers[0])
		})
	}
}

// onPostgres gives each server of a cluster its own way into a database.
func onPostgres(t testing.TB, o testserver.Options) testserver.Options {
	database := pgtest.New(t)
	o.Open = func(log *slog.Logger) (chat.Store, error) {
		return postgres.Open(t.Context(), postgres.Config{URL: database, Readers: 4, Log: log})
	}
	return o
}

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// client is an HTTP client that trusts the test's servers and leaves nothing
// open behind it.
func client(t testing.TB) *http.Client {
	transport := &http.Transport{TLSClientConfig: testserver.TLSConfig()}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestFirstBytesTell(t *testing.T) {
	srv := testserver.Start(t)
	t.Run("silence hears Hello", func(t *testing.T) {
		c := srv.Dial()
		c.Want(`{"type":"Hello"}`)
		c.Line(`{"type":"Ping"}`)
		c.Want(`{"type":"Pong"}`)
	})
	t.Run("a newline hears Hello", func(t *testing.T) {
		c := srv.Dial()
		c.Line("")
		c.Want(`{"type":"Hello"}`)
	})
	t.Run("silence inside TLS too", func(t *testing.T) {
		c := srv.DialTLS()
		c.Want(`{"type":"Hello"}`)
		c.Line(`{"type":"Ping"}`)
		c.Want(`{"type":"Pong"}`)
	})
	t.Run("nothing at all", func(t *testing.T) {
		c := srv.Dial()
		c.EOF()
		c.Want(`{"type":"Hello"}`)
		c.WantEnd()
	})
	t.Run("HTTP byte by byte", func(t *testing.T) {
		c := srv.Dial()
		for _, b := range []byte("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") {
			c.Raw(string(b))
		}
		if got := c.Next(); got != "HTTP/1.1 200 OK" {
			t.Error(got)
		}
	})
	t.Run("HTTPS", func(t *testing.T) {
		res, err := client(t).Get("https://" + srv.Addr + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK || res.TLS == nil {
			t.Errorf("%s, TLS %v", res.Status, res.TLS != nil)
		}
	})
	t.Run("HTTPS with ALPN", func(t *testing.T) {
		config := testserver.TLSConfig()
		config.NextProtos = []string{"h2", "http/1.1"}
		nc, err := tls.Dial("tcp", srv.Addr, config)
		if err != nil {
			t.Fatal(err)
		}
		if got := nc.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
			t.Errorf("negotiated %q", got)
		}
		c := testserver.NewConn(t, nc)
		c.Raw("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if got := c.Next(); got != "HTTP/1.1 200 OK" {
			t.Error(got)
		}
	})
	for name, banner := range map[string]string{
		"SSH":          "SSH-2.0-OpenSSH_9.9\r\n",
		"a bare word":  "hello\n",
		"a byte order": "\xef\xbb\xbf{}\n",
		"a lonely NUL": "\x00",
		"a TLS alert":  "\x15\x03\x01\x00\x02",
	} {
		t.Run(name, func(t *testing.T) {
			c := srv.Dial()
			c.Raw(banner)
			c.Want(`{"type":"Error","error":{"code":"parse_error"}}`, `{"type":"Goodbye","code":"protocol_violation","reconnect":false}`)
			c.WantEnd()
		})
	}
	t.Run("TLS where there is none", func(t *testing.T) {
		plain := testserver.Start(t, testserver.Options{Server: func(c *server.Config) { c.CertFile, c.KeyFile = "", "" }})
		c := plain.Dial()
		c.Raw("\x16\x03\x01\x02\x00\x01")
		c.Want(`{"type":"Error","error":{"code":"parse_error"}}`, `{"type":"Goodbye","code":"protocol_violation"}`)
		c.WantEnd()
	})
	t.Run("a handshake that is none", func(t *testing.T) {
		c := srv.Dial()
		c.Raw("\x16\x03\x01" + strings.Repeat("x", 500))
		if line, err := c.TryNext(); err == nil && strings.Contains(line, "{") {
			t.Errorf("got %q", line)
		}
	})
}

func TestTooManyStrangers(t *testing.T) {
	srv := testserver.Start(t, testserver.Options{Server: func(c *server.Config) { c.NoLimits, c.MaxStrangers = false, 2 }})
	ana := srv.User("ana")
	first := ana.Connect() // logged in: not counted
	waiting := []*testserver.Conn{srv.Dial(), srv.Dial()}
	for _, c := range waiting {
		c.Want(`{"type":"Hello"}`)
	}
	refused := srv.Dial()
	refused.Want(`{"type":"Goodbye","code":"too_many_connections","reconnect":false}`)
	refused.WantEnd()
	res, err := client(t).Get(srv.URL() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || res.Body.Close() != nil {
		t.Error(err)
	}
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Content-Type") != "application/problem+json" ||
		res.Header.Get("Retry-After") != "10" || !strings.Contains(string(body), `"code":"rate_limited","retryable":true,"retry_after_ms":10000`) {
		t.Errorf("HTTP got %s %s %s", res.Status, res.Header, body)
	}

	waiting[0].Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: first.Token}))
	waiting[0].Want(`{"id":1,"result":{}}`)
	srv.Dial().Want(`{"type":"Hello"}`)
	first.Do(protocol.OpUsersMe, protocol.Empty{}, nil)
}

// Asking for something that anybody may have does not make one known; a good
// token does.
func TestTooManyStrangersOverHTTP(t *testing.T) {
	srv := testserver.Start(t, testserver.Options{Server: func(c *server.Config) { c.NoLimits, c.MaxStrangers = false, 2 }})
	ana := srv.User("ana").Connect()
	get := func(c *testserver.Conn, path, token string, want int) {
		t.Helper()
		c.Raw("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token + "\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); res.StatusCode != want || err != nil {
			t.Fatalf("%s: %s %s %v, want %d", path, res.Status, body, err, want)
		}
	}
	first, second := srv.Dial(), srv.Dial()
	get(first, "/healthz", "", 200)
	get(second, "/v1/chats", "gt_wrong", 401)
	third := srv.Dial()
	third.Want(`{"type":"Goodbye","code":"too_many_connections"}`)

	get(first, "/v1/chats", ana.Token, 200)
	fourth := srv.Dial()
	get(fourth, "/healthz", "", 200)
	srv.Dial().Want(`{"type":"Goodbye","code":"too_many_connections"}`)
}

func TestTooManyConnections(t *testing.T) {
	srv := testserver.Start(t, testserver.Options{Server: func(c *server.Config) { c.MaxConnections = 2 }})
	first, second := srv.Dial(), srv.Dial()
	first.Want(`{"type":"Hello"}`)
	second.Want(`{"type":"Hello"}`)
	third := srv.Dial()
	third.Want(`{"type":"Goodbye","code":"too_many_connections"}`)
	first.EOF()
	first.WantEnd()
	for { // the place is free a moment after the connection is closed
		c := srv.Dial()
		if got := c.Next(); strings.Contains(got, "Hello") {
			break
		}
	}
	op := srv.DialOperator() // not counted
	op.Want(`{"type":"Hello"}`)
}

func TestStop(t *testing.T) {
	srv := testserver.Start(t)
	ana := srv.User("ana").Connect()
	web := srv.Dial()
	web.Raw("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if got := web.Next(); got != "HTTP/1.1 200 OK" {
		t.Fatal(got)
	}
	half := srv.Dial() // in the middle of being sniffed
	half.Raw("GE")
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		srv.Stop()
	}()
	ana.ExpectGoodbye(protocol.GoodbyeShutdown)
	<-stopped
	if err := srv.Front.Ready(); err == nil {
		t.Error("ready after the stop")
	}
	if nc, err := net.Dial("tcp", srv.Addr); err == nil {
		t.Error("still accepts", nc.Close())
	}
}

func TestStopAnswersHTTPUnderWay(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	srv := testserver.Start(t, testserver.Options{Server: func(c *server.Config) {
		c.HTTP = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-leave
			_, _ = io.WriteString(w, "done\n")
		})
	}})
	got := make(chan string, 1)
	go func() {
		res, err := client(t).Get(srv.URL())
		if err != nil {
			got <- err.Error()
			return
		}
		body, err := io.ReadAll(res.Body)
		got <- fmt.Sprint(string(body), err, res.Body.Close())
	}()
	<-entered
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		srv.Stop()
	}()
	for srv.Front.Ready() == nil { // until the stop has begun
		runtime.Gosched()
	}
	close(leave)
	if s := <-got; s != "done\n<nil> <nil>" {
		t.Error(s)
	}
	<-stopped
}

// broken is a store that fails for good when it is told to.
type broken struct {
	chat.Store

	failed chan struct{}
}

func (b *broken) Failed() <-chan struct{} { return b.failed }
func (b *broken) Err() error              { return fmt.Errorf("the disk is gone") }

func TestStoreThatFails(t *testing.T) {
	store := &broken{failed: make(chan struct{})}
	srv := testserver.Start(t, testserver.Options{MayFail: true, Store: func(s chat.Store) chat.Store {
		store.Store = s
		return store
	}})
	ana := srv.User("ana").Connect()
	close(store.failed)
	ana.ExpectGoodbye(protocol.GoodbyeInternal)
	if err := srv.Failed(); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("serving ended with %v", err)
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	var files server.Config
	srv := testserver.Start(t, testserver.Options{Server: func(c *server.Config) { files = *c }})
	cert, err := os.ReadFile(files.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files.CertFile, []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := srv.Front.ReloadCertificate(); err == nil {
		t.Error("took half a file")
	}
	srv.DialTLS().Want(`{"type":"Hello"}`)
	if err := os.WriteFile(files.CertFile, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := srv.Front.ReloadCertificate(); err != nil {
		t.Error(err)
	}
	srv.DialTLS().Want(`{"type":"Hello"}`)
}

// The same in curl's words: log in, make a chat, say something, hear it.
func TestHTTPSpeaksToTheStream(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	port := ana.Group("Port", bob)
	body, err := json.Marshal(map[string]string{"content": "from curl"})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL()+"/v1/chats/"+port+"/messages", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+ana.Token)
	req.Header.Set("Content-Type", "application/json")
	res, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode/100 != 2 {
		t.Errorf("POST: %s", res.Status)
	}
	bob.Expect("from curl")
	ana.Expect("from curl")
}
