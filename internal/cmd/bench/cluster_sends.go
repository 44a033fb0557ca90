//go:build linux

package main

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// What is measured with all the processors there are.
const (
	sendsMany = "sends to many chats"
	sendsHot  = "sends to one chat"
	hintsOnly = "hints"
	quietCast = "quiet"
)

func (c *clusterRun) unbounded(s *standing) error {
	many := func(i int) (room, person int) {
		room = i % c.size.teams
		return room, c.size.firstOf(room) + i/c.size.teams
	}
	hot := func(i int) (room, person int) {
		room = c.size.roomOfHall(0)
		return room, c.size.firstOf(room) + i%c.size.hall
	}
	// Who speaks in the same of many chats is at the same node: seldom do two
	// nodes want the same of many rows in the same moment.
	byRoom := func(i int) int { return i % c.size.teams % len(s.nodes) }
	everywhere := func(i int) int { return i % len(s.nodes) }
	if err := s.sends(sendsMany, many, byRoom, nil); err != nil {
		return fmt.Errorf("%s: %w", sendsMany, err)
	}
	if err := s.sends(sendsHot, hot, everywhere, nil); err != nil {
		return fmt.Errorf("%s: %w", sendsHot, err)
	}
	if len(s.nodes) > 2 {
		// All send at the first node, one of each room listens at the second, and
		// the last hears hints alone.
		listeners := func(l *loop, on func(*client, []byte)) error {
			_, err := l.open(c.size.teams, 64, func(i int) (*client, error) {
				return l.dial(s.nodes[1].p.Addr, i, script(s.a.w.token(c.size.firstOf(i)+c.size.team-1), true), on)
			})
			return err
		}
		if err := s.sends(hintsOnly, many, func(int) int { return 0 }, listeners); err != nil {
			return fmt.Errorf("%s: %w", hintsOnly, err)
		}
	}
	if err := s.quiet(); err != nil {
		return fmt.Errorf("%s: %w", quietCast, err)
	}
	return nil
}

// script logs somebody in.
func script(token string, subscribe bool) []step {
	return []step{{say: loginLine(token, subscribe), hear: loggedIn}}
}

// talk is senders who each send again when they have their answer.
type talk struct {
	*standing
	l         *loop
	rooms     []string // of each sender
	under     int
	acked     int64
	heardThem int64 // by listeners
	latencies []time.Duration
	measuring bool
	stopping  bool
}

func (t *talk) say(c *client) {
	t.said++
	t.under++
	c.due = time.Now()
	c.out = appendSend(c.out, t.rooms[c.id], c.id&255, t.said)
	t.l.wants(c)
}

func (t *talk) answered(c *client, data []byte) {
	if bytes.Contains(data, []byte(`"error":{`)) {
		t.l.fail(fmt.Errorf("sender %d was refused: %.300s", c.id, data))
		return
	}
	n := bytes.Count(data, []byte{'\n'})
	if n == 0 {
		return
	}
	t.under -= n
	t.acked += int64(n)
	if t.measuring {
		t.latencies = append(t.latencies, time.Since(c.due))
	}
	if !t.stopping {
		t.say(c)
	}
}

// sends measures sends of as many senders as there are, of whom at says where
// each speaks and where he is connected.
func (s *standing) sends(what string, at func(i int) (room, person int), node func(i int) int, listeners func(*loop, func(*client, []byte)) error) error {
	l, err := newLoop(s.ctx)
	if err != nil {
		return err
	}
	defer l.close()
	t := &talk{standing: s, l: l, rooms: make([]string, s.size.senders)}
	senders, err := l.open(s.size.senders, 64, func(i int) (*client, error) {
		room, person := at(i)
		t.rooms[i] = s.a.w.rooms[room]
		return l.dial(s.nodes[node(i)].p.Addr, i, script(s.a.w.token(person), false), t.answered)
	})
	if err != nil {
		return fmt.Errorf("senders: %w", err)
	}
	if listeners != nil {
		mark := func(int) { t.heardThem++ }
		if err := listeners(l, func(c *client, data []byte) { c.marks(data, mark) }); err != nil {
			return fmt.Errorf("listeners: %w", err)
		}
	}
	for _, c := range senders {
		t.say(c)
	}
	if err := l.pollUntil(time.Now().Add(s.warmed())); err != nil {
		return err
	}
	log, commits, err := s.written()
	if err != nil {
		return err
	}
	t.acked, t.heardThem, t.measuring = 0, 0, true
	before := t.under // may have been stored already
	u, elapsed, err := s.during(l, s.measured(), func() bool { return t.acked > int64(before) })
	t.measuring = false
	if err != nil {
		return err
	}
	got := float64(t.acked)
	logAfter, commitsAfter, err := s.written()
	if err != nil {
		return err
	}
	if commitsAfter > commits {
		s.add(what, "commits", (commitsAfter-commits)/elapsed.Seconds())
		s.add(what, "batch", got/(commitsAfter-commits))
		s.add(what, "log", (logAfter-log)/got)
	}
	s.add(what, "rate", got/elapsed.Seconds())
	s.addSpent(what, u, got)
	slices.Sort(t.latencies)
	s.add(what, "p50", percentile(t.latencies, 0.5).Seconds())
	s.add(what, "p99", percentile(t.latencies, 0.99).Seconds())
	if listeners != nil {
		s.add(what, "sender", u.nodes[0]/got)
		s.add(what, "listener", u.nodes[1]/got)
		s.add(what, "hinted", u.nodes[len(u.nodes)-1]/got)
		s.add(what, "heard", float64(t.heardThem)/got)
	}
	return t.drain()
}

// drain waits until every send is answered.
func (t *talk) drain() error {
	t.stopping = true
	for limit := time.Now().Add(patience); t.under > 0; {
		if time.Now().After(limit) {
			return fmt.Errorf("%d sends were not answered within %s", t.under, patience)
		}
		if err := t.l.poll(100); err != nil {
			return err
		}
	}
	return nil
}

// written is how many bytes of log PostgreSQL has written, and how many
// transactions the nodes have committed there; nothing where there is none.
func (s *standing) written() (log, commits float64, err error) {
	if s.a.store == "" {
		return 0, 0, nil
	}
	if log, err = s.query(s.a, `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8`); err != nil {
		return 0, 0, err
	}
	for _, m := range s.nodes {
		commits += metricsOf(m.p.Addr)["grima_store_commit_seconds_count"]
	}
	return log, commits, nil
}

// disk finds what a message takes in PostgreSQL's files.
func (c *clusterRun) disk(a *arrangement) error {
	if a.store == "" || a.bounded {
		return nil
	}
	for _, q := range []struct{ figure, sql string }{
		{"messages", `SELECT pg_total_relation_size('messages')::float8 / greatest(count(*), 1) FROM messages`},
		{"sent", `SELECT pg_total_relation_size('sent')::float8 / greatest(count(*), 1) FROM sent`},
	} {
		v, err := c.query(a, q.sql)
		if err != nil {
			return fmt.Errorf("bytes on disk: %w", err)
		}
		c.live.found.add(0, clusterKey(a.name, "disk"), q.figure, v)
	}
	return nil
}
