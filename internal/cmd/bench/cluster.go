//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/internal/pgtest"
	"github.com/grima-chat/grima/internal/store/postgres"
)

// arrangement is how many servers there are on which store.
type arrangement struct {
	name  string
	nodes int
	share float64 // of a processor, that each node gets where they are bounded
	// bounded alone: what it does with all there is was measured beside another
	// arrangement, which is the same then.
	bounded bool
	store   string // PostgreSQL's URL; empty: SQLite
	w       *crowd
}

// shareOf is what one node gets: so little that three of them, PostgreSQL, NATS
// and the clients find room on two processors.
const shareOf = 0.25

const (
	oneOnSQLite  = "SQLite, one node"
	oneOnPG      = "PostgreSQL, one node"
	threeOnPG    = "PostgreSQL + NATS, three nodes"
	oneLargeOnPG = "PostgreSQL, one node with the share of three"
)

// clusterSizes are how many of everything there are.
type clusterSizes struct {
	teams, team int // rooms, and people in each
	halls, hall int
	senders     int // with one send under way each
	idle        time.Duration
}

var (
	fullCluster  = clusterSizes{teams: 128, team: 30, halls: 16, hall: 300, senders: 256, idle: 2 * time.Second}
	quickCluster = clusterSizes{teams: 8, team: 6, halls: 2, hall: 30, senders: 16, idle: time.Second / 5}
)

// clusterRun is a run of suite cluster.
type clusterRun struct {
	*bench
	size    clusterSizes
	pg      *pgtest.Cluster
	pgGroup *group
	bus     *child
	natsURL string // empty: one is built and started
	natsGrp *group
	ways    []*arrangement
	said    int64 // so many client_msg_ids were given out
	ended   []func() error
}

func runCluster(b *bench) error {
	c := &clusterRun{bench: b, size: fullCluster}
	if b.quick {
		c.size = quickCluster
	}
	return c.run()
}

func (c *clusterRun) run() (err error) {
	b := c.bench
	if err := b.prepareLive(); err != nil {
		return err
	}
	defer func() {
		for i := len(c.ended) - 1; i >= 0; i-- {
			err = errors.Join(err, c.ended[i]())
		}
	}()
	if err := c.prepare(); err != nil {
		return err
	}
	for _, a := range c.ways {
		if !a.bounded {
			b.plan(a.name+", all there is", func(round int) error { return c.beside(a, false, round, c.unbounded) })
		}
		b.plan(a.name+", bounded", func(round int) error { return c.beside(a, true, round, c.shared) })
	}
	if err := b.playSteps(); err != nil {
		return err
	}
	for _, a := range c.ways {
		if err := c.disk(a); err != nil {
			return err
		}
	}
	c.tell()
	return nil
}

// prepare starts PostgreSQL and NATS and writes the people into every store.
func (c *clusterRun) prepare() (err error) {
	if c.pgGroup, err = c.newGroup("postgres"); err != nil {
		return err
	}
	if c.natsGrp, err = c.newGroup("nats"); err != nil {
		return err
	}
	c.progress("starting PostgreSQL and NATS")
	// As it comes from the distributor, save that it may have more of the log
	// before it copies: as everybody sets it who writes much.
	if c.pg, err = pgtest.Open("autovacuum_naptime = 1min", "max_wal_size = 4GB"); err != nil {
		return fmt.Errorf("starting PostgreSQL: %w", err)
	}
	c.ended = append(c.ended, func() error { c.pg.Close(); return nil })
	children, err := childrenOf(c.pg.Pid())
	if err != nil {
		return err
	}
	for _, pid := range append(children, c.pg.Pid()) {
		if err := c.pgGroup.take(pid); err != nil && !errors.Is(err, unix.ESRCH) { // a backend that has ended
			return err
		}
	}
	if c.natsURL == "" {
		if err := c.startNATS(); err != nil {
			return err
		}
	}
	c.ways = []*arrangement{
		{name: oneOnSQLite, nodes: 1, share: shareOf},
		{name: oneOnPG, nodes: 1, share: shareOf},
		{name: threeOnPG, nodes: 3, share: shareOf},
		{name: oneLargeOnPG, nodes: 1, share: 3 * shareOf, bounded: true},
	}
	for _, a := range c.ways {
		c.progress("writing people and rooms: %s", a.name)
		if err := c.people(a); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	return nil
}

// newGroup is a group that is removed at the end.
func (c *clusterRun) newGroup(name string) (*group, error) {
	g, err := newGroup(name)
	if err != nil {
		return nil, err
	}
	c.ended = append(c.ended, g.remove)
	return g, nil
}

func (c *clusterRun) startNATS() error {
	bin, err := c.buildNATS()
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	addr := net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
	file := filepath.Join(c.tmp, "nats.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, "listen: %q\n", addr), 0o600); err != nil {
		return err
	}
	if c.bus, _, err = startChild(c.ctx, addr, append(c.natsGrp.wrap(), bin, "-c", file)...); err != nil {
		return fmt.Errorf("starting NATS: %w", err)
	}
	c.natsURL = "nats://" + addr
	c.ended = append(c.ended, func() error { c.bus.kill(); return nil })
	return nil
}

// people writes everybody into an arrangement's store.
func (c *clusterRun) people(a *arrangement) (err error) {
	var rooms []roomOf
	people := 0
	for i := range c.size.teams + c.size.halls {
		n := c.size.team
		if i >= c.size.teams {
			n = c.size.hall
		}
		rooms = append(rooms, roomOf{from: people, to: people + n})
		people += n
	}
	if a.name == oneOnSQLite {
		a.w, err = c.makeCrowd(filepath.Join(c.tmp, "cluster"), people, 0, rooms)
		return err
	}
	if a.store, err = c.pg.Database(c.ctx); err != nil {
		return err
	}
	store, err := postgres.Open(c.ctx, postgres.Config{URL: a.store})
	if err != nil {
		return err
	}
	a.w = &crowd{people: people}
	err = a.w.fill(c.ctx.Err, store, rooms)
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	_, err = c.query(a, `ANALYZE`)
	return err
}

// query asks an arrangement's PostgreSQL for a number; 0 for a statement
// without rows.
func (c *clusterRun) query(a *arrangement, sql string) (float64, error) {
	ctx, cancel := context.WithTimeout(c.ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, a.store)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var v float64
	for rows.Next() {
		if err := rows.Scan(&v); err != nil {
			return 0, err
		}
	}
	return v, rows.Err()
}

// roomOfHall is the index of the i-th hall among the rooms, and firstOf that of
// the first person of a room.
func (z clusterSizes) roomOfHall(i int) int { return z.teams + i }

func (z clusterSizes) firstOf(room int) int {
	if room < z.teams {
		return room * z.team
	}
	return z.teams*z.team + (room-z.teams)*z.hall
}

// standing is an arrangement whose servers run.
type standing struct {
	*clusterRun
	a     *arrangement
	round int
	nodes []*member
}

type member struct {
	p *harness.Process
	g *group
}

// beside starts an arrangement's servers, runs do, and ends them.
func (c *clusterRun) beside(a *arrangement, bounded bool, round int, do func(*standing) error) (err error) {
	s := &standing{clusterRun: c, a: a, round: round}
	defer func() {
		for _, m := range s.nodes {
			log := ""
			if m.p != nil {
				m.p.Kill()
				log = m.p.Log()
			}
			if err != nil && log != "" && c.ctx.Err() == nil {
				err = fmt.Errorf("%w; the end of a node's log: %.500s", err, log[max(0, len(log)-500):])
			}
			err = errors.Join(err, m.g.remove())
		}
		settle()
	}()
	for i := range a.nodes {
		if err := s.start(i, bounded); err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
	}
	return do(s)
}

func (s *standing) start(i int, bounded bool) error {
	s.live.starts++
	name := fmt.Sprintf("node-%d", s.live.starts)
	g, err := newGroup(name)
	if err != nil {
		return err
	}
	m := &member{g: g}
	s.nodes = append(s.nodes, m)
	dir := filepath.Join(s.tmp, name)
	s.ended = append(s.ended, func() error { return removeAll(dir) })
	args := []string{"--log-level", "warn"}
	if s.a.store == "" {
		if err := copyStore(dir, s.a.w.dir); err != nil {
			return err
		}
	} else {
		args = append(args, "--store", s.a.store)
	}
	if s.a.nodes > 1 {
		args = append(args, "--bus", s.natsURL, "--server-id", name)
	}
	wrap := g.wrap()
	if bounded && s.a.share < 1 {
		// More threads than there are processors only get in one another's way.
		wrap = append(wrap, "env", "GOMAXPROCS=1")
	}
	m.p, err = harness.Start(s.bin, dir, wrap, args...)
	return err
}

// limit bounds every node to its share.
func (s *standing) limit() error {
	for _, m := range s.nodes {
		if err := m.g.limit(s.a.share); err != nil {
			return fmt.Errorf("bounding a node: %w", err)
		}
	}
	return nil
}

// spent is CPU time, in seconds.
type spent struct {
	nodes          []float64
	pg, nats, ours float64
}

// used is what was spent so far.
func (s *standing) used() (u spent, err error) {
	for _, m := range s.nodes {
		d, err := m.g.used()
		if err != nil {
			return u, err
		}
		u.nodes = append(u.nodes, d.Seconds())
	}
	pg, err1 := s.pgGroup.used()
	nats, err2 := s.natsGrp.used()
	ours, err3 := ownCPU()
	u.pg, u.nats, u.ours = pg.Seconds(), nats.Seconds(), ours.Seconds()
	return u, errors.Join(err1, err2, err3)
}

// minus is what was spent since.
func (u spent) minus(v spent) spent {
	w := spent{pg: u.pg - v.pg, nats: u.nats - v.nats, ours: u.ours - v.ours}
	for i := range u.nodes {
		w.nodes = append(w.nodes, u.nodes[i]-v.nodes[i])
	}
	return w
}

func (u spent) allNodes() (sum float64) {
	for _, v := range u.nodes {
		sum += v
	}
	return sum
}

// during polls for the time of a measurement, and on until there is any figure, and
// says what was spent in it.
func (s *standing) during(l *loop, long time.Duration, any func() bool) (u spent, elapsed time.Duration, err error) {
	before, err := s.used()
	if err != nil {
		return u, 0, err
	}
	began := time.Now()
	if err := l.count(long, any); err != nil {
		return u, 0, err
	}
	elapsed = time.Since(began)
	after, err := s.used()
	if err != nil {
		return u, 0, err
	}
	return after.minus(before), elapsed, nil
}

func (s *standing) add(what, figure string, v float64) {
	s.live.found.add(s.round, clusterKey(s.a.name, what), figure, v)
}

func clusterKey(arrangement, what string) string { return arrangement + "/" + what }

// addSpent adds figures of CPU per so many things.
func (s *standing) addSpent(what string, u spent, things float64) {
	s.add(what, "nodes", u.allNodes()/things)
	s.add(what, "pg", u.pg/things)
	s.add(what, "nats", u.nats/things)
	s.add(what, "ours", u.ours/things)
}
