package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/login"
	"github.com/grima-chat/grima/protocol"
)

// personal are the commands that speak as a person. Those of the operator have no
// other exit codes than exitOK, exitFailed and exitUsage: a port that is taken is
// no server that cannot be reached.
var personal = map[string]bool{"api": true, "chat": true, "login": true, "logout": true, "send": true, "tail": true, "whoami": true}

// Exit codes of commands that are personal, beside those of all.
const (
	exitLogin       = 3 // nobody is logged in, or the server does not take the login (any more)
	exitRefused     = 4 // the server refused: no such chat, not allowed, too long
	exitUnreachable = 5 // no connection, or no answer in time; of a send: perhaps it happened
)

const exitHelp = `Exit codes: 0 done; 1 something else failed; 2 a mistake in the command; 3 not logged in; 4 the server refused; 5 the server could not be reached in time.`

// accountFlags is what every command takes that speaks as a person.
type accountFlags struct {
	Server   string `help:"The server: grimas://chat.example.com, wss://..., or a host; the one logged in to last when absent." placeholder:"SERVER" env:"GRIMA_SERVER" predictor:"none"`
	Insecure bool   `help:"Speak to another machine without TLS, for everybody on the way to read."`
}

// config is what to open a client with.
func (f *accountFlags) config() (client.Config, login.Login, error) {
	l, err := login.Find(f.Server, os.Getenv("GRIMA_TOKEN"))
	if err != nil {
		return client.Config{}, l, loginError{err}
	}
	return client.Config{
		Server: l.Server, Token: l.Token, Insecure: f.Insecure || l.Insecure, Agent: "grima/" + version,
	}, l, nil
}

// loginError is a reason for exitLogin.
type loginError struct{ error }

func (e loginError) Unwrap() error { return e.error }

// withClient opens a client that only asks and sends, runs do with it, and
// closes it. Everything together may take as long as wait.
func (f *accountFlags) withClient(ctx context.Context, wait time.Duration, do func(context.Context, *client.Client) error) error {
	cfg, _, err := f.config()
	if err != nil {
		return err
	}
	cfg.Calls = true
	c, err := client.Open(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err = do(ctx, c)
	if errors.Is(err, context.DeadlineExceeded) {
		err = unreachable(err, wait)
	}
	return errors.Join(err, c.Close())
}

// unreachable says that time ran out, and what kept a client from its server, if
// err says that beside its context's error.
func unreachable(err error, wait time.Duration) error {
	if both, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		for _, why := range both.Unwrap() {
			if why != context.DeadlineExceeded { // itself: a dial that took too long is a reason
				return fmt.Errorf("%w within %v: %w", errUnreachable, wait, why)
			}
		}
	}
	return fmt.Errorf("%w within %v", errUnreachable, wait)
}

var errUnreachable = errors.New("the server did not answer")

// accountExit is the exit code of an error of talking as a person.
func accountExit(err error) int {
	refusal, refused := errors.AsType[*protocol.Error](err)
	_, unlogged := errors.AsType[*client.LoginError](err)
	_, mine := errors.AsType[loginError](err)
	bye, away := errors.AsType[*client.GoodbyeError](err)
	_, network := errors.AsType[*net.OpError](err)
	switch {
	case unlogged, mine, errors.Is(err, login.ErrKeyring), away && bye.Goodbye.Code == protocol.GoodbyeSessionRevoked:
		return exitLogin
	case refused && (refusal.Code == protocol.CodeInvalidCredentials || refusal.Code == protocol.CodeUnauthenticated || refusal.Code == protocol.CodeTokenExpired):
		return exitLogin
	case away && bye.Goodbye.Code == protocol.GoodbyeUnsupportedVersion:
		return exitRefused
	case errors.Is(err, errUnreachable), errors.Is(err, client.ErrUnknownOutcome), network, away:
		return exitUnreachable
	case refused:
		return exitRefused
	}
	return exitFailed
}

// findChat finds the chat that a person means: by its id, by its title, or by
// @username the private one, which is made if it is not there and make says so.
func findChat(ctx context.Context, c *client.Client, name string, create bool) (protocol.ChatState, error) {
	if username, is := strings.CutPrefix(name, "@"); is {
		return privateChat(ctx, c, username, create)
	}
	r, err := c.ChatsGet(ctx, protocol.ChatParams{ChatID: name})
	if refusal, ok := errors.AsType[*protocol.Error](err); !ok || refusal.Code != protocol.CodeNotFound {
		return r.Chat, err
	}
	chats, err := listChats(ctx, c)
	if err != nil {
		return protocol.ChatState{}, err
	}
	var same, alike []protocol.ChatState
	for _, chat := range chats {
		switch {
		case chat.Title == "":
		case chat.Title == name:
			same = append(same, chat)
		case strings.EqualFold(chat.Title, name):
			alike = append(alike, chat)
		}
	}
	if len(same) == 0 {
		same = alike
	}
	switch len(same) {
	case 0:
		err := protocol.NewError(protocol.CodeNotFound, fmt.Sprintf("you are in no chat %q", name))
		return protocol.ChatState{}, hint(err, err.Code, "A chat is named by its id, its title, or @username; grima api chats.list shows yours")
	case 1:
		return same[0], nil
	}
	var ids []string
	for _, chat := range same {
		ids = append(ids, chat.ChatID)
	}
	return protocol.ChatState{}, usagef("%d of your chats are called %q: say which by its id, %s", len(same), name, strings.Join(ids, ", "))
}

func privateChat(ctx context.Context, c *client.Client, username string, create bool) (protocol.ChatState, error) {
	user, err := findPerson(ctx, c, username)
	if err != nil {
		return protocol.ChatState{}, err
	}
	if create {
		r, err := c.ChatsCreate(ctx, protocol.ChatsCreateParams{Kind: "private", UserID: user.UserID})
		return r.Chat, err
	}
	chats, err := listChats(ctx, c)
	if err != nil {
		return protocol.ChatState{}, err
	}
	for _, chat := range chats {
		if chat.Kind == "private" && slices.Contains(chat.UserIDs, user.UserID) {
			return chat, nil
		}
	}
	return protocol.ChatState{}, protocol.NewError(protocol.CodeNotFound, "you have no chat with "+user.Username+" yet")
}

// findPerson finds somebody by their username, with or without its @.
func findPerson(ctx context.Context, c *client.Client, username string) (protocol.User, error) {
	u, ok, err := client.UserNamed(ctx, c, username)
	if err == nil && !ok {
		err = protocol.NewError(protocol.CodeNotFound, fmt.Sprintf("there is nobody called %q", strings.ToLower(strings.TrimPrefix(username, "@"))))
	}
	return u, err
}

func listChats(ctx context.Context, c *client.Client) (chats []protocol.ChatState, err error) {
	for cursor := ""; ; {
		r, err := c.ChatsList(ctx, protocol.ChatsListParams{Limit: protocol.MaxPage, Cursor: cursor})
		if err != nil {
			return nil, err
		}
		chats = append(chats, r.Chats...)
		if cursor = r.Cursor; !r.HasMore {
			return chats, nil
		}
	}
}

// isTerminal reports whether f is one that a person looks at or types into.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// visible is text of others' for a terminal: what could do something to it, or
// show text as another, is shown as an escape instead. Line ends stay if lines
// may.
func visible(text string, lines bool) string {
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case !hidden(r), lines && r == '\n':
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	return b.String()
}

// visibleJSON is JSON with what visible spells out escaped: it means the same,
// and a terminal obeys none of it.
func visibleJSON(raw []byte) []byte {
	if !bytes.ContainsFunc(raw, hidden) {
		return raw
	}
	var b []byte
	for _, r := range string(raw) {
		switch {
		case !hidden(r) || r < 0x20: // outside of strings; inside, JSON has none of those
			b = utf8.AppendRune(b, r)
		case r < 0x10000:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		}
	}
	return b
}

// hidden reports whether r is nothing that shows: controls, what changes the
// direction of text, what has no width. The joiners of emoji and of Persian are
// left alone.
func hidden(r rune) bool {
	switch r {
	case '\u200c', '\u200d':
		return false
	case '\u2028', '\u2029':
		return true
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
}
