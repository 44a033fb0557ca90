package api

import (
	"context"
	"strconv"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// docs/protocol.md#messages.list
func (a *API) messagesList(ctx context.Context, c Caller, p *protocol.MessagesListParams) (protocol.MessagesListResult, error) {
	at := chat.Anchor{Before: p.Before, After: p.After, Around: p.Around}
	if p.At != nil {
		t, err := time.Parse(time.RFC3339Nano, *p.At)
		if err != nil {
			return protocol.MessagesListResult{}, protocol.NewError(protocol.CodeInvalidRequest, "at must be a time as RFC 3339 has it: 2026-09-20T10:00:07Z")
		}
		at.At = &t
	}
	page, err := a.svc.Messages(ctx, c.Actor, chatID(p.ChatID), at, int(p.Limit))
	return protocol.MessagesListResult{
		Messages:      convert(page.Messages, toMessage),
		HasMoreBefore: page.HasMoreBefore, HasMoreAfter: page.HasMoreAfter, LastSeq: page.LastSeq, AtSeq: page.AtSeq,
	}, err
}

// docs/protocol.md#messages.get
func (a *API) messagesGet(ctx context.Context, c Caller, p *protocol.MessageParams) (protocol.MessageResult, error) {
	m, err := a.svc.Message(ctx, c.Actor, chatID(p.ChatID), p.Seq)
	return protocol.MessageResult{Message: toMessage(m)}, err
}

// docs/protocol.md#message.send
func (a *API) messageSend(c Caller, p *protocol.MessageSendParams, done func([]byte, error)) {
	id := chatID(p.ChatID)
	m := chat.NewMessage{
		Chat: id, Content: p.Content, ClientMsgID: p.ClientMsgID,
		Mentions: userIDs(p.Mentions), MentionAll: p.MentionAll,
	}
	if p.ReplyTo != nil {
		if m.ReplyTo = *p.ReplyTo; m.ReplyTo == 0 {
			m.ReplyTo = noID // 0 is none to the rules, but no message on the wire
		}
	}
	a.svc.Send(c.Actor, m, c.OnFull, func(r chat.SendResult, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		done(appendSendResult(make([]byte, 0, 112), id, r), nil)
	})
}

// appendSendResult writes a protocol.MessageSendResult by hand: it is what the
// server encodes most, beside events.
func appendSendResult(b []byte, id chat.ChatID, r chat.SendResult) []byte {
	b = appendID(append(b, `{"chat_id":"`...), prefixChat, int64(id))
	b = strconv.AppendInt(append(b, `","seq":`...), r.Seq, 10)
	b = appendTime(append(b, `,"created_at":"`...), r.CreatedAt)
	b = strconv.AppendBool(append(b, `","duplicate":`...), r.Duplicate)
	return append(b, '}')
}

// docs/protocol.md#message.edit
func (a *API) messageEdit(c Caller, p *protocol.MessageEditParams, done func([]byte, error)) {
	e := chat.MessageEdit{Chat: chatID(p.ChatID), Seq: p.Seq, Content: p.Content, MentionAll: p.MentionAll}
	if p.Mentions != nil {
		ids := userIDs(*p.Mentions)
		e.Mentions = &ids
	}
	a.svc.Edit(c.Actor, e, c.OnFull, changed(e.Chat, p.Seq, done))
}

// docs/protocol.md#message.delete
func (a *API) messageDelete(c Caller, p *protocol.MessageParams, done func([]byte, error)) {
	id := chatID(p.ChatID)
	a.svc.Delete(c.Actor, id, p.Seq, c.OnFull, changed(id, p.Seq, done))
}

// changed makes what hears of an edit or a delete: it answers with a
// protocol.MessageChangeResult.
func changed(id chat.ChatID, seq int64, done func([]byte, error)) func(int64, error) {
	return func(updatedSeq int64, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		b := appendID(append(make([]byte, 0, 80), `{"chat_id":"`...), prefixChat, int64(id))
		b = strconv.AppendInt(append(b, `","seq":`...), seq, 10)
		b = strconv.AppendInt(append(b, `,"updated_seq":`...), updatedSeq, 10)
		done(append(b, '}'), nil)
	}
}

// docs/protocol.md#typing
func (a *API) typing(ctx context.Context, c Caller, p *protocol.TypingParams) (protocol.Empty, error) {
	return protocol.Empty{}, a.svc.Typing(ctx, c.Actor, chatID(p.ChatID), p.Stop)
}
