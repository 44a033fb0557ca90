package storetest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

var rowClauses = []clause{
	{"A new store is empty, named and sound", func(b *box) {
		epoch := b.store.Epoch()
		if again := b.store.Epoch(); epoch == "" || again != epoch {
			b.Errorf("the epoch is %q, then %q", epoch, again)
		}
		select {
		case <-b.store.Failed():
			b.Error("it has failed")
		default:
		}
		if err := b.store.Err(); err != nil {
			b.Errorf("Err: %v", err)
		}
		b.view(func(r chat.Reader) error {
			users, err1 := r.Users("", 0, 10)
			invites, err2 := r.Invites()
			if len(users)+len(invites) > 0 {
				b.Errorf("users %v, invites %v", users, invites)
			}
			return errors.Join(err1, err2)
		})
	}},
	{"A single row that is not there is ErrNotFound", func(b *box) {
		missing := func(r chat.Reader) error {
			for _, g := range everyKey(nil) {
				if _, err := g.get(r); !errors.Is(err, chat.ErrNotFound) {
					return fmt.Errorf("%s: %w, want ErrNotFound", g.name, err)
				}
			}
			return nil
		}
		b.view(missing)
		b.do(func(tx chat.Tx) error { return missing(tx) })
		b.do(putAll(sampleRows(1, "x")), func(tx chat.Tx) error { return missing(tx) })
		b.view(missing)
	}},
	{"Lists of what is not there are empty", func(b *box) {
		b.view(func(r chat.Reader) error {
			for _, l := range everyList(7, 7) {
				if got, err := l.get(r); err != nil || got != "" {
					b.Errorf("%s: %s, %v", l.name, got, err)
				}
			}
			return nil
		})
	}},
	{"Rows come back as they were put", func(b *box) {
		want := sampleRows(1, "ana")
		b.do(putAll(want))
		b.view(func(r chat.Reader) error { b.sameRows(want, r); return nil })
		b.do(func(tx chat.Tx) error { return wrongRows(want, tx) })
	}},
	{"Empty fields come back empty", func(b *box) {
		want := rows{
			user:        chat.User{ID: 3, Username: "x", Role: chat.RoleMember, CreatedAt: someTime(0)},
			session:     chat.Session{ID: 3, User: 3, TokenHash: [32]byte{1}, CreatedAt: someTime(0), UsedAt: someTime(0), ExpiresAt: someTime(0)},
			invite:      chat.Invite{ID: 3, CodeHash: [32]byte{1}, Role: chat.RoleMember, CreatedAt: someTime(0), ExpiresAt: someTime(0)},
			chat:        chat.Chat{ID: 3, Kind: chat.KindGroup, History: chat.HistoryAll, CreatedAt: someTime(0)},
			participant: chat.Participant{Chat: 3, User: 3, Role: chat.RoleMember},
			message:     chat.Message{Chat: 3, Seq: 1, UpdatedSeq: 1, Sender: 3, CreatedAt: someTime(0)},
			sent:        chat.Sent{Sender: 3, ClientMsgID: "k", Chat: 3, Seq: 1, CreatedAt: someTime(0)},
		}
		b.do(putAll(want))
		b.view(func(r chat.Reader) error { b.sameRows(want, r); return nil })
	}},
	{"A put replaces the whole row", func(b *box) {
		b.do(putAll(sampleRows(1, "ana")))
		want := sampleRows(1, "bob")
		want.user.Bot, want.user.Name, want.user.PasswordHash = false, "", ""
		want.user.Status, want.user.Avatar, want.chat.Listed, want.participant.Notify = "", "", false, chat.NotifyNone
		want.session.API, want.session.Client = false, ""
		want.chat.Topic, want.chat.DeletedAt, want.chat.Pair = "", time.Time{}, [2]chat.UserID{}
		want.message.ReplyTo, want.message.Mentions, want.message.MentionAll = 0, nil, false
		want.message.EditedAt, want.message.DeletedAt = time.Time{}, time.Time{}
		b.do(putAll(want))
		b.view(func(r chat.Reader) error { b.sameRows(want, r); return nil })
	}},
	{"Strings come back byte for byte", func(b *box) {
		for i, s := range []string{
			"", " ", "tab\there", "two\nlines\r\n", "'quoted' \"twice\" \\", "null", "%_%", "[1,2]", "0x00", "1e3", "007",
			"👩‍👩‍👧‍👦 🏴‍☠️ 🇵🇹", "שלום עולם", "مرحبا \u202eabc\u202c", "line\u2028paragraph\u2029", "\u200b\ufeff", "\ufffd \uffff \U0010ffff",
			"e\u0301 is not \u00e9", "\u0001\u001f\u007f\u0080", "\x00", "nul\x00nul", "\x00\x01", "\x01\x00", "\x01\x01", "\x01\x02", "\x01", strings.Repeat("a", 16<<10), strings.Repeat("😀", 4<<10),
			"0f8c2a4e-7d11-4a0e-9f1c-3a1f0b6f8a11", "0F8C2A4E-7D11-4A0E-9F1C-3A1F0B6F8A11", "0f8c2a4e7d114a0e9f1c3a1f0b6f8a11",
		} {
			want := sampleRows(int64(i+1)*10, "u"+fmt.Sprint(i))
			want.user.Name, want.user.PasswordHash, want.user.Status, want.user.Avatar = s, s, s, s
			want.session.Device, want.session.Client = s, s
			want.chat.Title, want.chat.Topic, want.chat.ClientChatID = s, s, s
			want.message.Content = s
			if s != "" {
				want.user.Username, want.sent.ClientMsgID = s, s
			}
			b.do(putAll(want))
			b.view(func(r chat.Reader) error { b.sameRows(want, r); return nil })
		}
	}},
	{"Times come back to the millisecond, in UTC", func(b *box) {
		for i, at := range []time.Time{
			time.UnixMilli(1).UTC(), time.UnixMilli(1789000000999).UTC(), time.Date(2026, 3, 29, 1, 30, 0, 1e6, time.UTC),
			time.Date(2026, 9, 20, 12, 0, 0, 5.999e6, time.FixedZone("", 7200)), time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
		} {
			want := sampleRows(int64(i+1)*10, letter(i))
			for _, t := range want.times() {
				*t = at
			}
			b.do(putAll(want))
			at = at.UTC().Truncate(time.Millisecond)
			for _, t := range want.times() {
				*t = at
			}
			b.view(func(r chat.Reader) error {
				got, err := readRows(want, r)
				b.same("rows", want.all(), got.all(), noStamps)
				for _, t := range got.times() {
					if t.Format(time.RFC3339Nano) != at.Format(time.RFC3339Nano) {
						b.Errorf("put %v, got %v", at, *t)
					}
				}
				return err
			})
		}
	}},
	{"Integers up to 2^53-1 come back", func(b *box) {
		const most = 1<<53 - 1
		want := sampleRows(most, "ana")
		want.invite.MaxUses, want.invite.Uses = most, most-1
		want.chat.LastSeq, want.chat.UpdatedSeq = most, most-1
		want.participant.JoinedSeq, want.participant.LeftSeq = most-2, most-1
		want.participant.ReadSeq, want.participant.UpdatedSeq = most, most
		want.message.Seq, want.message.UpdatedSeq, want.message.ReplyTo = most-1, most, most-2
		want.message.Mentions = []chat.UserID{most, 1}
		want.sent.Seq = most
		b.do(putAll(want))
		b.view(func(r chat.Reader) error {
			b.sameRows(want, r)
			list, err := r.Messages(most, most-1, most, 2, false)
			if len(list) != 1 {
				b.Errorf("messages: %v", list)
			}
			return err
		})
	}},
	{"What a caller does with a row's mentions stays with the caller", func(b *box) {
		want := sampleRows(1, "ana")
		given := slices.Clone(want.message.Mentions)
		b.do(func(tx chat.Tx) error {
			m := want.message
			m.Mentions = given
			return tx.PutMessage(m)
		})
		given[0] = 99
		get := func(r chat.Reader) (chat.Message, error) { return r.Message(want.message.Chat, want.message.Seq) }
		got := read(b, get)
		b.same("message", want.message, got)
		got.Mentions[0] = 98
		b.do(func(tx chat.Tx) error {
			m, err := get(tx)
			if err == nil {
				m.Mentions[0] = 97
			}
			return err
		})
		b.same("message", want.message, read(b, get))
	}},
}

// rows is one row of each kind.
type rows struct {
	user        chat.User
	session     chat.Session
	invite      chat.Invite
	chat        chat.Chat
	participant chat.Participant
	message     chat.Message
	sent        chat.Sent
}

// sampleRows fills every field. n is in every id, name in what must be unique.
func sampleRows(n int64, name string) rows {
	user, id := chat.UserID(n), chat.ChatID(n)
	return rows{
		user: chat.User{
			ID: user, Username: name, Name: "Ana Mendes", Role: chat.RoleAdmin, Bot: true, Disabled: true,
			PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA", CreatedAt: someTime(1),
			HidesPresence: true, Status: "at the quay", Avatar: "picture of " + name,
		},
		session: chat.Session{
			ID: chat.SessionID(n), User: user, TokenHash: hash("token " + name), Device: "laptop", Client: "nc/1", API: true,
			CreatedAt: someTime(2), UsedAt: someTime(3), ExpiresAt: someTime(4),
		},
		invite: chat.Invite{
			ID: chat.InviteID(n), CodeHash: hash("code " + name), Role: chat.RoleOwner, MaxUses: 5, Uses: 2,
			CreatedBy: user, CreatedAt: someTime(5), ExpiresAt: someTime(6),
		},
		chat: chat.Chat{
			ID: id, Kind: chat.KindPrivate, Title: "Port", Topic: "cranes", History: chat.HistoryJoined,
			Pair: [2]chat.UserID{user, user + 1}, CreatedBy: user, ClientChatID: "chat of " + name, BodyHash: chat.BodyHash{1, 2, 15: 16},
			CreatedAt: someTime(7), DeletedAt: someTime(8), LastSeq: 44, UpdatedSeq: 43, Listed: true,
		},
		participant: chat.Participant{Chat: id, User: user, Role: chat.RoleOwner, JoinedSeq: 5, LeftSeq: 41, ReadSeq: 40, UpdatedSeq: 42, Notify: chat.NotifyMentions},
		message: chat.Message{
			Chat: id, Seq: 7, UpdatedSeq: 44, Sender: user, Content: "The crane is free.", ReplyTo: 6,
			Mentions: []chat.UserID{9, 8, user}, MentionAll: true, CreatedAt: someTime(9), EditedAt: someTime(10), DeletedAt: someTime(11),
		},
		sent: chat.Sent{Sender: user, ClientMsgID: "msg of " + name, Chat: id, Seq: 7, Body: chat.BodyHash{15: 1}, CreatedAt: someTime(12)},
	}
}

func hash(s string) (h [32]byte) {
	copy(h[:], s)
	h[31] = 0xff
	return h
}

func (x *rows) times() []*time.Time {
	return []*time.Time{
		&x.user.CreatedAt, &x.session.CreatedAt, &x.session.UsedAt, &x.session.ExpiresAt, &x.invite.CreatedAt, &x.invite.ExpiresAt,
		&x.chat.CreatedAt, &x.chat.DeletedAt, &x.message.CreatedAt, &x.message.EditedAt, &x.message.DeletedAt, &x.sent.CreatedAt,
	}
}

func putAll(x rows) write {
	return func(tx chat.Tx) error {
		return errors.Join(tx.PutUser(x.user), tx.PutSession(x.session), tx.PutInvite(x.invite), tx.PutChat(x.chat),
			tx.PutParticipant(x.participant), tx.PutMessage(x.message), tx.PutSent(x.sent))
	}
}

// readRows reads the rows that have the keys of x.
func readRows(x rows, r chat.Reader) (got rows, err error) {
	errs := make([]error, 7)
	got.user, errs[0] = r.User(x.user.ID)
	got.session, errs[1] = r.Session(x.session.ID)
	got.invite, errs[2] = r.Invite(x.invite.ID)
	got.chat, errs[3] = r.Chat(x.chat.ID)
	got.participant, errs[4] = r.Participant(x.participant.Chat, x.participant.User)
	got.message, errs[5] = r.Message(x.message.Chat, x.message.Seq)
	got.sent, errs[6] = r.Sent(x.sent.Sender, x.sent.ClientMsgID)
	return got, errors.Join(errs...)
}

func (b *box) sameRows(want rows, r chat.Reader) {
	b.Helper()
	if err := wrongRows(want, r); err != nil {
		b.Error(err)
	}
}

// wrongRows tells how the rows with the keys of x, by each of their keys,
// differ from x.
func wrongRows(want rows, r chat.Reader) error {
	got, err := readRows(want, r)
	if err != nil {
		return err
	}
	if d := diff(want.all(), got.all(), noStamps); d != "" {
		return fmt.Errorf("rows (-want +got):\n%s", d)
	}
	for _, g := range everyKey(&want) {
		v, err := g.get(r)
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		if d := diff(g.want, v, noStamps); d != "" {
			return fmt.Errorf("%s (-want +got):\n%s", g.name, d)
		}
	}
	return nil
}

func (x rows) all() []any {
	return []any{x.user, x.session, x.invite, x.chat, x.participant, x.message, x.sent}
}

// lookup is a way to a single row.
type lookup struct {
	name string
	want any
	get  func(chat.Reader) (any, error)
}

// everyKey lists all ways to the rows of x; nil: to rows that are not there.
func everyKey(x *rows) []lookup {
	if x == nil {
		none := sampleRows(4711, "nobody")
		x = &none
	}
	all := []lookup{
		{"User", x.user, func(r chat.Reader) (any, error) { return r.User(x.user.ID) }},
		{"UserByName", x.user, func(r chat.Reader) (any, error) { return r.UserByName(x.user.Username) }},
		{"Session", x.session, func(r chat.Reader) (any, error) { return r.Session(x.session.ID) }},
		{"SessionByToken", x.session, func(r chat.Reader) (any, error) { return r.SessionByToken(x.session.TokenHash) }},
		{"Invite", x.invite, func(r chat.Reader) (any, error) { return r.Invite(x.invite.ID) }},
		{"InviteByCode", x.invite, func(r chat.Reader) (any, error) { return r.InviteByCode(x.invite.CodeHash) }},
		{"Chat", x.chat, func(r chat.Reader) (any, error) { return r.Chat(x.chat.ID) }},
		{"Participant", x.participant, func(r chat.Reader) (any, error) { return r.Participant(x.participant.Chat, x.participant.User) }},
		{"Message", x.message, func(r chat.Reader) (any, error) { return r.Message(x.message.Chat, x.message.Seq) }},
		{"Sent", x.sent, func(r chat.Reader) (any, error) { return r.Sent(x.sent.Sender, x.sent.ClientMsgID) }},
	}
	if hasPair(x.chat) {
		all = append(all, lookup{"ChatByPair", x.chat, func(r chat.Reader) (any, error) { return r.ChatByPair(x.chat.Pair) }})
	}
	if x.chat.ClientChatID != "" {
		all = append(all, lookup{"ChatByClientID", x.chat, func(r chat.Reader) (any, error) {
			return r.ChatByClientID(x.chat.CreatedBy, x.chat.ClientChatID)
		}})
	}
	return all
}

// listing is a list as text, empty when the list is.
type listing struct {
	name string
	get  func(chat.Reader) (string, error)
}

func list[T any](name string, get func(chat.Reader) ([]T, error)) listing {
	return listing{name, func(r chat.Reader) (string, error) {
		l, err := get(r)
		if len(l) == 0 {
			return "", err
		}
		return fmt.Sprintf("%+v", l), err
	}}
}

func count[N int | int64](name string, get func(chat.Reader) (N, error)) listing {
	return listing{name, func(r chat.Reader) (string, error) {
		n, err := get(r)
		if n == 0 {
			return "", err
		}
		return fmt.Sprint(n), err
	}}
}

// everyList lists all ways to many rows about a chat and a user.
func everyList(id chat.ChatID, user chat.UserID) []listing {
	const most = 1 << 20
	return []listing{
		list("Users", func(r chat.Reader) ([]chat.User, error) { return r.Users("", 0, most) }),
		list("FindUsers", func(r chat.Reader) ([]chat.User, error) {
			found, _, err := r.FindUsers("a", chat.FoundPos{}, most)
			return found, err
		}),
		list("ListedChats", func(r chat.Reader) ([]chat.Chat, error) { return r.ListedChats(0, most) }),
		list("Sessions", func(r chat.Reader) ([]chat.Session, error) { return r.Sessions(user) }),
		list("LiveSessions", func(r chat.Reader) ([]chat.SessionID, error) {
			sessions, err := r.Sessions(user)
			if err != nil || len(sessions) == 0 {
				return nil, err
			}
			return r.LiveSessions([]chat.SessionID{sessions[0].ID})
		}),
		list("Invites", chat.Reader.Invites),
		list("Participants", func(r chat.Reader) ([]chat.Participant, error) { return r.Participants(id, 0, most) }),
		count("CountParticipants", func(r chat.Reader) (int, error) {
			return r.CountParticipants(id, chat.RoleOwner, chat.RoleAdmin, chat.RoleMember)
		}),
		list("Memberships", func(r chat.Reader) ([]chat.Membership, error) { return r.Memberships(user) }),
		count("LastSeqs", func(r chat.Reader) (int64, error) {
			seqs, err := r.LastSeqs([]chat.ChatID{id})
			if err != nil {
				return 0, err
			}
			return seqs[0], nil
		}),
		list("Messages", func(r chat.Reader) ([]chat.Message, error) { return r.Messages(id, 0, most, most, false) }),
		list("newest Messages", func(r chat.Reader) ([]chat.Message, error) { return r.Messages(id, 0, most, most, true) }),
		list("changed messages", func(r chat.Reader) ([]chat.Message, error) {
			m, _, err := r.Changes(id, 0, math.MaxInt64, 0, most)
			return m, err
		}),
		list("changed participants", func(r chat.Reader) ([]chat.Participant, error) {
			_, p, err := r.Changes(id, 0, math.MaxInt64, 0, most)
			return p, err
		}),
		list("ChangedChats", func(r chat.Reader) ([]chat.ChangedChat, error) { return r.ChangedChats(user, chat.SyncPos{}, most) }),
		list("newest ChangedChats", func(r chat.Reader) ([]chat.ChangedChat, error) {
			return r.ChangedChats(user, chat.SyncPos{Below: 1 << 62}, most)
		}),
		count("CountUnread", func(r chat.Reader) (int64, error) { return r.CountUnread(id, user, 0, most) }),
		count("CountMentions", func(r chat.Reader) (int64, error) { return r.CountMentions(id, user, 0, most) }),
	}
}
