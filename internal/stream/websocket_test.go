package stream_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

func TestWebSocketNoLoginInTime(t *testing.T) {
	inBubble(t, func(w clockwork) {
		c, _ := w.dialWebSocket()
		c.Patience(time.Hour)
		c.Want(`{"type":"Goodbye","code":"auth_timeout","reconnect":true}`)
		c.WantClosed(4003)
	})
}

// Pings of the transport are a sign of life like anything else.
func TestWebSocketHeartbeat(t *testing.T) {
	inBubble(t, func(w clockwork) {
		c, ws := w.dialWebSocket()
		c.Patience(time.Hour)
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: w.token(), HeartbeatMS: 30_000}))
		c.Want(`{"id":1,"result":{"heartbeat_ms":30000}}`)
		for range 10 {
			time.Sleep(29 * time.Second)
			if _, err := ws.Conn.Write(testserver.Frame(0x89, "x")); err != nil {
				t.Fatal(err)
			}
			if first, _, err := ws.ReadFrame(); err != nil || first != 0x8a {
				t.Fatalf("%x %v", first, err)
			}
			c.Want(`{"type":"Ping"}`) // a second later
		}
		began := time.Now()
		c.Want(`{"type":"Ping"}`, `{"type":"Goodbye","code":"idle_timeout","reconnect":true}`)
		if waited := time.Since(began); waited != 59*time.Second {
			t.Errorf("after %v", waited)
		}
		c.WantClosed(4002)
	})
}

// Before login, what comes to nothing is bounded, pings too.
func TestWebSocketFloodBeforeLogin(t *testing.T) {
	inBubble(t, func(w clockwork) {
		c, ws := w.dialWebSocket()
		go func() {
			flood := testserver.Frame(0x89, strings.Repeat("x", 100))
			for range 1000 {
				if _, err := ws.Conn.Write(flood); err != nil {
					return
				}
			}
		}()
		c.Want(`{"type":"Goodbye","code":"protocol_violation"}`)
		c.WantEnd()
		if code, _ := ws.Closed(); code != 4501 {
			t.Errorf("closed with %d", code)
		}
	})
}

// Of pings that come while nothing is read, the last is answered.
func TestWebSocketPongsDoNotPileUp(t *testing.T) {
	inBubble(t, func(w clockwork) {
		c, ws := w.dialWebSocket()
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: w.token()}))
		c.Want(`{"id":1,"result":{}}`)
		for _, payload := range []string{"being written", "1", "2", "3", "last"} {
			if _, err := ws.Conn.Write(testserver.Frame(0x89, payload)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for _, want := range []string{"being written", "last"} {
			if first, payload, err := ws.ReadFrame(); err != nil || first != 0x8a || string(payload) != want {
				t.Fatalf("%x %q %v", first, payload, err)
			}
		}
		c.WantSilence()
	})
}
