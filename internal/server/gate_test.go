package server

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// enter lets a connection in, or says why not.
func (g *gate) enter(peer netip.Addr) (*ticket, error) {
	t := new(ticket)
	if err := g.admit(t, peer); err != nil {
		return nil, err
	}
	return t, nil
}

func TestGateCountsStrangersPerAddress(t *testing.T) {
	g := newGate(Config{MaxConnections: 10, MaxStrangers: 2})
	here, there := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	enter := func(a netip.Addr, want error) *ticket {
		t.Helper()
		got, err := g.enter(a)
		if !errors.Is(err, want) {
			t.Fatalf("enter(%s): %v, want %v", a, err, want)
		}
		return got
	}
	first := enter(here, nil)
	second := enter(here, nil)
	enter(here, errStrangers)
	third := enter(there, nil)

	first.known() // logged in: makes room for another
	first.known()
	fourth := enter(here, nil)
	enter(here, errStrangers)

	for _, k := range []*ticket{first, second, third, fourth} {
		k.leave()
	}
	if g.open != 0 || len(g.from) != 0 || g.places != [places]int{} {
		t.Errorf("left behind: %d open, %v, %v", g.open, g.from, g.places)
	}
}

func TestGateCountsAllOfAnAddress(t *testing.T) {
	g := newGate(Config{MaxConnections: 10, MaxPerAddress: 2})
	here, there := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:0:1::1")
	var inside []*ticket
	for _, a := range []netip.Addr{here, netip.MustParseAddr("2001:db8::2"), there} {
		k, err := g.enter(a)
		if err != nil {
			t.Fatal(err)
		}
		k.known() // being logged in makes no difference
		inside = append(inside, k)
	}
	if _, err := g.enter(here); !errors.Is(err, errAddress) {
		t.Errorf("a third of two: %v", err)
	}
	inside[1].leave()
	k, err := g.enter(here)
	if err != nil {
		t.Errorf("after one left: %v", err)
	}
	for _, k := range []*ticket{inside[0], inside[2], k} {
		k.leave()
	}
	if g.open != 0 || len(g.from) != 0 || g.places != [places]int{} {
		t.Errorf("left behind: %d open, %v, %v", g.open, g.from, g.places)
	}
}

func TestNoAddressGetsEverything(t *testing.T) {
	for _, tt := range []struct{ all, asked, want int }{
		{100_000, 0, maxPerAddress},
		{500, 0, 250},
		{500, 100, 100},
		{500, 400, 250},
		{500, -1, -1},
	} {
		if g := newGate(Config{MaxConnections: tt.all, MaxPerAddress: tt.asked}); g.perAddress != tt.want {
			t.Errorf("%+v: %d", tt, g.perAddress)
		}
	}
	for _, cfg := range []Config{{MaxPerAddress: 2, NoLimits: true}, {MaxPerAddress: 2, BehindProxy: true}} {
		if g := newGate(cfg); g.perAddress != 0 || g.strangers != 0 {
			t.Errorf("%+v: %d, %d", cfg, g.perAddress, g.strangers)
		}
	}
}

func TestGateHasAnEnd(t *testing.T) {
	g := newGate(Config{MaxConnections: 1, NoLimits: true})
	k, err := g.enter(netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.enter(netip.Addr{}); !errors.Is(err, errFull) {
		t.Errorf("a second of one: %v", err)
	}
	k.leave()
	if _, err := g.enter(netip.Addr{}); err != nil {
		t.Errorf("after the first left: %v", err)
	}
}

func TestOrigin(t *testing.T) {
	for _, pair := range [][2]string{{"2001:db8::1", "2001:db8::2"}} {
		if a, b := origin(netip.MustParseAddr(pair[0])), origin(netip.MustParseAddr(pair[1])); a != b {
			t.Errorf("%s and %s are %s and %s", pair[0], pair[1], a, b)
		}
	}
	if origin(netip.MustParseAddr("192.0.2.1")) == origin(netip.MustParseAddr("192.0.2.2")) {
		t.Error("two IPv4 addresses count as one")
	}
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		ok   bool
	}{
		{"loopback", Config{Listen: "127.0.0.1:7007"}, true},
		{"loopback by name", Config{Listen: "localhost:7007"}, true},
		{"loopback, IPv6", Config{Listen: "[::1]:7007"}, true},
		{"everywhere", Config{Listen: ":7007"}, false},
		{"everywhere, spelled out", Config{Listen: "0.0.0.0:7007"}, false},
		{"a public address", Config{Listen: "192.0.2.1:7007"}, false},
		{"a name", Config{Listen: "chat.example.org:7007"}, false},
		{"with TLS", Config{Listen: ":7007", CertFile: "c", KeyFile: "k"}, true},
		{"behind a proxy", Config{Listen: ":7007", BehindProxy: true}, true},
		{"insecure on purpose", Config{Listen: ":7007", Insecure: true}, true},
		{"a certificate without its key", Config{Listen: "127.0.0.1:7007", CertFile: "c"}, false},
		{"no port", Config{Listen: "127.0.0.1"}, false},
		{"a port that cannot be", Config{Listen: "127.0.0.1:99999"}, false},
		{"a port by name", Config{Listen: "127.0.0.1:http"}, true},
	} {
		if err := tt.cfg.Validate(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// What is kept of each connection is to fit into 576 bytes of memory as Go gives
// it, of which 8 are Go's own; the next size is 64 more.
func TestSizeOfAConnection(t *testing.T) {
	if size := unsafe.Sizeof(arrival{}); size > 568 {
		t.Errorf("%d bytes are kept of a connection", size)
	}
}

// Of what is kept of it, a delivery touches four lines of memory.
func TestWhatADeliveryTouches(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("lines are counted where pointers have 8 bytes")
	}
	const (
		line  = 64
		goOwn = 8 // in front of it
	)
	lines := map[uintptr][]string{}
	for _, path := range []string{
		"conn.seat.sub", "conn.seat.readies", "conn.seat.first.conn", "conn.seat.first.from", "conn.seat.first.pos", "conn.seat.first.state",
		"conn.listener", "conn.out.to.sock", "conn.out.form", "conn.out.bounds", "conn.out.mu", "conn.out.waiting", "conn.out.queued",
		"conn.out.lastPut", "conn.out.holding", "conn.out.broken", "socket.file", "socket.fd",
	} {
		at, of := uintptr(goOwn), reflect.TypeFor[arrival]()
		for name := range strings.SplitSeq("room."+path, ".") {
			f, ok := of.FieldByName(name)
			if !ok {
				t.Fatalf("there is no %s in %s", name, path)
			}
			at, of = at+f.Offset, f.Type
		}
		lines[at/line] = append(lines[at/line], path)
	}
	if len(lines) > 4 {
		t.Errorf("%d lines: %v", len(lines), lines)
	}
}
