package faults

import (
	"strings"
	"testing"

	sdk "github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// Each way to break a promise is found, or a table without faults would say
// nothing.
func TestVerify(t *testing.T) {
	row := func(seq int64, sender, key string) protocol.Message {
		return protocol.Message{ChatID: "c_1", Seq: seq, UpdatedSeq: seq, SenderID: sender, Content: key}
	}
	all := []protocol.Message{row(3, "u_1", "a0"), row(4, "u_2", "b0"), row(5, "u_1", "a1")}
	for _, c := range []struct {
		name, wrong string
		stored      []protocol.Message
		told        []protocol.Message // to the second client; the first one is told all
		acked       map[string]int64
	}{
		{name: "all is well", stored: all, told: all, acked: map[string]int64{"a0": 3, "b0": 4, "a1": 5}},
		{name: "not acknowledged", stored: all, told: all},
		{name: "lost", wrong: "a1 was acknowledged as 5, and is lost", stored: all[:2], told: all[:2], acked: map[string]int64{"a1": 5}},
		{name: "elsewhere", wrong: "b0 was acknowledged as 5, and is 4", stored: all, told: all, acked: map[string]int64{"b0": 5}},
		{name: "doubled", wrong: "a0 is doubled, as 3 and 6", stored: append(all[:3:3], row(6, "u_1", "a0")), told: all},
		{name: "out of order", wrong: "out of its sender's order", stored: []protocol.Message{row(3, "u_1", "a1"), row(4, "u_1", "a0")}, told: all},
		{name: "a hole", wrong: "message 1 of c_1 has the number 5", stored: []protocol.Message{all[0], all[2]}, told: all},
		{name: "nobody's", wrong: "which nobody meant", stored: append(all[:3:3], row(6, "u_1", "z9")), told: all},
		{name: "another's", wrong: "which nobody meant", stored: []protocol.Message{row(3, "u_2", "a0")}, told: all},
		{name: "not told", wrong: `client 1 was told ""`, stored: all, told: all[:2]},
		{name: "told twice", wrong: "a0 is told twice", stored: all, told: append(all[:1:1], all...)},
		{name: "told with a hole", wrong: "(4, 5] comes after 3", stored: all, told: []protocol.Message{all[0], all[2]}},
		{name: "told by another", wrong: "a0 is told in c_1 by u_2", stored: all, told: []protocol.Message{row(3, "u_2", "a0")}},
		{name: "told as another", wrong: `client 1 was told "a1"`, stored: all, told: []protocol.Message{row(3, "u_1", "a1")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &load{c: &Cluster{people: []person{{id: "u_1"}, {id: "u_2"}}}, chats: []string{"c_1"}, meant: map[string]*meant{}}
			for by, keys := range [][]string{{"a0", "a1"}, {"b0"}} {
				l.order = append(l.order, make([][]*meant, 1))
				for _, key := range keys {
					m := &meant{by: by, key: key, seq: c.acked[key]}
					l.meant[key] = m
					l.order[by][0] = append(l.order[by][0], m)
				}
			}
			for i, told := range [][]protocol.Message{c.stored, c.told} {
				client := &talker{l: l, who: i, last: map[string]int64{"c_1": 2}, told: map[string]map[int64]string{}}
				l.clients = append(l.clients, client)
				for _, m := range told {
					client.event(sdk.Event{Kind: sdk.MessageCreated, ChatID: "c_1", Seq: m.Seq, PrevSeq: m.Seq - 1, Message: &m})
				}
			}
			l.compare("n1", 0, 2, c.stored)
			wrong := strings.Join(l.wrong, "\n")
			if c.wrong == "" && wrong != "" || !strings.Contains(wrong, c.wrong) {
				t.Errorf("want %q, got %q", c.wrong, wrong)
			}
		})
	}
}
