package login

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

func TestLogins(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	if _, err := Find("", ""); !errors.Is(err, ErrNone) {
		t.Errorf("at first: %v", err)
	}
	if _, err := Find("", "gt_x"); err == nil {
		t.Error("a token without a server was taken")
	}
	if l, err := Find("localhost", "gt_x"); err != nil || l != (Login{Server: "grima://localhost:7007", Token: "gt_x"}) {
		t.Errorf("from the environment: %+v, %v", l, err)
	}
	ana, eve := Login{Server: "grima://localhost:7007", Token: "gt_ana", Username: "ana"}, Login{Server: "grimas://example.com:7007", Token: "gt_eve"}
	for _, l := range []Login{ana, eve} {
		if before, err := Keep(l, Off); err != nil || before != nil {
			t.Errorf("kept over %+v, %v", before, err)
		}
	}
	path, err := Path()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for _, c := range []struct {
		server, token string
		want          Login
	}{
		{"", "", eve},
		{"localhost", "", ana},
		{"", "gt_other", Login{Server: eve.Server, Token: "gt_other"}},
	} {
		if l, err := Find(c.server, c.token); err != nil || l != c.want {
			t.Errorf("%q, %q: %+v, %v", c.server, c.token, l, err)
		}
	}
	if _, err := Find("grimas://elsewhere", ""); !errors.Is(err, ErrNone) {
		t.Errorf("elsewhere: %v", err)
	}
	again := ana
	again.Token = "gt_ana2"
	if before, err := Keep(again, Off); err != nil || before == nil || *before != ana {
		t.Errorf("kept over %+v, %v", before, err)
	}
	if err := errors.Join(Forget(ana), Forget(eve)); err != nil {
		t.Fatal(err)
	}
	if l, err := Find("", ""); err != nil || l != again {
		t.Errorf("in the end: %+v, %v", l, err)
	}
}

// Each read the file, and the last who wrote it had all others forgotten.
func TestLoginsAtOnce(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	const people = 16
	of := func(n int) Login {
		return Login{Server: fmt.Sprintf("grimas://example%d.com:7007", n), Token: fmt.Sprint("gt_", n)}
	}
	if _, err := Keep(of(people), Off); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for n := range people {
		all.Go(func() {
			if before, err := Keep(of(n), Off); err != nil || before != nil {
				t.Errorf("kept over %+v, %v", before, err)
			}
		})
	}
	all.Go(func() {
		if err := Forget(of(people)); err != nil {
			t.Error(err)
		}
	})
	all.Wait()
	for n := range people {
		if l, err := Find(of(n).Server, ""); err != nil || l != of(n) {
			t.Errorf("%d: %+v, %v", n, l, err)
		}
	}
	if l, err := Find(of(people).Server, ""); !errors.Is(err, ErrNone) {
		t.Errorf("forgotten: %+v, %v", l, err)
	}
}
