package chat

import "time"

// The bounds of what users send. They are those of docs/protocol.md#limits.
const (
	MaxContent     = 16 << 10 // bytes of a message's content
	MaxClientMsgID = 64       // bytes of a client_msg_id or client_chat_id
	MaxPage        = 200      // rows of a page, ids of a list of users
	DefaultPage    = 50       // rows of a page whose limit is 0
	MaxTimeline    = 20       // messages a chat brings in a sync
	MaxMentions    = 50       // users one message mentions
	MaxTitle       = 128      // code points of a chat's title
	MaxTopic       = 1024     // code points of a chat's topic
	MaxName        = 64       // code points of a user's display name
	MaxFind        = 128      // code points of what people are looked for by
	MaxUsername    = 32       // bytes of a username
	MinPassword    = 8        // bytes of a password
	MaxPassword    = 1024     // bytes of a password
	MaxStatus      = 140      // code points of what a user says of themselves
	MaxAvatar      = 64 << 10 // bytes of a picture
	MaxDevice      = 64       // code points of a session's device or client name
)

// The bounds of what the server keeps.
const (
	MaxParticipants = 20_000 // of one chat
	MaxSessions     = 100    // of one user; a new one ends the one idle for longest
	MaxInvites      = 1000   // those that are over make room
	MaxInviteUses   = 10_000
)

// How long things last.
const (
	SessionIdle     = 30 * 24 * time.Hour  // a login's session that is not used
	SessionAbsolute = 90 * 24 * time.Hour  // a login's session at most, and a token by default
	MaxTTL          = 366 * 24 * time.Hour // a token or an invite at most
	InviteTTL       = 7 * 24 * time.Hour   // an invite by default
	OwnerInviteTTL  = 30 * 24 * time.Hour  // the first owner's invite
	sessionTouch    = 24 * time.Hour       // how exactly UsedAt is kept
)

// MaxPageBytes bounds the contents of the messages on a page: a page is built
// and encoded in memory as a whole, and the longest messages would make it 400
// MB. A page that ends for its bytes says that there is more.
const MaxPageBytes = 1 << 20

// pageLimit is the number of rows a caller asks for.
func pageLimit(limit int) (int, error) {
	switch {
	case limit == 0:
		return DefaultPage, nil
	case limit < 0 || limit > MaxPage:
		return 0, Errorf(CodeInvalidRequest, "limit must be 1 to %d", MaxPage)
	}
	return limit, nil
}

// cutPage makes a page of rows, of which one more than limit was asked for.
func cutPage[T any](rows []T, limit int) (page []T, more bool) {
	if len(rows) > limit {
		return rows[:limit], true
	}
	return rows, false
}
