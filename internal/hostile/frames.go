// Package hostile speaks to a server as nobody should: random and mutated
// frames, over every kind of connection, cut up and left in the middle. The
// server must answer each line or end the conversation, keep nothing, log no
// error, and let a bystander not wait.
package hostile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/protocol"
)

// maker makes lines that a server should not be impressed by.
type maker struct {
	rng     *rand.Rand
	samples [][]byte // lines to begin with
	names   []string // ids that may be there
}

// requests are lines that mean something, to begin with.
func requests(chat, user string) (lines [][]byte) {
	seq, yes := int64(1), true
	for _, r := range []struct {
		op     string
		params any
	}{
		{protocol.OpSync, protocol.SyncParams{Limit: 5}},
		{protocol.OpChangesList, protocol.ChangesListParams{ChatID: chat, Limit: 5}},
		{protocol.OpChatsList, protocol.ChatsListParams{Limit: 5}},
		{protocol.OpChatsBrowse, protocol.ChatsBrowseParams{Limit: 5}},
		{protocol.OpChatsGet, protocol.ChatParams{ChatID: chat}},
		{protocol.OpParticipantsList, protocol.ParticipantsListParams{ChatID: chat}},
		{protocol.OpMessagesList, protocol.MessagesListParams{ChatID: chat, Before: &seq}},
		{protocol.OpMessagesGet, protocol.MessageParams{ChatID: chat, Seq: 3}},
		{protocol.OpUsersMe, protocol.Empty{}},
		{protocol.OpUsersGet, protocol.UserParams{UserID: user}},
		{protocol.OpUsersList, protocol.UsersListParams{Prefix: "a", Limit: 3}},
		{protocol.OpSessionsList, protocol.Empty{}},
		{protocol.OpUsersUpdate, protocol.UsersUpdateParams{Name: &user}},
		{protocol.OpChatsCreate, protocol.ChatsCreateParams{Kind: "group", Title: "x", UserIDs: []string{user}, ClientChatID: "once"}},
		{protocol.OpChatsUpdate, protocol.ChatsUpdateParams{ChatID: chat, Topic: protocol.Some("t")}},
		{protocol.OpParticipantsAdd, protocol.ParticipantsAddParams{ChatID: chat, UserIDs: []string{user}}},
		{protocol.OpParticipantsRemove, protocol.ParticipantParams{ChatID: chat, UserID: user}},
		{protocol.OpParticipantsUpdate, protocol.ParticipantsUpdateParams{ChatID: chat, UserID: user, Role: new("admin")}},
		{protocol.OpReadSet, protocol.ReadSetParams{ChatID: chat, Seq: 1}},
		{protocol.OpTokensCreate, protocol.TokensCreateParams{Device: "d", TTLMS: 1000}},
		{protocol.OpSessionStart, protocol.SessionStartParams{Mechanism: "TOKEN", Token: "gt_x", Subscribe: &yes}},
		{protocol.OpSessionUpdate, protocol.SessionUpdateParams{Focus: &[]string{chat}}},
		{protocol.OpMessageSend, protocol.MessageSendParams{ChatID: chat, Content: "hello", ClientMsgID: "k1", Mentions: []string{user}}},
		{protocol.OpMessageSend, protocol.MessageSendParams{ChatID: chat, Content: strings.Repeat("long ", 2000), ReplyTo: &seq}},
		{protocol.OpMessageEdit, protocol.MessageEditParams{ChatID: chat, Seq: 3, Content: "better"}},
		{protocol.OpMessageDelete, protocol.MessageParams{ChatID: chat, Seq: 3}},
		{protocol.OpTyping, protocol.TypingParams{ChatID: chat}},
	} {
		lines = append(lines, []byte(testserver.Request("7", r.op, r.params)))
	}
	return append(lines,
		[]byte(`{"type":"Ping","id":1}`), []byte(`{"type":"Pong"}`), []byte(`{"type":"Hello","protocol":1}`),
		[]byte(`{"type":"Goodbye","code":"shutdown"}`), []byte(`{"type":"BroadcastResponse","event":"message.created","chat_id":"c_1","seq":9}`))
}

// line makes a line, without its end; it may be blank, and has no newline in it
// unless it is meant to be several.
func (m *maker) line() []byte {
	b := bytes.Clone(m.samples[m.rng.IntN(len(m.samples))])
	switch m.rng.IntN(8) {
	case 0:
		return b
	case 1:
		return m.odd()
	}
	for range 1 + m.rng.IntN(4) {
		b = m.mutate(b)
	}
	return b
}

// mutate changes a line a little, or much.
func (m *maker) mutate(b []byte) []byte {
	if len(b) == 0 {
		return m.odd()
	}
	i := m.rng.IntN(len(b))
	j := min(len(b), i+1+m.rng.IntN(20))
	switch m.rng.IntN(10) {
	case 0: // a bit
		b[i] ^= 1 << m.rng.IntN(8)
	case 1: // a byte
		b[i] = byte(m.rng.IntN(256))
	case 2: // less
		b = append(b[:i:i], b[j:]...)
	case 3: // twice
		b = append(b[:j:j], b[i:]...)
	case 4: // cut off
		b = b[:i]
	case 5: // something else in between
		b = append(append(b[:i:i], m.odd()...), b[i:]...)
	case 6: // half of another
		other := m.samples[m.rng.IntN(len(m.samples))]
		b = append(b[:i:i], other[m.rng.IntN(len(other)):]...)
	case 7: // another value
		if at := bytes.LastIndexByte(b[:i+1], ':'); at >= 0 {
			end := at + 1 + bytes.IndexAny(b[at+1:], ",}")
			if end > at {
				b = append(append(b[:at+1:at+1], m.value()...), b[end:]...)
			}
		}
	case 8: // one more member
		if at := bytes.IndexByte(b, '{'); at >= 0 {
			b = append(append(b[:at+1:at+1], fmt.Sprintf("%q:%s,", m.word(), m.value())...), b[at+1:]...)
		}
	case 9: // in another case
		if b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return b
}

func (m *maker) word() string {
	words := []string{"type", "id", "op", "params", "strict", "chat_id", "seq", "Seq", "ſeq", "\x00", "content", "__proto__", "", "limit", "cursor"}
	return words[m.rng.IntN(len(words))]
}

func (m *maker) value() string {
	values := []string{
		"null", "true", "[]", "{}", `""`, "0", "-0", "-1", "1e3", "1.0", "1e999", "9007199254740991", "9007199254740992", "-9223372036854775808",
		"18446744073709551616", `"\ud800"`, `"\u0000"`, `"\u202e"`, "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]", `[1,"x",null]`, `{"type":"Ping"}`,
		`"` + m.names[m.rng.IntN(len(m.names))] + `"`, `"` + strings.Repeat("é", m.rng.IntN(300)) + `"`, strings.Repeat("9", m.rng.IntN(400)),
	}
	return values[m.rng.IntN(len(values))]
}

// odd is nothing that anybody would send.
func (m *maker) odd() []byte {
	switch m.rng.IntN(9) {
	case 0:
		b := make([]byte, m.rng.IntN(200))
		for i := range b {
			b[i] = byte(m.rng.IntN(256))
		}
		return b
	case 1:
		return bytes.Repeat([]byte("["), 1+m.rng.IntN(5000))
	case 2:
		return []byte(strings.Repeat(`{"a":`, 1+m.rng.IntN(40)) + "1")
	case 3:
		return []byte(`{"type":"DataRequest","op":"` + strings.Repeat("x", m.rng.IntN(70_000)) + `"}`)
	case 4:
		return []byte(m.value())
	case 5:
		return []byte("\xef\xbb\xbf{}")
	case 6:
		return bytes.Repeat([]byte(" \t\r"), m.rng.IntN(100))
	case 7:
		return []byte("GET / HTTP/1.1\r")
	}
	return []byte("\x1b]0;x\x07\xff\xfe\xc0\xaf\xed\xa0\x80")
}

// http makes something like a request over HTTP.
func (m *maker) http(token string) []byte {
	body := m.line()
	methods := []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "G\x00T"}
	paths := []string{
		"/v1/sync", "/v1/chats", "/v1/chats/c_1/messages", "/v1/data", "/v1/broadcast", "/v1/ws", "/v1/users/me", "/v1/openapi.json",
		"/healthz", "/..%2f..%2fetc/passwd", "//evil", "/v1/chats/%00", "http://evil/v1/sync", "*", "/v1/chats?limit=-1&limit=5", "/v1/sync?cursor=%ff",
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.%d\r\nHost: x\r\n", methods[m.rng.IntN(len(methods))], paths[m.rng.IntN(len(paths))], m.rng.IntN(3))
	for range m.rng.IntN(6) {
		headers := []string{
			"Authorization: Bearer " + token, "Content-Type: application/json", "Content-Type: text/plain", "Transfer-Encoding: chunked",
			"Content-Length: 18446744073709551616", "Content-Length: -1", "Content-Length: 3", "Expect: 100-continue", "Connection: upgrade",
			"Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13", "Origin: null", "Host: y", " folded: yes",
			"X: " + strings.Repeat("x", m.rng.IntN(20_000)), "Prefer: handling=strict", "Accept: text/event-stream", "Range: bytes=0-",
		}
		b.WriteString(headers[m.rng.IntN(len(headers))] + "\r\n")
	}
	if m.rng.IntN(2) == 0 {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body)+m.rng.IntN(3)-1)
	}
	b.WriteString("\r\n")
	raw := append([]byte(b.String()), body...)
	for range m.rng.IntN(3) {
		raw = m.mutate(raw)
	}
	return raw
}

// frame makes a WebSocket frame with a line in it, right or wrong.
func (m *maker) frame() []byte {
	first := byte(0x81)
	if m.rng.IntN(6) == 0 {
		first = byte(m.rng.IntN(256))
	}
	raw := testserver.Frame(first, string(m.line()))
	switch m.rng.IntN(12) {
	case 0:
		raw[1] &^= 0x80 // not masked
	case 1:
		raw[1] = byte(m.rng.IntN(256))
	case 2:
		raw = append([]byte{first, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, raw...)
	case 3:
		raw = bytes.Repeat(testserver.Frame(0x01, ""), 1+m.rng.IntN(500))
	case 4:
		raw = bytes.Repeat(testserver.Frame(0x89, "ping"), 1+m.rng.IntN(200))
	case 5:
		raw = m.mutate(raw)
	}
	return raw
}

// hello makes something like the beginning of a TLS handshake.
func (m *maker) hello() []byte {
	b := []byte("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03")
	for range m.rng.IntN(400) {
		b = append(b, byte(m.rng.IntN(256)))
	}
	if m.rng.IntN(2) == 0 {
		b[3], b[4] = byte(m.rng.IntN(256)), byte(m.rng.IntN(256))
	}
	return b
}
