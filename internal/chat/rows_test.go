package chat_test

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/grima-chat/grima/internal/chat"
)

// rows are those whose rows were told to have changed, since the last call.
func (w *world) rows() []chat.UserID {
	w.news.mu.Lock()
	defer w.news.mu.Unlock()
	list := w.news.rows
	w.news.rows = nil
	return list
}

// What others see of somebody is told when it changes, and nothing else is.
func TestRowsThatChangeArePublished(t *testing.T) {
	w := newWorld(t)
	ana, bob := w.server("ana", chat.RoleOwner), w.server("bob", chat.RoleMember)
	told := func(what string, yes bool) {
		t.Helper()
		var want []chat.UserID
		if yes {
			want = []chat.UserID{bob.User}
		}
		if diff := gocmp.Diff(want, w.rows(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	for _, c := range []struct {
		what string
		by   *person
		p    chat.UserPatch
		told bool
	}{
		{"a name", bob, chat.UserPatch{Name: ptr("Bob O.")}, true},
		{"the same again", bob, chat.UserPatch{Name: ptr("Bob O.")}, false},
		{"a status", bob, chat.UserPatch{Status: ptr("at sea")}, true},
		{"hiding", bob, chat.UserPatch{HidesPresence: ptr(true)}, false},
		{"a password", bob, chat.UserPatch{Password: ptr("another secret"), CurrentPassword: ptr(secret("bob"))}, false},
		{"a role", ana, chat.UserPatch{Role: ptr(chat.RoleAdmin)}, true},
		{"a name by an owner", ana, chat.UserPatch{Name: ptr("Bob")}, true},
		{"disabling", ana, chat.UserPatch{Disabled: ptr(true)}, true},
		{"enabling", ana, chat.UserPatch{Disabled: ptr(false)}, true},
	} {
		_, err := w.UpdateUser(ctx, c.by.Actor, bob.User, c.p)
		ok(t, err)
		told(c.what, c.told)
	}
	_, err := w.UpdateUser(ctx, bob.Actor, ana.User, chat.UserPatch{Name: ptr("x")})
	refused(t, err, chat.CodePermissionDenied)
	told("what was refused", false)
	for _, c := range []struct {
		what    string
		picture []byte
		told    bool
	}{{"a picture", []byte{1}, true}, {"the same again", []byte{1}, false}, {"none", nil, true}, {"none again", nil, false}} {
		_, err := w.SetAvatar(ctx, bob.Actor, "image/png", c.picture)
		ok(t, err)
		told(c.what, c.told)
	}
}
