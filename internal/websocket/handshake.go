package websocket

import (
	"crypto/sha1" //nolint:gosec // the handshake is made of it (RFC 6455, section 1.3)
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Offer is what a server accepts.
type Offer struct {
	// Protocol is the subprotocol that is spoken. A client that names none
	// speaks it too; one that names only others is refused.
	Protocol string
	// Origins are pages' origins ("https://chat.example.com") that may connect
	// beside those of the very host. A client that is no browser sends none,
	// and is let in: who it is, it has to say inside.
	Origins []string
	// AnyScheme takes a page of the same host whether it came by http or https:
	// behind a proxy that ends TLS, one cannot know.
	AnyScheme bool
}

// Refusal is why a request is not accepted.
type Refusal struct {
	Status int
	Header [2]string // to be set with it; the name may be empty
	Reason string
}

// Accept looks at a request for a WebSocket and gives the head of the answer
// that begins it. The caller then takes over the connection.
func Accept(r *http.Request, o Offer) (head []byte, no *Refusal) {
	refuse := func(status int, reason string) ([]byte, *Refusal) {
		return nil, &Refusal{Status: status, Reason: reason}
	}
	versions := r.Header.Values("Sec-WebSocket-Version")
	switch {
	case r.Method != http.MethodGet:
		return nil, &Refusal{http.StatusMethodNotAllowed, [2]string{"Allow", "GET"}, "this path takes GET"}
	case !r.ProtoAtLeast(1, 1):
		return refuse(http.StatusBadRequest, "a WebSocket begins with HTTP/1.1")
	case !hasToken(r.Header, "Upgrade", "websocket"):
		return nil, &Refusal{http.StatusUpgradeRequired, [2]string{"Upgrade", "websocket"}, "this path is a WebSocket: Upgrade: websocket is missing"}
	case !hasToken(r.Header, "Connection", "upgrade"):
		return refuse(http.StatusBadRequest, "Connection: Upgrade is missing")
	case len(versions) != 1 || versions[0] != "13":
		return nil, &Refusal{http.StatusUpgradeRequired, [2]string{"Sec-WebSocket-Version", "13"}, "the version of WebSocket must be 13"}
	case r.ContentLength != 0:
		return refuse(http.StatusBadRequest, "a request for a WebSocket has no body")
	}
	keys := r.Header.Values("Sec-WebSocket-Key")
	if len(keys) != 1 {
		return refuse(http.StatusBadRequest, "there must be one Sec-WebSocket-Key")
	}
	if raw, err := base64.StdEncoding.Strict().DecodeString(keys[0]); err != nil || len(raw) != 16 {
		return refuse(http.StatusBadRequest, "the Sec-WebSocket-Key must be 16 bytes in base64")
	}
	if !o.welcomes(r) {
		return refuse(http.StatusForbidden, "another site's page asked for this")
	}
	head = fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n", acceptance(keys[0]))
	if len(r.Header.Values("Sec-WebSocket-Protocol")) > 0 {
		if !hasToken(r.Header, "Sec-WebSocket-Protocol", o.Protocol) {
			return refuse(http.StatusBadRequest, "the subprotocol spoken here is "+o.Protocol)
		}
		head = fmt.Appendf(head, "Sec-WebSocket-Protocol: %s\r\n", o.Protocol)
	}
	return append(head, "\r\n"...), nil
}

// acceptance proves that the handshake was understood.
func acceptance(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func hasToken(h http.Header, name, token string) bool {
	for _, v := range h.Values(name) {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// welcomes reports whether the page that asks, if one does, may.
func (o Offer) welcomes(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	page, ok := parseOrigin(origins[0])
	if !ok || len(origins) > 1 {
		return false
	}
	if slices.ContainsFunc(o.Origins, func(allowed string) bool {
		other, ok := parseOrigin(allowed)
		return ok && other == page
	}) {
		return true
	}
	return SameOrigin(r, o.AnyScheme)
}

// SameOrigin reports whether a page of the host that r went to asks, as r's
// Origin says; anyScheme: in TLS or not, which may have ended before us. Without
// an Origin nobody says so.
func SameOrigin(r *http.Request, anyScheme bool) bool {
	origins := r.Header.Values("Origin")
	if len(origins) != 1 {
		return false
	}
	page, ok := parseOrigin(origins[0])
	if !ok {
		return false
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	if anyScheme {
		scheme = page.scheme
	}
	own, ok := parseOrigin(scheme + "://" + r.Host)
	return ok && own == page
}

// origin is a page's origin (RFC 6454).
type origin struct{ scheme, host, port string }

func parseOrigin(s string) (origin, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" ||
		u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return origin{}, false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return origin{u.Scheme, strings.ToLower(u.Hostname()), port}, true
}

// ValidOrigin reports whether s is an origin as Offer.Origins has them.
func ValidOrigin(s string) bool {
	_, ok := parseOrigin(s)
	return ok
}
