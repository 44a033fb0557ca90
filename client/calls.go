package client

import (
	"context"

	"github.com/grima-chat/grima/protocol"
)

// A typed call for every operation (docs/protocol.md#operations) save
// session.start, session.update and sync, which are the client's own business,
// and typing, which is [Client.Typing]. See [Client.Do] for what they do while
// there is no connection. Errors of the server are *protocol.Error.

// SessionEnd is session.end.
func (c *Client) SessionEnd(ctx context.Context) error {
	_, err := call[protocol.Empty, protocol.Empty](ctx, c, protocol.OpSessionEnd, protocol.Empty{})
	return err
}

// ChangesList is changes.list.
func (c *Client) ChangesList(ctx context.Context, p protocol.ChangesListParams) (protocol.ChangesListResult, error) {
	return call[protocol.ChangesListParams, protocol.ChangesListResult](ctx, c, protocol.OpChangesList, p)
}

// ChatsList is chats.list.
func (c *Client) ChatsList(ctx context.Context, p protocol.ChatsListParams) (protocol.ChatsListResult, error) {
	return call[protocol.ChatsListParams, protocol.ChatsListResult](ctx, c, protocol.OpChatsList, p)
}

// ChatsBrowse is chats.browse.
func (c *Client) ChatsBrowse(ctx context.Context, p protocol.ChatsBrowseParams) (protocol.ChatsBrowseResult, error) {
	return call[protocol.ChatsBrowseParams, protocol.ChatsBrowseResult](ctx, c, protocol.OpChatsBrowse, p)
}

// ChatsGet is chats.get.
func (c *Client) ChatsGet(ctx context.Context, p protocol.ChatParams) (protocol.ChatResult, error) {
	return call[protocol.ChatParams, protocol.ChatResult](ctx, c, protocol.OpChatsGet, p)
}

// ParticipantsList is participants.list.
func (c *Client) ParticipantsList(ctx context.Context, p protocol.ParticipantsListParams) (protocol.ParticipantsListResult, error) {
	return call[protocol.ParticipantsListParams, protocol.ParticipantsListResult](ctx, c, protocol.OpParticipantsList, p)
}

// MessagesList is messages.list.
func (c *Client) MessagesList(ctx context.Context, p protocol.MessagesListParams) (protocol.MessagesListResult, error) {
	return call[protocol.MessagesListParams, protocol.MessagesListResult](ctx, c, protocol.OpMessagesList, p)
}

// MessagesGet is messages.get.
func (c *Client) MessagesGet(ctx context.Context, p protocol.MessageParams) (protocol.MessageResult, error) {
	return call[protocol.MessageParams, protocol.MessageResult](ctx, c, protocol.OpMessagesGet, p)
}

// UsersMe is users.me.
func (c *Client) UsersMe(ctx context.Context) (protocol.UserResult, error) {
	return call[protocol.Empty, protocol.UserResult](ctx, c, protocol.OpUsersMe, protocol.Empty{})
}

// UsersGet is users.get.
func (c *Client) UsersGet(ctx context.Context, p protocol.UserParams) (protocol.UserResult, error) {
	return call[protocol.UserParams, protocol.UserResult](ctx, c, protocol.OpUsersGet, p)
}

// UsersList is users.list.
func (c *Client) UsersList(ctx context.Context, p protocol.UsersListParams) (protocol.UsersListResult, error) {
	return call[protocol.UsersListParams, protocol.UsersListResult](ctx, c, protocol.OpUsersList, p)
}

// SessionsList is sessions.list.
func (c *Client) SessionsList(ctx context.Context) (protocol.SessionsListResult, error) {
	return call[protocol.Empty, protocol.SessionsListResult](ctx, c, protocol.OpSessionsList, protocol.Empty{})
}

// InvitesList is invites.list.
func (c *Client) InvitesList(ctx context.Context) (protocol.InvitesListResult, error) {
	return call[protocol.Empty, protocol.InvitesListResult](ctx, c, protocol.OpInvitesList, protocol.Empty{})
}

// PresenceGet is presence.get.
func (c *Client) PresenceGet(ctx context.Context, p protocol.PresenceParams) (protocol.PresenceGetResult, error) {
	return call[protocol.PresenceParams, protocol.PresenceGetResult](ctx, c, protocol.OpPresenceGet, p)
}

// PresenceWatch is presence.watch. It is over with the connection, or after
// ExpiresMS: ask again when [Synced] comes, and in time.
func (c *Client) PresenceWatch(ctx context.Context, p protocol.PresenceParams) (protocol.PresenceWatchResult, error) {
	return call[protocol.PresenceParams, protocol.PresenceWatchResult](ctx, c, protocol.OpPresenceWatch, p)
}

// UsersCreate is users.create.
func (c *Client) UsersCreate(ctx context.Context, p protocol.UsersCreateParams) (protocol.UserResult, error) {
	return call[protocol.UsersCreateParams, protocol.UserResult](ctx, c, protocol.OpUsersCreate, p)
}

// UsersUpdate is users.update.
func (c *Client) UsersUpdate(ctx context.Context, p protocol.UsersUpdateParams) (protocol.UserResult, error) {
	return call[protocol.UsersUpdateParams, protocol.UserResult](ctx, c, protocol.OpUsersUpdate, p)
}

// ChatsCreate is chats.create. A group without a client_chat_id gets one, so
// that it is made once.
func (c *Client) ChatsCreate(ctx context.Context, p protocol.ChatsCreateParams) (protocol.ChatsCreateResult, error) {
	if p.Kind == "group" && p.ClientChatID == "" {
		p.ClientChatID = NewID()
	}
	return call[protocol.ChatsCreateParams, protocol.ChatsCreateResult](ctx, c, protocol.OpChatsCreate, p)
}

// ChatsUpdate is chats.update.
func (c *Client) ChatsUpdate(ctx context.Context, p protocol.ChatsUpdateParams) (protocol.ChatResult, error) {
	return call[protocol.ChatsUpdateParams, protocol.ChatResult](ctx, c, protocol.OpChatsUpdate, p)
}

// ChatsDelete is chats.delete.
func (c *Client) ChatsDelete(ctx context.Context, p protocol.ChatParams) error {
	_, err := call[protocol.ChatParams, protocol.Empty](ctx, c, protocol.OpChatsDelete, p)
	return err
}

// ParticipantsAdd is participants.add.
func (c *Client) ParticipantsAdd(ctx context.Context, p protocol.ParticipantsAddParams) (protocol.ParticipantsAddResult, error) {
	return call[protocol.ParticipantsAddParams, protocol.ParticipantsAddResult](ctx, c, protocol.OpParticipantsAdd, p)
}

// ParticipantsUpdate is participants.update.
func (c *Client) ParticipantsUpdate(ctx context.Context, p protocol.ParticipantsUpdateParams) (protocol.ParticipantResult, error) {
	return call[protocol.ParticipantsUpdateParams, protocol.ParticipantResult](ctx, c, protocol.OpParticipantsUpdate, p)
}

// ParticipantsRemove is participants.remove.
func (c *Client) ParticipantsRemove(ctx context.Context, p protocol.ParticipantParams) (protocol.ParticipantResult, error) {
	return call[protocol.ParticipantParams, protocol.ParticipantResult](ctx, c, protocol.OpParticipantsRemove, p)
}

// ReadSet is read.set.
func (c *Client) ReadSet(ctx context.Context, p protocol.ReadSetParams) (protocol.ReadSetResult, error) {
	return call[protocol.ReadSetParams, protocol.ReadSetResult](ctx, c, protocol.OpReadSet, p)
}

// TokensCreate is tokens.create.
func (c *Client) TokensCreate(ctx context.Context, p protocol.TokensCreateParams) (protocol.TokensCreateResult, error) {
	return call[protocol.TokensCreateParams, protocol.TokensCreateResult](ctx, c, protocol.OpTokensCreate, p)
}

// SessionsRevoke is sessions.revoke.
func (c *Client) SessionsRevoke(ctx context.Context, p protocol.SessionParams) error {
	_, err := call[protocol.SessionParams, protocol.Empty](ctx, c, protocol.OpSessionsRevoke, p)
	return err
}

// InvitesCreate is invites.create.
func (c *Client) InvitesCreate(ctx context.Context, p protocol.InvitesCreateParams) (protocol.InvitesCreateResult, error) {
	return call[protocol.InvitesCreateParams, protocol.InvitesCreateResult](ctx, c, protocol.OpInvitesCreate, p)
}

// InvitesRevoke is invites.revoke.
func (c *Client) InvitesRevoke(ctx context.Context, p protocol.InviteParams) error {
	_, err := call[protocol.InviteParams, protocol.Empty](ctx, c, protocol.OpInvitesRevoke, p)
	return err
}

// MessageSend is message.send beside the outbox; [Client.Send] is the better
// way. Without a client_msg_id it makes one, so that it is sent once.
func (c *Client) MessageSend(ctx context.Context, p protocol.MessageSendParams) (protocol.MessageSendResult, error) {
	if p.ClientMsgID == "" {
		p.ClientMsgID = NewID()
	}
	return call[protocol.MessageSendParams, protocol.MessageSendResult](ctx, c, protocol.OpMessageSend, p)
}

// MessageEdit is message.edit.
func (c *Client) MessageEdit(ctx context.Context, p protocol.MessageEditParams) (protocol.MessageChangeResult, error) {
	return call[protocol.MessageEditParams, protocol.MessageChangeResult](ctx, c, protocol.OpMessageEdit, p)
}

// MessageDelete is message.delete.
func (c *Client) MessageDelete(ctx context.Context, p protocol.MessageParams) (protocol.MessageChangeResult, error) {
	return call[protocol.MessageParams, protocol.MessageChangeResult](ctx, c, protocol.OpMessageDelete, p)
}
