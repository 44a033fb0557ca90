package faults

import "github.com/grima-chat/grima/protocol"

// compare holds what a server has of a chat, in which so many people were from
// the start, against what was meant, acknowledged and told: everything there
// once, in the order of its sender, with the number that was acknowledged, and
// numbers without a hole.
func (l *load) compare(server string, in, people int, rows []protocol.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := make([]int, len(l.clients)) // by sender, which message is to come
	seen := map[string]int64{}
	for i, row := range rows {
		if want := int64(people + 1 + i); row.Seq != want || row.UpdatedSeq != want {
			l.faultLocked("%s: message %d of %s has the number %d", server, i, l.chats[in], row.Seq)
			return
		}
		m := l.meant[row.Content]
		switch {
		case m == nil || m.in != in || row.SenderID != l.c.people[m.by].id:
			l.faultLocked("%s: %s %d is %q by %s, which nobody meant", server, l.chats[in], row.Seq, row.Content, row.SenderID)
			continue
		case seen[m.key] != 0:
			l.faultLocked("%s: %s is doubled, as %d and %d", server, m.key, seen[m.key], row.Seq)
			continue
		case m.seq != 0 && m.seq != row.Seq:
			l.faultLocked("%s: %s was acknowledged as %d, and is %d", server, m.key, m.seq, row.Seq)
		}
		seen[m.key] = row.Seq
		order := l.order[m.by][in]
		if next[m.by] >= len(order) || order[next[m.by]] != m {
			l.faultLocked("%s: %s is out of its sender's order, as %d", server, m.key, row.Seq)
		}
		next[m.by]++
		for _, t := range l.clients {
			if told := t.told[l.chats[in]][row.Seq]; told != m.key {
				l.faultLocked("%s: %s %d is %s, and client %d was told %q", server, l.chats[in], row.Seq, m.key, t.who, told)
			}
		}
	}
	for _, m := range l.meant {
		if m.in == in && m.seq != 0 && seen[m.key] == 0 {
			l.faultLocked("%s: %s was acknowledged as %d, and is lost", server, m.key, m.seq)
		}
	}
}
