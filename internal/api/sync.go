package api

import (
	"context"
	"fmt"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// docs/protocol.md#sync
func (a *API) sync(ctx context.Context, c Caller, p *protocol.SyncParams) (protocol.SyncResult, error) {
	pos, timeline, err := a.syncFrom(c, p)
	if err != nil {
		return protocol.SyncResult{}, err
	}
	page, err := a.svc.Sync(ctx, c.Actor, pos, int(p.Limit), timeline)
	return a.synced(c, page), err
}

// syncBrief is sync for who was away for a moment: if there is more to look at
// it is not ok.
func (a *API) syncBrief(ctx context.Context, c Caller, p *protocol.SyncParams) (res protocol.SyncResult, ok bool, err error) {
	pos, timeline, err := a.syncFrom(c, p)
	if err != nil {
		return protocol.SyncResult{}, true, err
	}
	page, ok, err := a.svc.SyncBrief(ctx, c.Actor, pos, int(p.Limit), timeline)
	if !ok {
		return protocol.SyncResult{}, false, err
	}
	return a.synced(c, page), true, err
}

// syncFrom is where a sync begins, and how many messages of each chat it wants.
func (a *API) syncFrom(c Caller, p *protocol.SyncParams) (pos chat.SyncPos, timeline int, err error) {
	timeline = 1
	if n := p.TimelineLimit; n != nil {
		if *n < 0 || *n > protocol.MaxTimeline {
			return chat.SyncPos{}, 0, protocol.NewError(protocol.CodeInvalidRequest, fmt.Sprintf("timeline_limit must be 0 to %d", protocol.MaxTimeline))
		}
		timeline = int(*n)
	}
	if p.Cursor.Set && !p.Cursor.Null && p.Cursor.Value == "" {
		return chat.SyncPos{}, 0, errCursor
	}
	pos, err = parsePos(p.Cursor.Value, cursorSync, a.svc.Epoch(), c.Actor.User)
	return pos, timeline, err
}

func (a *API) synced(c Caller, page chat.SyncPage) protocol.SyncResult {
	return protocol.SyncResult{
		Chats:  convert(page.Chats, toChatState),
		Cursor: formatPos(cursorSync, a.svc.Epoch(), c.Actor.User, page.Next), HasMore: page.More,
	}
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
