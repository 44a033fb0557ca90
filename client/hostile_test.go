package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// hostile is a server of a test's own: serve is called for each connection, and
// may do what it likes with it.
type hostile struct {
	serve func(c net.Conn, n int)
	ws    bool // it speaks WebSocket; what serve says and hears are lines all the same

	mu    sync.Mutex
	dials int
	wg    sync.WaitGroup
}

func (h *hostile) dial(context.Context, string, string) (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dials++
	n := h.dials
	there, here := net.Pipe()
	h.wg.Go(func() {
		defer there.Close()
		conn := there
		if h.ws {
			var err error
			if conn, err = upgrade(there); err != nil {
				return
			}
		}
		h.serve(conn, n)
	})
	return here, nil
}

const greeting = `{"type":"Hello","protocol":1,"server":"x","server_id":"n","epoch":"e","auth":[],"capabilities":[],"limits":{"max_frame":65536,"max_content":16384,"max_page":200,"auth_timeout_ms":60000},"time":""}` + "\n"

// welcome lets somebody log in and sync, and returns what they say.
func welcome(c net.Conn) *bufio.Reader {
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil {
		return r
	}
	req, _ := protocol.DecodeRequest([]byte(strings.TrimSpace(line)))
	fmt.Fprintf(c, greeting+`{"type":"SessionResponse","id":%s,"op":"session.start","result":{"session_id":"s_1","user":{"user_id":"u_1","username":"me","name":"Me"},"expires_at":"","epoch":"e","heartbeat_ms":30000}}`+"\n", req.ID)
	if line, err = r.ReadString('\n'); err != nil {
		return r
	}
	req, _ = protocol.DecodeRequest([]byte(strings.TrimSpace(line)))
	fmt.Fprintf(c, `{"type":"DataResponse","id":%s,"op":"sync","result":{"chats":[],"cursor":"k","has_more":false}}`+"\n", req.ID)
	return r
}

// lineOf is what somebody says next.
func lineOf(r *bufio.Reader) *protocol.Request {
	line, _ := r.ReadString('\n')
	req, _ := protocol.DecodeRequest([]byte(strings.TrimSpace(line)))
	return &req
}

// A server that says a gigabyte in a line, or a byte now and then, costs a
// connection and neither memory nor the client. It says so, and comes back.
func TestHostileServer(t *testing.T) {
	chunk := strings.Repeat("x", 64<<10)
	var said int // bytes of the gigabyte that were taken
	for _, c := range []struct {
		name  string
		serve func(c net.Conn)
		want  string
		after time.Duration // at most
	}{
		{"a gigabyte in a line", func(c net.Conn) {
			io.WriteString(c, greeting+`{"type":"`)
			for n := 0; n < 1<<30; n += len(chunk) {
				said = max(said, n)
				if _, err := io.WriteString(c, chunk); err != nil {
					return
				}
			}
		}, "line without end|message of more than", 6 * time.Second}, // a WebSocket says why it closes
		{"a byte now and then", func(c net.Conn) {
			go io.Copy(io.Discard, c)
			for {
				if _, err := io.WriteString(c, " "); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, "login in time", 31 * time.Second},
		{"a byte now and then, later", func(c net.Conn) {
			r := welcome(c)
			go io.Copy(io.Discard, r)
			for {
				if _, err := io.WriteString(c, " "); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, "nothing was heard", 80 * time.Second},
		{"it does not read", func(c net.Conn) {
			io.WriteString(c, greeting)
			io.Copy(io.Discard, iotest{c})
		}, "writing to the server", 35 * time.Second},
		{"garbage", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, "parse_error", time.Second},
		{"a last word, and the end", func(c net.Conn) {
			io.WriteString(c, greeting+`{"type":"Goodbye","code":"shutdown","message":"lunch","reconnect":true}`+"\n")
		}, "lunch", 2 * time.Second},
		{"the end", func(net.Conn) {}, "EOF", time.Second},
		{"a number that is a string", func(c net.Conn) {
			welcome(c)
			io.WriteString(c, `{"type":"BroadcastResponse","event":"message.created","chat_id":"c_1","seq":"6"}`+"\n")
		}, "a line that is none", time.Second},
		{"a list that is an object", func(c net.Conn) {
			req := lineOf(bufio.NewReader(c))
			fmt.Fprintf(c, greeting+`{"type":"SessionResponse","id":%s,"op":"session.start","result":{"session_id":{},"user":[]}}`+"\n", req.ID)
		}, "a result of the wrong shape", time.Second},
		{"a seq that goes back", func(c net.Conn) {
			welcome(c)
			io.WriteString(c, `{"type":"BroadcastResponse","event":"gap","chat_id":"c_1","seq":6,"prev_seq":9}`+"\n")
		}, "an event from 9 to 6", time.Second},
		{"changes that go back", func(c net.Conn) {
			r := welcome(c)
			io.WriteString(c, `{"type":"BroadcastResponse","event":"gap","chat_id":"c_1","seq":9,"prev_seq":5}`+"\n")
			for req := lineOf(r); req.Op != ""; req = lineOf(r) {
				result := `{"chat":{"chat_id":"c_1","kind":"group","created_at":"t","updated_seq":1,"last_seq":9,"membership":"joined","role":"member","joined_seq":2,"read_seq":9,"unread":0,"mentions":0}}`
				if req.Op == protocol.OpChangesList {
					result = `{"messages":[],"participants":[],"next":3,"has_more":true}`
				}
				fmt.Fprintf(c, `{"type":"DataResponse","id":%s,"op":%q,"result":%s}`+"\n", req.ID, req.Op, result)
			}
		}, "page of changes", time.Second},
		{"a history that goes back", func(c net.Conn) {
			r := bufio.NewReader(c)
			req := lineOf(r)
			fmt.Fprintf(c, greeting+`{"type":"SessionResponse","id":%s,"op":"session.start","result":{"session_id":"s_1","user":{"user_id":"u_1","username":"me","name":"Me"},"expires_at":"","epoch":"e","heartbeat_ms":30000}}`+"\n", req.ID)
			for last := 9; ; last -= 2 {
				if req = lineOf(r); req.Op != protocol.OpSync {
					return
				}
				// The cursor is never a good one, and there is less each time.
				fmt.Fprintf(c, `{"type":"DataResponse","id":%s,"op":"sync","result":{"chats":[{"chat_id":"c_1","kind":"group","created_at":"t","updated_seq":1,"last_seq":%d,"membership":"joined","role":"member","joined_seq":2,"read_seq":1,"unread":0,"mentions":0}],"cursor":"k","has_more":true}}`+"\n", req.ID, last)
			}
		}, "that cannot be", time.Second},
	} {
		for _, server := range []string{"grima://localhost", "ws://localhost"} {
			t.Run(c.name+" over "+server, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := &hostile{ws: server == "ws://localhost"}
					h.serve = func(conn net.Conn, n int) {
						if n > 1 {
							io.Copy(io.Discard, welcome(conn)) // it has come to its senses
							return
						}
						c.serve(conn)
					}
					start := time.Now()
					cl, err := client.Open(client.Config{Server: server, Token: "gt_x", Dial: h.dial})
					if err != nil {
						t.Fatal(err)
					}
					var failed client.Event
					for ev := range cl.Events(t.Context()) {
						if ev.Kind == client.ConnectionChanged && ev.Connection.Link == client.Offline {
							failed = ev
						}
						if ev.Kind == client.Synced && failed.Connection != nil {
							break
						}
					}
					if took := time.Since(start); took > c.after+time.Second {
						t.Errorf("it took %v", took)
					}
					if failed.Connection == nil || !regexp.MustCompile(c.want).MatchString(failed.Connection.Error) {
						t.Errorf("it failed with %+v", failed.Connection)
					}
					if err := cl.Close(); err != nil {
						t.Error(err)
					}
					if _, err := cl.Next(t.Context()); !errors.Is(err, client.ErrClosed) && err != nil {
						t.Errorf("after Close: %v", err)
					}
					h.wg.Wait()
				})
			})
		}
	}
	if said > 32<<20 {
		t.Errorf("%d bytes of a line were taken", said)
	}
}

// iotest reads only what comes after an hour.
type iotest struct{ net.Conn }

func (c iotest) Read(p []byte) (int, error) {
	time.Sleep(time.Hour)
	return c.Conn.Read(p)
}

// With heartbeats on both sides a quiet connection lasts.
func TestQuietConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hostile{}
		pongs := 0
		h.serve = func(c net.Conn, _ int) {
			r := welcome(c)
			for range 100 {
				time.Sleep(30 * time.Second)
				io.WriteString(c, `{"type":"Ping","id":"p"}`+"\n")
				if line, err := r.ReadString('\n'); err == nil && strings.Contains(line, `"Pong"`) && strings.Contains(line, `"p"`) {
					pongs++
				}
			}
		}
		c, err := client.Open(client.Config{Server: "grima://localhost", Token: "gt_x", Dial: h.dial})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(49 * time.Minute)
		if h.dials != 1 || c.Connection().Link != client.Online {
			t.Errorf("%d connections, %+v", h.dials, c.Connection())
		}
		c.Close()
		h.wg.Wait()
		if pongs < 97 {
			t.Errorf("%d pings were answered", pongs)
		}
	})
}

// Whatever a call waits for, it ends with its context or with the client.
func TestCallsEnd(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	synctest.Test(t, func(t *testing.T) {
		h := &hostile{serve: func(c net.Conn, n int) {
			if n == 1 {
				io.Copy(io.Discard, welcome(c)) // and answers nothing more
			}
		}}
		c, err := client.Open(client.Config{Server: "grima://localhost", Token: "gt_x", Dial: h.dial})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.UsersMe(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call: %v", err)
		}
		if _, err := c.Send(ctx, client.Draft{ChatID: "c_1", Content: "hi"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a send: %v", err)
		}
		if n := len(c.Outbox()); n != 1 {
			t.Errorf("%d messages are in the outbox", n)
		}
		ended := make(chan error, 3)
		go func() { _, err := c.InvitesCreate(t.Context(), protocol.InvitesCreateParams{}); ended <- err }()
		synctest.Wait()
		// The server is found dead, and its answer may have been lost.
		if err := <-ended; !errors.Is(err, client.ErrUnknownOutcome) {
			t.Errorf("a write whose answer was lost: %v", err)
		}
		go func() { _, err := c.UsersMe(t.Context()); ended <- err }()
		go func() { _, err := c.Send(t.Context(), client.Draft{ChatID: "c_1", Content: "ho"}); ended <- err }()
		synctest.Wait()
		c.Close()
		for range 2 {
			if err := <-ended; !errors.Is(err, client.ErrClosed) {
				t.Errorf("with the client closed: %v", err)
			}
		}
		if _, err := c.Queue(t.Context(), client.Draft{ChatID: "c_1", Content: "hi"}); !errors.Is(err, client.ErrClosed) {
			t.Errorf("queueing: %v", err)
		}
		h.wg.Wait()
	})
}

// A token never goes over a network in the clear unless somebody says so.
func TestAddresses(t *testing.T) {
	for server, want := range map[string]string{
		"chat.example.com":           "grimas://chat.example.com:7007",
		"chat.example.com:99":        "grimas://chat.example.com:99",
		"localhost":                  "grima://localhost:7007",
		"127.0.0.1:99":               "grima://127.0.0.1:99",
		"[::1]:99":                   "grima://[::1]:99",
		"::1":                        "grima://[::1]:7007",
		"2001:db8::1":                "grimas://[2001:db8::1]:7007",
		"grima://localhost":          "grima://localhost:7007",
		"grima://::1":                "",
		"chat.example.com:1:2":       "",
		"localhost:65535":            "grima://localhost:65535",
		"localhost:65536":            "",
		"ws://localhost:0":           "",
		"grimas://localhost":         "grimas://localhost:7007",
		"https://chat.example.com":   "wss://chat.example.com/v1/ws",
		"wss://chat.example.com/at":  "wss://chat.example.com/at",
		"ws://localhost:7007":        "ws://localhost:7007/v1/ws",
		"ftp://chat.example.com":     "",
		"":                           "",
		"grimas://":                  "",
		"grimas://a:b@localhost":     "",
		"grimas://localhost/v1/ws":   "",
		"grima://localhost:port":     "",
		"chat.example.com?token=gt_": "",
	} {
		got, err := client.Address(server)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q is %q, %v", server, got, err)
		}
	}
	for _, server := range []string{"grima://chat.example.com", "ws://192.0.2.1", "http://localhost.example.com"} {
		if _, err := client.Open(client.Config{Server: server, Token: "gt_x"}); !errors.Is(err, client.ErrInsecure) {
			t.Errorf("%s: %v", server, err)
		}
	}
}
