package faults

import (
	"fmt"
	"net"
	"sync"

	"github.com/grima-chat/grima/internal/tcpproxy"
)

// proxy is a way to a server that can break: without a word, as a network does
// that has lost its route, or by cutting what goes through it.
type proxy struct {
	*tcpproxy.Proxy

	mu    sync.Mutex
	stuck chan struct{} // nothing gets on until it is closed; nil: it does
	over  bool
}

// newProxy makes a proxy at an address of this machine.
func newProxy(host, network, address string) (*proxy, error) {
	p := &proxy{}
	carry := func(_ bool, b []byte) int {
		p.pass()
		return len(b)
	}
	var err error
	p.Proxy, err = tcpproxy.Start(host, func() (net.Conn, tcpproxy.Pass, error) {
		p.pass()
		server, err := net.Dial(network, address)
		return server, carry, err
	})
	if err != nil {
		return nil, fmt.Errorf("a proxy to %s: %w", address, err)
	}
	return p, nil
}

// host is the address it is at, without the port.
func (p *proxy) host() string {
	host, _, _ := net.SplitHostPort(p.Addr()) // a listener's has both
	return host
}

func (p *proxy) close() {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	p.stick(false)
	p.Close()
}

// stick lets nothing through any more, in either direction, and nobody knows;
// or lets everything through that waited.
func (p *proxy) stick(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.stuck == nil && !p.over:
		p.stuck = make(chan struct{})
	case !on && p.stuck != nil:
		close(p.stuck)
		p.stuck = nil
	}
}

// pass waits until something gets on.
func (p *proxy) pass() {
	p.mu.Lock()
	stuck := p.stuck
	p.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
}
