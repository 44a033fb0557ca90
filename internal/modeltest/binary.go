package modeltest

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/grima-chat/grima/internal/harness"
)

// NewBinary gives a Host that is the real thing: the binary at path, in a
// process of its own, which dies by SIGKILL. What it commits is not known here,
// only what it says.
func NewBinary(path string) func(testing.TB, *World) Host {
	return func(t testing.TB, w *World) Host {
		b := &binary{t: t, path: path, data: filepath.Join(t.TempDir(), "data")}
		b.start()
		t.Cleanup(func() { b.process.Kill() })
		return b
	}
}

type binary struct {
	t          testing.TB
	path, data string
	process    *harness.Process
}

func (b *binary) start() {
	p, err := harness.Start(b.path, b.data, nil)
	if err != nil {
		panic(fmt.Sprintf("modeltest: starting the server: %v", err))
	}
	b.process = p
}

func (b *binary) Addrs() []string { return []string{b.process.Addr} }

// Disturb and Lose are for several servers.
func (b *binary) Disturb(*rand.Rand, bool)            {}
func (b *binary) Lose(*rand.Rand, func(string, bool)) {}

func (b *binary) User(name string) (id, token string) {
	token, id, err := harness.Register(b.process.Addr, name)
	if err != nil {
		b.t.Fatal(err)
	}
	return id, token
}

// Crash never goes back in time.
func (b *binary) Crash(bool) {
	b.process.Kill()
	b.start()
}

func (b *binary) Keep()   {}
func (b *binary) Settle() {}

func (b *binary) Restart() {
	if err := b.process.Stop(); err != nil {
		b.t.Errorf("stopping: %v\n%s", err, b.process.Log())
	}
	b.start()
}

func (b *binary) Stop() {
	if err := b.process.Stop(); err != nil {
		b.t.Errorf("stopping: %v\n%s", err, b.process.Log())
	}
}
