package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/harness"
	"github.com/grima-chat/grima/internal/store/sqlite"
	"github.com/grima-chat/grima/protocol"
)

// account is a nick's.
type account struct{ user, token string }

// username makes a valid name of a nick: what is not a plain letter or digit
// becomes "_", and a number keeps apart those that come out the same.
func username(nick string, i int) string {
	plain := strings.Map(func(c rune) rune {
		switch {
		case c >= 'A' && c <= 'Z':
			return c - 'A' + 'a'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			return c
		}
		return '_'
	}, nick)
	suffix := "_" + strconv.FormatInt(int64(i), 36)
	plain = strings.Trim(plain, "_")
	if plain == "" || plain[0] < 'a' {
		plain = "n" + plain
	}
	return plain[:min(len(plain), protocol.MaxUsername-len(suffix))] + suffix
}

// makeAccounts calls add for each nick from a few goroutines. A nick that is no
// valid display name does without one.
func (r *replay) makeAccounts(goroutines int, add func(username, name string) (account, error)) error {
	nicks := r.nicks()
	made := make([]account, len(nicks))
	var done, unnamed atomic.Int64
	began := time.Now()
	stop := r.watch(func() {
		r.progress("%d of %d accounts", done.Load(), len(nicks))
	})
	err := inParallel(goroutines, len(nicks), func(i int) (err error) {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		name := username(nicks[i], i)
		made[i], err = add(name, nicks[i])
		if err != nil && isInvalid(err) {
			unnamed.Add(1)
			made[i], err = add(name, "")
		}
		if err != nil {
			return fmt.Errorf("%s, for the nick %q: %w", name, nicks[i], err)
		}
		done.Add(1)
		return nil
	})
	stop()
	if err != nil {
		return err
	}
	r.accounts = make(map[string]account, len(nicks))
	for i, nick := range nicks {
		r.accounts[nick] = made[i]
	}
	r.say("accounts: %d in %s; %d nicks are no valid display name", len(nicks), perSecond(len(nicks), time.Since(began)), unnamed.Load())
	return nil
}

func isInvalid(err error) bool {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return e.Code == protocol.CodeInvalidRequest
	}
	if e, ok := errors.AsType[*chat.Error](err); ok {
		return e.Code == chat.CodeInvalidRequest
	}
	return false
}

// registerAccounts makes the accounts as anybody would, on a server with open
// registration.
func (r *replay) registerAccounts(addr string) error {
	const password = "correct horse battery"
	return r.makeAccounts(4, func(username, name string) (a account, err error) {
		c, err := harness.Dial(addr, nil)
		if err != nil {
			return a, err
		}
		defer c.Close()
		if err := c.Data(protocol.OpUsersCreate, protocol.UsersCreateParams{Username: username, Password: password, Name: name}, nil); err != nil {
			return a, err
		}
		no := false
		var res protocol.SessionStartResult
		err = c.Session(protocol.OpSessionStart, protocol.SessionStartParams{
			Mechanism: protocol.MechanismPlain, Username: username, Password: password, Device: "replay", Subscribe: &no,
		}, &res)
		return account{res.User.UserID, res.Token}, err
	})
}

// addAccounts makes them as the operator may while no server runs: accounts
// that nobody can log into with a password, each with a token.
func (r *replay) addAccounts(data string) (err error) {
	store, err := sqlite.Open(r.ctx, sqlite.Config{Dir: data})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	svc := chat.NewService(chat.Config{Store: store, Publisher: nobody{}, Passwords: noPasswords{}, NoLimits: true})
	operator := chat.Actor{Operator: true}
	return r.makeAccounts(64, func(username, name string) (a account, err error) {
		// The password is never hashed and never asked for.
		u, err := svc.Register(r.ctx, operator, netip.Addr{}, chat.NewUser{Username: username, Name: name, Password: "not kept anywhere"})
		if err != nil {
			return a, err
		}
		login, err := svc.NewToken(r.ctx, chat.Actor{User: u.ID}, "replay", 0)
		return account{api.FormatUser(u.ID), login.Token}, err
	})
}

// noPasswords makes accounts without a password login.
type noPasswords struct{}

func (noPasswords) Hash(context.Context, string) (string, error) { return "", nil }

func (noPasswords) Verify(context.Context, string, string) (ok, weak bool, err error) {
	return false, false, nil
}

// nobody is there to be told of anything.
type nobody struct{}

func (nobody) Publish(chat.Event)                           {}
func (nobody) PublishPlace(chat.Participant, bool)          {}
func (nobody) PublishTyping(chat.ChatID, chat.UserID, bool) {}
func (nobody) PublishPresence(chat.UserID)                  {}
func (nobody) PublishUser(chat.UserID)                      {}
func (nobody) EndSessions([]chat.SessionID)                 {}
