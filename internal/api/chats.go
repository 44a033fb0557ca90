package api

import (
	"context"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// docs/protocol.md#chats.create
func (a *API) chatsCreate(ctx context.Context, c Caller, p *protocol.ChatsCreateParams) (protocol.ChatsCreateResult, error) {
	listed, err := parseVisibility(p.Visibility)
	if err != nil && p.Visibility != "" {
		return protocol.ChatsCreateResult{}, err
	}
	n := chat.NewChat{
		Kind: chat.Kind(p.Kind), Title: p.Title, Topic: p.Topic, History: chat.History(p.History), Listed: listed,
		Users: userIDs(p.UserIDs), ClientChatID: p.ClientChatID,
	}
	if p.UserID != "" {
		n.Peer = userID(p.UserID)
	}
	st, duplicate, err := a.svc.CreateChat(ctx, c.Actor, n)
	return protocol.ChatsCreateResult{Chat: toChatState(st), Duplicate: duplicate}, err
}

// docs/protocol.md#chats.list
func (a *API) chatsList(ctx context.Context, c Caller, p *protocol.ChatsListParams) (protocol.ChatsListResult, error) {
	pos, err := parsePos(p.Cursor, cursorChats, a.svc.Epoch(), c.Actor.User)
	if err != nil {
		return protocol.ChatsListResult{}, err
	}
	page, err := a.svc.Chats(ctx, c.Actor, pos, int(p.Limit))
	res := protocol.ChatsListResult{Chats: convert(page.Chats, toChatState), HasMore: page.More}
	if page.More {
		res.Cursor = formatPos(cursorChats, a.svc.Epoch(), c.Actor.User, page.Next)
	}
	return res, err
}

// What a chat's visibility may be.
const (
	visibilityListed   = "listed"
	visibilityUnlisted = "unlisted"
)

func parseVisibility(s string) (listed bool, err error) {
	if s != visibilityListed && s != visibilityUnlisted {
		err = protocol.NewError(protocol.CodeInvalidRequest, "visibility must be listed or unlisted")
	}
	return s == visibilityListed, err
}

// docs/protocol.md#chats.browse
func (a *API) chatsBrowse(ctx context.Context, c Caller, p *protocol.ChatsBrowseParams) (protocol.ChatsBrowseResult, error) {
	after, err := parseAfter(p.Cursor, cursorListed, "")
	if err != nil {
		return protocol.ChatsBrowseResult{}, err
	}
	list, next, more, err := a.svc.ListedChats(ctx, c.Actor, chat.ChatID(after), int(p.Limit))
	res := protocol.ChatsBrowseResult{Chats: convert(list, toListedChat), HasMore: more}
	if more {
		res.Cursor = formatAfter(cursorListed, "", int64(next))
	}
	return res, err
}

// docs/protocol.md#chats.get
func (a *API) chatsGet(ctx context.Context, c Caller, p *protocol.ChatParams) (protocol.ChatResult, error) {
	st, err := a.svc.Chat(ctx, c.Actor, chatID(p.ChatID))
	return protocol.ChatResult{Chat: toChatState(st)}, err
}

// docs/protocol.md#chats.update
func (a *API) chatsUpdate(ctx context.Context, c Caller, p *protocol.ChatsUpdateParams) (protocol.ChatResult, error) {
	patch := chat.ChatPatch{Title: p.Title, History: (*chat.History)(p.History)}
	if p.Visibility != nil {
		listed, err := parseVisibility(*p.Visibility)
		if err != nil {
			return protocol.ChatResult{}, err
		}
		patch.Listed = &listed
	}
	if p.Topic.Set {
		patch.Topic = &p.Topic.Value // null clears: the value is then empty
	}
	st, err := a.svc.UpdateChat(ctx, c.Actor, chatID(p.ChatID), patch)
	return protocol.ChatResult{Chat: toChatState(st)}, err
}

// docs/protocol.md#chats.delete
func (a *API) chatsDelete(ctx context.Context, c Caller, p *protocol.ChatParams) (protocol.Empty, error) {
	return protocol.Empty{}, a.svc.DeleteChat(ctx, c.Actor, chatID(p.ChatID))
}

// docs/protocol.md#participants.list
func (a *API) participantsList(ctx context.Context, c Caller, p *protocol.ParticipantsListParams) (protocol.ParticipantsListResult, error) {
	id := chatID(p.ChatID)
	var (
		after int64
		err   error
	)
	if p.Cursor != nil {
		if after, err = parseAfter(*p.Cursor, cursorParticipants, scopeOf(id)); *p.Cursor == "" {
			err = errCursor
		}
	}
	if err != nil {
		// A chat one is not in is not found, whatever the cursor.
		if _, unseen := a.svc.Chat(ctx, c.Actor, id); unseen != nil {
			err = unseen
		}
		return protocol.ParticipantsListResult{}, err
	}
	members, more, err := a.svc.Participants(ctx, c.Actor, id, chat.UserID(after), int(p.Limit))
	res := protocol.ParticipantsListResult{Participants: convert(members, toMember), HasMore: more}
	if more && len(members) > 0 {
		res.Cursor = formatAfter(cursorParticipants, scopeOf(id), int64(members[len(members)-1].User))
	}
	return res, err
}

// docs/protocol.md#participants.add
func (a *API) participantsAdd(ctx context.Context, c Caller, p *protocol.ParticipantsAddParams) (protocol.ParticipantsAddResult, error) {
	list, err := a.svc.AddParticipants(ctx, c.Actor, chatID(p.ChatID), userIDs(p.UserIDs), chat.Role(p.Role))
	return protocol.ParticipantsAddResult{Participants: convert(list, toParticipant)}, err
}

// docs/protocol.md#participants.update
func (a *API) participantsUpdate(ctx context.Context, c Caller, p *protocol.ParticipantsUpdateParams) (protocol.ParticipantResult, error) {
	if (p.Role == nil) == (p.Notify == nil) {
		return protocol.ParticipantResult{}, protocol.NewError(protocol.CodeInvalidRequest, "give either role or notify")
	}
	if p.Notify != nil {
		one, err := a.svc.SetNotify(ctx, c.Actor, chatID(p.ChatID), userID(p.UserID), parseNotify(*p.Notify))
		return protocol.ParticipantResult{Participant: toParticipant(one)}, err
	}
	one, err := a.svc.UpdateParticipant(ctx, c.Actor, chatID(p.ChatID), userID(p.UserID), chat.Role(*p.Role))
	return protocol.ParticipantResult{Participant: toParticipant(one)}, err
}

// notifyAll is chat.NotifyAll on the wire, where it is said.
const notifyAll = "all"

// parseNotify reads a level; the rules refuse one that there is not.
func parseNotify(s string) chat.Notify {
	switch s {
	case notifyAll:
		return chat.NotifyAll
	case "":
		return "nothing"
	}
	return chat.Notify(s)
}

// docs/protocol.md#participants.remove
func (a *API) participantsRemove(ctx context.Context, c Caller, p *protocol.ParticipantParams) (protocol.ParticipantResult, error) {
	one, err := a.svc.RemoveParticipant(ctx, c.Actor, chatID(p.ChatID), userID(p.UserID))
	return protocol.ParticipantResult{Participant: toParticipant(one)}, err
}
