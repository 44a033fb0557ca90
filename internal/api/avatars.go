package api

import (
	"context"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// Pictures go over HTTP as they are, so they have routes of their own there
// instead of rows in the table (docs/protocol.md#avatars).

// SetAvatar gives the caller a picture, or with no bytes none. The bytes are
// shown to others as they are.
func (a *API) SetAvatar(ctx context.Context, c Caller, media string, bytes []byte) (protocol.UserResult, *protocol.Error) {
	u, err := a.svc.SetAvatar(ctx, c.Actor, media, bytes)
	if err != nil {
		return protocol.UserResult{}, a.Error("setting an avatar", err)
	}
	return protocol.UserResult{User: toSelf(u, c)}, nil
}

// Avatar gives a picture by the hash that users have in their rows.
func (a *API) Avatar(ctx context.Context, c Caller, hash string) (chat.Avatar, *protocol.Error) {
	v, err := a.svc.Avatar(ctx, c.Actor, hash)
	if err != nil {
		return v, a.Error("reading an avatar", err)
	}
	return v, nil
}
