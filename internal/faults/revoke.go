package faults

import (
	"context"
	"fmt"
	"time"

	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/protocol"
)

// victim is a session of its own for each server, connected there, that is to be
// ended by another server.
type victim struct {
	node    *node
	session string
	conn    *harness.Conn
	ended   chan time.Time // when the connection ended
}

// victims logs the sessions in.
func (c *Cluster) victims() (list []*victim, err error) {
	asking, err := harness.Login(c.dataAddr(), c.people[0].token, false, nil)
	if err != nil {
		return nil, err
	}
	defer asking.Close()
	for _, n := range c.nodes {
		if n.role == "data" {
			continue
		}
		var made protocol.TokensCreateResult
		if err := asking.Data(protocol.OpTokensCreate, protocol.TokensCreateParams{Device: "victim at " + n.name}, &made); err != nil {
			return list, err
		}
		conn, err := harness.Login(n.addr(), made.Token, true, nil)
		if err != nil {
			return list, err
		}
		v := &victim{n, made.Session.SessionID, conn, make(chan time.Time, 1)}
		go func() {
			<-conn.Gone() // at the latest when it is closed
			v.ended <- time.Now()
		}()
		list = append(list, v)
	}
	return list, nil
}

// revoke ends the sessions, at a server that none of them is connected to if
// there is one.
func (c *Cluster) revoke(ctx context.Context, list []*victim, cut func(*node) bool) error {
	for _, v := range list {
		var at *node
		for _, n := range c.nodes {
			if n.role != "stream" && !cut(n) && n.addr() != "" && (at == nil || at == v.node) {
				at = n
			}
		}
		if at == nil {
			return fmt.Errorf("no server can end the session at %s", v.node.name)
		}
		conn, err := harness.Login(at.addr(), c.people[0].token, false, nil)
		if err == nil {
			err = conn.Data(protocol.OpSessionsRevoke, protocol.SessionParams{SessionID: v.session}, nil)
			conn.Close()
		}
		if err != nil {
			return fmt.Errorf("ending the session at %s by %s: %w", v.node.name, at.name, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// gone waits until the connections of the sessions have ended, and says how long
// that took since a moment; those that end earlier took no time.
func gone(list []*victim, since time.Time, late time.Duration) (took time.Duration, err error) {
	timer := time.NewTimer(time.Until(since.Add(late)))
	defer timer.Stop()
	for _, v := range list {
		select {
		case at := <-v.ended:
			took = max(took, at.Sub(since))
		case <-timer.C:
			return time.Since(since), fmt.Errorf("the session at %s was ended, and goes on", v.node.name)
		}
	}
	return took, nil
}
