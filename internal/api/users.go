package api

import (
	"context"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// docs/protocol.md#users.create
func (a *API) usersCreate(ctx context.Context, c Caller, p *protocol.UsersCreateParams) (protocol.UserResult, error) {
	u, err := a.svc.Register(ctx, c.Actor, c.Peer, chat.NewUser{
		Username: p.Username, Name: p.Name, Password: p.Password, Invite: p.Invite, Role: chat.Role(p.Role),
	})
	return protocol.UserResult{User: toUser(u)}, err
}

// docs/protocol.md#users.update
func (a *API) usersUpdate(ctx context.Context, c Caller, p *protocol.UsersUpdateParams) (protocol.UserResult, error) {
	var user chat.UserID
	if p.UserID != "" {
		user = userID(p.UserID)
	}
	patch := chat.UserPatch{
		Name: p.Name, Password: p.Password, CurrentPassword: p.CurrentPassword,
		Role: (*chat.Role)(p.Role), Disabled: p.Disabled, HidesPresence: p.HidesPresence,
	}
	if p.Status.Set {
		patch.Status = &p.Status.Value // null clears: the value is then empty
	}
	u, err := a.svc.UpdateUser(ctx, c.Actor, user, patch)
	return protocol.UserResult{User: toSelf(u, c)}, err
}

// docs/protocol.md#users.me
func (a *API) usersMe(ctx context.Context, c Caller, _ *protocol.Empty) (protocol.UserResult, error) {
	u, err := a.svc.User(ctx, c.Actor, c.Actor.User)
	return protocol.UserResult{User: toSelf(u, c)}, err
}

// docs/protocol.md#users.get
func (a *API) usersGet(ctx context.Context, c Caller, p *protocol.UserParams) (protocol.UserResult, error) {
	u, err := a.svc.User(ctx, c.Actor, userID(p.UserID))
	return protocol.UserResult{User: toUser(u)}, err
}

// docs/protocol.md#users.list
func (a *API) usersList(ctx context.Context, c Caller, p *protocol.UsersListParams) (protocol.UsersListResult, error) {
	if p.Find != "" {
		return a.usersFind(ctx, c, p)
	}
	after, err := parseAfter(p.Cursor, cursorUsers, p.Prefix)
	if err != nil {
		return protocol.UsersListResult{}, err
	}
	users, more, err := a.svc.Users(ctx, c.Actor, userIDs(p.UserIDs), p.Prefix, chat.UserID(after), int(p.Limit))
	res := protocol.UsersListResult{Users: convert(users, toUser), HasMore: more}
	if more && len(users) > 0 {
		res.Cursor = formatAfter(cursorUsers, p.Prefix, int64(users[len(users)-1].ID))
	}
	return res, err
}

// docs/protocol.md#find
func (a *API) usersFind(ctx context.Context, c Caller, p *protocol.UsersListParams) (res protocol.UsersListResult, err error) {
	if p.UserIDs != nil || p.Prefix != "" {
		return res, protocol.NewError(protocol.CodeInvalidRequest, "find goes with neither user_ids nor prefix")
	}
	after, err := parseFound(p.Cursor, p.Find)
	if err != nil {
		return res, err
	}
	users, next, err := a.svc.FindUsers(ctx, c.Actor, p.Find, after, int(p.Limit))
	res.Users = convert(users, toUser)
	if next != (chat.FoundPos{}) {
		res.Cursor, res.HasMore = formatFound(p.Find, next), true
	}
	return res, err
}

// docs/protocol.md#invites.create
func (a *API) invitesCreate(ctx context.Context, c Caller, p *protocol.InvitesCreateParams) (protocol.InvitesCreateResult, error) {
	i, code, err := a.svc.NewInvite(ctx, c.Actor, chat.Role(p.Role), p.MaxUses, milliseconds(p.TTLMS))
	return protocol.InvitesCreateResult{Invite: toInvite(i), Code: code}, err
}

// docs/protocol.md#invites.list
func (a *API) invitesList(ctx context.Context, c Caller, _ *protocol.Empty) (protocol.InvitesListResult, error) {
	list, err := a.svc.Invites(ctx, c.Actor)
	return protocol.InvitesListResult{Invites: convert(list, toInvite)}, err
}

// docs/protocol.md#invites.revoke
func (a *API) invitesRevoke(ctx context.Context, c Caller, p *protocol.InviteParams) (protocol.Empty, error) {
	return protocol.Empty{}, a.svc.RevokeInvite(ctx, c.Actor, inviteID(p.InviteID))
}
