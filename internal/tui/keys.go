package tui

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/grima-chat/grima/protocol"
)

// key does what a key is for: first the overlay's, then the completion's, then
// the screen's, then the editor's.
func (m *Model) key(k tea.KeyPressMsg) tea.Cmd {
	name := k.Keystroke()
	if name != "ctrl+c" {
		m.leaving = time.Time{}
	}
	m.notice = notice{}
	switch name {
	case "ctrl+q":
		m.quit = true
		return nil
	case "ctrl+c":
		return m.interrupt()
	case "ctrl+l":
		return tea.ClearScreen
	}
	if m.over != nil {
		return m.over.key(m, k)
	}
	switch name {
	case "ctrl+k", "ctrl+g":
		m.over = m.switcher()
		return nil
	case "f1":
		m.over = m.helpOverlay()
		return nil
	case "ctrl+f":
		m.ed.set("/search ")
		m.list = false
		return nil
	case "alt+down", "ctrl+pgdown":
		return m.neighbour(1)
	case "alt+up", "ctrl+pgup":
		return m.neighbour(-1)
	case "alt+a":
		return m.nextUnread()
	}
	if m.listShown() {
		return m.listKey(name)
	}
	m.list = false // made narrow, it shows what was worked in
	if m.open != nil {
		if cmd, done := m.chatKey(name, k); done {
			return cmd
		}
	}
	return m.editorKey(name, k)
}

// interrupt is ^C: it empties the editor, and leaves when pressed twice.
func (m *Model) interrupt() tea.Cmd {
	if m.over != nil {
		m.over = nil
		return nil
	}
	if !m.ed.empty() {
		m.abandon()
		return nil
	}
	if now := m.opts.Now(); now.Sub(m.leaving) < 3*time.Second {
		m.quit = true
	} else {
		m.leaving = now
		m.say(false, "^C again to leave")
	}
	return nil
}

// abandon empties the editor, and ends an edit or a reply.
func (m *Model) abandon() {
	m.ed.set("")
	m.hist.reset()
	m.pop.close()
	if m.open != nil {
		m.open.editing, m.open.replyTo = 0, 0
	}
}

// listKey is for one pane, when the list has it.
func (m *Model) listKey(name string) tea.Cmd {
	at := m.openIndex()
	switch name {
	case "up", "down":
		step := 1
		if name == "up" {
			step = -1
		}
		if to := at + step; to >= 0 && to < len(m.order) {
			cmd := m.show(m.order[to])
			m.list = true
			return cmd
		}
	case "enter", "right", "esc":
		m.list = false
	case "/":
		m.list = false
		m.ed.set("/")
	}
	return nil
}

// chatKey is for the history of the open chat.
func (m *Model) chatKey(name string, k tea.KeyPressMsg) (tea.Cmd, bool) {
	c, width := m.open, m.paneWidth()
	page := max(len(m.linkMap)-2, 1) // whatever is drawn besides, two lines stay
	if c.sel > 0 {
		if cmd, done := m.selectedKey(c, name); done {
			return cmd, true
		}
		if k.Text != "" {
			c.sel = 0
		}
	}
	switch name {
	case "pgup":
		m.up(c, page, width)
	case "pgdown":
		m.scrollBy(c, -page, width)
	case "ctrl+home":
		return m.jumpStart(c), true
	case "ctrl+end":
		m.newest(c)
	case "alt+u":
		m.firstNew(c)
	case "shift+up", "ctrl+up":
		m.selectBy(c, -1)
	case "shift+down", "ctrl+down":
		m.selectBy(c, 1)
	case "esc":
		return nil, m.escape(c)
	case "end":
		if !m.ed.empty() || c.scroll.follows() && !m.missed(c) {
			return nil, false
		}
		m.newest(c)
	default:
		return nil, false
	}
	return nil, true
}

// up scrolls back; what could not be loaded is tried again.
func (m *Model) up(c *chat, n, width int) {
	c.failed = nil
	if waiting := c.unseen(); c.scroll.follows() && c.present() && len(waiting) > 0 {
		// What waits stands below the last message and scrolls with it.
		for _, it := range waiting {
			n -= len(m.waitingBlock(it, width))
		}
		n = max(n, 0)
	}
	m.scrollBy(c, n, width)
}

// bottom goes back to the present.
func (m *Model) bottom(c *chat) { c.at, c.scroll, c.sel = 0, scroll{}, 0 }

// newest goes there and leaves nothing unread above.
func (m *Model) newest(c *chat) {
	m.bottom(c)
	c.seenAll()
}

// jumpStart goes to the first message.
func (m *Model) jumpStart(c *chat) tea.Cmd {
	first := max(c.JoinedSeq, 1)
	if c.Kind == "private" || c.History != "joined" {
		first = 1
	}
	return m.jump(c, first)
}

// escape ends what was begun last.
func (m *Model) escape(c *chat) bool {
	switch {
	case c.editing > 0:
		m.abandon()
	case c.replyTo > 0:
		c.replyTo = 0
	case c.sel > 0:
		c.sel = 0
	case !c.scroll.follows():
		m.bottom(c)
	case m.narrow():
		m.list = true
	default:
		c.newFrom = 0
	}
	return true
}

// selectBy moves the selection among the messages.
func (m *Model) selectBy(c *chat, step int) {
	msgs := c.messages()
	if len(msgs) == 0 {
		return
	}
	i := len(msgs)
	if c.sel > 0 {
		i = scroll{seq: c.sel}.index(c, msgs)
	} else if !c.scroll.follows() {
		i = c.scroll.index(c, msgs) + 1
	}
	if i+step >= len(msgs) {
		c.sel = 0
		m.bottom(c)
		return
	}
	c.sel = msgs[max(i+step, 0)].Seq
	m.reveal(c)
}

// reveal scrolls until the selected message is on the screen.
func (m *Model) reveal(c *chat) {
	for _, seq := range m.linkMap {
		if seq == c.sel {
			return
		}
	}
	c.scroll = scroll{seq: c.sel, middle: true}
	if c.at == 0 {
		if msgs := c.messages(); len(msgs) > 0 && msgs[len(msgs)-1].Seq == c.sel {
			c.scroll = scroll{}
		}
	}
}

// selectedKey is for a message that is selected.
func (m *Model) selectedKey(c *chat, name string) (tea.Cmd, bool) {
	msg, ok := c.tl.Message(c.sel)
	if !ok || !m.ed.empty() && name != "esc" {
		return nil, false
	}
	switch name {
	case "r":
		c.replyTo, c.sel = msg.Seq, 0
	case "e":
		m.edit(c, msg)
	case "d":
		m.over = m.confirmDelete(c, msg)
	case "c":
		m.say(false, "copied, if the terminal allows it")
		return tea.SetClipboard(msg.Content), true
	case "g", "enter":
		if msg.ReplyTo > 0 {
			return m.jump(c, msg.ReplyTo), true
		}
		if name == "g" {
			m.say(false, "that message answers none")
		}
	default:
		return nil, false
	}
	return nil, true
}

// edit puts a message into the editor.
func (m *Model) edit(c *chat, msg protocol.Message) {
	switch {
	case msg.SenderID != m.self.UserID:
		m.say(true, "only your own messages can be edited")
	case msg.Deleted:
		m.say(true, "a deleted message cannot be edited")
	default:
		c.editing, c.replyTo, c.sel = msg.Seq, 0, 0
		m.ed.set(msg.Content)
	}
}

// editLast edits the newest message of one's own before a position (0: of all).
func (m *Model) editLast(c *chat, before int64) bool {
	msgs := c.tl.Messages(0)
	for i := len(msgs) - 1; i >= 0; i-- {
		if msg := msgs[i]; msg.SenderID == m.self.UserID && !msg.Deleted && (before == 0 || msg.Seq < before) {
			m.edit(c, msg)
			return true
		}
	}
	return false
}

// neighbour opens the next chat of the list.
func (m *Model) neighbour(step int) tea.Cmd {
	if len(m.order) == 0 {
		return nil
	}
	at := m.openIndex() + step
	return m.show(m.order[min(max(at, 0), len(m.order)-1)])
}

// nextUnread opens a chat with mentions, else one with unread messages.
func (m *Model) nextUnread() tea.Cmd {
	var any *chat
	for _, c := range m.order {
		if c == m.open {
			continue
		}
		if c.Mentions > 0 {
			return m.show(c)
		}
		if c.Unread > 0 && any == nil {
			any = c
		}
	}
	if any == nil {
		m.say(false, "nothing is unread")
		return nil
	}
	return m.show(any)
}

// editorKey is for what is being written.
func (m *Model) editorKey(name string, k tea.KeyPressMsg) tea.Cmd {
	if m.pop.open() {
		if done := m.pop.key(m, name); done {
			return nil
		}
	}
	width := m.paneWidth() - 3
	switch name {
	case "enter":
		return m.submit()
	case "shift+enter", "alt+enter", "ctrl+j", "ctrl+enter":
		m.ed.insert("\n")
	case "tab":
		m.pop.update(m, true)
		m.pop.key(m, "tab")
		return nil
	case "ctrl+p":
		m.hist.back(&m.ed)
	case "ctrl+n":
		m.hist.forward(&m.ed)
	case "up":
		if m.ed.vertical(-1, width) || m.open == nil {
			break
		}
		// In an empty editor, or at the top of an edit that was not touched,
		// up is the message before.
		if m.ed.empty() {
			if !m.editLast(m.open, 0) {
				m.hist.back(&m.ed)
			}
		} else if msg, ok := m.open.tl.Message(m.open.editing); ok && msg.Content == m.ed.String() {
			m.editLast(m.open, m.open.editing)
		}
	case "down":
		m.ed.vertical(1, width)
	default:
		switch {
		case m.ed.key(name):
		case k.Text != "":
			m.ed.insert(k.Text)
			if k.Text == ":" {
				m.ed.spelledEmoji()
			}
		default:
			return nil
		}
	}
	m.pop.update(m, false)
	return m.typed()
}

// typed tells the others that something is being written.
func (m *Model) typed() tea.Cmd {
	c := m.open
	if c == nil || c.editing > 0 || m.ed.empty() || m.ed.text[0] == "/" {
		return nil
	}
	be, id := m.be, c.ChatID
	return tea.Batch(m.keepSoon(), func() tea.Msg {
		be.Typing(id, false)
		return nil
	})
}

// paste puts text into the editor, or into the overlay's.
func (m *Model) paste(s string) tea.Cmd {
	if m.over != nil {
		m.over.typed(m, cleanLine(s))
		return nil
	}
	m.list = false
	m.ed.insert(s)
	m.pop.update(m, false)
	return m.typed()
}

// click opens a chat of the list, or selects a message.
func (m *Model) click(at tea.Mouse) tea.Cmd {
	if at.Button != tea.MouseLeft {
		return nil
	}
	inList := !m.narrow() && at.X < m.listWidth() || m.listShown()
	if m.over != nil {
		if inList {
			m.over = nil
		} else {
			return m.over.click(m, at.Y)
		}
	}
	if inList {
		if at.Y >= 0 && at.Y < len(m.rows) {
			return m.show(m.rows[at.Y])
		}
		return nil
	}
	if i := at.Y - m.histTop; m.open != nil && i >= 0 && i < len(m.linkMap) && m.linkMap[i] > 0 {
		if m.open.sel == m.linkMap[i] {
			m.open.sel = 0
		} else {
			m.open.sel = m.linkMap[i]
		}
	}
	return nil
}

// wheel scrolls what is under the mouse.
func (m *Model) wheel(at tea.Mouse) tea.Cmd {
	n := 3
	switch at.Button {
	case tea.MouseWheelUp:
	case tea.MouseWheelDown:
		n = -3
	default:
		return nil
	}
	switch {
	case m.over != nil:
		m.over.move(-n)
	case !m.narrow() && at.X < m.listWidth() || m.listShown():
		m.top = min(max(m.top-n, 0), max(len(m.order)-m.height+1, 0))
		if i := m.openIndex(); i >= 0 {
			// drawList keeps the open chat in view.
			m.top = min(max(m.top, i-m.height+2), i)
		}
	case m.open != nil && n > 0:
		m.up(m.open, n, m.paneWidth())
	case m.open != nil:
		m.scrollBy(m.open, n, m.paneWidth())
	}
	return nil
}

// delete deletes a message.
func (m *Model) delete(c *chat, seq int64) tea.Cmd {
	be, p := m.be, protocol.MessageParams{ChatID: c.ChatID, Seq: seq}
	return m.ask(func(ctx context.Context) doneMsg {
		_, err := be.MessageDelete(ctx, p)
		return doneMsg{err: err}
	})
}
