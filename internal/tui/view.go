package tui

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/grima-chat/grima/client"
)

// Below this width there is one pane: the list or the chat.
const twoPanes = 64

func (m *Model) narrow() bool { return m.width < twoPanes }

// listShown reports whether the one pane there is room for is the list.
func (m *Model) listShown() bool { return m.narrow() && m.list && len(m.order) > 0 }

// listWidth is how wide the list of chats is.
func (m *Model) listWidth() int {
	if m.narrow() {
		return m.width
	}
	return min(max(m.width/4, 18), 32)
}

// paneWidth is how wide the chat is.
func (m *Model) paneWidth() int {
	if m.narrow() {
		return m.width
	}
	return m.width - m.listWidth() - 1
}

// View gives what Update drew, or, while the terminal is busy, what it gave
// before.
func (m *Model) View() tea.View {
	if m.out.busy() && m.given {
		return m.shown
	}
	m.shown, m.given = m.view(), true
	return m.shown
}

func (m *Model) view() tea.View {
	v := tea.NewView(m.screen)
	v.AltScreen = true
	v.ReportFocus = true
	v.WindowTitle = m.windowTitle()
	v.Cursor = m.cursor
	if !m.opts.NoMouse {
		v.MouseMode = tea.MouseModeCellMotion
	}
	return v
}

func (m *Model) windowTitle() string {
	var unread int64
	for _, c := range m.order {
		unread += c.Unread
	}
	if unread > 0 {
		return fmt.Sprintf("(%d) Grima", unread)
	}
	return "Grima"
}

// draw makes the screen: rows of exactly the terminal's width.
func (m *Model) draw() {
	m.cursor = nil
	if m.width < 10 || m.height < 4 {
		m.screen, m.linkMap = "too small", nil
		return
	}
	height := m.height - 1
	var rows []string
	switch {
	case !m.narrow():
		left := m.drawList(m.listWidth(), height)
		m.paneX = m.listWidth() + 1
		right := m.drawPane(m.paneWidth(), height)
		bar := m.th.border.Styled("│")
		for i := range height {
			rows = append(rows, left[i]+bar+right[i])
		}
	case m.listShown() && m.over == nil:
		rows = m.drawList(m.width, height)
		m.linkMap = nil
	default:
		m.paneX = 0
		rows = m.drawPane(m.width, height)
	}
	if over := len(rows) - height; over > 0 {
		// With next to no room what is being written and how the connection
		// stands stay.
		rows = rows[over:]
		m.histTop -= over
		if m.cursor != nil {
			m.cursor.Y -= over
		}
	}
	rows = append(rows, m.drawStatus())
	m.screen = strings.Join(rows, "\n")
}

// drawList is the chats, latest activity first.
func (m *Model) drawList(width, height int) []string {
	m.rows = m.rows[:0]
	rows := make([]string, 0, height)
	if at := m.openIndex(); at >= 0 && (at < m.top || at >= m.top+height) {
		m.top = max(0, at-height/2)
	}
	m.top = max(0, min(m.top, len(m.order)-height))
	for _, c := range m.order[m.top:] {
		if len(rows) == height {
			break
		}
		rows = append(rows, m.listRow(c, width))
		m.rows = append(m.rows, c)
	}
	if len(m.order) == 0 {
		word := "no chats yet"
		if !m.synced {
			word = "loading…"
		}
		rows = append(rows, " "+m.pad(m.th.hint.Styled(m.m.cut(word, width-1)), width-1))
	}
	for len(rows) < height {
		rows = append(rows, spaces(width))
	}
	return rows
}

func (m *Model) openIndex() int {
	for i, c := range m.order {
		if c == m.open {
			return i
		}
	}
	return -1
}

// listRow is one chat: what it is, its name, what is unread.
func (m *Model) listRow(c *chat, width int) string {
	th := m.th
	kind := th.dim.Styled("#")
	if c.Kind == "private" {
		if kind = m.presenceMark(m.peer(c)); kind == "" {
			kind = th.dim.Styled("@")
		}
	}
	badge, badgeWidth := "", 0
	put := func(style ansi.Style, s string) {
		badge += " " + style.Styled(s)
		badgeWidth += 1 + m.m.width(s)
	}
	if c != m.open && c.draft != "" {
		put(th.warn, "✎")
	}
	for _, it := range c.waiting {
		if it.Progress == client.Failed {
			put(th.bad, "✗")
			break
		}
	}
	if c.Mentions > 0 {
		put(th.mention, "@"+capped(c.Mentions))
	}
	if c.Unread > 0 {
		put(th.accent, capped(c.Unread))
	}
	name := m.title(c)
	if m.opts.Bidi != "terminal" {
		name, _ = m.m.visual(name)
	}
	name = m.m.fit(name, width-3-badgeWidth-1)
	switch {
	case c == m.open:
		name = th.open.Styled(name)
	case c.Unread > 0:
		name = th.unread.Styled(name)
	}
	mark := " "
	if c == m.open {
		mark = th.accent.Styled("▌")
	}
	return m.pad(mark+kind+" "+name+badge+" ", width)
}

// capped is a count of the server's, which stops at 1000.
func capped(n int64) string {
	if n > 999 {
		return "999+"
	}
	return fmt.Sprint(n)
}

// drawPane is the open chat, or what lies over it.
func (m *Model) drawPane(width, height int) []string {
	if m.over != nil {
		m.linkMap = nil
		return m.over.draw(m, width, height)
	}
	c := m.open
	if c == nil {
		popup := m.pop.draw(m, width, min(6, height/3))
		rows := make([]string, max(0, height-1-m.editorHeight(width)-len(popup)))
		for i := range rows {
			rows[i] = spaces(width)
		}
		welcome := []string{"Welcome to Grima.", "", "/msg NAME   talk to somebody", "/new TITLE  make a group", "F1          help"}
		for i, w := range welcome {
			if at := height/3 + i; at < len(rows) {
				rows[at] = m.pad("  "+m.m.cut(w, width-2), width)
			}
		}
		m.linkMap = nil
		rows = append(rows, popup...)
		return m.drawEditor(append(rows, m.pad(m.noticeLine(width), width)), width)
	}
	head := m.th.title.Styled(m.m.cut(m.visualName(m.title(c)), width-2))
	if about := m.about(c); about != "" {
		if room := width - 3 - m.m.width(m.title(c)); room > 8 {
			head += m.th.dim.Styled("  " + m.m.cut(about, room-1))
		}
	}
	rows := []string{m.pad(" "+head, width), m.th.border.Styled(strings.Repeat("─", width))}
	popup := m.pop.draw(m, width, min(6, height/3))
	hist := max(height-2-1-m.editorHeight(width)-len(popup), 0)
	m.histTop = len(rows)
	for _, l := range m.history(c, width, hist) {
		rows = append(rows, m.pad(l, width))
	}
	rows = append(rows, popup...)
	rows = append(rows, m.pad(m.infoLine(c, width), width))
	return m.drawEditor(rows, width)
}

func (m *Model) visualName(s string) string {
	if m.opts.Bidi != "terminal" {
		s, _ = m.m.visual(s)
	}
	return s
}

// infoLine is what happens right now: a notice, who is typing.
func (m *Model) infoLine(c *chat, width int) string {
	th := m.th
	switch names := m.typingNow(c); {
	case m.notice.text != "" && (m.notice.bad || len(names) == 0):
		return m.noticeLine(width)
	case c.editing > 0:
		return " " + th.warn.Styled(m.m.cut("editing · Enter saves, Esc leaves it as it was", width-1))
	case c.replyTo > 0:
		return " " + th.quote.Styled(m.m.cut(m.quoteLine(c, c.replyTo, width-16)+" · Esc: no reply", width-1))
	case c.sel > 0:
		return " " + th.accent.Styled(m.m.cut("r reply · e edit · d delete · c copy · g to what it answers · Esc", width-1))
	case !c.scroll.follows():
		word := "↓ End: to the newest"
		if c.Unread > 0 {
			word = "↓ " + capped(c.Unread) + " new · End: to the newest"
		}
		return " " + th.accent.Styled(m.m.cut(word, width-1))
	case c.Unread > 0 && len(m.linkMap) > 0 && m.missed(c):
		return " " + th.accent.Styled(m.m.cut("↑ "+capped(c.Unread)+" new · Alt+U: to the first · End: all is read", width-1))
	case len(names) == 1:
		return " " + th.hint.Styled(m.m.cut(names[0]+" is typing…", width-1))
	case len(names) == 2:
		return " " + th.hint.Styled(m.m.cut(names[0]+" and "+names[1]+" are typing…", width-1))
	case len(names) > 2:
		return " " + th.hint.Styled(m.m.cut(count(len(names), "person is", "people are")+" typing…", width-1))
	}
	return ""
}

// noticeLine is what came of what was asked for, or empty.
func (m *Model) noticeLine(width int) string {
	if m.notice.text == "" {
		return ""
	}
	style := m.th.note
	if m.notice.bad {
		style = m.th.bad
	}
	return " " + style.Styled(m.m.cut(m.notice.text, width-1))
}

// maxEditor is how many rows of the editor are shown at once.
const maxEditor = 8

func (m *Model) editorRows(width int) (rows []row, y, x int) { return m.ed.rows(width - 3) }

func (m *Model) editorHeight(width int) int {
	rows, _, _ := m.editorRows(width)
	return 1 + min(len(rows), max(1, min(maxEditor, m.height/3)))
}

// drawEditor puts the editor under rows and the cursor into it.
func (m *Model) drawEditor(rows []string, width int) []string {
	lines, y, x := m.editorRows(width)
	show := m.editorHeight(width) - 1
	first := max(0, min(y-show+1, len(lines)-show))
	if y < first {
		first = y
	}
	rows = append(rows, m.th.border.Styled(strings.Repeat("─", width)))
	if m.over == nil {
		m.cursor = tea.NewCursor(m.paneX+2+x, len(rows)+y-first)
		m.cursor.Shape = tea.CursorBar
		m.cursor.Blink = false
	}
	for i := first; i < first+show; i++ {
		prompt := "  "
		if i == 0 {
			prompt = m.th.accent.Styled("›") + " "
		}
		text := lines[i].text
		if m.ed.empty() {
			text = m.th.hint.Styled(m.m.cut("write, or / for commands", width-3))
		}
		rows = append(rows, m.pad(prompt+text, width))
	}
	return rows
}

// drawStatus is the last row: how the connection stands, always.
func (m *Model) drawStatus() string {
	th := m.th
	mark, style, word := "●", th.good, "online"
	switch m.conn.Link {
	case client.Online:
	case client.Syncing:
		mark, style, word = "◐", th.warn, "catching up"
	case client.Connecting:
		mark, style, word = "◌", th.warn, "connecting"
	case client.Offline:
		mark, style, word = "○", th.bad, "offline"
		if !m.conn.Retry.IsZero() {
			if in := m.conn.Retry.Sub(m.opts.Now()).Round(time.Second); in > 0 {
				word += fmt.Sprintf(", next try in %d s", int(in.Seconds()))
			}
		}
	case client.Stopped:
		mark, style, word = "✗", th.bad, "stopped"
		if m.ended != nil {
			word += ": " + cleanLine(reason(m.ended))
		}
	}
	waiting, failed := 0, 0
	for _, c := range m.chats {
		for _, it := range c.waiting {
			switch it.Progress {
			case client.Failed:
				failed++
			case client.Sent:
			default:
				waiting++
			}
		}
	}
	if waiting > 0 {
		word += " · " + count(waiting, "message waits", "messages wait")
	}
	if failed > 0 {
		word += fmt.Sprintf(" · %d not sent", failed)
	}
	who := ""
	if m.self.Username != "" {
		who = nameOf(m.self)
		if m.opts.Server != "" {
			who += " @ " + cleanLine(m.opts.Server)
		}
	}
	hint := "F1 help · ^K go to "
	left := " " + mark + " " + m.m.cut(word, m.width-4)
	used := m.m.width(left)
	if who != "" && used+4+m.m.width(who) < m.width {
		left += " · " + who
		used += 3 + m.m.width(who)
	}
	gap := m.width - used - m.m.width(hint)
	if gap < 2 {
		gap, hint = m.width-used, ""
	}
	line := left + spaces(gap) + hint
	return style.BackgroundColor(m.statusBack()).Styled(line)
}

func (m *Model) statusBack() ansi.Color {
	if m.th.dark {
		return ansi.IndexedColor(236)
	}
	return ansi.IndexedColor(254)
}

// pad is a styled line in exactly width columns. A line that is too long is cut.
func (m *Model) pad(s string, width int) string {
	w := m.m.StringWidth(s)
	if w > width {
		return m.m.Truncate(s, width, "…")
	}
	return s + spaces(width-w)
}
