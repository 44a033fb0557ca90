// Package faults lets things go wrong around three servers with a PostgreSQL and
// a NATS between them, while people talk: servers are killed and frozen, networks
// part, NATS and PostgreSQL go and come back, hints are made by hand. Each time it
// holds what was acknowledged against what is stored and against what everybody
// was told, and measures how long that took.
//
// The servers are real processes, the people are the SDK, and on the ways from
// the servers to PostgreSQL and NATS there are proxies. The tests play a short
// version of each fault; internal/cmd/faults the long one, and prints a table.
package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	nats "github.com/nats-io/nats-server/v2/server"

	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/internal/hub/natsbus/natstest"
	"github.com/grima-chat/grima/internal/pgtest"
)

// prefix begins the subjects at NATS.
const prefix = "faults"

// Cluster is servers on one PostgreSQL, tied together by a NATS.
type Cluster struct {
	bin, dir string
	postgres *pgtest.Cluster
	nats     *bus
	database string // its URL, not through a proxy
	nodes    []*node

	people []person
}

// node is one of the servers. It keeps its name and its data, and has another
// address each time that it is started.
type node struct {
	name, conf, data, role string
	toPostgres, toNATS     *proxy

	mu      sync.Mutex
	process *harness.Process // nil: there is none
}

type person struct{ name, id, token string }

// Start starts a PostgreSQL, a NATS, and a server for each of roles ("all",
// "data", "stream"), from the binary bin, with everything in dir, and makes so
// many people. Close must be called.
func Start(bin, dir string, people int, roles ...string) (c *Cluster, err error) {
	c = &Cluster{bin: bin, dir: dir}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if Inside() {
		if err := settle(); err != nil {
			return c, err
		}
	}
	if c.postgres, err = pgtest.Open(); err != nil {
		return c, err
	}
	if c.database, err = c.postgres.Database(context.Background()); err != nil {
		return c, err
	}
	c.nats = &bus{}
	if err := c.nats.start(); err != nil {
		return c, err
	}
	for i, role := range roles {
		n := &node{name: fmt.Sprintf("n%d", i+1), role: role}
		c.nodes = append(c.nodes, n)
		if err := c.join(n); err != nil {
			return c, err
		}
	}
	return c, c.meet(people)
}

// join makes the ways of a server to the others, and starts it.
func (c *Cluster) join(n *node) (err error) {
	one, other := "127.0.0.1", "127.0.0.1"
	if Inside() { // ways that can be told apart
		one, other = fmt.Sprintf("127.0.5.%d", len(c.nodes)), fmt.Sprintf("127.0.6.%d", len(c.nodes))
	}
	if n.toPostgres, err = newProxy(one, "unix", c.postgres.Socket()); err != nil {
		return err
	}
	if n.toNATS, err = newProxy(other, "tcp", c.nats.addr()); err != nil {
		return err
	}
	_, rest, _ := strings.Cut(c.database, "@")
	_, path, _ := strings.Cut(rest, "/")
	name, _, _ := strings.Cut(path, "?")
	n.data, n.conf = filepath.Join(c.dir, n.name), filepath.Join(c.dir, n.name+".conf")
	conf := fmt.Sprintf("store = \"postgres://grima_test:grima@%s/%s?sslmode=disable\"\nbus = nats://%s\nbus-prefix = %s\nserver-id = %s\nrole = %s\n",
		n.toPostgres.Addr(), name, n.toNATS.Addr(), prefix, n.name, n.role)
	if err := os.WriteFile(n.conf, []byte(conf), 0o600); err != nil {
		return err
	}
	return c.start(n)
}

func (c *Cluster) start(n *node) error {
	p, err := harness.Start(c.bin, n.data, nil, "--config", n.conf)
	if err != nil {
		return fmt.Errorf("starting %s: %w", n.name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.process = p
	return nil
}

// kill ends a server as a failing machine does.
func (n *node) kill() {
	n.mu.Lock()
	p := n.process
	n.process = nil
	n.mu.Unlock()
	if p != nil {
		p.Kill()
	}
}

// addr is where the server is; empty: nowhere.
func (n *node) addr() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return ""
	}
	return n.process.Addr
}

// log is the end of what the server printed.
func (n *node) log() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return ""
	}
	return n.process.Log()
}

// meet makes the people.
func (c *Cluster) meet(people int) error {
	var serving *node
	for _, n := range c.nodes {
		if n.role != "stream" {
			serving = n
		}
	}
	for i := range people {
		p := person{name: fmt.Sprintf("person%d", i)}
		var err error
		if p.token, p.id, err = harness.Register(serving.addr(), p.name); err != nil {
			return err
		}
		c.people = append(c.people, p)
	}
	return nil
}

// Close ends everything.
func (c *Cluster) Close() {
	for _, n := range c.nodes {
		n.kill()
		for _, p := range []*proxy{n.toPostgres, n.toNATS} {
			if p != nil {
				p.close()
			}
		}
	}
	if c.nats != nil {
		c.nats.stop()
	}
	if c.postgres != nil {
		c.postgres.Close()
	}
}

// Missing reports whether Start failed since there is no PostgreSQL here.
func Missing(err error) bool { return errors.Is(err, pgtest.ErrMissing) }

// bus is a NATS that goes and comes back at its port.
type bus struct {
	port int
	srv  *nats.Server // nil: stopped
}

func (b *bus) addr() string { return net.JoinHostPort("127.0.0.1", fmt.Sprint(b.port)) }

func (b *bus) start() error {
	if b.port == 0 {
		port, err := natstest.Port()
		if err != nil {
			return fmt.Errorf("finding a port for NATS: %w", err)
		}
		b.port = port
	}
	srv, err := nats.NewServer(&nats.Options{Host: "127.0.0.1", Port: b.port, NoLog: true, NoSigs: true})
	if err != nil {
		return fmt.Errorf("starting NATS: %w", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(time.Minute) {
		return errors.New("NATS does not start")
	}
	b.srv = srv
	return nil
}

// stop ends it as kill does: nobody is told.
func (b *bus) stop() {
	if b.srv != nil {
		b.srv.Shutdown()
		b.srv.WaitForShutdown()
		b.srv = nil
	}
}

// pause waits, unless the context ends before.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
