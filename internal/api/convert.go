package api

import (
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/protocol"
)

// convert makes rows of the wire out of rows of the domain. An empty list stays
// an empty list: in a result it is [], never absent or null.
func convert[In, Out any](in []In, f func(In) Out) []Out {
	out := make([]Out, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}

func toUser(u chat.User) protocol.User {
	return protocol.User{
		UserID: FormatUser(u.ID), Username: u.Username, Name: u.Name, Role: string(u.Role),
		Bot: u.Bot, Disabled: u.Disabled, Avatar: u.Avatar, Status: u.Status, CreatedAt: formatTime(u.CreatedAt),
	}
}

// toSelf is toUser, with what people are told of themselves only.
func toSelf(u chat.User, c Caller) protocol.User {
	out := toUser(u)
	out.HidesPresence = u.HidesPresence && u.ID == c.Actor.User
	return out
}

// toSession marks the session that asks.
func toSession(s chat.Session, current chat.SessionID) protocol.Session {
	return protocol.Session{
		SessionID: FormatSession(s.ID), Device: s.Device, Client: s.Client,
		CreatedAt: formatTime(s.CreatedAt), UsedAt: formatTime(s.UsedAt), ExpiresAt: formatTime(s.ExpiresAt),
		Current: s.ID == current,
	}
}

func toInvite(i chat.Invite) protocol.Invite {
	return protocol.Invite{
		InviteID: formatID(prefixInvite, int64(i.ID)), Role: string(i.Role), MaxUses: i.MaxUses, Uses: i.Uses,
		CreatedBy: FormatUser(max(i.CreatedBy, 0)), CreatedAt: formatTime(i.CreatedAt), ExpiresAt: formatTime(i.ExpiresAt),
	}
}

func toChat(c chat.Chat) protocol.Chat {
	out := protocol.Chat{
		ChatID: FormatChat(c.ID), Kind: string(c.Kind), Title: c.Title, Topic: c.Topic, History: string(c.History),
		CreatedBy: FormatUser(c.CreatedBy), CreatedAt: formatTime(c.CreatedAt),
		Deleted: !c.DeletedAt.IsZero(), UpdatedSeq: c.UpdatedSeq,
	}
	if c.Listed {
		out.Visibility = visibilityListed
	}
	if c.Kind == chat.KindPrivate {
		out.UserIDs = []string{FormatUser(c.Pair[0]), FormatUser(c.Pair[1])}
	}
	return out
}

func toListedChat(l chat.ListedChat) protocol.ListedChat {
	out := protocol.ListedChat{Chat: toChat(l.Chat), Participants: int64(l.Participants), Membership: "left"}
	if l.Joined {
		out.Membership = "joined"
	}
	return out
}

func toChatState(s chat.ChatState) protocol.ChatState {
	out := protocol.ChatState{
		Chat: toChat(s.Chat), LastSeq: s.Chat.LastSeq, Membership: "left",
		Role: string(s.Participant.Role), JoinedSeq: s.Participant.JoinedSeq, ReadSeq: s.Participant.ReadSeq,
		Notify: string(s.Participant.Notify), Unread: s.Unread, Mentions: s.Mentions,
	}
	if s.Participant.In() && s.Chat.DeletedAt.IsZero() {
		out.Membership = "joined"
	}
	if len(s.Messages) > 0 {
		out.Messages = convert(s.Messages, toMessage)
	}
	return out
}

// toParticipant leaves the read mark out: it is not a change of the chat.
func toParticipant(p chat.Participant) protocol.Participant {
	return protocol.Participant{
		UserID: FormatUser(p.User), Role: string(p.Role),
		JoinedSeq: p.JoinedSeq, LeftSeq: p.LeftSeq, UpdatedSeq: p.UpdatedSeq,
	}
}

func toMember(m chat.Member) protocol.Participant {
	out := toParticipant(m.Participant)
	out.Username, out.Name, out.Avatar, out.Status, out.ReadSeq = m.Username, m.Name, m.Avatar, m.Status, m.ReadSeq
	return out
}

func toMessage(m chat.Message) protocol.Message {
	out := protocol.Message{
		ChatID: FormatChat(m.Chat), Seq: m.Seq, UpdatedSeq: m.UpdatedSeq, SenderID: FormatUser(m.Sender),
		Content: m.Content, ReplyTo: m.ReplyTo, MentionAll: m.MentionAll,
		CreatedAt: formatTime(m.CreatedAt), EditedAt: formatTime(m.EditedAt), Deleted: !m.DeletedAt.IsZero(),
	}
	if len(m.Mentions) > 0 {
		out.Mentions = convert(m.Mentions, FormatUser)
	}
	return out
}
