package stream_test

import (
	"context"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// gated is a store whose reads can be held up.
type gated struct {
	chat.Store

	held atomic.Pointer[chan struct{}] // until it is closed nothing is read
}

func (g *gated) View(ctx context.Context, fn func(chat.Reader) error) error {
	if gate := g.held.Load(); gate != nil {
		<-*gate
	}
	return g.Store.View(ctx, fn)
}

// Who asks without a pause waits behind heavy requests of others. The end of
// their connection does not: somebody whose session was revoked heard what went
// on for as long as there was heavy work.
func TestGreedyConnectionsEnd(t *testing.T) {
	var store *gated
	onStore(t, func(s chat.Store) chat.Store { store = &gated{Store: s}; return store }, func(w clockwork) {
		connect := func(token string) *testserver.Conn {
			c := w.dial()
			c.Line(testserver.Request("0", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: token}))
			c.Want(`{"id":0,"result":{}}`)
			return c
		}
		l := w.login()
		others, err := w.svc.NewToken(w.Context(), chat.Actor{User: l.User.ID}, "others", time.Hour)
		if err != nil {
			w.Fatal(err)
		}
		const few, many = 130, 180 // so many requests are let through, and are not
		greedy := make([]*testserver.Conn, many-few)
		for i := range greedy {
			greedy[i] = connect(l.Token)
			greedy[i].Patience(10 * time.Millisecond)
		}
		heavy := make([]*testserver.Conn, runtime.GOMAXPROCS(0)) // at least as many as there are threads
		for i := range heavy {
			heavy[i] = connect(others.Token)
		}
		gate := make(chan struct{})
		store.held.Store(&gate)
		release := sync.OnceFunc(func() { store.held.Store(nil); close(gate) })
		defer release()
		for _, c := range heavy {
			c.Line(`{"type":"DataRequest","id":1,"op":"chats.list"}`)
		}
		synctest.Wait()

		waiting := 0
		const light = `{"type":"DataRequest","op":"chats.get"}` + "\n" // is refused without a look at the store
		for i, c := range greedy {
			n := few + i
			go func() { _, _ = io.WriteString(c.Conn, strings.Repeat(light, n)) }()
			answers := 0
			for _, err := c.TryNext(); err == nil; _, err = c.TryNext() {
				answers++
			}
			if answers < n {
				waiting++
			}
		}
		if waiting == 0 || waiting == len(greedy) {
			t.Fatalf("%d of %d wait", waiting, len(greedy))
		}

		began := time.Now()
		w.hub.EndSessions([]chat.SessionID{l.Session.ID})
		for i, c := range greedy {
			c.Patience(2 * time.Second)
			for {
				line, err := c.TryNext()
				if err != nil {
					t.Fatalf("after %d requests and %v: %v", few+i, time.Since(began), err)
				}
				if strings.Contains(line, `"Goodbye"`) {
					if why := testserver.Differs(`{"code":"session_revoked"}`, line); why != "" {
						t.Error(why)
					}
					break
				}
			}
		}
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("revoked sessions ended after %v", waited)
		}

		release()
		for _, c := range heavy {
			c.Want(`{"id":1,"op":"chats.list","result":{}}`)
		}
	})
}
