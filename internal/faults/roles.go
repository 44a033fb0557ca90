package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/protocol"
)

// RolesResult is what came of killing each kind of servers that share the work.
type RolesResult struct {
	WithoutData   int           // sends that were acknowledged, and told to everybody, while no data was served
	WithoutStream int           // rows that were read while nothing live was served
	Complete      time.Duration // until everybody had everything, after live servers were back

	Wrong []string
}

func (r RolesResult) String() string {
	return fmt.Sprintf("%d sends without data servers, %d rows read without stream servers, complete %v after those were back", r.WithoutData, r.WithoutStream, r.Complete)
}

// Missed says which bounds a result is beyond.
func (r RolesResult) Missed() []string {
	if r.Complete > CompleteWithin {
		return []string{fmt.Sprintf("complete %v after stream servers were back, not %v", r.Complete, CompleteWithin)}
	}
	return nil
}

// Roles kills the data servers of a cluster with split roles while people talk,
// starts them again, and does the same with the stream servers.
func (c *Cluster) Roles(ctx context.Context, talk Talk) (r RolesResult, err error) {
	l, err := c.talk(ctx, talk.Chats, talk.Rate)
	if err != nil {
		return r, err
	}
	defer l.stop()
	pause(ctx, talk.Lead)

	// Without data the talk goes on, also for who comes to another server.
	c.each("data", (*node).kill)
	before := l.acknowledged()
	pause(ctx, talk.Lead)
	if _, err := l.complete(talk.Late); err != nil {
		return r, fmt.Errorf("without data servers: %w", err)
	}
	if r.WithoutData = l.acknowledged() - before; r.WithoutData == 0 {
		l.fault("without data servers nothing more is said")
	}
	if err := c.startAll("data"); err != nil {
		return r, err
	}
	conn, err := harness.Login(c.dataAddr(), c.people[0].token, false, nil)
	if err != nil {
		return r, fmt.Errorf("logging in at a data server that is back: %w", err)
	}
	defer conn.Close()

	// Without live connections data is read and written, also over HTTP.
	c.each("stream", (*node).kill)
	for _, chat := range l.chats {
		rows, err := harness.ReadAll(conn, chat)
		if err != nil {
			return r, fmt.Errorf("without stream servers: %w", err)
		}
		r.WithoutStream += len(rows)
	}
	title := "renamed without them"
	var made protocol.ChatsCreateResult
	err = errors.Join(
		conn.Data(protocol.OpChatsCreate, protocol.ChatsCreateParams{Kind: "group", Title: "while nobody listens"}, &made),
		conn.Data(protocol.OpChatsUpdate, protocol.ChatsUpdateParams{ChatID: made.Chat.ChatID, Title: &title}, nil),
		conn.Data(protocol.OpSync, protocol.SyncParams{}, nil))
	if err != nil {
		return r, fmt.Errorf("without stream servers: %w", err)
	}
	send := conn.Broadcast(protocol.OpMessageSend, protocol.MessageSendParams{ChatID: l.chats[0], Content: "hi"}, nil)
	if refused, is := errors.AsType[*protocol.Error](send); !is || refused.Code != protocol.CodeMisdirected {
		l.fault("a data server answers a send with %v", send)
	}
	if err := c.startAll("stream"); err != nil {
		return r, err
	}
	if r.Complete, err = l.complete(talk.Late); err != nil {
		return r, fmt.Errorf("with all servers back: %w", err)
	}
	// And what was made meanwhile is live.
	seen, err := l.clients[0].ChatsGet(ctx, protocol.ChatParams{ChatID: made.Chat.ChatID})
	if refused, is := errors.AsType[*protocol.Error](err); !is || refused.Code != protocol.CodeMisdirected {
		l.fault("a stream server answers what is data with %+v, %v", seen, err)
	}
	err = c.retry(ctx, talk.Late, func() error {
		if _, there := l.clients[0].Chat(made.Chat.ChatID); !there {
			return errors.New("a chat that was made without stream servers is not there")
		}
		return nil
	})
	if err != nil {
		l.fault("%v", err)
	}
	l.quiet()
	if _, err := l.complete(talk.Late); err != nil {
		return r, err
	}
	l.verify()
	r.Wrong = l.wrong
	return r, nil
}

func (c *Cluster) each(role string, do func(*node)) {
	for _, n := range c.nodes {
		if n.role == role {
			do(n)
		}
	}
}

func (c *Cluster) startAll(role string) (err error) {
	c.each(role, func(n *node) {
		if err == nil {
			err = c.start(n)
		}
	})
	return err
}

func (l *load) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}
