package chat

import (
	"context"
	"time"
)

// Store keeps everything on disk. The rules live in this package and run
// inside a store's transactions; a store contributes the SQL and the promise:
// when an Update's done hears nil, what it wrote survives kill -9 and a power
// cut.
//
// All methods may be called from any goroutine.
type Store interface {
	// View runs fn, once, on one consistent snapshot of committed state. fn
	// must not keep the Reader. Views run beside each other and beside updates.
	View(ctx context.Context, fn func(Reader) error) error

	// Update runs op.Run in a write transaction, possibly together with other
	// updates (group commit), and then calls done exactly once: with nil when
	// everything op.Run wrote is durable, else with why nothing of it is there
	// (op.Run's own error verbatim; an *Error with CodeUnavailable when the
	// store could not write). Updates take effect in the order of the calls to
	// Update; done is called in that same order, never concurrently, from a
	// goroutine of the store's. done must not block: it holds up every later
	// done.
	//
	// Update itself returns at once, save that it may wait for room in a
	// bounded queue, for 5 s; op.OnFull spares the caller that.
	Update(op Op, done func(error))

	// Epoch names the store's history. It changes when history may have been
	// rewound, as by restoring a backup (docs/protocol.md#epoch).
	Epoch() string

	// Failed is closed when the store can never write again in this process,
	// as after a failed fsync; Err then says why. From that moment every Update
	// is refused with CodeUnavailable. Views may go on.
	Failed() <-chan struct{}
	Err() error

	// Close waits for queued updates and their dones, then releases the files.
	Close() error
}

// Op is one unit of writing.
type Op struct {
	// Run does the work. It may run more than once (a store may retry a
	// transaction that lost a race), so it must write to tx only and assign,
	// not add to, what it captures. An error, and likewise a panic, undoes
	// everything it put and nothing else. Run must not block, do I/O of its own,
	// or keep tx.
	Run func(tx Tx) error

	// What Run will look at, if known: hints with which a store that pays a
	// round trip per read may fetch for many ops at once. Zero: no hint.
	Chat        ChatID
	User        UserID
	ClientMsgID string

	// OnFull is how the wait for room happens, if there is one to be. Nil: Update
	// waits. Who updates both before and after that wait takes care of their
	// order: until it is over, the update has no place in it.
	OnFull OnFull
}

// OnFull has wait called elsewhere, once, for a caller that must not wait. wait
// takes as long as it takes, or until its ctx ends; whatever comes of it, done
// hears.
type OnFull func(wait func(ctx context.Context))

// Reader reads rows in one snapshot. Methods that name a single row return
// ErrNotFound when it is not there. Lists are never nil-terminated by a short
// page: callers ask for one row more than they need.
type Reader interface {
	User(id UserID) (User, error)
	UserByName(username string) (User, error) // canonical
	// Users lists at most limit users with ID > after whose username begins
	// with prefix, by ascending ID.
	Users(prefix string, after UserID, limit int) ([]User, error)
	// FindUsers lists at most limit users who have, for every word of find, a
	// word that begins with it in their name or username, whatever the case and
	// the marks of either. They come by the first of their words that the longest
	// one of find begins (of equals the one that comes first), then by ID, from
	// after on. A page costs about what it answers, or what a thousand users do
	// that are not meant, and may therefore be short or empty: next is where to
	// go on, zero at the end. In find without words nobody is found.
	FindUsers(find string, after FoundPos, limit int) (page []User, next FoundPos, err error)
	// Avatar gives a picture with this hash, whosever it is; in a Tx as a list
	// does.
	Avatar(hash string) (Avatar, error)

	Session(id SessionID) (Session, error)
	SessionByToken(hash [32]byte) (Session, error)
	Sessions(user UserID) ([]Session, error) // by ascending ID
	// LiveSessions gives those of ids that there are, expired ones among them,
	// in their order.
	LiveSessions(ids []SessionID) ([]SessionID, error)

	Invite(id InviteID) (Invite, error)
	InviteByCode(hash [32]byte) (Invite, error)
	Invites() ([]Invite, error) // by ascending ID

	// Chat also gives deleted chats; the rules hide them.
	Chat(id ChatID) (Chat, error)
	ChatByPair(pair [2]UserID) (Chat, error)
	ChatByClientID(creator UserID, clientChatID string) (Chat, error)
	// ListedChats lists at most limit of the chats that are Listed, save deleted
	// ones, with ID > after, by ascending ID.
	ListedChats(after ChatID, limit int) ([]Chat, error)

	// Participant also gives those who left.
	Participant(chat ChatID, user UserID) (Participant, error)
	// Participants lists at most limit of those who are in, with User > after,
	// by ascending User.
	Participants(chat ChatID, after UserID, limit int) ([]Participant, error)
	// CountParticipants counts those who are in and have one of the roles.
	CountParticipants(chat ChatID, roles ...Role) (int, error)
	// Memberships lists the chats user is in, save deleted ones, by ascending
	// ChatID.
	Memberships(user UserID) ([]Membership, error)
	// LastSeqs gives the LastSeq of each of these chats, deleted or not, in
	// their order; 0 where there is no such chat.
	LastSeqs(chats []ChatID) ([]int64, error)

	Message(chat ChatID, seq int64) (Message, error)
	// Messages lists messages with lo <= seq < hi, by ascending seq: the first
	// limit of them, or the last limit when newest is set. Of a View the list may
	// end, on the side away from where it begins, with the message by which its
	// contents come to more than MaxPageBytes: that is not on its page any more.
	Messages(chat ChatID, lo, hi int64, limit int, newest bool) ([]Message, error)
	Sent(sender UserID, clientMsgID string) (Sent, error)

	// Changes lists the chat's messages and participants with
	// after < updated_seq <= upto, merged by ascending updated_seq and cut at
	// limit rows. floor hides messages born before it (0 hides none). The chat's
	// own row is not among them. Of a View, messages may be missing behind the one
	// by which the contents come to more than MaxPageBytes. What it costs grows
	// with the numbers between after, or floor, and upto, and not with the chat.
	Changes(chat ChatID, after, upto, floor int64, limit int) ([]Message, []Participant, error)

	// Tails gives, for each of these positions and in their order, the chat's
	// row and what Changes lists after it, of all there is, at most limit rows.
	// It is the last thing that a View reads: if it is the first as well, a
	// store need keep no snapshot for more.
	Tails(after []Position, limit int) ([]Tail, error)

	// ChangedChats lists the chats that changed for user, for sync: those with
	// max(chat.Stamp, participant.Stamp) > pos.After (and, newest first, below
	// pos.Below). Ascending by (stamp, chat) when pos.Below is zero, else
	// descending; at most limit.
	//
	// Chats that user left are among them, with the participant's stamp alone:
	// leaving is the last thing of such a chat that changes for them.
	//
	// A store that several nodes write to may show changes above LastStamp, which
	// others under way may yet come before. They are listed with LastStamp + 1,
	// which no change has: a position may lie among them, but the end of a sync
	// is LastStamp, and then they come again.
	ChangedChats(user UserID, pos SyncPos, limit int) ([]ChangedChat, error)
	// LastStamp is the newest change stamp below which nothing can appear any
	// more: the position a sync that reads this snapshot ends at.
	LastStamp() (int64, error)
	// Commits is another number in each snapshot that shows something else of
	// chats and their participants: while it stays the same, nothing has changed.
	// Other than LastStamp it waits for nobody who is under way. In a Tx as a
	// list does.
	Commits() (int64, error)

	// CountUnread counts, up to most, the chat's living messages after seq by
	// others than user; CountMentions those that mention user.
	CountUnread(chat ChatID, user UserID, seq int64, most int) (int64, error)
	CountMentions(chat ChatID, user UserID, seq int64, most int) (int64, error)
}

// Membership is a chat somebody is in, with the positions routing needs.
type Membership struct {
	Chat                        ChatID
	Kind                        Kind
	LastSeq, JoinedSeq, ReadSeq int64
}

// Position is one in a chat's log.
type Position struct {
	Chat ChatID
	Seq  int64
}

// Tail is a chat with its changes after a position. Without an ID there is no
// such chat.
type Tail struct {
	Chat         Chat
	Messages     []Message
	Participants []Participant
}

// FoundPos is where a list of who is found stands: after this user, who was found
// by this word. Zero is its beginning.
type FoundPos struct {
	Word string
	User UserID
}

// SyncPos is where a sync stands. Ascending: changes after (After, AfterChat).
// Descending, used for a first sync so that the newest chats come first:
// changes above After and below (Below, BelowChat). No chat stands for the end
// of its stamp in AfterChat (changes above After), and for its start in
// BelowChat (changes below Below).
type SyncPos struct {
	After     int64
	AfterChat ChatID
	Below     int64 // 0: ascending
	BelowChat ChatID
}

// ChangedChat is a row of ChangedChats. Stamp is the larger of the chat's and
// the participant's, the participant's when they left, or LastStamp + 1 if that
// is less.
type ChangedChat struct {
	Chat        Chat
	Participant Participant
	Stamp       int64
}

// Tx is a Reader that also writes. Reads by a key see what this Tx put before;
// lists need not, so an op lists before it puts.
//
// A Put writes the whole row, new or not. Times are kept to the millisecond and
// come back in UTC, strings byte for byte. Positions are the rules' business
// (see Service); Stamp fields are the store's: it sets them on every chat put,
// and on participants put with PutReadMark, above every LastStamp that anybody
// has seen, and ignores what a row brings. Ids are positive and never used
// again, even when their row is deleted.
//
// A Put of what must be unique and belongs to another row (a username, a
// session's token, an invite's code, a chat's pair or ClientChatID), and a
// PutSent of a key that is there already, give an *Error with CodeConflict and
// put nothing. Run must then fail too, save after PutUser.
type Tx interface {
	Reader

	// Now is the transaction's time, in UTC and whole milliseconds, the same
	// however often it is asked.
	Now() time.Time

	NewUserID() (UserID, error)
	NewSessionID() (SessionID, error)
	NewChatID() (ChatID, error)
	NewInviteID() (InviteID, error)

	PutUser(User) error
	PutAvatar(Avatar) error // in the place of the one that the user had
	DeleteAvatar(UserID) error
	PutSession(Session) error
	DeleteSession(SessionID) error
	PutInvite(Invite) error
	DeleteInvite(InviteID) error
	PutChat(Chat) error
	PutParticipant(Participant) error
	PutReadMark(chat ChatID, user UserID, seq int64) error // ErrNotFound without a participant
	PutMessage(Message) error
	PutSent(Sent) error
}

// Publisher is told what was committed, in each chat's seq order. Publish is
// called from the store's done goroutine: it must not block.
type Publisher interface {
	Publish(Event)
	// PublishPlace tells p's user where they stand in a chat, ReadSeq and Notify,
	// and the others in it, if they read on, up to where
	// (docs/protocol.md#ephemera).
	PublishPlace(p Participant, read bool)
	PublishTyping(chat ChatID, user UserID, stop bool)
	// PublishPresence says that user may look different to others now.
	PublishPresence(user UserID)
	// PublishUser says that what others see of user's row changed.
	PublishUser(user UserID)
	// EndSessions closes the live connections of these sessions.
	EndSessions(ids []SessionID)
}

// Passwords hashes and checks passwords. Both are slow on purpose and bounded
// in how many run at once; they honour ctx while they wait for their turn.
type Passwords interface {
	Hash(ctx context.Context, password string) (string, error)
	// Verify reports whether password is the hash's, and whether the hash was
	// made with weaker parameters than Hash uses now. An empty hash costs as
	// much time as a real one and never matches.
	Verify(ctx context.Context, hash, password string) (ok, weak bool, err error)
}
