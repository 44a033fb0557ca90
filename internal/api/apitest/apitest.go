// Package apitest is one table of requests and what they give, to be run through
// every door of a server: whichever way a request comes in, the answer is the
// same (docs/protocol.md#everywhere).
package apitest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/protocol"
)

// Step is a request and what it gives.
//
// Params and Want are JSON. "$name" in Want matches any string and remembers it;
// where the name is known already it must be that string again. In Params it is
// replaced by what was remembered. "$*" in Want matches any string, "$?" any
// value at all.
type Step struct {
	As     string // who asks: a connection or a token of their own
	Op     string
	Params string // empty: none
	Strict bool

	Want    string        // the result, empty when Error is not
	Error   protocol.Code // the error's code
	Ignored []string

	// FramesOnly marks what a path or a query cannot say.
	FramesOnly bool
}

// Door is a way into a server. It sends req as who, and gives the answer. Each
// who has a connection, or a token, that a session.start of theirs logs in.
type Door interface {
	Do(t testing.TB, who string, req protocol.Request) protocol.Response
	// Frames reports whether requests go in as frames, so that FramesOnly steps
	// can be run.
	Frames() bool
}

// Run runs the whole table through door, which must lead to a fresh server where
// registration is by invite and ownerInvite is the first owner's. It returns a
// transcript without what differs from run to run, to compare doors by.
func Run(t *testing.T, door Door, ownerInvite string) []string {
	t.Helper()
	names := map[string]string{"owner_invite": ownerInvite}
	var transcript []string
	for i, s := range Table() {
		if s.FramesOnly && !door.Frames() {
			continue
		}
		what := fmt.Sprintf("step %d: %s as %q %s", i+1, s.Op, s.As, s.Params)
		req, err := s.Request(names)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		req.ID = protocol.ID(fmt.Sprint(i + 1))
		got := door.Do(t, s.As, req)
		line, err := s.Check(got, names)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if !s.FramesOnly {
			transcript = append(transcript, s.Op+" "+line)
		}
	}
	return transcript
}

// frameOf is the frame that each operation of the table goes in, said here once
// more on purpose: clients have to know it without asking the server's table.
func frameOf(op string) protocol.Type {
	switch {
	case op == "session.start", op == "session.update", op == "session.end":
		return protocol.TypeSessionRequest
	case strings.HasPrefix(op, "message."), op == "typing":
		return protocol.TypeBroadcastRequest
	}
	return protocol.TypeDataRequest
}

// Request is the step's request, with names filled in.
func (s Step) Request(names map[string]string) (protocol.Request, error) {
	params := s.Params
	// Longer names first, so that none is taken for the beginning of another.
	for _, n := range slices.SortedFunc(maps.Keys(names), func(a, b string) int { return len(b) - len(a) }) {
		params = strings.ReplaceAll(params, "$"+n, names[n])
	}
	if strings.Contains(params, "$") {
		return protocol.Request{}, fmt.Errorf("a name in %s is not known yet", params)
	}
	req := protocol.Request{Type: frameOf(s.Op), Op: s.Op, Strict: s.Strict}
	if params != "" {
		req.Params = jsontext.Value(params)
	}
	return req, nil
}

// Check compares an answer with what the step wants, remembers names, and
// returns the answer without what differs from run to run.
func (s Step) Check(got protocol.Response, names map[string]string) (string, error) {
	if !slices.Equal(got.Ignored, s.Ignored) {
		return "", fmt.Errorf("ignored %q, want %q", got.Ignored, s.Ignored)
	}
	if got.Error != nil {
		if got.Error.Code != s.Error {
			return "", fmt.Errorf("got %v, want %s %s", got.Error, s.Error, s.Want)
		}
		return fmt.Sprintf("%+v %q", *got.Error, got.Ignored), nil
	}
	if s.Error != "" {
		return "", fmt.Errorf("got %s, want %s", got.Result, s.Error)
	}
	var have, want any
	if err := json.Unmarshal(got.Result, &have); err != nil {
		return "", fmt.Errorf("the result %s: %w", got.Result, err)
	}
	if err := json.Unmarshal([]byte(s.Want), &want); err != nil {
		return "", fmt.Errorf("the step's own %s: %w", s.Want, err)
	}
	if err := match("result", have, want, names); err != nil {
		return "", fmt.Errorf("%w\ngot  %s\nwant %s", err, got.Result, s.Want)
	}
	return s.Want, nil
}

func match(at string, have, want any, names map[string]string) error {
	switch want := want.(type) {
	case string:
		name, is := strings.CutPrefix(want, "$")
		if !is {
			break
		}
		if name == "?" {
			return nil
		}
		text, ok := have.(string)
		if !ok || text == "" {
			return fmt.Errorf("%s is %v, not a string", at, have)
		}
		known, ok := names[name]
		switch {
		case name == "*":
		case !ok:
			names[name] = text
		case known != text:
			return fmt.Errorf("%s is %q, but %s is %q", at, text, want, known)
		}
		return nil
	case []any:
		list, ok := have.([]any)
		if !ok || len(list) != len(want) {
			return fmt.Errorf("%s: %d things are due", at, len(want))
		}
		for i := range want {
			if err := match(fmt.Sprintf("%s[%d]", at, i), list[i], want[i], names); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		object, ok := have.(map[string]any)
		if !ok {
			return fmt.Errorf("%s: an object is due", at)
		}
		for k := range object {
			if _, ok := want[k]; !ok {
				return fmt.Errorf("%s.%s is not expected", at, k)
			}
		}
		for _, k := range slices.Sorted(maps.Keys(want)) {
			v, ok := object[k]
			if !ok {
				return fmt.Errorf("%s.%s is missing", at, k)
			}
			if err := match(at+"."+k, v, want[k], names); err != nil {
				return err
			}
		}
		return nil
	}
	if have != want {
		return fmt.Errorf("%s is %v, want %v", at, have, want)
	}
	return nil
}
