package server_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// Who is sent away for not reading, and reads again, gets lines that are whole
// and follow one another, and hears why, over whatever wire.
func TestSlowReaderHearsWhy(t *testing.T) {
	for _, wire := range []string{"lines", "TLS", "WebSocket", "event stream", "server-sent events"} {
		t.Run(wire, func(t *testing.T) {
			var stalled, closed <-chan struct{}
			srv := testserver.Start(t, testserver.Options{Stream: func(c *stream.Config) {
				c.Outbox, c.WriteTimeout = 512<<10, 3*time.Second
				stalled, closed = testserver.SlowConsumers(c)
			}})
			ana, bob := srv.User("ana").Connect(), srv.User("bob")
			var reader *testserver.Client
			next, end := func() (string, error) { return reader.TryNext() }, func() { reader.WantEnd() }
			switch wire {
			case "lines":
				reader = bob.Connect()
			case "TLS":
				reader = bob.ConnectTLS()
			case "WebSocket":
				reader = bob.ConnectWebSocket()
				end = func() { reader.WantClosed(4001) }
			default:
				calls := bob.Connect()
				accept := "application/x-ndjson"
				if wire == "server-sent events" {
					accept = "text/event-stream"
				}
				l := listen(t, srv, calls.Token, "", "Accept: "+accept)
				l.begun()
				next, end = l.next, l.wantEnd
				must(t, calls.Close())
			}
			port := ana.Group("Port")
			ana.Add(port, bob)

			const n = 400
			var talk sync.WaitGroup
			defer talk.Wait()
			talk.Go(func() {
				for i := range n {
					ana.Send(port, fmt.Sprint(i, strings.Repeat("x", 16_000)))
				}
			})
			<-stalled
			last := int64(1) // the number of the addition's, before which there is nothing
			for {
				line, err := next()
				if err != nil {
					t.Fatalf("behind %d: %v", last, err)
				}
				var f struct {
					Type protocol.Type `json:"type"`
					Seq  int64         `json:"seq"`
				}
				if err := json.Unmarshal([]byte(line), &f); err != nil {
					t.Fatalf("behind %d: %v in %.200s", last, err, line)
				}
				if f.Type == protocol.TypeGoodbye {
					if why := testserver.Differs(`{"code":"slow_consumer","reconnect":true}`, line); why != "" {
						t.Errorf("%s: %s", why, line)
					}
					break
				}
				if f.Seq > 0 {
					if f.Seq != last+1 {
						t.Fatalf("%d came behind %d", f.Seq, last)
					}
					last = f.Seq
				}
			}
			if last >= n {
				t.Errorf("it was told of all up to %d, the test showed little", last)
			}
			end()
			<-closed
		})
	}
}
