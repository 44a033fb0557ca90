package server

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
)

// A request whose connection is cut off at the stop may come to its handler when
// nobody waits for it any more. It is not carried out.
func TestNoRequestOutlivesTheDoor(t *testing.T) {
	for range 50 {
		var stopped atomic.Bool
		d := newHTTPDoor(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			if stopped.Load() {
				t.Error("a request is carried out after the stop")
			}
		}), slog.Default())
		var late sync.WaitGroup
		for range 20 {
			late.Go(func() { d.srv.Handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)) })
		}
		if err := d.shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		stopped.Store(true)
		answer := httptest.NewRecorder()
		d.srv.Handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
		if answer.Code != http.StatusServiceUnavailable {
			t.Errorf("answered with %d", answer.Code)
		}
		late.Wait()
	}
}
