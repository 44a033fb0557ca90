package protocol

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whoever reads lines overwrites its buffer with the next one while requests
// are still being carried out.
func TestRequestSharesNoMemoryWithItsLine(t *testing.T) {
	line := []byte(`{"type":"DataRequest","id":"abc","op":"chats.get","params":{"chat_id":"1"},"x":0}`)
	r, err := DecodeRequest(line)
	if err != nil {
		t.Fatal(err)
	}
	for i := range line {
		line[i] = '#'
	}
	want := Request{Type: TypeDataRequest, ID: ID(`"abc"`), Op: OpChatsGet, Params: []byte(`{"chat_id":"1"}`), Ignored: []string{"x"}}
	if d := cmp.Diff(want, r); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
}

// The body of an HTTP request goes to DecodeParams without having been a line.
func TestParamsAreReadAsStrictlyOnTheirOwn(t *testing.T) {
	for body, code := range map[string]Code{
		``:                                  CodeInvalidRequest, // chat_id is missing
		`{"chat_id":"1"`:                    CodeParseError,
		`{"chat_id":"1"} {}`:                CodeParseError,
		`["1"]`:                             CodeInvalidRequest,
		`null`:                              CodeInvalidRequest,
		`{"chat_id":"1","chat_id":"1"}`:     CodeInvalidRequest,
		`{"chat_id":"1","Chat_id":"1"}`:     CodeInvalidRequest,
		`{"chat_id":"\u0000"}`:              CodeInvalidRequest,
		`{"chat_id":"\ud800"}`:              CodeInvalidUTF8,
		"{\"chat_id\":\"\xff\"}":            CodeInvalidUTF8,
		strings.Repeat(`{"a":`, MaxDepth+1): CodeInvalidRequest,
	} {
		if _, err := DecodeParams([]byte(body), new(ChatParams)); err == nil || err.Code != code {
			t.Errorf("%q: %v, want %s", body, err, code)
		}
	}
}

func TestAnswersToRefusedLinesBoundWhatTheyRepeat(t *testing.T) {
	long := strings.Repeat("\u00e9", 5000)
	for _, line := range []string{
		`{"type":"` + long + `"}`,
		`{"type":"DataRequest","op":"` + long + `"}`,
		`{"type":"DataRequest","op":"users.me","` + long + `":1,"` + long + `":2}`,
		`{"type":"DataRequest","op":"users.me","strict":true,"` + long + `":1,"a` + long + `":2,"b` + long + `":2,"c` + long + `":2,"d` + long + `":2}`,
		`{"type":"DataRequest","op":"users.me","\u0001\u0001\u0001\u0001` + long + `":1,"ID":2}`,
		`{"type":` + long + `}`,
		`{"type":"\ud800` + long + `"}`,
	} {
		r, err := DecodeRequest([]byte(line))
		if err == nil {
			t.Errorf("%.40s...: taken", line)
			continue
		}
		b, encodeErr := AppendFrame(nil, Refuse(r, err))
		if len(err.Message) > maxMessage || encodeErr != nil || len(b) > 1000 {
			t.Errorf("%.40s...: an answer of %d bytes with a message of %d (%v)", line, len(b), len(err.Message), encodeErr)
		}
	}
}

func TestAppendFrameRefusesWhatIsNoJSON(t *testing.T) {
	dst := []byte("before")
	for _, f := range []any{
		&Response{Type: TypePong, ID: ID(`{`)},
		&Response{Type: TypeDataResponse, Result: []byte(`{"a":1,"a":2}`)},
		&Event{Type: TypeBroadcastResponse, Event: "\xff"},
	} {
		if got, err := AppendFrame(dst, f); err == nil || string(got) != "before" {
			t.Errorf("%+v: %s, %v", f, got, err)
		}
	}
	if got, err := AppendFrame(dst, Response{Type: TypePong}); err != nil || string(got) != "before{\"type\":\"Pong\"}\n" {
		t.Errorf("a value instead of a pointer: %s, %v", got, err)
	}
}

// Types of params that the codec cannot fill would panic in production.
func TestParamsOfEveryOperationCanBeRead(t *testing.T) {
	for op, params := range paramsOf {
		p := planFor(reflect.TypeOf(params()).Elem())
		if len(p.members) != reflect.TypeOf(params()).Elem().NumField() {
			t.Errorf("%s: %d members", op, len(p.members))
		}
	}
}

func TestRequiredMembers(t *testing.T) {
	required := map[string]string{}
	for op, params := range paramsOf {
		p := planFor(reflect.TypeOf(params()).Elem())
		var names []string
		for i, n := range p.names {
			if p.required&(1<<i) != 0 {
				names = append(names, n)
			}
		}
		required[op] = strings.Join(names, " ")
	}
	for op, want := range map[string]string{
		OpMessageSend: "chat_id content", OpSync: "", OpChatsUpdate: "chat_id", OpChangesList: "chat_id after",
		OpSessionStart: "mechanism", OpUsersCreate: "username password", OpParticipantsAdd: "chat_id user_ids",
	} {
		if required[op] != want {
			t.Errorf("%s requires %q, want %q", op, required[op], want)
		}
	}
}

func TestEveryCodeHasItsRow(t *testing.T) {
	seen := map[Code]bool{}
	for _, row := range Codes() {
		if seen[row.Code] {
			t.Errorf("%s stands twice", row.Code)
		}
		seen[row.Code] = true
		if row.Code.Info() != row || row.Status < 400 || row.Status > 599 {
			t.Errorf("%+v", row)
		}
		if e := NewError(row.Code, "m"); e.Retryable != row.Retryable {
			t.Errorf("%s: retryable %v", row.Code, e.Retryable)
		}
	}
	if i := Code("new").Info(); i.Status != 500 || !i.Retryable {
		t.Errorf("unknown code: %+v", i)
	}
}

func TestClip(t *testing.T) {
	for _, s := range []string{"", "abc", "abcdefgh", "abcdefghi", "éééééé", "😀😀😀😀", "a😀😀😀"} {
		got := clip(s, 8)
		if len(got) > 8 || !strings.HasPrefix(s, strings.TrimSuffix(got, "…")) || len(s) <= 8 && got != s {
			t.Errorf("clip(%q) = %q", s, got)
		}
		if !bytes.Equal([]byte(got), bytes.ToValidUTF8([]byte(got), nil)) {
			t.Errorf("clip(%q) = %q cuts a code point", s, got)
		}
	}
}
