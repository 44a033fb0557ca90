package api

import (
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// Cursors of who is found are good for what they were given for, as they were given.
func TestFoundCursors(t *testing.T) {
	for _, want := range []chat.FoundPos{{Word: "maria", User: 7}, {Word: "優希", User: 1 << 60}, {Word: "a"}} {
		s := formatFound("mar sil", want)
		if got, err := parseFound(s, "mar sil"); err != nil || got != want {
			t.Errorf("%q is read as %+v, %v, want %+v", s, got, err, want)
		}
		for _, other := range []string{s + "A", s + ".", "f1." + s, s[:len(s)-1], "u1.7"} {
			if got, err := parseFound(other, "mar sil"); err == nil && formatFound("mar sil", got) != other {
				t.Errorf("%q is taken for %+v", other, got)
			}
		}
		if got, err := parseFound(s, "mar"); err == nil {
			t.Errorf("a cursor of something else is taken for %+v", got)
		}
	}
	if got, err := parseFound("", "mar"); err != nil || got != (chat.FoundPos{}) {
		t.Errorf("the beginning is %+v, %v", got, err)
	}
}
