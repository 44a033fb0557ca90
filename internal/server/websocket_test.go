package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/server"
	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// The same conversation as over lines, in messages.
func TestWebSocketConversation(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").ConnectWebSocket(), srv.User("bob").Connect()
	cem := srv.User("cem")
	secure := cem.Login(srv.DialWebSocketTLS())
	port := ana.Group("Port", bob, secure)
	ana.Send(port, "hi")
	bob.Expect("hi")
	secure.Expect("hi")
	bob.Send(port, strings.Repeat("ü", 8000)) // a length of 16 bits
	ana.Expect("hi", strings.Repeat("ü", 8000))
	for range 8 { // and a page whose length has 64
		bob.Send(port, strings.Repeat("x", 16000))
	}
	var page protocol.MessagesListResult
	ana.Do(protocol.OpMessagesList, protocol.MessagesListParams{ChatID: port, Limit: 200}, &page)
	if len(page.Messages) != 10 || page.Messages[9].Content != strings.Repeat("x", 16000) {
		t.Errorf("%d messages", len(page.Messages))
	}
	ana.Forget()

	ana.Raw("") // nothing at all
	ana.Line("", `}`)
	ana.Want(`{"type":"Error","error":{"code":"parse_error"}}`)
	ana.WantSilence()
	if got := ana.Conn.Conn.(*testserver.WebSocket).Protocol; got != "grima.v1.json" {
		t.Errorf("agreed on %q", got)
	}
	ana.EOF()
	ana.WantClosed(1000)
}

// What was sent before the close frame is carried out and answered.
func TestWebSocketClosedByTheClient(t *testing.T) {
	srv := testserver.Start(t)
	ana := srv.User("ana").ConnectWebSocket()
	port := ana.Group("Port")
	ana.Forget()
	ws := ana.Conn.Conn.(*testserver.WebSocket)
	raw := []byte{}
	for i := range 20 {
		raw = append(raw, testserver.Frame(0x81, testserver.Request(fmt.Sprint(i), "message.send", protocol.MessageSendParams{ChatID: port, Content: "last words"}))...)
	}
	raw = append(raw, testserver.Frame(0x88, "\x0f\xa1done")...) // 4001
	raw = append(raw, "and what is none of it"...)
	if _, err := ws.Conn.Write(raw); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		line := ana.Next()
		for strings.Contains(line, `"event"`) {
			line = ana.Next()
		}
		if why := testserver.Differs(fmt.Sprintf(`{"id":%d,"result":{}}`, i), line); why != "" {
			t.Fatal(why)
		}
	}
	for {
		if _, err := ana.TryNext(); err != nil {
			break
		}
	}
	if code, _ := ws.Closed(); code != 4001 {
		t.Errorf("closed with %d", code)
	}
}

// What the server ends, it ends with a Goodbye and its number.
func TestWebSocketGoodbyes(t *testing.T) {
	t.Run("the session is revoked", func(t *testing.T) {
		srv := testserver.Start(t)
		ana := srv.User("ana").ConnectWebSocket()
		ana.Do(protocol.OpSessionEnd, protocol.Empty{}, nil)
		ana.Want(`{"type":"Goodbye","code":"session_revoked","reconnect":false}`)
		ana.WantClosed(4500)
	})
	t.Run("the server stops", func(t *testing.T) {
		srv := testserver.Start(t)
		ana := srv.User("ana").ConnectWebSocket()
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			srv.Stop()
		}()
		ana.Want(`{"type":"Goodbye","code":"shutdown","reconnect":true}`)
		ana.WantClosed(4000)
		<-stopped
	})
	t.Run("a slow reader gets none, and misses nothing", func(t *testing.T) {
		srv := testserver.Start(t, testserver.Options{Stream: func(c *stream.Config) { c.Outbox = 32 << 10 }})
		ana, bob := srv.User("ana").ConnectWebSocket(), srv.User("bob").Connect()
		port := bob.Group("Port", ana)
		const n = 300
		for i := range n {
			bob.Send(port, fmt.Sprintf("%d %s", i, strings.Repeat("x", 16_000)))
			bob.Forget()
		}
		for i := range n {
			ana.ExpectPrefix(fmt.Sprintf("%d ", i))
		}
	})
	t.Run("too many strangers", func(t *testing.T) {
		srv := testserver.Start(t, testserver.Options{Server: func(c *server.Config) { c.NoLimits, c.MaxStrangers = false, 2 }})
		ana := srv.User("ana")
		first := ana.ConnectWebSocket() // logged in: not counted
		srv.DialWebSocket().Want(`{"type":"Hello"}`)
		srv.DialWebSocket().Want(`{"type":"Hello"}`)
		res, err := client(t).Get(srv.URL() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusTooManyRequests {
			t.Errorf("got %s", res.Status)
		}
		first.WantSilence()
	})
}

// opened is a WebSocket on which the test sends raw bytes.
func opened(t *testing.T, srv *testserver.Server) (*testserver.Conn, *testserver.WebSocket) {
	t.Helper()
	c := srv.DialWebSocket()
	c.Want(`{"type":"Hello"}`)
	return c, c.Conn.(*testserver.WebSocket)
}

func TestWebSocketFramesAgainstTheRules(t *testing.T) {
	srv := testserver.Start(t)
	ping := `{"type":"Ping"}`
	unmasked := append([]byte{0x81, byte(len(ping))}, ping...)
	long := func(size string) []byte { return []byte("\x81\xff" + size + "mask") }
	for name, tt := range map[string]struct {
		raw   []byte
		code  int
		first string // what is answered ahead of the Goodbye
	}{
		"not masked":                {raw: unmasked, code: 1002},
		"RSV1":                      {raw: testserver.Frame(0xc1, ping), code: 1002},
		"RSV2":                      {raw: testserver.Frame(0xa1, ping), code: 1002},
		"RSV3":                      {raw: testserver.Frame(0x91, ping), code: 1002},
		"opcode 3":                  {raw: testserver.Frame(0x83, ping), code: 1002},
		"opcode 11":                 {raw: testserver.Frame(0x8b, ping), code: 1002},
		"a ping in pieces":          {raw: testserver.Frame(0x09, "x"), code: 1002},
		"a ping of 126 bytes":       {raw: testserver.Frame(0x89, strings.Repeat("x", 126)), code: 1002},
		"a continuation of nothing": {raw: testserver.Frame(0x80, ping), code: 1002},
		"a message inside another":  {raw: append(testserver.Frame(0x01, `{"type":`), testserver.Frame(0x81, ping)...), code: 1002},
		"binary":                    {raw: testserver.Frame(0x82, ping), code: 1003},
		"2^63 and more":             {raw: long("\x80\x00\x00\x00\x00\x00\x00\x00"), code: 1002},
		"2^63 less one":             {raw: long("\x7f\xff\xff\xff\xff\xff\xff\xff"), code: 1009, first: "frame_too_large"},
		"a length longer than due":  {raw: long("\x00\x00\x00\x00\x00\x00\x00\x02"), code: 1002},
		"16 bits longer than due":   {raw: []byte("\x81\xfe\x00\x02mask"), code: 1002},
		"half a close code":         {raw: testserver.Frame(0x88, "\x03"), code: 1002},
		"close code 999":            {raw: testserver.Frame(0x88, "\x03\xe7"), code: 1002},
		"close code 1005":           {raw: testserver.Frame(0x88, "\x03\xed"), code: 1002},
		"close code 1006":           {raw: testserver.Frame(0x88, "\x03\xee"), code: 1002},
		"close code 2000":           {raw: testserver.Frame(0x88, "\x07\xd0"), code: 1002},
		"close code 5000":           {raw: testserver.Frame(0x88, "\x13\x88"), code: 1002},
		"not UTF-8":                 {raw: testserver.Frame(0x81, "{\"\xff\"}"), code: 1007, first: "invalid_utf8"},
		"half a character":          {raw: testserver.Frame(0x81, "\xc3"), code: 1007, first: "invalid_utf8"},
		"a surrogate":               {raw: testserver.Frame(0x81, "\xed\xa0\x80"), code: 1007, first: "invalid_utf8"},
		"not UTF-8 across pieces":   {raw: append(testserver.Frame(0x01, "\xe2\x82"), testserver.Frame(0x80, "(")...), code: 1007, first: "invalid_utf8"},
		"a reason that is not":      {raw: testserver.Frame(0x88, "\x03\xe8\xff"), code: 1007, first: "invalid_utf8"},
		"too long":                  {raw: testserver.Frame(0x81, strings.Repeat(" ", 8<<10+1)), code: 1009, first: "frame_too_large"},
		"too long in pieces":        {raw: append(testserver.Frame(0x01, strings.Repeat("1", 8<<10)), testserver.Frame(0x80, "1")...), code: 1009, first: "frame_too_large"},
		"far too long in pieces":    {raw: append(testserver.Frame(0x01, "1"), testserver.Frame(0x80, strings.Repeat("1", 64<<10))...), code: 1009, first: "frame_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			c, ws := opened(t, srv)
			if _, err := ws.Conn.Write(append(testserver.Frame(0x81, ping), tt.raw...)); err != nil {
				t.Fatal(err)
			}
			c.Want(`{"type":"Pong"}`)
			if tt.first != "" {
				c.Want(`{"type":"Error","error":{"code":"` + tt.first + `"}}`)
			}
			c.Want(`{"type":"Goodbye","code":"protocol_violation","reconnect":false}`)
			c.WantClosed(tt.code)
		})
	}
}

func TestWebSocketPieces(t *testing.T) {
	srv := testserver.Start(t)
	c, ws := opened(t, srv)
	send := func(frames ...[]byte) {
		t.Helper()
		for _, f := range frames {
			if _, err := ws.Conn.Write(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("a message in pieces, a ping between", func(t *testing.T) {
		send(testserver.Frame(0x01, `{"type":`), testserver.Frame(0x00, ""), testserver.Frame(0x89, "there?"), testserver.Frame(0x00, `"Ping","id":`), testserver.Frame(0x80, "\"\xc3\xbc\"}"))
		first, payload, err := ws.ReadFrame()
		if err != nil || first != 0x8a || string(payload) != "there?" {
			t.Fatalf("%x %q %v", first, payload, err)
		}
		c.Want(`{"type":"Pong","id":"ü"}`)
	})
	t.Run("byte by byte", func(t *testing.T) {
		for _, b := range testserver.Frame(0x81, `{"type":"Ping","id":2}`) {
			send([]byte{b})
		}
		c.Want(`{"type":"Pong","id":2}`)
	})
	t.Run("newlines are blanks", func(t *testing.T) {
		send(testserver.Frame(0x81, "{\"type\":\"Ping\",\n\"id\":3}\r\n"), testserver.Frame(0x81, "\n"), testserver.Frame(0x81, "{\"type\":\"Ping\",\"id\":\"a\nb\"}"))
		c.Want(`{"type":"Pong","id":3}`, `{"type":"Error","error":{"code":"parse_error"}}`)
	})
	t.Run("a flood of pings, nothing read", func(t *testing.T) {
		ana := srv.User("ana").ConnectWebSocket()
		socket := ana.Conn.Conn.(*testserver.WebSocket)
		flood := []byte(strings.Repeat(string(testserver.Frame(0x89, strings.Repeat("x", 125))), 1000))
		for range 50 {
			if _, err := socket.Conn.Write(flood); err != nil {
				t.Fatal(err)
			}
		}
		for range 1000 {
			if _, err := socket.Conn.Write(testserver.Frame(0x8a, "unasked")); err != nil {
				t.Fatal(err)
			}
		}
		ana.WantSilence()
	})
	t.Run("empty pieces without end", func(t *testing.T) {
		ana := srv.User("bob").ConnectWebSocket()
		socket := ana.Conn.Conn.(*testserver.WebSocket)
		piece := string(testserver.Frame(0x00, ""))
		if _, err := socket.Conn.Write([]byte(string(testserver.Frame(0x01, "")) + strings.Repeat(piece, 70_000))); err != nil {
			t.Fatal(err)
		}
		ana.Want(`{"type":"Error","error":{"code":"frame_too_large"}}`, `{"type":"Goodbye","code":"protocol_violation"}`)
	})
	t.Run("64 KiB after login, not more", func(t *testing.T) {
		ana := srv.User("cem").ConnectWebSocket()
		socket := ana.Conn.Conn.(*testserver.WebSocket)
		ping := `{"type":"Ping","id":9}`
		if _, err := socket.Conn.Write(testserver.Frame(0x81, ping+strings.Repeat(" ", 64<<10-len(ping)))); err != nil {
			t.Fatal(err)
		}
		ana.Want(`{"type":"Pong","id":9}`)
		if _, err := socket.Conn.Write(testserver.Frame(0x81, ping+strings.Repeat(" ", 64<<10-len(ping)+1))); err != nil {
			t.Fatal(err)
		}
		ana.Want(`{"type":"Error","error":{"code":"frame_too_large"}}`, `{"type":"Goodbye","code":"protocol_violation"}`)
		ana.WantClosed(1009)
	})
	t.Run("cut off in the middle", func(t *testing.T) {
		ana := srv.User("dan").ConnectWebSocket()
		port := ana.Group("Port")
		whole := testserver.Frame(0x01, testserver.Request("1", "message.send", protocol.MessageSendParams{ChatID: port, Content: "never"}))
		socket := ana.Conn.Conn.(*testserver.WebSocket)
		if _, err := socket.Conn.Write(append(whole, testserver.Frame(0x88, "\x03\xe8")...)); err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := ana.TryNext(); err != nil {
				break
			}
		}
		if code, _ := socket.Closed(); code != 1000 {
			t.Errorf("closed with %d", code)
		}
		var page protocol.MessagesListResult
		ana.User.Connect().Do(protocol.OpMessagesList, protocol.MessagesListParams{ChatID: port}, &page)
		if len(page.Messages) != 0 {
			t.Errorf("half a message was carried out: %+v", page.Messages)
		}
	})
}

func TestWebSocketHandshake(t *testing.T) {
	srv := testserver.Start(t, testserver.Options{Origins: []string{"https://chat.example.com"}})
	good := map[string]string{
		"Host": "grima.example.com:7007", "Upgrade": "websocket", "Connection": "keep-alive, Upgrade",
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	}
	ask := func(t *testing.T, dial func() *testserver.Conn, line string, change map[string]string) (status string, c *testserver.Conn) {
		t.Helper()
		head := line + "\r\n"
		for name, value := range good {
			if other, changed := change[name]; changed {
				value = other
			}
			if value != "" {
				head += name + ": " + value + "\r\n"
			}
		}
		for name, value := range change {
			if _, known := good[name]; !known {
				head += name + ": " + value + "\r\n"
			}
		}
		c = dial()
		c.Raw(head + "\r\n")
		if change["Content-Length"] == "2" {
			c.Raw("{}")
		}
		return c.Next(), c
	}
	const get = "GET /v1/ws HTTP/1.1"
	for name, tt := range map[string]struct {
		line   string
		change map[string]string
		want   string
	}{
		"well":                       {want: "101"},
		"our subprotocol":            {change: map[string]string{"Sec-WebSocket-Protocol": "other, grima.v1.json"}, want: "101"},
		"another subprotocol":        {change: map[string]string{"Sec-WebSocket-Protocol": "mqtt"}, want: "400"},
		"HTTP/1.0":                   {line: "GET /v1/ws HTTP/1.0", want: "400"},
		"POST":                       {line: "POST /v1/ws HTTP/1.1", change: map[string]string{"Content-Length": "0"}, want: "405"},
		"no Upgrade":                 {change: map[string]string{"Upgrade": ""}, want: "426"},
		"h2c":                        {change: map[string]string{"Upgrade": "h2c"}, want: "426"},
		"no Connection":              {change: map[string]string{"Connection": "close"}, want: "400"},
		"no version":                 {change: map[string]string{"Sec-WebSocket-Version": ""}, want: "426"},
		"version 8":                  {change: map[string]string{"Sec-WebSocket-Version": "8"}, want: "426"},
		"no key":                     {change: map[string]string{"Sec-WebSocket-Key": ""}, want: "400"},
		"a short key":                {change: map[string]string{"Sec-WebSocket-Key": "c2hvcnQ="}, want: "400"},
		"a key that is none":         {change: map[string]string{"Sec-WebSocket-Key": "!!!!!!!!!!!!!!!!!!!!!!=="}, want: "400"},
		"a body":                     {change: map[string]string{"Content-Length": "2"}, want: "400"},
		"the same origin":            {change: map[string]string{"Origin": "http://grima.example.com:7007"}, want: "101"},
		"the same in capitals":       {change: map[string]string{"Origin": "http://GRIMA.example.com:7007"}, want: "101"},
		"an allowed origin":          {change: map[string]string{"Origin": "https://chat.example.com"}, want: "101"},
		"an allowed one, port said":  {change: map[string]string{"Origin": "https://chat.example.com:443"}, want: "101"},
		"an allowed one, in http":    {change: map[string]string{"Origin": "http://chat.example.com"}, want: "403"},
		"an allowed one, other port": {change: map[string]string{"Origin": "https://chat.example.com:8443"}, want: "403"},
		"a foreign origin":           {change: map[string]string{"Origin": "https://evil.example"}, want: "403"},
		"one that begins like it":    {change: map[string]string{"Origin": "http://grima.example.com.evil.example:7007"}, want: "403"},
		"one that ends like it":      {change: map[string]string{"Origin": "https://evilchat.example.com"}, want: "403"},
		"a name before it":           {change: map[string]string{"Origin": "http://grima.example.com:7007@evil.example"}, want: "403"},
		"null":                       {change: map[string]string{"Origin": "null"}, want: "403"},
		"another port":               {change: map[string]string{"Origin": "http://grima.example.com:7008"}, want: "403"},
		"no port":                    {change: map[string]string{"Origin": "http://grima.example.com"}, want: "403"},
		"https for http":             {change: map[string]string{"Origin": "https://grima.example.com:7007"}, want: "403"},
		"a path":                     {change: map[string]string{"Origin": "http://grima.example.com:7007/x"}, want: "403"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.line == "" {
				tt.line = get
			}
			status, c := ask(t, srv.Dial, tt.line, tt.change)
			if !strings.HasPrefix(status, "HTTP/1.") || !strings.Contains(status, " "+tt.want+" ") {
				t.Fatalf("got %s, want %s", status, tt.want)
			}
			if tt.want == "101" {
				return
			}
			for { // the head, then a problem
				line, err := c.TryNext()
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(line, "{") {
					if why := testserver.Differs(`{"status":`+tt.want+`,"code":"*","detail":"*"}`, line); why != "" {
						t.Error(why)
					}
					return
				}
			}
		})
	}
	t.Run("the RFC's own key", func(t *testing.T) {
		_, c := ask(t, srv.Dial, get, nil)
		for {
			if name, value, _ := strings.Cut(c.Next(), ": "); name == "Sec-WebSocket-Accept" {
				if value != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
					t.Error(value)
				}
				return
			}
		}
	})
	t.Run("https inside TLS", func(t *testing.T) {
		for origin, want := range map[string]string{"https://grima.example.com:7007": "101", "http://grima.example.com:7007": "403"} {
			status, _ := ask(t, srv.DialTLS, get, map[string]string{"Origin": origin})
			if !strings.Contains(status, want) {
				t.Errorf("%s: %s", origin, status)
			}
		}
	})
	t.Run("frames right behind the request", func(t *testing.T) {
		c := srv.Dial()
		c.Raw(get + "\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
			string(testserver.Frame(0x81, `{"type":"Ping","id":"early"}`)))
		got := ""
		for buf := make([]byte, 4096); !strings.HasSuffix(got, `{"type":"Pong","id":"early"}`); {
			if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			n, err := c.Read(buf)
			if err != nil {
				t.Fatalf("got %q, then %v", got, err)
			}
			got += string(buf[:n])
		}
	})
	t.Run("half an upgrade is stopped", func(t *testing.T) {
		half := srv.Dial()
		half.Raw(get + "\r\nHost: x\r\nUpgrade: websock")
		srv.Restart() // which waits for nobody
		for {
			if _, err := half.TryNext(); err != nil {
				break
			}
		}
	})
}
