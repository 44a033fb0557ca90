package chat_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

func registration(r chat.Registration) option {
	return with(func(cfg *chat.Config) { cfg.Registration = r })
}

func newcomer(name, invite string) chat.NewUser {
	return chat.NewUser{Username: name, Password: secret(name), Invite: invite}
}

var nobody = chat.Actor{}

// putInvite stores i as if the rules had made it so.
func (w *world) putInvite(i chat.Invite) {
	w.t.Helper()
	done := make(chan error, 1)
	w.store.Update(chat.Op{Run: func(tx chat.Tx) error { return tx.PutInvite(i) }}, func(err error) { done <- err })
	ok(w.t, <-done)
}

// The first start makes one owner, who invites the others.
func TestFirstOwner(t *testing.T) {
	w := newWorld(t)
	old, made, err := w.OwnerInvite(ctx)
	ok(t, err)
	if !made || len(old) != len("gi_")+43 {
		t.Fatalf("code %q", old)
	}
	code, _, err := w.OwnerInvite(ctx)
	ok(t, err)

	_, err = w.Register(ctx, nobody, home, newcomer("eve", old))
	refused(t, err, chat.CodePermissionDenied)
	_, err = w.Register(ctx, nobody, home, newcomer("eve", ""))
	refused(t, err, chat.CodePermissionDenied)
	u, err := w.Register(ctx, nobody, home, chat.NewUser{Username: "Ana", Password: secret("ana"), Invite: code})
	ok(t, err)
	same(t, u, chat.User{
		ID: u.ID, Username: "ana", Name: "ana", Role: chat.RoleOwner, PasswordHash: u.PasswordHash, CreatedAt: w.clock.Now(),
	})
	_, err = w.Register(ctx, nobody, home, newcomer("eve", code))
	refused(t, err, chat.CodePermissionDenied)

	if code, made, err := w.OwnerInvite(ctx); made || code != "" || err != nil {
		t.Fatalf("a server with users invites another owner: %q, %v, %v", code, made, err)
	}

	ana := w.login("ana")
	i, code, err := w.NewInvite(ctx, ana.Actor, "", 2, 0)
	ok(t, err)
	same(t, []any{i.Role, i.MaxUses, i.CreatedBy, i.ExpiresAt.Sub(i.CreatedAt)}, []any{chat.RoleMember, int64(2), ana.User, 7 * 24 * time.Hour})
	_, err = w.Register(ctx, nobody, home, newcomer("ana", code)) // a failure uses nothing up
	refused(t, err, chat.CodeConflict)
	_, err = w.Register(ctx, nobody, home, newcomer("bob", code))
	ok(t, err)
	_, err = w.Register(ctx, nobody, home, newcomer("cem", code))
	ok(t, err)
	_, err = w.Register(ctx, nobody, home, newcomer("dan", code))
	refused(t, err, chat.CodePermissionDenied)

	late, code, err := w.NewInvite(ctx, ana.Actor, chat.RoleAdmin, 1, time.Hour)
	ok(t, err)
	w.clock.pass(time.Hour)
	_, err = w.Register(ctx, nobody, home, newcomer("dan", code))
	refused(t, err, chat.CodePermissionDenied)

	_, code, err = w.NewInvite(ctx, ana.Actor, chat.RoleAdmin, 0, 0)
	ok(t, err)
	list, err := w.Invites(ctx, ana.Actor)
	ok(t, err)
	same(t, []int64{list[0].Uses, list[1].Uses, list[2].Uses, list[3].Uses}, []int64{1, 2, 0, 0})
	same(t, list[2].ID, late.ID)
	ok(t, w.RevokeInvite(ctx, ana.Actor, list[3].ID))
	refused(t, w.RevokeInvite(ctx, ana.Actor, list[3].ID), chat.CodeNotFound)
	_, err = w.Register(ctx, nobody, home, newcomer("dan", code))
	refused(t, err, chat.CodePermissionDenied)
}

// The link to become the first owner is printed where others may read it. It is
// void as soon as there is somebody, by whatever way they came, and not only
// when it was used.
func TestOwnerInviteEndsWithTheFirstUser(t *testing.T) {
	for name, first := range map[string]struct {
		a chat.Actor
		r chat.Registration
	}{
		"by open registration": {nobody, chat.RegistrationOpen},
		"by the operator":      {operator, chat.RegistrationInvite},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, registration(first.r))
			code, _, err := w.OwnerInvite(ctx)
			ok(t, err)
			_, err = w.Register(ctx, first.a, home, newcomer("ana", ""))
			ok(t, err)
			_, err = w.Register(ctx, nobody, home, newcomer("eve", code))
			refused(t, err, chat.CodePermissionDenied)
			list, err := w.Invites(ctx, operator)
			ok(t, err)
			same(t, len(list), 0)
		})
	}
	t.Run("at a start with users", func(t *testing.T) {
		w := newWorld(t)
		code, _, err := w.OwnerInvite(ctx)
		ok(t, err)
		i, err := w.Invites(ctx, operator)
		ok(t, err)
		w.people("ana")
		w.putInvite(i[0])
		_, made, err := w.OwnerInvite(ctx)
		ok(t, err)
		same(t, made, false)
		_, err = w.Register(ctx, nobody, home, newcomer("eve", code))
		refused(t, err, chat.CodePermissionDenied)
	})
	t.Run("the operator's invites of owners are another thing", func(t *testing.T) {
		w := newWorld(t)
		_, code, err := w.NewInvite(ctx, operator, chat.RoleOwner, 2, 0)
		ok(t, err)
		_, _, err = w.OwnerInvite(ctx) // a start without users
		ok(t, err)
		for _, name := range []string{"ana", "bob"} {
			u, err := w.Register(ctx, nobody, home, newcomer(name, code))
			ok(t, err)
			same(t, u.Role, chat.RoleOwner)
		}
	})
}

func TestRegistration(t *testing.T) {
	t.Run("open", func(t *testing.T) {
		w := newWorld(t, registration(chat.RegistrationOpen))
		u, err := w.Register(ctx, nobody, home, newcomer("eve", ""))
		ok(t, err)
		same(t, u.Role, chat.RoleMember)
		_, err = w.Register(ctx, nobody, home, newcomer("EVE", ""))
		refused(t, err, chat.CodeConflict)
		_, err = w.Register(ctx, nobody, home, chat.NewUser{Username: "mal", Password: secret("mal"), Role: chat.RoleOwner})
		refused(t, err, chat.CodePermissionDenied)
		_, err = w.Register(ctx, nobody, home, newcomer("mal", "gi_wrong"))
		refused(t, err, chat.CodePermissionDenied)
		_, err = w.Register(ctx, operator, home, chat.NewUser{Username: "mal", Password: secret("mal"), Role: "king"})
		refused(t, err, chat.CodeInvalidRequest)
	})
	t.Run("closed", func(t *testing.T) {
		w := newWorld(t, registration(chat.RegistrationClosed))
		first, _, err := w.OwnerInvite(ctx)
		ok(t, err)
		_, err = w.Register(ctx, nobody, home, newcomer("ana", first))
		ok(t, err)
		ana := w.login("ana")
		_, err = w.Register(ctx, nobody, home, newcomer("eve", ""))
		refused(t, err, chat.CodePermissionDenied)
		_, _, err = w.NewInvite(ctx, ana.Actor, "", 0, 0)
		refused(t, err, chat.CodePermissionDenied)
		_, code, err := w.NewInvite(ctx, operator, "", 0, 0)
		ok(t, err)
		_, err = w.Register(ctx, nobody, home, newcomer("ivo", code)) // it is the operator who lets them in
		ok(t, err)
		_, err = w.Register(ctx, ana.Actor, home, newcomer("bob", ""))
		ok(t, err)
		_, err = w.Register(ctx, w.login("bob").Actor, home, newcomer("eve", ""))
		refused(t, err, chat.CodePermissionDenied)
	})
	t.Run("closed after an admin made an invite", func(t *testing.T) {
		w := newWorld(t, registration(chat.RegistrationClosed))
		i, code, err := w.NewInvite(ctx, operator, "", 0, 0)
		ok(t, err)
		i.CreatedBy = w.server("ada", chat.RoleAdmin).User
		w.putInvite(i)
		_, err = w.Register(ctx, nobody, home, newcomer("eve", code))
		refused(t, err, chat.CodePermissionDenied)
	})
	t.Run("admins add people with a role up to their own", func(t *testing.T) {
		w := newWorld(t)
		ada, bob := w.server("ada", chat.RoleAdmin), w.people("bob")[0]
		u, err := w.Register(ctx, ada.Actor, home, chat.NewUser{Username: "cem", Password: secret("cem"), Role: chat.RoleAdmin})
		ok(t, err)
		same(t, u.Role, chat.RoleAdmin)
		_, err = w.Register(ctx, ada.Actor, home, chat.NewUser{Username: "dan", Password: secret("dan"), Role: chat.RoleOwner})
		refused(t, err, chat.CodePermissionDenied)
		_, err = w.Register(ctx, bob.Actor, home, newcomer("dan", ""))
		refused(t, err, chat.CodePermissionDenied)
		_, _, err = w.NewInvite(ctx, ada.Actor, chat.RoleOwner, 0, 0)
		refused(t, err, chat.CodePermissionDenied)
		// A role that was taken away is gone at once, also for who is logged in.
		_, err = w.UpdateUser(ctx, operator, ada.User, chat.UserPatch{Role: ptr(chat.RoleMember)})
		ok(t, err)
		_, err = w.Register(ctx, ada.Actor, home, newcomer("dan", ""))
		refused(t, err, chat.CodePermissionDenied)
	})
}

func TestInviteBounds(t *testing.T) {
	w := newWorld(t)
	bob := w.people("bob")[0]
	for _, a := range []chat.Actor{nobody, bob.Actor} {
		code := chat.CodePermissionDenied
		if a == nobody {
			code = chat.CodeUnauthenticated
		}
		_, _, err := w.NewInvite(ctx, a, "", 0, 0)
		refused(t, err, code)
		_, err = w.Invites(ctx, a)
		refused(t, err, code)
		refused(t, w.RevokeInvite(ctx, a, 1), code)
	}
	for _, bad := range []struct {
		role chat.Role
		uses int64
		ttl  time.Duration
	}{{"king", 0, 0}, {"", -1, 0}, {"", chat.MaxInviteUses + 1, 0}, {"", 0, -1}, {"", 0, chat.MaxTTL + 1}} {
		_, _, err := w.NewInvite(ctx, operator, bad.role, bad.uses, bad.ttl)
		refused(t, err, chat.CodeInvalidRequest)
	}
	for range chat.MaxInvites {
		_, _, err := w.NewInvite(ctx, operator, "", 0, 0)
		ok(t, err)
	}
	_, _, err := w.NewInvite(ctx, operator, "", 0, 0)
	refused(t, err, chat.CodeConflict)
	w.clock.pass(chat.InviteTTL)
	_, _, err = w.NewInvite(ctx, operator, "", 0, 0) // the oldest makes room
	ok(t, err)
	list, err := w.Invites(ctx, operator)
	ok(t, err)
	same(t, []any{len(list), list[0].ID}, []any{chat.MaxInvites, chat.InviteID(2)})
}

// Who is made less, or locked out, cannot come back by an invite that they made
// before, nor send somebody.
func TestInviteIsWorthWhatItsMakerIs(t *testing.T) {
	w := newWorld(t)
	ana, eve := w.people("ana")[0], w.people("eve")[0]
	become := func(who chat.UserID, p chat.UserPatch) {
		t.Helper()
		_, err := w.UpdateUser(ctx, operator, who, p)
		ok(t, err)
	}
	become(ana.User, chat.UserPatch{Role: ptr(chat.RoleOwner)})
	become(eve.User, chat.UserPatch{Role: ptr(chat.RoleOwner)})
	_, owners, err := w.NewInvite(ctx, eve.Actor, chat.RoleOwner, 10, 0)
	ok(t, err)
	_, members, err := w.NewInvite(ctx, eve.Actor, "", 10, 0)
	ok(t, err)
	n := 0
	uses := func(code string, good bool) {
		t.Helper()
		n++
		_, err := w.Register(ctx, nobody, home, newcomer(fmt.Sprint("friend", n), code))
		if good {
			ok(t, err)
			return
		}
		refused(t, err, chat.CodePermissionDenied)
	}
	uses(owners, true)
	uses(members, true)
	become(eve.User, chat.UserPatch{Role: ptr(chat.RoleAdmin)})
	uses(owners, false)
	uses(members, true)
	become(eve.User, chat.UserPatch{Disabled: ptr(true)})
	uses(members, false)
	become(eve.User, chat.UserPatch{Disabled: ptr(false), Role: ptr(chat.RoleMember)})
	uses(members, false)
	become(eve.User, chat.UserPatch{Role: ptr(chat.RoleOwner)})
	uses(owners, true)
}

// Who may change what of whom, on the server.
func TestUpdateUserRights(t *testing.T) {
	const y, n, i = "yes", "no", "invalid"
	roles := []chat.Role{chat.RoleOwner, chat.RoleAdmin, chat.RoleMember}
	changes := map[string]chat.UserPatch{
		"name":     {Name: ptr("New")},
		"role":     {Role: ptr(chat.RoleAdmin)},
		"disabled": {Disabled: ptr(true)},
		"password": {Password: ptr("another secret")},
	}
	// of whom: oneself, owner, admin, member
	table := map[string]map[chat.Role][4]string{
		"name":     {chat.RoleOwner: {y, y, y, y}, chat.RoleAdmin: {y, n, y, y}, chat.RoleMember: {y, n, n, n}},
		"role":     {chat.RoleOwner: {y, y, y, y}, chat.RoleAdmin: {n, n, n, n}, chat.RoleMember: {n, n, n, n}},
		"disabled": {chat.RoleOwner: {y, y, y, y}, chat.RoleAdmin: {y, n, y, y}, chat.RoleMember: {n, n, n, n}},
		"password": {chat.RoleOwner: {i, n, n, n}, chat.RoleAdmin: {i, n, n, n}, chat.RoleMember: {i, n, n, n}},
	}
	for what, byRole := range table {
		for role, want := range byRole {
			for k := range want {
				w := newWorld(t)
				w.server("spare", chat.RoleOwner)
				me := w.server("me1", role)
				whom := me.User
				if k > 0 {
					whom = w.server("other", roles[k-1]).User
				}
				_, err := w.UpdateUser(ctx, me.Actor, whom, changes[what])
				got := map[chat.Code]string{chat.CodePermissionDenied: n, chat.CodeInvalidRequest: i}[chat.CodeOf(err)]
				if err == nil {
					got = y
				}
				if got != want[k] {
					t.Errorf("%s of %d by %s: %s (%v), want %s", what, k, role, got, err, want[k])
				}
				_, err = w.UpdateUser(ctx, operator, whom, changes[what])
				ok(t, err)
			}
		}
	}
}

func TestLastServerOwner(t *testing.T) {
	w := newWorld(t)
	ana, bob := w.server("ana", chat.RoleOwner), w.server("bob", chat.RoleAdmin)
	for _, a := range []chat.Actor{ana.Actor, operator} {
		_, err := w.UpdateUser(ctx, a, ana.User, chat.UserPatch{Role: ptr(chat.RoleMember)})
		refused(t, err, chat.CodeConflict)
		_, err = w.UpdateUser(ctx, a, ana.User, chat.UserPatch{Disabled: ptr(true)})
		refused(t, err, chat.CodeConflict)
	}
	_, err := w.UpdateUser(ctx, ana.Actor, bob.User, chat.UserPatch{Role: ptr(chat.RoleOwner), Disabled: ptr(true)})
	ok(t, err)
	_, err = w.UpdateUser(ctx, ana.Actor, 0, chat.UserPatch{Role: ptr(chat.RoleMember)})
	refused(t, err, chat.CodeConflict) // bob is an owner, and cannot log in
	_, err = w.UpdateUser(ctx, ana.Actor, bob.User, chat.UserPatch{Disabled: ptr(false)})
	ok(t, err)
	_, err = w.UpdateUser(ctx, ana.Actor, 0, chat.UserPatch{Role: ptr(chat.RoleMember)})
	ok(t, err)
}

func TestChangePassword(t *testing.T) {
	w := newWorld(t)
	ana := w.people("ana")[0]
	phone := w.login("ana")
	change := chat.UserPatch{Password: ptr("another secret")}
	_, err := w.UpdateUser(ctx, ana.Actor, 0, change)
	refused(t, err, chat.CodeInvalidRequest)
	change.CurrentPassword = ptr("wrong")
	_, err = w.UpdateUser(ctx, ana.Actor, 0, change)
	refused(t, err, chat.CodeInvalidCredentials)
	same(t, w.endedSessions(), []chat.SessionID(nil))
	change.CurrentPassword = ptr(secret("ana"))
	_, err = w.UpdateUser(ctx, ana.Actor, 0, change)
	ok(t, err)
	// All but the one that asks.
	same(t, w.endedSessions(), []chat.SessionID{phone.Session})
	_, err = w.Authenticate(ctx, ana.token)
	ok(t, err)
	refused(t, w.CheckSession(ctx, phone.Actor), chat.CodeUnauthenticated)
	_, err = w.LoginPassword(ctx, home, "ana", secret("ana"), "", "")
	refused(t, err, chat.CodeInvalidCredentials)
	l, err := w.LoginPassword(ctx, home, "ANA", "another secret", "", "")
	ok(t, err)

	// Disabling ends sessions too, and enabling brings the password back.
	_, err = w.UpdateUser(ctx, operator, ana.User, chat.UserPatch{Disabled: ptr(true)})
	ok(t, err)
	same(t, w.endedSessions(), []chat.SessionID{ana.Session, l.Session.ID})
	_, err = w.LoginPassword(ctx, home, "ana", "another secret", "", "")
	refused(t, err, chat.CodeInvalidCredentials)
	_, err = w.UpdateUser(ctx, operator, ana.User, chat.UserPatch{Disabled: ptr(false)})
	ok(t, err)
	_, err = w.LoginPassword(ctx, home, "ana", "another secret", "", "")
	ok(t, err)
}

func TestLookingPeopleUp(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "anton", "bob")
	ana, anton, bob := list[0], list[1], list[2]
	names := func(users []chat.User) (out []string) {
		for _, u := range users {
			out = append(out, u.Username)
		}
		return out
	}
	users, more, err := w.Users(ctx, ana.Actor, nil, "", 0, 2)
	ok(t, err)
	same(t, []any{names(users), more}, []any{[]string{"ana", "anton"}, true})
	users, more, err = w.Users(ctx, ana.Actor, nil, "", anton.User, 2)
	ok(t, err)
	same(t, []any{names(users), more}, []any{[]string{"bob"}, false})
	for _, prefix := range []string{"an", "An", "AN"} { // as one may log in, too
		users, _, err = w.Users(ctx, operator, nil, prefix, 0, 0)
		ok(t, err)
		same(t, names(users), []string{"ana", "anton"})
	}
	users, _, err = w.Users(ctx, ana.Actor, []chat.UserID{bob.User, -1, 99, ana.User}, "", 0, 0)
	ok(t, err)
	same(t, names(users), []string{"bob", "ana"})
	users, _, err = w.Users(ctx, ana.Actor, []chat.UserID{}, "", 0, 0)
	ok(t, err)
	same(t, len(users), 0)
	u, err := w.User(ctx, ana.Actor, bob.User)
	ok(t, err)
	same(t, u.Username, "bob")
	_, err = w.User(ctx, ana.Actor, 99)
	refused(t, err, chat.CodeNotFound)
	_, err = w.User(ctx, nobody, bob.User)
	refused(t, err, chat.CodeUnauthenticated)
	_, _, err = w.Users(ctx, nobody, nil, "", 0, 0)
	refused(t, err, chat.CodeUnauthenticated)
	for _, limit := range []int{-1, chat.MaxPage + 1} {
		_, _, err = w.Users(ctx, ana.Actor, nil, "", 0, limit)
		refused(t, err, chat.CodeInvalidRequest)
	}
	_, _, err = w.Users(ctx, ana.Actor, make([]chat.UserID, chat.MaxPage+1), "", 0, 0)
	refused(t, err, chat.CodeInvalidRequest)
}
