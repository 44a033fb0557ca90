package testserver

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Proxy stands between clients and a server, which may move, and kills
// connections after a random number of bytes. Its methods may be called from any
// goroutine.
type Proxy struct {
	t  testing.TB
	l  net.Listener
	wg sync.WaitGroup

	mu     sync.Mutex
	rng    *rand.Rand
	target string // empty: nobody is there
	least  int    // bytes of either direction until a connection is killed,
	most   int    // at random between these; 0: never
	step   int    // how much longer each lives than the one before
	conns  map[net.Conn]bool
	closed bool
	kills  int
}

// StartProxy starts a proxy before target that ends with the test.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{t: t, l: l, target: target, rng: rand.New(rand.NewPCG(1, 2)), conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		_ = l.Close()
		p.KillAll()
		p.wg.Wait()
	})
	return p
}

// Addr is where clients connect.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

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
func (p *Proxy) KillAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) accept() {
	for {
		down, err := p.l.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.carry(down) })
	}
}

func (p *Proxy) carry(down net.Conn) {
	defer down.Close()
	p.mu.Lock()
	target, life := p.target, 1<<62
	if p.most > 0 {
		life = p.least + p.rng.IntN(p.most-p.least+1)
		p.least, p.most = p.least+p.step, p.most+p.step
	}
	p.mu.Unlock()
	if target == "" {
		return
	}
	up, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer up.Close()
	p.mu.Lock()
	p.conns[down], p.conns[up] = true, true
	closed := p.closed || p.target != target // and nobody has killed it
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, down)
		delete(p.conns, up)
		p.mu.Unlock()
	}()
	if closed {
		return
	}
	left := make(chan int, 1) // bytes until the end
	left <- life
	var wg sync.WaitGroup
	pipe := func(to, from net.Conn) {
		defer to.Close()
		defer from.Close()
		buf := make([]byte, 4096)
		for {
			n, err := from.Read(buf)
			l := <-left
			m := min(n, l)
			left <- l - m
			if _, werr := to.Write(buf[:m]); werr != nil || err != nil {
				return
			}
			if m < n {
				p.mu.Lock()
				p.kills++
				p.mu.Unlock()
				return
			}
		}
	}
	wg.Go(func() { pipe(up, down) })
	pipe(down, up)
	wg.Wait()
}
