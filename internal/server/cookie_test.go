package server_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// cookie logs in as a browser does and gives the Cookie header.
func cookie(t *testing.T, srv *testserver.Server, u *testserver.User) string {
	t.Helper()
	body := `{"mechanism":"PLAIN","username":"` + u.Name + `","password":"` + u.Password + `","cookie":true}`
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL()+"/v1/sessions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", srv.URL())
	res, err := client(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if cookies := res.Cookies(); res.StatusCode == http.StatusOK && len(cookies) == 1 {
		return "Cookie: " + cookies[0].Name + "=" + cookies[0].Value
	}
	t.Fatalf("%s %v", res.Status, res.Header)
	return ""
}

const byCookie = `{"type":"SessionRequest","id":1,"op":"session.start","params":{"mechanism":"COOKIE"}}`

// A WebSocket of our own page goes on with the session of its cookie, and of no
// other page.
func TestWebSocketByCookie(t *testing.T) {
	srv := testserver.Start(t, testserver.Options{Origins: []string{"https://friends.example"}})
	ana, bob := srv.User("ana"), srv.User("bob").Connect()
	crumb := cookie(t, srv, ana)
	const own = "Origin: http://localhost" // the Host of these handshakes

	t.Run("it logs in and hears", func(t *testing.T) {
		ws := srv.DialWebSocketWith(own, crumb)
		ws.Want(`{"type":"Hello","auth":["PLAIN","TOKEN","COOKIE"]}`)
		ws.Line(byCookie)
		line := ws.Next()
		if why := testserver.Differs(`{"id":1,"result":{"user":{"username":"ana"}}}`, line); why != "" {
			t.Fatal(why)
		}
		if strings.Contains(line, "gt_") {
			t.Errorf("a script could read the token: %s", line)
		}
		var pair protocol.ChatsCreateResult
		bob.Do(protocol.OpChatsCreate, protocol.ChatsCreateParams{Kind: "private", UserID: ana.ID}, &pair)
		ws.Want(`{"event":"participant.added"}`)
		ws.Line(`{"type":"SessionRequest","id":2,"op":"session.start","params":{"mechanism":"COOKIE"}}`)
		ws.Want(`{"id":2,"error":{"code":"conflict"}}`)
	})
	for name, headers := range map[string][]string{
		"without a cookie":               {own},
		"from a program":                 {crumb},
		"from a page that else may":      {"Origin: https://friends.example", crumb},
		"with another cookie":            {own, "Cookie: grima=gt_x"},
		"from another page, so it says":  {own, "Sec-Fetch-Site: cross-site", crumb},
		"from a page of another of ours": {own, "Sec-Fetch-Site: same-site", crumb},
	} {
		t.Run(name, func(t *testing.T) {
			ws := srv.DialWebSocketWith(headers...)
			ws.Want(`{"type":"Hello","auth":["PLAIN","TOKEN"]}`)
			ws.Line(byCookie)
			ws.Want(`{"id":1,"error":{"code":"unauthenticated"}}`)
		})
	}
	t.Run("from another page", func(t *testing.T) {
		if _, err := testserver.DialWebSocket(func() (net.Conn, error) { return net.Dial("tcp", srv.Addr) }, "Origin: https://evil.example", crumb); err == nil {
			t.Error("it is let in")
		}
	})
	t.Run("over lines there are no cookies", func(t *testing.T) {
		c := srv.Dial()
		c.Want(`{"type":"Hello","auth":["PLAIN","TOKEN"]}`)
		c.Line(byCookie, testserver.Request("2", "session.start", protocol.SessionStartParams{Mechanism: "PLAIN", Username: ana.Name, Password: ana.Password, Cookie: true}))
		c.Want(`{"id":1,"error":{"code":"unauthenticated"}}`, `{"id":2,"error":{"code":"invalid_request"}}`)
	})
	t.Run("a cookie that is over, and another way in", func(t *testing.T) {
		open := srv.DialWebSocketWith(own, crumb)
		open.Want(`{"type":"Hello"}`)
		open.Line(byCookie)
		open.Want(`{"id":1,"result":{}}`)
		late := srv.DialWebSocketWith(own, crumb)
		late.Want(`{"type":"Hello","auth":["PLAIN","TOKEN","COOKIE"]}`)
		open.Line(`{"type":"SessionRequest","id":2,"op":"session.end"}`)
		open.Want(`{"id":2,"result":{}}`, `{"type":"Goodbye","code":"session_revoked","reconnect":false}`)
		open.WantClosed(4500)
		late.Line(byCookie)
		late.Want(`{"id":1,"error":{"code":"unauthenticated"}}`)
		late.Line(testserver.Request("2", "session.start", protocol.SessionStartParams{Mechanism: "PLAIN", Username: ana.Name, Password: ana.Password}))
		late.Want(`{"id":2,"result":{"user":{"username":"ana"}}}`)
	})
}

// Events over HTTP by cookie, which EventSource in a browser sends.
func TestEventsByCookie(t *testing.T) {
	srv := testserver.Start(t)
	crumb := cookie(t, srv, srv.User("ana"))
	name, value, _ := strings.Cut(crumb, ": ")
	res := get(t, srv, "", "/v1/events", name+": "+value, "Sec-Fetch-Site: same-origin")
	if res.StatusCode != http.StatusOK {
		t.Errorf("with a cookie: %s", res.Status)
	}
	if res = get(t, srv, "", "/v1/events", name+": "+value); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("with one that does not count: %s", res.Status)
	}
}
