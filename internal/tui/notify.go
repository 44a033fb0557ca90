package tui

import (
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/grima-chat/grima/protocol"
)

// between is the least time between two notifications: a flood of messages rings
// once in a while.
const between = 2 * time.Second

// fresh is how old a message may be to be news.
const fresh = 2 * time.Minute

// arrived tells the user of a new message, if it is one to be told of.
func (m *Model) arrived(c *chat, msg *protocol.Message) tea.Cmd {
	if msg.SenderID == m.self.UserID || !m.synced || msg.Deleted {
		return nil
	}
	mentioned := msg.MentionAll || slices.Contains(msg.Mentions, m.self.UserID)
	// What was chosen for the chat, perhaps elsewhere, holds here too
	// (docs/protocol.md#sync).
	if c.Notify == "none" || c.Notify == "mentions" && !mentioned {
		return nil
	}
	switch m.opts.Notify {
	case "none":
		return nil
	case "all":
	default:
		if !mentioned && c.Kind != "private" {
			return nil
		}
	}
	if c == m.open && m.focused && c.scroll.follows() {
		return nil // it is being looked at
	}
	now := m.opts.Now()
	if now.Sub(m.rung) < between || now.Sub(parseTime(msg.CreatedAt))-m.ahead > fresh {
		return nil
	}
	m.rung = now
	who := m.name(msg.SenderID)
	if c.Kind != "private" {
		who += " in " + m.title(c)
	}
	seq := notification(desktop(m.opts), who, snippet(msg.Content))
	if m.opts.Bell {
		seq += "\a"
	}
	if seq == "" {
		return nil
	}
	return tea.Raw(seq)
}

// desktop is by which OSC the terminal takes notifications; empty: by none. Only
// terminals that are known to are asked: others would show what they do not
// understand.
func desktop(o Options) string {
	switch o.Desktop {
	case "9", "777":
		return o.Desktop
	case "none":
		return ""
	}
	env := o.Getenv
	if env("TMUX") != "" || strings.HasPrefix(env("TERM"), "screen") || env("STY") != "" {
		return "" // it would not get through
	}
	switch env("TERM_PROGRAM") {
	case "iTerm.app", "WezTerm", "ghostty":
		return "9"
	}
	switch term := env("TERM"); {
	case env("KITTY_WINDOW_ID") != "", env("WT_SESSION") != "":
		return "9"
	case strings.HasPrefix(term, "foot"), strings.HasPrefix(term, "rxvt"), env("VTE_VERSION") != "":
		return "777"
	}
	return ""
}

// notification is the sequence that shows one. Title and body are clean, and
// cannot end it or begin another: they have no control characters, and what
// separates parts is taken out.
func notification(how, title, body string) string {
	title, body = short(title, 60), short(body, 160)
	switch how {
	case "9":
		// With a word in front: a text that begins with "4;" would be a
		// progress bar on some terminals.
		return "\x1b]9;Grima: " + title + ": " + body + "\x1b\\"
	case "777":
		semi := strings.NewReplacer(";", ",")
		return "\x1b]777;notify;" + semi.Replace(title) + ";" + semi.Replace(body) + "\x1b\\"
	}
	return ""
}

// short is at most n characters of s, clean.
func short(s string, n int) string {
	rs := []rune(cleanLine(s))
	if len(rs) > n {
		return string(rs[:n-1]) + "…"
	}
	return string(rs)
}
