package tui

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/grima-chat/grima/protocol"
)

// overlay is a list over the chat: the quick switcher, what a search found, the
// help, a question.
type overlay struct {
	title  string // clean
	filter bool   // what is typed narrows the list
	typedT string
	all    []choice
	shown  []choice
	sel    int
	top    int
	first  int // the row of the screen that the list begins at
}

// choice is a row of an overlay. Without do it is there to be read.
type choice struct {
	label, detail string // clean
	keys          string // what the filter looks at
	do            func(m *Model) tea.Cmd
}

func newOverlay(title string, filter bool, all []choice) *overlay {
	for i := range all {
		all[i].keys = strings.ToLower(all[i].label + " " + all[i].detail + " " + all[i].keys)
	}
	return &overlay{title: title, filter: filter, all: all, shown: all}
}

// switcher is Ctrl-K: every chat by name, latest activity first.
func (m *Model) switcher() *overlay {
	var all []choice
	for _, c := range m.order {
		kind := "# "
		if c.Kind == "private" {
			kind = "@ "
		}
		detail := ""
		if c.Mentions > 0 {
			detail = "@" + capped(c.Mentions)
		} else if c.Unread > 0 {
			detail = capped(c.Unread) + " unread"
		}
		all = append(all, choice{label: kind + m.title(c), detail: detail, do: func(m *Model) tea.Cmd { return m.show(c) }})
	}
	return newOverlay("Go to", true, all)
}

// confirm asks before something that cannot be undone.
func (m *Model) confirm(question, yes string, do func(m *Model) tea.Cmd) *overlay {
	return newOverlay(question, false, []choice{
		{label: "no", do: func(*Model) tea.Cmd { return nil }},
		{label: yes, do: do},
	})
}

func (m *Model) confirmDelete(c *chat, msg protocol.Message) *overlay {
	if msg.Deleted {
		m.say(false, "it is deleted already")
		return nil
	}
	if msg.SenderID != m.self.UserID && (c.Kind == "private" || c.Role != "owner" && c.Role != "admin") {
		m.say(true, "only your own messages can be deleted here")
		return nil
	}
	return m.confirm("Delete for everybody: "+snippet(msg.Content), "delete", func(m *Model) tea.Cmd {
		c.sel = 0
		return m.delete(c, msg.Seq)
	})
}

// showMembers is /who.
func (m *Model) showMembers(msg membersMsg) {
	var all []choice
	for _, p := range msg.people {
		if p.LeftSeq > 0 {
			continue
		}
		detail := "@" + cleanLine(p.Username)
		if status := m.presence.status[p.UserID]; status != "" {
			detail += " · " + cleanLine(status)
		}
		if p.Role != "" && p.Role != "member" {
			detail += " · " + cleanLine(p.Role)
		}
		all = append(all, choice{label: m.name(p.UserID), detail: detail})
	}
	m.over = newOverlay("In "+m.title(msg.c)+": "+count(len(all), "person", "people"), true, all)
}

// foundMsg is what a search found.
type foundMsg struct {
	words    string
	messages []protocol.Message
	partial  bool // only what is loaded was looked at
}

// found shows it.
func (m *Model) found(msg foundMsg) {
	var all []choice
	for _, f := range msg.messages {
		c := m.chats[f.ChatID]
		if c == nil || !c.there {
			continue
		}
		at := parseTime(f.CreatedAt).In(m.opts.Location)
		all = append(all, choice{
			label:  m.visualName(snippet(f.Content)),
			detail: m.name(f.SenderID) + " in " + m.title(c) + ", " + at.Format("2 Jan 15:04"),
			do:     func(m *Model) tea.Cmd { return m.jump(c, f.Seq) },
		})
	}
	title := count(len(all), "message", "messages") + " with " + cleanLine(msg.words)
	if msg.partial {
		title += " (of those that are loaded)"
	}
	m.over = newOverlay(title, false, all)
}

// helpOverlay is F1.
func (m *Model) helpOverlay() *overlay {
	var all []choice
	for _, k := range [][2]string{
		{"Enter", "send; Alt+Enter or ^J begins a new line"},
		{"Up", "edit your last message, when nothing is written"},
		{"^P ^N", "what you sent before"},
		{"@ : / Tab", "complete names, emoji, commands"},
		{"PgUp PgDn wheel", "scroll; Alt+U to what is new; End"},
		{"Shift+Up Shift+Down", "select a message, then r e d c g; or click it"},
		{"^K", "go to a chat"},
		{"Alt+Up Alt+Down", "the chat above, below; Alt+A: the next unread"},
		{"^F", "search"},
		{"^A ^E ^W ^U ^Y", "start, end, cut word, cut line, put back"},
		{"Esc", "leave what was begun; in a narrow terminal: the list"},
		{"^L", "draw anew"},
		{"^Q, ^C twice", "leave Grima; what is not sent stays and is sent next time"},
	} {
		all = append(all, choice{label: k[0], detail: k[1]})
	}
	for _, c := range commands {
		all = append(all, choice{label: strings.TrimSpace("/" + c.name + " " + c.args), detail: c.help})
	}
	return newOverlay("Help", true, all)
}

// key does what a key is for in an overlay.
func (o *overlay) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch k.Keystroke() {
	case "esc", "ctrl+k", "f1":
		m.over = nil
	case "up", "ctrl+p", "shift+tab":
		o.move(-1)
	case "down", "ctrl+n", "tab":
		o.move(1)
	case "pgup":
		o.move(-10)
	case "pgdown":
		o.move(10)
	case "enter":
		return o.choose(m)
	case "backspace":
		if o.typedT != "" {
			cs := m.ed.split(o.typedT)
			o.typedT = strings.Join(cs[:len(cs)-1], "")
			o.narrow()
		}
	case "ctrl+u":
		o.typedT = ""
		o.narrow()
	default:
		o.typed(m, k.Text)
	}
	return nil
}

// typed narrows the list.
func (o *overlay) typed(_ *Model, s string) {
	if o.filter && s != "" {
		o.typedT += s
		o.narrow()
	}
}

func (o *overlay) narrow() {
	o.shown, o.sel, o.top = nil, 0, 0
	words := strings.Fields(strings.ToLower(o.typedT))
next:
	for _, c := range o.all {
		for _, w := range words {
			if !strings.Contains(c.keys, w) {
				continue next
			}
		}
		o.shown = append(o.shown, c)
	}
}

func (o *overlay) move(n int) { o.sel = min(max(o.sel+n, 0), max(len(o.shown)-1, 0)) }

func (o *overlay) choose(m *Model) tea.Cmd {
	if o.sel >= len(o.shown) || o.shown[o.sel].do == nil {
		if len(o.shown) == 0 {
			m.over = nil
		}
		return nil
	}
	m.over = nil
	return o.shown[o.sel].do(m)
}

func (o *overlay) click(m *Model, y int) tea.Cmd {
	i := o.top + (y-o.first)/o.step(m, m.paneWidth())
	if y < o.first || i >= len(o.shown) {
		return nil
	}
	o.sel = i
	return o.choose(m)
}

// step is how many rows a choice takes: with little room its detail stands below.
func (o *overlay) step(m *Model, width int) int {
	label, detail := 0, 0
	for _, c := range o.all {
		label, detail = max(label, m.m.width(c.label)), max(detail, m.m.width(c.detail))
	}
	if detail == 0 || min(label, width/2)+detail+4 <= width {
		return 1
	}
	return 2
}

// draw is the overlay over a pane.
func (o *overlay) draw(m *Model, width, height int) []string {
	th := m.th
	rows := []string{m.pad(" "+th.title.Styled(m.m.cut(o.title, width-2)), width)}
	if o.filter {
		shown := cleanLine(o.typedT)
		rows = append(rows, m.pad(" "+th.accent.Styled("›")+" "+m.m.cut(shown, width-4), width))
		m.cursor = tea.NewCursor(m.paneX+3+min(m.m.width(shown), width-4), 1)
		m.cursor.Shape = tea.CursorBar
	}
	rows = append(rows, th.border.Styled(strings.Repeat("─", width)))
	o.first = len(rows)
	step := o.step(m, width)
	room := max((height-len(rows))/step, 1)
	if o.sel < o.top {
		o.top = o.sel
	}
	if o.sel >= o.top+room {
		o.top = o.sel - room + 1
	}
	labels := 0
	for _, c := range o.all {
		labels = max(labels, m.m.width(c.label))
	}
	labels = min(labels, width/2)
	for i := o.top; i < len(o.shown) && len(rows)+step <= height; i++ {
		c := o.shown[i]
		line := func(s string) {
			s = m.m.fit(s, width-1)
			if i == o.sel {
				s = th.selected.Styled(s)
			}
			rows = append(rows, m.pad(s, width))
		}
		if step == 2 {
			line(" " + c.label)
			line("   " + c.detail)
			continue
		}
		if c.detail == "" {
			line(" " + c.label)
			continue
		}
		line(" " + m.m.fit(c.label, labels) + "  " + c.detail)
	}
	if len(o.shown) == 0 && len(rows) < height {
		rows = append(rows, m.pad("  "+th.hint.Styled("nothing"), width))
	}
	for len(rows) < height {
		rows = append(rows, spaces(width))
	}
	return rows[:height]
}
