package server

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestControlSocket(t *testing.T) {
	for name, dir := range map[string]string{
		"short": t.TempDir(),
		"long":  filepath.Join(t.TempDir(), strings.Repeat("a-long-name-", 15)),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "control.sock")
			// A server that was killed leaves its socket.
			stale, err := listenControl(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := stale.(*controlSocket).Listener.Close(); err != nil {
				t.Fatal(err)
			}

			ln, err := listenControl(path)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode() != fs.ModeSocket|0o600 {
				t.Errorf("mode %v", info.Mode())
			}
			accepted := make(chan error, 1)
			go func() {
				nc, err := ln.Accept()
				if err == nil {
					err = nc.Close()
				}
				accepted <- err
			}()
			nc, err := DialControl(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if err := nc.Close(); err != nil {
				t.Error(err)
			}
			if err := <-accepted; err != nil {
				t.Error(err)
			}
			if err := ln.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); !os.IsNotExist(err) {
				t.Errorf("the socket is still there: %v", err)
			}
			if _, err := DialControl(t.Context(), path); err == nil {
				t.Error("connected to nobody")
			}
		})
	}
}

func TestControlSocketDoesNotRemoveWhatIsNoSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ln, err := listenControl(path); err == nil {
		t.Errorf("listens at %s", ln.Addr())
	}
	if b, err := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the file is %q, %v", b, err)
	}
}
