package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"strings"

	"github.com/grima-chat/grima/protocol"
)

// metricsPath is where the metrics are (docs/operations.md#metrics).
const metricsPath = "/metrics"

// metrics shows the metrics to who may see them. For everybody else, where
// there is no token, there is no such path.
func (h *handler) metrics(w http.ResponseWriter, r *http.Request) {
	switch {
	case !h.BehindProxy && fromHere(r), h.MetricsToken != "" && hasToken(r, h.MetricsToken):
		h.Metrics.ServeHTTP(w, r)
	case h.MetricsToken == "":
		notFound(w)
	default:
		WriteProblem(w, protocol.NewError(protocol.CodeUnauthenticated, "the metrics want their own token: Authorization: Bearer <token>"))
	}
}

// fromHere reports whether a program on this machine asks for itself. What a
// proxy on this machine passes on for others comes from here, too, and nobody
// may have told us of the proxy: so whatever looks passed on is not from here,
// and neither is a browser that was told a name of ours by somebody else.
func fromHere(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() || !r.ProtoAtLeast(1, 1) {
		return false
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-") || name == "Forwarded" || name == "Via" {
			// X-Prometheus-Scrape-Timeout-Seconds is Prometheus's own.
			if !strings.HasPrefix(name, "X-Prometheus-") {
				return false
			}
		}
	}
	return local(r.Host)
}

// hasToken compares in a time that tells nothing about the token.
func hasToken(r *http.Request, token string) bool {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return false
	}
	scheme, given, _ := strings.Cut(values[0], " ")
	a, b := sha256.Sum256([]byte(strings.TrimSpace(given))), sha256.Sum256([]byte(token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
