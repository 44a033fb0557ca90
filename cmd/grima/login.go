package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/term"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/login"
	"github.com/grima-chat/grima/protocol"
)

// askTimeout bounds what a person waits for.
const askTimeout = 30 * time.Second

type loginCmd struct {
	Address  string `arg:"" optional:"" name:"server" help:"The server, or an invite link." predictor:"none"`
	Username string `short:"u" help:"Who logs in; asked for when absent." placeholder:"NAME" predictor:"none"`
	Invite   string `help:"Make an account with this invite's code, then log in." placeholder:"CODE" predictor:"none"`
	New      bool   `help:"Make an account on a server where anybody may, then log in."`
	Name     string `help:"What people see of a new account; the username when absent." placeholder:"NAME" predictor:"none"`
	Device   string `help:"What the list of your sessions calls this one; the machine's name when absent." placeholder:"NAME" predictor:"none"`
	Insecure bool   `help:"Speak to another machine without TLS, for everybody on the way to read."`

	keyringFlags
}

// keyringFlags is what the commands take that keep a token.
type keyringFlags struct {
	Keyring login.Keyring `help:"Where the token is kept: in the system's keyring where there is one, else in a file (auto), or always in the file (off)." enum:"auto,off" default:"auto" env:"GRIMA_KEYRING"`
}

func (*loginCmd) Help() string {
	return `Log in to a server, for the other commands and grima chat. What is kept is a token, in the system's keyring where there is one, else in a file that is yours alone; grima logout ends it. The password is asked for, or read as one line from standard input; it is never an argument.

    grima login chat.example.com
    grima login https://chat.example.com/join#gi_x1...     # an invite link makes the account
    grima login localhost --new --username ana < password-file

The server is grimas://HOST (TLS, port 7007), wss://HOST (through a web server), or plain grima:// and ws:// on this machine. Scripts need no login: GRIMA_SERVER and GRIMA_TOKEN stand in for it, with a token of grima api tokens.create device=NAME.

` + exitHelp
}

// Run logs in, with a new account if need be.
func (c *loginCmd) Run(ctx context.Context, std stdio) error {
	server, code, err := c.where()
	if err != nil {
		return err
	}
	in := &answers{std: std, lines: bufio.NewReader(io.LimitReader(std.in, 8<<10))}
	username := c.Username
	if username == "" {
		if username, err = in.line("Username"); err != nil {
			return err
		}
	}
	fresh := c.New || code != ""
	password, err := in.password(fresh)
	if err != nil {
		return err
	}
	cfg := client.Config{Server: server, Insecure: c.Insecure, Agent: "grima/" + version, Device: c.Device}
	if cfg.Device == "" {
		cfg.Device, _ = os.Hostname() // a session need not have a name
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if fresh {
		_, err := client.Register(ctx, cfg, protocol.UsersCreateParams{Username: username, Password: password, Name: c.Name, Invite: code})
		if err != nil {
			return hint(err, protocol.CodeConflict, "If that is you: grima login "+server)
		}
	}
	made, err := client.Login(ctx, cfg, username, password)
	if err != nil {
		return err
	}
	if _, err := c.keep(ctx, std, server, made, c.Insecure); err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "logged in to %s as %s (%s)\n", server, visible(made.User.Username, false), visible(made.User.UserID, false))
	return err
}

// keep keeps a login that was just made, and ends the one on the same server that
// it takes the place of: nobody could any more otherwise.
func (k keyringFlags) keep(ctx context.Context, std stdio, server string, made client.Credentials, insecure bool) (login.Login, error) {
	l := login.Login{
		Server: server, Token: made.Token, UserID: made.User.UserID, Username: made.User.Username,
		ExpiresAt: made.ExpiresAt, Insecure: insecure,
	}
	before, err := login.Keep(l, k.Keyring)
	if before == nil {
		return l, err
	}
	ended := errors.New("its token is out of reach")
	if before.Token != "" {
		ended = endSession(ctx, client.Config{Server: server, Token: before.Token, Insecure: insecure || before.Insecure, Agent: agent()})
	}
	if ended != nil && accountExit(ended) != exitLogin { // else it was over already
		fmt.Fprintf(std.err, "grima: the login that this one replaces could not be ended: %v\n", ended)
	}
	return l, err
}

// where is the server, and an invite's code if there is one.
func (c *loginCmd) where() (server, code string, err error) {
	server, code = c.Address, c.Invite
	if address, hidden, is := strings.Cut(server, "/join#"); is {
		if code != "" {
			return "", "", usagef("there is an invite in the link already, and another with --invite")
		}
		server, code = address, hidden
	}
	if server == "" {
		server = os.Getenv("GRIMA_SERVER")
	}
	if server == "" {
		return "", "", usagef("which server? For example: grima login chat.example.com")
	}
	if server, err = client.Address(server); err != nil {
		return "", "", usageError{err}
	}
	return server, code, nil
}

// answers is what somebody types, or what stands in for it.
type answers struct {
	std   stdio
	lines *bufio.Reader
}

func (a *answers) line(prompt string) (string, error) {
	if isTerminal(a.std.in) {
		fmt.Fprintf(a.std.err, "%s: ", prompt)
	}
	line, err := a.lines.ReadString('\n')
	if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
		return "", usagef("a %s is due on standard input, or with a flag: %w", strings.ToLower(prompt), err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// password asks for it without showing it, twice if it is a new one.
func (a *answers) password(fresh bool) (string, error) {
	f, is := a.std.in.(*os.File)
	switch {
	case !is || !term.IsTerminal(int(f.Fd())):
		return a.line("Password")
	case fresh:
		return askPassword(f, a.std.err, "Password")
	}
	fmt.Fprint(a.std.err, "Password: ")
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.std.err)
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	return string(b), nil
}

// endSession logs a token out.
func endSession(ctx context.Context, cfg client.Config) error {
	cfg.Calls = true
	c, err := client.Open(cfg)
	if err != nil {
		return err
	}
	err = c.SessionEnd(ctx)
	if errors.Is(err, client.ErrUnknownOutcome) {
		// Asking again would tell: then it is unauthenticated.
		err = c.SessionEnd(ctx)
	}
	return errors.Join(err, c.Close())
}

type logoutCmd struct {
	accountFlags

	Forget bool `help:"Forget the login also if the server cannot be told; its token then lives on until it expires."`
}

func (*logoutCmd) Help() string {
	return `End the login, on the server and here.

    grima logout
    grima logout --server chat.example.com

` + exitHelp
}

// Run ends the session and forgets its token.
func (c *logoutCmd) Run(ctx context.Context, std stdio) error {
	cfg, l, err := c.config()
	if err != nil && !(c.Forget && errors.Is(err, login.ErrKeyring)) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err == nil {
		err = endSession(ctx, cfg)
	}
	switch {
	case err == nil, accountExit(err) == exitLogin && !errors.Is(err, login.ErrKeyring): // it was over already
	case c.Forget:
		fmt.Fprintf(std.err, "grima: the server was not told: %v\n", err)
	default:
		return fmt.Errorf("%w: %w\nTo forget the login all the same: grima logout --forget", errUnreachable, err)
	}
	if err := login.Forget(l); err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "logged out of %s\n", l.Server)
	return err
}

type whoamiCmd struct {
	accountFlags

	JSON bool `name:"json" help:"Print the user as JSON, with the server."`
}

func (*whoamiCmd) Help() string {
	return `Say who is logged in, as the server sees it.

    grima whoami
    grima whoami --json | jq -r .user.user_id

` + exitHelp
}

// Run asks the server who asks.
func (c *whoamiCmd) Run(ctx context.Context, std stdio) error {
	cfg, _, err := c.config()
	if err != nil {
		return err
	}
	return c.withClient(ctx, askTimeout, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.UsersMe(ctx)
		if err != nil {
			return err
		}
		raw, err := json.Marshal(struct {
			Server string        `json:"server"`
			User   protocol.User `json:"user"`
		}{cfg.Server, r.User})
		if err != nil {
			return err
		}
		return printResult(std.out, c.JSON, raw, func() string {
			return fmt.Sprintf("%s (%s, %s) on %s\n", visible(r.User.Username, false), visible(r.User.UserID, false), visible(r.User.Role, false), cfg.Server)
		})
	})
}
