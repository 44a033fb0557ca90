package tui

import (
	"context"
	"time"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/protocol"
)

// Backend is what the screen needs of a client. *client.Client is one.
type Backend interface {
	Batch(ctx context.Context) ([]client.Event, error)
	Chats() []client.Chat
	Outbox() []client.Item
	Self() protocol.User
	Connection() client.Connection
	Hello() protocol.Hello

	Queue(ctx context.Context, d client.Draft) (string, error)
	Retry(ctx context.Context, id string) error
	Discard(ctx context.Context, id string) (unsent bool, err error)
	Focus(chatIDs ...string) error
	MarkRead(chatID string, seq int64)
	Typing(chatID string, stop bool) error
	Active(active bool)
	Reconnect()

	History(ctx context.Context, p protocol.MessagesListParams) (protocol.MessagesListResult, error)
	Users(ctx context.Context, userIDs ...string) (map[string]protocol.User, error)
	UsersList(ctx context.Context, p protocol.UsersListParams) (protocol.UsersListResult, error)
	UsersUpdate(ctx context.Context, p protocol.UsersUpdateParams) (protocol.UserResult, error)
	PresenceWatch(ctx context.Context, p protocol.PresenceParams) (protocol.PresenceWatchResult, error)
	MessageEdit(ctx context.Context, p protocol.MessageEditParams) (protocol.MessageChangeResult, error)
	MessageDelete(ctx context.Context, p protocol.MessageParams) (protocol.MessageChangeResult, error)
	ChatsCreate(ctx context.Context, p protocol.ChatsCreateParams) (protocol.ChatsCreateResult, error)
	ChatsUpdate(ctx context.Context, p protocol.ChatsUpdateParams) (protocol.ChatResult, error)
	ParticipantsList(ctx context.Context, p protocol.ParticipantsListParams) (protocol.ParticipantsListResult, error)
	ParticipantsAdd(ctx context.Context, p protocol.ParticipantsAddParams) (protocol.ParticipantsAddResult, error)
	ParticipantsRemove(ctx context.Context, p protocol.ParticipantParams) (protocol.ParticipantResult, error)
	InvitesCreate(ctx context.Context, p protocol.InvitesCreateParams) (protocol.InvitesCreateResult, error)
}

var _ Backend = (*client.Client)(nil)

// Search finds messages with these words, newest first, in one chat or, with an
// empty chatID, in all.
type Search func(ctx context.Context, chatID, words string) ([]protocol.Message, error)

// Options are how the screen behaves. The zero of everything is a default.
type Options struct {
	Server    string // for the status line
	Theme     string // dark, light; empty or auto: as the terminal's background
	Bidi      string // terminal: it reorders right-to-left text itself; empty or auto: done here
	Notify    string // all, mentions, none; empty: mentions (and private chats)
	Bell      bool   // ring for what is notified of
	Desktop   string // 9, 777, none: by which OSC; empty or auto: by the environment
	NoMouse   bool   // leave the mouse to the terminal
	Getenv    Getenv // for Desktop; nil: none
	StateFile string // where drafts and the input history are kept; empty: nowhere
	Search    Search // nil: only what is loaded is searched
	Now       func() time.Time
	Location  *time.Location
}

// Getenv is os.Getenv.
type Getenv func(name string) string

// call bounds what is asked of the server for a person who waits for it.
const call = 20 * time.Second
