package api

import (
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// typingExpiresMS is how long somebody counts as typing after a typing event.
const typingExpiresMS = 10_000

const eventHead = `{"type":"BroadcastResponse","event":"`

// AppendEvent appends the line, newline included, that delivers e. Its bytes
// are the same for every reader, so it is called once per event
// (docs/protocol.md#events). Messages, which are nearly all there is, are
// written by hand; the result is what marshalling a protocol.Event gives.
func AppendEvent(dst []byte, e chat.Event) []byte {
	if e.Message == nil || e.Participant != nil || e.ChatRow != nil {
		return appendJSON(dst, toEvent(e))
	}
	dst = append(append(dst, eventHead...), e.Kind...)
	dst = appendID(append(dst, `","chat_id":"`...), prefixChat, int64(e.Chat))
	dst = strconv.AppendInt(append(dst, `","seq":`...), e.Seq, 10)
	if prev := prevSeq(e); prev != 0 {
		dst = strconv.AppendInt(append(dst, `,"prev_seq":`...), prev, 10)
	}
	dst = appendMessage(append(dst, `,"message":`...), e.Message)
	if e.Actor != 0 && e.Actor != e.Message.Sender {
		dst = appendID(append(dst, `,"actor_id":"`...), prefixUser, int64(e.Actor))
		dst = append(dst, '"')
	}
	return append(dst, "}\n"...)
}

// AppendRead and its sisters append the lines of ephemeral events
// (docs/protocol.md#ephemera). This one is for others than the user.
func AppendRead(dst []byte, id chat.ChatID, user chat.UserID, seq int64) []byte {
	return appendJSON(dst, readEvent(id, user, seq))
}

// AppendPlace is AppendRead for the user, with what nobody else is told.
func AppendPlace(dst []byte, p chat.Participant) []byte {
	e := readEvent(p.Chat, p.User, p.ReadSeq)
	if e.Notify = string(p.Notify); p.Notify == chat.NotifyAll {
		e.Notify = notifyAll
	}
	return appendJSON(dst, e)
}

func readEvent(id chat.ChatID, user chat.UserID, seq int64) protocol.Event {
	return protocol.Event{
		Type: protocol.TypeBroadcastResponse, Event: protocol.EventRead,
		ChatID: FormatChat(id), UserID: FormatUser(user), ReadSeq: seq,
	}
}

func AppendTyping(dst []byte, id chat.ChatID, user chat.UserID, stop bool) []byte {
	e := protocol.Event{
		Type: protocol.TypeBroadcastResponse, Event: protocol.EventTyping,
		ChatID: FormatChat(id), UserID: FormatUser(user), Stopped: stop,
	}
	if !stop {
		e.ExpiresMS = typingExpiresMS
	}
	return appendJSON(dst, e)
}

// AppendUser appends the line that tells what somebody's row has become. What is
// told to themselves only is not in it.
func AppendUser(dst []byte, u chat.User) []byte {
	row := toUser(u)
	return appendJSON(dst, protocol.Event{Type: protocol.TypeBroadcastResponse, Event: protocol.EventUser, User: &row})
}

// toEvent is e as the wire's type.
func toEvent(e chat.Event) protocol.Event {
	out := protocol.Event{
		Type: protocol.TypeBroadcastResponse, Event: string(e.Kind),
		ChatID: FormatChat(e.Chat), Seq: e.Seq, PrevSeq: prevSeq(e),
	}
	var whose chat.UserID // of the row that changed; a chat's row is nobody's
	if e.ChatRow != nil {
		row := toChat(*e.ChatRow)
		out.Chat = &row
	}
	if e.Participant != nil {
		row := toParticipant(*e.Participant)
		out.Participant, whose = &row, e.Participant.User
	}
	if e.Message != nil {
		row := toMessage(*e.Message)
		out.Message, whose = &row, e.Message.Sender
	}
	if e.Actor != whose {
		out.ActorID = FormatUser(e.Actor)
	}
	return out
}

// prevSeq is 0, which is to say absent, where it is what a reader assumes.
func prevSeq(e chat.Event) int64 {
	if e.PrevSeq == e.Seq-1 {
		return 0
	}
	return e.PrevSeq
}

func appendMessage(b []byte, m *chat.Message) []byte {
	b = appendID(append(b, `{"chat_id":"`...), prefixChat, int64(m.Chat))
	b = strconv.AppendInt(append(b, `","seq":`...), m.Seq, 10)
	b = strconv.AppendInt(append(b, `,"updated_seq":`...), m.UpdatedSeq, 10)
	b = appendID(append(b, `,"sender_id":"`...), prefixUser, int64(m.Sender))
	b = append(b, '"')
	if m.Content != "" {
		b = appendString(append(b, `,"content":`...), m.Content)
	}
	if m.ReplyTo != 0 {
		b = strconv.AppendInt(append(b, `,"reply_to":`...), m.ReplyTo, 10)
	}
	if len(m.Mentions) > 0 {
		b = append(b, `,"mentions":[`...)
		for i, u := range m.Mentions {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendID(append(b, '"'), prefixUser, int64(u)), '"')
		}
		b = append(b, ']')
	}
	if m.MentionAll {
		b = append(b, `,"mention_all":true`...)
	}
	b = append(appendTime(append(b, `,"created_at":"`...), m.CreatedAt), '"')
	if !m.EditedAt.IsZero() {
		b = append(appendTime(append(b, `,"edited_at":"`...), m.EditedAt), '"')
	}
	if !m.DeletedAt.IsZero() {
		b = append(b, `,"deleted":true`...)
	}
	return append(b, '}')
}

// appendString quotes s. AppendQuote's error only says that it replaced what is
// not UTF-8; nothing like that gets past the codec, so it would come of a
// damaged database, and the event had better go out.
func appendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

// appendJSON appends e and a newline. Marshalling fixed structs of strings and
// integers cannot fail, with bad UTF-8 replaced as in appendString.
func appendJSON(dst []byte, e protocol.Event) []byte {
	b, err := json.Marshal(e, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic(fmt.Sprintf("encoding an event: %v", err))
	}
	return append(append(dst, b...), '\n')
}
