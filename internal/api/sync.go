package api

import (
	"context"
	"fmt"

	"github.com/grima-chat/grima/protocol"
)

// docs/protocol.md#sync
func (a *API) sync(ctx context.Context, c Caller, p *protocol.SyncParams) (protocol.SyncResult, error) {
	timeline := int64(1)
	if p.TimelineLimit != nil {
		timeline = *p.TimelineLimit
	}
	if timeline < 0 || timeline > protocol.MaxTimeline {
		return protocol.SyncResult{}, protocol.NewError(protocol.CodeInvalidRequest, fmt.Sprintf("timeline_limit must be 0 to %d", protocol.MaxTimeline))
	}
	if p.Cursor.Set && !p.Cursor.Null && p.Cursor.Value == "" {
		return protocol.SyncResult{}, errCursor
	}
	pos, err := parsePos(p.Cursor.Value, cursorSync, a.svc.Epoch(), c.Actor.User)
	if err != nil {
		return protocol.SyncResult{}, err
	}
	page, err := a.svc.Sync(ctx, c.Actor, pos, int(p.Limit), int(timeline))
	return protocol.SyncResult{
		Chats:  convert(page.Chats, toChatState),
		Cursor: formatPos(cursorSync, a.svc.Epoch(), c.Actor.User, page.Next), HasMore: page.More,
	}, err
}

// SyncedNow is what sync answers to somebody who was told everything up to now:
// no chats, and a cursor.
func (a *API) SyncedNow(ctx context.Context, c Caller) (protocol.SyncResult, error) {
	pos, err := a.svc.Now(ctx, c.Actor)
	return protocol.SyncResult{
		Chats:  []protocol.ChatState{},
		Cursor: formatPos(cursorSync, a.svc.Epoch(), c.Actor.User, pos),
	}, err
}

// docs/protocol.md#changes.list
func (a *API) changesList(ctx context.Context, c Caller, p *protocol.ChangesListParams) (protocol.ChangesListResult, error) {
	page, err := a.svc.Changes(ctx, c.Actor, chatID(p.ChatID), p.After, int(p.Limit))
	res := protocol.ChangesListResult{
		Messages: convert(page.Messages, toMessage), Participants: convert(page.Participants, toParticipant),
		Next: page.Next, HasMore: page.More,
	}
	if page.Chat != nil {
		row := toChat(*page.Chat)
		res.Chat = &row
	}
	return res, err
}

// docs/protocol.md#read.set
func (a *API) readSet(ctx context.Context, c Caller, p *protocol.ReadSetParams) (protocol.ReadSetResult, error) {
	id := chatID(p.ChatID)
	seq, err := a.svc.SetRead(ctx, c.Actor, id, p.Seq)
	return protocol.ReadSetResult{ChatID: FormatChat(id), ReadSeq: seq}, err
}
