//go:build linux

package client_test

import (
	"path/filepath"
	"testing"

	"github.com/grima-chat/grima/internal/harness"
)

// program is the real program, with two people in a group.
type program struct {
	*harness.Process

	bin, data string
	ana, bob  string // tokens
	says      *harness.Conn
	port      string // the group
}

func startProgram(t *testing.T) *program {
	t.Helper()
	bin, err := harness.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &program{bin: bin, data: filepath.Join(t.TempDir(), "data")}
	r.start(t)
	t.Cleanup(func() { r.Kill() })
	var bobID string
	if r.ana, _, err = harness.Register(r.Addr, "ana"); err != nil {
		t.Fatal(err)
	}
	if r.bob, bobID, err = harness.Register(r.Addr, "bob"); err != nil {
		t.Fatal(err)
	}
	r.says = r.login(t, r.ana)
	if r.port, err = harness.CreateGroup(r.says, "Port", []string{bobID}); err != nil {
		t.Fatal(err)
	}
	return r
}

// start starts the program on the data that is there.
func (r *program) start(t *testing.T) {
	t.Helper()
	p, err := harness.Start(r.bin, r.data, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Process = p
}

// login gives a connection that hears no events.
func (r *program) login(t *testing.T, token string) *harness.Conn {
	t.Helper()
	c, err := harness.Login(r.Addr, token, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
