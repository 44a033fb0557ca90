package client

import (
	"context"
	"strings"

	"github.com/grima-chat/grima/protocol"
)

// Lister is who can be asked for users: a Client, or what stands in for one.
type Lister interface {
	UsersList(ctx context.Context, p protocol.UsersListParams) (protocol.UsersListResult, error)
}

// UserNamed finds who has a username, in whatever case and with or without the @
// of a mention. ok is false if nobody has it.
func UserNamed(ctx context.Context, l Lister, username string) (u protocol.User, ok bool, err error) {
	username = strings.ToLower(strings.TrimPrefix(username, "@"))
	if username == "" { // with which all begin
		return protocol.User{}, false, nil
	}
	for cursor := ""; ; {
		r, err := l.UsersList(ctx, protocol.UsersListParams{Prefix: username, Limit: protocol.MaxPage, Cursor: cursor})
		if err != nil {
			return protocol.User{}, false, err
		}
		for _, u := range r.Users {
			if u.Username == username {
				return u, true, nil
			}
		}
		if cursor = r.Cursor; !r.HasMore {
			return protocol.User{}, false, nil
		}
	}
}
