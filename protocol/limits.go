package protocol

// The bounds of version 1 (docs/protocol.md#limits). A server announces the
// ones a client needs in Hello; exceeding any of them is a typed error.
const (
	MaxFrame       = 64 << 10 // bytes of a line from a logged-in client, without its newline
	MaxFrameLogin  = 8 << 10  // the same before login
	MaxContent     = 16 << 10 // bytes of a message's content
	MaxDepth       = 16       // nesting of JSON arrays and objects in a line
	MaxID          = 64       // bytes of a request's id as it stands in the line
	MaxClientMsgID = 64       // bytes of a client_msg_id or client_chat_id
	MaxPage        = 200      // rows of a page, ids of a list of users
	DefaultPage    = 50       // rows of a page when limit is absent
	MaxTimeline    = 20       // messages a chat brings in a sync
	MaxMentions    = 50       // users one message mentions
	MaxTitle       = 128      // code points of a chat's title
	MaxTopic       = 1024     // code points of a chat's topic
	MaxName        = 64       // code points of a user's display name
	MaxStatus      = 140      // code points of what a user says of themselves
	MaxAvatar      = 64 << 10 // bytes of a picture
	MaxAvatarSide  = 512      // pixels of a picture, in width and in height
	MaxUsername    = 32       // bytes of a username
	MinPassword    = 8        // bytes of a password
	MaxPassword    = 1024     // bytes of a password
	MaxDevice      = 64       // code points of a session's device or client name
	MaxIgnored     = 16       // unknown members that an answer lists; more are ignored unlisted
	MaxInFlight    = 256      // sends, edits and deletes of one connection under way at once
	MaxInteger     = 1<<53 - 1
)
