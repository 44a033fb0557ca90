package httpapi

import (
	"bufio"
	"net"
	"net/http"
	"runtime/debug"

	"github.com/grima-chat/grima/protocol"
)

// recovering logs the panics of next, which net/http would tell to a log that
// nobody reads, and answers them with internal; an answer that has begun is cut
// off instead.
func (h *handler) recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := &beginning{ResponseWriter: w}
		defer func() {
			switch v := recover(); {
			case v == nil:
			case v == http.ErrAbortHandler:
				panic(v)
			default:
				h.Log.Error("an HTTP handler panicked", "method", r.Method, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
				if began.yes {
					panic(http.ErrAbortHandler)
				}
				writeProblem(w, http.StatusInternalServerError, protocol.NewError(protocol.CodeInternal, "something went wrong in the server; its log says what"))
			}
		}()
		next.ServeHTTP(began, r)
	})
}

// begin notes the status of an answer that begins.
func (b *beginning) begin(status int) {
	if !b.yes {
		b.yes, b.status = true, status
	}
}

// beginning is a ResponseWriter that knows whether the answer has begun.
type beginning struct {
	http.ResponseWriter

	yes    bool
	status int // 101 also for what was taken over otherwise
}

func (b *beginning) WriteHeader(status int) {
	b.begin(status)
	b.ResponseWriter.WriteHeader(status)
}

func (b *beginning) Write(p []byte) (int, error) {
	b.begin(http.StatusOK)
	return b.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController; Flush and Hijack are for those who
// look for these methods themselves.
func (b *beginning) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func (b *beginning) Flush() {
	b.begin(http.StatusOK)
	_ = http.NewResponseController(b.ResponseWriter).Flush() // as http.Flusher has it, without an error
}

func (b *beginning) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	b.begin(http.StatusSwitchingProtocols)
	return http.NewResponseController(b.ResponseWriter).Hijack()
}
