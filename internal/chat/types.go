// Package chat is Grima's domain: users, sessions, chats, participants and
// messages, who may do what with them, and what follows from it. It imports
// the standard library only; stores, transports and the hub know chat, not
// each other.
//
// A chat is a log: every durable change of a chat (a message, an edit, a
// delete, a membership, a rename) takes the chat's next seq, contiguous from
// 1, inside the transaction that stores it. There is no event table: the rows,
// each with the seq of its latest change, are the log.
package chat

import "time"

// Keys are positive integers inside and strings on the wire.
type (
	UserID    int64
	SessionID int64
	ChatID    int64
	InviteID  int64
)

// Role is somebody's standing, on the server or in a chat.
type Role string

const (
	RoleOwner  Role = "owner"
	RoleAdmin  Role = "admin"
	RoleMember Role = "member"
)

// Kind says what a chat is.
type Kind string

const (
	KindPrivate Kind = "private" // exactly two people, one chat per pair
	KindGroup   Kind = "group"
)

// History says what of a chat newcomers may read.
type History string

const (
	HistoryAll    History = "all"
	HistoryJoined History = "joined" // from their joined_seq on
)

// Notify says of which messages in a chat somebody wants to be told.
type Notify string

const (
	NotifyAll      Notify = ""
	NotifyMentions Notify = "mentions" // those that mention them
	NotifyNone     Notify = "none"
)

// User is somebody who can log in, or could.
type User struct {
	ID           UserID
	Username     string // canonical: lower case, see CanonicalUsername
	Name         string
	Role         Role // on the server
	Bot          bool
	Disabled     bool   // cannot log in, has no sessions
	PasswordHash string // with its parameters; empty: no password login
	CreatedAt    time.Time

	HidesPresence bool   // nobody sees whether they are there
	Status        string // what they say of themselves; empty: nothing
	Avatar        string // the Hash of their Avatar; empty: they have none
}

// Avatar is the picture of a user, of which there is at most one.
type Avatar struct {
	User  UserID
	Hash  string // names User's Bytes; what another picture never has
	Type  string // as in Content-Type
	Bytes []byte
}

// Session is one login of one device. Its token is known only to the device.
type Session struct {
	ID        SessionID
	User      UserID
	TokenHash [32]byte // SHA-256 of the token
	Device    string
	Client    string
	API       bool // made by tokens.create: its expiry does not slide
	CreatedAt time.Time
	UsedAt    time.Time // to the day or so, see Service.Authenticate
	ExpiresAt time.Time
}

// Invite lets MaxUses people register with a role until ExpiresAt.
type Invite struct {
	ID        InviteID
	CodeHash  [32]byte
	Role      Role
	MaxUses   int64
	Uses      int64
	CreatedBy UserID // 0: the operator; ByServer
	CreatedAt time.Time
	ExpiresAt time.Time
}

// ByServer is the CreatedBy of the one kind of invite that nobody made: the
// server's own, for its first owner. It lasts until there is a user. No user has
// this id.
const ByServer UserID = -1

// Chat is a conversation's row.
type Chat struct {
	ID           ChatID
	Kind         Kind
	Title        string
	Topic        string
	History      History
	Listed       bool      // a group that everybody on the server may find and come into
	Pair         [2]UserID // of a private chat, ascending; unique
	CreatedBy    UserID
	ClientChatID string   // unique per CreatedBy when not empty
	BodyHash     BodyHash // of the request that created it, to tell a retry from a conflict
	CreatedAt    time.Time
	DeletedAt    time.Time // zero: it lives
	LastSeq      int64     // the position of the chat's latest change
	UpdatedSeq   int64     // the position of this row's latest change
	Stamp        int64     // the store's change stamp at the chat's latest change, for sync
}

// Participant is somebody's place in a chat. The row outlives their leaving.
type Participant struct {
	Chat       ChatID
	User       UserID
	Role       Role
	JoinedSeq  int64  // where their latest membership begins
	LeftSeq    int64  // 0: they are in
	ReadSeq    int64  // they have read up to here; never falls; not a change of the chat
	Notify     Notify // their own affair, as ReadSeq is
	UpdatedSeq int64
	Stamp      int64 // the store's change stamp when they last read on, left, or changed Notify, for sync
}

// In reports whether p is in the chat now.
func (p Participant) In() bool { return p.JoinedSeq > 0 && p.LeftSeq == 0 }

// Message is a message's row. Seq is its identity and birth position. A
// deleted message keeps its row without content and mentions.
type Message struct {
	Chat       ChatID
	Seq        int64
	UpdatedSeq int64
	Sender     UserID
	Content    string
	ReplyTo    int64 // 0: none
	Mentions   []UserID
	MentionAll bool
	CreatedAt  time.Time
	EditedAt   time.Time // zero: never
	DeletedAt  time.Time // zero: it lives
}

// BodyHash tells two requests with one idempotency key apart.
type BodyHash [16]byte

// Sent is what a client_msg_id was used for. It is kept for ever.
type Sent struct {
	Sender      UserID
	ClientMsgID string
	Chat        ChatID
	Seq         int64
	Body        BodyHash
	CreatedAt   time.Time
}

// Kinds of Event; the names are those of docs/protocol.md#events.
type EventKind string

const (
	ChatCreated        EventKind = "chat.created"
	ChatUpdated        EventKind = "chat.updated"
	ChatDeleted        EventKind = "chat.deleted"
	ParticipantAdded   EventKind = "participant.added"
	ParticipantRemoved EventKind = "participant.removed"
	ParticipantUpdated EventKind = "participant.updated"
	MessageCreated     EventKind = "message.created"
	MessageUpdated     EventKind = "message.updated"
	MessageDeleted     EventKind = "message.deleted"
	// Gap stands for changes whose rows are not told: (PrevSeq, Seq].
	Gap EventKind = "gap"
)

// Event is one durable change of a chat, as it is published after its commit.
// Exactly the rows that changed are set: one of Message, Participant and
// ChatRow, save for ChatCreated, which brings the chat and its creator.
type Event struct {
	Kind        EventKind
	Chat        ChatID
	Seq         int64
	PrevSeq     int64 // it covers (PrevSeq, Seq]; Seq-1 unless changes were merged
	Actor       UserID
	History     History // of the chat, with Message: who may see how far back
	Message     *Message
	Participant *Participant
	ChatRow     *Chat
}
