package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/grima-chat/grima/client"
	"github.com/grima-chat/grima/internal/login"
	"github.com/grima-chat/grima/internal/testserver"
	"github.com/grima-chat/grima/internal/tui"
	"github.com/grima-chat/grima/protocol"
)

// Only a login that the server does not take any more is forgotten.
func TestLoginIsForgotten(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("GRIMA_TOKEN", "")
	goodbye := func(code protocol.GoodbyeCode) error {
		return &client.GoodbyeError{Goodbye: protocol.Goodbye{Code: code}}
	}
	refused := func(code protocol.Code) error { return &client.LoginError{Err: protocol.NewError(code, "")} }
	for _, c := range []struct {
		err    error
		forget bool
		exit   int
	}{
		{refused(protocol.CodeUnauthenticated), true, exitLogin},
		{refused(protocol.CodeTokenExpired), true, exitLogin},
		{goodbye(protocol.GoodbyeSessionRevoked), true, exitLogin},
		{goodbye(protocol.GoodbyeUnsupportedVersion), false, exitRefused},
		{fmt.Errorf("%w: %w", client.ErrVersion, protocol.NewError(protocol.CodeUnsupportedVersion, "")), false, exitRefused},
		{refused(protocol.CodeUnsupportedVersion), false, exitLogin},
		{refused(protocol.CodePermissionDenied), false, exitLogin},
		{goodbye(protocol.GoodbyeTooManyConnections), false, exitUnreachable},
		{client.ErrOtherUser, false, 0},
		{errors.New("the screen is gone"), false, 0},
	} {
		who := login.Login{Server: "grima://localhost:7007", Token: "gt_x", Username: "ana"}
		if _, err := login.Keep(who, login.Off); err != nil {
			t.Fatal(err)
		}
		err := forgetIfOver(c.err, who)
		if !errors.Is(err, c.err) || accountExit(err) != c.exit {
			t.Errorf("%v became %v, with exit code %d", c.err, err, accountExit(err))
		}
		if _, err := login.Find("", ""); errors.Is(err, login.ErrNone) != c.forget {
			t.Errorf("after %v: %v", c.err, err)
		}
	}
	if err := forgetIfOver(nil, login.Login{}); err != nil {
		t.Error(err)
	}
}

// A login that takes the place of another, as by an invite's link, ends it.
func TestReplacedLoginEnds(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	srv := testserver.Start(t)
	ana, bob := srv.User("ana").Connect(), srv.User("bob").Connect()
	server, err := client.Address(srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c := chatCmd{keyringFlags: keyringFlags{Keyring: login.Off}}
	var said bytes.Buffer
	for _, d := range []*testserver.Client{ana, bob} {
		made := client.Credentials{Token: d.Token, User: protocol.User{UserID: d.ID, Username: d.User.Name}}
		l, err := c.keep(t.Context(), stdio{err: &said}, server, made, false)
		if err != nil || l.Token != d.Token {
			t.Fatalf("%+v, %v", l, err)
		}
	}
	if l, err := login.Find(server, ""); err != nil || l.Token != bob.Token {
		t.Errorf("kept %+v, %v", l, err)
	}
	ana.ExpectGoodbye(protocol.GoodbyeSessionRevoked)
	bob.Group("Port") // goes on
	if said.Len() > 0 {
		t.Errorf("it said %s", said.String())
	}
	// One that is over already is none to speak of, one out of reach is.
	cred := client.Credentials{Token: bob.Token}
	if _, err := login.Keep(login.Login{Server: server, Token: ana.Token}, login.Off); err != nil {
		t.Fatal(err)
	}
	if _, err := c.keep(t.Context(), stdio{err: &said}, server, cred, false); err != nil || said.Len() > 0 {
		t.Errorf("%v; it said %s", err, said.String())
	}
	srv.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.keep(ctx, stdio{err: &said}, server, cred, false); err != nil || !bytes.Contains(said.Bytes(), []byte("could not be ended")) {
		t.Errorf("%v; it said %s", err, said.String())
	}
}

// Who made an account and never heard so goes on, though the invite is used up and
// the name taken; who has another's name or no good invite hears that.
func TestAnAccountThatIsThere(t *testing.T) {
	srv := testserver.Start(t)
	op := srv.DialOperator()
	op.Line(`{"type":"DataRequest","id":1,"op":"invites.create"}`)
	var made struct{ Result protocol.InvitesCreateResult }
	for made.Result.Code == "" {
		if err := json.Unmarshal([]byte(op.Next()), &made); err != nil {
			t.Fatal(err)
		}
	}
	server, err := client.Address(srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	a := tui.Answers{Server: server, Username: "ana", Password: "correct horse battery", Invite: made.Result.Code}
	c := chatCmd{Insecure: true}
	for try := range 2 {
		cred, err := c.login(t.Context(), a)
		if err != nil || cred.User.Username != "ana" {
			t.Fatalf("try %d: %+v, %v", try+1, cred.User, err)
		}
	}
	a.Password = "another battery horse"
	refused, ok := errors.AsType[*protocol.Error](second(c.login(t.Context(), a)))
	if !ok || refused.Code != protocol.CodePermissionDenied {
		t.Errorf("with another password: %v", refused)
	}
}

func second[T any](_ T, err error) error { return err }
