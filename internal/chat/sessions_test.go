package chat_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/password"
)

func TestLogin(t *testing.T) {
	w := newWorld(t)
	w.people("ana")
	l, err := w.LoginPassword(ctx, home, "Ana", secret("ana"), " phone ", "test/1")
	ok(t, err)
	now := w.clock.Now()
	same(t, l.Session, chat.Session{
		ID: l.Session.ID, User: l.User.ID, TokenHash: l.Session.TokenHash, Device: "phone", Client: "test/1",
		CreatedAt: now, UsedAt: now, ExpiresAt: now.Add(chat.SessionIdle),
	})
	same(t, l.Actor, chat.Actor{User: l.User.ID, Session: l.Session.ID})
	if !strings.HasPrefix(l.Token, "gt_") || len(l.Token) != len("gt_")+43 {
		t.Errorf("token %q", l.Token)
	}
	again, err := w.LoginToken(ctx, l.Token)
	ok(t, err)
	same(t, []any{again.Actor, again.Session, again.Token}, []any{l.Actor, l.Session, ""})
	a, err := w.Authenticate(ctx, l.Token)
	ok(t, err)
	same(t, a, l.Actor)
	ok(t, w.CheckSession(ctx, a))
	ok(t, w.CheckSession(ctx, operator))
	refused(t, w.CheckSession(ctx, nobody), chat.CodeUnauthenticated)
	for _, token := range []string{"", "gt_", l.Token + "x", l.Token[:len(l.Token)-1], strings.ToUpper(l.Token)} {
		_, err := w.LoginToken(ctx, token)
		refused(t, err, chat.CodeUnauthenticated)
	}
	for _, device := range []string{strings.Repeat("x", chat.MaxDevice+1), "a\nb", "\xff"} {
		_, err := w.LoginPassword(ctx, home, "ana", secret("ana"), device, "")
		refused(t, err, chat.CodeInvalidRequest)
		_, err = w.LoginPassword(ctx, home, "ana", secret("ana"), "", device)
		refused(t, err, chat.CodeInvalidRequest)
	}
}

// spy counts what is hashed and verified against what.
type spy struct {
	chat.Passwords
	verified []string
	hashed   int
}

func (s *spy) Verify(ctx context.Context, hash, password string) (bool, bool, error) {
	s.verified = append(s.verified, hash)
	return s.Passwords.Verify(ctx, hash, password)
}

func (s *spy) Hash(ctx context.Context, password string) (string, error) {
	s.hashed++
	return s.Passwords.Hash(ctx, password)
}

// Nobody learns who has an account: whatever is wrong, it is the same error
// after the same work.
func TestLoginFailuresAreAlike(t *testing.T) {
	s := &spy{Passwords: password.New(cheap)}
	w := newWorld(t, with(func(cfg *chat.Config) { cfg.Passwords = s }))
	list := w.people("ana", "dis")
	_, err := w.UpdateUser(ctx, operator, list[1].User, chat.UserPatch{Disabled: ptr(true)})
	ok(t, err)
	var first error
	for _, try := range [][2]string{
		{"ana", "wrong password"},
		{"ana", ""},
		{"absent", secret("absent")},
		{"dis", secret("dis")},
		{"dis", "wrong password"},
		{"not a name", "whatever it is"},
		{"", ""},
		{"admin", "whatever it is"},
		{strings.Repeat("a", 1000), "x"},
	} {
		s.verified = nil
		_, err := w.LoginPassword(ctx, home, try[0], try[1], "", "")
		refused(t, err, chat.CodeInvalidCredentials)
		if first == nil {
			first = err
		}
		if err != first || len(s.verified) != 1 {
			t.Errorf("%q: %v after %d checks", try, err, len(s.verified))
		}
	}
	// A password that nobody has is not worth hashing, whoever is asked for.
	for _, name := range []string{"ana", "absent"} {
		s.verified = nil
		_, err = w.LoginPassword(ctx, home, name, strings.Repeat("x", chat.MaxPassword+1), "", "")
		if err != first || len(s.verified) != 0 {
			t.Errorf("%s: %v after %d checks", name, err, len(s.verified))
		}
	}
}

func TestWeakHashesAreHashedAnew(t *testing.T) {
	weak, strong := password.New(password.Params{Memory: 32, Time: 1}), password.New(cheap)
	s := &spy{Passwords: weak}
	w := newWorld(t, with(func(cfg *chat.Config) { cfg.Passwords = s }))
	ana := w.people("ana")[0]
	s.Passwords, s.hashed = strong, 0
	w.login("ana")
	u, err := w.User(ctx, ana.Actor, ana.User)
	ok(t, err)
	if s.hashed != 1 || !strings.Contains(u.PasswordHash, "$m=64,") {
		t.Fatalf("hashed %d times, hash %s", s.hashed, u.PasswordHash)
	}
	w.login("ana")
	if s.hashed != 1 {
		t.Fatal("a strong hash was made again")
	}
	same(t, w.endedSessions(), []chat.SessionID(nil))
}

// Of two logins at once both find the old hash, and the second finds it replaced
// (it used to hear that its password was wrong).
func TestWeakHashIsReplacedByTwoAtOnce(t *testing.T) {
	var between atomic.Pointer[func()]
	s := &spy{Passwords: password.New(password.Params{Memory: 32, Time: 1})}
	w := newWorld(t, with(func(cfg *chat.Config) { cfg.Passwords = s }),
		onStore(func(s chat.Store) chat.Store { return &meddler{Store: s, before: &between} }))
	w.people("ana")
	s.Passwords = password.New(cheap)
	between.Store(ptr(func() { w.login("ana") }))
	_, err := w.LoginPassword(ctx, home, "ana", secret("ana"), "", "")
	ok(t, err)
	same(t, between.Load(), (*func())(nil)) // it came in between
}

func TestSessionsExpire(t *testing.T) {
	const day = 24 * time.Hour
	w := newWorld(t)
	begun := w.clock.Now()
	ana := w.people("ana")[0]
	token, err := w.NewToken(ctx, ana.Actor, "bot", 40*day)
	ok(t, err)
	session := func() chat.Session {
		t.Helper()
		l, err := w.LoginToken(ctx, ana.token)
		ok(t, err)
		return l.Session
	}
	w.clock.pass(day - time.Millisecond)
	same(t, session().UsedAt, begun)
	w.clock.pass(time.Millisecond)
	same(t, []time.Time{session().UsedAt, session().ExpiresAt}, []time.Time{begun.Add(day), begun.Add(31 * day)})
	for range 3 {
		w.clock.pass(29 * day)
		session()
	}
	// Day 88: it has slid as far as it goes.
	same(t, session().ExpiresAt, begun.Add(90*day))
	w.clock.pass(2*day - time.Millisecond)
	session()
	w.clock.pass(time.Millisecond)
	_, err = w.Authenticate(ctx, ana.token)
	refused(t, err, chat.CodeTokenExpired)
	refused(t, w.CheckSession(ctx, ana.Actor), chat.CodeTokenExpired)
	_, err = w.Authenticate(ctx, token.Token) // did not slide
	refused(t, err, chat.CodeTokenExpired)

	idle := w.login("ana")
	w.clock.pass(30 * day)
	_, err = w.Authenticate(ctx, idle.token)
	refused(t, err, chat.CodeTokenExpired)
	list, err := w.Sessions(ctx, ana.Actor)
	ok(t, err)
	same(t, len(list), 0)
	w.login("ana") // clears them away
	same(t, w.endedSessions(), []chat.SessionID{ana.Session, token.Session.ID, idle.Session})
	_, err = w.Authenticate(ctx, idle.token)
	refused(t, err, chat.CodeUnauthenticated)
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	ana := w.people("ana")[0]
	l, err := w.NewToken(ctx, ana.Actor, "bot", 0)
	ok(t, err)
	now := w.clock.Now()
	same(t, []any{l.Session.API, l.Session.Device, l.Session.ExpiresAt}, []any{true, "bot", now.Add(90 * 24 * time.Hour)})
	a, err := w.Authenticate(ctx, l.Token)
	ok(t, err)
	same(t, a, chat.Actor{User: ana.User, Session: l.Session.ID})
	_, err = w.NewToken(ctx, ana.Actor, "bot", chat.MaxTTL)
	ok(t, err)
	for _, ttl := range []time.Duration{-1, chat.MaxTTL + 1} {
		_, err = w.NewToken(ctx, ana.Actor, "bot", ttl)
		refused(t, err, chat.CodeInvalidRequest)
	}
	_, err = w.NewToken(ctx, ana.Actor, " ", 0)
	refused(t, err, chat.CodeInvalidRequest)
	_, err = w.NewToken(ctx, operator, "bot", 0)
	refused(t, err, chat.CodePermissionDenied)
	_, err = w.NewToken(ctx, nobody, "bot", 0)
	refused(t, err, chat.CodeUnauthenticated)
}

func TestEndingSessions(t *testing.T) {
	w := newWorld(t)
	ana, bob := w.people("ana", "bob")[0], w.login("bob")
	own, adm := w.server("own", chat.RoleOwner), w.server("adm", chat.RoleAdmin)
	phone := w.login("ana")
	list, err := w.Sessions(ctx, ana.Actor)
	ok(t, err)
	same(t, []chat.SessionID{list[0].ID, list[1].ID}, []chat.SessionID{ana.Session, phone.Session})

	refused(t, w.RevokeSession(ctx, bob.Actor, phone.Session), chat.CodeNotFound)
	refused(t, w.RevokeSession(ctx, ana.Actor, 99), chat.CodeNotFound)
	refused(t, w.RevokeSession(ctx, nobody, phone.Session), chat.CodeUnauthenticated)
	ok(t, w.RevokeSession(ctx, ana.Actor, phone.Session))
	same(t, w.endedSessions(), []chat.SessionID{phone.Session})
	refused(t, w.RevokeSession(ctx, ana.Actor, phone.Session), chat.CodeNotFound)
	_, err = w.Authenticate(ctx, phone.token)
	refused(t, err, chat.CodeUnauthenticated)

	refused(t, w.RevokeSession(ctx, adm.Actor, own.Session), chat.CodePermissionDenied)
	ok(t, w.RevokeSession(ctx, adm.Actor, bob.Session))
	ok(t, w.RevokeSession(ctx, own.Actor, adm.Session))
	ok(t, w.RevokeSession(ctx, operator, own.Session))
	ok(t, w.EndSession(ctx, ana.Actor))
	refused(t, w.EndSession(ctx, ana.Actor), chat.CodeNotFound)
	refused(t, w.EndSession(ctx, nobody), chat.CodeUnauthenticated)
	same(t, w.endedSessions(), []chat.SessionID{ana.Session, bob.Session, own.Session, adm.Session})
}

// The hundred-and-first login ends the session that was idle for longest.
func TestSessionCap(t *testing.T) {
	w := newWorld(t)
	first := w.people("ana")[0]
	second := w.login("ana")
	for range chat.MaxSessions - 2 {
		w.login("ana")
	}
	w.clock.pass(25 * time.Hour)
	_, err := w.Authenticate(ctx, first.token)
	ok(t, err)
	same(t, w.endedSessions(), []chat.SessionID(nil))
	w.login("ana")
	same(t, w.endedSessions(), []chat.SessionID{second.Session})
	list, err := w.Sessions(ctx, first.Actor)
	ok(t, err)
	same(t, len(list), chat.MaxSessions)
}

// Whoever makes a token does not lose the session that they make it with, be it
// the one idle for longest.
func TestSessionCapSparesWhoAsks(t *testing.T) {
	w := newWorld(t)
	first := w.people("ana")[0]
	second := w.login("ana")
	for range chat.MaxSessions - 2 {
		w.clock.pass(time.Second)
		w.login("ana")
	}
	_, err := w.NewToken(ctx, first.Actor, "script", 0)
	ok(t, err)
	same(t, w.endedSessions(), []chat.SessionID{second.Session})
	_, err = w.Authenticate(ctx, first.token)
	ok(t, err)
	list, err := w.Sessions(ctx, first.Actor)
	ok(t, err)
	same(t, len(list), chat.MaxSessions)
}

// A revocation that comes between a token's check and the note of its use must
// not bring the session back.
func TestRevokedSessionStaysEnded(t *testing.T) {
	var between atomic.Pointer[func()]
	w := newWorld(t, onStore(func(s chat.Store) chat.Store { return &meddler{Store: s, before: &between} }))
	ana := w.people("ana")[0]
	w.clock.pass(48 * time.Hour)
	between.Store(ptr(func() { ok(t, w.EndSession(ctx, ana.Actor)) }))
	for range 2 {
		_, err := w.LoginToken(ctx, ana.token)
		refused(t, err, chat.CodeUnauthenticated)
	}
}

// meddler lets somebody do something just before the next update.
type meddler struct {
	chat.Store
	before *atomic.Pointer[func()]
}

func (m *meddler) Update(op chat.Op, done func(error)) {
	if f := m.before.Swap(nil); f != nil {
		(*f)()
	}
	m.Store.Update(op, done)
}

// A password that changes while a login checks the old one is the one that
// counts.
func TestLoginRacesWithPasswordChange(t *testing.T) {
	var between atomic.Pointer[func()]
	w := newWorld(t, onStore(func(s chat.Store) chat.Store { return &meddler{Store: s, before: &between} }))
	ana := w.people("ana")[0]
	become := func(password string) *func() {
		return ptr(func() {
			_, err := w.UpdateUser(ctx, operator, ana.User, chat.UserPatch{Password: &password})
			ok(t, err)
		})
	}
	between.Store(become("another secret"))
	_, err := w.LoginPassword(ctx, home, "ana", secret("ana"), "", "")
	refused(t, err, chat.CodeInvalidCredentials)
	between.Store(become("a third secret"))
	_, err = w.UpdateUser(ctx, ana.Actor, 0, chat.UserPatch{Password: ptr("a fourth one"), CurrentPassword: ptr("another secret")})
	refused(t, err, chat.CodeConflict)
	_, err = w.LoginPassword(ctx, home, "ana", "a third secret", "", "")
	ok(t, err)
}

func limited() option { return with(func(cfg *chat.Config) { cfg.NoLimits = false }) }

// Somebody who guesses is slowed down; the owner of the account, elsewhere, is
// not locked out.
func TestFailedLogins(t *testing.T) {
	w := newWorld(t, limited())
	w.people("ana", "bob")
	thief := netip.MustParseAddr("2001:db8::1")
	neighbour := netip.MustParseAddr("2001:db8::2") // in the thief's network
	guess := func(peer netip.Addr, name string) error {
		_, err := w.LoginPassword(ctx, peer, name, "a guess", "", "")
		return err
	}
	for range 10 {
		refused(t, guess(thief, "ana"), chat.CodeInvalidCredentials)
	}
	err := guess(neighbour, "ANA")
	refused(t, err, chat.CodeRateLimited)
	if e, _ := errors.AsType[*chat.Error](err); e.RetryAfter != 30*time.Second {
		t.Errorf("retry after %v", e.RetryAfter)
	}
	_, err = w.LoginPassword(ctx, thief, "ana", secret("ana"), "", "")
	refused(t, err, chat.CodeRateLimited) // also with the right password
	w.login("ana")                        // at home all is well
	refused(t, guess(thief, "bob"), chat.CodeInvalidCredentials)

	w.clock.pass(30 * time.Second)
	_, err = w.LoginPassword(ctx, thief, "ana", secret("ana"), "", "")
	ok(t, err) // a success gives its try back
	refused(t, guess(thief, "ana"), chat.CodeInvalidCredentials)
	refused(t, guess(thief, "ana"), chat.CodeRateLimited)

	// From one place there is a bound over all accounts too.
	tried := 0
	for i := range 100 {
		if err := guess(thief, fmt.Sprintf("user%d", i)); chat.CodeOf(err) == chat.CodeRateLimited {
			break
		}
		tried++
	}
	if tried < 15 || tried > 30 {
		t.Errorf("%d more accounts tried", tried)
	}
	refused(t, guess(neighbour, "whoever"), chat.CodeRateLimited)
	refused(t, guess(netip.MustParseAddr("2001:db8:0:1::1"), "ana"), chat.CodeInvalidCredentials)
	w.login("bob")
}

// A crowd that guesses at one account makes its logins slower, and that is all
// it does.
func TestCrowdOfGuessers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, limited())
		w.people("ana")
		for i := range 50 {
			peer := netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
			_, err := w.LoginPassword(ctx, peer, "ana", "a guess", "", "")
			refused(t, err, chat.CodeInvalidCredentials)
		}
		begun := time.Now()
		w.login("ana")
		if d := time.Since(begun); d != 2*time.Second {
			t.Errorf("it took %v", d)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := w.LoginPassword(short, home, "ana", secret("ana"), "", "")
		refused(t, err, chat.CodeTimeout)
	})
}

// Behind a proxy that hides addresses everybody comes from nowhere: wrong
// passwords from there slow logins down, and used to lock out all of them.
func TestGuessersFromNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, limited())
		w.people("ana", "bob")
		nowhere := netip.Addr{}
		begun := time.Now()
		for i := range 11 {
			_, err := w.LoginPassword(ctx, nowhere, "ana", "a guess", "", "")
			refused(t, err, chat.CodeInvalidCredentials)
			same(t, time.Since(begun) >= 2*time.Second, i == 10)
		}
		begun = time.Now()
		_, err := w.LoginPassword(ctx, nowhere, "bob", secret("bob"), "", "")
		ok(t, err)
		same(t, time.Since(begun), time.Duration(0))
		for i := range 30 {
			_, err := w.LoginPassword(ctx, nowhere, fmt.Sprintf("user%d", i), "a guess", "", "")
			refused(t, err, chat.CodeInvalidCredentials)
		}
		for _, name := range []string{"ana", "bob"} {
			begun = time.Now()
			_, err = w.LoginPassword(ctx, nowhere, name, secret(name), "", "")
			ok(t, err)
			same(t, time.Since(begun), 2*time.Second)
		}
	})
}

func TestRegistrationRate(t *testing.T) {
	w := newWorld(t, limited(), registration(chat.RegistrationOpen))
	_, code, err := w.NewInvite(ctx, operator, "", 2, 0)
	ok(t, err)
	made := 0
	for i := range 100 {
		_, err := w.Register(ctx, nobody, home, newcomer(fmt.Sprintf("user%d", i), ""))
		if err != nil {
			refused(t, err, chat.CodeRateLimited)
			break
		}
		made++
	}
	same(t, made, 60)
	w.clock.pass(30 * time.Second)
	for _, name := range []string{"ana", "bob"} { // an invite gives its try back
		_, err := w.Register(ctx, nobody, home, newcomer(name, code))
		ok(t, err)
	}
	_, err = w.Register(ctx, nobody, home, newcomer("cem", code))
	refused(t, err, chat.CodePermissionDenied)
	_, err = w.Register(ctx, nobody, home, newcomer("cem", code))
	refused(t, err, chat.CodeRateLimited)
	_, err = w.Register(ctx, operator, home, newcomer("cem", ""))
	ok(t, err)

	// An account is no way around the bound, save an admin's.
	_, err = w.Register(ctx, w.login("ana").Actor, home, newcomer("dan", ""))
	refused(t, err, chat.CodeRateLimited)
	_, err = w.Register(ctx, w.server("ada", chat.RoleAdmin).Actor, home, newcomer("dan", ""))
	ok(t, err)

	// Neither does somebody at an open laptop guess the password for long.
	cem := w.login("cem")
	patch := chat.UserPatch{Password: ptr("another secret"), CurrentPassword: ptr("a guess")}
	for range 10 {
		_, err = w.UpdateUser(ctx, cem.Actor, 0, patch)
		refused(t, err, chat.CodeInvalidCredentials)
	}
	_, err = w.UpdateUser(ctx, cem.Actor, 0, patch)
	refused(t, err, chat.CodeRateLimited)
}
