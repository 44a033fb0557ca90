package client

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/grima-chat/grima/protocol"
)

// pages answers users.list, a page for each cursor.
type pages map[string]protocol.UsersListResult

func (p pages) UsersList(_ context.Context, q protocol.UsersListParams) (protocol.UsersListResult, error) {
	r, ok := p[q.Cursor]
	if q.Prefix != "max" || !ok {
		return r, errors.New("nobody was to ask for that")
	}
	return r, nil
}

func TestUserNamed(t *testing.T) {
	user := func(id, name string) protocol.User { return protocol.User{UserID: id, Username: name} }
	max := user("u_3", "max")
	// The one with the shortest name need not come first.
	found := pages{
		"":  {Users: []protocol.User{user("u_1", "maximilian"), user("u_2", "maxine")}, HasMore: true, Cursor: "2"},
		"2": {Users: []protocol.User{max, user("u_4", "maxwell")}},
	}
	for _, name := range []string{"max", "@max", "@Max", "MAX"} {
		if u, ok, err := UserNamed(t.Context(), found, name); err != nil || !ok || u.UserID != max.UserID {
			t.Errorf("%s: %+v, %v, %v", name, u, ok, err)
		}
	}
	nobody := pages{"": {Users: slices.Clone(found[""].Users)}}
	if u, ok, err := UserNamed(t.Context(), nobody, "max"); err != nil || ok || u.UserID != "" {
		t.Errorf("nobody: %+v, %v, %v", u, ok, err)
	}
	if u, ok, err := UserNamed(t.Context(), pages{}, "@"); err != nil || ok || u.UserID != "" {
		t.Errorf("an empty name is somebody's, or was asked for: %+v, %v, %v", u, ok, err)
	}
	if _, ok, err := UserNamed(t.Context(), pages{}, "max"); err == nil || ok {
		t.Errorf("an error of the server's: %v, %v", ok, err)
	}
}
