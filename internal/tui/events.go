package tui

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// batch applies what the client told, and asks for more.
func (m *Model) batch(msg batchMsg) tea.Cmd {
	if msg.err != nil {
		if !errors.Is(msg.err, context.Canceled) {
			m.ended = msg.err
			m.conn = client.Connection{Link: client.Stopped, Err: msg.err, Error: msg.err.Error()}
		}
		return nil
	}
	var cmds []tea.Cmd
	for i := range msg.events {
		if cmd := m.event(&msg.events[i]); cmd != nil {
			cmds = append(cmds, cmd)
		}
	}
	return tea.Batch(append(cmds, m.listen())...)
}

// event applies one event.
func (m *Model) event(ev *client.Event) tea.Cmd {
	switch ev.Kind {
	case client.ConnectionChanged:
		m.connection(*ev.Connection)
		return nil
	case client.Synced:
		m.synced = true
		m.self = m.be.Self()
		m.people.again()
		m.wanted[m.self.UserID] = true // or one's own name would not be kept for a start without a connection
		m.back = true
		if m.open != nil {
			return m.askMembers(m.open) // who came, and what they read meanwhile
		}
		return nil
	case client.Reset:
		m.reset(*ev)
		return nil
	case client.OutboxChanged:
		m.chat(ev.Outbox.ChatID).item(*ev.Outbox)
		return nil
	}
	switch ev.Kind {
	case client.Presence:
		m.presence.status[ev.UserID] = ev.Status
		return nil
	case client.UserChanged:
		if ev.UserID == m.self.UserID {
			m.self = *ev.User
		}
		if _, known := m.byID[ev.UserID]; known {
			m.know(*ev.User)
		}
		return nil
	}
	if ev.ChatID == "" {
		return nil
	}
	c := m.chat(ev.ChatID)
	allRead := c.Unread == 0 && !c.Uncertain
	if ev.State != nil {
		if !c.there || c.activity() != activity(ev.State) {
			m.stale = true
		}
		c.state(ev.State)
	}
	if c.tl != nil {
		c.tl.Apply(*ev)
		m.trim(c)
	}
	c.arrivedSends()
	switch ev.Kind {
	case client.MessageCreated:
		if ev.Message == nil {
			return nil
		}
		delete(c.typing, ev.Message.SenderID)
		if ev.Message.SenderID != m.self.UserID {
			c.read(ev.Message.SenderID, ev.Message.Seq)
		}
		if allRead {
			m.unreadSince(c, ev.PrevSeq, ev.Message)
		}
		return m.arrived(c, ev.Message)
	case client.Typing:
		if ev.UserID == m.self.UserID {
			return nil
		}
		if ev.Stopped {
			delete(c.typing, ev.UserID)
		} else {
			c.typing[ev.UserID] = ev.Until
		}
	case client.ReadMoved:
		if ev.UserID != m.self.UserID {
			c.read(ev.UserID, ev.ReadSeq)
		}
	case client.ParticipantAdded, client.ParticipantUpdated, client.ParticipantRemoved:
		m.participant(c, ev)
	case client.ChatAdded, client.Skipped:
		// What was held is gone: from here on it is asked for anew.
		c.gen++
		c.asking, c.failed = false, nil
		clear(c.told) // what became of them since was not told
	case client.ChatRemoved:
		m.removed(c)
	}
	return nil
}

func activity(st *client.Chat) string {
	if n := len(st.Messages); n > 0 {
		return st.Messages[n-1].CreatedAt
	}
	return st.CreatedAt
}

// connection takes how the connection stands.
func (m *Model) connection(conn client.Connection) {
	was := m.conn.Link
	m.conn = conn
	if conn.Link != client.Online {
		m.keepsUp = false // what was said meanwhile comes at once
	}
	if conn.Link == client.Offline {
		m.synced = false
	}
	if at := parseTime(m.be.Hello().Time); conn.Link == client.Online && !at.IsZero() {
		m.ahead = m.opts.Now().Sub(at)
	}
	if was == client.Online && conn.Link != client.Online {
		m.presence.unwatched()
	}
	if conn.Link == client.Stopped && conn.Err != nil {
		m.ended = conn.Err
	}
	if conn.Link == client.Online && was != client.Online {
		for _, c := range m.chats {
			c.failed = nil // what could not be loaded is tried again
		}
		m.people.retry()
	}
}

// reset forgets what the server said, as the client does. What is written and
// waits stays.
func (m *Model) reset(ev client.Event) {
	for _, c := range m.chats {
		c.there = false
		c.gen++
		c.asking, c.failed, c.newFrom, c.sel, c.editing, c.replyTo = false, nil, 0, 0, 0, 0
		c.at, c.scroll, c.seen, c.marked = 0, scroll{}, 0, 0
		if c.tl != nil {
			c.tl.Apply(ev)
		}
		c.forgetSends()
		clear(c.reads)
		clear(c.typing)
	}
	m.cache.init()
	m.stale, m.keepsUp = true, false
	m.say(true, "the server's history is another one than before; everything is loaded anew")
}

// removed: the user is not in the chat any more.
func (m *Model) removed(c *chat) {
	c.there = false
	c.gen++
	c.asking = false
	c.forgetSends()
	m.stale = true
	if c == m.open {
		m.say(true, "you are not in %s any more", m.title(c))
	}
}

// participant takes somebody's coming, going or change of role.
func (m *Model) participant(c *chat, ev *client.Event) {
	p := ev.Participant
	if p == nil {
		return
	}
	if c.told != nil && p.UpdatedSeq > c.told[p.UserID].UpdatedSeq {
		c.told[p.UserID] = *p
	}
	in := m.people.in[c.ChatID]
	switch at := indexOf(in, p.UserID); {
	case ev.Kind == client.ParticipantRemoved && at >= 0:
		m.people.in[c.ChatID] = append(in[:at:at], in[at+1:]...)
		delete(c.reads, p.UserID)
	case ev.Kind == client.ParticipantAdded && at < 0 && in != nil:
		m.people.in[c.ChatID] = append(in, p.UserID)
	}
	m.presence.dirty = m.presence.dirty || c == m.open
	if c != m.open || c.Kind == "private" || !m.synced || p.UserID == m.self.UserID {
		return
	}
	switch ev.Kind {
	case client.ParticipantAdded:
		m.say(false, "%s came in", m.name(p.UserID))
	case client.ParticipantRemoved:
		m.say(false, "%s left", m.name(p.UserID))
	case client.ParticipantUpdated:
		m.say(false, "%s is %s now", m.name(p.UserID), cleanLine(p.Role))
	}
}

func indexOf(ids []string, id string) int {
	for i, x := range ids {
		if x == id {
			return i
		}
	}
	return -1
}

// say shows a notice. What other people wrote goes in as %s and is cleaned.
func (m *Model) say(bad bool, format string, args ...any) {
	m.notice = notice{cleanLine(fmt.Sprintf(format, args...)), bad}
}

// reason is err for a person.
func reason(err error) string {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return e.Message
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer; it is not known whether that happened"
	case errors.Is(err, client.ErrUnknownOutcome):
		return "the connection was lost before the answer; it may have happened"
	}
	return err.Error()
}

// typingNow is who is typing in c.
func (m *Model) typingNow(c *chat) []string {
	var names []string
	now := m.opts.Now()
	for id, until := range c.typing {
		if now.After(until) {
			delete(c.typing, id)
			continue
		}
		names = append(names, m.name(id))
	}
	return names
}

// parseTime is a server's time; zero if it is none.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}
