package tui

import (
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// port is a busy afternoon: every kind of message there is.
func port() *fake {
	f := newFake()
	f.group("c_1", "Port")
	f.private("c_2", "u_2")
	f.group("c_3", "日本語の部屋")
	f.chats[0].Topic = "ships and tides"
	f.say("c_1", "u_2", "good morning", func(m *protocol.Message) { m.CreatedAt = "2026-09-18T09:00:00.000Z" })
	f.say("c_1", "u_2", "is anybody at the port?")
	f.say("c_1", "u_1", "I am, and the tide is coming in; this line is long enough to be wrapped on every screen that the test has")
	f.say("c_1", "u_1", "and another one")
	f.say("c_1", "u_3", "明日の船は何時ですか 🚢", func(m *protocol.Message) { m.ReplyTo = 3 })
	f.say("c_1", "u_2", "שלום עולם, at 9:30 (מחר)")
	f.say("c_1", "u_2", "", func(m *protocol.Message) { m.Deleted = true })
	f.say("c_1", "u_2", "see you, @ana", func(m *protocol.Message) {
		m.Mentions, m.EditedAt = []string{"u_1"}, "2026-09-20T10:20:00.000Z"
	})
	f.say("c_1", "u_2", "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe")
	f.say("c_2", "u_2", "psst")
	f.state("c_1")
	f.state("c_2")
	f.chats[0].ReadSeq, f.chats[0].Unread, f.chats[0].Mentions = 7, 2, 1
	f.chats[1].Unread, f.chats[1].LastSeq = 1, 1
	return f
}

func TestGoldenScreens(t *testing.T) {
	for _, size := range []struct {
		name          string
		width, height int
	}{{"wide", 100, 30}, {"normal", 80, 24}, {"narrow", 40, 20}} {
		t.Run(size.name, func(t *testing.T) {
			d := play(t, port(), size.width, size.height)
			if d.m.narrow() {
				d.golden(size.name + "-list")
				d.keys("enter")
			}
			d.golden(size.name + "-chat")
			d.keys("two lines", "alt+enter", "日本 here")
			d.golden(size.name + "-editor")
			d.keys("ctrl+c", "@b")
			d.golden(size.name + "-complete")
			d.keys("ctrl+c", "ctrl+k", "o")
			d.golden(size.name + "-switcher")
			d.keys("esc", "f1")
			d.golden(size.name + "-help")
			d.keys("esc", "/search tide", "enter")
			d.golden(size.name + "-search")
		})
	}
}

func TestGoldenStates(t *testing.T) {
	f := port()
	d := play(t, f, 80, 24)
	d.keys("on its way", "enter")
	failed := client.Item{Draft: client.Draft{ID: "x", ChatID: "c_1", Content: "too late"}, Progress: client.Failed, Error: "no such chat"}
	d.events(
		client.Event{Kind: client.OutboxChanged, Outbox: &failed},
		client.Event{Kind: client.Typing, ChatID: "c_1", UserID: "u_2", Until: noon.Add(5 * time.Second), State: f.state("c_1")},
		client.Event{Kind: client.ConnectionChanged, Connection: &client.Connection{Link: client.Offline, Retry: noon.Add(7 * time.Second)}},
	)
	d.golden("waiting")
	d.keys("shift+up")
	d.golden("selected")
	d.keys("r")
	d.golden("reply")
	d.keys("esc", "up")
	d.golden("edit")
	d.keys("esc", "/who", "enter")
	d.golden("who")

	tiny := play(t, port(), 20, 5)
	tiny.keys("enter", "no room")
	tiny.golden("tiny")

	empty := play(t, newFake(), 80, 24)
	empty.golden("empty")

	s := NewSetup(t.Context(), "https://chat.example.org/join#gi_code", nil)
	text := Render(s.View(), 80, 12).Text()
	if !strings.Contains(text, "https://chat.example.org") || !strings.Contains(text, "gi_code") || strings.Contains(text, "/join") {
		t.Errorf("an invite's link is not taken apart:\n%s", text)
	}

	// A link that is pasted says the invite as well, which is not asked for then.
	s = NewSetup(t.Context(), "", nil)
	s.Update(tea.PasteMsg{Content: "https://chat.example.org/join#gi_code\n"})
	s.Update(keyCodes["enter"])
	s.Update(tea.KeyPressMsg{Code: 'a', Text: "a"})
	if got := s.fields[fieldName].ed.String(); got != "a" || s.fields[fieldInvite].ed.String() != "gi_code" {
		t.Errorf("after a link the form wants the name, not %q", s.fields[s.at].label)
	}
}

// A terminal that is made narrow shows what one was at.
func TestMadeNarrowTheChatStays(t *testing.T) {
	d := play(t, port(), 80, 24)
	d.keys("hello")
	d.send(tea.WindowSizeMsg{Width: 40, Height: 10})
	d.want("› hello", "see you, @ana")
}
