package storetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/grima-chat/grima/internal/chat"
)

var keyClauses = []clause{
	{"New ids are positive, differ and are not used again", func(b *box) {
		seen := map[string]bool{}
		for round := range 4 {
			var got []string
			b.do(func(tx chat.Tx) error {
				got = nil
				for i := range 3 {
					u, err1 := tx.NewUserID()
					s, err2 := tx.NewSessionID()
					c, err3 := tx.NewChatID()
					v, err4 := tx.NewInviteID()
					if u <= 0 || s <= 0 || c <= 0 || v <= 0 {
						return fmt.Errorf("ids %d, %d, %d, %d", u, s, c, v)
					}
					got = append(got, fmt.Sprint("user ", u), fmt.Sprint("session ", s), fmt.Sprint("chat ", c), fmt.Sprint("invite ", v))
					row := sampleRows(1, fmt.Sprint(round, i))
					row.session.ID, row.invite.ID = s, v
					if err := errors.Join(err1, err2, err3, err4, tx.PutSession(row.session), tx.PutInvite(row.invite)); err != nil {
						return err
					}
					if i == 2 { // the newest of all go again
						if err := errors.Join(tx.DeleteSession(s), tx.DeleteInvite(v)); err != nil {
							return err
						}
					}
				}
				return nil
			})
			for _, id := range got {
				if seen[id] {
					b.Errorf("%s twice", id)
				}
				seen[id] = true
			}
			b.do(func(tx chat.Tx) error { // and all the others, in an update of their own
				sessions, err1 := tx.Sessions(1)
				invites, err2 := tx.Invites()
				err := errors.Join(err1, err2)
				for _, s := range sessions {
					err = errors.Join(err, tx.DeleteSession(s.ID))
				}
				for _, i := range invites {
					err = errors.Join(err, tx.DeleteInvite(i.ID))
				}
				return err
			})
		}
	}},
	{"A deleted session or invite is gone by every key, and its token and code are free", func(b *box) {
		x, y := sampleRows(1, "ana"), sampleRows(2, "ana")
		b.do(putAll(x), func(tx chat.Tx) error {
			return errors.Join(tx.DeleteSession(1), tx.DeleteInvite(1), tx.DeleteSession(99), tx.DeleteInvite(99))
		})
		b.view(func(r chat.Reader) error {
			for _, g := range everyKey(&x) {
				_, err := g.get(r)
				gone := slices.Contains([]string{"Session", "SessionByToken", "Invite", "InviteByCode"}, g.name)
				if gone != errors.Is(err, chat.ErrNotFound) {
					b.Errorf("%s: %v", g.name, err)
				}
			}
			sessions, err1 := r.Sessions(1)
			invites, err2 := r.Invites()
			if len(sessions)+len(invites) > 0 {
				b.Errorf("%v %v", sessions, invites)
			}
			return errors.Join(err1, err2)
		})
		b.do(func(tx chat.Tx) error { return errors.Join(tx.PutSession(y.session), tx.PutInvite(y.invite)) })
	}},
	{"A username has one user: another's is a conflict, one's own is not", func(b *box) {
		x, y := sampleRows(1, "ana"), sampleRows(2, "bob")
		b.do(putAll(x), putAll(x2(x)), putAll(y))
		took := y.user
		took.Username = "ana"
		b.conflict(func(tx chat.Tx) error { return tx.PutUser(took) })
		b.view(func(r chat.Reader) error { b.sameRows(y, r); return nil })
		b.do(func(tx chat.Tx) error { // an op may go on without
			if err := tx.PutUser(took); chat.CodeOf(err) != chat.CodeConflict {
				return fmt.Errorf("a taken username: %w", err)
			}
			got, err := tx.User(2)
			if got.Username != "bob" {
				return fmt.Errorf("the refused put left %+v, %w", got, err)
			}
			return err
		})
		x.user.Username = "anna"
		b.do(func(tx chat.Tx) error { return errors.Join(tx.PutUser(x.user), tx.PutUser(took)) })
		y.user = took
		b.view(func(r chat.Reader) error {
			b.same("ana", y.user, must(r.UserByName("ana")))
			b.same("anna", x.user, must(r.UserByName("anna")))
			if u, err := r.UserByName("bob"); !errors.Is(err, chat.ErrNotFound) {
				b.Errorf("bob: %v, %v", u, err)
			}
			return nil
		})
	}},
	{"A username is taken as soon as an update before took it", func(b *box) {
		var outcomes []<-chan error
		for i := range 20 {
			outcomes = append(outcomes, b.start(func(tx chat.Tx) error {
				return tx.PutUser(chat.User{ID: chat.UserID(i + 1), Username: "ana", Role: chat.RoleMember, CreatedAt: someTime(0)})
			}))
		}
		for i, c := range outcomes {
			if err := wait(b, "done", c); (i == 0) != (err == nil) || i > 0 && chat.CodeOf(err) != chat.CodeConflict {
				b.Errorf("update %d: %v", i, err)
			}
		}
	}},
	{"A pair has one private chat", func(b *box) {
		x, y := sampleRows(1, "ana"), sampleRows(2, "bob")
		b.do(putAll(x), putAll(y))
		z := x.chat
		z.ID, z.ClientChatID = 3, ""
		b.conflict(func(tx chat.Tx) error { return tx.PutChat(z) })
		z.Pair[1] = 7
		b.do(func(tx chat.Tx) error { return tx.PutChat(z) })
		b.same("the pair's chat", z, read(b, func(r chat.Reader) (chat.Chat, error) { return r.ChatByPair(z.Pair) }), noStamps)
	}},
	{"Groups have no pair", func(b *box) {
		b.group(1)
		b.group(1)
		_, err := try(b, func(r chat.Reader) (chat.Chat, error) { return r.ChatByPair([2]chat.UserID{}) })
		if !errors.Is(err, chat.ErrNotFound) {
			b.Errorf("the chat of nobody: %v", err)
		}
	}},
	{"A client_chat_id is unique to its creator, and none is not an id", func(b *box) {
		x := sampleRows(1, "ana")
		b.do(putAll(x))
		z := x.chat
		z.ID, z.Pair = 3, [2]chat.UserID{}
		b.conflict(func(tx chat.Tx) error { return tx.PutChat(z) })
		z.CreatedBy = 5
		b.do(func(tx chat.Tx) error { return tx.PutChat(z) })
		for id := chat.ChatID(4); id < 6; id++ {
			none := z
			none.ID, none.ClientChatID = id, ""
			b.do(func(tx chat.Tx) error { return tx.PutChat(none) })
		}
		b.view(func(r chat.Reader) error {
			b.same("ana's", x.chat, must(r.ChatByClientID(1, x.chat.ClientChatID)), noStamps)
			b.same("the other's", z, must(r.ChatByClientID(5, x.chat.ClientChatID)), noStamps)
			if c, err := r.ChatByClientID(5, ""); !errors.Is(err, chat.ErrNotFound) {
				b.Errorf("the chat without an id: %v, %v", c, err)
			}
			return nil
		})
	}},
	{"A client_msg_id is used once per sender: a second PutSent fails and undoes its update", func(b *box) {
		users := b.users(2)
		id := b.group(users[0], users[1])
		first := chat.Sent{Sender: users[0], ClientMsgID: "k", Chat: id, Seq: 3, Body: chat.BodyHash{1}, CreatedAt: someTime(1)}
		second, other := first, first
		second.Seq, other.Sender = 4, users[1]
		b.do(func(tx chat.Tx) error { return errors.Join(tx.PutSent(first), tx.PutSent(other)) })
		for _, again := range []chat.Sent{second, first} {
			b.conflict(func(tx chat.Tx) error { return errors.Join(rename(id, "lost")(tx), tx.PutSent(again)) })
		}
		b.conflict(func(tx chat.Tx) error { // within one update, too
			s := first
			s.ClientMsgID = "l"
			return errors.Join(tx.PutSent(s), tx.PutSent(s))
		})
		b.view(func(r chat.Reader) error {
			b.same("sent", first, must(r.Sent(users[0], "k")))
			b.same("the other's", other, must(r.Sent(users[1], "k")))
			b.same("title", "Port", must(r.Chat(id)).Title)
			if s, err := r.Sent(users[0], "l"); !errors.Is(err, chat.ErrNotFound) {
				b.Errorf("sent l: %v, %v", s, err)
			}
			return nil
		})
	}},
	{"Two client_msg_ids that look alike are two", func(b *box) {
		keys := []string{
			"a", "A", "a ", " a", "á", "a\u0301", "1", "01", "1.0",
			"0f8c2a4e-7d11-4a0e-9f1c-3a1f0b6f8a11", "0F8C2A4E-7D11-4A0E-9F1C-3A1F0B6F8A11", "0f8c2a4e7d114a0e9f1c3a1f0b6f8a11", "{0f8c2a4e-7d11-4a0e-9f1c-3a1f0b6f8a11}",
			"0f8c2a4e-7d11-4a0e-9f1c-3a1f0b6f8a1g", "\x0f\x1c*N}\x11J\x0e\x1f\x1c:\x1f\x0bo\x0a\x11",
		}
		for i, k := range keys {
			b.do(func(tx chat.Tx) error {
				return tx.PutSent(chat.Sent{Sender: 1, ClientMsgID: k, Chat: 1, Seq: int64(i + 1), CreatedAt: someTime(0)})
			})
		}
		b.view(func(r chat.Reader) error {
			for i, k := range keys {
				if s, err := r.Sent(1, k); err != nil || s.Seq != int64(i+1) || s.ClientMsgID != k {
					b.Errorf("%q: %+v, %v", k, s, err)
				}
			}
			return nil
		})
	}},
	{"A token has one session and a code one invite", func(b *box) {
		x, y := sampleRows(1, "ana"), sampleRows(2, "bob")
		b.do(putAll(x))
		y.session.TokenHash, y.invite.CodeHash = x.session.TokenHash, x.invite.CodeHash
		b.conflict(func(tx chat.Tx) error { return tx.PutSession(y.session) })
		b.conflict(func(tx chat.Tx) error { return tx.PutInvite(y.invite) })
		b.view(func(r chat.Reader) error { b.sameRows(x, r); return nil })
	}},
}

// x2 is x after a change that keeps what is unique.
func x2(x rows) rows {
	x.user.Name, x.session.Device, x.chat.Title = "Ana", "phone", "Harbour"
	x.sent.ClientMsgID += "2"
	return x
}

// conflict wants an update to fail for what is taken.
func (b *box) conflict(run write) {
	b.Helper()
	if err := b.try(run); err == nil || chat.CodeOf(err) != chat.CodeConflict {
		b.Errorf("got %v, want a conflict", err)
	}
}

// must is for reads inside a View, whose error ends the test as a panic.
func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("reading %T: %v", v, err))
	}
	return v
}
