package chat_test

import (
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

// Counting unread messages looks at a bounded stretch of the chat. It used to
// walk all that somebody wrote themselves since they last read, which for a bot
// that never reads is everything.
func TestUnreadIsCountedInABoundedStretch(t *testing.T) {
	w := newWorld(t)
	people := w.people("ana", "bot")
	ana, bot := people[0], people[1]
	id := ana.group("Port", bot)
	ana.say(id, "long ago")
	for range 4 * chat.UnreadCap {
		bot.say(id, "tick")
	}
	ana.say(id, "hello?")
	st, err := w.Chat(ctx, bot.Actor, id)
	ok(t, err)
	if st.Unread != 1 {
		t.Errorf("%d unread, want the one within reach", st.Unread)
	}
}
