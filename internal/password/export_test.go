package password

import (
	"context"
	"testing"
)

// Occupy takes a worker's turn until leave is called.
func (h *Hasher) Occupy(t testing.TB) (leave func()) {
	t.Helper()
	leave, err := h.enter(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return leave
}

// Reprint takes a hash apart and puts it together again.
func Reprint(s string) (string, error) {
	p, err := parse(s)
	return p.String(), err
}
