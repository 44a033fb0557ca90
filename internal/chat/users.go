package chat

import (
	"context"
	"errors"
	"unicode/utf8"
)

var errNoUser = Errorf(CodeNotFound, "no such user")

// rank orders roles; 0 is no role.
func rank(r Role) int {
	switch r {
	case RoleOwner:
		return 3
	case RoleAdmin:
		return 2
	case RoleMember:
		return 1
	}
	return 0
}

func checkRole(r Role) error {
	if rank(r) == 0 {
		return Errorf(CodeInvalidRequest, "role must be owner, admin or member")
	}
	return nil
}

// standing reads the actor's own row: what they may do on the server is what
// they may do now, not when they logged in. The operator stands as an owner
// without a row.
func standing(r Reader, a Actor) (User, error) {
	if a.Operator {
		return User{Role: RoleOwner}, nil
	}
	if a.User == 0 {
		return User{}, errNotLoggedIn
	}
	u, err := r.User(a.User)
	if err != nil {
		return User{}, missing(err, errNotLoggedIn)
	}
	if u.Disabled {
		return User{}, Errorf(CodeUnauthenticated, "this account is disabled")
	}
	return u, nil
}

// serverAdmin refuses whoever does not manage the server.
func serverAdmin(r Reader, a Actor) (User, error) {
	u, err := standing(r, a)
	if err == nil && rank(u.Role) < rank(RoleAdmin) {
		err = Errorf(CodePermissionDenied, "only the server's admins and owners may do this")
	}
	return u, err
}

// UserPatch is what UpdateUser changes; nil keeps.
type UserPatch struct {
	Name            *string
	Status          *string // empty: none
	Password        *string
	CurrentPassword *string
	Role            *Role
	Disabled        *bool
	HidesPresence   *bool
}

// onto is u as p changes it, save the password, which has to be hashed.
func (p *UserPatch) onto(u User) User {
	if p.Name != nil {
		u.Name = *p.Name
	}
	if p.Status != nil {
		u.Status = *p.Status
	}
	if p.Role != nil {
		u.Role = *p.Role
	}
	if p.Disabled != nil {
		u.Disabled = *p.Disabled
	}
	if p.HidesPresence != nil {
		u.HidesPresence = *p.HidesPresence
	}
	return u
}

// UpdateUser changes oneself (user 0 or one's own) or, for the server's admins
// and the operator, somebody else. A new password ends all the user's sessions
// but the one that asks, if it is theirs, and a disabling all of them. The server
// keeps at least one owner that is not disabled.
func (s *Service) UpdateUser(ctx context.Context, a Actor, user UserID, p UserPatch) (User, error) {
	if user == 0 {
		if err := person(a); err != nil {
			return User{}, err
		}
		user = a.User
	}
	if p.Name != nil {
		name, err := checkName("name", *p.Name, MaxName)
		if err != nil {
			return User{}, err
		}
		p.Name = &name
	}
	if p.Status != nil {
		status, err := checkLine("status", *p.Status, MaxStatus)
		if err != nil {
			return User{}, err
		}
		p.Status = &status
	}
	if p.Role != nil {
		if err := checkRole(*p.Role); err != nil {
			return User{}, err
		}
	}
	var (
		before User
		heir   UserID
	)
	err := s.view(ctx, "reading a user", func(r Reader) (err error) {
		if before, err = mayUpdate(r, a, user, p); err == nil && leads(before) && !leads(p.onto(before)) {
			heir, err = anotherOwner(r, user)
		}
		return err
	})
	if err != nil {
		return User{}, err
	}
	hash := ""
	if p.Password != nil {
		if hash, err = s.newPassword(ctx, a, before, p); err != nil {
			return User{}, err
		}
	}
	return update(ctx, s, "updating a user", Op{User: user}, func(tx Tx, n *news) (User, error) {
		u, err := mayUpdate(tx, a, user, p)
		if err != nil {
			return User{}, err
		}
		old := u
		u = p.onto(u)
		if hash != "" {
			if u.PasswordHash != before.PasswordHash {
				return User{}, errPasswordMoved
			}
			u.PasswordHash = hash
		}
		if u == old {
			return u, nil
		}
		if leads(old) && !leads(u) {
			if err := keepServerOwner(tx, u.ID, heir); err != nil {
				return User{}, err
			}
		}
		if u.PasswordHash != old.PasswordHash || u.Disabled {
			kept := SessionID(0)
			if u.ID == a.User && !u.Disabled {
				kept = a.Session
			}
			if err := endSessions(tx, n, u.ID, kept); err != nil {
				return User{}, err
			}
		}
		if u.HidesPresence != old.HidesPresence {
			n.seen = u.ID
		}
		if u.Name != old.Name || u.Status != old.Status || u.Role != old.Role || u.Disabled != old.Disabled {
			n.row = u.ID
		}
		return u, tx.PutUser(u)
	})
}

var errOwnPresence = Errorf(CodePermissionDenied, "whether somebody is seen is theirs to say")

// mayUpdate decides who may change what of whom, and reads whom.
func mayUpdate(r Reader, a Actor, user UserID, p UserPatch) (User, error) {
	me, err := standing(r, a)
	if err != nil {
		return User{}, err
	}
	u, err := r.User(user)
	if err != nil {
		return User{}, missing(err, errNoUser)
	}
	if a.Operator {
		if p.HidesPresence != nil {
			err = errOwnPresence
		}
		return u, err
	}
	self := me.ID == u.ID
	admin := rank(me.Role) >= rank(RoleAdmin) && (u.Role != RoleOwner || me.Role == RoleOwner)
	switch {
	case !self && !admin:
		err = Errorf(CodePermissionDenied, "only the server's admins change others, and only its owners an owner")
	case p.Role != nil && me.Role != RoleOwner:
		err = Errorf(CodePermissionDenied, "only the server's owners give roles")
	case p.Disabled != nil && !admin:
		err = Errorf(CodePermissionDenied, "only the server's admins disable and enable people")
	case p.HidesPresence != nil && !self:
		err = errOwnPresence
	case p.Password != nil && !self:
		err = Errorf(CodePermissionDenied, "only whoever runs the server gives somebody else a new password")
	}
	return u, err
}

// newPassword checks that u's password may become p's, and hashes that.
func (s *Service) newPassword(ctx context.Context, a Actor, u User, p UserPatch) (string, error) {
	if err := checkPassword(*p.Password, u.Username); err != nil {
		return "", err
	}
	if !a.Operator {
		if p.CurrentPassword == nil {
			return "", Errorf(CodeInvalidRequest, "a new password needs current_password as well")
		}
		forgive, err := s.try("wrong passwords", bucket{rate: &rateCurrent, account: u.Username})
		if err != nil {
			return "", err
		}
		ok, err := s.verify(ctx, u.PasswordHash, *p.CurrentPassword)
		if ok || err != nil {
			forgive()
		}
		if err != nil {
			return "", err
		}
		if !ok {
			return "", Errorf(CodeInvalidCredentials, "the current password is wrong")
		}
	}
	hash, err := s.cfg.Passwords.Hash(ctx, *p.Password)
	if err != nil {
		return "", failed("hashing a password", err)
	}
	return hash, nil
}

func leads(u User) bool { return u.Role == RoleOwner && !u.Disabled }

// keepServerOwner sees that the server keeps an owner besides user. heir is one
// who was it a moment ago, 0: nobody. Everybody is looked through only if they
// are it no more: all who write wait for that.
func keepServerOwner(tx Tx, user, heir UserID) error {
	if heir != 0 {
		if u, err := tx.User(heir); err != nil || leads(u) {
			return err
		}
	}
	_, err := anotherOwner(tx, user)
	return err
}

// anotherOwner finds an owner besides user.
func anotherOwner(r Reader, user UserID) (UserID, error) {
	var after UserID
	for {
		users, err := r.Users("", after, MaxPage)
		if err != nil {
			return 0, err
		}
		for _, u := range users {
			if leads(u) && u.ID != user {
				return u.ID, nil
			}
		}
		if len(users) < MaxPage {
			return 0, Errorf(CodeConflict, "the server would be left without an owner; make somebody else one first")
		}
		after = users[len(users)-1].ID
	}
}

// User reads a user.
func (s *Service) User(ctx context.Context, a Actor, user UserID) (User, error) {
	var u User
	if err := anybody(a); err != nil {
		return u, err
	}
	err := s.view(ctx, "reading a user", func(r Reader) (err error) {
		u, err = r.User(user)
		return missing(err, errNoUser)
	})
	return u, err
}

// Users lists users by ascending id, those whose username begins with prefix, in
// any case. ids, when not nil, asks for exactly those, in that order; unknown
// ones are left out.
func (s *Service) Users(ctx context.Context, a Actor, ids []UserID, prefix string, after UserID, limit int) (users []User, more bool, err error) {
	if err := anybody(a); err != nil {
		return nil, false, err
	}
	if limit, err = pageLimit(limit); err != nil {
		return nil, false, err
	}
	if len(ids) > MaxPage {
		return nil, false, Errorf(CodeInvalidRequest, "at most %d user_ids go into one request", MaxPage)
	}
	err = s.view(ctx, "listing users", func(r Reader) error {
		if ids == nil {
			list, err := r.Users(lowerASCII(prefix), after, limit+1)
			users, more = cutPage(list, limit)
			return err
		}
		users = make([]User, 0, len(ids))
		for _, id := range ids {
			u, err := r.User(id)
			switch {
			case err == nil:
				users = append(users, u)
			case !errors.Is(err, ErrNotFound):
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return users, more, nil
}

// FindUsers lists users who have, for every word of find, a word in their name or
// username that begins with it, in the order of [Reader.FindUsers]. A page may be
// short, or empty, and not the last: next is zero at the end.
func (s *Service) FindUsers(ctx context.Context, a Actor, find string, after FoundPos, limit int) (users []User, next FoundPos, err error) {
	if err := anybody(a); err != nil {
		return nil, next, err
	}
	if limit, err = pageLimit(limit); err != nil {
		return nil, next, err
	}
	if utf8.RuneCountInString(find) > MaxFind {
		return nil, next, Errorf(CodeInvalidRequest, "find has at most %d characters", MaxFind)
	}
	err = s.view(ctx, "finding users", func(r Reader) (err error) {
		users, next, err = r.FindUsers(find, after, limit)
		return err
	})
	return users, next, err
}
