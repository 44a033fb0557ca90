package main

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The TypeScript SDK speaks the protocol that the server does.
func TestUpToDate(t *testing.T) {
	want, err := generate("../../../protocol")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../sdk/ts/src/protocol.gen.ts")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("sdk/ts/src/protocol.gen.ts is not what the protocol is now; run: %s\n(-want +got):\n%s", command, diff)
	}
}
