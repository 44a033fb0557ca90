package api

import (
	"context"
	"reflect"

	"github.com/grima-chat/grima/protocol"
)

// Access says who may call an operation at all. What they may do with it is
// for the rules of package chat, which look at the roles of this moment.
type Access int

const (
	Anyone            Access = iota // also before login
	Account                         // whoever is logged in
	AccountOrOperator               // the same, and the operator
	AdminOrOperator                 // the server's owners and admins, and the operator
)

// Cost says how dear an operation is. Rates are counted by it (package limits),
// and API.Do bounds how many Heavy ones run at once; hashing passwords has a
// bound of its own (see chat.Passwords).
type Cost uint8

const (
	Light   Cost = iota // a few rows are read, or nothing is
	Heavy               // pages of rows are read
	Write               // something is stored, and mostly told to others
	Instant             // nothing of the store: it waits for nobody; for rates it is Light
	Costs               // how many there are
)

// String is the cost's name in metrics.
func (c Cost) String() string { return [Costs]string{"light", "heavy", "write", "instant"}[c] }

// CostOf is the cost of a request, or of a line that is none: an error is
// answered, which is light.
func CostOf(req protocol.Request) Cost {
	if op, ok := byName[req.Op]; ok {
		return op.Cost
	}
	return Light
}

// Operation is a row of the table.
type Operation struct {
	Name    string
	Frame   protocol.Type
	Access  Access
	Cost    Cost
	Summary string // one line, for the OpenAPI document
	// Routes are the HTTP routes, "METHOD /path", none when it makes no sense
	// over HTTP. The {names} in a path are members of the params; so are the
	// query's of a GET or DELETE, and the body's of the others.
	Routes []string
	// Creates: it makes something new, for status 201, unless its result says
	// that it is a duplicate.
	Creates bool
	// Live: a live connection needs it to be live, see RoleStream.
	Live bool
	// Told: what it does is told as events, also on the connection that asked.
	Told bool

	Params, Result reflect.Type // structs of package protocol

	newParams func() any
	limit     int // the params' field, see limit.go
	run       func(a *API, ctx context.Context, c Caller, params any) (any, error)
	// brief, of a Heavy operation, is run for who asks for little; if it is not ok,
	// that was not so, and run has to. Nil: there is no such thing.
	brief func(a *API, ctx context.Context, c Caller, params any) (result any, ok bool, err error)
	start func(a *API, c Caller, params any, done func(result []byte, err error)) // instead of run, see Async
}

// Operations lists the table. It is not to be changed.
func Operations() []*Operation { return table }

// Lookup finds an operation by its name.
func Lookup(name string) (*Operation, bool) {
	op, ok := byName[name]
	return op, ok
}

var byName = func() map[string]*Operation {
	m := make(map[string]*Operation, len(table))
	for _, op := range table {
		m[op.Name] = op
	}
	return m
}()

const (
	session   = protocol.TypeSessionRequest
	data      = protocol.TypeDataRequest
	broadcast = protocol.TypeBroadcastRequest
)

// table is the one table of operations, in the order of
// docs/protocol.md#operations.
var table = []*Operation{
	op(protocol.OpSessionStart, session, Anyone, Write, "Log in with a password, a token or a cookie", (*API).sessionStart, false, "POST /v1/sessions"),
	op(protocol.OpSessionUpdate, session, Account, Instant, "Tell the server about this connection: what is on the screen, heartbeat", (*API).sessionUpdate, false),
	op(protocol.OpSessionEnd, session, Account, Write, "Log out: end the session this token belongs to", (*API).sessionEnd, false, "DELETE /v1/sessions/current"),

	live(brief((*API).syncBrief, op(protocol.OpSync, data, Account, Heavy, "List the chats that changed since a cursor", (*API).sync, false, "GET /v1/sync"))),
	live(op(protocol.OpChangesList, data, Account, Heavy, "List a chat's changes after a position", (*API).changesList, false, "GET /v1/chats/{chat_id}/changes")),
	op(protocol.OpChatsList, data, Account, Heavy, "List the chats one is in, by latest activity", (*API).chatsList, false, "GET /v1/chats"),
	op(protocol.OpChatsBrowse, data, Account, Heavy, "List the groups that everybody may come into", (*API).chatsBrowse, false, "GET /v1/chats/browse"),
	op(protocol.OpChatsGet, data, Account, Light, "Get a chat", (*API).chatsGet, false, "GET /v1/chats/{chat_id}"),
	op(protocol.OpParticipantsList, data, Account, Heavy, "List a chat's participants", (*API).participantsList, false, "GET /v1/chats/{chat_id}/participants"),
	op(protocol.OpMessagesList, data, Account, Heavy, "List a chat's messages: the newest, or before, after or around a seq or a time", (*API).messagesList, false, "GET /v1/chats/{chat_id}/messages"),
	op(protocol.OpMessagesGet, data, Account, Light, "Get a message", (*API).messagesGet, false, "GET /v1/chats/{chat_id}/messages/{seq}"),
	op(protocol.OpUsersMe, data, Account, Light, "Get oneself", (*API).usersMe, false, "GET /v1/users/me"),
	op(protocol.OpUsersGet, data, AccountOrOperator, Light, "Get a user", (*API).usersGet, false, "GET /v1/users/{user_id}"),
	op(protocol.OpUsersList, data, AccountOrOperator, Heavy, "List users: all, by the beginning of their username, or by words of their names", (*API).usersList, false, "GET /v1/users"),
	op(protocol.OpSessionsList, data, Account, Light, "List one's own sessions", (*API).sessionsList, false, "GET /v1/sessions"),
	op(protocol.OpInvitesList, data, AdminOrOperator, Light, "List the invites", (*API).invitesList, false, "GET /v1/invites"),
	live(op(protocol.OpPresenceGet, data, Account, Heavy, "Ask who of people is there", (*API).presenceGet, false, "GET /v1/presence")),
	live(op(protocol.OpPresenceWatch, data, Account, Heavy, "Hear who of people comes and goes, on this connection", (*API).presenceWatch, false)),

	op(protocol.OpUsersCreate, data, Anyone, Write, "Register, or add somebody", (*API).usersCreate, true, "POST /v1/users"),
	op(protocol.OpUsersUpdate, data, AccountOrOperator, Write, "Change oneself or, as an admin, somebody else", (*API).usersUpdate, false, "PATCH /v1/users/me", "PATCH /v1/users/{user_id}"),
	told(op(protocol.OpChatsCreate, data, Account, Write, "Make a group, or find or make the private chat with somebody", (*API).chatsCreate, true, "POST /v1/chats")),
	told(op(protocol.OpChatsUpdate, data, Account, Write, "Change a group's title, topic, history or visibility", (*API).chatsUpdate, false, "PATCH /v1/chats/{chat_id}")),
	told(op(protocol.OpChatsDelete, data, Account, Write, "Delete a group for everybody", (*API).chatsDelete, false, "DELETE /v1/chats/{chat_id}")),
	told(op(protocol.OpParticipantsAdd, data, Account, Write, "Add people to a group, or come into a listed one", (*API).participantsAdd, false, "POST /v1/chats/{chat_id}/participants")),
	told(op(protocol.OpParticipantsUpdate, data, Account, Write, "Change a participant's role, or of what oneself is told", (*API).participantsUpdate, false, "PATCH /v1/chats/{chat_id}/participants/{user_id}")),
	told(op(protocol.OpParticipantsRemove, data, Account, Write, "Remove somebody from a group, or leave it", (*API).participantsRemove, false, "DELETE /v1/chats/{chat_id}/participants/{user_id}")),
	live(told(op(protocol.OpReadSet, data, Account, Write, "Move one's read mark up", (*API).readSet, false, "PUT /v1/chats/{chat_id}/read"))),
	op(protocol.OpTokensCreate, data, Account, Write, "Make a token for a script or a bot", (*API).tokensCreate, true, "POST /v1/tokens"),
	op(protocol.OpSessionsRevoke, data, AccountOrOperator, Write, "End a session", (*API).sessionsRevoke, false, "DELETE /v1/sessions/{session_id}"),
	op(protocol.OpInvitesCreate, data, AdminOrOperator, Write, "Make an invite; its code is shown this once", (*API).invitesCreate, true, "POST /v1/invites"),
	op(protocol.OpInvitesRevoke, data, AdminOrOperator, Write, "Void an invite", (*API).invitesRevoke, false, "DELETE /v1/invites/{invite_id}"),

	async(protocol.OpMessageSend, "Send a message", protocol.MessageSendResult{}, (*API).messageSend, true, "POST /v1/chats/{chat_id}/messages"),
	async(protocol.OpMessageEdit, "Edit one's own message", protocol.MessageChangeResult{}, (*API).messageEdit, false, "PATCH /v1/chats/{chat_id}/messages/{seq}"),
	async(protocol.OpMessageDelete, "Delete a message", protocol.MessageChangeResult{}, (*API).messageDelete, false, "DELETE /v1/chats/{chat_id}/messages/{seq}"),
	op(protocol.OpTyping, broadcast, Account, Light, "Tell the others that one is typing", (*API).typing, false, "POST /v1/chats/{chat_id}/typing"),
}

func op[P, R any](name string, frame protocol.Type, access Access, cost Cost, summary string,
	handle func(*API, context.Context, Caller, *P) (R, error), creates bool, routes ...string,
) *Operation {
	return &Operation{
		Name: name, Frame: frame, Access: access, Cost: cost, Summary: summary, Routes: routes, Creates: creates,
		Params: reflect.TypeFor[P](), Result: reflect.TypeFor[R](),
		newParams: func() any { return new(P) },
		limit:     limitOf(reflect.TypeFor[P]()),
		run: func(a *API, ctx context.Context, c Caller, params any) (any, error) {
			return handle(a, ctx, c, params.(*P))
		},
	}
}

// brief gives an operation its brief form.
func brief[P, R any](handle func(*API, context.Context, Caller, *P) (R, bool, error), o *Operation) *Operation {
	o.brief = func(a *API, ctx context.Context, c Caller, params any) (any, bool, error) {
		return handle(a, ctx, c, params.(*P))
	}
	return o
}

// live marks an operation as Live.
func live(o *Operation) *Operation {
	o.Live = true
	return o
}

// told marks an operation as Told.
func told(o *Operation) *Operation {
	o.Told = true
	return o
}

func async[P any](name, summary string, result any,
	handle func(*API, Caller, *P, func([]byte, error)), creates bool, routes ...string,
) *Operation {
	return &Operation{
		Name: name, Frame: broadcast, Access: Account, Cost: Write, Summary: summary, Routes: routes, Creates: creates, Told: true,
		Params: reflect.TypeFor[P](), Result: reflect.TypeOf(result),
		newParams: func() any { return new(P) },
		limit:     limitOf(reflect.TypeFor[P]()),
		start: func(a *API, c Caller, params any, done func([]byte, error)) {
			handle(a, c, params.(*P), done)
		},
	}
}
