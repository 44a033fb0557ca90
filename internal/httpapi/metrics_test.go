package httpapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Metrics are for programs on this machine and for who has the token: not for
// what a proxy on this machine passes on, whether we know of it or not.
func TestWhoSeesTheMetrics(t *testing.T) {
	const token = "a token for metrics"
	for _, tt := range []struct {
		name         string
		behind       bool
		token        string // configured
		from, host   string
		header       [2]string
		proto        string
		want         int
		authenticate string
	}{
		{name: "here", want: 200},
		{name: "here, IPv6", from: "[::1]:4711", host: "[::1]:7007", want: 200},
		{name: "here, IPv4 as IPv6", from: "[::ffff:127.0.0.1]:4711", want: 200},
		{name: "here, by name", host: "localhost:7007", want: 200},
		{name: "here, without a port", host: "localhost", want: 200},
		{name: "here, with a token configured", token: token, want: 200},
		{name: "Prometheus itself", header: [2]string{"X-Prometheus-Scrape-Timeout-Seconds", "10"}, want: 200},

		{name: "elsewhere", from: "192.0.2.1:4711", host: "chat.example.org", want: 404},
		{name: "elsewhere that says it is here", from: "192.0.2.1:4711", want: 404},
		{name: "elsewhere, a guess", from: "192.0.2.1:4711", header: [2]string{"Authorization", "Bearer " + token}, want: 404},
		{name: "elsewhere, no token", token: token, from: "192.0.2.1:4711", want: 401},
		{name: "elsewhere, a wrong token", token: token, from: "192.0.2.1:4711", header: [2]string{"Authorization", "Bearer " + token + "x"}, want: 401},
		{name: "elsewhere, half a token", token: token, from: "192.0.2.1:4711", header: [2]string{"Authorization", "Bearer a token"}, want: 401},
		{name: "elsewhere, another scheme", token: token, from: "192.0.2.1:4711", header: [2]string{"Authorization", "Basic " + token}, want: 401},
		{name: "elsewhere, the token", token: token, from: "192.0.2.1:4711", header: [2]string{"Authorization", "Bearer " + token}, want: 200},

		{name: "behind a proxy", behind: true, want: 404},
		{name: "behind a proxy, no token", behind: true, token: token, want: 401},
		{name: "behind a proxy, the token", behind: true, token: token, header: [2]string{"Authorization", "Bearer " + token}, want: 200},

		{name: "a proxy we do not know of, by its header", header: [2]string{"X-Forwarded-For", "127.0.0.1"}, want: 404},
		{name: "by another", header: [2]string{"X-Real-Ip", "127.0.0.1"}, want: 404},
		{name: "by the standard one", header: [2]string{"Forwarded", "for=127.0.0.1"}, want: 404},
		{name: "by Via", header: [2]string{"Via", "1.1 proxy"}, want: 404},
		{name: "by the host it passes on", host: "chat.example.org", want: 404},
		{name: "by its HTTP/1.0", proto: "HTTP/1.0", want: 404},
		{name: "a page that calls this machine by its own name", host: "evil.example:7007", want: 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &handler{Config: Config{BehindProxy: tt.behind, MetricsToken: tt.token}}
			h.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "grima_up 1\n") })
			r := httptest.NewRequest("GET", "http://127.0.0.1:7007/metrics", nil)
			r.RemoteAddr = "127.0.0.1:4711"
			if tt.from != "" {
				r.RemoteAddr = tt.from
			}
			if tt.host != "" {
				r.Host = tt.host
			}
			if tt.proto == "HTTP/1.0" {
				r.ProtoMinor = 0
			}
			if tt.header[0] != "" {
				r.Header.Set(tt.header[0], tt.header[1])
			}
			w := httptest.NewRecorder()
			h.metrics(w, r)
			if w.Code != tt.want || (w.Code == 200) != (w.Body.String() == "grima_up 1\n") {
				t.Errorf("%d %s, want %d", w.Code, w.Body, tt.want)
			}
			if w.Code == 401 && w.Header().Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
		})
	}
}

// Where nobody shows metrics there is no such path.
func TestNoMetrics(t *testing.T) {
	s, _ := start(t, nil)
	s.expect(404, "", "GET /metrics", "")
}
