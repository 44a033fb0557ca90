package tui

import (
	"cmp"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/grima-chat/grima/protocol"
)

// markEvery is how often the read mark moves while somebody reads on; at the end
// of what there is it moves at once.
const markEvery = 250 * time.Millisecond

// markMsg is that the read mark may move again.
type markMsg struct{}

// land shows a chat with what is unread in it: the "new" line near the top, or,
// if all of it fits below, the present.
func (m *Model) land(c *chat) {
	c.newFrom = max(c.ReadSeq, c.seen, 1)
	m.toNew(c)
}

// toNew goes to the "new" line.
func (m *Model) toNew(c *chat) {
	c.at, c.sel, c.failed = c.newFrom+1, 0, nil
	c.scroll = scroll{seq: c.newFrom + 1, unread: true}
}

// readAbove is how many lines of what was read stand above the "new" line.
func readAbove(height int) int { return min(3, height/4) }

// settleUnread puts the "new" line near the top. It reports whether that is done;
// else what it takes has yet to come in.
func (m *Model) settleUnread(c *chat, msgs []protocol.Message, width, height int) bool {
	s := &c.scroll
	i := after(msgs, c.newFrom)
	for i < len(msgs) && msgs[i].SenderID == m.self.UserID {
		i++
	}
	whole := c.failed != nil || c.present() // there is no more to wait for
	if i == len(msgs) {
		if whole {
			m.bottom(c)
		}
		return whole
	}
	c.newFrom = msgs[i].Seq - 1 // not above one's own, or what is no message
	s.seq, s.off = msgs[i].Seq, 0
	h, room := len(m.block(c, msgs, i, width)), height-readAbove(height)
	have := h
	for j := i + 1; j < len(msgs) && have < room; j++ {
		have += len(m.block(c, msgs, j, width))
	}
	if have < room && !whole {
		return false
	}
	m.scrollBy(c, h-room, width)
	return true
}

// after is the index of the first message above a position.
func after(msgs []protocol.Message, seq int64) int {
	i, _ := slices.BinarySearchFunc(msgs, seq+1, func(m protocol.Message, seq int64) int { return cmp.Compare(m.Seq, seq) })
	return i
}

// looking reports whether somebody looks at the open chat, as far as it can be
// told: what is on the screen then is seen.
func (m *Model) looking() bool {
	return m.sized && m.focused && !m.away && m.synced && !m.open.scroll.unread &&
		slices.ContainsFunc(m.linkMap, func(seq int64) bool { return seq > 0 })
}

// missed reports whether something above the view has not been on the screen.
func (m *Model) missed(c *chat) bool {
	msgs := c.messages()
	i := after(msgs, c.seen)
	if i == 0 {
		if p, more := c.tl.Before(c.at, 1); more && (p.Before == nil || *p.Before > c.seen+1) {
			return true // there may be some that are not held
		}
	}
	for _, seq := range m.linkMap { // the topmost that is drawn
		if seq > 0 {
			return i < len(msgs) && msgs[i].Seq < seq
		}
	}
	return i < len(msgs)
}

// see takes what is on the screen as seen, if nothing was left out above it, and
// moves the read mark up to there. Whoever has seen everything keeps up with what
// comes, however much that is at once.
func (m *Model) see() tea.Cmd {
	c := m.open
	if c == nil || !c.there {
		m.keepsUp = false
		return nil
	}
	c.seen = max(c.seen, c.ReadSeq)
	if c.Unread == 0 && !c.Uncertain {
		c.seen = max(c.seen, c.Pos) // by whomever that was; what is above it is not counted yet
	}
	if !m.looking() {
		m.keepsUp = false
		return nil
	}
	msgs := c.messages()
	i := c.scroll.index(c, msgs)
	last := msgs[len(msgs)-1].Seq
	if m.keepsUp && c.scroll.follows() || !m.missed(c) {
		switch {
		case c.scroll.follows() && c.Pos >= c.LastSeq:
			c.seen = max(c.seen, c.LastSeq)
		case c.scroll.off == 0:
			c.seen = max(c.seen, msgs[i].Seq)
		case i > 0:
			c.seen = max(c.seen, msgs[i-1].Seq) // of the lowest the end is not on the screen
		}
	}
	m.keepsUp = c.scroll.follows() && c.seen >= last
	return m.markRead(c)
}

// seenAll takes everything in a chat as seen: somebody says so.
func (c *chat) seenAll() { c.seen = max(c.seen, c.Pos) }

// markRead moves the read mark up to what was seen.
func (m *Model) markRead(c *chat) tea.Cmd {
	if m.marking && c.seen < c.LastSeq {
		return nil
	}
	tell := m.tellSeen(c)
	if tell == nil || m.marking {
		return tell
	}
	m.marking = true
	return tea.Batch(tell, m.tick(markEvery, func(time.Time) tea.Msg { return markMsg{} }))
}

// tellSeen tells the server what was seen, unless it knows, or nobody needs to
// know, as nothing by others is unread.
func (m *Model) tellSeen(c *chat) tea.Cmd {
	if c.seen <= max(c.marked, c.ReadSeq) || c.Unread == 0 {
		return nil
	}
	c.marked = c.seen
	be, id, seq := m.be, c.ChatID, c.seen
	return func() tea.Msg {
		be.MarkRead(id, seq)
		return nil
	}
}

// unreadSince takes that somebody said something after prevSeq, where nothing was
// unread before, and nobody looks: that is where the "new" line belongs.
func (m *Model) unreadSince(c *chat, prevSeq int64, msg *protocol.Message) {
	if c == m.open && !m.keepsUp && msg.SenderID != m.self.UserID {
		c.newFrom = max(prevSeq, 1)
	}
}

// landAgain shows the open chat from what is unread in it, where that became more
// than is on the screen while nobody could look: in a time away that is over, if
// the chat was at its end, or was read elsewhere and nothing was done here since
// it was opened. It reports whether it did.
func (m *Model) landAgain() bool {
	if !m.back {
		return false
	}
	m.back = false
	c := m.open
	if c == nil || c.Unread == 0 && !c.Uncertain || c.sel > 0 {
		return false
	}
	elsewhere := c.ReadSeq > max(c.marked, c.newFrom) // it was read, since
	// What was missed is told little by little, after how much it is.
	if c.scroll.follows() && c.Pos >= c.LastSeq && !m.missed(c) || !c.scroll.follows() && !(elsewhere && m.untouched(c)) {
		return false
	}
	m.land(c)
	return true
}

// untouched reports whether nothing was done since the chat was opened.
func (m *Model) untouched(c *chat) bool { return !m.touched.After(c.used) }

// firstNew goes back to the first message that was unread.
func (m *Model) firstNew(c *chat) {
	if c.newFrom == 0 {
		m.say(false, "nothing was new here")
		return
	}
	m.toNew(c)
}
