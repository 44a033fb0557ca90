package api

import (
	"context"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// docs/protocol.md#presence.get
func (a *API) presenceGet(ctx context.Context, c Caller, p *protocol.PresenceParams) (protocol.PresenceGetResult, error) {
	list, err := a.svc.Presence(ctx, c.Actor, userIDs(p.UserIDs), nil)
	return protocol.PresenceGetResult{Presence: convert(list, toPresence)}, err
}

// docs/protocol.md#presence.watch
func (a *API) presenceWatch(ctx context.Context, c Caller, p *protocol.PresenceParams) (protocol.PresenceWatchResult, error) {
	if c.OnWatch == nil {
		return protocol.PresenceWatchResult{}, protocol.NewError(protocol.CodeInvalidRequest, "presence.watch makes sense only on a live connection")
	}
	var res protocol.PresenceWatchResult
	list, err := a.svc.Presence(ctx, c.Actor, userIDs(p.UserIDs), func(users []chat.UserID) {
		res.ExpiresMS = c.OnWatch(users).Milliseconds()
	})
	res.Presence = convert(list, toPresence)
	return res, err
}

func toPresence(p chat.UserStatus) protocol.Presence {
	return protocol.Presence{UserID: FormatUser(p.User), Status: string(p.Status)}
}

// AppendPresence appends the line of an ephemeral event
// (docs/protocol.md#ephemera).
func AppendPresence(dst []byte, user chat.UserID, status chat.Status) []byte {
	return appendJSON(dst, protocol.Event{
		Type: protocol.TypeBroadcastResponse, Event: protocol.EventPresence,
		UserID: FormatUser(user), Status: string(status),
	})
}
