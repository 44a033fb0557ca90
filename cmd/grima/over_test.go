package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
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
		{client.ErrOtherUser, false, exitFailed},
		{errors.New("the screen is gone"), false, exitFailed},
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

// muffled is a way to a server on which the answers to the first connection's
// request are lost: its greeting comes, and then the end.
func muffled(t *testing.T, to string) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for first := true; ; first = false {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				t.Error(err)
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(far, near) // either end may go
				far.Close()
			})
			wg.Go(func() {
				defer near.Close()
				defer far.Close()
				if !first {
					_, _ = io.Copy(near, far)
					return
				}
				lines := bufio.NewScanner(far)
				if lines.Scan() {
					_, _ = near.Write(append(lines.Bytes(), '\n'))
				}
				lines.Scan()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

// Who made an account and never heard so goes on, though the invite is used up and
// the name taken; who has another's name or no good invite hears that, and no
// password is tried there.
func TestAnAccountThatIsThere(t *testing.T) {
	srv := testserver.Start(t)
	op := srv.DialOperator()
	invite := func(uses string) string {
		op.Line(`{"type":"DataRequest","id":1,"op":"invites.create","params":{"max_uses":` + uses + `}}`)
		var made struct{ Result protocol.InvitesCreateResult }
		for made.Result.Code == "" {
			if err := json.Unmarshal([]byte(op.Next()), &made); err != nil {
				t.Fatal(err)
			}
		}
		return made.Result.Code
	}
	at := func(addr string) string {
		server, err := client.Address(addr)
		if err != nil {
			t.Fatal(err)
		}
		return server
	}
	refusal := func(err error) protocol.Code {
		refused, ok := errors.AsType[*protocol.Error](err)
		if !ok {
			t.Fatalf("no refusal: %v", err)
		}
		return refused.Code
	}
	a := tui.Answers{Server: at(srv.Addr), Username: "ana", Password: "correct horse battery", Invite: invite("1")}
	j := joining{cfg: client.Config{Insecure: true}}
	for try := range 2 {
		cred, err := j.login(t.Context(), a)
		if err != nil || cred.User.Username != "ana" {
			t.Fatalf("try %d: %+v, %v", try+1, cred.User, err)
		}
	}
	a.Password = "another battery horse"
	if code := refusal(second(j.login(t.Context(), a))); code != protocol.CodePermissionDenied {
		t.Errorf("with another password: %s", code)
	}

	// Somebody else asks for her name, with a password that happens to be hers.
	a.Password, a.Invite = "correct horse battery", invite("2")
	other := joining{cfg: j.cfg}
	for range 2 {
		if code := refusal(second(other.login(t.Context(), a))); code != protocol.CodeConflict {
			t.Errorf("a stranger's name: %s", code)
		}
	}

	// The account is made, and the answer lost.
	a.Server, a.Username = at(muffled(t, srv.Addr)), "Bob"
	if err := second(other.login(t.Context(), a)); err == nil {
		t.Fatal("the answer was not lost")
	} else if e, ok := errors.AsType[*protocol.Error](err); ok {
		t.Fatalf("it was refused: %v", e)
	}
	cred, err := other.login(t.Context(), a)
	if err != nil || cred.User.Username != "bob" {
		t.Fatalf("after a lost answer: %+v, %v", cred.User, err)
	}
}

func second[T any](_ T, err error) error { return err }
