package client

import "github.com/grima-chat/grima/protocol"

// Timeline keeps the messages of one chat that a program has seen: what a
// window shows. It knows which ranges of the history it holds, since a window
// holds the last page and not everything (docs/protocol.md#resume), and never
// takes an old row for a new one, in whatever order pages and events come. It is
// not safe for concurrent use. The zero Timeline is empty.
type Timeline struct {
	_ [0]func()
}

// Apply applies an event of this chat, as it came from the client. It reports
// whether a message that is shown changed, came or went.
func (t *Timeline) Apply(ev Event) bool { panic("not yet") }

// ApplyPage applies a page that messages.list gave for these params. An error is
// [ErrStalePage]: rows on it changed meanwhile in a way that is lost; ask again.
func (t *Timeline) ApplyPage(asked protocol.MessagesListParams, page protocol.MessagesListResult) error {
	panic("not yet")
}

// Messages is what is held of the range that touches the present, or, after a
// jump, of the range around seq: ascending, without holes. seq 0 means the
// present.
func (t *Timeline) Messages(seq int64) []protocol.Message { panic("not yet") }

// Before is what to ask for to scroll back from seq (0: from the present), or
// false when the beginning of the history is held.
func (t *Timeline) Before(seq int64, limit int) (protocol.MessagesListParams, bool) {
	panic("not yet")
}

// After is what to ask for to scroll forward from seq, or false when everything
// up to the present is held.
func (t *Timeline) After(seq int64, limit int) (protocol.MessagesListParams, bool) {
	panic("not yet")
}

// Held is the ranges of positions whose messages are held.
func (t *Timeline) Held() Ranges { panic("not yet") }
