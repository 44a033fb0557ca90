package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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
		h.serve(there, n)
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
			for said = 0; said < 1<<30; said += len(chunk) {
				if _, err := io.WriteString(c, chunk); err != nil {
					return
				}
			}
		}, "line", time.Second},
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
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hostile{}
				h.serve = func(conn net.Conn, n int) {
					if n > 1 {
						io.Copy(io.Discard, welcome(conn)) // it has come to its senses
						return
					}
					c.serve(conn)
				}
				start := time.Now()
				cl, err := client.Open(client.Config{Server: "grima://localhost", Token: "gt_x", Dial: h.dial})
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
				if failed.Connection == nil || !strings.Contains(failed.Connection.Error, c.want) {
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
		"grima://localhost":          "grima://localhost:7007",
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
