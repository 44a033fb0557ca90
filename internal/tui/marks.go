package tui

import (
	"cmp"
	"slices"
	"strings"

	"github.com/grima-chat/grima/protocol"
)

// maxMarked is how many people a group may have whose read marks are told
// (docs/protocol.md#ephemera); in larger ones the marks would be old.
const maxMarked = 50

// maxReaders is how many names a mark has.
const maxReaders = 3

// read takes how far somebody else has read.
func (c *chat) read(userID string, seq int64) {
	if seq > c.reads[userID] {
		c.reads[userID] = seq
	}
}

// readBySenders: who wrote a message has seen what is above it.
func (m *Model) readBySenders(c *chat, msgs []protocol.Message) {
	for i := range msgs {
		if id := msgs[i].SenderID; id != m.self.UserID {
			c.read(id, msgs[i].Seq)
		}
	}
}

// mark notes under which messages it is said who has read up to there: of a
// private chat the last that the other one has read, of a group the last that
// everybody has, and where those are who have read further. A message of one's
// own says nothing about what its sender has read.
func (m *Model) mark(c *chat, msgs []protocol.Message) {
	clear(c.marks)
	if len(msgs) == 0 || len(c.reads) == 0 {
		return
	}
	// last is the message that stands at a mark; -1: above what is held.
	last := func(seq int64) int {
		i, found := slices.BinarySearchFunc(msgs, seq, func(m protocol.Message, seq int64) int { return cmp.Compare(m.Seq, seq) })
		if !found {
			i--
		}
		return i
	}
	if c.Kind == "private" {
		peer := m.peer(c)
		if i := last(c.reads[peer]); i >= 0 && msgs[i].SenderID != peer {
			c.setMark(msgs[i].Seq, "✓ read")
		}
		return
	}
	in := m.in[c.ChatID]
	if len(in) < 2 || len(in) > maxMarked {
		return
	}
	all := int64(protocol.MaxInteger) // everybody has read up to here
	for _, id := range in {
		if id != m.self.UserID {
			all = min(all, c.reads[id])
		}
	}
	at := map[int][]string{}
	for id, seq := range c.reads {
		if i := last(seq); i >= 0 && msgs[i].SenderID != id && i > last(all) {
			at[i] = append(at[i], id)
		}
	}
	for i, ids := range at {
		c.setMark(msgs[i].Seq, "✓ "+m.readers(ids))
	}
	if i := last(all); i >= 0 {
		c.setMark(msgs[i].Seq, "✓ all")
	}
}

func (c *chat) setMark(seq int64, label string) {
	if c.marks == nil {
		c.marks = map[int64]string{}
	}
	c.marks[seq] = label
}

// readers is a few names and how many there are besides.
func (m *Model) readers(ids []string) string {
	slices.Sort(ids)
	var names []string
	for _, id := range ids[:min(len(ids), maxReaders)] {
		names = append(names, m.visualName(m.m.cut(m.name(id), 16)))
	}
	s := strings.Join(names, ", ")
	if more := len(ids) - maxReaders; more > 0 {
		s += " and " + count(more, "other", "others")
	}
	return s
}

// withMark puts a mark at the right of the last line of a message, or below it
// where there is no room.
func (m *Model) withMark(lines []string, label, bar string, width int) []string {
	label = m.m.cut(label, max(width-3, 1))
	n := len(lines)
	styled, w := m.th.dim.Styled(label), m.m.width(label)
	if used := m.m.StringWidth(lines[n-1]); used+2+w < width {
		lines[n-1] += spaces(width-1-w-used) + styled
		return lines
	}
	return append(lines, bar+spaces(width-2-w)+styled)
}
