package client

import (
	"time"

	"github.com/grima-chat/grima/protocol"
)

// Kind says what an [Event] tells. An application ignores kinds it does not
// know.
type Kind string

// What happens in chats. The first nine are durable: they have Seq and PrevSeq,
// and of each chat they tile its log from where the client began, in order,
// each exactly once (docs/protocol.md#events). State is the chat after the event.
const (
	MessageCreated     Kind = "message.created" // a message that this client was not told of before; after a time away it may have been edited already
	MessageUpdated     Kind = "message.updated"
	MessageDeleted     Kind = "message.deleted"   // perhaps of a message that was never told
	ParticipantAdded   Kind = "participant.added" // with Chat: its creator, together with the chat itself
	ParticipantUpdated Kind = "participant.updated"
	ParticipantRemoved Kind = "participant.removed"
	ChatUpdated        Kind = "chat.updated" // Chat is the new row
	// Moved moves the chat's position on without a row: what changed there is
	// not for this client, or of a kind that it does not know.
	Moved Kind = "moved"
	// Skipped: the changes in (PrevSeq, Seq] were too many to be told
	// (Config.MaxCatchUp). Rows held of this chat may be old: forget them and
	// page anew.
	Skipped Kind = "skipped"

	// ChatAdded: the chat is there, or is there again. State says how it
	// stands; the events from State's position on follow.
	ChatAdded Kind = "chat.added"
	// ChatState: State is news by itself: unread counts, the newest message, a
	// read mark. It has no Seq.
	ChatState Kind = "chat.state"
	// ChatRemoved: the user is not in the chat any more, or it was deleted.
	// Forget its rows. Seq is 0 when that was found by sync.
	ChatRemoved Kind = "chat.removed"

	// ReadMoved: UserID has read up to ReadSeq. Of the user's own it may be Notify
	// alone, in State, that is another now.
	ReadMoved Kind = "read"
	Typing    Kind = "typing" // UserID until Until, or Stopped. May be lost.
	// Presence: UserID, who is watched (Client.PresenceWatch), is Status now. It
	// is of no chat. May be lost.
	Presence Kind = "presence"
	// UserChanged: what others see of UserID, who shares a chat with the user or
	// is the user, is User now. It is of no chat. May be lost; after a time away
	// those who are shown are asked for anew (Client.Users).
	UserChanged Kind = "user"
)

// What happens to the client itself.
const (
	// Reset: the server's history is another than before (a restored backup),
	// or the client's place in it is lost. Forget all chats and rows;
	// ChatAdded follows for each. The outbox stays.
	Reset Kind = "reset"
	// Synced: all chats are known and every change up to now is told or being
	// fetched. Once per connection.
	Synced Kind = "synced"
	// CursorMoved is for a [Store]: what came before it is covered by Cursor.
	// Without one it says only whose the Store is, UserID's.
	CursorMoved Kind = "cursor"
	// ConnectionChanged: Connection is how it stands.
	ConnectionChanged Kind = "connection"
	// OutboxChanged: Outbox is the item that changed.
	OutboxChanged Kind = "outbox"
)

// Event is one thing that happened. Which fields are set depends on Kind; what
// they point to is shared and not to be changed.
type Event struct {
	Kind   Kind   `json:"event"`
	ChatID string `json:"chat_id,omitzero"`
	// Seq is the chat's position after the event, which covers (PrevSeq, Seq].
	// 0: not durable.
	Seq     int64 `json:"seq,omitzero"`
	PrevSeq int64 `json:"prev_seq,omitzero"`

	Message     *protocol.Message     `json:"message,omitzero"`
	Participant *protocol.Participant `json:"participant,omitzero"`
	Chat        *protocol.Chat        `json:"chat,omitzero"`
	ActorID     string                `json:"actor_id,omitzero"` // who did it, if not the row's own user or sender and if it was told live
	State       *Chat                 `json:"state,omitzero"`    // of every event of a chat but ChatRemoved

	UserID  string    `json:"user_id,omitzero"`  // ReadMoved, Typing, Presence, UserChanged; of CursorMoved the user's own
	ReadSeq int64     `json:"read_seq,omitzero"` // ReadMoved
	Until   time.Time `json:"until,omitzero"`    // Typing
	Stopped bool      `json:"stopped,omitzero"`  // Typing
	Status  string    `json:"status,omitzero"`   // Presence

	User *protocol.User `json:"user,omitzero"` // UserChanged

	Connection *Connection `json:"connection,omitzero"`
	Outbox     *Item       `json:"outbox,omitzero"`

	// Of CursorMoved, and Reset (without a Cursor): what a [State] has.
	Cursor   string `json:"-"`
	Epoch    string `json:"-"`
	Complete bool   `json:"-"`
}

// Chat is a chat as this user sees it, kept up with the events: the counts,
// last_seq, the read mark and the newest message (in Messages, at most one) are
// of the event that carries it.
type Chat struct {
	protocol.ChatState
	// Pos is how far this client is in the chat's log; below LastSeq while it
	// catches up (or while nobody opened the chat, see Config.Lazy).
	Pos int64 `json:"pos"`
	// Uncertain: Unread and Mentions may be wrong; they are being asked for.
	Uncertain bool `json:"uncertain,omitzero"`
	// Mark is a read mark (Client.MarkRead) that the server was not told yet;
	// 0: none. ReadSeq is there already.
	Mark int64 `json:"mark,omitzero"`
	// Unseen are positions up to Pos whose messages were not told yet, since
	// they changed later: part of a catch-up that is under way. A Store keeps
	// it with the chat.
	Unseen Ranges `json:"unseen,omitzero"`
}

// Link is how a connection stands.
type Link string

// The states of a connection.
const (
	Offline    Link = "offline"    // waiting for Connection.Retry
	Connecting Link = "connecting" // dialing, or logging in
	Syncing    Link = "syncing"    // logged in, finding what changed; calls and sends go out
	Online     Link = "online"     // and what changed is known
	Stopped    Link = "stopped"    // for good: the client was closed, or Err says why it may not come back
)

// Connection is what [ConnectionChanged] tells.
type Connection struct {
	Link  Link      `json:"link"`
	Retry time.Time `json:"retry,omitzero"` // Offline: when it tries again
	Err   error     `json:"-"`              // why it is not connected
	Error string    `json:"error,omitzero"` // the same, for a person
}
