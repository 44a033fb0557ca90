package tui

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// TestScreenshot draws docs/chat.svg, the picture of the README: two people's
// screens, from the cells that the program draws (go test -update).
func TestScreenshot(t *testing.T) {
	f := newFake()
	f.group("c_1", "Port")
	f.private("c_2", "u_2")
	f.private("c_3", "u_3")
	f.chats[0].Topic = "ships and tides"
	f.say("c_1", "u_2", "Good morning. Is anybody at the port?")
	f.say("c_1", "u_1", "I am. The tide is coming in ⛵")
	f.say("c_1", "u_3", "明日の船は何時ですか", func(m *protocol.Message) { m.ReplyTo = 2 })
	f.say("c_1", "u_2", "At 9:30, if the wind stays. שלום לכולם!")
	f.say("c_1", "u_2", "@ana, will you keep me a seat?", func(m *protocol.Message) {
		m.Mentions, m.EditedAt = []string{"u_1"}, "2026-09-20T10:20:00.000Z"
	})
	f.say("c_2", "u_2", "psst")
	f.say("c_3", "u_3", "good night")
	for _, id := range []string{"c_1", "c_2", "c_3"} {
		f.state(id)
	}
	f.chats[1].Unread = 2
	f.presence = map[string]string{"u_2": "online", "u_3": "away"}
	d := play(t, f, 92, 25)
	d.keys("Of course, @bob 🙌", "enter")
	ev := f.say("c_1", "u_1", "Of course, @bob 🙌")
	d.events(client.Event{Kind: client.OutboxChanged, Outbox: &client.Item{Draft: f.queued[0], Progress: client.Sent, Seq: ev.Seq}}, ev,
		client.Event{Kind: client.Typing, ChatID: "c_1", UserID: "u_2", Until: noon.Add(time.Minute), State: f.state("c_1")})
	d.keys("Bring the ma")
	svg := Render(d.m.View(), 92, 25).SVG("grima chat: a conversation in a terminal")
	file := filepath.Join("..", "..", "docs", "chat.svg")
	if *update {
		if err := os.WriteFile(file, []byte(svg), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(kept) != svg {
		t.Error("docs/chat.svg is not what the program draws; go test ./internal/tui -update draws it anew")
	}
}
