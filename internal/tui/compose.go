package tui

import (
	"context"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// submit does with the editor's text what Enter is for.
func (m *Model) submit() tea.Cmd {
	text := m.ed.String()
	if strings.TrimSpace(text) == "" {
		return nil
	}
	c := m.open
	if c != nil && c.editing > 0 {
		return m.saveEdit(c, text)
	}
	if strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "//") {
		m.hist.add(text)
		return m.command(text)
	}
	if c == nil || !c.there {
		m.say(true, "there is no chat open; /msg NAME or /new TITLE begins one")
		return nil
	}
	text = strings.TrimPrefix(text, "/") // of two, one is meant
	if len(text) > protocol.MaxContent {
		m.say(true, "that is %d bytes, and a message may have %d", len(text), protocol.MaxContent)
		return nil
	}
	m.hist.add(text)
	cmd := m.send(c, text)
	m.abandon()
	if c.seen >= c.LastSeq {
		c.newFrom = 0
	}
	m.bottom(c)
	return tea.Batch(cmd, m.keepSoon())
}

// send shows a message at once, and puts it into the outbox after those before
// it. Its id is made here: whatever happens, it is the same message.
func (m *Model) send(c *chat, text string) tea.Cmd {
	d := client.Draft{ID: client.NewID(), ChatID: c.ChatID, Content: text, ReplyTo: c.replyTo}
	d.Mentions, d.MentionAll = m.mentioned(c, text)
	c.item(client.Item{Draft: d, Progress: client.Pending, QueuedAt: m.opts.Now()})
	m.sends = append(m.sends, d)
	return m.queueNext()
}

// queuedMsg is that a draft is in the outbox, or why not.
type queuedMsg struct {
	d   client.Draft
	err error
}

// queueNext puts the next draft into the outbox, one at a time so that their
// order is theirs.
func (m *Model) queueNext() tea.Cmd {
	if m.sending || len(m.sends) == 0 {
		return nil
	}
	m.sending = true
	be, ctx, d := m.be, m.ctx, m.sends[0]
	return func() tea.Msg {
		_, err := be.Queue(ctx, d)
		return queuedMsg{d, err}
	}
}

func (m *Model) queued(msg queuedMsg) tea.Cmd {
	m.sending = false
	if i := slices.IndexFunc(m.sends, func(d client.Draft) bool { return d.ID == msg.d.ID }); i >= 0 {
		m.sends = slices.Delete(m.sends, i, i+1)
	}
	if msg.err != nil {
		// It never got into the outbox: back into the editor with it.
		c := m.chat(msg.d.ChatID)
		c.item(client.Item{Draft: msg.d, Progress: client.Discarded})
		if c == m.open && m.ed.empty() {
			m.ed.set(msg.d.Content)
		} else if c != m.open {
			c.draft = msg.d.Content + c.draft
		}
		m.say(true, "not sent: %s", reason(msg.err))
	}
	return m.queueNext()
}

// saveEdit is Enter while editing.
func (m *Model) saveEdit(c *chat, text string) tea.Cmd {
	seq := c.editing
	if len(text) > protocol.MaxContent {
		m.say(true, "that is %d bytes, and a message may have %d", len(text), protocol.MaxContent)
		return nil
	}
	was, _ := c.tl.Message(seq)
	m.abandon()
	if was.Content == text {
		return nil
	}
	m.hist.add(text) // what is refused, or cannot be sent now, comes back with ^P
	p := protocol.MessageEditParams{ChatID: c.ChatID, Seq: seq, Content: text}
	ids, all := m.mentioned(c, text)
	p.Mentions, p.MentionAll = &ids, &all
	if ids == nil {
		p.Mentions = &[]string{}
	}
	be := m.be
	return m.ask(func(ctx context.Context) doneMsg {
		_, err := be.MessageEdit(ctx, p)
		return doneMsg{err: err}
	})
}

// inputHistory is what was sent before, for ^P and ^N.
type inputHistory struct {
	lines []string
	at    int    // from the end; 0: what is being written
	saved string // what was being written
}

const maxHistory = 200

func (h *inputHistory) reset() { h.at, h.saved = 0, "" }

func (h *inputHistory) add(s string) {
	h.reset()
	if n := len(h.lines); n > 0 && h.lines[n-1] == s {
		return
	}
	h.lines = append(h.lines, s)
	if over := len(h.lines) - maxHistory; over > 0 {
		h.lines = slices.Delete(h.lines, 0, over)
	}
}

func (h *inputHistory) back(e *editor) {
	if h.at == len(h.lines) {
		return
	}
	if h.at == 0 {
		h.saved = e.String()
	}
	h.at++
	e.set(h.lines[len(h.lines)-h.at])
}

func (h *inputHistory) forward(e *editor) {
	switch h.at {
	case 0:
		return
	case 1:
		e.set(h.saved)
		h.reset()
		return
	}
	h.at--
	e.set(h.lines[len(h.lines)-h.at])
}

// spelledEmoji puts an emoji where its name was just written out, :tada:. Not
// where a word stands right before it: 10:30: is no emoji.
func (e *editor) spelledEmoji() {
	before := strings.TrimSuffix(e.before(), ":")
	start := strings.LastIndexByte(before, ':')
	if start < 0 {
		return
	}
	if r, _ := utf8.DecodeLastRuneInString(before[:start]); unicode.IsLetter(r) || unicode.IsDigit(r) {
		return
	}
	name := strings.ToLower(before[start+1:])
	for _, known := range emojis() {
		if known[0] == name {
			e.cut(e.cur-len(e.split(name+"::")), e.cur)
			e.insert(known[1])
			return
		}
	}
}

// popup is what the word before the cursor may be completed to.
type popup struct {
	items []candidate
	sel   int
	word  string // what is being completed
}

// candidate is one completion.
type candidate struct {
	insert        string
	label, detail string // clean
}

func (p *popup) open() bool { return len(p.items) > 0 }

func (p *popup) close() { *p = popup{} }

// update looks at the word before the cursor. With all, an empty word is
// completed too.
func (p *popup) update(m *Model, all bool) {
	p.close()
	before := m.ed.before()
	word := before[strings.LastIndexAny(before, " \t")+1:]
	switch {
	case strings.HasPrefix(before, "/") && !strings.HasPrefix(before, "//") && word == before && len(m.ed.text) == m.ed.cur:
		for _, c := range commands {
			if strings.HasPrefix("/"+c.name, word) {
				p.items = append(p.items, candidate{"/" + c.name + " ", "/" + c.name + " " + c.args, c.help})
			}
		}
	case strings.HasPrefix(word, "@"):
		p.people(m, word[1:])
	case strings.HasPrefix(word, ":") && len(word) > 2 && word[1] != ':':
		name := strings.ToLower(strings.Trim(word, ":"))
		for _, e := range emojiLike(name) {
			p.items = append(p.items, candidate{e[1] + " ", e[1] + " :" + e[0] + ":", ""})
			if e[0] == name && strings.HasSuffix(word, ":") {
				// It is written out.
				p.items = p.items[len(p.items)-1:]
				break
			}
		}
	}
	if !p.open() {
		return
	}
	p.word = word
	if !all && len(p.items) == 1 && p.items[0].insert == word {
		p.close()
	}
}

// people offers who is in the chat, and everybody the names are known of for
// commands.
func (p *popup) people(m *Model, prefix string) {
	prefix = strings.ToLower(prefix)
	var ids []string
	if m.open != nil {
		ids = m.in[m.open.ChatID]
	}
	if len(m.ed.text) > 0 && m.ed.text[0] == "/" {
		ids = nil
		for id := range m.byID {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		u := m.byID[id]
		if u.Username == "" || id == m.self.UserID {
			continue
		}
		begins := func(word string) bool { return strings.HasPrefix(strings.ToLower(word), prefix) }
		if begins(u.Username) || begins(u.Name) || slices.ContainsFunc(strings.Fields(u.Name), begins) {
			p.items = append(p.items, candidate{"@" + u.Username + " ", "@" + cleanLine(u.Username), nameOf(u)})
		}
	}
	slices.SortFunc(p.items, func(a, b candidate) int { return strings.Compare(a.label, b.label) })
	if m.open != nil && m.open.Kind != "private" && strings.HasPrefix("all", prefix) {
		p.items = append(p.items, candidate{"@all ", "@all", "everybody here"})
	}
}

// key does what a key is for while there is something to complete.
func (p *popup) key(m *Model, name string) bool {
	switch name {
	case "tab", "enter":
		if !p.open() {
			return false
		}
		it := p.items[p.sel]
		if name == "enter" && strings.EqualFold(strings.TrimSpace(it.insert), p.word) {
			p.close()
			return false // it is written out: do it
		}
		n := len(m.ed.split(p.word))
		m.ed.cut(m.ed.cur-n, m.ed.cur)
		m.ed.insert(it.insert)
		p.close()
	case "up":
		p.sel = (p.sel + len(p.items) - 1) % len(p.items)
	case "down":
		p.sel = (p.sel + 1) % len(p.items)
	case "esc":
		p.close()
	default:
		return false
	}
	return true
}

// draw is the popup's rows, at most height.
func (p *popup) draw(m *Model, width, height int) []string {
	if !p.open() || height < 1 {
		return nil
	}
	n := min(len(p.items), height)
	first := min(max(p.sel-n/2, 0), len(p.items)-n)
	var rows []string
	for i := first; i < first+n; i++ {
		it := p.items[i]
		label := m.m.cut(it.label, max(width-4, 4))
		row := " " + label
		if room := width - m.m.width(row) - 3; it.detail != "" && room > 6 {
			row += "  " + m.m.cut(it.detail, room)
		}
		row = m.m.fit(row, width-1)
		if i == p.sel {
			row = m.th.selected.Styled(row)
		} else {
			row = m.th.note.Styled(row)
		}
		rows = append(rows, m.pad(row, width))
	}
	return rows
}
