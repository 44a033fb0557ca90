package stream_test

import (
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/batch"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// narrow is a store with the queue of the real ones in front, which has room for
// few, and a writer that can be held up.
type narrow struct {
	chat.Store

	loop *batch.Loop
	held atomic.Pointer[chan struct{}] // until it is closed nothing is committed
}

// narrowRoom is for how many updates there is room.
const narrowRoom = 4

func newNarrow(s chat.Store) *narrow {
	n := &narrow{Store: s}
	n.loop = batch.NewLoop(narrowRoom, slog.Default(), n.commit, nil)
	return n
}

func (n *narrow) commit(items []*batch.Item) int {
	if gate := n.held.Load(); gate != nil {
		<-*gate
	}
	for _, i := range items {
		done := make(chan error)
		n.Store.Update(i.Op, func(err error) { done <- err })
		i.Err = <-done
	}
	return len(items)
}

func (n *narrow) Update(op chat.Op, done func(error)) { n.loop.Update(op, done) }

func (n *narrow) Close() error {
	n.loop.Stop()
	return n.Store.Close()
}

// fill holds the writer up and fills the queue with what send sends.
func (n *narrow) fill(send func()) (release func()) {
	gate := make(chan struct{})
	n.held.Store(&gate)
	send()
	synctest.Wait() // the writer has taken it
	for range narrowRoom {
		send()
	}
	return func() {
		n.held.Store(nil)
		close(gate)
	}
}

// A store that takes nothing more holds up those who write, each by their own
// connection, and nobody else. It held the workers, each for up to 5 s in one
// turn: with more senders than workers nobody was answered.
func TestNobodyWaitsForAFullStore(t *testing.T) {
	var store *narrow
	onStore(t, func(s chat.Store) chat.Store { store = newNarrow(s); return store }, func(w clockwork) {
		l := w.login()
		me := chat.Actor{User: l.User.ID, Session: l.Session.ID}
		st, _, err := w.svc.CreateChat(w.Context(), me, chat.NewChat{Kind: chat.KindGroup, Title: "Port"})
		if err != nil {
			w.Fatal(err)
		}
		port := api.FormatChat(st.Chat.ID)
		connect := func() *testserver.Conn {
			c := w.dial()
			no := false
			c.Line(testserver.Request("0", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: l.Token, Subscribe: &no}))
			c.Want(`{"id":0,"result":{}}`)
			return c
		}
		says := func(id int, content string) string {
			return testserver.Request(fmt.Sprint(id), "message.send", protocol.MessageSendParams{ChatID: port, Content: content})
		}
		fill := func() (release func()) {
			return store.fill(func() {
				w.svc.Send(me, chat.NewMessage{Chat: st.Chat.ID, Content: "before"}, nil, func(_ chat.SendResult, err error) {
					if err != nil {
						w.Error(err)
					}
				})
			})
		}

		senders := make([]*testserver.Conn, 4*runtime.GOMAXPROCS(0)) // twice as many as there are workers
		for i := range senders {
			senders[i] = connect()
		}
		bystander := connect()
		release := fill()
		began := time.Now()
		for i, c := range senders {
			c.Line(`{"type":"Ping","id":1}` + "\n" + says(2, fmt.Sprint("one ", i)) + "\n" + says(3, fmt.Sprint("two ", i)) + "\n" + `{"type":"Ping","id":4}`)
			c.Want(`{"type":"Pong","id":1}`)
			synctest.Wait() // they come one by one
		}
		bystander.Line(`{"type":"Ping","id":1}` + "\n" + testserver.Request("2", "chats.get", protocol.ChatParams{ChatID: port}))
		bystander.Want(`{"type":"Pong","id":1}`, `{"id":2,"result":{}}`)
		if waited := time.Since(began); waited != 0 {
			w.Errorf("others were answered after %v", waited)
		}

		time.Sleep(4 * time.Second) // of the bubble's time
		release()
		for _, c := range senders {
			c.Want(`{"id":2,"result":{}}`, `{"id":3,"result":{}}`, `{"type":"Pong","id":4}`)
		}
		page, err := w.svc.Messages(w.Context(), me, st.Chat.ID, chat.Anchor{}, chat.MaxPage)
		if err != nil {
			w.Fatal(err)
		}
		var ones []string
		of := map[string]int{}
		for i, m := range page.Messages {
			if strings.HasPrefix(m.Content, "one ") {
				ones = append(ones, m.Content)
			}
			of[m.Content] = i
		}
		if len(page.Messages) != 1+narrowRoom+2*len(senders) {
			w.Errorf("%d messages", len(page.Messages))
		}
		for i := range senders {
			one, two := fmt.Sprint("one ", i), fmt.Sprint("two ", i)
			if i >= len(ones) || ones[i] != one {
				w.Fatalf("not in the order of coming: %q", ones)
			}
			if of[one] > of[two] {
				w.Errorf("%q comes before %q", two, one)
			}
		}

		// If there is no room in time the client hears so, and goes on.
		release = fill()
		began = time.Now()
		c := senders[0]
		c.Line(says(1, "too much") + "\n" + `{"type":"Ping","id":2}`)
		c.Want(`{"id":1,"error":{"code":"unavailable","retryable":true}}`, `{"type":"Pong","id":2}`)
		if waited := time.Since(began); waited != 5*time.Second {
			w.Errorf("refused after %v", waited)
		}
		// Nor does the end of a connection wait for room.
		c.Line(says(3, "and more"))
		synctest.Wait()
		began = time.Now()
		w.hub.EndSessions([]chat.SessionID{l.Session.ID})
		c.Want(`{"id":3,"error":{"code":"unavailable"}}`, `{"type":"Goodbye","code":"session_revoked"}`)
		if waited := time.Since(began); waited > time.Second {
			w.Errorf("it ended after %v", waited)
		}
		release()
		bystander.Want(`{"type":"Goodbye","code":"session_revoked"}`)
	})
}
