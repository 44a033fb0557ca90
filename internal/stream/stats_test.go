package stream_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/protocol"
)

func TestStats(t *testing.T) {
	inBubble(t, func(w clockwork) {
		c := w.dial()
		for range 3 {
			c.Line(`{"type":"Ping"}`)
			c.Want(`{"type":"Pong"}`)
		}
		synctest.Wait()
		s := w.Stats()
		if s.FramesIn != 3 || s.FramesOut != 4 || s.BytesIn != uint64(3*len(`{"type":"Ping"}`+"\n")) || s.BytesOut < 3*16 || s.Writes != 4 || s.OutboxBytes != 0 {
			t.Errorf("after Hello and three Pings: %+v", s)
		}
		if q := w.Queue(); q.Clients != 1 || q.Depth != 0 {
			t.Errorf("one client: %+v", q)
		}

		c.Line(strings.Repeat(`{"type":"Ping"}`+"\n", 4) + `{"type":"Ping"}`)
		synctest.Wait() // what it reads first is being written
		if s := w.Stats(); s.OutboxBytes == 0 {
			t.Errorf("five Pongs that nobody reads: %+v", s)
		}
		for range 5 {
			c.Want(`{"type":"Pong"}`)
		}
		c.Patience(time.Hour)
		c.Want(`{"type":"Goodbye","code":"auth_timeout"}`)
		c.WantEnd()
		synctest.Wait()
		if s := w.Stats(); s.Goodbyes[protocol.GoodbyeAuthTimeout] != 1 || s.OutboxBytes != 0 {
			t.Errorf("after the end: %+v", s)
		}
		if q := w.Queue(); q.Clients != 0 {
			t.Errorf("no client: %+v", q)
		}
	})
}
