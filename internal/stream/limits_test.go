package stream_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/limits"
	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/protocol"
)

// tenASecond allows ten lines a second and five at once, and two more seconds
// of twice as many.
func tenASecond(c *stream.Config) {
	cfg := limits.Config{Slack: 2 * time.Second}
	for k := range cfg.Rates {
		for cost := range cfg.Rates[k] {
			cfg.Rates[k][cost] = limits.Rate{PerSecond: 1000, Burst: 1000}
		}
	}
	cfg.Rates[limits.Connection][api.Light] = limits.Rate{PerSecond: 10, Burst: 5}
	c.Limits = limits.New(cfg)
}

// pipelined are n requests for something that is not there.
func pipelined(n int) string {
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, `{"type":"DataRequest","id":%d,"op":"chats.get","params":{"chat_id":"c_404"}}`+"\n", i)
	}
	return all.String()
}

// The answers come in order, each when it is due: five at once, then one every
// 50 ms, and when the client is two seconds behind, a refusal every 250 ms with
// what the rate lets through in between.
func TestFloodIsServedInItsTime(t *testing.T) {
	inBubble(t, func(w clockwork) {
		c := w.dial()
		c.Line(`{"type":"SessionRequest","id":"in","op":"session.start","params":{"mechanism":"TOKEN","token":"` + w.token() + `"}}`)
		c.Want(`{"id":"in","result":{}}`)
		began := time.Now()
		go c.Raw(pipelined(60))
		due := time.Duration(0)
		refused := 0
		for i := range 60 {
			line := c.Next()
			wait := 50 * time.Millisecond
			switch {
			case i < 5:
				wait = 0
			case strings.Contains(line, `"rate_limited"`):
				refused++
				wait = 250 * time.Millisecond
				if !strings.Contains(line, `"retry_after_ms":1000`) {
					t.Errorf("refused with %s", line)
				}
			case !strings.Contains(line, `"not_found"`):
				t.Fatal(line)
			}
			if !strings.Contains(line, fmt.Sprintf(`"id":%d,`, i)) {
				t.Fatalf("the answer to %d is %s", i, line)
			}
			due += wait
			if at := time.Since(began); at != due {
				t.Fatalf("the answer to %d came after %v, not %v", i, at, due)
			}
			if i == 40 && refused > 0 {
				t.Errorf("refused after %v already", due)
			}
		}
		if refused == 0 {
			t.Error("never refused")
		}
		c.Line(`{"type":"Ping"}`)
		time.Sleep(5 * time.Second)
		c.Want(`{"type":"Pong"}`)
		at := time.Now()
		go c.Raw(pipelined(5))
		for range 5 {
			c.Want(`{"error":{"code":"not_found"}}`)
		}
		if late := time.Since(at); late != 0 {
			t.Errorf("after a pause the answers took %v", late)
		}
	}, tenASecond)
}

// A client that is slowed down does not hold up the end of its session, nor the
// server's.
func TestFloodDoesNotOutliveItsEnd(t *testing.T) {
	inBubble(t, func(w clockwork) {
		c := w.dial()
		l := w.login()
		c.Line(`{"type":"SessionRequest","id":"in","op":"session.start","params":{"mechanism":"TOKEN","token":"` + l.Token + `"}}`)
		c.Want(`{"id":"in","result":{}}`)
		go func() { _, _ = c.Write([]byte(pipelined(200))) }() // which the end cuts off
		for range 20 {
			c.Want(`{"error":{"code":"not_found"}}`)
		}
		began := time.Now()
		if err := w.svc.EndSession(context.Background(), l.Actor); err != nil {
			t.Fatal(err)
		}
		for {
			if line := c.Next(); strings.Contains(line, `"Goodbye"`) {
				if !strings.Contains(line, string(protocol.GoodbyeSessionRevoked)) {
					t.Error(line)
				}
				break
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the session ended after %v", took)
		}
	}, tenASecond)
}
