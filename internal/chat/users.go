package chat

import (
	"context"
	"errors"
	"net/netip"
	"unicode/utf8"
)

// NewUser is what Register takes.
type NewUser struct {
	Username, Name, Password, Invite string
	Role                             Role // only from those who may add people without an invite
}

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

// Register makes an account (users.create).
func (s *Service) Register(ctx context.Context, a Actor, peer netip.Addr, r NewUser) (User, error) {
	username, err := CanonicalUsername(r.Username)
	if err != nil {
		return User{}, err
	}
	if r.Name == "" {
		r.Name = username
	}
	name, err := checkName("name", r.Name, MaxName)
	if err != nil {
		return User{}, err
	}
	if err := checkPassword(r.Password, username); err != nil {
		return User{}, err
	}
	if r.Role != "" {
		if err := checkRole(r.Role); err != nil {
			return User{}, err
		}
	}
	mayAdd, err := s.mayAdd(ctx, a)
	if err != nil {
		return User{}, err
	}
	forgive := func() {}
	if !mayAdd {
		if forgive, err = s.try("new accounts", bucket{rate: &rateRegister, peer: peerPrefix(peer)}); err != nil {
			return User{}, err
		}
	}

	// Whatever can refuse does so before the slow hash, and once more in the
	// transaction.
	admit := func(rd Reader) (Role, Invite, error) {
		role, invite, err := s.admit(rd, a, r)
		if err != nil {
			return "", Invite{}, err
		}
		if _, err := rd.UserByName(username); err == nil {
			return "", Invite{}, Errorf(CodeConflict, "the username %s is taken", username)
		} else if !errors.Is(err, ErrNotFound) {
			return "", Invite{}, err
		}
		return role, invite, nil
	}
	if err := s.view(ctx, "checking a registration", func(rd Reader) error {
		_, _, err := admit(rd)
		return err
	}); err != nil {
		return User{}, err
	}
	hash, err := s.cfg.Passwords.Hash(ctx, r.Password)
	if err != nil {
		return User{}, failed("hashing a password", err)
	}
	u, err := update(ctx, s, "registering a user", Op{}, func(tx Tx, _ *news) (User, error) {
		role, invite, err := admit(tx)
		if err != nil {
			return User{}, err
		}
		// Whoever comes first, and by whatever way, ends the way in that is only
		// for the first: it has been printed, and gives everything.
		users, err := tx.Users("", 0, 1)
		if err == nil && len(users) == 0 {
			err = voidOwnerInvites(tx, invite.ID)
		}
		if err != nil {
			return User{}, err
		}
		id, err := tx.NewUserID()
		if err != nil {
			return User{}, err
		}
		if invite.ID != 0 {
			invite.Uses++
			if err := tx.PutInvite(invite); err != nil {
				return User{}, err
			}
		}
		u := User{ID: id, Username: username, Name: name, Role: role, PasswordHash: hash, CreatedAt: tx.Now()}
		return u, tx.PutUser(u)
	})
	if err == nil && r.Invite != "" {
		forgive()
	}
	return u, err
}

// mayAdd reports whether the actor may add people without an invite and without
// end, as the operator and the server's admins may.
func (s *Service) mayAdd(ctx context.Context, a Actor) (bool, error) {
	if a.User == 0 && !a.Operator {
		return false, nil
	}
	var u User
	err := s.view(ctx, "finding who registers somebody", func(r Reader) (err error) {
		u, err = standing(r, a)
		return err
	})
	return rank(u.Role) >= rank(RoleAdmin), err
}

// admit decides who may make an account, and with which role. The Invite is
// the one to be used, if any.
func (s *Service) admit(r Reader, a Actor, n NewUser) (Role, Invite, error) {
	if a.Operator {
		return orMember(n.Role), Invite{}, nil
	}
	// Closed means that only the operator lets people in, also by their invites
	// and by the server's own.
	closed := s.cfg.Registration == RegistrationClosed
	if a.User != 0 {
		u, err := standing(r, a)
		if err != nil {
			return "", Invite{}, err
		}
		if rank(u.Role) >= rank(RoleAdmin) {
			if rank(n.Role) > rank(u.Role) {
				return "", Invite{}, Errorf(CodePermissionDenied, "nobody gives a role above their own")
			}
			return orMember(n.Role), Invite{}, nil
		}
	}
	if n.Role != "" {
		return "", Invite{}, Errorf(CodePermissionDenied, "a role comes with the invite; leave it out")
	}
	if n.Invite != "" {
		i, err := r.InviteByCode(tokenHash(n.Invite))
		switch {
		case errors.Is(err, ErrNotFound):
			return "", Invite{}, errBadInvite
		case err != nil:
			return "", Invite{}, err
		case i.Uses >= i.MaxUses, !s.now().Before(i.ExpiresAt), closed && i.CreatedBy > 0:
			return "", Invite{}, errBadInvite
		}
		return i.Role, i, backed(r, i)
	}
	switch s.cfg.Registration {
	case RegistrationOpen:
		return RoleMember, Invite{}, nil
	case RegistrationInvite:
		return "", Invite{}, Errorf(CodePermissionDenied, "this server takes people by invite; ask one of its admins for a code")
	}
	return "", Invite{}, Errorf(CodePermissionDenied, "this server is closed; only its admins add people")
}

// backed refuses an invite that whoever made it could not make any more: who is
// made less, or locked out, does not come back by one, nor send somebody.
func backed(r Reader, i Invite) error {
	if i.CreatedBy <= 0 { // the operator, or the server for its first owner
		return nil
	}
	by, err := r.User(i.CreatedBy)
	if err == nil && (by.Disabled || rank(by.Role) < max(rank(RoleAdmin), rank(i.Role))) {
		err = errBadInvite
	}
	return missing(err, errBadInvite)
}

var errBadInvite = Errorf(CodePermissionDenied, "this invite is used up, has expired, or never was; ask for another")

func orMember(r Role) Role {
	if r == "" {
		return RoleMember
	}
	return r
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
