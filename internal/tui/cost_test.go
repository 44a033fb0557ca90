package tui

import (
	"strings"
	"testing"
	"time"

	"github.com/grima-chat/grima/protocol"
)

// The longest message there may be, of what is hardest to lay out, costs no
// noticeable time.
func TestTheWorstMessageIsDrawnInTime(t *testing.T) {
	for name, unit := range map[string]string{
		"letters": "a", "flags": "🇩", "joined": "👩\u200d", "marks": "e\u0301", "jamo": "\u1100", "hebrew": "א", "mixed": "א1 a(",
		"marks only": "\u0301", "escapes": "\x1b", "lines": "\n", "tabs": "\t", "wide": "界", "invalid": "\xff",
	} {
		content := strings.Repeat(unit, protocol.MaxContent/len(unit))
		f := newFake()
		f.group("c_1", "x")
		f.say("c_1", "u_2", content)
		f.state("c_1")
		began := time.Now()
		play(t, f, 80, 24)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s: %v", name, took)
		} else {
			t.Logf("%s: %v", name, took)
		}
	}
}
