package httpapi

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/grima-chat/grima/protocol"
)

// Problem is an error as HTTP has it, RFC 9457 (docs/protocol.md#http-errors).
type Problem struct {
	Type         string        `json:"type"`
	Title        string        `json:"title"`
	Status       int           `json:"status"`
	Detail       string        `json:"detail"`
	Code         protocol.Code `json:"code"`
	Retryable    bool          `json:"retryable"`
	RetryAfterMS int64         `json:"retry_after_ms,omitzero"`
	URL          string        `json:"url,omitzero"`
}

// writeProblem answers with err. The status is that of the error's code, or a
// finer one that only HTTP has.
func writeProblem(w http.ResponseWriter, status int, err *protocol.Error) {
	body, failure := json.Marshal(Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: err.Message, Code: err.Code, Retryable: err.Retryable, RetryAfterMS: err.RetryAfterMS, URL: err.URL,
	})
	if failure != nil {
		// Only a message that is not UTF-8 fails, and messages are ours.
		panic(failure)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	setErrorHeaders(w, status, err)
	write(w, status, body)
}

// WriteProblem answers with err, as every route does.
func WriteProblem(w http.ResponseWriter, err *protocol.Error) {
	writeProblem(w, err.Code.Info().Status, err)
}

// setErrorHeaders sets what HTTP says about an error outside the body.
func setErrorHeaders(w http.ResponseWriter, status int, err *protocol.Error) {
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="grima"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", strconv.FormatInt(max(1, (err.RetryAfterMS+999)/1000), 10))
	}
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	write(w, status, body)
}

// write sends body as a line. An error of the client's connection is the
// client's to see.
func write(w http.ResponseWriter, status int, body []byte) {
	if len(body) == 0 || body[len(body)-1] != '\n' {
		body = append(body, '\n')
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
