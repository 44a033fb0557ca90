package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// pause counts a request with take, a method of limits.Limits, and lets the time
// pass that the client is to be slowed by. Nothing is held meanwhile but the
// connection that the request came on. The error is what the request is to be
// answered with.
func pause[K any](ctx context.Context, take func(K, api.Cost) (time.Duration, *chat.Error), who K, cost api.Cost) *protocol.Error {
	wait, no := take(who, cost)
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if no == nil {
		return nil
	}
	return api.ToError(no)
}

// admit counts a request of that cost for the client's address, before anything
// is done for it: reading a body and looking a token up are work already.
func (h *handler) admit(r *http.Request, cost api.Cost) *protocol.Error {
	return pause(r.Context(), h.Limits.TakeAddress, h.peer(r), cost)
}

// light admits requests for what is no operation and costs little.
func (h *handler) light(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h.admit(r, api.Light); err != nil {
			WriteProblem(w, err)
			return
		}
		next(w, r)
	}
}
