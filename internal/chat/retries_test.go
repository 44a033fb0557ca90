package chat_test

import (
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

// What a write without a key comes to when it is repeated, as
// docs/protocol.md#idempotency says: it used to say that it is always harmless.
func TestRepeatedWrites(t *testing.T) {
	w := newWorld(t)
	ada := w.server("ada", chat.RoleOwner)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	id, gone := ana.group("Port", bob), ana.group("Harbour")
	twice := func(name string, code chat.Code, do func() error) {
		t.Helper()
		ok(t, do())
		if err := do(); code == "" && err != nil || chat.CodeOf(err) != code && code != "" {
			t.Errorf("%s again: %v, want %q", name, err, code)
		}
	}

	// These add each time.
	sessions := func() int {
		t.Helper()
		all, err := w.Sessions(ctx, ana.Actor)
		ok(t, err)
		return len(all)
	}
	before := sessions()
	twice("tokens.create", "", func() error {
		_, err := w.NewToken(ctx, ana.Actor, "bot", time.Hour)
		return err
	})
	twice("session.start PLAIN", "", func() error {
		_, err := w.LoginPassword(ctx, home, "ana", secret("ana"), "", "")
		return err
	})
	same(t, sessions(), before+4)
	var invite chat.InviteID
	twice("invites.create", "", func() error {
		i, _, err := w.NewInvite(ctx, ada.Actor, "", 1, 0)
		invite = i.ID
		return err
	})
	invites, err := w.Invites(ctx, ada.Actor)
	ok(t, err)
	same(t, len(invites), 2)

	// These say that it is done.
	twice("invites.revoke", chat.CodeNotFound, func() error { return w.RevokeInvite(ctx, ada.Actor, invite) })
	twice("users.create", chat.CodeConflict, func() error {
		_, err := w.Register(ctx, operator, home, newcomer("cem", ""))
		return err
	})
	twice("participants.remove", chat.CodeNotFound, func() error {
		_, err := w.RemoveParticipant(ctx, ana.Actor, id, bob.User)
		return err
	})
	twice("chats.delete", chat.CodeNotFound, func() error { return w.DeleteChat(ctx, ana.Actor, gone) })
	other := w.login("ana")
	twice("sessions.revoke", chat.CodeNotFound, func() error { return w.RevokeSession(ctx, ana.Actor, other.Session) })
	logged := w.login("bob")
	twice("session.end", chat.CodeUnauthenticated, func() error {
		a, err := w.Authenticate(ctx, logged.token) // what a connection or a request begins with
		if err == nil {
			err = w.EndSession(ctx, a)
		}
		return err
	})
	twice("users.update of a password", chat.CodeInvalidCredentials, func() error {
		a, err := w.Authenticate(ctx, bob.token)
		if err == nil {
			_, err = w.UpdateUser(ctx, a, 0, chat.UserPatch{Password: ptr("another secret"), CurrentPassword: ptr(secret("bob"))})
		}
		return err
	})

	// All others are harmless.
	at := ana.at(id)
	twice("participants.add", "", func() error {
		_, err := w.AddParticipants(ctx, ana.Actor, id, ids(bob), "")
		return err
	})
	twice("participants.update", "", func() error {
		_, err := w.UpdateParticipant(ctx, ana.Actor, id, bob.User, chat.RoleAdmin)
		return err
	})
	twice("chats.update", "", func() error {
		_, err := w.UpdateChat(ctx, ana.Actor, id, chat.ChatPatch{Title: ptr("Pier")})
		return err
	})
	same(t, ana.at(id), at+3)
}
