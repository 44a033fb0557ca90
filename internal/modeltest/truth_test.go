package modeltest

import (
	"strings"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// What servers with stores of their own hear of their commits comes in no order.
// The log of a chat is the same in each, and a hole or a number that was taken
// twice is found.
func TestTruthOfCommitsInNoOrder(t *testing.T) {
	group := chat.Chat{ID: 1, Kind: chat.KindGroup, UpdatedSeq: 1, LastSeq: 1}
	creator := chat.Participant{Chat: 1, User: 1, Role: chat.RoleOwner, JoinedSeq: 1, UpdatedSeq: 1}
	said := func(seq int64, what string) update {
		c := group
		c.LastSeq = seq // the chat is put with each message, and takes no number
		return update{found: map[chat.ChatID]int64{1: seq - 1}, puts: []put{
			{chat: &c}, {message: &chat.Message{Chat: 1, Seq: seq, UpdatedSeq: seq, Sender: 1, Content: what}},
		}}
	}
	made := update{found: map[chat.ChatID]int64{1: 0}, puts: []put{{chat: &group}, {person: &creator}}}
	marked := update{found: map[chat.ChatID]int64{1: 3}, puts: []put{{person: &creator}}}
	commits := []update{made, said(2, "two"), said(3, "three"), marked}
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 2, 0, 3}} {
		truth := newTruth()
		truth.beside = true
		for _, i := range order {
			truth.commit(commits[i])
		}
		v := truth.views("u_1")["c_1"]
		if what := truth.wrong(truth.commits); what != "" || v.LastSeq != 3 || v.Messages[2].Content != "two" || v.Messages[3].Content != "three" || len(v.People) != 1 {
			t.Errorf("in order %v: %q, %+v", order, what, v)
		}
	}
	for what, c := range map[string]struct {
		beside  bool
		commits []update
	}{
		"went from 1 to 3":      {true, []update{made, said(3, "three")}},
		"2 of chat c_1 was":     {true, []update{made, said(2, "two"), said(2, "and two")}},
		"3 of chat c_1 was":     {true, []update{made, said(3, "three"), said(3, "and three"), said(2, "two")}},
		"went from 1 to 3 once": {false, []update{made, said(3, "three"), said(2, "two")}},
	} {
		truth := newTruth()
		truth.beside = c.beside
		for _, u := range c.commits {
			truth.commit(u)
		}
		if got := truth.wrong(truth.commits); !strings.Contains(got, strings.TrimSuffix(what, " once")) {
			t.Errorf("want %q, got %q", what, got)
		}
	}
}
