package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grima-chat/grima/internal/stream"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// listener is somebody's GET /v1/events.
type listener struct {
	*http.Response

	t   *testing.T
	sse bool
	in  *bufio.Reader
	id  string // of server-sent events: where to go on from
}

// get asks for a path as who; headers are "Name: value".
func get(t *testing.T, srv *testserver.Server, token, path string, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	res, err := client(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func listen(t *testing.T, srv *testserver.Server, token, query string, headers ...string) *listener {
	t.Helper()
	res := get(t, srv, token, "/v1/events"+query, headers...)
	if res.StatusCode != http.StatusOK {
		b, err := io.ReadAll(res.Body)
		t.Fatalf("%s: %s %v", res.Status, b, err)
	}
	l := &listener{Response: res, t: t, in: bufio.NewReader(res.Body)}
	l.sse = res.Header.Get("Content-Type") == "text/event-stream"
	return l
}

// next gives the next frame. Blank lines and comments are skipped.
func (l *listener) next() (string, error) {
	data, id := "", ""
	for {
		line, err := l.in.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimSuffix(line, "\n")
		if !l.sse {
			if line != "" {
				return line, nil
			}
			continue
		}
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && data != "":
			if id != "" {
				l.id = id
			}
			return data, nil
		case line == "", strings.HasPrefix(line, ":"), name == "retry":
		case name == "id":
			id = value
		case name == "data":
			data = value
		default:
			return "", fmt.Errorf("what is %q", line)
		}
	}
}

func (l *listener) want(frames ...string) (last string) {
	l.t.Helper()
	for _, want := range frames {
		got, err := l.next()
		if err != nil {
			l.t.Fatalf("waiting for %s: %v", want, err)
		}
		if why := testserver.Differs(want, got); why != "" {
			l.t.Fatalf("%s\nwant %s\ngot  %s", why, want, got)
		}
		last = got
	}
	return last
}

// wantEnd checks that the answer ends, and that it is whole.
func (l *listener) wantEnd() {
	l.t.Helper()
	if line, err := l.next(); err != io.EOF {
		l.t.Fatalf("want the end, got %s %v", line, err)
	}
}

// begun reads up to where the live events begin, and gives the cursor.
func (l *listener) begun() (cursor string) {
	l.t.Helper()
	l.want(`{"type":"Hello","protocol":1,"epoch":"*"}`)
	for {
		var page synced
		if err := json.Unmarshal([]byte(l.want(`{"type":"DataResponse","op":"sync","result":{}}`)), &page); err != nil {
			l.t.Fatal(err)
		}
		if !page.Result.HasMore {
			return page.Result.Cursor
		}
	}
}

type synced struct {
	Result protocol.SyncResult `json:"result"`
}

func TestEventsFromNowOn(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	port := ana.Group("Port", bob)
	ana.Send(port, "before")

	l := listen(t, srv, bob.Token, "")
	if got := l.Header.Get("Content-Type") + l.Header.Get("X-Accel-Buffering") + l.Header.Get("Cache-Control"); got != "application/x-ndjson"+"no"+"no-store" {
		t.Error(l.Header)
	}
	l.want(`{"type":"Hello","protocol":1}`, `{"type":"DataResponse","op":"sync","result":{"chats":[],"cursor":"*","has_more":false}}`)
	ana.Send(port, "now")
	l.want(`{"type":"BroadcastResponse","event":"message.created","seq":4,"message":{"content":"now"}}`)
	ana.Do(protocol.OpTyping, protocol.TypingParams{ChatID: port}, nil)
	l.want(`{"type":"BroadcastResponse","event":"typing"}`)
	ana.Remove(port, bob.User)
	l.want(`{"event":"participant.removed"}`)
	ana.Send(port, "without bob")
	bob.Group("Bob's")
	l.want(`{"event":"chat.created"}`)

	bob.Do(protocol.OpSessionEnd, protocol.Empty{}, nil)
	began := time.Now()
	l.want(`{"type":"Goodbye","code":"session_revoked","reconnect":false}`)
	l.wantEnd()
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

// A cursor brings what changed since, and then the live events.
func TestEventsSince(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	port, other := ana.Group("Port", bob), ana.Group("Other", bob)
	l := listen(t, srv, bob.Token, "")
	cursor := l.begun()
	must(t, l.Body.Close())

	ana.Send(port, "missed")
	l = listen(t, srv, bob.Token, "?cursor="+cursor)
	l.want(`{"type":"Hello"}`, `{"op":"sync","result":{"chats":[{"chat_id":"`+port+`","last_seq":3,"messages":[{"content":"missed"}]}],"has_more":false}}`)
	ana.Send(other, "live")
	l.want(`{"event":"message.created","chat_id":"` + other + `","seq":3}`)

	t.Run("from the beginning", func(t *testing.T) {
		l := listen(t, srv, bob.Token, "?cursor=")
		l.want(`{"type":"Hello"}`, `{"result":{"chats":[{"chat_id":"`+other+`"},{"chat_id":"`+port+`"}]}}`)
	})
	t.Run("over a restart", func(t *testing.T) {
		l := listen(t, srv, bob.Token, "")
		cursor := l.begun()
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			srv.Restart()
		}()
		l.want(`{"type":"Goodbye","code":"shutdown","reconnect":true}`)
		l.wantEnd()
		<-stopped
		ana := ana.User.Connect()
		ana.Send(port, "meanwhile")
		l = listen(t, srv, bob.Token, "?cursor="+cursor)
		l.want(`{"type":"Hello"}`, `{"result":{"chats":[{"chat_id":"`+port+`","last_seq":4,"messages":[{"content":"meanwhile"}]}]}}`)
		ana.Send(port, "again")
		l.want(`{"event":"message.created","seq":5}`)
	})
}

func TestServerSentEvents(t *testing.T) {
	srv := testserver.Start(t, testserver.Options{Stream: func(c *stream.Config) { c.EventsBeat = 20 * time.Millisecond }})
	ana := srv.User("ana").Connect()
	port := ana.Group("Port")

	l := listen(t, srv, ana.Token, "", "Accept: text/event-stream")
	if cursor := l.begun(); l.id != cursor {
		t.Errorf("the id is %q, the cursor %q", l.id, cursor)
	}
	first := l.id
	ana.Send(port, "one")
	l.want(`{"event":"message.created","message":{"content":"one"}}`)
	if l.id != first {
		t.Errorf("an event's id is %q", l.id)
	}
	// Some time later the newer cursor comes.
	l.want(`{"op":"sync","result":{"chats":[{"chat_id":"` + port + `","last_seq":2}],"has_more":false}}`)
	if l.id == first {
		t.Error("the same id again")
	}
	second := l.id
	for { // and then, with nothing to say, comments
		line, err := l.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, ":") {
			break
		}
	}
	must(t, l.Body.Close())

	ana.Send(port, "two")
	for _, headers := range [][]string{
		{"Last-Event-ID: " + second},
		{"Last-Event-ID: " + second, "Accept: application/json;q=0.1, text/event-stream"},
	} {
		// The id wins over the address, which an EventSource asks for again.
		again := listen(t, srv, ana.Token, "?cursor="+first, headers...)
		again.want(`{"type":"Hello"}`, `{"result":{"chats":[{"last_seq":3,"messages":[{"content":"two"}]}]}}`)
		if again.sse != (len(headers) > 1) {
			t.Error(again.Header)
		}
	}
	last := listen(t, srv, ana.Token, "", "Accept: text/event-stream")
	last.begun()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		srv.Stop()
	}()
	rest, err := io.ReadAll(last.in)
	if err != nil || !strings.Contains(string(rest), "retry: ") || !strings.Contains(string(rest), `data: {"type":"Goodbye","code":"shutdown"`) {
		t.Errorf("%q %v", rest, err)
	}
	<-stopped
}

func TestEventsHeartbeat(t *testing.T) {
	srv := testserver.Start(t, testserver.Options{Stream: func(c *stream.Config) { c.EventsBeat = 5 * time.Millisecond }})
	ana := srv.User("ana").Connect()
	l := listen(t, srv, ana.Token, "")
	l.begun()
	for range 3 {
		if line, err := l.in.ReadString('\n'); line != "\n" {
			t.Fatalf("%q %v", line, err)
		}
	}
	ana.Group("Port")
	l.want(`{"event":"chat.created"}`, `{"op":"sync","result":{"chats":[{"title":"Port"}]}}`)
}

func TestEventsRefused(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	l := listen(t, srv, ana.Token, "")
	cursor := l.begun()
	for name, tt := range map[string]struct {
		token, query string
		headers      []string
		status       int
		code         string
	}{
		"no token":                  {status: 401, code: "unauthenticated"},
		"a token that is none":      {token: "gt_x", status: 401, code: "unauthenticated"},
		"a token in the address":    {token: ana.Token, query: "?token=" + ana.Token, status: 400, code: "invalid_request"},
		"a cursor that is none":     {token: ana.Token, query: "?cursor=yesterday", status: 410, code: "cursor_invalid"},
		"somebody else's cursor":    {token: bob.Token, query: "?cursor=" + cursor, status: 410, code: "cursor_invalid"},
		"an id that is none":        {token: ana.Token, query: "?cursor=" + cursor, headers: []string{"Last-Event-ID: 7"}, status: 410, code: "cursor_invalid"},
		"twice":                     {token: ana.Token, query: "?cursor=" + cursor + "&cursor=" + cursor, status: 400, code: "invalid_request"},
		"unknown members, strictly": {token: ana.Token, query: "?curser=" + cursor, headers: []string{"Prefer: handling=strict"}, status: 400, code: "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			res := get(t, srv, tt.token, "/v1/events"+tt.query, tt.headers...)
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != tt.status || testserver.Differs(`{"code":"`+tt.code+`"}`, string(body)) != "" {
				t.Errorf("%s %s", res.Status, body)
			}
		})
	}
	t.Run("unknown members", func(t *testing.T) {
		l := listen(t, srv, ana.Token, "?curser="+cursor)
		if got := l.Header.Get("Grima-Ignored"); got != `"curser"` {
			t.Error(got)
		}
	})
	t.Run("HEAD", func(t *testing.T) {
		c := srv.Dial()
		c.Raw("HEAD /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + ana.Token + "\r\n\r\n")
		if got := c.Next(); got != "HTTP/1.1 200 OK" {
			t.Error(got)
		}
	})
	t.Run("HTTP/1.0 has no chunks", func(t *testing.T) {
		c := srv.Dial()
		c.Raw("GET /v1/events HTTP/1.0\r\nAuthorization: Bearer " + ana.Token + "\r\n\r\n")
		for {
			line := c.Next()
			if strings.HasPrefix(line, "Transfer-Encoding") {
				t.Error(line)
			}
			if strings.HasPrefix(line, "Content-Type") {
				break
			}
		}
		for {
			if line := c.Next(); strings.HasPrefix(line, "{") {
				if why := testserver.Differs(`{"type":"Hello"}`, line); why != "" {
					t.Error(why)
				}
				break
			}
		}
		c.Want(`{"op":"sync"}`)
		ana.Group("Port")
		c.Want(`{"event":"chat.created"}`)
	})
	t.Run("inside TLS", func(t *testing.T) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+srv.Addr+"/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+ana.Token)
		res, err := client(t).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		l := &listener{Response: res, t: t, in: bufio.NewReader(res.Body)}
		l.begun()
		ana.Group("Port")
		l.want(`{"event":"chat.created"}`)
		must(t, res.Body.Close())
	})
}

func TestEventsForSlowReader(t *testing.T) {
	// Nobody reads while all of that is said, which took 15 s on a machine that had
	// other things to do. Who is too slow is TestSlowReaderIsSentAway's business.
	srv := testserver.Start(t, testserver.Options{Stream: func(c *stream.Config) { c.Outbox, c.WriteTimeout = 32<<10, time.Minute }})
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	port := ana.Group("Port", bob)
	l := listen(t, srv, bob.Token, "")
	cursor := l.begun()
	must(t, bob.Close())
	const n = 700
	for i := range n {
		ana.Send(port, fmt.Sprintf("%d %s", i, strings.Repeat("x", 16_000)))
		ana.Forget()
	}
	for i := range n {
		l.want(fmt.Sprintf(`{"event":"message.created","seq":%d}`, i+3))
	}
	must(t, l.Body.Close())
	l = listen(t, srv, bob.Token, "?cursor="+cursor)
	l.want(`{"type":"Hello"}`, fmt.Sprintf(`{"op":"sync","result":{"chats":[{"chat_id":"%s","last_seq":%d}]}}`, port, n+2))
}

// Whoever does as docs/protocol.md#resume says, over connections that end
// anywhere, has what a full read gives.
func TestEventsWhateverIsCutOff(t *testing.T) {
	srv := testserver.Start(t, testserver.Options{Stream: func(c *stream.Config) { c.EventsBeat = 3 * time.Millisecond }})
	ana, cem := srv.User("ana").Connect(), srv.User("cem").Connect()
	bob := srv.User("bob").Connect()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)

	done := make(chan struct{})
	go func() { // people who do things
		defer close(done)
		r := rand.New(rand.NewPCG(seed, 1))
		chats := []string{ana.Group("First", bob, cem), ana.Group("Second", cem)}
		for i := range 1500 {
			who := []*testserver.Client{ana, cem}[r.IntN(2)]
			chat := chats[r.IntN(len(chats))]
			var result protocol.MessagesListResult
			switch r.IntN(12) {
			case 0:
				who.Try(protocol.OpParticipantsRemove, protocol.ParticipantParams{ChatID: chat, UserID: bob.ID})
			case 1, 2:
				who.Try(protocol.OpParticipantsAdd, protocol.ParticipantsAddParams{ChatID: chat, UserIDs: []string{bob.ID}})
			case 3:
				title := fmt.Sprint("Title ", i)
				who.Try(protocol.OpChatsUpdate, protocol.ChatsUpdateParams{ChatID: chat, Title: &title})
			case 4, 5:
				who.Do(protocol.OpMessagesList, protocol.MessagesListParams{ChatID: chat, Limit: 20}, &result)
				if len(result.Messages) > 0 {
					m := result.Messages[r.IntN(len(result.Messages))]
					if r.IntN(3) == 0 {
						who.Try(protocol.OpMessageDelete, protocol.MessageParams{ChatID: chat, Seq: m.Seq})
					} else {
						who.Try(protocol.OpMessageEdit, protocol.MessageEditParams{ChatID: chat, Seq: m.Seq, Content: fmt.Sprint("edited ", i)})
					}
				}
			case 6:
				if i%5 == 0 && len(chats) < 8 {
					chats = append(chats, ana.Group(fmt.Sprint("Group ", i), bob, cem))
				}
			case 7:
				if i%7 == 0 && len(chats) > 2 {
					ana.Try(protocol.OpChatsDelete, protocol.ChatParams{ChatID: chats[2]})
					chats = append(chats[:2:2], chats[3:]...)
				}
			default:
				who.Send(chat, fmt.Sprint("message ", i))
			}
			who.Forget()
		}
	}()

	reader := bob.User.Connect() // with which the rows are fetched
	var replicas []*replica
	for _, accept := range []string{"application/x-ndjson", "text/event-stream"} {
		replicas = append(replicas, newReplica(t, reader, accept))
	}
	cuts := rand.New(rand.NewPCG(seed, 2))
	for running := true; running; {
		for _, r := range replicas {
			r.follow(srv, cuts.IntN(6000))
		}
		select {
		case <-done:
			running = false
		default:
		}
	}
	want := newReplica(t, reader, "application/x-ndjson")
	want.follow(srv, -1)
	if len(want.chats) == 0 {
		t.Error("there is nothing to read; the test showed little")
	}
	for _, r := range replicas {
		r.follow(srv, -1)
		if d := cmp.Diff(want.chats, r.chats); d != "" {
			t.Errorf("%s, after %d events and %d syncs (-full read +resumed):\n%s", r.accept, r.events, r.syncs, d)
		}
		if r.events == 0 || r.cuts == 0 {
			t.Errorf("%s: %d events and %d cuts; the test showed little", r.accept, r.events, r.cuts)
		}
		t.Logf("%s: %d events, %d syncs, %d cuts", r.accept, r.events, r.syncs, r.cuts)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
