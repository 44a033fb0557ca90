package tui

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	tea "charm.land/bubbletea/v2"
)

// keeper keeps in a file what belongs to the screen and to nobody else: drafts,
// what was sent before (for ^P), the chat that was open. What is to be sent is
// not here but in the client's outbox.
type keeper struct {
	file    string // empty: nothing is kept
	dirty   bool
	waiting bool // a saveMsg is to come
	saving  bool
	failed  error // the last time, which was said
}

// keepAfter is how long changes are gathered before they are written.
const keepAfter = 2 * time.Second

// keptState is the file's content.
type keptState struct {
	Open    string            `json:"open,omitzero"`
	Drafts  map[string]string `json:"drafts,omitzero"`
	History []string          `json:"history,omitzero"`
}

// restore reads what was kept. A file that cannot be read is said and done
// without.
func (m *Model) restore() {
	if m.kept.file == "" {
		return
	}
	raw, err := os.ReadFile(m.kept.file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var st keptState
	if err == nil {
		err = json.Unmarshal(raw, &st)
	}
	if err != nil {
		m.say(true, "drafts could not be read: %s", err)
		return
	}
	m.last = st.Open
	m.hist.lines = st.History
	for id, text := range st.Drafts {
		m.chat(id).draft = text
	}
}

// saveMsg is that it is time to save.
type saveMsg struct{}

// keptMsg is that it was saved, or why not.
type keptMsg struct{ err error }

// keepSoon saves in a while.
func (m *Model) keepSoon() tea.Cmd {
	m.kept.dirty = true
	if m.kept.file == "" || m.kept.waiting {
		return nil
	}
	m.kept.waiting = true
	return m.tick(keepAfter, func(time.Time) tea.Msg { return saveMsg{} })
}

// save writes what is to be kept, if it changed.
func (m *Model) save() tea.Cmd {
	k := &m.kept
	k.waiting = false
	if k.file == "" || !k.dirty {
		return nil
	}
	if k.saving {
		return m.keepSoon()
	}
	k.dirty, k.saving = false, true
	st := keptState{Drafts: map[string]string{}, History: append([]string(nil), m.hist.lines...)}
	for id, c := range m.chats {
		if c.draft != "" && c.editing == 0 {
			st.Drafts[id] = c.draft
		}
	}
	if m.open != nil {
		st.Open = m.open.ChatID
		if text := m.ed.String(); text != "" && m.open.editing == 0 {
			st.Drafts[st.Open] = text
		} else {
			delete(st.Drafts, st.Open)
		}
	}
	file := k.file
	return func() tea.Msg { return keptMsg{writeState(file, st)} }
}

// saved hears how a saving went. That it failed is said once, until it works again.
func (m *Model) saved(msg keptMsg) {
	k := &m.kept
	k.saving = false
	if msg.err != nil {
		k.dirty = true // with the next change it is tried again
		if k.failed == nil {
			m.say(true, "what is not sent is lost when this ends: %s", msg.err)
		}
	}
	k.failed = msg.err
}

// writeState replaces the file whole, readable for its owner only.
func writeState(file string, st keptState) error {
	raw, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("encoding drafts: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".state-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keeping drafts: %w", err)
	}
	_, err = tmp.Write(raw)
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("keeping drafts: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}
