package httpapi

import (
	"net/http"
	"time"

	"github.com/grima-chat/grima/internal/websocket"
	"github.com/grima-chat/grima/protocol"
)

// cookieName is the cookie that holds a browser's token (docs/protocol.md#cookies).
// Browsers take a cookie of such a name only over a connection that nobody
// listens to, for this host alone and for all of its paths.
const cookieName = "__Host-grima"

// cookie is the token that r's cookie brings; empty: there is none that counts.
// A browser sends its cookies whoever's page asks, so one counts only where the
// browser says that the page is ours: then no other site can ask as somebody.
// Where that is not said, what changes nothing is asked by nobody in particular,
// and anything else is refused.
func (h *handler) cookie(r *http.Request) (string, *protocol.Error) {
	c, err := r.Cookie(cookieName)
	if err != nil || c.Value == "" {
		return "", nil
	}
	if h.ownPage(r) {
		return c.Value, nil
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return "", nil
	}
	return "", protocol.NewError(protocol.CodePermissionDenied, "a cookie counts only for what this site's own pages ask for; programs send a token")
}

// ownPage reports whether a browser says that a page of this host asks.
func (h *handler) ownPage(r *http.Request) bool {
	if site := r.Header.Values("Sec-Fetch-Site"); len(site) > 0 {
		return len(site) == 1 && site[0] == "same-origin"
	}
	return websocket.SameOrigin(r, h.BehindProxy)
}

// byCookie reports whether r would be somebody's by its cookie, or by nothing.
func byCookie(r *http.Request) bool {
	_, err := r.Cookie(cookieName)
	return err == nil && len(r.Header.Values("Authorization")) == 0
}

// keep has the browser keep token as a cookie until then.
func keep(w http.ResponseWriter, token string, until time.Time) {
	setCookie(w, token, max(1, int(time.Until(until)/time.Second)))
}

// forget has the browser forget it.
func forget(w http.ResponseWriter) { setCookie(w, "", -1) }

func setCookie(w http.ResponseWriter, token string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: token, Path: "/", MaxAge: seconds,
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}
