package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/client/cache"
	"github.com/grima-chat/grima/internal/login"
	"github.com/grima-chat/grima/internal/tui"
	"github.com/grima-chat/grima/protocol"
)

// chatCmd is grima chat.
type chatCmd struct {
	Server   string `arg:"" optional:"" help:"Where to: HOST, HOST:PORT, grima://, grimas://, ws(s)://, or an invite's link. Default: the server of last time." env:"GRIMA_SERVER"`
	Insecure bool   `help:"Talk to another machine without TLS: everything said can be read on the way."`
	Theme    string `help:"How it looks: ${enum}." enum:"auto,dark,light" default:"auto" env:"GRIMA_CHAT_THEME"`
	Notify   string `help:"What to be told of: ${enum}." enum:"all,mentions,none" default:"mentions" env:"GRIMA_CHAT_NOTIFY"`
	Desktop  string `help:"Which sequence shows a desktop notification: ${enum}." enum:"auto,9,777,none" default:"auto" env:"GRIMA_CHAT_DESKTOP"`
	Bell     bool   `help:"Ring the terminal's bell for what you are told of." default:"true" negatable:"" env:"GRIMA_CHAT_BELL"`
	Bidi     string `help:"Who puts right-to-left text in order: grima (auto) or the terminal." enum:"auto,terminal" default:"auto" env:"GRIMA_CHAT_BIDI"`
	Mouse    bool   `help:"Take the mouse; without, the terminal selects text with it." default:"true" negatable:"" env:"GRIMA_CHAT_MOUSE"`

	keyringFlags
}

func (*chatCmd) Help() string {
	return `A client for the terminal. The first time it asks for a name and a password, or for an invite. The login is kept, in the system's keyring where there is one, else readable for you alone, and so are chats, drafts and what is not sent yet: it can be read and written without a connection. Inside, F1 shows every key and command.

    grima chat                                     # the server of last time
    grima chat chat.example.org
    grima chat 'https://chat.example.org/join#gi_…'   # with an invite
    grima chat localhost --notify all --no-bell`
}

// Run chats.
func (c *chatCmd) Run(ctx context.Context, std stdio) error {
	if !isTerminal(std.in) {
		return usagef("grima chat needs a terminal")
	}
	who, err := c.who(ctx, std)
	if err != nil {
		return err
	}
	return forgetIfOver(c.chat(ctx, std, who), who)
}

// forgetIfOver forgets a login that the server does not take any more, so that
// the next run asks for another. Other reasons to stop leave it alone.
func forgetIfOver(err error, who login.Login) error {
	if !loginOver(err) || os.Getenv("GRIMA_TOKEN") != "" {
		return err
	}
	return errors.Join(fmt.Errorf("run it again to log in anew: %w", err), login.Forget(who))
}

// loginOver reports whether err says that a token is worth nothing any more.
func loginOver(err error) bool {
	if bye, is := errors.AsType[*client.GoodbyeError](err); is {
		return bye.Goodbye.Code == protocol.GoodbyeSessionRevoked
	}
	refused, is := errors.AsType[*client.LoginError](err)
	return is && (refused.Err.Code == protocol.CodeUnauthenticated || refused.Err.Code == protocol.CodeTokenExpired)
}

// who is whom to chat as: who is logged in there, or who says so now, which is
// kept.
func (c *chatCmd) who(ctx context.Context, std stdio) (login.Login, error) {
	_, _, invited := tui.ParseInvite(c.Server)
	if !invited {
		l, err := login.Find(c.Server, os.Getenv("GRIMA_TOKEN"))
		if !errors.Is(err, login.ErrNone) {
			return l, err
		}
	}
	j := joining{cfg: client.Config{Insecure: c.Insecure, Device: device(), Agent: agent()}}
	answers, cred, err := tui.RunSetup(ctx, c.Server, j.login, std.in, std.out)
	if err != nil {
		return login.Login{}, err
	}
	server, err := client.Address(answers.Server)
	if err != nil {
		return login.Login{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return c.keep(ctx, std, server, cred, c.Insecure)
}

// joining is what somebody who fills in the first screen has tried.
type joining struct {
	cfg client.Config // but for the server
	// unheard is the name, and where, of an account that this one may have made
	// and is not logged in to: the answer was lost, or the login after it failed.
	unheard string
}

// login logs in for a token. With an invite it makes the account first. Who asked
// for the same before and never heard the answer has it by now: the name is taken
// then, or the invite used up, by themselves, and so it logs in. A name that is
// taken otherwise is somebody else's: no password is tried there, which would
// count as a login of theirs that failed, or let in whoever chose the same.
func (j *joining) login(ctx context.Context, a tui.Answers) (client.Credentials, error) {
	cfg := j.cfg
	cfg.Server = a.Server
	if a.Invite == "" {
		return client.Login(ctx, cfg, a.Username, a.Password)
	}
	who := strings.ToLower(a.Username) + " " + a.Server
	_, err := client.Register(ctx, cfg, protocol.UsersCreateParams{Username: a.Username, Password: a.Password, Invite: a.Invite})
	if err == nil {
		j.unheard = who
		return client.Login(ctx, cfg, a.Username, a.Password)
	}
	var code protocol.Code
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		code = e.Code
	}
	switch code {
	case protocol.CodeConflict, protocol.CodePermissionDenied:
		if j.unheard != who {
			return client.Credentials{}, err
		}
		cred, loginErr := client.Login(ctx, cfg, a.Username, a.Password)
		if e, ok := errors.AsType[*protocol.Error](loginErr); ok && e.Code == protocol.CodeInvalidCredentials {
			return cred, err // the name is somebody else's, or the invite no good
		}
		return cred, loginErr
	case "", protocol.CodeInternal, protocol.CodeUnavailable, protocol.CodeTimeout:
		j.unheard = who
	}
	return client.Credentials{}, err
}

// device is what this machine is called in the list of sessions.
func device() string {
	name, err := os.Hostname()
	if err != nil {
		return "terminal"
	}
	return name
}

func agent() string { return "grima-chat/" + version }

// chat runs the client on the terminal.
func (c *chatCmd) chat(ctx context.Context, std stdio, a login.Login) (err error) {
	dir, err := stateDir(a)
	if err != nil {
		return err
	}
	cfg := client.Config{
		Server: a.Server, Token: a.Token, UserID: a.UserID, Insecure: c.Insecure || a.Insecure, Device: device(), Agent: agent(), Lazy: true, MaxCatchUp: 5000,
	}
	opts := tui.Options{
		Server: a.Server, Theme: c.Theme, Notify: c.Notify, Desktop: c.Desktop, Bell: c.Bell, Bidi: c.Bidi,
		NoMouse: !c.Mouse, Getenv: os.Getenv, StateFile: filepath.Join(dir, "screen.json"), Location: time.Local,
	}
	kept, err := cache.Open(filepath.Join(dir, "cache.db"))
	if err != nil {
		return fmt.Errorf("opening the cache (is another grima chat of this login running?): %w", err)
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	cfg.Store = kept
	opts.Search = func(ctx context.Context, chatID, words string) ([]protocol.Message, error) {
		return kept.Search(ctx, cache.Query{Text: words, ChatID: chatID, Limit: 200})
	}
	cl, err := client.Open(cfg)
	if err != nil {
		return err
	}
	err = tui.Run(ctx, cl, opts, std.in, std.out)
	return errors.Join(err, cl.Close())
}

// stateDir is where what belongs to a login is kept: its cache, its outbox, its
// drafts. It is made if need be.
func stateDir(l login.Login) (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding the place for the cache: %w", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	who := l.UserID
	if who == "" { // a token of the environment: nobody knows yet whose
		sum := sha256.Sum256([]byte(l.Token))
		who = "token-" + hex.EncodeToString(sum[:6])
	}
	// Both are others' words, and neither may lead out of the directory.
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, l.Server+"_"+who)
	dir := filepath.Join(base, "grima", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the place for the cache: %w", err)
	}
	return dir, nil
}
