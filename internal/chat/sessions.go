package chat

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Tokens and invite codes say what they are, so that one that leaks is
// recognized.
const (
	tokenPrefix  = "gt_"
	invitePrefix = "gi_"
)

// newSecret makes a token or code of 256 bits.
func newSecret(prefix string) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: it would end the program
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// tokenHash is all that is stored of a token or code. It is looked up by an
// index; that leaks nothing about a secret of 256 random bits.
func tokenHash(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }

// Login is a session that just began.
type Login struct {
	Actor   Actor
	User    User
	Session Session
	Token   string // after a password login and NewToken; else empty
}

func newLogin(u User, s Session, token string) Login {
	return Login{Actor: Actor{User: u.ID, Session: s.ID}, User: u, Session: s, Token: token}
}

var (
	errBadCredentials = Errorf(CodeInvalidCredentials, "the username or the password is wrong")
	errBadToken       = Errorf(CodeUnauthenticated, "this token is not valid; log in again")
	errTokenExpired   = Errorf(CodeTokenExpired, "this token has expired; log in again")
	errNoSession      = Errorf(CodeNotFound, "no such session")
)

// LoginPassword starts a session (docs/protocol.md#login). Failures are counted
// per account and per peer.
func (s *Service) LoginPassword(ctx context.Context, peer netip.Addr, username, password, device, client string) (Login, error) {
	device, client, err := checkDevice(device, client)
	if err != nil {
		return Login{}, err
	}
	account, err := CanonicalUsername(username)
	if err != nil {
		account = "" // nobody's; it fails like any other, and takes as long
	}
	forgive, err := s.tryLogin(ctx, account, peer)
	if err != nil {
		return Login{}, err
	}
	for {
		u, hash, err := s.checkCredentials(ctx, account, password)
		if err != nil {
			if CodeOf(err) != CodeInvalidCredentials {
				forgive()
			}
			return Login{}, err
		}
		l, err := s.begin(ctx, u, hash, device, client)
		if errors.Is(err, errPasswordMoved) {
			continue // each time because somebody else got through
		}
		forgive()
		return l, err
	}
}

// errPasswordMoved is that another hash is stored than was checked: of another
// password, or of the same one, which another login has hashed anew.
var errPasswordMoved = Errorf(CodeConflict, "the password was changed meanwhile; begin again")

// begin starts a session of u's, whose password was right. hash is what is to be
// stored from now on.
func (s *Service) begin(ctx context.Context, u User, hash, device, client string) (Login, error) {
	token := newSecret(tokenPrefix)
	return update(ctx, s, "logging in", Op{User: u.ID}, func(tx Tx, n *news) (Login, error) {
		now, err := tx.User(u.ID)
		if err != nil {
			return Login{}, missing(err, errBadCredentials)
		}
		if now.Disabled {
			return Login{}, errBadCredentials
		}
		if now.PasswordHash != u.PasswordHash {
			return Login{}, errPasswordMoved
		}
		session := Session{
			User: u.ID, TokenHash: tokenHash(token), Device: device, Client: client,
			CreatedAt: tx.Now(), UsedAt: tx.Now(), ExpiresAt: tx.Now().Add(SessionIdle),
		}
		if err := beginSession(tx, n, &session, 0); err != nil {
			return Login{}, err
		}
		if hash != now.PasswordHash {
			now.PasswordHash = hash
			if err := tx.PutUser(now); err != nil {
				return Login{}, err
			}
		}
		return newLogin(now, session, token), nil
	})
}

// checkCredentials finds who logs in. It takes the same time, and gives the
// same error, whether the account is not there, disabled, without a password,
// or the password wrong. hash is what should be stored from now on.
func (s *Service) checkCredentials(ctx context.Context, account, password string) (u User, hash string, err error) {
	if account != "" {
		err := s.view(ctx, "finding an account", func(r Reader) (err error) {
			u, err = r.UserByName(account)
			return missing(err, nil)
		})
		if err != nil {
			return User{}, "", err
		}
	}
	if len(password) > MaxPassword {
		return User{}, "", errBadCredentials // nobody's, and too long to be hashed
	}
	ok, weak, err := s.cfg.Passwords.Verify(ctx, u.PasswordHash, password)
	if err != nil {
		return User{}, "", failed("checking a password", err)
	}
	if !ok || u.Disabled {
		return User{}, "", errBadCredentials
	}
	if !weak {
		return u, u.PasswordHash, nil
	}
	if hash, err = s.cfg.Passwords.Hash(ctx, password); err != nil {
		return User{}, "", failed("hashing a password anew", err)
	}
	return u, hash, nil
}

// verify checks the password of somebody known.
func (s *Service) verify(ctx context.Context, hash, password string) (bool, error) {
	if len(password) > MaxPassword {
		return false, nil
	}
	ok, _, err := s.cfg.Passwords.Verify(ctx, hash, password)
	if err != nil {
		return false, failed("checking a password", err)
	}
	return ok, nil
}

func checkDevice(device, client string) (string, string, error) {
	device, err := checkLine("device", device, MaxDevice)
	if err != nil {
		return "", "", err
	}
	client, err = checkLine("client", client, MaxDevice)
	return device, client, err
}

// beginSession gives session its id and stores it. It clears away the user's
// expired ones and, when there are too many, those idle for longest, but never
// the one that asks (0: none does): its use is noted but once a day.
func beginSession(tx Tx, n *news, session *Session, asks SessionID) error {
	old, err := tx.Sessions(session.User)
	if err != nil {
		return err
	}
	var live []Session
	for _, o := range old {
		if tx.Now().Before(o.ExpiresAt) {
			live = append(live, o)
		} else if err := endSession(tx, n, o.ID); err != nil {
			return err
		}
	}
	slices.SortStableFunc(live, func(a, b Session) int { return a.UsedAt.Compare(b.UsedAt) })
	over := max(0, len(live)-MaxSessions+1)
	live = slices.DeleteFunc(live, func(o Session) bool { return o.ID == asks })
	for _, o := range live[:over] {
		if err := endSession(tx, n, o.ID); err != nil {
			return err
		}
	}
	if session.ID, err = tx.NewSessionID(); err != nil {
		return err
	}
	return tx.PutSession(*session)
}

func endSession(tx Tx, n *news, id SessionID) error {
	n.ended = append(n.ended, id)
	return tx.DeleteSession(id)
}

// endSessions ends all of user's sessions but kept.
func endSessions(tx Tx, n *news, user UserID, kept SessionID) error {
	list, err := tx.Sessions(user)
	if err != nil {
		return err
	}
	for _, session := range list {
		if session.ID == kept {
			continue
		}
		if err := endSession(tx, n, session.ID); err != nil {
			return err
		}
	}
	return nil
}

// LoginToken resumes the session that token belongs to. No password is hashed.
func (s *Service) LoginToken(ctx context.Context, token string) (Login, error) {
	var (
		u       User
		session Session
	)
	hash := tokenHash(token)
	err := s.view(ctx, "checking a token", func(r Reader) (err error) {
		if session, err = r.SessionByToken(hash); err != nil {
			return missing(err, errBadToken)
		}
		if u, err = r.User(session.User); err != nil {
			return missing(err, errBadToken)
		}
		return s.checkSession(u, session)
	})
	if err != nil {
		return Login{}, err
	}
	if session, err = s.touch(ctx, session); err != nil {
		return Login{}, err
	}
	return newLogin(u, session, ""), nil
}

// Authenticate finds who a bearer token stands for. It slides the session's
// expiry, at most once a day, so that it costs no write as a rule.
func (s *Service) Authenticate(ctx context.Context, token string) (Actor, error) {
	l, err := s.LoginToken(ctx, token)
	return l.Actor, err
}

func (s *Service) checkSession(u User, session Session) error {
	switch {
	case u.Disabled || u.ID != session.User:
		return errBadToken
	case !s.now().Before(session.ExpiresAt):
		return errTokenExpired
	}
	return nil
}

// touch notes that session is used, at most once a day, and slides its expiry
// if it is a login's. A store that cannot write now does not keep anybody out.
func (s *Service) touch(ctx context.Context, session Session) (Session, error) {
	now := s.now()
	if now.Sub(session.UsedAt) < sessionTouch {
		return session, nil
	}
	touched, err := update(ctx, s, "noting a session's use", Op{User: session.User}, func(tx Tx, _ *news) (Session, error) {
		current, err := tx.Session(session.ID)
		if err != nil {
			return Session{}, missing(err, errBadToken) // it ended meanwhile: not to be brought back
		}
		if now.Sub(current.UsedAt) < sessionTouch {
			return current, nil
		}
		current.UsedAt = now
		if !current.API {
			current.ExpiresAt = earlier(now.Add(SessionIdle), current.LastEnd())
		}
		return current, tx.PutSession(current)
	})
	switch CodeOf(err) {
	case CodeUnavailable, CodeTimeout:
		s.cfg.Log.Warn("could not note a session's use", "session", session.ID, "error", err)
		return session, nil
	}
	return touched, err
}

// LastEnd is when the session ends at the latest, however much it is used.
func (s Session) LastEnd() time.Time {
	if s.API {
		return s.ExpiresAt
	}
	return s.CreatedAt.Add(SessionAbsolute)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// CheckSession reports whether the session is still good, and counts as a use
// of it. A live connection asks right after it has registered for EndSessions,
// unless it knows that none can have been missed, and from then on now and
// again, because being connected is using a session.
func (s *Service) CheckSession(ctx context.Context, a Actor) error {
	if a.Operator {
		return nil
	}
	var session Session
	err := s.view(ctx, "checking a session", func(r Reader) (err error) {
		if session, err = r.Session(a.Session); err != nil {
			return missing(err, errBadToken)
		}
		u, err := r.User(a.User)
		if err != nil {
			return missing(err, errBadToken)
		}
		return s.checkSession(u, session)
	})
	if err != nil {
		return err
	}
	_, err = s.touch(ctx, session)
	return err
}

// Sessions lists the actor's sessions that have not expired, by ascending id.
func (s *Service) Sessions(ctx context.Context, a Actor) ([]Session, error) {
	if err := person(a); err != nil {
		return nil, err
	}
	var list []Session
	err := s.view(ctx, "listing sessions", func(r Reader) (err error) {
		list, err = r.Sessions(a.User)
		return err
	})
	if err != nil {
		return nil, err
	}
	now := s.now()
	return slices.DeleteFunc(list, func(session Session) bool { return !now.Before(session.ExpiresAt) }), nil
}

// RevokeSession ends one of one's own sessions (server admins: anybody's, save
// that only owners end an owner's). EndSession ends the actor's own.
func (s *Service) RevokeSession(ctx context.Context, a Actor, id SessionID) error {
	_, err := update(ctx, s, "revoking a session", Op{User: a.User}, func(tx Tx, n *news) (none, error) {
		me, err := standing(tx, a)
		if err != nil {
			return none{}, err
		}
		session, err := tx.Session(id)
		if err != nil {
			return none{}, missing(err, errNoSession)
		}
		if a.Operator || session.User == me.ID {
			return none{}, endSession(tx, n, id)
		}
		if rank(me.Role) < rank(RoleAdmin) {
			return none{}, errNoSession // others' are nobody's business
		}
		whose, err := tx.User(session.User)
		if err != nil {
			return none{}, err
		}
		if whose.Role == RoleOwner && me.Role != RoleOwner {
			return none{}, Errorf(CodePermissionDenied, "only the server's owners end an owner's session")
		}
		return none{}, endSession(tx, n, id)
	})
	return err
}

func (s *Service) EndSession(ctx context.Context, a Actor) error {
	if err := person(a); err != nil {
		return err
	}
	_, err := update(ctx, s, "ending a session", Op{User: a.User}, func(tx Tx, n *news) (none, error) {
		session, err := tx.Session(a.Session)
		if err != nil {
			return none{}, missing(err, errNoSession)
		}
		if session.User != a.User {
			return none{}, errNoSession
		}
		return none{}, endSession(tx, n, session.ID)
	})
	return err
}

// NewToken makes a session for a script or a bot of the actor's. ttl 0: 90 days.
func (s *Service) NewToken(ctx context.Context, a Actor, device string, ttl time.Duration) (Login, error) {
	if err := person(a); err != nil {
		return Login{}, err
	}
	device, err := checkName("device", device, MaxDevice)
	if err != nil {
		return Login{}, err
	}
	if ttl, err = checkTTL(ttl, SessionAbsolute); err != nil {
		return Login{}, err
	}
	token := newSecret(tokenPrefix)
	return update(ctx, s, "making a token", Op{User: a.User}, func(tx Tx, n *news) (Login, error) {
		u, err := standing(tx, a)
		if err != nil {
			return Login{}, err
		}
		session := Session{
			User: u.ID, TokenHash: tokenHash(token), Device: device, API: true,
			CreatedAt: tx.Now(), UsedAt: tx.Now(), ExpiresAt: tx.Now().Add(ttl),
		}
		if err := beginSession(tx, n, &session, a.Session); err != nil {
			return Login{}, err
		}
		return newLogin(u, session, token), nil
	})
}

// checkTTL is ttl, or otherwise when it is 0.
func checkTTL(ttl, otherwise time.Duration) (time.Duration, error) {
	switch {
	case ttl == 0:
		return otherwise, nil
	case ttl < 0 || ttl > MaxTTL:
		return 0, Errorf(CodeInvalidRequest, "ttl_ms must be at least 1 and at most 366 days")
	}
	return ttl.Truncate(time.Millisecond), nil
}
