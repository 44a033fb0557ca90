package chat_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/grima-chat/grima/internal/chat"
)

func TestAvatars(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	one, two := []byte("one picture"), []byte("another")
	set := func(p *person, b []byte) chat.User {
		t.Helper()
		u, err := w.SetAvatar(ctx, p.Actor, "image/png", b)
		ok(t, err)
		return u
	}
	has := func(hash string, want []byte) {
		t.Helper()
		got, err := w.Avatar(ctx, bob.Actor, hash)
		if want == nil {
			refused(t, err, chat.CodeNotFound)
			return
		}
		ok(t, err)
		same(t, []any{got.Bytes, got.Type}, []any{want, "image/png"})
	}
	h1 := set(ana, one).Avatar
	same(t, len(h1), 32)
	has(h1, one)
	u, err := w.User(ctx, bob.Actor, ana.User)
	ok(t, err)
	same(t, u.Avatar, h1)
	same(t, set(ana, one).Avatar, h1)
	h2 := set(ana, two).Avatar
	has(h1, nil) // nobody has it any more
	has(h2, two)
	same(t, set(bob, two).Avatar, h2)
	same(t, set(ana, nil).Avatar, "")
	has(h2, two) // bob's still
	set(bob, nil)
	has(h2, nil)

	_, err = w.SetAvatar(ctx, ana.Actor, "image/png", bytes.Repeat([]byte{1}, chat.MaxAvatar+1))
	refused(t, err, chat.CodeInvalidRequest)
	_, err = w.SetAvatar(ctx, operator, "image/png", one)
	refused(t, err, chat.CodePermissionDenied)
	_, err = w.SetAvatar(ctx, chat.Actor{}, "image/png", one)
	refused(t, err, chat.CodeUnauthenticated)
	_, err = w.Avatar(ctx, chat.Actor{}, h1)
	refused(t, err, chat.CodeUnauthenticated)
}

func TestStatusText(t *testing.T) {
	w := newWorld(t)
	list := w.people("ana", "bob")
	ana, bob := list[0], list[1]
	id := ana.group("Port", bob)
	u, err := w.UpdateUser(ctx, bob.Actor, 0, chat.UserPatch{Status: ptr(" at sea ⛵ ")})
	ok(t, err)
	same(t, u.Status, "at sea ⛵")
	members, _, err := w.Participants(ctx, ana.Actor, id, 0, 0)
	ok(t, err)
	same(t, members[1].Status, "at sea ⛵")
	for _, bad := range []string{strings.Repeat("x", chat.MaxStatus+1), "two\nlines", "left\u202eright"} {
		_, err = w.UpdateUser(ctx, bob.Actor, 0, chat.UserPatch{Status: &bad})
		refused(t, err, chat.CodeInvalidRequest)
	}
	_, err = w.UpdateUser(ctx, bob.Actor, ana.User, chat.UserPatch{Status: ptr("mine")})
	refused(t, err, chat.CodePermissionDenied)
	u, err = w.UpdateUser(ctx, bob.Actor, 0, chat.UserPatch{Status: ptr("")})
	ok(t, err)
	same(t, u.Status, "")
}
