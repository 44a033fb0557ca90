package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// scroll is what stands at the bottom of the history: off lines of the message
// seq are below it. The zero scroll follows the present. It is bound to a
// message and not to a number of lines, so that nothing jumps when something
// comes in above or below.
type scroll struct {
	seq    int64
	off    int
	middle bool // put the message into the middle first
	unread bool // put the "new" line near the top first
}

func (s scroll) follows() bool { return s.seq == 0 }

// index is where in msgs the bottom of the view is.
func (s scroll) index(c *chat, msgs []protocol.Message) int {
	if s.seq == 0 {
		return len(msgs) - 1
	}
	i, found := slices.BinarySearchFunc(msgs, s.seq, func(m protocol.Message, seq int64) int {
		return int(min(max(m.Seq-seq, -1), 1))
	})
	if !found {
		i--
	}
	return min(max(i, 0), len(msgs)-1)
}

// blockKey is what a message's lines depend on.
type blockKey struct {
	chat       string
	seq, rev   int64
	prev       int64
	width      int
	first, new bool
	selected   bool
	quoted     int64  // the revision of what it answers to
	mark       string // who has read up to it
}

// blockCache keeps the lines of messages that were drawn lately.
type blockCache struct {
	blocks map[blockKey][]string
}

const maxBlocks = 4096

func (b *blockCache) init() { b.blocks = map[blockKey][]string{} }

// block is the lines of message i, with what stands above it: the day, the "new"
// line, who wrote it.
func (m *Model) block(c *chat, msgs []protocol.Message, i, width int) []string {
	msg := &msgs[i]
	k := blockKey{chat: c.ChatID, seq: msg.Seq, rev: msg.UpdatedSeq, width: width, selected: msg.Seq == c.sel, mark: c.marks[msg.Seq]}
	var prev *protocol.Message
	if i > 0 {
		prev = &msgs[i-1]
		k.prev = prev.Seq
	} else {
		_, more := c.tl.Before(c.at, 1)
		k.first = !more
	}
	k.new = c.newFrom > 0 && msg.Seq > c.newFrom && (prev == nil && k.first || prev != nil && prev.Seq <= c.newFrom)
	if msg.ReplyTo > 0 {
		if q, ok := c.tl.Message(msg.ReplyTo); ok {
			k.quoted = q.UpdatedSeq
		}
	}
	if lines, ok := m.cache.blocks[k]; ok {
		return lines
	}
	lines := m.lines(c, msg, prev, k)
	if len(m.cache.blocks) >= maxBlocks {
		m.cache.init()
	}
	m.cache.blocks[k] = lines
	return lines
}

// groupFor is for how long somebody's messages stand under one name.
const groupFor = 5 * time.Minute

// lines draws a message.
func (m *Model) lines(c *chat, msg, prev *protocol.Message, k blockKey) []string {
	th, width := m.th, k.width
	at := parseTime(msg.CreatedAt).In(m.opts.Location)
	var before time.Time
	if prev != nil {
		before = parseTime(prev.CreatedAt).In(m.opts.Location)
	}
	var out []string
	newDay := prev != nil && at.Format(time.DateOnly) != before.Format(time.DateOnly) || prev == nil && k.first
	if newDay {
		out = append(out, m.rule(m.day(at), width, th.dim, th.border))
	}
	if k.new {
		out = append(out, m.rule("new", width, th.bad, th.bad))
	}
	head := prev == nil || newDay || k.new || prev.SenderID != msg.SenderID ||
		at.Sub(before) > groupFor || at.Before(before) || msg.ReplyTo > 0
	mine := msg.SenderID == m.self.UserID
	bar := " "
	switch {
	case k.selected:
		bar = th.accent.Styled("▌")
	case !mine && (msg.MentionAll || slices.Contains(msg.Mentions, m.self.UserID)):
		bar = th.bad.Styled("▌")
	}
	if head {
		if len(out) == 0 && prev != nil {
			out = append(out, "")
		}
		clock := at.Format("15:04")
		name := m.m.cut(m.name(msg.SenderID), max(width-len(clock)-4, 4))
		style := th.author(msg.SenderID)
		if mine {
			style = th.self
		}
		out = append(out, bar+" "+style.Styled(name)+"  "+th.dim.Styled(clock))
	}
	if msg.ReplyTo > 0 {
		out = append(out, bar+" "+th.quote.Styled(m.quoteLine(c, msg.ReplyTo, width-2)))
	}
	if msg.Deleted {
		out = append(out, bar+" "+th.gone.Styled("message deleted"))
	} else {
		tail := ""
		if msg.EditedAt != "" {
			tail = " (edited)"
		}
		out = append(out, m.body(msg.Content, tail, bar, width, ansi.Style{})...)
	}
	if k.mark != "" {
		out = m.withMark(out, k.mark, bar, width)
	}
	return out
}

// body is the lines of a text, with tail behind it.
func (m *Model) body(content, tail, bar string, width int, style ansi.Style) []string {
	inner := width - 2
	var out []string
	paragraphs := cleanLines(content)
	for i, p := range paragraphs {
		wrapped := m.m.wrap(p, inner)
		for j, line := range wrapped {
			last := i == len(paragraphs)-1 && j == len(wrapped)-1
			shown, rtl := line, false
			if m.opts.Bidi != "terminal" {
				shown, rtl = m.m.visual(line)
			}
			w := m.m.width(line)
			pad := ""
			if rtl {
				pad = spaces(inner - w)
			}
			s := bar + " " + pad + style.Styled(shown)
			if last && tail != "" {
				if used := w + len(pad); used+len(tail) <= inner {
					s += m.th.dim.Styled(tail)
				} else {
					s += "\n" + bar + " " + m.th.dim.Styled(strings.TrimSpace(tail))
				}
			}
			out = append(out, strings.Split(s, "\n")...)
		}
	}
	return out
}

// quoteLine is one line about the message that is answered.
func (m *Model) quoteLine(c *chat, seq int64, width int) string {
	text := "an earlier message"
	if q, ok := c.tl.Message(seq); ok {
		said := "(deleted)"
		if !q.Deleted {
			said = snippet(q.Content)
		}
		if m.opts.Bidi != "terminal" {
			said, _ = m.m.visual(said)
		}
		text = m.name(q.SenderID) + ": " + said
	}
	return m.m.cut("┃ "+text, width)
}

// snippet is a message's text as one clean line of a bounded length.
func snippet(content string) string {
	const most = 400
	if len(content) > most {
		content = strings.ToValidUTF8(content[:most], "") + "…"
	}
	return strings.Join(strings.Fields(cleanLine(content)), " ")
}

// rule is a line across the pane with a word in it.
func (m *Model) rule(word string, width int, style, line ansi.Style) string {
	word = m.m.cut(" "+word+" ", width)
	rest := max(width-m.m.width(word), 0)
	left := rest / 2
	return line.Styled(strings.Repeat("─", left)) + style.Styled(word) + line.Styled(strings.Repeat("─", rest-left))
}

// day is a date for a person.
func (m *Model) day(at time.Time) string {
	now := m.opts.Now().In(m.opts.Location)
	switch at.Format(time.DateOnly) {
	case now.Format(time.DateOnly):
		return "Today"
	case now.AddDate(0, 0, -1).Format(time.DateOnly):
		return "Yesterday"
	}
	if at.Year() == now.Year() {
		return at.Format("Monday, 2 January")
	}
	return at.Format("Monday, 2 January 2006")
}

// waitingBlock is the lines of what is not sent yet.
func (m *Model) waitingBlock(it client.Item, width int) []string {
	th := m.th
	var out []string
	if it.ReplyTo > 0 && m.open.tl != nil {
		out = append(out, "  "+th.quote.Styled(m.quoteLine(m.open, it.ReplyTo, width-2)))
	}
	switch it.Progress {
	case client.Sent:
		return append(out, m.body(it.Content, "", " ", width, ansi.Style{})...)
	case client.Failed:
		out = append(out, m.body(it.Content, "", th.bad.Styled("✗"), width, th.pending)...)
		why := "not sent"
		if it.Error != "" {
			why += ": " + cleanLine(it.Error)
		}
		return append(out, "  "+th.bad.Styled(m.m.cut(why+" · /retry or /discard", width-2)))
	default:
		return append(out, m.body(it.Content, " ◷", " ", width, th.pending)...)
	}
}

// history draws width x height of the open chat, newest at the bottom. It also
// notes which row shows which message.
func (m *Model) history(c *chat, width, height int) []string {
	msgs, waiting := c.messages(), c.unseen()
	if len(msgs) == 0 && len(waiting) == 0 {
		return m.blank(c, height, width)
	}
	m.mark(c, msgs)
	m.settle(c, msgs, width, height)
	lines, seqs := make([]string, 0, height+8), make([]int64, 0, height+8) // bottom up
	add := func(block []string, hide int, seq int64) {
		for k := len(block) - 1 - hide; k >= 0 && len(lines) < height; k-- {
			lines, seqs = append(lines, block[k]), append(seqs, seq)
		}
	}
	if c.scroll.follows() && c.present() {
		for k := len(waiting) - 1; k >= 0 && len(lines) < height; k-- {
			add(m.waitingBlock(waiting[k], width), 0, 0)
		}
		if len(waiting) > 0 && len(lines) < height && len(msgs) > 0 && msgs[len(msgs)-1].SenderID != m.self.UserID {
			add([]string{"", "  " + m.th.self.Styled(m.name(m.self.UserID))}, 0, 0)
		}
	}
	hide := c.scroll.off
	for i := c.scroll.index(c, msgs); i >= 0 && len(lines) < height; i-- {
		add(m.block(c, msgs, i, width), hide, msgs[i].Seq)
		hide = 0
	}
	if len(lines) < height {
		if _, more := c.tl.Before(c.at, 1); more {
			word := "loading…"
			if c.failed != nil {
				word = "could not be loaded: " + cleanLine(reason(c.failed))
			}
			lines, seqs = append(lines, m.rule(word, width, m.th.dim, m.th.border)), append(seqs, 0)
		}
	}
	for len(lines) < height {
		lines, seqs = append(lines, ""), append(seqs, 0)
	}
	slices.Reverse(lines)
	slices.Reverse(seqs)
	m.linkMap = seqs
	return lines
}

// blank is a history without messages.
func (m *Model) blank(c *chat, height, width int) []string {
	lines := make([]string, height)
	m.linkMap = make([]int64, height)
	word := "nothing was said here yet"
	switch {
	case c.failed != nil:
		word = "could not be loaded: " + cleanLine(reason(c.failed))
	case c.asking || c.tl == nil || len(c.tl.Held()) == 0:
		word = "loading…"
	}
	if height > 0 {
		lines[height/2] = "  " + m.th.hint.Styled(m.m.cut(word, width-2))
	}
	return lines
}

// settle makes the scroll one that can be drawn: the message is there, the view
// is full if it can be, and at the bottom of the present it follows.
func (m *Model) settle(c *chat, msgs []protocol.Message, width, height int) {
	s := &c.scroll
	if s.follows() {
		if c.at == 0 || len(msgs) == 0 {
			return
		}
		*s = scroll{seq: msgs[len(msgs)-1].Seq}
	}
	if len(msgs) == 0 {
		return
	}
	if s.unread {
		if !m.settleUnread(c, msgs, width, height) {
			return
		}
		s.unread = false
		if s.follows() {
			return
		}
	}
	i := s.index(c, msgs)
	if s.middle {
		if msgs[i].Seq != s.seq && c.asking {
			return // it is on its way
		}
		s.middle = false
		s.seq, s.off = msgs[i].Seq, 0
		m.scrollBy(c, -height/2, width)
		i = s.index(c, msgs)
		if s.follows() {
			return
		}
	}
	s.seq = msgs[i].Seq
	s.off = min(s.off, len(m.block(c, msgs, i, width))-1)
	// Not above the beginning: the view is full as far as there is something.
	have := len(m.block(c, msgs, i, width)) - s.off
	for j := i - 1; j >= 0 && have < height; j-- {
		have += len(m.block(c, msgs, j, width))
	}
	if have < height {
		m.scrollBy(c, -(height - have), width)
	}
}

// scrollBy moves the view up by n lines, or down if n is negative.
func (m *Model) scrollBy(c *chat, n, width int) {
	msgs := c.messages()
	if len(msgs) == 0 {
		return
	}
	s := &c.scroll
	i := s.index(c, msgs)
	off := s.off + n
	for {
		h := len(m.block(c, msgs, i, width))
		switch {
		case off >= h && i > 0:
			off -= h
			i--
			continue
		case off >= h:
			off = h - 1
		case off < 0 && i < len(msgs)-1:
			i++
			off += len(m.block(c, msgs, i, width))
			continue
		case off < 0:
			off = 0
		}
		break
	}
	s.seq, s.off, s.unread = msgs[i].Seq, off, false
	if i == len(msgs)-1 && off == 0 && c.present() {
		c.at = 0
		*s = scroll{}
	}
}

// about says how a chat stands in its header.
func (m *Model) about(c *chat) string {
	var parts []string
	if c.Kind != "private" {
		in := m.in[c.ChatID]
		if len(in) > 0 {
			parts = append(parts, count(len(in), "person", "people"))
		}
		here := 0
		for _, id := range in {
			if m.presence.status[id] == "online" {
				here++
			}
		}
		if here > 0 {
			parts = append(parts, fmt.Sprintf("%d online", here))
		}
	} else if status := m.presence.status[m.peer(c)]; status != "" {
		parts = append(parts, cleanLine(status))
	}
	if c.Topic != "" {
		topic := cleanLine(c.Topic)
		if m.opts.Bidi != "terminal" {
			topic, _ = m.m.visual(topic)
		}
		parts = append(parts, topic)
	}
	return strings.Join(parts, " · ")
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
