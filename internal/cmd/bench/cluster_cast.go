//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

// What is measured with each node bounded to its share.
const (
	teamsCast = "teams"
	hallsCast = "halls"
	idleNodes = "idle"
)

// cast is messages under way in several rooms, one in each, to people who are
// connected to several nodes; each message is counted at everyone who hears it.
type cast struct {
	*standing
	l     *loop
	rooms []castRoom
	homes []int // of each receiver: its node
	at    int   // the node of whom is being heard

	deliveries, messages int64
	// From the send to each delivery at the sender's node, and elsewhere.
	same, other         []time.Duration
	measuring, stopping bool
}

type castRoom struct {
	id        string
	by        *client
	home      int // the sender's node
	receivers int
	left      int // of them, who are yet to hear it
	began     time.Time
}

func (c *cast) heard(cl *client, data []byte) {
	c.at = c.homes[cl.id]
	cl.marks(data, c.delivered)
}

func (c *cast) delivered(i int) {
	if i >= len(c.rooms) || c.rooms[i].left == 0 {
		c.l.fail(fmt.Errorf("a message of room %d was delivered more often than it was sent", i))
		return
	}
	r := &c.rooms[i]
	c.deliveries++
	if c.measuring {
		if took := time.Since(r.began); c.at == r.home {
			c.same = append(c.same, took)
		} else {
			c.other = append(c.other, took)
		}
	}
	if r.left--; r.left > 0 {
		return
	}
	c.messages++
	if !c.stopping {
		c.say(i)
	}
}

func (c *cast) say(i int) {
	r := &c.rooms[i]
	c.said++
	r.left, r.began = r.receivers, time.Now()
	r.by.out = appendSend(r.by.out, r.id, i, c.said)
	c.l.wants(r.by)
}

func (c *cast) refused(cl *client, data []byte) {
	if bytes.Contains(data, []byte(`"error":{`)) {
		c.l.fail(fmt.Errorf("sender %d was refused: %.300s", cl.id, data))
	}
}

// open connects the first so many people of each room, one after the other to
// each node, and one who speaks in each.
func (s *standing) open(rooms []int, perRoom int) (*cast, error) {
	l, err := newLoop(s.ctx)
	if err != nil {
		return nil, err
	}
	c := &cast{standing: s, l: l, homes: make([]int, len(rooms)*perRoom)}
	nodes := len(s.nodes)
	_, err = l.open(len(c.homes), 64, func(i int) (*client, error) {
		room, k := i/perRoom, i%perRoom
		c.homes[i] = (room + k) % nodes
		return l.dial(s.nodes[c.homes[i]].p.Addr, i, script(s.a.w.token(s.size.firstOf(rooms[room])+k), true), c.heard)
	})
	if err != nil {
		l.close()
		return nil, fmt.Errorf("receivers: %w", err)
	}
	speakers, err := l.open(len(rooms), 64, func(i int) (*client, error) {
		return l.dial(s.nodes[i%nodes].p.Addr, i, script(s.a.w.token(s.size.firstOf(rooms[i])), false), c.refused)
	})
	if err != nil {
		l.close()
		return nil, fmt.Errorf("speakers: %w", err)
	}
	for i, room := range rooms {
		c.rooms = append(c.rooms, castRoom{id: s.a.w.rooms[room], by: speakers[i], home: i % nodes, receivers: perRoom})
	}
	return c, nil
}

// measure has everybody speak and adds what was found.
func (c *cast) measure(what string) error {
	for i := range c.rooms {
		c.say(i)
	}
	if err := c.l.pollUntil(time.Now().Add(c.warmed())); err != nil {
		return err
	}
	c.deliveries, c.messages, c.measuring = 0, 0, true
	u, elapsed, err := c.during(c.l, c.measured(), func() bool { return c.messages > 1 }) // of the first, some was not counted
	c.measuring = false
	if err != nil {
		return err
	}
	got := float64(c.deliveries)
	c.add(what, "rate", got/elapsed.Seconds())
	c.add(what, "messages", float64(c.messages)/elapsed.Seconds())
	c.addSpent(what, u, got)
	c.add(what, "taken", u.allNodes()/elapsed.Seconds())
	c.add(what, "machine", (u.allNodes()+u.pg+u.nats+u.ours)/elapsed.Seconds())
	for _, v := range []struct {
		name string
		all  []time.Duration
	}{{"same", c.same}, {"other", c.other}} {
		if slices.Sort(v.all); len(v.all) > 0 {
			c.add(what, v.name+" p50", percentile(v.all, 0.5).Seconds())
			c.add(what, v.name+" p99", percentile(v.all, 0.99).Seconds())
		}
	}
	return c.drain()
}

// drain waits until nothing is under way any more.
func (c *cast) drain() error {
	c.stopping = true
	busy := func(r castRoom) bool { return r.left > 0 }
	for limit := time.Now().Add(patience); slices.ContainsFunc(c.rooms, busy); {
		if time.Now().After(limit) {
			return errors.New("what was under way did not arrive within " + patience.String())
		}
		if err := c.l.poll(100); err != nil {
			return err
		}
	}
	return nil
}

// quiet measures the way of a lone message to one listener at each node, or to
// as many at the one there is.
func (s *standing) quiet() error {
	c, err := s.open([]int{0}, 3)
	if err != nil {
		return err
	}
	defer c.l.close()
	return c.measure(quietCast)
}

// shared measures deliveries where every node has no more than its share.
func (c *clusterRun) shared(s *standing) error {
	if err := s.castTo(teamsCast, 0, c.size.teams, c.size.team); err != nil {
		return fmt.Errorf("%s: %w", teamsCast, err)
	}
	for _, m := range s.nodes {
		if err := m.g.limit(0); err != nil { // for the logins
			return err
		}
	}
	if err := s.castTo(hallsCast, c.size.roomOfHall(0), c.size.halls, c.size.hall); err != nil {
		return fmt.Errorf("%s: %w", hallsCast, err)
	}
	return nil
}

// castTo measures deliveries to all people of some rooms.
func (s *standing) castTo(what string, first, rooms, people int) error {
	all := make([]int, rooms)
	for i := range all {
		all[i] = first + i
	}
	c, err := s.open(all, people)
	if err != nil {
		return err
	}
	defer c.l.close()
	if what == teamsCast {
		// The nodes have told one another who came.
		if err := c.l.pollUntil(time.Now().Add(s.size.idle / 2)); err != nil {
			return err
		}
		u, elapsed, err := s.during(c.l, s.size.idle, func() bool { return true })
		if err != nil {
			return err
		}
		s.addSpent(idleNodes, u, float64(len(c.homes)+rooms)*elapsed.Seconds())
	}
	if err := s.limit(); err != nil {
		return err
	}
	return c.measure(what)
}
