package api_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/api/apitest"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

func TestTable(t *testing.T) {
	svc, invite := apitest.NewService(t)
	apitest.Run(t, apitest.Direct(api.New(svc)), invite)
}

// A chat one is not in and a chat that does not exist give the same bytes, and
// so does what is no id at all.
func TestAbsentAndForeignAreAlike(t *testing.T) {
	svc, invite := apitest.NewService(t)
	a := api.New(svc)
	door := apitest.Direct(a)
	apitest.Run(t, door, invite)
	room := ask(t, door, "ana", `{"type":"DataRequest","op":"chats.create","params":{"kind":"group","title":"Room"}}`)
	if !strings.Contains(room, `"chat_id":"c_4"`) {
		t.Fatal(room)
	}
	for _, s := range apitest.OfAChat() {
		heard := map[string][]string{}
		for _, id := range []string{"c_4", "c_5", "c_999", "c_03", "c_-3", "c_", "u_1", "room"} {
			req, err := apitest.Step{Op: s.Op, Params: `{"chat_id":"` + id + `"` + s.Params + `}`}.Request(nil)
			if err != nil {
				t.Fatal(err)
			}
			line, err := protocol.AppendFrame(nil, door.Do(t, "dan", req))
			if err != nil {
				t.Fatal(err)
			}
			heard[string(line)] = append(heard[string(line)], id)
		}
		if len(heard) != 1 {
			t.Errorf("%s tells these apart: %v", s.Op, heard)
		}
	}
}

func TestDo(t *testing.T) {
	svc, invite := apitest.NewService(t)
	var log bytes.Buffer
	a := api.New(svc)
	a.Log = slog.New(slog.NewTextHandler(&log, nil))
	door := apitest.Direct(a)
	apitest.Run(t, door, invite)

	for _, c := range []struct{ name, who, line, want string }{
		{
			"the id comes back as it was written", "ana", `{"type":"DataRequest","id":"é\u00e9/","op":"users.get","params":{"user_id":"x"}}`,
			`{"type":"DataResponse","id":"é\u00e9/","op":"users.get","error":{"code":"not_found","message":"no such user","retryable":false}}`,
		},
		{
			"the wrong frame", "ana", `{"type":"DataRequest","id":1,"op":"message.send","params":{"chat_id":"c_1","content":"hi"}}`,
			`{"type":"DataResponse","id":1,"op":"message.send","error":{"code":"invalid_request","message":"message.send goes in a BroadcastRequest","retryable":false}}`,
		},
		{
			"no such operation", "ana", `{"type":"SessionRequest","op":"session.stop"}`,
			`{"type":"SessionResponse","op":"session.stop","error":{"code":"unknown_op","message":"no such operation","retryable":false}}`,
		},
		{
			"what is not known is listed, the envelope's first, beside an error too", "ana", `{"type":"DataRequest","op":"chats.get","colour":1,"params":{"chat_id":"c_77","shape":2}}`,
			`{"type":"DataResponse","op":"chats.get","error":{"code":"not_found","message":"no such chat","retryable":false},"ignored":["colour","shape"]}`,
		},
		{
			"strict", "ana", `{"type":"DataRequest","op":"users.me","strict":true,"params":{"shape":2}}`,
			`{"type":"DataResponse","op":"users.me","error":{"code":"invalid_request","message":"unknown \"shape\"","retryable":false},"ignored":["shape"]}`,
		},
		{
			"session.update without a connection", "ana", `{"type":"SessionRequest","op":"session.update","params":{"active":true}}`,
			`{"type":"SessionResponse","op":"session.update","error":{"code":"invalid_request","message":"session.update makes sense only on a live connection","retryable":false}}`,
		},
		{
			"a second login on one connection", "ana", `{"type":"SessionRequest","op":"session.start","params":{"mechanism":"TOKEN","token":"x"}}`,
			`{"type":"SessionResponse","op":"session.start","error":{"code":"conflict","message":"this connection is logged in already; open another one","retryable":false}}`,
		},
		{"a ping", "nobody", `{"type":"Ping","id":7}`, `{"type":"Pong","id":7}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ask(t, door, c.who, c.line); got != c.want+"\n" {
				t.Errorf("got  %swant %s", got, c.want)
			}
		})
	}
	if log.Len() > 0 {
		t.Errorf("the log has %s", &log)
	}
}

// A handler's panic and an error nobody expected are the server's own: the
// answer says no more than that, the log has it all.
func TestFaultsAreInternal(t *testing.T) {
	svc, invite := apitest.NewService(t)
	var log bytes.Buffer
	a := api.New(svc)
	a.Log = slog.New(slog.NewTextHandler(&log, nil))
	apitest.Run(t, apitest.Direct(a), invite)

	login := protocol.Request{
		Type: protocol.TypeSessionRequest, Op: protocol.OpSessionStart,
		Params: []byte(`{"mechanism":"PLAIN","username":"ana","password":"correct horse battery"}`),
	}
	for name, fault := range map[string]func() error{
		"panics": func() error { panic("a secret of the panic") },
		"fails":  func() error { return errors.New("a secret of the error") },
	} {
		t.Run(name, func(t *testing.T) {
			log.Reset()
			answers := make(chan protocol.Response, 2)
			a.Do(context.Background(), api.Caller{
				OnLogin: func(chat.Login, protocol.SessionStartParams) (int64, error) { return 0, fault() },
			}, login, func(r protocol.Response) { answers <- r })
			if len(answers) != 1 {
				t.Fatalf("%d answers", len(answers))
			}
			got := <-answers
			if got.Error == nil || got.Error.Code != protocol.CodeInternal || strings.Contains(got.Error.Message, "secret") {
				t.Errorf("got %+v", got)
			}
			if !strings.Contains(log.String(), "a secret of the") || strings.Contains(log.String(), "horse") {
				t.Errorf("the log has %q", log.String())
			}
		})
	}
}

// The operator manages people and has no chats.
func TestOperator(t *testing.T) {
	svc, _ := apitest.NewService(t)
	a := api.New(svc)
	do := func(op, params string) protocol.Response {
		var answer protocol.Response
		row, ok := api.Lookup(op)
		if !ok {
			t.Fatal(op)
		}
		a.Do(context.Background(), api.Caller{Actor: chat.Actor{Operator: true}},
			protocol.Request{Type: row.Frame, Op: op, Params: []byte(params)}, func(r protocol.Response) { answer = r })
		return answer
	}
	if r := do("users.create", `{"username":"ana","password":"correct horse battery","role":"admin"}`); r.Error != nil {
		t.Fatal(r.Error)
	}
	if r := do("users.list", ``); r.Error != nil || !strings.Contains(string(r.Result), `"role":"admin"`) {
		t.Errorf("%s %v", r.Result, r.Error)
	}
	for _, row := range api.Operations() {
		if row.Access != api.Account {
			continue
		}
		if r := do(row.Name, ""); r.Error == nil || r.Error.Code != protocol.CodePermissionDenied {
			t.Errorf("the operator and %s: %s %v", row.Name, r.Result, r.Error)
		}
	}
}

// ask sends a line through door and gives the line that answers.
func ask(t *testing.T, door apitest.Door, who, line string) string {
	t.Helper()
	req, bad := protocol.DecodeRequest([]byte(line))
	if bad != nil {
		t.Fatal(bad)
	}
	out, err := protocol.AppendFrame(nil, door.Do(t, who, req))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// BenchmarkSend is the api's and the rules' share of a send, on a store that
// costs next to nothing.
func BenchmarkSend(b *testing.B) {
	svc, invite := apitest.NewService(b)
	a := api.New(svc)
	door := apitest.Direct(a)
	must := func(line string) {
		req, bad := protocol.DecodeRequest([]byte(line))
		if bad != nil {
			b.Fatal(bad)
		}
		if r := door.Do(b, "ana", req); r.Error != nil {
			b.Fatal(r.Error)
		}
	}
	must(`{"type":"DataRequest","op":"users.create","params":{"username":"ana","password":"correct horse battery","invite":"` + invite + `"}}`)
	must(`{"type":"SessionRequest","op":"session.start","params":{"mechanism":"PLAIN","username":"ana","password":"correct horse battery"}}`)
	must(`{"type":"DataRequest","op":"chats.create","params":{"kind":"group","title":"Port"}}`)
	line := []byte(`{"type":"BroadcastRequest","id":1,"op":"message.send","params":{"chat_id":"c_1","content":"Ubuntu is fine. Ubuntu is fine."}}`)
	b.ReportAllocs()
	answers := make(chan protocol.Response, 1)
	for b.Loop() {
		req, bad := protocol.DecodeRequest(line)
		if bad != nil {
			b.Fatal(bad)
		}
		a.Do(context.Background(), api.Caller{Actor: chat.Actor{User: 1, Session: 1}}, req, func(r protocol.Response) { answers <- r })
		if r := <-answers; r.Error != nil {
			b.Fatal(r.Error)
		}
	}
}
