package modeltest

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

const (
	helloLine = `{"type":"Hello","protocol":1,"server":"grima","server_id":"n1","epoch":"e","auth":[],"capabilities":[],"limits":{"max_frame":65536,"max_content":16384,"max_page":200,"auth_timeout_ms":60000},"time":"2026-09-20T10:00:00.000Z"}`
	loginLine = `{"type":"SessionRequest","id":1,"op":"session.start","params":{"mechanism":"TOKEN","token":"gt_x"}}`
	inLine    = `{"type":"SessionResponse","id":1,"op":"session.start","result":{"session_id":"s_1","user":{"user_id":"u_2","username":"bob","name":"Bob"},"expires_at":"2026-10-20T10:00:00.000Z","epoch":"e","heartbeat_ms":0}}`
)

// told by whom: messages of a chat that u_1 made with u_2 in it; u_2 leaves at 6
// and comes back at 8, and the chat shows newcomers only what is newer. Another one
// shows everything; u_2 is in it at 2, out at 3, in at 4 again, and promoted at 6.
func written() *truth {
	t := newTruth()
	at := time.Date(2026, 9, 20, 10, 0, 0, 0, time.UTC)
	message := func(seq, updated int64, content string) put {
		return put{message: &chat.Message{Chat: 1, Seq: seq, UpdatedSeq: updated, Sender: 1, Content: content, CreatedAt: at}}
	}
	bob := func(joined, left, updated int64) put {
		return put{person: &chat.Participant{Chat: 1, User: 2, Role: chat.RoleMember, JoinedSeq: joined, LeftSeq: left, UpdatedSeq: updated}}
	}
	t.commit(update{found: map[chat.ChatID]int64{1: 0}, puts: []put{
		{chat: &chat.Chat{ID: 1, Kind: chat.KindGroup, Title: "Port", History: chat.HistoryJoined, CreatedBy: 1, CreatedAt: at, UpdatedSeq: 1, LastSeq: 1}},
		{person: &chat.Participant{Chat: 1, User: 1, Role: chat.RoleOwner, JoinedSeq: 1, UpdatedSeq: 1}},
	}})
	for _, p := range []put{
		bob(2, 0, 2), message(3, 3, "three"), message(4, 4, "four"), message(3, 5, "three!"), bob(2, 6, 6),
		message(7, 7, "seven"), bob(8, 0, 8), message(7, 9, "seven!"), message(10, 10, "ten"),
	} {
		_, seq := p.place()
		t.commit(update{found: map[chat.ChatID]int64{1: seq - 1}, puts: []put{p}})
	}
	t.commit(update{found: map[chat.ChatID]int64{2: 0}, puts: []put{
		{chat: &chat.Chat{ID: 2, Kind: chat.KindGroup, Title: "Quay", History: chat.HistoryAll, CreatedBy: 1, CreatedAt: at, UpdatedSeq: 1, LastSeq: 1}},
		{person: &chat.Participant{Chat: 2, User: 1, Role: chat.RoleOwner, JoinedSeq: 1, UpdatedSeq: 1}},
	}})
	for _, p := range []put{bob(2, 0, 2), bob(2, 3, 3), bob(4, 0, 4), message(5, 5, "five"), bob(4, 0, 6), message(7, 7, "seven"), message(7, 8, "seven!")} {
		if p.person != nil {
			p.person.Chat = 2
		} else {
			p.message.Chat = 2
		}
		_, seq := p.place()
		t.commit(update{found: map[chat.ChatID]int64{2: seq - 1}, puts: []put{p}})
	}
	return t
}

func messageEvent(name, numbers, row string) string {
	return `{"type":"BroadcastResponse","event":"message.` + name + `","chat_id":"c_1",` + numbers + `,"message":{"chat_id":"c_1",` + row + `,"sender_id":"u_1","created_at":"2026-09-20T10:00:00.000Z"}}`
}

var (
	added2  = `{"type":"BroadcastResponse","event":"participant.added","chat_id":"c_1","seq":2,"participant":{"user_id":"u_2","role":"member","joined_seq":2,"updated_seq":2},"actor_id":"u_1"}`
	three   = messageEvent("created", `"seq":3`, `"seq":3,"updated_seq":3,"content":"three"`)
	four    = messageEvent("created", `"seq":4`, `"seq":4,"updated_seq":4,"content":"four"`)
	edited  = messageEvent("updated", `"seq":5`, `"seq":3,"updated_seq":5,"content":"three!"`)
	removed = `{"type":"BroadcastResponse","event":"participant.removed","chat_id":"c_1","seq":6,"participant":{"user_id":"u_2","role":"member","joined_seq":2,"left_seq":6,"updated_seq":6},"actor_id":"u_1"}`
	seven   = messageEvent("created", `"seq":7`, `"seq":7,"updated_seq":7,"content":"seven"`)
	added8  = `{"type":"BroadcastResponse","event":"participant.added","chat_id":"c_1","seq":8,"participant":{"user_id":"u_2","role":"member","joined_seq":8,"updated_seq":8},"actor_id":"u_1"}`
	gap9    = `{"type":"BroadcastResponse","event":"gap","chat_id":"c_1","seq":9}`
	nine    = messageEvent("updated", `"seq":9`, `"seq":7,"updated_seq":9,"content":"seven!"`)
	ten     = messageEvent("created", `"seq":10`, `"seq":10,"updated_seq":10,"content":"ten"`)
)

// Of the other chat, as it is told when all has happened.
var (
	wasIn2   = `{"type":"BroadcastResponse","event":"participant.added","chat_id":"c_2","seq":2,"participant":{"user_id":"u_2","role":"member","joined_seq":2,"updated_seq":2},"actor_id":"u_1"}`
	wentAt3  = `{"type":"BroadcastResponse","event":"participant.removed","chat_id":"c_2","seq":3,"participant":{"user_id":"u_2","role":"member","joined_seq":2,"left_seq":3,"updated_seq":3},"actor_id":"u_1"}`
	five     = strings.ReplaceAll(messageEvent("created", `"seq":5,"prev_seq":3`, `"seq":5,"updated_seq":5,"content":"five"`), "c_1", "c_2")
	gapTo5   = `{"type":"BroadcastResponse","event":"gap","chat_id":"c_2","seq":5,"prev_seq":3}`
	promoted = `{"type":"BroadcastResponse","event":"participant.updated","chat_id":"c_2","seq":6,"participant":{"user_id":"u_2","role":"member","joined_seq":4,"updated_seq":6},"actor_id":"u_1"}`
	eight    = strings.ReplaceAll(messageEvent("updated", `"seq":8,"prev_seq":6`, `"seq":7,"updated_seq":8,"content":"seven!"`), "c_1", "c_2")
)

// Each promise is broken once, in a conversation of a few lines, and the tap
// says which one it was. "> " is the client's line.
func TestTap(t *testing.T) {
	in := []string{helloLine, "> " + loginLine, inLine}
	whole := append(in[:3:3], added2, three, four, edited, removed, added8, gap9, ten)
	with := func(lines ...string) []string { return append(in[:3:3], lines...) }
	send := func(id string) string {
		return `> {"type":"BroadcastRequest","id":` + id + `,"op":"message.send","params":{"chat_id":"c_1","content":"x"}}`
	}
	sent := func(id, seq string) string {
		return `{"type":"BroadcastResponse","id":` + id + `,"op":"message.send","result":{"chat_id":"c_1","seq":` + seq + `,"created_at":"2026-09-20T10:00:00.000Z","duplicate":false}}`
	}
	get := func(id string) string {
		return `> {"type":"DataRequest","id":` + id + `,"op":"chats.get","params":{"chat_id":"c_1"}}`
	}
	got := func(id, last, read string) string {
		return `{"type":"DataResponse","id":` + id + `,"op":"chats.get","result":{"chat":{"chat_id":"c_1","kind":"group","created_at":"2026-09-20T10:00:00.000Z","updated_seq":1,"last_seq":` + last + `,"membership":"joined","joined_seq":2,"read_seq":` + read + `,"unread":0,"mentions":0}}}`
	}
	at2 := strings.ReplaceAll(got("2", "2", "0"), "c_1", "c_2") // before it went
	get2 := strings.ReplaceAll(get("2"), "c_1", "c_2")
	for _, c := range []struct {
		name, promise string
		lines         []string
		end           bool // the client's half-close, and then the end
	}{
		{name: "all is well", lines: whole, end: true},
		{name: "merged well", lines: with(added2, messageEvent("created", `"seq":4,"prev_seq":2`, `"seq":4,"updated_seq":4,"content":"four"`), edited)},
		{name: "merged over a row", lines: with(added2, messageEvent("updated", `"seq":5,"prev_seq":2`, `"seq":3,"updated_seq":5,"content":"three!"`)), promise: "I6 wire order"},
		{name: "a hole", lines: with(added2, four), promise: "I6 wire order"},
		{name: "twice", lines: with(added2, three, three), promise: "I6 wire order"},
		{name: "backwards", lines: with(added2, three, four, three), promise: "I6 wire order"},
		{name: "a hole after an answer", lines: with(get("2"), got("2", "3", "0"), edited), promise: "I6 wire order"},
		{name: "out and in unheard, and changed since", lines: with(get2, at2, five, promoted, eight)},
		{name: "out and in unheard, and a row left out", lines: with(get2, at2, gapTo5, promoted, eight), promise: "I6 wire order"},
		{name: "a hole after out and in unheard", lines: with(get2, at2, eight), promise: "I6 wire order"},
		{name: "out and in, and changed since", lines: with(wasIn2, wentAt3, five, promoted, eight)},
		{name: "a hole after out and in", lines: with(wasIn2, wentAt3, eight), promise: "I6 wire order"},
		{name: "a gap for nothing", lines: with(added2, three, `{"type":"BroadcastResponse","event":"gap","chat_id":"c_1","seq":4}`), promise: "I6 wire order"},
		{name: "before it came", lines: with(`{"type":"BroadcastResponse","event":"chat.created","chat_id":"c_1","seq":1}`), promise: "I8 visibility"},
		{name: "after it left", lines: with(edited, removed, seven), promise: "I8 visibility"},
		{name: "while it was out", lines: with(seven), promise: "I8 visibility"},
		{name: "from before its time", lines: with(added8, nine), promise: "I8 visibility"},
		{name: "not what was written", lines: with(added2, strings.Replace(three, "three", "tree", 1)), promise: "I19 live is durable"},
		{name: "not what it is called", lines: with(added2, strings.Replace(three, "created", "updated", 1)), promise: "I19 live is durable"},
		{name: "what was never written", lines: with(ten, messageEvent("created", `"seq":11`, `"seq":11,"updated_seq":11,"content":"x"`)), promise: "I19 live is durable"},
		{name: "before the login's answer", lines: []string{helloLine, "> " + loginLine, added2}, promise: "delivery"},
		{name: "before the sender's answer", lines: with(send("2"), ten, sent("2", "10")), promise: "delivery"},
		{name: "after the sender's answer", lines: with(send("2"), sent("2", "10"), ten)},
		{name: "out of order", lines: with(send("2"), send("3"), sent("2", "10"), sent("3", "7")), promise: "I5 order"},
		{name: "answers swapped", lines: with(send("2"), send("3"), sent("3", "7")), promise: "I11 answer"},
		{name: "answered twice", lines: with(send("2"), sent("2", "7"), sent("2", "7")), promise: "I11 answer"},
		{name: "not answered", lines: with(send("2")), end: true, promise: "I11 answer"},
		{name: "nonsense answered", lines: with(`> {"type":`, `{"type":"Error","error":{"code":"parse_error","message":"m","retryable":false}}`), end: true},
		{name: "nonsense taken for something", lines: with(`> {"type":`, `{"type":"DataResponse","op":"users.me","result":{}}`), promise: "I12 resync"},
		{name: "nonsense eats the next", lines: with(`> {"type":`, get("2"), got("2", "3", "0")), promise: "I12 resync"},
		{name: "a mark falls", lines: with(get("2"), got("2", "5", "4"), get("3"), got("3", "5", "3")), promise: "I13 monotonic"},
		{name: "a mark falls live", lines: with(`{"type":"BroadcastResponse","event":"read","chat_id":"c_1","user_id":"u_2","read_seq":4}`, `{"type":"BroadcastResponse","event":"read","chat_id":"c_1","user_id":"u_2","read_seq":3}`), promise: "I13 monotonic"},
		{name: "no Hello", lines: []string{"> " + loginLine, inLine}, promise: "Hello"},
		{name: "two of them", lines: with(helloLine), promise: "Hello"},
		{name: "after Goodbye", lines: with(`{"type":"Goodbye","code":"shutdown","message":"","reconnect":true}`, added2), promise: "Goodbye"},
		{name: "its own fault", lines: with(get("2"), `{"type":"DataResponse","id":2,"op":"chats.get","error":{"code":"internal","message":"","retryable":true}}`), promise: "errors"},
		{name: "not strict itself", lines: with(`{"type":"BroadcastResponse","event":"gap","event":"gap","chat_id":"c_1","seq":2}`), promise: "strictness"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &World{t: t, opts: Options{GapBeyond: 1000}, truth: written(), inProcess: true, host: &binary{}, addrs: []string{"somewhere"}, eras: map[*tap]int{}, counts: map[string]int{}}
			w.ctx, w.cancel = context.WithCancel(t.Context())
			defer w.cancel()
			ours, theirs := net.Pipe()
			defer theirs.Close()
			tp := newTap(w, "a tap", "u_2", plain, ours, newFaultyConn(ours, -1, -1))
			w.admit(tp, "somewhere")
			tp.mu.Lock()
			defer tp.mu.Unlock()
			for _, line := range c.lines {
				if asked, is := strings.CutPrefix(line, "> "); is {
					tp.sent.feed([]byte(asked+"\n"), tp.request)
				} else {
					tp.got.feed([]byte(line+"\n"), tp.heard)
				}
			}
			if c.end {
				tp.half = true
				tp.ended()
			}
			switch v := w.failed; {
			case v == nil && c.promise != "":
				t.Errorf("nothing is said of it, want %q", c.promise)
			case v != nil && v.Promise != c.promise:
				t.Errorf("want %q, got %v", c.promise, v)
			}
		})
	}
}
