package protocol

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// paramsOf makes the params of every operation.
var paramsOf = map[string]func() any{
	OpSessionStart:       func() any { return new(SessionStartParams) },
	OpSessionUpdate:      func() any { return new(SessionUpdateParams) },
	OpSessionEnd:         func() any { return new(Empty) },
	OpSync:               func() any { return new(SyncParams) },
	OpChangesList:        func() any { return new(ChangesListParams) },
	OpChatsList:          func() any { return new(ChatsListParams) },
	OpChatsBrowse:        func() any { return new(ChatsBrowseParams) },
	OpChatsGet:           func() any { return new(ChatParams) },
	OpParticipantsList:   func() any { return new(ParticipantsListParams) },
	OpMessagesList:       func() any { return new(MessagesListParams) },
	OpMessagesGet:        func() any { return new(MessageParams) },
	OpUsersMe:            func() any { return new(Empty) },
	OpUsersGet:           func() any { return new(UserParams) },
	OpUsersList:          func() any { return new(UsersListParams) },
	OpSessionsList:       func() any { return new(Empty) },
	OpInvitesList:        func() any { return new(Empty) },
	OpPresenceGet:        func() any { return new(PresenceParams) },
	OpPresenceWatch:      func() any { return new(PresenceParams) },
	OpUsersCreate:        func() any { return new(UsersCreateParams) },
	OpUsersUpdate:        func() any { return new(UsersUpdateParams) },
	OpChatsCreate:        func() any { return new(ChatsCreateParams) },
	OpChatsUpdate:        func() any { return new(ChatsUpdateParams) },
	OpChatsDelete:        func() any { return new(ChatParams) },
	OpParticipantsAdd:    func() any { return new(ParticipantsAddParams) },
	OpParticipantsUpdate: func() any { return new(ParticipantsUpdateParams) },
	OpParticipantsRemove: func() any { return new(ParticipantParams) },
	OpReadSet:            func() any { return new(ReadSetParams) },
	OpTokensCreate:       func() any { return new(TokensCreateParams) },
	OpSessionsRevoke:     func() any { return new(SessionParams) },
	OpInvitesCreate:      func() any { return new(InvitesCreateParams) },
	OpInvitesRevoke:      func() any { return new(InviteParams) },
	OpMessageSend:        func() any { return new(MessageSendParams) },
	OpMessageEdit:        func() any { return new(MessageEditParams) },
	OpMessageDelete:      func() any { return new(MessageParams) },
	OpTyping:             func() any { return new(TypingParams) },
}

// An op that is not in paramsOf would have its params looked at by no vector.
func TestParamsOfEveryOperation(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "ops.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ops := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			if !strings.HasPrefix(name.Name, "Op") || i >= len(spec.Values) {
				continue
			}
			op, err := strconv.Unquote(spec.Values[i].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if ops++; paramsOf[op] == nil {
				t.Errorf("%s is missing", op)
			}
		}
		return true
	})
	if ops != len(paramsOf) {
		t.Errorf("%d operations, %d params", ops, len(paramsOf))
	}
}

// text is bytes as the vectors write them.
type text struct {
	Line  string       `json:"line"`
	Input string       `json:"input"`
	Hex   string       `json:"hex"`
	Parts []textRepeat `json:"parts"`
}

type textRepeat struct {
	text string
	n    int
}

func (r *textRepeat) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	var pair [2]any
	if err := json.UnmarshalDecode(d, &pair); err != nil {
		return err
	}
	r.text, r.n = pair[0].(string), int(pair[1].(float64))
	return nil
}

func (x text) bytes(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(x.Hex)
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, x.Line+x.Input...)
	for _, p := range x.Parts {
		b = append(b, strings.Repeat(p.text, p.n)...)
	}
	return b
}

func readVectors[V any](t testing.TB, file string) []V {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		About   string `json:"about"`
		Vectors []V    `json:"vectors"`
	}
	if err := json.Unmarshal(b, &f, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return f.Vectors
}

type requestVector struct {
	Name string `json:"name"`
	text
	Request *struct {
		Type   Type   `json:"type"`
		ID     string `json:"id"`
		Op     string `json:"op"`
		Strict bool   `json:"strict"`
	} `json:"request"`
	Params  jsontext.Value `json:"params"`
	Ignored []string       `json:"ignored"`
	Error   Code           `json:"error"`
	At      *int           `json:"at"`
	Answer  jsontext.Value `json:"answer"`
}

// decodeBoth is what a server does with a line: the envelope, then the params,
// whose pointer it returns.
func decodeBoth(line []byte) (r Request, params any, ignored []string, err *Error) {
	r, err = DecodeRequest(line)
	ignored = r.Ignored
	known := paramsOf[r.Op]
	if err != nil || known == nil {
		return r, nil, ignored, err
	}
	params = known()
	more, err := DecodeParams(r.Params, params)
	if err == nil && r.Strict && len(more) > 0 {
		err = UnknownMembers(more)
	}
	return r, params, append(ignored, more...), err
}

func TestRequestVectors(t *testing.T) {
	for _, v := range readVectors[requestVector](t, "requests.json") {
		t.Run(v.Name, func(t *testing.T) {
			line := v.bytes(t)
			r, params, ignored, err := decodeBoth(line)
			if v.Error != "" {
				checkRefusal(t, v, r, err)
				return
			}
			if err != nil {
				t.Fatalf("refused: %v", err)
			}
			want := Request{Type: v.Request.Type, Op: v.Request.Op, Strict: v.Request.Strict}
			if v.Request.ID != "" {
				want.ID = ID(v.Request.ID)
			}
			got := r
			got.Params, got.Ignored = nil, nil
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("request (-want +got):\n%s", d)
			}
			if d := cmp.Diff(v.Ignored, ignored); d != "" {
				t.Errorf("ignored (-want +got):\n%s", d)
			}
			if v.Params != nil {
				b, err := json.Marshal(params)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(canonical(t, v.Params), canonical(t, b)); d != "" {
					t.Errorf("params (-want +got):\n%s", d)
				}
			}
		})
	}
}

func checkRefusal(t *testing.T, v requestVector, r Request, err *Error) {
	t.Helper()
	if err == nil {
		t.Fatalf("taken; want %s", v.Error)
	}
	if err.Code != v.Error || len(err.Message) > 256 || err.Message == "" || err.Retryable {
		t.Errorf("error %+v, want code %s and a message of at most 256 bytes", err, v.Error)
	}
	if v.At != nil && !strings.HasSuffix(err.Message, fmt.Sprintf("at byte %d", *v.At)) {
		t.Errorf("message %q, want it to end in: at byte %d", err.Message, *v.At)
	}
	b, encodeErr := AppendFrame(nil, Refuse(r, err))
	if encodeErr != nil {
		t.Fatal(encodeErr)
	}
	var answer map[string]jsontext.Value
	if err := json.Unmarshal(b, &answer); err != nil {
		t.Fatalf("answer %s: %v", b, err)
	}
	delete(answer, "error")
	got, encodeErr := json.Marshal(answer)
	if encodeErr != nil {
		t.Fatal(encodeErr)
	}
	if d := cmp.Diff(canonical(t, v.Answer), canonical(t, got)); d != "" {
		t.Errorf("answer (-want +got):\n%s", d)
	}
}

func canonical(t testing.TB, v jsontext.Value) string {
	t.Helper()
	v = v.Clone()
	if err := v.Canonicalize(); err != nil {
		t.Fatalf("%s: %v", v, err)
	}
	return string(v)
}

type frameVector struct {
	Name string `json:"name"`
	text
	Kind    string `json:"kind"`
	Encoded string `json:"encoded"`
	Error   Code   `json:"error"`
}

func TestFrameVectors(t *testing.T) {
	for _, v := range readVectors[frameVector](t, "frames.json") {
		t.Run(v.Name, func(t *testing.T) {
			line := v.bytes(t)
			f, err := DecodeFrame(line)
			if v.Error != "" {
				if err == nil || err.Code != v.Error {
					t.Fatalf("got %+v, %v; want %s", f, err, v.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			kind := reflect.TypeOf(f).Elem().Name()
			if r, ok := f.(*Request); ok {
				kind = string(r.Type)
			}
			if kind != v.Kind {
				t.Fatalf("a %s, want a %s", kind, v.Kind)
			}
			want := v.Encoded
			if want == "" {
				want = string(line)
			}
			got, encodeErr := AppendFrame([]byte("> "), f)
			if encodeErr != nil {
				t.Fatal(encodeErr)
			}
			if string(got) != "> "+want+"\n" {
				t.Errorf("encoded\n%s, want\n> %s", got, want)
			}
		})
	}
}

type lineVector struct {
	Name string `json:"name"`
	text
	Max     int              `json:"max"`
	MaxSkip int64            `json:"max_skip"`
	Lines   []jsontext.Value `json:"lines"`
	End     string           `json:"end"`
}

// transcript reads r to its end and tells what came, one entry per line.
func transcript(l *LineReader) []string {
	var got []string
	for {
		line, err := l.Next()
		var refused *Error
		switch {
		case err == nil:
			got = append(got, "line "+string(line))
		case errors.As(err, &refused):
			got = append(got, "error "+string(refused.Code))
		case err == io.EOF:
			return append(got, "end")
		case err == ErrEndlessLine:
			return append(got, "endless")
		default:
			return append(got, err.Error())
		}
	}
}

func (v lineVector) transcript(t testing.TB) []string {
	t.Helper()
	var want []string
	for _, raw := range v.Lines {
		if raw.Kind() == '"' {
			var s string
			if err := json.Unmarshal(raw, &s); err != nil {
				t.Fatal(err)
			}
			want = append(want, "line "+s)
			continue
		}
		var x struct {
			text
			Error Code `json:"error"`
		}
		if err := json.Unmarshal(raw, &x); err != nil {
			t.Fatal(err)
		}
		if x.Error != "" {
			want = append(want, "error "+string(x.Error))
		} else {
			want = append(want, "line "+string(x.bytes(t)))
		}
	}
	if v.End == "" {
		v.End = "end"
	}
	return append(want, v.End)
}

func (v lineVector) reader(r io.Reader) *LineReader {
	l := NewLineReader(r, v.Max)
	l.SetMaxSkip(v.MaxSkip)
	return l
}

func TestLineVectors(t *testing.T) {
	for _, v := range readVectors[lineVector](t, "lines.json") {
		t.Run(v.Name, func(t *testing.T) {
			input, want := v.bytes(t), v.transcript(t)
			whole := transcript(v.reader(bytes.NewReader(input)))
			if d := cmp.Diff(want, whole); d != "" {
				t.Fatalf("whole (-want +got):\n%s", d)
			}
			for name, r := range map[string]io.Reader{
				"byte by byte":      iotest.OneByteReader(bytes.NewReader(input)),
				"in halves":         iotest.HalfReader(bytes.NewReader(input)),
				"error beside data": iotest.DataErrReader(bytes.NewReader(input)),
			} {
				if d := cmp.Diff(want, transcript(v.reader(r))); d != "" {
					t.Errorf("%s (-want +got):\n%s", name, d)
				}
			}
			for i := range min(len(input), 200) {
				r := io.MultiReader(bytes.NewReader(input[:i]), bytes.NewReader(input[i:]))
				if d := cmp.Diff(want, transcript(v.reader(r))); d != "" {
					t.Fatalf("split at byte %d (-want +got):\n%s", i, d)
				}
			}
		})
	}
}
