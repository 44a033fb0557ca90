package testserver

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/grima-chat/grima/internal/tcpproxy"
)

// Proxy stands between clients and a server, which may move, and kills
// connections after a random number of bytes. Its methods may be called from any
// goroutine.
type Proxy struct {
	way *tcpproxy.Proxy

	mu     sync.Mutex
	rng    *rand.Rand
	target string // empty: nobody is there
	least  int    // bytes of either direction until a connection is killed,
	most   int    // at random between these; 0: never
	step   int    // how much longer each lives than the one before
	kills  int
}

// StartProxy starts a proxy before target that ends with the test.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p := &Proxy{target: target, rng: rand.New(rand.NewPCG(1, 2))}
	way, err := tcpproxy.Start("127.0.0.1", p.connect)
	if err != nil {
		t.Fatal(err)
	}
	p.way = way
	t.Cleanup(way.Close)
	return p
}

// Addr is where clients connect.
func (p *Proxy) Addr() string { return p.way.Addr() }

// KillBetween lets every later connection live for some bytes only.
func (p *Proxy) KillBetween(least, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.least, p.most, p.step = least, most, 0
}

// To says where the server is, and kills what goes elsewhere. Empty: nowhere.
func (p *Proxy) To(target string) {
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.KillAll()
}

// KillLater lets every later connection live for a byte more than the one before,
// beginning with one byte.
func (p *Proxy) KillLater() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.least, p.most, p.step = 1, 1, 1
}

// Life is how many bytes the next connection will live for.
func (p *Proxy) Life() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.least
}

// Killed is how many connections were killed by KillBetween.
func (p *Proxy) Killed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kills
}

// KillAll ends every connection there is.
func (p *Proxy) KillAll() { p.way.Cut(false) }

// connect lets a connection live for as long as it is to.
func (p *Proxy) connect() (net.Conn, tcpproxy.Pass, error) {
	p.mu.Lock()
	target, left := p.target, 1<<62 // bytes until the end
	if p.most > 0 {
		left = p.least + p.rng.IntN(p.most-p.least+1)
		p.least, p.most = p.least+p.step, p.most+p.step
	}
	p.mu.Unlock()
	if target == "" {
		return nil, nil, errors.New("nobody is there")
	}
	up, err := net.Dial("tcp", target)
	return up, func(_ bool, b []byte) int {
		p.mu.Lock()
		defer p.mu.Unlock()
		n := min(len(b), left)
		left -= n
		if n < len(b) {
			p.kills++
		}
		return n
	}, err
}
