package stream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

func TestConversation(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").ConnectTLS()
	port := ana.Group("Port", bob)
	bob.ExpectEvent("participant.added")

	ana.Send(port, "hi")
	bob.Expect("hi")
	bob.Send(port, "hi yourself")
	ana.Expect("hi", "hi yourself")

	ana.Do(protocol.OpMessageEdit, protocol.MessageEditParams{ChatID: port, Seq: 3, Content: "hello"}, nil)
	if got := bob.ExpectEvent("message.updated"); testserver.Differs(`{"seq":5,"message":{"seq":3,"updated_seq":5,"content":"hello"}}`, got) != "" {
		t.Error(got)
	}
	ana.Do(protocol.OpMessageDelete, protocol.MessageParams{ChatID: port, Seq: 3}, nil)
	if got := bob.ExpectEvent("message.deleted"); testserver.Differs(`{"seq":6,"message":{"seq":3,"deleted":true}}`, got) != "" {
		t.Error(got)
	}
}

// By hand, with nc: no ids, no waiting, and every line has its answer.
func TestPastedScript(t *testing.T) {
	srv := testserver.Start(t)
	ana := srv.User("ana").Connect()
	port := ana.Group("Port")

	srv.Hub.Settle() // the group's making has been told
	c := srv.Dial()
	c.Raw(strings.Join([]string{
		`{"type":"SessionRequest","op":"session.start","params":{"mechanism":"TOKEN","token":"` + ana.Token + `"}}`,
		`{"type":"BroadcastRequest","op":"message.send","params":{"chat_id":"` + port + `","content":"one"}}`,
		``,
		`{"type":"BroadcastRequest","op":"message.send","params":{"chat_id":"` + port + `","content":"two"}}`,
		`{"type":"DataRequest","op":"messages.list","params":{"chat_id":"` + port + `"}}`,
	}, "\r\n"))
	c.EOF()
	var types []string
	for _, want := range []string{
		`{"type":"Hello","protocol":1,"epoch":"*","auth":["PLAIN","TOKEN"]}`,
		`{"type":"SessionResponse","op":"session.start","result":{"user":{"name":"ana"}}}`,
		`{"type":"BroadcastResponse","op":"message.send","result":{"seq":2}}`,
		`{"type":"BroadcastResponse","op":"message.send","result":{"seq":3}}`,
		`{"type":"DataResponse","op":"messages.list","result":{"messages":[{"content":"one"},{"content":"two"}]}}`,
	} {
		got := c.Next()
		for strings.Contains(got, `"event":`) {
			types = append(types, got)
			got = c.Next()
		}
		if why := testserver.Differs(want, got); why != "" {
			t.Fatalf("%s\nwant %s\ngot  %s", why, want, got)
		}
	}
	for {
		line, err := c.TryNext()
		if err != nil {
			break
		}
		types = append(types, line)
	}
	// What was said just before it subscribed may be told as well.
	types = slices.DeleteFunc(types, func(line string) bool { return strings.Contains(line, `"event":"chat.created"`) })
	if len(types) != 2 {
		t.Fatalf("want the events of both messages before the end, got %v", types)
	}
	for i, line := range types {
		want := fmt.Sprintf(`{"event":"message.created","message":{"content":"%s"}}`, []string{"one", "two"}[i])
		if why := testserver.Differs(want, line); why != "" {
			t.Errorf("event %d: %s: %s", i, why, line)
		}
	}
	ana.Expect("one", "two")
}

func TestBadLineCostsOnlyItself(t *testing.T) {
	srv := testserver.Start(t)
	ana := srv.User("ana").Connect()
	c := ana.Conn
	for _, tt := range []struct{ line, want string }{
		{`{"type":"Ping","id":1}`, `{"type":"Pong","id":1}`},
		{`}`, `{"type":"Error","error":{"code":"parse_error","retryable":false}}`},
		{`hello`, `{"type":"Error","error":{"code":"parse_error"}}`},
		{`{"type":"DataRequest","id":2,"op":"users.me"} x`, `{"error":{"code":"parse_error"}}`},
		{"{\"type\":\"Ping\",\"id\":\"\xff\"}", `{"type":"Error","error":{"code":"invalid_utf8"}}`},
		{`{"type":"Nope","id":7}`, `{"type":"Error","id":7,"error":{"code":"unknown_type"}}`},
		{`{"type":"DataRequest"}`, `{"type":"DataResponse","error":{"code":"invalid_request"}}`},
		{`{"type":"Ping","id":8,"colour":1}`, `{"type":"Pong","id":8,"ignored":["colour"]}`},
		{`{"type":"Pling"}`, `{"type":"Error","error":{"code":"unknown_type"}}`},
		{`{"type":"DataRequest","id":"x","op":"chats.steal"}`, `{"type":"DataResponse","id":"x","op":"chats.steal","error":{"code":"unknown_op"}}`},
		{`{"type":"DataRequest","id":3,"op":"chats.get","params":{"chat_id":"c_999"}}`, `{"type":"DataResponse","id":3,"op":"chats.get","error":{"code":"not_found"}}`},
		{`{"type":"DataRequest","id":4,"op":"chats.get","params":{"chat_id":7}}`, `{"type":"DataResponse","id":4,"op":"chats.get","error":{"code":"invalid_request"}}`},
		{`{"type":"Ping","id":"` + strings.Repeat("x", 70_000) + `"}`, `{"type":"Error","error":{"code":"frame_too_large"}}`},
		{strings.Repeat("x", 300_000), `{"type":"Error","error":{"code":"frame_too_large"}}`},
		{`{"type":"Ping"}`, `{"type":"Pong"}`},
	} {
		c.Line(tt.line)
		c.Want(tt.want)
	}
	c.Line(`{"type":"Pong"}`)
	c.WantSilence()
}

// A line that goes on and on was once skipped for as long as it did.
func TestLineWithoutEndEnds(t *testing.T) {
	c := testserver.Start(t).User("ana").Connect()
	for range 16 {
		c.Raw(strings.Repeat("x", 1<<20))
	}
	c.Raw("x")
	c.Want(`{"type":"Goodbye","code":"protocol_violation","reconnect":false}`)
	c.WantEnd()
}

// Whatever a client sends, every line has one answer, and the connection goes
// on.
func TestRandomLinesHaveOneAnswerEach(t *testing.T) {
	srv := testserver.Start(t)
	ana := srv.User("ana").Connect()
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SampledFrom([]string{
			"{", "}", "[", "]", ",", ":", `"`, `"type"`, `"Ping"`, `"Pong`, `"DataRequest"`, `"SessionRequest"`, `"BroadcastRequest"`, `"Hello"`,
			`"id"`, `"op"`, `"params"`, `"message.send"`, `"users.me"`, `"strict"`, "1", "-0", "1e999", "null", "true", "\\u0000", "\xff", "\x00", "\r", " ", "ü",
			`{"type":"DataRequest","id":1,"op":"users.me"}`, `{"type":"DataRequest","op":"sync","params":{}}`, `{"type":"Ping","id":`, strings.Repeat("[", 20), strings.Repeat("x", 70_000),
		})
		n := rapid.IntRange(1, 20).Draw(t, "lines")
		var script strings.Builder
		for range n {
			script.WriteString("!" + strings.Join(rapid.SliceOfN(words, 0, 8).Draw(t, "line"), "") + "\n")
		}
		// Half of the lines begin like JSON.
		text := strings.Replace(script.String(), "!", "", n/2)
		answers := 0
		for line := range strings.Lines(text) {
			if strings.Trim(line, " \t\r\n") != "" {
				answers++
			}
		}
		ana.Raw(text)
		ana.Line(`{"type":"Ping","id":"the last one"}`)
		for {
			line := ana.Next()
			if strings.Contains(line, `"the last one"`) {
				break
			}
			answers--
		}
		if answers != 0 {
			t.Fatalf("%d answers are missing to %q", answers, text)
		}
	})
}

func TestAnswersToManyKindsComeInOrder(t *testing.T) {
	srv := testserver.Start(t)
	ana := srv.User("ana").Connect()
	port := ana.Group("Port")
	ana.Forget()

	var script strings.Builder
	var want []string
	for i := range 200 {
		id := fmt.Sprint(1000 + i)
		switch i % 5 {
		case 0:
			script.WriteString(testserver.Request(id, "message.send", protocol.MessageSendParams{ChatID: port, Content: id}) + "\n")
		case 1:
			script.WriteString(testserver.Request(id, "message.send", protocol.MessageSendParams{ChatID: "c_999", Content: id}) + "\n")
		case 2:
			script.WriteString(`{"type":"Ping","id":` + id + "}\n")
		case 3:
			script.WriteString(testserver.Request(id, "users.me", protocol.Empty{}) + "\n")
		case 4:
			script.WriteString("{\n")
			id = ""
		}
		want = append(want, id)
	}
	ana.Raw(script.String())
	answered := map[string]bool{}
	for _, id := range want {
		f := ana.Next()
		for strings.Contains(f, `"event":`) {
			// One's own message comes after the answer to sending it.
			content := between(f, `"content":"`, `"`)
			if !answered[content] {
				t.Fatalf("the event of %s came before its answer", content)
			}
			f = ana.Next()
		}
		switch {
		case id == "" && strings.Contains(f, `"type":"Error"`):
		case strings.Contains(f, `"id":`+id+","), strings.Contains(f, `"id":`+id+"}"):
		default:
			t.Fatalf("want the answer to %q, got %s", id, f)
		}
		answered[id] = true
	}
}

func between(s, before, after string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, after)
	return s
}

func TestAnswerComesBeforeWhatItCaused(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob")
	for i := range 50 {
		port := fmt.Sprintf("c_%d", i+1)
		ana.Line(
			testserver.Request("1", "chats.create", protocol.ChatsCreateParams{Kind: "group", Title: "Port"}),
			testserver.Request("2", "participants.add", protocol.ParticipantsAddParams{ChatID: port, UserIDs: []string{bob.ID}}),
			testserver.Request("3", "message.send", protocol.MessageSendParams{ChatID: port, Content: "hi"}),
		)
		seen := map[string]bool{}
		for range 6 {
			line := ana.Next()
			seen[between(line, `"op":"`, `"`)] = true
			cause := map[string]string{"chat.created": "chats.create", "participant.added": "participants.add", "message.created": "message.send"}
			if event := between(line, `"event":"`, `"`); event != "" && !seen[cause[event]] {
				t.Fatalf("%s came before the answer to %s", event, cause[event])
			}
		}
	}
}

func TestHoweverTheBytesAreCut(t *testing.T) {
	srv := testserver.Start(t)
	ana := srv.User("ana")
	script := testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "PLAIN", Username: "ana", Password: ana.Password}) + "\n" +
		testserver.Request("2", "users.me", protocol.Empty{}) + "\r\n\r\n" +
		`{"type":"Ping","id":"ä"}` + "\n" + "bad\n"
	answers := []string{
		`{"type":"Hello"}`,
		`{"type":"SessionResponse","id":1,"result":{"session_id":"*"}}`,
		`{"type":"DataResponse","id":2,"result":{"user":{"username":"ana"}}}`,
		`{"type":"Pong","id":"ä"}`,
		`{"type":"Error","error":{"code":"parse_error"}}`,
	}
	t.Run("byte by byte", func(t *testing.T) {
		c := srv.Dial()
		for i := range len(script) {
			c.Raw(script[i : i+1])
		}
		c.Want(answers...)
	})
	t.Run("all at once", func(t *testing.T) {
		c := srv.Dial()
		c.Raw(script)
		c.Want(answers...)
	})
	t.Run("without a last newline", func(t *testing.T) {
		c := srv.Dial()
		c.Raw(strings.TrimSpace(script))
		c.EOF()
		c.Want(answers...)
		c.WantEnd()
	})
}

func TestTenThousandPipelinedSendsThenHalfClose(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	port := ana.Group("Port", bob)
	ana.Forget()

	const n = 10_000
	go func() {
		var script strings.Builder
		for i := range n {
			script.WriteString(testserver.Request(fmt.Sprint(i), "message.send",
				protocol.MessageSendParams{ChatID: port, Content: fmt.Sprint(i), ClientMsgID: fmt.Sprint(i)}) + "\n")
		}
		ana.Raw(script.String())
		ana.EOF()
	}()
	received := make(chan struct{})
	go func() {
		defer close(received)
		for i := range n {
			bob.Expect(fmt.Sprint(i))
		}
	}()
	for i := 0; i < n; {
		line := ana.Next()
		if strings.Contains(line, `"event":`) {
			continue
		}
		if why := testserver.Differs(fmt.Sprintf(`{"id":%d,"result":{"seq":%d}}`, i, i+3), line); why != "" {
			t.Fatalf("answer %d: %s: %s", i, why, line)
		}
		i++
	}
	<-received
}

func TestLogin(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob")
	port := ana.Group("Port")

	t.Run("is needed", func(t *testing.T) {
		c := srv.Dial()
		c.Want(`{"type":"Hello"}`)
		c.Line(testserver.Request("1", "users.me", protocol.Empty{}), testserver.Request("2", "message.send", protocol.MessageSendParams{ChatID: port, Content: "hi"}))
		c.Want(`{"id":1,"error":{"code":"unauthenticated"}}`, `{"id":2,"error":{"code":"unauthenticated"}}`)
	})
	t.Run("can fail and be tried again", func(t *testing.T) {
		c := srv.Dial()
		c.Want(`{"type":"Hello"}`)
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "PLAIN", Username: "bob", Password: "wrong password"}))
		c.Want(`{"id":1,"error":{"code":"invalid_credentials"}}`)
		c.Line(testserver.Request("2", "session.start", protocol.SessionStartParams{Mechanism: "PLAIN", Username: "bob", Password: bob.Password}))
		c.Want(`{"id":2,"result":{"token":"*","heartbeat_ms":0}}`)
	})
	t.Run("happens once", func(t *testing.T) {
		c := bob.Connect()
		if _, err := c.Try("session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: c.Token}); err == nil || err.Code != protocol.CodeConflict {
			t.Errorf("a second session.start: %v", err)
		}
		c.Do("users.me", protocol.Empty{}, nil)
	})
	t.Run("leaves no session behind when it is refused", func(t *testing.T) {
		asks := bob.Connect()
		sessions := func() []protocol.Session {
			var r protocol.SessionsListResult
			asks.Do("sessions.list", protocol.Empty{}, &r)
			return r.Sessions
		}
		before := sessions()
		c := srv.Dial()
		c.Want(`{"type":"Hello"}`)
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "PLAIN", Username: "bob", Password: bob.Password, HeartbeatMS: -1}))
		c.Want(`{"id":1,"error":{"code":"invalid_request"}}`)
		if after := sessions(); len(after) != len(before) {
			t.Errorf("%d sessions more", len(after)-len(before))
		}
	})
	t.Run("without events", func(t *testing.T) {
		no := false
		c := srv.Dial()
		c.Want(`{"type":"Hello"}`)
		c.Line(testserver.Request("1", "session.start", protocol.SessionStartParams{Mechanism: "TOKEN", Token: ana.Token, Subscribe: &no}))
		c.Want(`{"id":1,"result":{"session_id":"*"}}`)
		ana.Send(port, "hello?")
		c.WantSilence()
	})
}

func TestNonsenseBeforeLoginEnds(t *testing.T) {
	srv := testserver.Start(t)
	t.Run("many bad lines", func(t *testing.T) {
		c := srv.Dial()
		c.Want(`{"type":"Hello"}`)
		c.Raw(strings.Repeat("hello\n", 100))
		for range 16 {
			c.Want(`{"type":"Error","error":{"code":"parse_error"}}`)
		}
		c.Want(`{"type":"Goodbye","code":"protocol_violation","reconnect":false}`)
		c.WantEnd()
	})
	t.Run("requests that are refused", func(t *testing.T) {
		c := srv.Dial()
		c.Want(`{"type":"Hello"}`)
		for range 16 {
			c.Line(testserver.Request("1", "users.me", protocol.Empty{}))
			c.Want(`{"id":1,"error":{"code":"unauthenticated"}}`)
		}
		c.Want(`{"type":"Goodbye","code":"protocol_violation"}`)
	})
	t.Run("a line without end", func(t *testing.T) {
		c := srv.Dial()
		c.Want(`{"type":"Hello"}`)
		c.Raw("{" + strings.Repeat("x", 70_000))
		c.Want(`{"type":"Goodbye","code":"protocol_violation"}`)
		c.WantEnd()
	})
	t.Run("a line of more than 8 KiB", func(t *testing.T) {
		c := srv.Dial()
		c.Want(`{"type":"Hello"}`)
		c.Line(`{"type":"Ping","id":"` + strings.Repeat("x", 9000) + `"}`)
		c.Want(`{"type":"Error","error":{"code":"frame_too_large"}}`)
		c.Line(`{"type":"Ping","id":1}`)
		c.Want(`{"type":"Pong","id":1}`)
	})
	t.Run("HTTP after Hello", func(t *testing.T) {
		c := srv.Dial()
		c.Want(`{"type":"Hello"}`)
		c.Raw("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		c.Want(`{"type":"Error","error":{"code":"parse_error"}}`, `{"type":"Goodbye","code":"protocol_violation"}`)
		c.WantEnd()
	})
	t.Run("many good requests are fine", func(t *testing.T) {
		c := srv.Dial()
		c.Want(`{"type":"Hello"}`)
		for range 3000 {
			c.Line(`{"type":"Ping","id":"` + strings.Repeat("x", 60) + `"}`)
			c.Want(`{"type":"Pong"}`)
		}
	})
}

func TestOperator(t *testing.T) {
	srv := testserver.Start(t)
	op := srv.DialOperator()
	op.Want(`{"type":"Hello"}`)
	op.Line(testserver.Request("1", "users.create", protocol.UsersCreateParams{Username: "ana", Password: "password of ana"}))
	op.Want(`{"id":1,"result":{"user":{"username":"ana"}}}`)
	op.Line(testserver.Request("2", "users.list", protocol.UsersListParams{}))
	op.Want(`{"id":2,"result":{"users":[{"username":"ana"}]}}`)
	op.Line(testserver.Request("3", "session.start", protocol.SessionStartParams{Mechanism: "PLAIN", Username: "ana", Password: "password of ana"}))
	op.Want(`{"id":3,"error":{"code":"conflict"}}`)
	op.EOF()
	op.WantEnd()
}

// What a connection may say that it looks at is bounded, as all that is kept for
// one is; what is refused changes nothing.
func TestFocusIsBounded(t *testing.T) {
	srv := testserver.Start(t)
	ana := srv.User("ana").Connect()
	many := make([]string, protocol.MaxPage+1)
	for i := range many {
		many[i] = fmt.Sprint("c_", i+1)
	}
	beat := int64(60_000)
	_, failure := ana.Try("session.update", protocol.SessionUpdateParams{Focus: &many, HeartbeatMS: &beat})
	if failure == nil || failure.Code != protocol.CodeInvalidRequest {
		t.Errorf("%d chats in focus: %v", len(many), failure)
	}
	most := many[:protocol.MaxPage]
	var r protocol.SessionUpdateResult
	ana.Do("session.update", protocol.SessionUpdateParams{Focus: &most}, &r)
	if r.HeartbeatMS != 0 {
		t.Errorf("the request that was refused gave a heartbeat of %d ms", r.HeartbeatMS)
	}
}

func TestTypingAndReadMarks(t *testing.T) {
	srv := testserver.Start(t)
	anaUser := srv.User("ana")
	ana, laptop := anaUser.Connect(), anaUser.Connect()
	bob, cem := srv.User("bob").Connect(), srv.User("cem").Connect()
	port := ana.Group("Port", bob, cem)
	ana.Send(port, "hi")
	for _, c := range []*testserver.Client{laptop, bob, cem} {
		c.Expect("hi")
	}

	cem.Do(protocol.OpSessionUpdate, protocol.SessionUpdateParams{Focus: &[]string{}}, nil)
	bob.Do(protocol.OpTyping, protocol.TypingParams{ChatID: port}, nil)
	for _, c := range []*testserver.Client{ana, laptop} {
		if got := c.ExpectEvent("typing"); testserver.Differs(fmt.Sprintf(`{"chat_id":%q,"user_id":%q,"expires_ms":10000}`, port, bob.ID), got) != "" {
			t.Error(got)
		}
	}
	cem.ExpectNothing()
	bob.ExpectNothing()

	ana.Do(protocol.OpReadSet, protocol.ReadSetParams{ChatID: port, Seq: 3}, nil)
	for _, c := range []*testserver.Client{laptop, bob, cem} {
		if got := c.ExpectEvent("read"); testserver.Differs(fmt.Sprintf(`{"chat_id":%q,"user_id":%q,"read_seq":3}`, port, ana.ID), got) != "" {
			t.Error(got)
		}
	}
}

func TestPresence(t *testing.T) {
	srv := testserver.Start(t)
	ana, bob, cem := srv.User("ana"), srv.User("bob"), srv.User("cem")
	phone := ana.Connect()
	laptop := bob.Connect()
	phone.Group("Port", laptop)
	stranger := cem.Connect()
	all := protocol.PresenceParams{UserIDs: []string{bob.ID, cem.ID, ana.ID}}

	watch := func(d *testserver.Client, want ...protocol.Presence) {
		t.Helper()
		var got protocol.PresenceWatchResult
		d.Do(protocol.OpPresenceWatch, all, &got)
		if !slices.Equal(got.Presence, want) || got.ExpiresMS != 300_000 {
			t.Errorf("%s watches %+v", d.User.Name, got)
		}
	}
	watch(phone, protocol.Presence{UserID: bob.ID, Status: "online"}, protocol.Presence{UserID: ana.ID, Status: "online"})
	watch(stranger, protocol.Presence{UserID: cem.ID, Status: "online"})

	away := false
	laptop.Do(protocol.OpSessionUpdate, protocol.SessionUpdateParams{Active: &away}, nil)
	wants := func(status string) {
		t.Helper()
		want := fmt.Sprintf(`{"type":"BroadcastResponse","event":"presence","user_id":%q,"status":%q}`, bob.ID, status)
		if got := phone.ExpectEvent("presence"); testserver.Differs(want, got) != "" {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	wants("away")
	must(t, laptop.Close())
	wants("offline")
	laptop = bob.Connect()
	wants("online")
	hide := true
	laptop.Do(protocol.OpUsersUpdate, protocol.UsersUpdateParams{HidesPresence: &hide}, nil)
	wants("offline")
	var got protocol.PresenceGetResult
	phone.Do(protocol.OpPresenceGet, all, &got)
	if want := []protocol.Presence{{UserID: bob.ID, Status: "offline"}, {UserID: ana.ID, Status: "online"}}; !slices.Equal(got.Presence, want) {
		t.Errorf("presence: %+v", got)
	}
	stranger.ExpectNothing()
}
