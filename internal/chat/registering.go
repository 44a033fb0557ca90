package chat

import (
	"context"
	"errors"
	"net/netip"
)

// Who comes to the server: by an invite, by themselves where anybody may, or
// because an admin or the operator adds them.

// NewUser is what Register takes.
type NewUser struct {
	Username, Name, Password, Invite string
	Role                             Role // only from those who may add people without an invite
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
