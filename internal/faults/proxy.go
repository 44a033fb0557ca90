package faults

import (
	"fmt"
	"io"
	"net"
	"sync"
)

// proxy is a way to a server that can break: without a word, as a network does
// that has lost its route, or by cutting what goes through it.
type proxy struct {
	network, address string // of the server
	listener         net.Listener
	threads          sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // both sides of all that goes through
	stuck chan struct{}     // nothing gets on until it is closed; nil: it does
	shut  bool              // whoever comes is sent away
	over  bool
}

// newProxy makes a proxy at an address of this machine.
func newProxy(host, network, address string) (*proxy, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("a proxy to %s: %w", address, err)
	}
	p := &proxy{network: network, address: address, listener: l, conns: map[net.Conn]bool{}}
	p.threads.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.threads.Go(func() { p.serve(c) })
		}
	})
	return p, nil
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) host() string { return p.listener.Addr().(*net.TCPAddr).IP.String() }

func (p *proxy) close() {
	_ = p.listener.Close() // which ends its goroutine
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	p.stick(false)
	p.drop(true)
	p.threads.Wait()
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

// drop cuts all connections, and lets new ones in or not.
func (p *proxy) drop(shut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = shut
	for c := range p.conns {
		_ = c.Close() // it may be closed already
	}
}

// enter notes one side of a connection, if there may be one.
func (p *proxy) enter(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut || p.over {
		_ = c.Close() // without a word
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) leave(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close() // it may be closed already
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

func (p *proxy) serve(client net.Conn) {
	if !p.enter(client) {
		return
	}
	defer p.leave(client)
	p.pass()
	server, err := net.Dial(p.network, p.address)
	if err != nil || !p.enter(server) {
		return
	}
	defer p.leave(server)
	var back sync.WaitGroup
	back.Go(func() { p.copy(client, server) })
	p.copy(server, client)
	back.Wait()
}

// copy goes on until one side ends, and ends the other.
func (p *proxy) copy(to, from net.Conn) {
	defer func() { _ = to.Close() }() // it may be closed already
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.pass()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err != io.EOF {
				_ = from.Close() // cut
			}
			return
		}
	}
}
