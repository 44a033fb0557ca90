package protocol

import (
	"bytes"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// What is taken survives encoding and decoding; what is refused gets an answer
// that a client can read.
func FuzzRequest(f *testing.F) {
	for _, v := range readVectors[requestVector](f, "requests.json") {
		if line := v.bytes(f); len(line) < 4096 {
			f.Add(line)
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, params, _, err := decodeBoth(line)
		if err != nil {
			checkAnswer(t, r, err)
			return
		}
		if !jsontext.Value(line).IsValid() {
			t.Fatal("taken, but not JSON")
		}
		b, encodeErr := AppendFrame(nil, &r)
		if encodeErr != nil {
			t.Fatal(encodeErr)
		}
		again, paramsAgain, _, err := decodeBoth(bytes.TrimSuffix(b, []byte("\n")))
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		again.Ignored = r.Ignored // not encoded
		if len(r.Params) > 0 {
			again.Params, r.Params = compact(t, again.Params), compact(t, r.Params)
		}
		if d := cmp.Diff(r, again); d != "" {
			t.Fatalf("%s (-first +again):\n%s", b, d)
		}
		if !reflect.DeepEqual(params, paramsAgain) {
			t.Fatalf("%s: params %+v, again %+v", b, params, paramsAgain)
		}
	})
}

// The short cut for plain objects takes nothing that the whole way refuses, and
// reads what it takes alike.
func FuzzPlain(f *testing.F) {
	for _, v := range readVectors[requestVector](f, "requests.json") {
		if line := v.bytes(f); len(line) < 4096 {
			f.Add(line)
		}
	}
	for _, v := range readVectors[frameVector](f, "frames.json") {
		f.Add(v.bytes(f))
	}
	f.Add([]byte(`{"a":{"b":[{"c":[]},"x",-0,01,true,null]},"d":-12, "e": ["1", 2]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var members [plainMembers]span
		n, ok := readPlain(text, &members)
		if !ok {
			return
		}
		i := 0
		err := readAnyObject(text, func(name, value []byte) {
			if i >= n || !bytes.Equal(name, members[i].name) || !bytes.Equal(value, members[i].value) {
				t.Fatalf("member %d of %q: %q: %q", i, text, name, value)
			}
			i++
		})
		if err != nil || i != n {
			t.Fatalf("%q: plainly read, but %v, and %d members instead of %d", text, err, i, n)
		}
	})
}

func compact(t *testing.T, v jsontext.Value) jsontext.Value {
	t.Helper()
	v = v.Clone()
	if err := v.Compact(); err != nil {
		t.Fatal(err)
	}
	return v
}

func checkAnswer(t *testing.T, r Request, err *Error) {
	t.Helper()
	if len(err.Message) > maxMessage || !utf8.ValidString(err.Message) {
		t.Fatalf("message %q", err.Message)
	}
	b, encodeErr := AppendFrame(nil, Refuse(r, err))
	if encodeErr != nil {
		t.Fatal(encodeErr)
	}
	f, decodeErr := DecodeFrame(bytes.TrimSuffix(b, []byte("\n")))
	if decodeErr != nil {
		t.Fatalf("%s: %v", b, decodeErr)
	}
	var got *Error
	switch f := f.(type) {
	case *Response:
		got = f.Error
	case *ErrorFrame:
		got = f.Error
	}
	if d := cmp.Diff(err, got); d != "" {
		t.Fatalf("%s (-sent +read):\n%s", b, d)
	}
}

// What a client takes survives encoding and decoding, and encodes to the same
// bytes from then on.
func FuzzFrame(f *testing.F) {
	for _, v := range readVectors[frameVector](f, "frames.json") {
		f.Add(v.bytes(f))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		first, err := DecodeFrame(line)
		if err != nil {
			if len(err.Message) > maxMessage {
				t.Fatalf("message %q", err.Message)
			}
			return
		}
		b, encodeErr := AppendFrame(nil, first)
		if encodeErr != nil {
			t.Fatal(encodeErr)
		}
		again, err := DecodeFrame(bytes.TrimSuffix(b, []byte("\n")))
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if reflect.TypeOf(first) != reflect.TypeOf(again) {
			t.Fatalf("%s: a %T, again a %T", b, first, again)
		}
		b2, encodeErr := AppendFrame(nil, again)
		if encodeErr != nil || !bytes.Equal(b, b2) {
			t.Fatalf("%s\nencodes again as\n%s(%v)", b, b2, encodeErr)
		}
	})
}

// Lines do not depend on how the bytes arrive, and are those that splitting the
// whole stream gives.
func FuzzLines(f *testing.F) {
	for _, v := range readVectors[lineVector](f, "lines.json") {
		if input := v.bytes(f); len(input) < 4096 {
			f.Add(input, v.Max, 1)
		}
	}
	f.Fuzz(func(t *testing.T, input []byte, max, split int) {
		max, split = 1+bound(max, 64), bound(split, len(input)+1)
		want := simpleLines(input, max)
		for name, r := range map[string]io.Reader{
			"whole": bytes.NewReader(input),
			"split": io.MultiReader(bytes.NewReader(input[:split]), bytes.NewReader(input[split:])),
		} {
			l := NewLineReader(r, max)
			if d := cmp.Diff(want, transcript(l)); d != "" {
				t.Fatalf("%s, split at %d, max %d (-want +got):\n%s", name, split, max, d)
			}
			if len(l.buf) > max+2 {
				t.Fatalf("a buffer of %d bytes", len(l.buf))
			}
		}
	})
}

func bound(n, most int) int {
	return int(uint(n) % uint(most))
}

// simpleLines is what LineReader does, for somebody who has the whole stream.
func simpleLines(input []byte, max int) []string {
	var got []string
	for _, line := range strings.Split(string(input), "\n") {
		line = strings.TrimSuffix(line, "\r")
		switch {
		case len(line) > max:
			got = append(got, "error "+string(CodeFrameTooLarge))
		case strings.Trim(line, " \t\r") != "":
			got = append(got, "line "+line)
		}
	}
	return append(got, "end")
}
