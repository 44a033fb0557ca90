package modeltest

import (
	"fmt"
	"testing"

	"github.com/grima-chat/grima/internal/harness"
)

// The same people, against the real binary, which is killed with SIGKILL.
func TestBinary(t *testing.T) {
	path, err := harness.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(3)
	if underRace {
		n = 1 // the binary is not built with it
	}
	for seed := range n {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			o := scenario(100 + seed)
			o.Host, o.Lines = NewBinary(path), []line{plain, overWebSocket}
			v, counts := Run(t, o)
			if v != nil {
				t.Fatal(v)
			}
			t.Log(tally(counts))
		})
	}
}
