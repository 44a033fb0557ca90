package websocket

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// Behind a proxy that ends TLS a page of this host has come by https, of which
// we know nothing.
func TestSchemeBehindAProxy(t *testing.T) {
	for origin, want := range map[string]bool{
		"https://chat.example.com":     true,
		"http://chat.example.com":      true,
		"https://chat.example.com:443": true,
		"https://chat.example.com:80":  false,
		"https://evil.example":         false,
		"null":                         false,
		"":                             false,
		"file://chat.example.com":      false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/v1/ws", nil)
		r.Host = "chat.example.com"
		r.Header.Set("Origin", origin)
		if got := (Offer{AnyScheme: true}).welcomes(r); got != want {
			t.Errorf("%q: %t", origin, got)
		}
	}
	two := httptest.NewRequest(http.MethodGet, "/v1/ws", nil)
	two.Header["Origin"] = []string{"http://example.com", "http://example.com"}
	if (Offer{}).welcomes(two) {
		t.Error("two origins are let in")
	}
}
