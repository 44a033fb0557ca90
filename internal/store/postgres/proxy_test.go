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

	"github.com/grima-chat/grima/internal/tcpproxy"
)

// proxy stands between a store and its database, and fails on demand.
type proxy struct {
	*tcpproxy.Proxy
	url string // of the database, through it

	mu     sync.Mutex
	down   bool // nobody gets to the database
	drop   bool // the next answer to a COMMIT is dropped, and its connection cut
	refuse int  // so many packets of a client later, one is dropped, and its connection cut
	drops  int
}

func newProxy(t testing.TB, database string) *proxy {
	t.Helper()
	conf, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(int(conf.Port))
	network, address := "tcp", net.JoinHostPort(conf.Host, port)
	if strings.HasPrefix(conf.Host, "/") {
		network, address = "unix", conf.Host+"/.s.PGSQL."+port
	}
	p := &proxy{}
	p.Proxy, err = tcpproxy.Start("127.0.0.1", func() (net.Conn, tcpproxy.Pass, error) {
		server, err := net.Dial(network, address)
		if err != nil {
			return nil, nil, err
		}
		if p.isDown() {
			return nil, nil, errors.Join(errors.New("it is down"), server.Close())
		}
		return server, p.pass, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.url = (&url.URL{
		Scheme: "postgres", User: url.UserPassword(conf.User, conf.Password), Host: p.Addr(), Path: "/" + conf.Database,
		RawQuery: "sslmode=disable",
	}).String()
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *proxy) isDown() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.down
}

func (p *proxy) pass(fromClient bool, b []byte) int {
	look := p.answered
	if fromClient {
		look = p.asked
	}
	if len(b) > 0 && !look(b) {
		return 0
	}
	return len(b)
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
