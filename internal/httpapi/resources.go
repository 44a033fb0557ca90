package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/protocol"
)

// ignoredHeader lists what a resource route did not know of what it was given,
// as quoted strings (docs/protocol.md#strictness). The frames have a member for
// it.
const ignoredHeader = "Grima-Ignored"

// resource is the handler of one of op's routes: it makes params of the path,
// the query or the body, and answers with the bare result or a problem.
func (h *handler) resource(op *api.Operation, route string) http.HandlerFunc {
	in := inputOf(op, route)
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h.admit(r, op.Cost); err != nil {
			WriteProblem(w, err)
			return
		}
		params, status, err := in.params(w, r)
		if err != nil {
			writeProblem(w, status, err)
			return
		}
		c, err := h.asks(w, r, op)
		if err != nil {
			if op.Name == protocol.OpSessionEnd && byCookie(r) && err.Code.Info().Status == http.StatusUnauthorized {
				forget(w) // of a session that is over already
			}
			writeProblem(w, err.Code.Info().Status, err)
			return
		}
		answer := h.do(r.Context(), c, protocol.Request{
			Type: op.Frame, Op: op.Name, Params: params,
			Strict: prefersStrict(r),
		})
		if len(answer.Ignored) > 0 {
			w.Header().Set(ignoredHeader, quotedList(answer.Ignored))
		}
		if answer.Error != nil {
			writeProblem(w, answer.Error.Code.Info().Status, answer.Error)
			return
		}
		if op.Name == protocol.OpSessionEnd && byCookie(r) {
			forget(w)
		}
		writeJSON(w, successStatus(op, answer.Result), answer.Result)
	}
}

// asks is caller, save for who logs in: they may well send along the token of
// the session that is over, which has no meaning there. A cookie has one if they
// say so, and is where a browser keeps the token if they ask for it.
func (h *handler) asks(w http.ResponseWriter, r *http.Request, op *api.Operation) (api.Caller, *protocol.Error) {
	if op.Name != protocol.OpSessionStart {
		return h.caller(r, op.Cost)
	}
	c := api.Caller{Peer: h.peer(r), OnCookie: func(token string, until time.Time) { keep(w, token, until) }}
	if len(r.Header.Values("Authorization")) > 0 {
		return c, nil
	}
	var err *protocol.Error
	c.Cookie, err = h.cookie(r)
	return c, err
}

// successStatus is 201 where something new was made, else 200.
func successStatus(op *api.Operation, result []byte) int {
	if !op.Creates {
		return http.StatusOK
	}
	var known struct {
		Duplicate bool `json:"duplicate"`
	}
	if err := json.Unmarshal(result, &known); err != nil || known.Duplicate {
		return http.StatusOK
	}
	return http.StatusCreated
}

// prefersStrict looks for "Prefer: handling=strict" (RFC 7240), which is the
// frames' strict.
func prefersStrict(r *http.Request) bool {
	for _, v := range r.Header.Values("Prefer") {
		for p := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(p), "handling=strict") {
				return true
			}
		}
	}
	return false
}

func quotedList(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = strconv.QuoteToASCII(n)
	}
	return strings.Join(quoted, ", ")
}
