package chat

import (
	"context"
	"log/slog"
	"net/netip"
	"time"
)

// Registration says who may make an account.
type Registration string

const (
	RegistrationInvite Registration = "invite" // whoever has an invite code
	RegistrationOpen   Registration = "open"   // anybody
	RegistrationClosed Registration = "closed" // only the operator adds people
)

// Config is what a Service needs. Store, Publisher and Passwords are required.
type Config struct {
	Store        Store
	Publisher    Publisher
	Passwords    Passwords
	Registration Registration // empty: RegistrationInvite
	// NoLimits lifts the limits on rates (never those on sizes), for
	// `grima serve --dev`.
	NoLimits bool
	Log      *slog.Logger     // nil: slog.Default()
	Now      func() time.Time // nil: time.Now; only for what is outside transactions: expiry and rates
}

// Service is the rules. Its methods may be called from any goroutine. They
// return an *Error for everything a user can mend, and wrap everything else.
//
// Methods without a done wait for the commit; an expired ctx gives CodeTimeout,
// which for a write means "outcome unknown". Methods with a done return at
// once and call it exactly once, from the store's done goroutine after the
// commit and before the event is published, or at once when nothing needs
// storing; done must not block.
type Service struct {
	cfg Config
}

// NewService makes a Service on cfg.
func NewService(cfg Config) *Service { panic("unwritten") }

// Actor is who asks. The zero Actor is somebody not logged in.
type Actor struct {
	User    UserID
	Session SessionID
	Role    Role // on the server
	// Operator is whoever runs the server, on its own machine
	// (docs/operations.md#control-socket): they manage users and invites, and
	// have no chats of their own.
	Operator bool
}

// Login is a session that just began.
type Login struct {
	Actor   Actor
	User    User
	Session Session
	Token   string // after a password login and NewToken; else empty
}

// LoginPassword starts a session (docs/protocol.md#login). Failures are counted
// per account and per peer.
func (s *Service) LoginPassword(ctx context.Context, peer netip.Addr, username, password, device, client string) (Login, error) {
	panic("unwritten")
}

// LoginToken resumes the session that token belongs to. No password is hashed.
func (s *Service) LoginToken(ctx context.Context, token string) (Login, error) { panic("unwritten") }

// Authenticate finds who a bearer token stands for. It slides the session's
// expiry, at most once a day, so that it costs no write as a rule.
func (s *Service) Authenticate(ctx context.Context, token string) (Actor, error) { panic("unwritten") }

// CheckSession reports whether the session is still good. A live connection
// asks right after it has registered for EndSessions, so that a revocation in
// between is not missed.
func (s *Service) CheckSession(ctx context.Context, a Actor) error { panic("unwritten") }

// Register makes an account (users.create).
func (s *Service) Register(ctx context.Context, a Actor, peer netip.Addr, r NewUser) (User, error) {
	panic("unwritten")
}

// NewUser is what Register takes.
type NewUser struct {
	Username, Name, Password, Invite string
	Role                             Role // only from those who may add people without an invite
}

// UserPatch is what UpdateUser changes; nil keeps.
type UserPatch struct {
	Name            *string
	Password        *string
	CurrentPassword *string
	Role            *Role
	Disabled        *bool
}

// UpdateUser changes oneself (user 0 or one's own) or, for the server's admins
// and the operator, somebody else. A new password and a disabling end all the
// user's sessions. The server keeps at least one owner that is not disabled.
func (s *Service) UpdateUser(ctx context.Context, a Actor, user UserID, p UserPatch) (User, error) {
	panic("unwritten")
}

func (s *Service) User(ctx context.Context, a Actor, user UserID) (User, error) { panic("unwritten") }

// Users lists users by ascending id. ids, when not nil, asks for exactly those.
func (s *Service) Users(ctx context.Context, a Actor, ids []UserID, prefix string, after UserID, limit int) (users []User, more bool, err error) {
	panic("unwritten")
}

func (s *Service) Sessions(ctx context.Context, a Actor) ([]Session, error) { panic("unwritten") }

// RevokeSession ends one of one's own sessions (server admins: anybody's).
// EndSession ends the actor's own.
func (s *Service) RevokeSession(ctx context.Context, a Actor, id SessionID) error { panic("unwritten") }
func (s *Service) EndSession(ctx context.Context, a Actor) error                  { panic("unwritten") }

// NewToken makes a session for a script or a bot of the actor's. ttl 0: 90 days.
func (s *Service) NewToken(ctx context.Context, a Actor, device string, ttl time.Duration) (Login, error) {
	panic("unwritten")
}

// NewInvite makes an invite and its code, which is not stored. Zeros: member,
// one use, seven days.
func (s *Service) NewInvite(ctx context.Context, a Actor, role Role, maxUses int64, ttl time.Duration) (Invite, string, error) {
	panic("unwritten")
}
func (s *Service) Invites(ctx context.Context, a Actor) ([]Invite, error)       { panic("unwritten") }
func (s *Service) RevokeInvite(ctx context.Context, a Actor, id InviteID) error { panic("unwritten") }

// OwnerInvite makes an invite with RoleOwner if the server has no users yet,
// voiding any it made before; ok is false when there are users.
func (s *Service) OwnerInvite(ctx context.Context) (code string, ok bool, err error) {
	panic("unwritten")
}

// ChatState is a chat as one participant sees it.
type ChatState struct {
	Chat             Chat
	Participant      Participant
	Unread, Mentions int64     // capped at UnreadCap
	Messages         []Message // the newest, ascending; as many as were asked for
}

// UnreadCap bounds the counts of unread messages and mentions: it means
// "more than UnreadCap-1".
const UnreadCap = 1000

// NewChat is what CreateChat takes.
type NewChat struct {
	Kind         Kind
	Peer         UserID // private
	Title, Topic string // group
	History      History
	Users        []UserID
	ClientChatID string
}

// CreateChat makes a group, or finds or makes the pair's private chat. Creation
// takes number 1 for the chat together with its creator, and one more for each
// further founding member.
func (s *Service) CreateChat(ctx context.Context, a Actor, n NewChat) (st ChatState, duplicate bool, err error) {
	panic("unwritten")
}

// ChatPatch is what UpdateChat changes; nil keeps.
type ChatPatch struct {
	Title   *string
	Topic   *string
	History *History
}

func (s *Service) UpdateChat(ctx context.Context, a Actor, id ChatID, p ChatPatch) (ChatState, error) {
	panic("unwritten")
}
func (s *Service) DeleteChat(ctx context.Context, a Actor, id ChatID) error { panic("unwritten") }
func (s *Service) Chat(ctx context.Context, a Actor, id ChatID) (ChatState, error) {
	panic("unwritten")
}

// SyncPage is a page of Sync or of Chats. Next continues it.
type SyncPage struct {
	Chats []ChatState
	Next  SyncPos
	More  bool
}

// Sync lists the chats that changed for the actor since pos (the zero SyncPos:
// all of them, newest first), each with its newest timeline messages
// (docs/protocol.md#sync). It takes its position before its rows.
func (s *Service) Sync(ctx context.Context, a Actor, pos SyncPos, limit, timeline int) (SyncPage, error) {
	panic("unwritten")
}

// Chats lists the chats the actor is in by latest activity. The zero SyncPos
// begins.
func (s *Service) Chats(ctx context.Context, a Actor, pos SyncPos, limit int) (SyncPage, error) {
	panic("unwritten")
}

// Member is a participant with what people call them.
type Member struct {
	Participant
	Username, Name string
}

func (s *Service) Participants(ctx context.Context, a Actor, id ChatID, after UserID, limit int) (members []Member, more bool, err error) {
	panic("unwritten")
}
func (s *Service) AddParticipants(ctx context.Context, a Actor, id ChatID, users []UserID, role Role) ([]Participant, error) {
	panic("unwritten")
}
func (s *Service) UpdateParticipant(ctx context.Context, a Actor, id ChatID, user UserID, role Role) (Participant, error) {
	panic("unwritten")
}
func (s *Service) RemoveParticipant(ctx context.Context, a Actor, id ChatID, user UserID) (Participant, error) {
	panic("unwritten")
}

// Memberships lists the chats the actor's live connection must hear of.
func (s *Service) Memberships(ctx context.Context, user UserID) ([]Membership, error) {
	panic("unwritten")
}

// Anchor says which page of messages is asked for; at most one is set.
type Anchor struct{ Before, After, Around *int64 }

// MessagePage is a page of messages, ascending by seq.
type MessagePage struct {
	Messages                    []Message
	HasMoreBefore, HasMoreAfter bool
	LastSeq                     int64
}

func (s *Service) Messages(ctx context.Context, a Actor, id ChatID, at Anchor, limit int) (MessagePage, error) {
	panic("unwritten")
}
func (s *Service) Message(ctx context.Context, a Actor, id ChatID, seq int64) (Message, error) {
	panic("unwritten")
}

// ChangePage is a page of changes.list: rows whose latest change lies in
// (after, Next], from one snapshot (docs/protocol.md#changes).
type ChangePage struct {
	Messages     []Message
	Participants []Participant
	Chat         *Chat
	Next         int64
	More         bool
}

func (s *Service) Changes(ctx context.Context, a Actor, id ChatID, after int64, limit int) (ChangePage, error) {
	panic("unwritten")
}

// NewMessage is what Send takes.
type NewMessage struct {
	Chat        ChatID
	Content     string
	ClientMsgID string
	ReplyTo     int64
	Mentions    []UserID
	MentionAll  bool
}

// SendResult is where a message came to stand. Duplicate: it stood there
// before this request.
type SendResult struct {
	Seq       int64
	CreatedAt time.Time
	Duplicate bool
}

// Send stores a message (docs/protocol.md#message.send).
func (s *Service) Send(a Actor, m NewMessage, done func(SendResult, error)) { panic("unwritten") }

// MessageEdit is what Edit changes; nil keeps.
type MessageEdit struct {
	Chat       ChatID
	Seq        int64
	Content    string
	Mentions   *[]UserID
	MentionAll *bool
}

// Edit and Delete change a message; done hears its updated_seq. Doing again
// what is done already takes no number.
func (s *Service) Edit(a Actor, e MessageEdit, done func(updatedSeq int64, err error)) {
	panic("unwritten")
}
func (s *Service) Delete(a Actor, id ChatID, seq int64, done func(updatedSeq int64, err error)) {
	panic("unwritten")
}

// SetRead moves the actor's read mark up, never down, and answers where it is.
func (s *Service) SetRead(ctx context.Context, a Actor, id ChatID, seq int64) (int64, error) {
	panic("unwritten")
}

// Typing tells the others; nothing is stored.
func (s *Service) Typing(ctx context.Context, a Actor, id ChatID, stop bool) error {
	panic("unwritten")
}

// Epoch is the store's.
func (s *Service) Epoch() string { return s.cfg.Store.Epoch() }
