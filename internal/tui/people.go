package tui

import (
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/grima-chat/grima/protocol"
)

// people is who is who.
type people struct {
	byID   map[string]protocol.User
	in     map[string][]string // chat: who is in it
	wanted map[string]bool     // to be looked up
	asked  map[string]bool     // was, without an answer
	busy   bool
}

func (p *people) init() {
	p.byID, p.in = map[string]protocol.User{}, map[string][]string{}
	p.wanted, p.asked = map[string]bool{}, map[string]bool{}
}

// retry asks again about those nobody knew.
func (p *people) retry() { clear(p.asked) }

// again asks again about everybody who is known: what became of them in a time
// away is told by nobody.
func (p *people) again() {
	for id := range p.byID {
		p.wanted[id] = true
	}
}

// know remembers somebody; what is drawn with their name is drawn anew.
func (m *Model) know(u protocol.User) {
	if old, ok := m.byID[u.UserID]; ok && old.Name == u.Name && old.Username == u.Username {
		return
	}
	m.byID[u.UserID] = u
	m.cache.init()
}

// name is somebody's name, clean; until it is known, their id.
func (m *Model) name(id string) string {
	if u, ok := m.byID[id]; ok {
		return nameOf(u)
	}
	if id == m.self.UserID && m.self.Username != "" {
		return nameOf(m.self)
	}
	if id != "" && !m.asked[id] {
		m.wanted[id] = true
	}
	return cleanLine(id)
}

func nameOf(u protocol.User) string {
	if name := strings.TrimSpace(u.Name); name != "" {
		return cleanLine(name)
	}
	return cleanLine(u.Username)
}

// title is what a chat is called, clean.
func (m *Model) title(c *chat) string {
	if id := m.peer(c); id != "" {
		return m.name(id)
	}
	if c.Kind == "private" && len(c.UserIDs) > 0 {
		return m.name(c.UserIDs[0]) + " (you)"
	}
	if c.Title != "" {
		return cleanLine(c.Title)
	}
	return cleanLine(c.ChatID)
}

// usersMsg is the answer to a look-up.
type usersMsg struct {
	ids   []string
	users map[string]protocol.User
	err   error
}

// lookUp asks for the names that are missing, if any.
func (m *Model) lookUp() tea.Cmd {
	if m.busy || len(m.wanted) == 0 {
		return nil
	}
	var ids []string
	for id := range m.wanted {
		if ids = append(ids, id); len(ids) == 200 {
			break
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		delete(m.wanted, id)
		m.asked[id] = true
	}
	m.busy = true
	be, ctx := m.be, m.ctx
	return func() tea.Msg {
		users, err := be.Users(ctx, ids...)
		return usersMsg{ids, users, err}
	}
}

func (m *Model) users(msg usersMsg) {
	m.busy = false
	if msg.err != nil {
		return // they are asked for again with the next connection
	}
	for _, u := range msg.users {
		m.know(u)
		delete(m.asked, u.UserID)
	}
}

// mentioned finds who is mentioned in a text of a chat: @username, @all.
func (m *Model) mentioned(c *chat, text string) (ids []string, all bool) {
	if !strings.Contains(text, "@") {
		return nil, false
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '@' || i > 0 && wordByte(text[i-1]) {
			continue
		}
		j := i + 1
		for j < len(text) && (wordByte(text[j]) || text[j] == '.' || text[j] == '-') {
			j++
		}
		for word := text[i+1 : j]; word != ""; {
			if strings.EqualFold(word, "all") || strings.EqualFold(word, "everyone") {
				all = true
				break
			}
			if id := m.userNamed(c, word); id != "" {
				if len(ids) < protocol.MaxMentions && !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
				break
			}
			// A full stop behind a name is the sentence's.
			trimmed := strings.TrimRight(word, ".-")
			if trimmed == word {
				break
			}
			word = trimmed
		}
		i = j - 1
	}
	return ids, all
}

func wordByte(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80
}

// userNamed is who of a chat has this username.
func (m *Model) userNamed(c *chat, username string) string {
	for _, id := range m.in[c.ChatID] {
		if strings.EqualFold(m.byID[id].Username, username) {
			return id
		}
	}
	return ""
}
