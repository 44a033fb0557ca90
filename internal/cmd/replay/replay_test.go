package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestSaysTwoDaysAtTheHarbourAndReadsThemBack(t *testing.T) {
	for name, args := range map[string][]string{
		"accounts by the operator": {"-logs", "testdata", "-again"},
		"accounts registered":      {"-logs", "testdata", "-register", "-files", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, diag bytes.Buffer
			if err := run(t.Context(), args, &out, &diag); err != nil {
				t.Fatalf("%v\n%s%s", err, &diag, &out)
			}
			for _, want := range []string{
				"logs: 2, with 13 messages by 5 nicks; 4 other lines left out; 1 messages without text (sent as one blank), 1 with invalid UTF-8",
				"sent: 13 messages into 2 groups",
				"equal: all 13 messages of 2 groups",
			} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, &out)
				}
			}
		})
	}
}

func TestUsernamesOfNicksAreValidAndDifferent(t *testing.T) {
	for i, nick := range []string{"Ada", "ada", "[crane]", "``", "9lives", strings.Repeat("x", 60), "naïve"} {
		got := username(nick, i)
		if len(got) > 32 || strings.Trim(got, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || got[0] < 'a' {
			t.Errorf("%q became %q", nick, got)
		}
	}
	if username("Ada", 1) == username("ada", 2) {
		t.Error("two nicks share a username")
	}
}
