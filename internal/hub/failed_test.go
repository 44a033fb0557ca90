package hub

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"
)

// complaints keeps what was logged: what was being done, why it failed, and how often
// that was not said.
type complaints struct {
	slog.Handler

	lines []string
}

func (h *complaints) Enabled(context.Context, slog.Level) bool { return true }

func (h *complaints) Handle(_ context.Context, r slog.Record) error {
	line := ""
	r.Attrs(func(a slog.Attr) bool {
		line += a.Value.String() + " "
		return true
	})
	h.lines = append(h.lines, line)
	return nil
}

// A store that is away is tried every few seconds, and complained of seldom.
func TestAFailureThatGoesOnIsSaidSeldom(t *testing.T) {
	log, now := &complaints{Handler: slog.DiscardHandler}, time.Date(2026, 9, 20, 12, 0, 0, 0, time.UTC)
	h := New(Config{Log: slog.New(log), Now: func() time.Time { return now }})
	defer h.Close()
	moved, full := errors.New("moved"), errors.New("full")
	wants := func(lines ...string) {
		t.Helper()
		if !slices.Equal(log.lines, lines) {
			t.Fatalf("logged %q, want %q", log.lines, lines)
		}
		log.lines = nil
	}
	for range 100 {
		h.failed("scanning", moved)
		now = now.Add(5 * time.Second)
	}
	wants("scanning moved 0 ")
	h.failed("reading", moved) // something else has its own
	h.failed("scanning", full) // and so has another reason
	wants("reading moved 0 ", "scanning full 0 ")
	for now = now.Add(5 * time.Second); len(log.lines) == 0; now = now.Add(5 * time.Second) {
		h.failed("scanning", full)
	}
	wants("scanning full 119 ")
	if !h.scans.again {
		t.Error("the next scan does not look at everything")
	}
}
