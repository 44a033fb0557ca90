package tui

import (
	"fmt"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/grima-chat/grima/client"
)

// longFake is a client in a chat with 100,000 messages, and 999 others.
func longFake() *fake {
	f := newFake()
	f.group("c_1", "long")
	for i := range 100_000 {
		f.say("c_1", []string{"u_2", "u_3"}[i/3%2], fmt.Sprintf("message %d of a chat that is long, with some words and 日本語 to wrap", i))
	}
	f.state("c_1")
	for i := range 999 {
		f.group(fmt.Sprintf("c_%d", i+2), fmt.Sprintf("chat %d", i))
	}
	return f
}

// BenchmarkScroll is a frame of scrolling back through 100,000 messages: the
// key, the model, the picture, and the cells of it, pages that come in between
// included.
func BenchmarkScroll(b *testing.B) {
	d := play(b, longFake(), 120, 40)
	for b.Loop() {
		d.send(tea.MouseWheelMsg{X: 60, Y: 10, Button: tea.MouseWheelUp})
		Render(d.m.View(), 120, 40)
	}
}

// BenchmarkKey is a key while 1,000 events came in one batch before it: what
// somebody waits for who types while 10,000 events a second come.
func BenchmarkKey(b *testing.B) {
	d := play(b, longFake(), 120, 40)
	st := *d.m.open
	seq := int64(100_000)
	events := make([]client.Event, 1000)
	for b.Loop() {
		for i := range events {
			seq++
			msg := st.Messages[0]
			msg.Seq, msg.UpdatedSeq, msg.SenderID = seq, seq, "u_2"
			state := st.Chat
			state.LastSeq, state.Pos = seq, seq
			events[i] = client.Event{Kind: client.MessageCreated, ChatID: "c_1", Seq: seq, PrevSeq: seq - 1, Message: &msg, State: &state}
		}
		d.send(batchMsg{events: events})
		d.send(tea.KeyPressMsg{Code: 'x', Text: "x"})
		d.send(tea.KeyPressMsg{Code: tea.KeyBackspace})
		Render(d.m.View(), 120, 40)
	}
}

// BenchmarkStart is from a client that knows 1,000 chats to the first picture.
func BenchmarkStart(b *testing.B) {
	f := newFake()
	for i := range 1000 {
		id := fmt.Sprintf("c_%d", i+1)
		f.group(id, fmt.Sprintf("chat %d", i))
		f.say(id, "u_2", "hello")
		f.state(id)
	}
	for b.Loop() {
		d := play(b, f, 120, 40)
		Render(d.m.View(), 120, 40)
	}
}
