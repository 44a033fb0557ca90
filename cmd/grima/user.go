package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/grima-chat/grima/protocol"
)

const operatorHelp = `Works whether the server runs or not, on the machine it runs on, as the user it runs as.`

type userCmd struct {
	Add     userAddCmd     `cmd:"" help:"Add somebody."`
	List    userListCmd    `cmd:"" help:"List everybody."`
	Passwd  userPasswdCmd  `cmd:"" help:"Give somebody a new password, which ends all their sessions."`
	Disable userDisableCmd `cmd:"" help:"Lock somebody out: they cannot log in, and their sessions end."`
	Enable  userEnableCmd  `cmd:"" help:"Let somebody in again."`
}

// userFlags is what the commands that name one user take.
type userFlags struct {
	dataFlags

	Username string `arg:"" help:"Who."`
	JSON     bool   `name:"json" help:"Print the user as JSON."`
}

func (f *userFlags) print(std stdio, raw jsontext.Value, format string, args ...any) error {
	return printResult(std.out, f.JSON, raw, func() string { return fmt.Sprintf(format+"\n", args...) })
}

type userAddCmd struct {
	userFlags

	Name string `help:"What people see. Default: the username." placeholder:"NAME"`
	Role string `help:"Standing on the server: ${enum}." enum:"owner,admin,member" default:"member"`
}

func (*userAddCmd) Help() string {
	return operatorHelp + ` The password is asked for, or read as one line from standard input; it is never an argument.

    grima user add ana
    grima user add bob --name Bob --role admin
    pass show grima/eve | grima user add eve`
}

// Run adds a user.
func (c *userAddCmd) Run(ctx context.Context, std stdio) error {
	// Asked for before anything is opened: typing takes as long as it takes.
	password, err := readPassword(std, "Password for "+c.Username)
	if err != nil {
		return err
	}
	if err := prepareData(c.Data); err != nil {
		return err
	}
	return c.withOperator(ctx, std, func(ctx context.Context, op operator) error {
		params := protocol.UsersCreateParams{Username: c.Username, Password: password, Name: c.Name, Role: c.Role}
		var r protocol.UserResult
		raw, err := ask(ctx, op, protocol.OpUsersCreate, params, &r)
		if err != nil {
			return hint(err, protocol.CodeConflict, "To give them a new password: grima user passwd "+c.Username)
		}
		return c.print(std, raw, "added %s (%s, %s)", r.User.Username, r.User.UserID, r.User.Role)
	})
}

type userListCmd struct {
	dataFlags

	JSON bool `name:"json" help:"Print one user as JSON per line."`
}

func (*userListCmd) Help() string {
	return operatorHelp + `

    grima user list
    grima user list --json | jq -r 'select(.disabled) | .username'`
}

// Run lists all users, page by page.
func (c *userListCmd) Run(ctx context.Context, std stdio) error {
	return c.asOperator(ctx, std, func(ctx context.Context, op operator) error {
		users, err := listUsers(ctx, op, "")
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSONLines(std.out, users)
		}
		if len(users) == 0 {
			_, err := fmt.Fprintln(std.out, "nobody yet; grima user add NAME adds somebody")
			return err
		}
		return printTable(std.out, []string{"ID", "USERNAME", "NAME", "ROLE", "SINCE", ""}, len(users), func(i int) []string {
			u := users[i]
			state := ""
			if u.Disabled {
				state = "disabled"
			}
			return []string{u.UserID, u.Username, u.Name, u.Role, day(u.CreatedAt), state}
		})
	})
}

type userPasswdCmd struct{ userFlags }

func (*userPasswdCmd) Help() string {
	return operatorHelp + ` The password is asked for, or read as one line from standard input; it is never an argument.

    grima user passwd ana`
}

// Run changes a password.
func (c *userPasswdCmd) Run(ctx context.Context, std stdio) error {
	return c.asOperator(ctx, std, func(ctx context.Context, op operator) error {
		u, err := findUser(ctx, op, c.Username)
		if err != nil {
			return err
		}
		password, err := readPassword(std, "New password for "+u.Username)
		if err != nil {
			return err
		}
		raw, err := updateUser(ctx, op, protocol.UsersUpdateParams{UserID: u.UserID, Password: &password})
		if err != nil {
			return err
		}
		return c.print(std, raw, "changed the password of %s; their sessions have ended", u.Username)
	})
}

type userDisableCmd struct{ userFlags }

func (*userDisableCmd) Help() string {
	return operatorHelp + ` What they said stays; grima user enable undoes this.

    grima user disable eve`
}

// Run locks a user out.
func (c *userDisableCmd) Run(ctx context.Context, std stdio) error {
	return c.setDisabled(ctx, std, true, "disabled %s; their sessions have ended")
}

type userEnableCmd struct{ userFlags }

func (*userEnableCmd) Help() string {
	return operatorHelp + `

    grima user enable eve`
}

// Run lets a user in again.
func (c *userEnableCmd) Run(ctx context.Context, std stdio) error {
	return c.setDisabled(ctx, std, false, "enabled %s; they log in with their old password")
}

func (f *userFlags) setDisabled(ctx context.Context, std stdio, disabled bool, format string) error {
	return f.asOperator(ctx, std, func(ctx context.Context, op operator) error {
		u, err := findUser(ctx, op, f.Username)
		if err != nil {
			return err
		}
		raw, err := updateUser(ctx, op, protocol.UsersUpdateParams{UserID: u.UserID, Disabled: &disabled})
		if err != nil {
			return err
		}
		return f.print(std, raw, format, u.Username)
	})
}

func updateUser(ctx context.Context, op operator, params protocol.UsersUpdateParams) (jsontext.Value, error) {
	return ask(ctx, op, protocol.OpUsersUpdate, params, new(protocol.UserResult))
}

// listUsers gets all users whose username begins with prefix.
func listUsers(ctx context.Context, op operator, prefix string) ([]protocol.User, error) {
	var users []protocol.User
	params := protocol.UsersListParams{Prefix: prefix, Limit: protocol.MaxPage}
	for {
		var page protocol.UsersListResult
		if _, err := ask(ctx, op, protocol.OpUsersList, params, &page); err != nil {
			return nil, err
		}
		users = append(users, page.Users...)
		if !page.HasMore {
			return users, nil
		}
		params.Cursor = page.Cursor
	}
}

// findUser finds the user whose username is name, in any case.
func findUser(ctx context.Context, op operator, name string) (protocol.User, error) {
	users, err := listUsers(ctx, op, name)
	if err != nil {
		return protocol.User{}, err
	}
	for _, u := range users {
		if strings.EqualFold(u.Username, name) {
			return u, nil
		}
	}
	return protocol.User{}, fmt.Errorf("there is no user %q; grima user list shows who there is", name)
}

// hint adds advice to a refusal with code.
func hint(err error, code protocol.Code, advice string) error {
	if refusal, ok := errors.AsType[*protocol.Error](err); ok && refusal.Code == code {
		return fmt.Errorf("%w\n%s", err, advice)
	}
	return err
}

func printJSONLines[T any](w interface{ Write([]byte) (int, error) }, rows []T) error {
	for _, row := range rows {
		line, err := json.Marshal(row)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}
