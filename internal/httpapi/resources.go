package httpapi

import (
	"net/http"
	"strconv"
	"strings"

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
		// Who logs in may well send along the token of the session that is
		// over; it has no meaning here.
		c := api.Caller{Peer: h.peer(r)}
		if op.Name != protocol.OpSessionStart {
			if c, err = h.caller(r, op.Cost); err != nil {
				writeProblem(w, err.Code.Info().Status, err)
				return
			}
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
		writeJSON(w, successStatus(op, answer.Result), answer.Result)
	}
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
