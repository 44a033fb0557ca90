package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

const cookieLogin = `{"mechanism":"PLAIN","username":"ana","password":"correct horse battery","cookie":true}`

// ours makes r one that a browser sends for a page of ours.
func ours(r *http.Request) *http.Request {
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return r
}

// cookied logs ana in as a browser does, and gives the cookie.
func (s *server) cookied() *http.Cookie {
	s.t.Helper()
	res, body := s.expectOf(200, ours(s.request("", "POST /v1/sessions", cookieLogin)))
	if strings.Contains(body, "gt_") || strings.Contains(body, `"token"`) {
		s.t.Fatalf("a script could read the token: %s", body)
	}
	cookies := res.Cookies()
	if len(cookies) != 1 {
		s.t.Fatalf("cookies: %v", cookies)
	}
	return cookies[0]
}

func (s *server) with(c *http.Cookie, route, body string) *http.Request {
	s.t.Helper()
	r := s.request("", route, body)
	r.Header.Set("Cookie", c.Name+"="+c.Value)
	return r
}

func TestCookieOfALogin(t *testing.T) {
	s := populated(t)
	c := s.cookied()
	if c.Name != "__Host-grima" || !strings.HasPrefix(c.Value, "gt_") || c.Path != "/" || c.Domain != "" ||
		!c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
		t.Errorf("%+v", c)
	}
	// It lasts as long as the session can, which slides on the server.
	if most := int(chat.SessionAbsolute / time.Second); c.MaxAge > most || c.MaxAge < most-60 {
		t.Errorf("it lasts %d s", c.MaxAge)
	}
	// Who is asked again who they are gets it again; and nobody gets a token.
	res, body := s.expectOf(200, ours(s.with(c, "POST /v1/sessions", `{"mechanism":"COOKIE"}`)))
	if again := res.Cookies(); len(again) != 1 || again[0].Value != c.Value || strings.Contains(body, "gt_") || !strings.Contains(body, `"username":"ana"`) {
		t.Errorf("%v %s", again, body)
	}
	// A token can become one, and lasts as long as it does.
	res, body = s.expectOf(201, ours(s.with(c, "POST /v1/tokens", `{"device":"a script","ttl_ms":3600000}`)))
	if len(res.Cookies()) != 0 {
		t.Errorf("%v", res.Cookies())
	}
	token := between(body, `"token":"`, `"`)
	res, _ = s.expectOf(200, ours(s.request("", "POST /v1/sessions", `{"mechanism":"TOKEN","token":"`+token+`","cookie":true}`)))
	if made := res.Cookies(); len(made) != 1 || made[0].Value != token || made[0].MaxAge > 3600 || made[0].MaxAge < 3500 {
		t.Errorf("%v", made)
	}
	// Without asking for one nobody gets one, nor with a wrong password.
	for body, status := range map[string]int{
		strings.ReplaceAll(cookieLogin, `,"cookie":true`, ""): 200,
		strings.ReplaceAll(cookieLogin, "correct", "wrong"):   401,
	} {
		if res, _ := s.expectOf(status, ours(s.request("", "POST /v1/sessions", body))); len(res.Cookies()) != 0 {
			t.Errorf("%s: %v", body, res.Cookies())
		}
	}
}

// A cookie counts only for what the browser says that a page of ours asks.
func TestWhoseCookieCounts(t *testing.T) {
	s := populated(t)
	c := s.cookied()
	own := s.URL
	elsewhere := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	for name, x := range map[string]struct {
		head       string
		get, write int
	}{
		"our page":                         {"Sec-Fetch-Site: same-origin", 200, 200},
		"our page, in an older browser":    {"Origin: " + own, 200, 200},
		"a program":                        {"", 401, 403},
		"an address that a person typed":   {"Sec-Fetch-Site: none", 401, 403},
		"another site":                     {"Sec-Fetch-Site: cross-site", 401, 403},
		"another host of this site":        {"Sec-Fetch-Site: same-site", 401, 403},
		"another site, in an older one":    {"Origin: https://evil.example", 401, 403},
		"another name of this host":        {"Origin: " + elsewhere, 401, 403},
		"our host with TLS":                {"Origin: " + strings.Replace(own, "http:", "https:", 1), 401, 403},
		"a page without an origin":         {"Origin: null", 401, 403},
		"our host on another port":         {"Origin: http://127.0.0.1:1", 401, 403},
		"another site that says it is one": {"Sec-Fetch-Site: same-origin, cross-site", 401, 403},
	} {
		t.Run(name, func(t *testing.T) {
			s := &server{s.Server, t, s.tokens}
			for route, want := range map[string]int{
				"GET /v1/users/me": x.get, "GET /v1/avatars/none": max(x.get, 404*x.get/200),
				"POST /v1/chats/c_1/typing": x.write, "POST /v1/data": x.write, "PATCH /v1/users/me": x.write,
				"DELETE /v1/users/me/avatar": x.write,
			} {
				if x.get == 401 && route == "GET /v1/avatars/none" {
					want = 401
				}
				body := map[string]string{
					"POST /v1/data": `{"type":"DataRequest","op":"users.me"}`, "PATCH /v1/users/me": `{"name":"Ana"}`,
				}[route]
				r := s.with(c, route, body)
				if name, value, ok := strings.Cut(x.head, ": "); ok {
					r.Header.Set(name, value)
				}
				res, answer := s.send(r)
				if res.StatusCode != want || want == 403 && !strings.Contains(answer, `"code":"permission_denied"`) {
					t.Errorf("%s: %d %s, want %d", route, res.StatusCode, answer, want)
				}
				// A token says who asks, and then the cookie is not looked at.
				if x.head != "" || !strings.HasPrefix(route, "PATCH") {
					continue
				}
				r = s.with(c, route, body)
				r.Header.Set("Authorization", "Bearer "+s.tokens["bob"])
				if _, answer := s.expectOf(200, r); !strings.Contains(answer, `"username":"bob"`) {
					t.Errorf("with bob's token: %s", answer)
				}
			}
		})
	}
	r := ours(s.with(c, "GET /v1/users/me", ""))
	r.Header.Set("Authorization", "Bearer gt_wrong")
	s.expectOf(401, r)
}

// Behind a proxy TLS has ended, and the scheme is not known.
func TestCookieBehindAProxy(t *testing.T) {
	s, invite := start(t, func(c *Config) { c.BehindProxy = true })
	s.expect(201, "", "POST /v1/users", `{"username":"ana","password":"correct horse battery","invite":"`+invite+`"}`)
	c := s.cookied()
	r := s.with(c, "POST /v1/chats", `{"kind":"group","title":"Port"}`)
	r.Header.Set("Origin", strings.Replace(s.URL, "http:", "https:", 1))
	s.expectOf(201, r)
}

func TestLoggingOutWithACookie(t *testing.T) {
	s := populated(t)
	c := s.cookied()
	forgotten := func(res *http.Response) bool {
		for _, c := range res.Cookies() {
			if c.Name == cookieName && c.Value == "" && c.MaxAge < 0 && c.Path == "/" && c.Secure {
				return true
			}
		}
		return false
	}
	// Nobody else's page logs out, and a program's token is no reason to.
	res, _ := s.expectOf(403, s.with(c, "DELETE /v1/sessions/current", ""))
	if forgotten(res) {
		t.Error("forgotten for another's page")
	}
	s.login("ana")
	r := ours(s.with(c, "DELETE /v1/sessions/current", ""))
	r.Header.Set("Authorization", "Bearer "+s.tokens["ana"])
	if res, _ = s.expectOf(200, r); forgotten(res) {
		t.Error("forgotten although the token's session ended")
	}
	for _, status := range []int{200, 401} { // the second time it is over already
		res, _ = s.expectOf(status, ours(s.with(c, "DELETE /v1/sessions/current", "")))
		if !forgotten(res) {
			t.Errorf("%d: %v", status, res.Header)
		}
	}
	s.expectOf(401, ours(s.with(c, "GET /v1/users/me", "")))
	s.expectOf(401, ours(s.with(c, "POST /v1/sessions", `{"mechanism":"COOKIE"}`)))
	s.expectOf(401, ours(s.request("", "POST /v1/sessions", `{"mechanism":"COOKIE"}`)))
}

// A changed password ends the other sessions, and the cookie stays good.
func TestNewPasswordKeepsTheCookie(t *testing.T) {
	s := populated(t)
	here, there := s.cookied(), s.cookied()
	s.expectOf(200, ours(s.with(here, "PATCH /v1/users/me", `{"password":"another good one","current_password":"correct horse battery"}`)))
	s.expectOf(200, ours(s.with(here, "GET /v1/users/me", "")))
	s.expectOf(401, ours(s.with(there, "GET /v1/users/me", "")))
	s.expect(401, "ana", "GET /v1/users/me", "")
}

// Bodies with a cookie may be as large as those with a token.
func TestLargeBodyWithACookie(t *testing.T) {
	s := populated(t)
	content := strings.Repeat("x", protocol.MaxContent)
	s.expectOf(201, ours(s.with(s.cookied(), "POST /v1/chats/c_1/messages", `{"content":"`+content+`"}`)))
}
