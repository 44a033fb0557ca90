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
	{"A user has one avatar, the one put last, until it is deleted", func(b *box) {
		of := func(user chat.UserID, hash string, bytes ...byte) chat.Avatar {
			return chat.Avatar{User: user, Hash: hash, Type: "image/png", Bytes: bytes}
		}
		want := func(what string, r chat.Reader, hashes map[string]*chat.Avatar) {
			for hash, a := range hashes {
				got, err := r.Avatar(hash)
				switch {
				case a == nil:
					if !errors.Is(err, chat.ErrNotFound) {
						b.Errorf("%s: %s is %v, %v", what, hash, got, err)
					}
				case err != nil:
					b.Errorf("%s: %s: %v", what, hash, err)
				default:
					b.same(what+": "+hash, *a, got)
				}
			}
		}
		all := func(what string, hashes map[string]*chat.Avatar) {
			b.view(func(r chat.Reader) error { want(what, r, hashes); return nil })
			b.do(func(tx chat.Tx) error { want(what+", in an update", tx, hashes); return nil })
		}
		one, two, same := of(1, "one", 0, 1, 0xff), of(1, "two", 2), of(2, "two", 2)
		all("before", map[string]*chat.Avatar{"one": nil, "two": nil, "": nil})
		b.do(func(tx chat.Tx) error { return tx.PutAvatar(one) })
		all("after a put", map[string]*chat.Avatar{"one": &one, "two": nil})
		b.do(func(tx chat.Tx) error { return errors.Join(tx.PutAvatar(same), tx.PutAvatar(two)) })
		all("after another", map[string]*chat.Avatar{"one": nil, "two": &two}) // the first user's
		if err := b.try(func(tx chat.Tx) error {
			return errors.Join(tx.DeleteAvatar(1), tx.PutAvatar(of(2, "three", 3)), errUndo)
		}); err == nil {
			b.Error("no error")
		}
		all("after what was undone", map[string]*chat.Avatar{"two": &two, "three": nil})
		b.do(func(tx chat.Tx) error { return tx.DeleteAvatar(1) })
		all("after a delete", map[string]*chat.Avatar{"one": nil, "two": &same})
		b.do(func(tx chat.Tx) error {
			return errors.Join(tx.DeleteAvatar(1), tx.DeleteAvatar(2), tx.DeleteAvatar(99))
		})
		all("in the end", map[string]*chat.Avatar{"one": nil, "two": nil})
	}},
	{"The bytes of an avatar are shared with no caller", func(b *box) {
		b.do(func(tx chat.Tx) error {
			given := []byte{1, 2, 3}
			err := tx.PutAvatar(chat.Avatar{User: 1, Hash: "one", Type: "image/png", Bytes: given})
			given[0] = 99
			return err
		})
		for range 2 {
			got := read(b, func(r chat.Reader) (chat.Avatar, error) { return r.Avatar("one") })
			b.same("bytes", []byte{1, 2, 3}, got.Bytes)
			got.Bytes[1] = 98
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
