package apitest

import (
	"strings"

	"github.com/grima-chat/grima/protocol"
)

// Table is the script: ana is the first owner, invites bob and cyd, and they
// talk. dan is logged in and in none of their chats.
func Table() []Step {
	var all []Step
	for _, chapter := range [][]Step{arrivals, groups, talk, reading, private, strangers, strictness, people, open, departures} {
		all = append(all, chapter...)
	}
	return all
}

const goodPassword = `"password":"correct horse battery"`

// row is how a user looks.
func row(who, role string) string {
	return `{"user_id":"$` + who + `","username":"` + who + `","name":"` + who + `","role":"` + role + `","created_at":"$*"}`
}

func register(who, invite, role string) Step {
	return Step{
		Op: "users.create", Params: `{"username":"` + who + `",` + goodPassword + `,"invite":"$` + invite + `"}`,
		Want: `{"user":` + row(who, role) + `}`,
	}
}

func login(who, role string) Step {
	return Step{
		As: who, Op: "session.start", Params: `{"mechanism":"PLAIN","username":"` + who + `",` + goodPassword + `,"device":"laptop","client":"apitest","subscribe":false}`,
		Want: `{"session_id":"$` + who + `_session","user":` + row(who, role) + `,"token":"$` + who + `_token","expires_at":"$*","epoch":"$epoch","heartbeat_ms":0}`,
	}
}

// firstInvite is the one that made ana.
const firstInvite = `{"invite_id":"$first_invite","role":"owner","max_uses":1,"uses":1,"created_at":"$*","expires_at":"$*"}`

var arrivals = []Step{
	{Op: "chats.list", Error: protocol.CodeUnauthenticated},
	{Op: "message.send", Params: `{"chat_id":"c_1","content":"hi"}`, Error: protocol.CodeUnauthenticated},
	{Op: "session.end", Error: protocol.CodeUnauthenticated},
	register("ana", "owner_invite", "owner"),
	{Op: "session.start", Params: `{"mechanism":"PLAIN","username":"ana","password":"wrong horse"}`, Error: protocol.CodeInvalidCredentials},
	{Op: "session.start", Params: `{"mechanism":"PLAIN","username":"nobody","password":"wrong horse"}`, Error: protocol.CodeInvalidCredentials},
	{Op: "session.start", Params: `{"mechanism":"MAGIC"}`, Error: protocol.CodeInvalidRequest},
	login("ana", "owner"),
	{As: "ana", Op: "users.me", Want: `{"user":` + row("ana", "owner") + `}`},
	{
		As: "ana", Op: "invites.create", Params: `{"max_uses":3,"ttl_ms":60000}`,
		Want: `{"invite":{"invite_id":"$invite","role":"member","max_uses":3,"uses":0,"created_by":"$ana","created_at":"$*","expires_at":"$*"},"code":"$code"}`,
	},
	register("bob", "code", "member"),
	register("cyd", "code", "member"),
	register("dan", "code", "member"),
	{Op: "users.create", Params: `{"username":"eve",` + goodPassword + `,"invite":"$code"}`, Error: protocol.CodePermissionDenied},
	{Op: "users.create", Params: `{"username":"eve",` + goodPassword + `}`, Error: protocol.CodePermissionDenied},
	login("bob", "member"),
	login("cyd", "member"),
	login("dan", "member"),
	{As: "bob", Op: "invites.create", Error: protocol.CodePermissionDenied},
	{As: "bob", Op: "invites.list", Error: protocol.CodePermissionDenied},
	{
		As: "ana", Op: "invites.list",
		Want: `{"invites":[` + firstInvite + `,{"invite_id":"$invite","role":"member","max_uses":3,"uses":3,"created_by":"$ana","created_at":"$*","expires_at":"$*"}]}`,
	},
	{As: "ana", Op: "invites.revoke", Params: `{"invite_id":"$invite"}`, Want: `{}`},
	{As: "ana", Op: "invites.revoke", Params: `{"invite_id":"$invite"}`, Error: protocol.CodeNotFound},
	{As: "ana", Op: "invites.list", Want: `{"invites":[` + firstInvite + `]}`},
}

const port = `"chat_id":"$port","kind":"group","title":"Port","history":"all","created_by":"$ana","created_at":"$*"`

var groups = []Step{
	{
		As: "ana", Op: "chats.create", Params: `{"kind":"group","title":"Port","user_ids":["$bob"],"client_chat_id":"port-1"}`,
		Want: `{"chat":{` + port + `,"updated_seq":1,"last_seq":2,"membership":"joined","role":"owner","joined_seq":1,"read_seq":"$?","unread":0,"mentions":0},"duplicate":false}`,
	},
	{
		As: "ana", Op: "chats.create", Params: `{"kind":"group","title":"Port","user_ids":["$bob"],"client_chat_id":"port-1"}`,
		Want: `{"chat":{` + port + `,"updated_seq":1,"last_seq":2,"membership":"joined","role":"owner","joined_seq":1,"read_seq":"$?","unread":0,"mentions":0},"duplicate":true}`,
	},
	{As: "ana", Op: "chats.create", Params: `{"kind":"group","title":"Another","client_chat_id":"port-1"}`, Error: protocol.CodeIdempotencyConflict},
	{As: "ana", Op: "chats.create", Params: `{"kind":"group"}`, Error: protocol.CodeInvalidRequest},
	{As: "ana", Op: "chats.create", Params: `{"kind":"party","title":"Port"}`, Error: protocol.CodeInvalidRequest},
	{As: "ana", Op: "chats.create", Params: `{"kind":"group","title":"Port","user_ids":["u_999999"]}`, Error: protocol.CodeNotFound},
	{As: "ana", Op: "chats.create", Params: `{"kind":"group","title":"Port","user_ids":["somebody"]}`, Error: protocol.CodeNotFound},
	{
		As: "ana", Op: "participants.add", Params: `{"chat_id":"$port","user_ids":["$cyd"]}`,
		Want: `{"participants":[{"user_id":"$cyd","role":"member","joined_seq":3,"updated_seq":3}]}`,
	},
	{As: "bob", Op: "participants.add", Params: `{"chat_id":"$port","user_ids":["$dan"]}`, Error: protocol.CodePermissionDenied},
	{
		As: "ana", Op: "participants.update", Params: `{"chat_id":"$port","user_id":"$bob","role":"admin"}`,
		Want: `{"participant":{"user_id":"$bob","role":"admin","joined_seq":2,"updated_seq":4}}`,
	},
	{
		As: "bob", Op: "chats.update", Params: `{"chat_id":"$port","topic":"tides"}`,
		Want: `{"chat":{` + port + `,"topic":"tides","updated_seq":5,"last_seq":5,"membership":"joined","role":"admin","joined_seq":2,"read_seq":"$?","unread":0,"mentions":0}}`,
	},
	{
		As: "bob", Op: "chats.update", Params: `{"chat_id":"$port","topic":null}`,
		Want: `{"chat":{` + port + `,"updated_seq":6,"last_seq":6,"membership":"joined","role":"admin","joined_seq":2,"read_seq":"$?","unread":0,"mentions":0}}`,
	},
	{As: "cyd", Op: "chats.update", Params: `{"chat_id":"$port","title":"Harbour"}`, Error: protocol.CodePermissionDenied},
	{
		As: "cyd", Op: "participants.list", Params: `{"chat_id":"$port","limit":2}`,
		Want: `{"participants":[{"user_id":"$ana","username":"ana","name":"ana","role":"owner","joined_seq":1,"updated_seq":1},` +
			`{"user_id":"$bob","username":"bob","name":"bob","role":"admin","joined_seq":2,"updated_seq":4}],"cursor":"$people","has_more":true}`,
	},
	{
		As: "cyd", Op: "participants.list", Params: `{"chat_id":"$port","cursor":"$people"}`,
		Want: `{"participants":[{"user_id":"$cyd","username":"cyd","name":"cyd","role":"member","joined_seq":3,"updated_seq":3,"read_seq":"$?"}],"has_more":false}`,
	},
	{As: "cyd", Op: "participants.list", Params: `{"chat_id":"$port","cursor":"p1.x"}`, Error: protocol.CodeCursorInvalid},
	{As: "cyd", Op: "participants.list", Params: `{"chat_id":"$port","cursor":""}`, Error: protocol.CodeCursorInvalid},
	{As: "cyd", Op: "participants.list", Params: `{"chat_id":"$port","limit":0}`, Error: protocol.CodeInvalidRequest},
	{As: "cyd", Op: "participants.list", Params: `{"chat_id":"$port","limit":201}`, Error: protocol.CodeInvalidRequest},
}

const ahoy = `{"chat_id":"$port","seq":7,"updated_seq":7,"sender_id":"$ana","content":"ahoy \"all\" <&> ⛵","created_at":"$*"}`

var talk = []Step{
	{
		As: "ana", Op: "message.send", Params: `{"chat_id":"$port","content":"ahoy \"all\" <&> ⛵","client_msg_id":"m-1"}`,
		Want: `{"chat_id":"$port","seq":7,"created_at":"$*","duplicate":false}`,
	},
	{
		As: "ana", Op: "message.send", Params: `{"chat_id":"$port","content":"ahoy \"all\" <&> ⛵","client_msg_id":"m-1"}`,
		Want: `{"chat_id":"$port","seq":7,"created_at":"$*","duplicate":true}`,
	},
	{As: "ana", Op: "message.send", Params: `{"chat_id":"$port","content":"something else","client_msg_id":"m-1"}`, Error: protocol.CodeIdempotencyConflict},
	{As: "ana", Op: "message.send", Params: `{"chat_id":"$port","content":""}`, Error: protocol.CodeInvalidRequest},
	{
		As: "bob", Op: "message.send", Params: `{"chat_id":"$port","content":"aye @cyd","reply_to":7,"mentions":["$cyd"]}`,
		Want: `{"chat_id":"$port","seq":8,"created_at":"$*","duplicate":false}`,
	},
	{As: "cyd", Op: "messages.get", Params: `{"chat_id":"$port","seq":7}`, Want: `{"message":` + ahoy + `}`},
	{As: "cyd", Op: "messages.get", Params: `{"chat_id":"$port","seq":3}`, Error: protocol.CodeNotFound},
	{
		As: "bob", Op: "message.edit", Params: `{"chat_id":"$port","seq":8,"content":"aye aye @cyd"}`,
		Want: `{"chat_id":"$port","seq":8,"updated_seq":9}`,
	},
	{As: "cyd", Op: "message.edit", Params: `{"chat_id":"$port","seq":8,"content":"nay"}`, Error: protocol.CodePermissionDenied},
	{As: "cyd", Op: "message.delete", Params: `{"chat_id":"$port","seq":8}`, Error: protocol.CodePermissionDenied},
	{
		As: "cyd", Op: "message.send", Params: `{"chat_id":"$port","content":"oops"}`,
		Want: `{"chat_id":"$port","seq":10,"created_at":"$*","duplicate":false}`,
	},
	{As: "cyd", Op: "message.delete", Params: `{"chat_id":"$port","seq":10}`, Want: `{"chat_id":"$port","seq":10,"updated_seq":11}`},
	{As: "cyd", Op: "message.delete", Params: `{"chat_id":"$port","seq":10}`, Want: `{"chat_id":"$port","seq":10,"updated_seq":11}`},
	{As: "cyd", Op: "message.edit", Params: `{"chat_id":"$port","seq":99,"content":"?"}`, Error: protocol.CodeNotFound},
	{As: "cyd", Op: "typing", Params: `{"chat_id":"$port"}`, Want: `{}`},
	{As: "cyd", Op: "typing", Params: `{"chat_id":"$port","stop":true}`, Want: `{}`},
}

const (
	aye  = `{"chat_id":"$port","seq":8,"updated_seq":9,"sender_id":"$bob","content":"aye aye @cyd","reply_to":7,"mentions":["$cyd"],"created_at":"$*","edited_at":"$*"}`
	oops = `{"chat_id":"$port","seq":10,"updated_seq":11,"sender_id":"$cyd","created_at":"$*","deleted":true}`
)

var reading = []Step{
	{
		As: "cyd", Op: "messages.list", Params: `{"chat_id":"$port"}`,
		Want: `{"messages":[` + ahoy + `,` + aye + `,` + oops + `],"has_more_before":false,"has_more_after":false,"last_seq":11}`,
	},
	{
		As: "cyd", Op: "messages.list", Params: `{"chat_id":"$port","before":10,"limit":1}`,
		Want: `{"messages":[` + aye + `],"has_more_before":true,"has_more_after":true,"last_seq":11}`,
	},
	{
		As: "cyd", Op: "messages.list", Params: `{"chat_id":"$port","after":0,"limit":2}`,
		Want: `{"messages":[` + ahoy + `,` + aye + `],"has_more_before":false,"has_more_after":true,"last_seq":11}`,
	},
	{
		As: "cyd", Op: "messages.list", Params: `{"chat_id":"$port","around":8,"limit":3}`,
		Want: `{"messages":[` + ahoy + `,` + aye + `,` + oops + `],"has_more_before":false,"has_more_after":false,"last_seq":11}`,
	},
	{As: "cyd", Op: "messages.list", Params: `{"chat_id":"$port","before":10,"after":2}`, Error: protocol.CodeInvalidRequest},
	{
		As: "cyd", Op: "changes.list", Params: `{"chat_id":"$port","after":6,"limit":2}`,
		Want: `{"messages":[` + ahoy + `,` + aye + `],"participants":[],"next":9,"has_more":true}`,
	},
	{
		As: "cyd", Op: "changes.list", Params: `{"chat_id":"$port","after":9}`,
		Want: `{"messages":[` + oops + `],"participants":[],"next":11,"has_more":false}`,
	},
	{As: "cyd", Op: "changes.list", Params: `{"chat_id":"$port","after":11}`, Want: `{"messages":[],"participants":[],"next":11,"has_more":false}`},
	{As: "cyd", Op: "changes.list", Params: `{"chat_id":"$port"}`, Error: protocol.CodeInvalidRequest},
	{As: "bob", Op: "read.set", Params: `{"chat_id":"$port","seq":9}`, Want: `{"chat_id":"$port","read_seq":9}`},
	{As: "bob", Op: "read.set", Params: `{"chat_id":"$port","seq":2}`, Want: `{"chat_id":"$port","read_seq":9}`},
	{
		As: "bob", Op: "chats.get", Params: `{"chat_id":"$port"}`,
		Want: `{"chat":{` + port + `,"updated_seq":6,"last_seq":11,"membership":"joined","role":"admin","joined_seq":2,"read_seq":9,"unread":0,"mentions":0}}`,
	},
	{
		As: "cyd", Op: "chats.list",
		Want: `{"chats":[{` + port + `,"updated_seq":6,"last_seq":11,"membership":"joined","role":"member","joined_seq":3,"read_seq":"$?","unread":"$?","mentions":"$?"}],"has_more":false}`,
	},
	{
		As: "bob", Op: "sync", Params: `{"cursor":null,"timeline_limit":1}`,
		Want: `{"chats":[{` + port + `,"updated_seq":6,"last_seq":11,"membership":"joined","role":"admin","joined_seq":2,"read_seq":9,"unread":0,"mentions":0,"messages":[` + oops + `]}],"cursor":"$seen","has_more":false}`,
	},
	{As: "bob", Op: "sync", Params: `{"cursor":"$seen"}`, Want: `{"chats":[],"cursor":"$*","has_more":false}`},
	{As: "cyd", Op: "sync", Params: `{"cursor":"$seen"}`, Error: protocol.CodeCursorInvalid},
	{As: "bob", Op: "sync", Params: `{"cursor":"v1.garbage"}`, Error: protocol.CodeCursorInvalid},
	{As: "bob", Op: "sync", Params: `{"timeline_limit":21}`, Error: protocol.CodeInvalidRequest},
}

var private = []Step{
	{
		As: "bob", Op: "chats.create", Params: `{"kind":"private","user_id":"$cyd"}`,
		Want: `{"chat":{"chat_id":"$pair","kind":"private","user_ids":["$bob","$cyd"],"created_by":"$bob","created_at":"$*","history":"all","updated_seq":1,"last_seq":2,"membership":"joined","role":"$?","joined_seq":1,"read_seq":"$?","unread":0,"mentions":0},"duplicate":false}`,
	},
	{
		As: "cyd", Op: "chats.create", Params: `{"kind":"private","user_id":"$bob"}`,
		Want: `{"chat":{"chat_id":"$pair","kind":"private","user_ids":["$bob","$cyd"],"created_by":"$bob","created_at":"$*","history":"all","updated_seq":1,"last_seq":2,"membership":"joined","role":"$?","joined_seq":2,"read_seq":"$?","unread":0,"mentions":0},"duplicate":true}`,
	},
	{As: "bob", Op: "chats.create", Params: `{"kind":"private","user_id":"u_999999"}`, Error: protocol.CodeNotFound},
	{As: "bob", Op: "chats.create", Params: `{"kind":"private"}`, Error: protocol.CodeInvalidRequest},
	{As: "bob", Op: "message.send", Params: `{"chat_id":"$pair","content":"psst"}`, Want: `{"chat_id":"$pair","seq":3,"created_at":"$*","duplicate":false}`},
	{As: "ana", Op: "messages.list", Params: `{"chat_id":"$pair"}`, Error: protocol.CodeNotFound},
	{
		As: "bob", Op: "sync", Params: `{"cursor":"$seen","timeline_limit":0}`,
		Want: `{"chats":[{"chat_id":"$pair","kind":"private","user_ids":["$bob","$cyd"],"created_by":"$bob","created_at":"$*","history":"all","updated_seq":1,"last_seq":3,"membership":"joined","role":"$?","joined_seq":1,"read_seq":"$?","unread":0,"mentions":0}],"cursor":"$*","has_more":false}`,
	},
}

// strangers: for each thing one may ask of a chat, dan, who is not in it, hears
// what he hears of a chat that does not exist, and of an id that is none. Run
// compares only codes; TestAbsentAndForeignAreAlike compares every byte.
var strangers = func() []Step {
	var steps []Step
	for _, id := range []string{"$port", "c_999999", "port", "c_01", "c_0"} {
		for _, q := range OfAChat() {
			steps = append(steps, Step{As: "dan", Op: q.Op, Params: `{"chat_id":"` + id + `"` + q.Params + `}`, Error: protocol.CodeNotFound})
		}
	}
	return steps
}()

// OfAChat lists everything one may ask of a chat; Params is what follows the
// chat_id.
func OfAChat() []Step {
	return []Step{
		{Op: "chats.get"},
		{Op: "chats.update", Params: `,"title":"Mine"`},
		{Op: "chats.delete"},
		{Op: "participants.list"},
		{Op: "participants.list", Params: `,"cursor":"p1.x"`},
		{Op: "participants.list", Params: `,"cursor":""`},
		{Op: "participants.add", Params: `,"user_ids":["u_1"]`},
		{Op: "participants.update", Params: `,"user_id":"u_1","role":"member"`},
		{Op: "participants.update", Params: `,"user_id":"u_1","notify":"none"`},
		{Op: "messages.list", Params: `,"at":"2026-09-20T10:00:00Z"`},
		{Op: "participants.remove", Params: `,"user_id":"u_1"`},
		{Op: "participants.remove", Params: `,"user_id":"nobody"`},
		{Op: "messages.list"},
		{Op: "messages.get", Params: `,"seq":7`},
		{Op: "changes.list", Params: `,"after":0`},
		{Op: "read.set", Params: `,"seq":7`},
		{Op: "message.send", Params: `,"content":"hi"`},
		{Op: "message.send", Params: `,"content":"hi","client_msg_id":"x","reply_to":7,"mentions":["u_1"],"mention_all":true`},
		{Op: "message.send", Params: `,"content":"hi","reply_to":0`},
		{Op: "message.edit", Params: `,"seq":7,"content":"hi"`},
		{Op: "message.delete", Params: `,"seq":7`},
		{Op: "typing"},
	}
}

var strictness = []Step{
	{As: "ana", Op: "users.me", Params: `{"colour":"red"}`, Want: `{"user":` + row("ana", "owner") + `}`, Ignored: []string{"colour"}},
	{As: "ana", Op: "users.me", Params: `{"colour":"red"}`, Strict: true, Error: protocol.CodeInvalidRequest, Ignored: []string{"colour"}},
	{As: "ana", Op: "typing", Params: `{"chat_id":"$port","colour":"red"}`, Want: `{}`, Ignored: []string{"colour"}},
	{As: "ana", Op: "messages.list", Params: `{"chat_id":"$port","limit":"many"}`, Error: protocol.CodeInvalidRequest},
	{As: "ana", Op: "messages.list", Params: `{"chat_id":"$port","Limit":5}`, Error: protocol.CodeInvalidRequest, Ignored: []string{"Limit"}},
	{As: "ana", Op: "message.send", Params: `{"chat_id":"$port","content":5}`, Error: protocol.CodeInvalidRequest},
	{As: "ana", Op: "message.send", Params: `{"chat_id":"$port","content":null}`, Error: protocol.CodeInvalidRequest},
	{As: "ana", Op: "message.send", Params: `{"chat_id":"$port"}`, Error: protocol.CodeInvalidRequest},
	{As: "ana", Op: "chats.get", Error: protocol.CodeInvalidRequest, FramesOnly: true},
	{As: "ana", Op: "chats.get", Params: `{"chat_id":7}`, Error: protocol.CodeInvalidRequest, FramesOnly: true},
	{As: "ana", Op: "chats.juggle", Error: protocol.CodeUnknownOp, FramesOnly: true},
}

var people = []Step{
	{As: "bob", Op: "users.get", Params: `{"user_id":"$cyd"}`, Want: `{"user":` + row("cyd", "member") + `}`},
	{As: "bob", Op: "users.get", Params: `{"user_id":"u_999999"}`, Error: protocol.CodeNotFound},
	{As: "bob", Op: "users.get", Params: `{"user_id":"cyd"}`, Error: protocol.CodeNotFound},
	{As: "bob", Op: "users.list", Params: `{"prefix":"c"}`, Want: `{"users":[` + row("cyd", "member") + `],"has_more":false}`},
	{As: "bob", Op: "users.list", Params: `{"limit":2}`, Want: `{"users":[` + row("ana", "owner") + `,` + row("bob", "member") + `],"cursor":"$users","has_more":true}`},
	{As: "bob", Op: "users.list", Params: `{"limit":2,"cursor":"$users"}`, Want: `{"users":[` + row("cyd", "member") + `,` + row("dan", "member") + `],"has_more":false}`},
	{As: "bob", Op: "users.list", Params: `{"user_ids":["$dan","u_999999","$ana"]}`, Want: `{"users":[` + row("dan", "member") + `,` + row("ana", "owner") + `],"has_more":false}`},
	{As: "bob", Op: "users.list", Params: `{"find":"CY"}`, Want: `{"users":[` + row("cyd", "member") + `],"has_more":false}`},
	{As: "bob", Op: "users.list", Params: `{"find":"cy da"}`, Want: `{"users":[],"has_more":false}`},
	{As: "bob", Op: "users.list", Params: `{"find":"?"}`, Want: `{"users":[],"has_more":false}`},
	{As: "bob", Op: "users.list", Params: `{"find":"d","limit":1}`, Want: `{"users":[` + row("dan", "member") + `],"has_more":false}`},
	{As: "bob", Op: "users.list", Params: `{"find":"d","cursor":"f1.18ac3e7343f01689.0.ZA"}`, Want: `{"users":[` + row("dan", "member") + `],"has_more":false}`},
	{As: "bob", Op: "users.list", Params: `{"find":"da","cursor":"f1.18ac3e7343f01689.0.ZA"}`, Error: protocol.CodeCursorInvalid},
	{As: "bob", Op: "users.list", Params: `{"cursor":"f1.18ac3e7343f01689.0.ZA"}`, Error: protocol.CodeCursorInvalid},
	{As: "bob", Op: "users.list", Params: `{"find":"d","cursor":"$users"}`, Error: protocol.CodeCursorInvalid},
	{As: "bob", Op: "users.list", Params: `{"find":"d","prefix":"d"}`, Error: protocol.CodeInvalidRequest},
	{As: "bob", Op: "users.list", Params: `{"find":"d","user_ids":["$dan"]}`, Error: protocol.CodeInvalidRequest},
	{As: "bob", Op: "users.list", Params: `{"find":"` + strings.Repeat("d", 129) + `"}`, Error: protocol.CodeInvalidRequest},
	{As: "bob", Op: "users.list", Params: `{"cursor":"u1.x"}`, Error: protocol.CodeCursorInvalid},
	{As: "bob", Op: "users.list", Params: `{"prefix":"c","cursor":"$users"}`, Error: protocol.CodeCursorInvalid},

	// Of those one shares no chat with one is told nothing. Nobody listens here.
	{As: "bob", Op: "presence.get", Params: `{"user_ids":["$cyd","$dan","$bob","u_999999","cyd"]}`, Want: `{"presence":[{"user_id":"$cyd","status":"offline"},{"user_id":"$bob","status":"offline"}]}`},
	{As: "bob", Op: "presence.get", Params: `{"user_ids":[]}`, Want: `{"presence":[]}`},
	{As: "bob", Op: "presence.get", Error: protocol.CodeInvalidRequest},
	{As: "bob", Op: "users.update", Params: `{"hides_presence":true}`, Want: `{"user":{"user_id":"$bob","username":"bob","name":"bob","role":"member","created_at":"$*","hides_presence":true}}`},
	{As: "cyd", Op: "users.get", Params: `{"user_id":"$bob"}`, Want: `{"user":` + row("bob", "member") + `}`},
	{As: "bob", Op: "users.update", Params: `{"hides_presence":false}`, Want: `{"user":` + row("bob", "member") + `}`},
	{As: "ana", Op: "users.update", Params: `{"user_id":"$bob","hides_presence":true}`, Error: protocol.CodePermissionDenied},

	// A 0 or "" that is written is a value, and not the same as nothing: these
	// once changed oneself, made what was not asked for, and began again.
	{As: "dan", Op: "users.update", Params: `{"user_id":"","name":"Nobody"}`, Error: protocol.CodeNotFound, FramesOnly: true},
	{As: "dan", Op: "chats.create", Params: `{"kind":"private","user_id":""}`, Error: protocol.CodeNotFound},
	{As: "dan", Op: "tokens.create", Params: `{"device":"a script","ttl_ms":0}`, Error: protocol.CodeInvalidRequest},
	{As: "ana", Op: "invites.create", Params: `{"max_uses":0}`, Error: protocol.CodeInvalidRequest},
	{As: "ana", Op: "invites.create", Params: `{"ttl_ms":0}`, Error: protocol.CodeInvalidRequest},
	{As: "bob", Op: "chats.list", Params: `{"cursor":""}`, Error: protocol.CodeCursorInvalid},
	{As: "bob", Op: "users.list", Params: `{"cursor":""}`, Error: protocol.CodeCursorInvalid},
	{As: "bob", Op: "message.send", Params: `{"chat_id":"$port","content":"hi","reply_to":0}`, Error: protocol.CodeInvalidRequest},
	{As: "dan", Op: "users.update", Params: `{"name":"Daniel"}`, Want: `{"user":{"user_id":"$dan","username":"dan","name":"Daniel","role":"member","created_at":"$*"}}`},
	{As: "dan", Op: "users.update", Params: `{"user_id":"$bob","name":"Robert"}`, Error: protocol.CodePermissionDenied},
	{As: "dan", Op: "users.update", Params: `{"password":"another good one"}`, Error: protocol.CodeInvalidRequest},
	{As: "dan", Op: "users.update", Params: `{"password":"another good one","current_password":"wrong horse"}`, Error: protocol.CodeInvalidCredentials},
	{As: "ana", Op: "users.update", Params: `{"role":"member"}`, Error: protocol.CodeConflict},
}

const (
	square = `"chat_id":"$square","kind":"group","title":"Square","history":"all","visibility":"listed","created_by":"$ana","created_at":"$*"`
	// inSquare is how it looks to bob, who came in by himself.
	inSquare = `"membership":"joined","role":"member","joined_seq":2,"read_seq":2,"unread":0,"mentions":0`
)

// open: groups that everybody may find, and what people say of themselves.
var open = []Step{
	{
		As: "ana", Op: "chats.create", Params: `{"kind":"group","title":"Square","visibility":"listed"}`,
		Want: `{"chat":{` + square + `,"updated_seq":1,"last_seq":1,"membership":"joined","role":"owner","joined_seq":1,"read_seq":"$?","unread":0,"mentions":0},"duplicate":false}`,
	},
	{As: "ana", Op: "chats.create", Params: `{"kind":"group","title":"Square","visibility":"public"}`, Error: protocol.CodeInvalidRequest},
	{As: "ana", Op: "chats.create", Params: `{"kind":"private","user_id":"$bob","visibility":"listed"}`, Error: protocol.CodeInvalidRequest},
	{As: "bob", Op: "chats.browse", Want: `{"chats":[{` + square + `,"updated_seq":1,"participants":1,"membership":"left"}],"has_more":false}`},
	{As: "bob", Op: "chats.browse", Params: `{"cursor":"b1.x"}`, Error: protocol.CodeCursorInvalid},
	{As: "bob", Op: "chats.browse", Params: `{"cursor":""}`, Error: protocol.CodeCursorInvalid},
	{As: "bob", Op: "chats.browse", Params: `{"limit":0}`, Error: protocol.CodeInvalidRequest},
	{As: "bob", Op: "chats.get", Params: `{"chat_id":"$square"}`, Error: protocol.CodeNotFound},
	{As: "bob", Op: "participants.add", Params: `{"chat_id":"$square","user_ids":["$bob"],"role":"admin"}`, Error: protocol.CodeNotFound},
	{As: "bob", Op: "participants.add", Params: `{"chat_id":"$square","user_ids":["$bob","$cyd"]}`, Error: protocol.CodeNotFound},
	{
		As: "bob", Op: "participants.add", Params: `{"chat_id":"$square","user_ids":["$bob"]}`,
		Want: `{"participants":[{"user_id":"$bob","role":"member","joined_seq":2,"updated_seq":2}]}`,
	},
	{As: "bob", Op: "chats.browse", Params: `{"limit":1}`, Want: `{"chats":[{` + square + `,"updated_seq":1,"participants":2,"membership":"joined"}],"has_more":false}`},
	{
		As: "bob", Op: "participants.update", Params: `{"chat_id":"$square","user_id":"$bob","notify":"mentions"}`,
		Want: `{"participant":{"user_id":"$bob","role":"member","joined_seq":2,"updated_seq":2}}`,
	},
	{As: "bob", Op: "participants.update", Params: `{"chat_id":"$square","user_id":"$bob","notify":""}`, Error: protocol.CodeInvalidRequest},
	{As: "bob", Op: "participants.update", Params: `{"chat_id":"$square","user_id":"$bob"}`, Error: protocol.CodeInvalidRequest},
	{As: "ana", Op: "participants.update", Params: `{"chat_id":"$square","user_id":"$bob","role":"admin","notify":"all"}`, Error: protocol.CodeInvalidRequest},
	{As: "ana", Op: "participants.update", Params: `{"chat_id":"$square","user_id":"$bob","notify":"all"}`, Error: protocol.CodePermissionDenied},
	{As: "bob", Op: "chats.get", Params: `{"chat_id":"$square"}`, Want: `{"chat":{` + square + `,"updated_seq":1,"last_seq":2,"notify":"mentions",` + inSquare + `}}`},
	{As: "bob", Op: "participants.update", Params: `{"chat_id":"$square","user_id":"$bob","notify":"all"}`, Want: `{"participant":{"user_id":"$bob","role":"member","joined_seq":2,"updated_seq":2}}`},
	{As: "bob", Op: "chats.get", Params: `{"chat_id":"$square"}`, Want: `{"chat":{` + square + `,"updated_seq":1,"last_seq":2,` + inSquare + `}}`},
	{
		As: "bob", Op: "messages.list", Params: `{"chat_id":"$port","at":"2000-01-01T00:00:00Z","limit":1}`,
		Want: `{"messages":[` + ahoy + `],"has_more_before":false,"has_more_after":true,"last_seq":11,"at_seq":7}`,
	},
	{
		As: "bob", Op: "messages.list", Params: `{"chat_id":"$port","at":"9000-01-01T00:00:00.000+02:00","limit":1}`,
		Want: `{"messages":[` + oops + `],"has_more_before":true,"has_more_after":false,"last_seq":11}`,
	},
	{As: "bob", Op: "messages.list", Params: `{"chat_id":"$port","at":"yesterday"}`, Error: protocol.CodeInvalidRequest},
	{As: "bob", Op: "messages.list", Params: `{"chat_id":"$port","at":""}`, Error: protocol.CodeInvalidRequest},
	{As: "bob", Op: "messages.list", Params: `{"chat_id":"$port","at":"2000-01-01T00:00:00Z","after":3}`, Error: protocol.CodeInvalidRequest},
	{
		As: "ana", Op: "chats.update", Params: `{"chat_id":"$square","visibility":"unlisted"}`,
		Want: `{"chat":{"chat_id":"$square","kind":"group","title":"Square","history":"all","created_by":"$ana","created_at":"$*","updated_seq":3,"last_seq":3,"membership":"joined","role":"owner","joined_seq":1,"read_seq":"$?","unread":0,"mentions":0}}`,
	},
	{As: "ana", Op: "chats.update", Params: `{"chat_id":"$square","visibility":""}`, Error: protocol.CodeInvalidRequest},
	{As: "bob", Op: "chats.browse", Want: `{"chats":[],"has_more":false}`},
	{As: "cyd", Op: "participants.add", Params: `{"chat_id":"$square","user_ids":["$cyd"]}`, Error: protocol.CodeNotFound},

	{As: "dan", Op: "users.update", Params: `{"status":"at sea"}`, Want: `{"user":{"user_id":"$dan","username":"dan","name":"Daniel","role":"member","status":"at sea","created_at":"$*"}}`},
	{As: "dan", Op: "users.update", Params: `{"status":null}`, Want: `{"user":{"user_id":"$dan","username":"dan","name":"Daniel","role":"member","created_at":"$*"}}`},
	{As: "dan", Op: "users.update", Params: `{"status":"two\nlines"}`, Error: protocol.CodeInvalidRequest},
}

const laptop = `"device":"laptop","client":"apitest","created_at":"$*","used_at":"$*","expires_at":"$*"`

var departures = []Step{
	{As: "bob", Op: "sessions.list", Want: `{"sessions":[{"session_id":"$bob_session",` + laptop + `,"current":true}]}`},
	{
		As: "bob", Op: "tokens.create", Params: `{"device":"a script","ttl_ms":3600000}`,
		Want: `{"token":"$bot_token","session":{"session_id":"$bot_session","device":"a script","created_at":"$*","used_at":"$*","expires_at":"$*"}}`,
	},
	{
		As: "bot", Op: "session.start", Params: `{"mechanism":"TOKEN","token":"$bot_token","subscribe":false}`,
		Want: `{"session_id":"$bot_session","user":` + row("bob", "member") + `,"expires_at":"$*","epoch":"$epoch","heartbeat_ms":0}`,
	},
	{As: "bot", Op: "message.send", Params: `{"chat_id":"$port","content":"beep"}`, Want: `{"chat_id":"$port","seq":12,"created_at":"$*","duplicate":false}`},
	{As: "cyd", Op: "sessions.revoke", Params: `{"session_id":"$bot_session"}`, Error: protocol.CodeNotFound},
	{As: "bob", Op: "sessions.revoke", Params: `{"session_id":"s_999999"}`, Error: protocol.CodeNotFound},
	{As: "bob", Op: "sessions.revoke", Params: `{"session_id":"bot"}`, Error: protocol.CodeNotFound},
	{As: "bob", Op: "sessions.revoke", Params: `{"session_id":"$bot_session"}`, Want: `{}`},
	{As: "late", Op: "session.start", Params: `{"mechanism":"TOKEN","token":"$bot_token"}`, Error: protocol.CodeUnauthenticated},
	{
		As: "cyd", Op: "participants.remove", Params: `{"chat_id":"$port","user_id":"$cyd"}`,
		Want: `{"participant":{"user_id":"$cyd","role":"member","joined_seq":3,"left_seq":13,"updated_seq":13}}`,
	},
	{As: "cyd", Op: "messages.list", Params: `{"chat_id":"$port"}`, Error: protocol.CodeNotFound},
	{As: "bob", Op: "chats.delete", Params: `{"chat_id":"$port"}`, Error: protocol.CodePermissionDenied},
	{As: "ana", Op: "chats.delete", Params: `{"chat_id":"$port"}`, Want: `{}`},
	{As: "ana", Op: "chats.get", Params: `{"chat_id":"$port"}`, Error: protocol.CodeNotFound},
	{As: "cyd", Op: "session.end", Want: `{}`},
	{As: "late", Op: "session.start", Params: `{"mechanism":"TOKEN","token":"$cyd_token"}`, Error: protocol.CodeUnauthenticated},
	{As: "late", Op: "session.start", Params: `{"mechanism":"COOKIE"}`, Error: protocol.CodeUnauthenticated},
}
