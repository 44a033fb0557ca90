package server

import (
	"net/netip"
	"testing"
)

// An address of IPv4 is listened on and no other: 0.0.0.0 once was all of IPv6,
// too.
func TestListensWhereItWasTold(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "0.0.0.0"} {
		s, err := New(Config{Listen: host + ":0", Insecure: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Listen(); err != nil {
			t.Fatal(err)
		}
		at, err := netip.ParseAddrPort(s.Addr().String())
		if err != nil || at.Addr().String() != host {
			t.Errorf("told %s, it listens on %v (%v)", host, s.Addr(), err)
		}
		if err := s.port.Close(); err != nil {
			t.Error(err)
		}
	}
}
