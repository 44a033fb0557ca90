package tui

import (
	"context"
	"errors"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// maxWatched is how many people may be watched at once
// (docs/protocol.md#presence.watch).
const maxWatched = 200

// presence is who is there, as far as the server tells. Who is not in status is
// not known to be anywhere: nothing is shown of them.
type presence struct {
	status  map[string]string // user: online, away, offline
	watched []string          // sorted: whom the server was asked to tell of
	dirty   bool              // whom to watch may have changed
	asking  bool
	off     bool // this server tells nobody, or not now
	gen     int  // of the watch: answers and renewals of another one are of no use
}

// watchedMsg is the answer to a watch.
type watchedMsg struct {
	gen    int
	ids    []string
	result protocol.PresenceWatchResult
	err    error
}

// renewMsg is that a watch is about to end.
type renewMsg struct{ gen int }

// toWatch is whom the screen says something of: who is in the open chat, and who
// the private chats are with, the latest first.
func (m *Model) toWatch() []string {
	seen := map[string]bool{m.self.UserID: true, "": true}
	var ids []string
	add := func(id string) {
		if !seen[id] && len(ids) < maxWatched {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	peers := func(c *chat) {
		if c.Kind == "private" {
			for _, id := range c.UserIDs {
				add(id)
			}
		}
	}
	if m.open != nil {
		peers(m.open)
	}
	// Half of the places are for the list, so that a large group leaves it some.
	for _, c := range m.order {
		if len(ids) >= maxWatched/2 {
			break
		}
		peers(c)
	}
	if m.open != nil {
		for _, id := range m.in[m.open.ChatID] {
			add(id)
		}
	}
	for _, c := range m.order {
		peers(c)
	}
	slices.Sort(ids)
	return ids
}

// watch asks the server to tell of those the screen shows, if that are others
// than before.
func (m *Model) watch() tea.Cmd {
	p := &m.presence
	if !p.dirty || p.asking || p.off || m.conn.Link != client.Online {
		return nil
	}
	p.dirty = false
	ids := m.toWatch()
	if slices.Equal(ids, p.watched) {
		return nil
	}
	return m.askWatch(ids)
}

func (m *Model) askWatch(ids []string) tea.Cmd {
	m.presence.asking = true
	m.presence.gen++
	be, ctx, gen := m.be, m.ctx, m.presence.gen
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, call)
		defer cancel()
		r, err := be.PresenceWatch(ctx, protocol.PresenceParams{UserIDs: ids})
		return watchedMsg{gen, ids, r, err}
	}
}

// watchAgain is how long after a failure it is tried again.
const watchAgain = 30 * time.Second

// watching takes the answer to a watch.
func (m *Model) watching(msg watchedMsg) tea.Cmd {
	p := &m.presence
	p.asking = false
	if msg.gen != p.gen {
		p.dirty = true // it ended with its connection
		return nil
	}
	renew := renewMsg{p.gen}
	if msg.err != nil {
		p.watched = nil
		if e, ok := errors.AsType[*protocol.Error](msg.err); ok && !e.Retryable {
			p.off = true // until the next connection
			clear(p.status)
			return nil
		}
		return m.tick(watchAgain, func(time.Time) tea.Msg { return renew })
	}
	p.watched = msg.ids
	clear(p.status)
	for _, one := range msg.result.Presence {
		p.status[one.UserID] = one.Status
	}
	// A fifth of the time is left for being late.
	in := time.Duration(msg.result.ExpiresMS) * time.Millisecond * 4 / 5
	return m.tick(min(max(in, watchAgain), time.Hour), func(time.Time) tea.Msg { return renew })
}

// renew watches again, before the watch is over.
func (m *Model) renew(msg renewMsg) tea.Cmd {
	p := &m.presence
	if msg.gen != p.gen || p.asking || p.off || m.conn.Link != client.Online {
		return nil // a later watch has its own; after an outage there is a new one
	}
	p.dirty = false
	return m.askWatch(m.toWatch())
}

// unwatched: the connection is gone, and with it what it told.
func (p *presence) unwatched() {
	clear(p.status)
	p.watched, p.off, p.dirty = nil, false, true
	p.gen++
}

// presenceMark is a sign for how somebody is there; empty when that is not known.
func (m *Model) presenceMark(userID string) string {
	switch m.presence.status[userID] {
	case "online":
		return m.th.good.Styled("●")
	case "away":
		return m.th.warn.Styled("◐")
	case "offline":
		return m.th.dim.Styled("○")
	}
	return ""
}

// peer is who a private chat is with; empty for a chat with oneself, or a group.
func (m *Model) peer(c *chat) string {
	if c.Kind == "private" {
		for _, id := range c.UserIDs {
			if id != m.self.UserID {
				return id
			}
		}
	}
	return ""
}

// awayAfter is after how long without a key others see one as away.
const awayAfter = 10 * time.Minute

// awayMsg is that it is time to look whether nobody has pressed a key.
type awayMsg struct{}

// here is that somebody is at the keyboard.
func (m *Model) here() tea.Cmd {
	m.touched = m.opts.Now()
	if !m.away {
		return nil
	}
	m.away = false
	return tea.Batch(m.tellActive(true), m.lookAway(awayAfter))
}

func (m *Model) lookAway(in time.Duration) tea.Cmd {
	return m.tick(in, func(time.Time) tea.Msg { return awayMsg{} })
}

// leftAlone says that nobody is here, if so.
func (m *Model) leftAlone() tea.Cmd {
	if rest := awayAfter - m.opts.Now().Sub(m.touched); rest > 0 {
		return m.lookAway(max(rest, time.Second))
	}
	m.away = true // the next key looks again
	return m.tellActive(false)
}

func (m *Model) tellActive(active bool) tea.Cmd {
	be := m.be
	return func() tea.Msg {
		be.Active(active)
		return nil
	}
}

// cmdPresence is /presence.
func (m *Model) cmdPresence(args string) tea.Cmd {
	var hide bool
	switch args {
	case "show":
	case "hide":
		hide = true
	case "":
		if m.self.HidesPresence {
			m.say(false, "others see you as offline; /presence show ends that")
		} else {
			m.say(false, "others see whether you are here; /presence hide ends that")
		}
		return nil
	default:
		m.say(true, "/presence show|hide")
		return nil
	}
	be := m.be
	return m.ask(func(ctx context.Context) doneMsg {
		r, err := be.UsersUpdate(ctx, protocol.UsersUpdateParams{HidesPresence: &hide})
		return doneMsg{err: err, then: func() tea.Cmd {
			m.self.HidesPresence = r.User.HidesPresence
			return m.cmdPresence("")
		}}
	})
}
