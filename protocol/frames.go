// Package protocol is Grima's wire protocol, version 1: the frames, the
// parameter and result types of every operation, the error and goodbye codes,
// the limits, and the strict codec that turns lines into frames and back.
//
// It holds no goroutines and does no I/O beyond [LineReader]. The server, the
// Go client and the generated types of other languages all start from here;
// docs/protocol.md is the specification and the comments name its sections.
package protocol

import "github.com/go-json-experiment/json/jsontext"

// Version is the protocol version that Hello announces. Additions never change
// it (docs/protocol.md#versions).
const Version = 1

// Type names a frame. It is the first member of every line
// (docs/protocol.md#frames).
type Type string

// The frame types. A BroadcastResponse without an id is an event, see [Event].
const (
	TypeHello             Type = "Hello"
	TypeSessionRequest    Type = "SessionRequest"
	TypeSessionResponse   Type = "SessionResponse"
	TypeDataRequest       Type = "DataRequest"
	TypeDataResponse      Type = "DataResponse"
	TypeBroadcastRequest  Type = "BroadcastRequest"
	TypeBroadcastResponse Type = "BroadcastResponse"
	TypePing              Type = "Ping"
	TypePong              Type = "Pong"
	TypeError             Type = "Error"
	TypeGoodbye           Type = "Goodbye"
)

// Response is the type of the frame that answers a frame of type t. It is
// empty when t is not a request.
func (t Type) Response() Type {
	switch t {
	case TypeSessionRequest:
		return TypeSessionResponse
	case TypeDataRequest:
		return TypeDataResponse
	case TypeBroadcastRequest:
		return TypeBroadcastResponse
	case TypePing:
		return TypePong
	}
	return ""
}

// ID is a request's id, kept as the raw JSON the client sent (a string or an
// integer of at most [MaxID] bytes) so that the answer echoes it verbatim.
// The zero ID is "no id".
type ID = jsontext.Value

// Hello is the server's first frame (docs/protocol.md#hello).
type Hello struct {
	Type         Type     `json:"type"`
	Protocol     int      `json:"protocol"`
	Server       string   `json:"server"`    // software and version, "grima/0.1.0"
	ServerID     string   `json:"server_id"` // this node
	Epoch        string   `json:"epoch"`     // changes when the store's history does
	Auth         []string `json:"auth"`
	Capabilities []string `json:"capabilities"`
	Limits       Limits   `json:"limits"`
	Time         string   `json:"time"`
	DataURL      string   `json:"data_url,omitzero"`   // where data is served, if not here alone
	StreamURL    string   `json:"stream_url,omitzero"` // where live connections are
}

// Limits is what a server tells its clients about its bounds
// (docs/protocol.md#limits).
type Limits struct {
	MaxFrame      int `json:"max_frame"`       // bytes of one line from a client, without its newline
	MaxContent    int `json:"max_content"`     // bytes of a message's content, in UTF-8
	MaxPage       int `json:"max_page"`        // rows of one page
	AuthTimeoutMS int `json:"auth_timeout_ms"` // from connecting to being logged in
}

// Request is a frame from a client: SessionRequest, DataRequest,
// BroadcastRequest, or Ping or Pong (which have neither op nor params).
type Request struct {
	Type   Type           `json:"type"`
	ID     ID             `json:"id,omitzero"`
	Op     string         `json:"op,omitzero"`
	Params jsontext.Value `json:"params,omitzero"`
	// Strict turns members the server does not know into an invalid_request;
	// otherwise they are ignored and listed back (docs/protocol.md#strictness).
	Strict bool `json:"strict,omitzero"`
	// Ignored lists the members of the envelope that DecodeRequest does not
	// know; the answer's ignored begins with them.
	Ignored []string `json:"-"`
}

// Response answers a request: SessionResponse, DataResponse, or
// BroadcastResponse with exactly one of Result and Error; or Pong.
type Response struct {
	Type    Type           `json:"type"`
	ID      ID             `json:"id,omitzero"`
	Op      string         `json:"op,omitzero"`
	Result  jsontext.Value `json:"result,omitzero"`
	Error   *Error         `json:"error,omitzero"`
	Ignored []string       `json:"ignored,omitzero"`
}

// ErrorFrame reports a line that could not be taken for a request
// (docs/protocol.md#errors).
type ErrorFrame struct {
	Type  Type   `json:"type"`
	ID    ID     `json:"id,omitzero"` // if the line had one that could be told
	Error *Error `json:"error"`
}

// Goodbye is the server's last frame (docs/protocol.md#goodbye).
type Goodbye struct {
	Type             Type        `json:"type"`
	Code             GoodbyeCode `json:"code"`
	Message          string      `json:"message"`
	Reconnect        bool        `json:"reconnect"`
	ReconnectAfterMS int64       `json:"reconnect_after_ms,omitzero"`
}

// The names of events (docs/protocol.md#events). A client advances its
// position on an event whose name it does not know.
const (
	EventChatCreated        = "chat.created"
	EventChatUpdated        = "chat.updated"
	EventChatDeleted        = "chat.deleted"
	EventParticipantAdded   = "participant.added"
	EventParticipantRemoved = "participant.removed"
	EventParticipantUpdated = "participant.updated"
	EventMessageCreated     = "message.created"
	EventMessageUpdated     = "message.updated"
	EventMessageDeleted     = "message.deleted"
	EventGap                = "gap"      // a backlog was left out: (prev_seq, seq]
	EventRead               = "read"     // ephemeral: a read mark moved
	EventPresence           = "presence" // ephemeral: somebody whom one watches came or went
	EventTyping             = "typing"   // ephemeral
	EventUser               = "user"     // ephemeral: somebody's row changed, with whom one shares a chat
)

// Event is a BroadcastResponse without an id: what happened in a chat. It
// carries the whole row that changed, so applying it is "keep the higher
// updated_seq". Ephemeral events have no Seq (docs/protocol.md#events).
type Event struct {
	Type   Type   `json:"type"`
	Event  string `json:"event"`
	ChatID string `json:"chat_id,omitzero"`
	// Seq is the chat's position after the event; the event covers
	// (PrevSeq, Seq]. PrevSeq 0 (absent) means Seq-1.
	Seq     int64 `json:"seq,omitzero"`
	PrevSeq int64 `json:"prev_seq,omitzero"`

	Message     *Message     `json:"message,omitzero"`
	Participant *Participant `json:"participant,omitzero"`
	Chat        *Chat        `json:"chat,omitzero"`
	ActorID     string       `json:"actor_id,omitzero"` // who did it, when that is not the row's own user or sender

	UserID    string `json:"user_id,omitzero"`    // typing, read, presence
	ExpiresMS int64  `json:"expires_ms,omitzero"` // typing
	Stopped   bool   `json:"stopped,omitzero"`    // typing
	ReadSeq   int64  `json:"read_seq,omitzero"`   // read
	Notify    string `json:"notify,omitzero"`     // read, of one's own: all, mentions, none; absent: not said
	Status    string `json:"status,omitzero"`     // presence
	User      *User  `json:"user,omitzero"`       // user
}
