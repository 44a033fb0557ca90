package stream_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// vector is one of protocol/testdata/vectors/requests.json, see README.md there.
type vector struct {
	Name    string   `json:"name"`
	Line    string   `json:"line"`
	Hex     string   `json:"hex"`
	Parts   [][2]any `json:"parts"`
	Request *struct {
		Type protocol.Type `json:"type"`
		ID   string        `json:"id"`
		Op   string        `json:"op"`
	} `json:"request"`
	Ignored []string       `json:"ignored"`
	Error   protocol.Code  `json:"error"`
	Answer  map[string]any `json:"answer"`
}

func (v vector) line(t *testing.T) string {
	t.Helper()
	raw, err := hex.DecodeString(v.Hex)
	must(t, err)
	line := v.Line + string(raw)
	for _, p := range v.Parts {
		line += strings.Repeat(p[0].(string), int(p[1].(float64)))
	}
	return line
}

// A connection answers every line of the vectors as they say: what it refuses
// with as much of the line as could be told, as any other door does, and what
// it takes with its id verbatim and the members it ignored.
func TestVectors(t *testing.T) {
	file, err := os.ReadFile("../../protocol/testdata/vectors/requests.json")
	must(t, err)
	var all struct {
		Vectors []vector `json:"vectors"`
	}
	must(t, json.Unmarshal(file, &all))
	if len(all.Vectors) < 100 {
		t.Fatalf("%d vectors", len(all.Vectors))
	}
	ana := testserver.Start(t).User("ana").Connect()
	for _, v := range all.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			line := v.line(t)
			ana.Line(line, `{"type":"Ping","id":"next"}`)
			var got string
			for { // until the answer: events may come before it
				if got = ana.Next(); !strings.Contains(got, `"event":`) {
					break
				}
			}
			none := got == `{"type":"Pong","id":"next"}`
			if want := strings.Trim(line, " \t\r") == "" || v.Request != nil && v.Request.Type == protocol.TypePong; want != none {
				t.Fatalf("got %s", got)
			}
			if none {
				return
			}
			defer ana.Want(`{"type":"Pong","id":"next"}`)
			switch {
			case len(strings.TrimSuffix(line, "\r")) > protocol.MaxFrame:
				checkRefused(t, got, protocol.CodeFrameTooLarge, map[string]any{"type": "Error"})
			case v.Error != "":
				checkRefused(t, got, v.Error, v.Answer)
			default:
				checkTaken(t, got, v)
			}
		})
	}
}

func checkRefused(t *testing.T, got string, code protocol.Code, rest map[string]any) {
	t.Helper()
	var answer map[string]any
	must(t, json.Unmarshal([]byte(got), &answer))
	failure, _ := answer["error"].(map[string]any)
	delete(answer, "error")
	delete(answer, "ignored") // beside the error, where the params could be read
	want, err := json.Marshal(rest)
	must(t, err)
	has, err := json.Marshal(answer)
	must(t, err)
	if string(want) != string(has) || failure["code"] != string(code) {
		t.Errorf("want %s and %s, got %s", code, want, got)
	}
}

func checkTaken(t *testing.T, got string, v vector) {
	t.Helper()
	var answer struct {
		Type    protocol.Type   `json:"type"`
		ID      json.RawMessage `json:"id"`
		Op      string          `json:"op"`
		Ignored []string        `json:"ignored"`
	}
	must(t, json.Unmarshal([]byte(got), &answer))
	if answer.Type != v.Request.Type.Response() || string(answer.ID) != v.Request.ID || answer.Op != v.Request.Op ||
		!slices.Equal(answer.Ignored, v.Ignored) {
		t.Errorf("want the answer to %+v, ignoring %v, got %s", *v.Request, v.Ignored, got)
	}
}
