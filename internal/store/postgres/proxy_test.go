package postgres

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// proxy stands between a store and its database, and fails on demand.
type proxy struct {
	url     string // of the database, through it
	network string
	address string

	mu     sync.Mutex
	down   bool
	drop   bool // the next answer to a COMMIT is dropped, and its connection cut
	refuse int  // so many packets of a client later, one is dropped, and its connection cut
	conns  map[net.Conn]bool
	drops  int
	thread sync.WaitGroup
}

func newProxy(t testing.TB, database string) *proxy {
	t.Helper()
	conf, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(int(conf.Port))
	p := &proxy{network: "tcp", address: net.JoinHostPort(conf.Host, port), conns: map[net.Conn]bool{}}
	if strings.HasPrefix(conf.Host, "/") {
		p.network, p.address = "unix", conf.Host+"/.s.PGSQL."+port
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.url = (&url.URL{
		Scheme: "postgres", User: url.UserPassword(conf.User, conf.Password), Host: l.Addr().String(), Path: "/" + conf.Database,
		RawQuery: "sslmode=disable",
	}).String()
	p.thread.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.thread.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		p.cut(true)
		p.thread.Wait()
	})
	return p
}

// cut ends all connections, and if down, lets no new ones in.
func (p *proxy) cut(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	for c := range p.conns {
		_ = c.Close() // it may be closed already
	}
}

func (p *proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial(p.network, p.address)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	if p.down {
		p.mu.Unlock()
		return
	}
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	defer p.set(func() { delete(p.conns, client); delete(p.conns, server) })

	var both sync.WaitGroup
	pass := func(to, from net.Conn, look func([]byte) bool) {
		defer func() { _ = errors.Join(to.Close(), from.Close()) }()
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 && !look(buf[:n]) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
			if err != nil {
				return
			}
		}
	}
	both.Go(func() { pass(server, client, p.asked) })
	both.Go(func() { pass(client, server, p.answered) })
	both.Wait()
}

// commitAnswer is what a server says when a COMMIT is done.
var commitAnswer = []byte("C\x00\x00\x00\x0bCOMMIT\x00")

func (p *proxy) answered(b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.drop || !bytes.Contains(b, commitAnswer) {
		return true
	}
	p.drop = false
	p.drops++
	return false
}

func (p *proxy) asked([]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse == 0 {
		return true
	}
	p.refuse--
	if p.refuse > 0 {
		return true
	}
	p.drops++
	return false
}

var _ io.Closer = (*Store)(nil)
