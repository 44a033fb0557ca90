package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/storetest"
)

// A stop asks the store whether the owner's link is of use still, if there is
// one, and does not wait for ever for a store that is away (it did).
func TestStopWithAStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &away{Store: storetest.NewMemory()}
		store.gone.Store(true)
		svc, data := chat.NewService(chat.Config{Store: store}), t.TempDir()
		began := time.Now()
		if err := dropOwnerLink(t.Context(), svc, data); err != nil || time.Since(began) != 0 {
			t.Errorf("without a link: %v after %v", err, time.Since(began))
		}
		link := filepath.Join(data, ownerLinkFile)
		if err := writeOwn(link, "a link"); err != nil {
			t.Fatal(err)
		}
		if err := dropOwnerLink(t.Context(), svc, data); chat.CodeOf(err) != chat.CodeTimeout || time.Since(began) != lookForUsers {
			t.Errorf("with one: %v after %v", err, time.Since(began))
		}
		if _, err := os.Stat(link); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// What it tells people to type works where it says so.
func TestBannerSaysWhereToConnect(t *testing.T) {
	for at, want := range map[string]string{
		"127.0.0.1:7007": "  nc 127.0.0.1 7007\n  curl -s http://127.0.0.1:7007/v1/openapi.json\n",
		"[::1]:7007":     "  nc ::1 7007\n  curl -s http://[::1]:7007/v1/openapi.json\n",
		"[::]:7007":      "  nc localhost 7007\n  curl -s http://localhost:7007/v1/openapi.json\n",
		"0.0.0.0:7007":   "  nc localhost 7007\n  curl -s http://localhost:7007/v1/openapi.json\n",
	} {
		var out strings.Builder
		banner(&out, &serveFlags{Insecure: true}, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(at)), "")
		if !strings.Contains(out.String(), want) || !strings.HasSuffix(out.String(), "\ngrima: listening on "+at+"\n") {
			t.Errorf("of %s:\n%s", at, out.String())
		}
	}
}

// It names the store that everything is in, and not its password.
func TestBannerSaysWhereDataAre(t *testing.T) {
	for store, want := range map[string]string{
		sqliteStore:                            "data in /srv/grima\n",
		"postgres://grima:sesame@db.host/chat": "data in postgres://grima@db.host/chat · control socket in /srv/grima\n",
	} {
		var out strings.Builder
		f := &serveFlags{dataFlags: dataFlags{Data: "/srv/grima", Store: store}}
		banner(&out, f, net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:7007")), "")
		first, _, _ := strings.Cut(out.String(), "\n")
		if !strings.HasSuffix(first+"\n", want) || strings.Contains(first, "SQLite") != (store == sqliteStore) {
			t.Errorf("with %s: %s", store, first)
		}
	}
}
