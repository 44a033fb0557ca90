package api_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/api/apitest"
	"github.com/grima-chat/grima/protocol"
)

// heard is an Observer that keeps what it hears.
type heard struct {
	mu   sync.Mutex
	says []string
}

func (h *heard) note(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.says = append(h.says, s)
}

func (h *heard) Request(op string, code protocol.Code, took time.Duration) {
	if took < 0 || took > time.Minute {
		op += " in no time"
	}
	h.note(op + " " + string(code))
}

func (h *heard) Login(mechanism string, code protocol.Code) {
	h.note(mechanism + " " + string(code))
}

// Each answer is told once, before it is given.
func TestObserver(t *testing.T) {
	svc, invite := apitest.NewService(t)
	a := api.New(svc)
	h := &heard{}
	a.Observer = h
	do := func(c api.Caller, op string, params string) {
		t.Helper()
		o, ok := api.Lookup(op)
		req := protocol.Request{Type: protocol.TypeDataRequest, Op: op, Params: []byte(params)}
		if ok {
			req.Type = o.Frame
		}
		answered := make(chan int, 1)
		a.Do(context.Background(), c, req, func(protocol.Response) {
			h.mu.Lock()
			defer h.mu.Unlock()
			answered <- len(h.says)
		})
		before := <-answered
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.says) != before {
			t.Errorf("%s was told after its answer", op)
		}
	}
	do(api.Caller{}, "users.create", `{"username":"ana","password":"correct horse battery","invite":"`+invite+`"}`)
	do(api.Caller{}, "session.start", `{"mechanism":"PLAIN","username":"ana","password":"a guess, and wrong"}`)
	do(api.Caller{}, "session.start", `{"mechanism":"PLAIN","username":"ana","password":"correct horse battery"}`)
	do(api.Caller{}, "session.start", `{"mechanism":"TOKEN","token":"gt_none"}`)
	do(api.Caller{}, "session.start", `{"mechanism":1}`)
	do(api.Caller{}, "message.send", `{}`)
	do(api.Caller{}, "no.such", `{}`)
	want := []string{
		"users.create ",
		"PLAIN invalid_credentials", "session.start invalid_credentials",
		"PLAIN ", "session.start ",
		"TOKEN unauthenticated", "session.start unauthenticated",
		"session.start invalid_request",
		"message.send unauthenticated",
		"no.such unknown_op",
	}
	if d := cmp.Diff(want, slices.Clone(h.says)); d != "" {
		t.Errorf("heard (-want +got):\n%s", d)
	}
}
