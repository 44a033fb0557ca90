package protocol

// The operations (docs/protocol.md#operations). internal/api holds the table
// that says what each needs and does; what clients may ask again is in repeat.go.
const (
	OpSessionStart  = "session.start"
	OpSessionUpdate = "session.update"
	OpSessionEnd    = "session.end"

	OpSync             = "sync"
	OpChangesList      = "changes.list"
	OpChatsList        = "chats.list"
	OpChatsBrowse      = "chats.browse"
	OpChatsGet         = "chats.get"
	OpParticipantsList = "participants.list"
	OpMessagesList     = "messages.list"
	OpMessagesGet      = "messages.get"
	OpUsersMe          = "users.me"
	OpUsersGet         = "users.get"
	OpUsersList        = "users.list"
	OpSessionsList     = "sessions.list"
	OpInvitesList      = "invites.list"
	OpPresenceGet      = "presence.get"
	OpPresenceWatch    = "presence.watch"

	OpUsersCreate        = "users.create"
	OpUsersUpdate        = "users.update"
	OpChatsCreate        = "chats.create"
	OpChatsUpdate        = "chats.update"
	OpChatsDelete        = "chats.delete"
	OpParticipantsAdd    = "participants.add"
	OpParticipantsUpdate = "participants.update"
	OpParticipantsRemove = "participants.remove"
	OpReadSet            = "read.set"
	OpTokensCreate       = "tokens.create"
	OpSessionsRevoke     = "sessions.revoke"
	OpInvitesCreate      = "invites.create"
	OpInvitesRevoke      = "invites.revoke"

	OpMessageSend   = "message.send"
	OpMessageEdit   = "message.edit"
	OpMessageDelete = "message.delete"
	OpTyping        = "typing"
)

// Mechanisms of session.start (docs/protocol.md#login).
const (
	MechanismPlain  = "PLAIN"
	MechanismToken  = "TOKEN"
	MechanismCookie = "COOKIE" // where a browser's cookie came along (docs/protocol.md#cookies)
)

// Rows.

// User is somebody who can log in. Username and Name are what people see;
// UserID is what everything else refers to.
type User struct {
	UserID    string `json:"user_id"`
	Username  string `json:"username"`
	Name      string `json:"name"`
	Role      string `json:"role,omitzero"` // on the server: owner, admin, member
	Bot       bool   `json:"bot,omitzero"`
	Disabled  bool   `json:"disabled,omitzero"`
	Avatar    string `json:"avatar,omitzero"` // a hash, for GET /v1/avatars/{hash}
	Status    string `json:"status,omitzero"` // what they say of themselves
	CreatedAt string `json:"created_at,omitzero"`

	HidesPresence bool `json:"hides_presence,omitzero"` // told to themselves only
}

// Presence is whether somebody is there (docs/protocol.md#presence).
type Presence struct {
	UserID string `json:"user_id"`
	Status string `json:"status"` // online, away, offline
}

// Session is one login of one device.
type Session struct {
	SessionID string `json:"session_id"`
	Device    string `json:"device,omitzero"`
	Client    string `json:"client,omitzero"`
	CreatedAt string `json:"created_at"`
	UsedAt    string `json:"used_at"`
	ExpiresAt string `json:"expires_at"`
	Current   bool   `json:"current,omitzero"` // the one that asks
}

// Invite lets somebody register. Its code is shown once, when it is made.
type Invite struct {
	InviteID  string `json:"invite_id"`
	Role      string `json:"role"`
	MaxUses   int64  `json:"max_uses"`
	Uses      int64  `json:"uses"`
	CreatedBy string `json:"created_by,omitzero"`
	CreatedAt string `json:"created_at"`
	ExpiresAt string `json:"expires_at"`
}

// Chat is a conversation's own row, the same for every reader.
type Chat struct {
	ChatID     string   `json:"chat_id"`
	Kind       string   `json:"kind"` // private, group
	Title      string   `json:"title,omitzero"`
	Topic      string   `json:"topic,omitzero"`
	History    string   `json:"history,omitzero"`    // what newcomers may read: all, joined
	Visibility string   `json:"visibility,omitzero"` // listed: everybody may find it and come in; absent: unlisted
	UserIDs    []string `json:"user_ids,omitzero"`   // of a private chat, its two people
	CreatedBy  string   `json:"created_by,omitzero"`
	CreatedAt  string   `json:"created_at"`
	Deleted    bool     `json:"deleted,omitzero"`
	UpdatedSeq int64    `json:"updated_seq"`
}

// ChatState is a chat as one participant sees it in a list: its row and how
// far they are in it.
type ChatState struct {
	Chat
	LastSeq    int64     `json:"last_seq"`
	Membership string    `json:"membership"` // joined, left
	Role       string    `json:"role,omitzero"`
	JoinedSeq  int64     `json:"joined_seq,omitzero"`
	ReadSeq    int64     `json:"read_seq"`
	Notify     string    `json:"notify,omitzero"` // mentions, none; absent: all
	Unread     int64     `json:"unread"`          // capped at 1000, which means "more than 999"
	Mentions   int64     `json:"mentions"`        // capped alike
	Messages   []Message `json:"messages,omitzero"`
}

// ListedChat is a group as chats.browse shows it to those who may not be in it.
type ListedChat struct {
	Chat
	Participants int64  `json:"participants"` // how many are in
	Membership   string `json:"membership"`   // of who asks: joined, left
}

// Participant is somebody's place in a chat. Somebody who left keeps the row,
// with LeftSeq.
type Participant struct {
	UserID     string `json:"user_id"`
	Username   string `json:"username,omitzero"` // only in participants.list
	Name       string `json:"name,omitzero"`     // only in participants.list
	Avatar     string `json:"avatar,omitzero"`   // only in participants.list
	Status     string `json:"status,omitzero"`   // only in participants.list
	Role       string `json:"role"`              // owner, admin, member
	JoinedSeq  int64  `json:"joined_seq"`
	LeftSeq    int64  `json:"left_seq,omitzero"`
	ReadSeq    int64  `json:"read_seq,omitzero"` // only in lists: a read mark is no change of the chat
	UpdatedSeq int64  `json:"updated_seq"`
}

// Message is a message's row. Seq is its identity and birth position,
// UpdatedSeq the position of its latest change. A deleted one keeps its row
// without content.
type Message struct {
	ChatID     string   `json:"chat_id"`
	Seq        int64    `json:"seq"`
	UpdatedSeq int64    `json:"updated_seq"`
	SenderID   string   `json:"sender_id"`
	Content    string   `json:"content,omitzero"`
	ReplyTo    int64    `json:"reply_to,omitzero"`
	Mentions   []string `json:"mentions,omitzero"`
	MentionAll bool     `json:"mention_all,omitzero"`
	CreatedAt  string   `json:"created_at"`
	EditedAt   string   `json:"edited_at,omitzero"`
	Deleted    bool     `json:"deleted,omitzero"`
}

// Parameters and results. A field marked omitzero is optional; a pointer is
// optional where its zero value would mean something else. [Opt] marks members
// that null clears.

type (
	// Empty is the parameters or result of an operation that has none.
	Empty struct{}

	SessionStartParams struct {
		Mechanism   string `json:"mechanism"`
		Username    string `json:"username,omitzero"`
		Password    string `json:"password,omitzero"`
		Token       string `json:"token,omitzero"`
		Device      string `json:"device,omitzero"`
		Client      string `json:"client,omitzero"`
		Subscribe   *bool  `json:"subscribe,omitzero"`    // live events on this connection; absent means true
		HeartbeatMS int64  `json:"heartbeat_ms,omitzero"` // 0: none
		Cookie      bool   `json:"cookie,omitzero"`       // over HTTP: the token comes as a cookie, not in the result
	}
	SessionStartResult struct {
		SessionID   string `json:"session_id"`
		User        User   `json:"user"`
		Token       string `json:"token,omitzero"` // only after PLAIN, without cookie
		ExpiresAt   string `json:"expires_at"`
		Epoch       string `json:"epoch"`
		HeartbeatMS int64  `json:"heartbeat_ms"`
	}
	SessionUpdateParams struct {
		Focus       *[]string `json:"focus,omitzero"` // chats on the screen; typing arrives for these only
		Active      *bool     `json:"active,omitzero"`
		HeartbeatMS *int64    `json:"heartbeat_ms,omitzero"`
	}
	SessionUpdateResult struct {
		HeartbeatMS int64 `json:"heartbeat_ms"`
	}

	SyncParams struct {
		Cursor        Opt[string] `json:"cursor,omitzero"` // absent or null: from the beginning
		Limit         int64       `json:"limit,omitzero"`
		TimelineLimit *int64      `json:"timeline_limit,omitzero"` // newest messages per chat; absent 1
	}
	SyncResult struct {
		Chats   []ChatState `json:"chats"`
		Cursor  string      `json:"cursor"`
		HasMore bool        `json:"has_more"`
	}
	ChangesListParams struct {
		ChatID string `json:"chat_id"`
		After  int64  `json:"after"`
		Limit  int64  `json:"limit,omitzero"`
	}
	ChangesListResult struct {
		Messages     []Message     `json:"messages"`
		Participants []Participant `json:"participants"`
		Chat         *Chat         `json:"chat,omitzero"`
		Next         int64         `json:"next"`
		HasMore      bool          `json:"has_more"`
	}

	ChatsListParams struct {
		Limit  int64  `json:"limit,omitzero"`
		Cursor string `json:"cursor,omitzero"`
	}
	ChatsListResult struct {
		Chats   []ChatState `json:"chats"`
		Cursor  string      `json:"cursor,omitzero"`
		HasMore bool        `json:"has_more"`
	}
	ChatsBrowseParams struct {
		Limit  int64  `json:"limit,omitzero"`
		Cursor string `json:"cursor,omitzero"`
	}
	ChatsBrowseResult struct {
		Chats   []ListedChat `json:"chats"`
		Cursor  string       `json:"cursor,omitzero"`
		HasMore bool         `json:"has_more"`
	}
	ChatParams struct {
		ChatID string `json:"chat_id"`
	}
	ChatResult struct {
		Chat ChatState `json:"chat"`
	}
	ChatsCreateParams struct {
		Kind         string   `json:"kind"`
		UserID       string   `json:"user_id,omitzero"` // private
		Title        string   `json:"title,omitzero"`   // group
		Topic        string   `json:"topic,omitzero"`
		History      string   `json:"history,omitzero"`    // absent: all
		Visibility   string   `json:"visibility,omitzero"` // absent: unlisted
		UserIDs      []string `json:"user_ids,omitzero"`
		ClientChatID string   `json:"client_chat_id,omitzero"`
	}
	ChatsCreateResult struct {
		Chat      ChatState `json:"chat"`
		Duplicate bool      `json:"duplicate"` // it was there already
	}
	ChatsUpdateParams struct {
		ChatID     string      `json:"chat_id"`
		Title      *string     `json:"title,omitzero"`
		Topic      Opt[string] `json:"topic,omitzero"`
		History    *string     `json:"history,omitzero"`
		Visibility *string     `json:"visibility,omitzero"`
	}

	ParticipantsListParams struct {
		ChatID string  `json:"chat_id"`
		Limit  int64   `json:"limit,omitzero"`
		Cursor *string `json:"cursor,omitzero"`
	}
	ParticipantsListResult struct {
		Participants []Participant `json:"participants"`
		Cursor       string        `json:"cursor,omitzero"`
		HasMore      bool          `json:"has_more"`
	}
	ParticipantsAddParams struct {
		ChatID  string   `json:"chat_id"`
		UserIDs []string `json:"user_ids"`
		Role    string   `json:"role,omitzero"` // absent: member
	}
	ParticipantsAddResult struct {
		Participants []Participant `json:"participants"` // those who were not in already are new
	}
	ParticipantsUpdateParams struct {
		ChatID string  `json:"chat_id"`
		UserID string  `json:"user_id"`
		Role   *string `json:"role,omitzero"`
		Notify *string `json:"notify,omitzero"` // one's own: all, mentions, none
	}
	ParticipantParams struct {
		ChatID string `json:"chat_id"`
		UserID string `json:"user_id"`
	}
	ParticipantResult struct {
		Participant Participant `json:"participant"`
	}

	MessagesListParams struct {
		ChatID string  `json:"chat_id"`
		Before *int64  `json:"before,omitzero"` // at most one of the four; none: the newest page
		After  *int64  `json:"after,omitzero"`
		Around *int64  `json:"around,omitzero"`
		At     *string `json:"at,omitzero"` // a time
		Limit  int64   `json:"limit,omitzero"`
	}
	MessagesListResult struct {
		Messages      []Message `json:"messages"` // ascending by seq
		HasMoreBefore bool      `json:"has_more_before"`
		HasMoreAfter  bool      `json:"has_more_after"`
		LastSeq       int64     `json:"last_seq"`
		AtSeq         int64     `json:"at_seq,omitzero"` // with at: the first message of that time or later
	}
	MessageParams struct {
		ChatID string `json:"chat_id"`
		Seq    int64  `json:"seq"`
	}
	MessageResult struct {
		Message Message `json:"message"`
	}
	MessageSendParams struct {
		ChatID      string   `json:"chat_id"`
		Content     string   `json:"content"`
		ClientMsgID string   `json:"client_msg_id,omitzero"`
		ReplyTo     *int64   `json:"reply_to,omitzero"`
		Mentions    []string `json:"mentions,omitzero"`
		MentionAll  bool     `json:"mention_all,omitzero"`
	}
	MessageSendResult struct {
		ChatID    string `json:"chat_id"`
		Seq       int64  `json:"seq"`
		CreatedAt string `json:"created_at"`
		Duplicate bool   `json:"duplicate"`
	}
	MessageEditParams struct {
		ChatID     string    `json:"chat_id"`
		Seq        int64     `json:"seq"`
		Content    string    `json:"content"`
		Mentions   *[]string `json:"mentions,omitzero"` // absent: keep
		MentionAll *bool     `json:"mention_all,omitzero"`
	}
	// MessageChangeResult answers message.edit and message.delete.
	MessageChangeResult struct {
		ChatID     string `json:"chat_id"`
		Seq        int64  `json:"seq"`
		UpdatedSeq int64  `json:"updated_seq"`
	}

	ReadSetParams struct {
		ChatID string `json:"chat_id"`
		Seq    int64  `json:"seq"`
	}
	ReadSetResult struct {
		ChatID  string `json:"chat_id"`
		ReadSeq int64  `json:"read_seq"` // the higher of the old mark and the new
	}
	TypingParams struct {
		ChatID string `json:"chat_id"`
		Stop   bool   `json:"stop,omitzero"`
	}

	UserResult struct {
		User User `json:"user"`
	}
	UserParams struct {
		UserID string `json:"user_id"`
	}
	UsersListParams struct {
		UserIDs []string `json:"user_ids,omitzero"` // exactly these, in this order of ids; unknown ones are left out
		Prefix  string   `json:"prefix,omitzero"`   // of the username
		Find    string   `json:"find,omitzero"`     // beginnings of words of the name or the username
		Limit   int64    `json:"limit,omitzero"`
		Cursor  string   `json:"cursor,omitzero"`
	}
	UsersListResult struct {
		Users   []User `json:"users"`
		Cursor  string `json:"cursor,omitzero"`
		HasMore bool   `json:"has_more"`
	}
	UsersCreateParams struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Name     string `json:"name,omitzero"` // absent: the username
		Invite   string `json:"invite,omitzero"`
		Role     string `json:"role,omitzero"` // only for who may add people without an invite
	}
	UsersUpdateParams struct {
		UserID          string      `json:"user_id,omitzero"` // absent: oneself; others are for the server's admins
		Name            *string     `json:"name,omitzero"`
		Status          Opt[string] `json:"status,omitzero"`
		Password        *string     `json:"password,omitzero"`
		CurrentPassword *string     `json:"current_password,omitzero"` // needed with password, save for the operator
		Role            *string     `json:"role,omitzero"`
		Disabled        *bool       `json:"disabled,omitzero"`
		HidesPresence   *bool       `json:"hides_presence,omitzero"` // one's own
	}

	PresenceParams struct {
		UserIDs []string `json:"user_ids"`
	}
	PresenceGetResult struct {
		Presence []Presence `json:"presence"`
	}
	PresenceWatchResult struct {
		Presence  []Presence `json:"presence"`
		ExpiresMS int64      `json:"expires_ms"` // then the watch is over
	}

	SessionsListResult struct {
		Sessions []Session `json:"sessions"`
	}
	SessionParams struct {
		SessionID string `json:"session_id"`
	}
	TokensCreateParams struct {
		Device string `json:"device"`
		TTLMS  int64  `json:"ttl_ms,omitzero"` // absent: 90 days; at most 366 days
	}
	TokensCreateResult struct {
		Token   string  `json:"token"`
		Session Session `json:"session"`
	}

	InvitesCreateParams struct {
		Role    string `json:"role,omitzero"`     // absent: member
		MaxUses int64  `json:"max_uses,omitzero"` // absent: 1
		TTLMS   int64  `json:"ttl_ms,omitzero"`   // absent: 7 days
	}
	InvitesCreateResult struct {
		Invite Invite `json:"invite"`
		Code   string `json:"code"` // shown this once
	}
	InvitesListResult struct {
		Invites []Invite `json:"invites"`
	}
	InviteParams struct {
		InviteID string `json:"invite_id"`
	}
)
