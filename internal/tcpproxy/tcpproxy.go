// Package tcpproxy carries connections of tests to a server, so that they can be
// cut, held up and looked at on their way.
package tcpproxy

import (
	"fmt"
	"net"
	"sync"
)

// Pass is told what was read of one side of a connection and says how much of it
// goes on: less than all cuts the connection behind that. It may wait. What is
// empty is the end of that side. It is called from two goroutines, one a side.
type Pass func(fromClient bool, b []byte) int

// Proxy is a way to a server. Its methods may be called from any goroutine.
type Proxy struct {
	listener net.Listener
	connect  func() (net.Conn, Pass, error)
	threads  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // both sides of all that goes through
	shut  bool              // whoever comes is sent away
	over  bool
}

// Start begins to listen at a free port of an address of this machine. connect
// makes the connection to the server for who comes to it; an error sends him away,
// without a word.
func Start(host string, connect func() (net.Conn, Pass, error)) (*Proxy, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("listening for a proxy: %w", err)
	}
	p := &Proxy{listener: l, connect: connect, conns: map[net.Conn]bool{}}
	p.threads.Go(p.accept)
	return p, nil
}

// Addr is where clients connect.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut ends all connections, and lets new ones in or not.
func (p *Proxy) Cut(shut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = shut
	for c := range p.conns {
		_ = c.Close() // it may be closed already
	}
}

// Close ends it, and waits for what it started: no Pass may wait for more.
func (p *Proxy) Close() {
	_ = p.listener.Close() // which ends its goroutine
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	p.Cut(true)
	p.threads.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.threads.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	if !p.enter(client) {
		return
	}
	defer p.leave(client)
	server, pass, err := p.connect()
	if err != nil || !p.enter(server) {
		return
	}
	defer p.leave(server)
	var back sync.WaitGroup
	back.Go(func() { carry(client, server, func(b []byte) int { return pass(false, b) }) })
	carry(server, client, func(b []byte) int { return pass(true, b) })
	back.Wait()
}

// enter notes one side of a connection, if there may be one.
func (p *Proxy) enter(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut || p.over {
		_ = c.Close() // without a word
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) leave(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close() // it may be closed already
}

// carry goes on until one side ends, and ends both.
func carry(to, from net.Conn, pass func([]byte) int) {
	defer func() { _, _ = to.Close(), from.Close() }() // they may be closed already
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		m := pass(buf[:n])
		if m > 0 {
			if _, err := to.Write(buf[:m]); err != nil {
				return
			}
		}
		if err != nil || m < n {
			return
		}
	}
}
