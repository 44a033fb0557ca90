package chat

import (
	"context"
	"slices"
	"time"
)

// NewInvite makes an invite and its code, which is not stored. Zeros: member,
// one use, seven days.
func (s *Service) NewInvite(ctx context.Context, a Actor, role Role, maxUses int64, ttl time.Duration) (Invite, string, error) {
	role = orMember(role)
	if err := checkRole(role); err != nil {
		return Invite{}, "", err
	}
	if maxUses == 0 {
		maxUses = 1
	}
	if maxUses < 0 || maxUses > MaxInviteUses {
		return Invite{}, "", Errorf(CodeInvalidRequest, "max_uses must be 1 to %d", MaxInviteUses)
	}
	ttl, err := checkTTL(ttl, InviteTTL)
	if err != nil {
		return Invite{}, "", err
	}
	code := newSecret(invitePrefix)
	i, err := update(ctx, s, "making an invite", Op{User: a.User}, func(tx Tx, _ *news) (Invite, error) {
		me, err := serverAdmin(tx, a)
		if err != nil {
			return Invite{}, err
		}
		if rank(role) > rank(me.Role) {
			return Invite{}, Errorf(CodePermissionDenied, "nobody gives a role above their own")
		}
		if s.cfg.Registration == RegistrationClosed && !a.Operator {
			return Invite{}, Errorf(CodePermissionDenied, "this server is closed, so an invite would be no good; add people by hand")
		}
		list, err := tx.Invites()
		if err != nil {
			return Invite{}, err
		}
		// The invites that are over are kept for reading while there is room.
		for room := MaxInvites - len(list); room <= 0; room++ {
			over := slices.IndexFunc(list, func(i Invite) bool { return i.Uses >= i.MaxUses || !tx.Now().Before(i.ExpiresAt) })
			if over < 0 {
				return Invite{}, Errorf(CodeConflict, "there are %d invites already; revoke some first", MaxInvites)
			}
			if err := tx.DeleteInvite(list[over].ID); err != nil {
				return Invite{}, err
			}
			list = slices.Delete(list, over, over+1)
		}
		return putInvite(tx, Invite{CodeHash: tokenHash(code), Role: role, MaxUses: maxUses, CreatedBy: a.User}, ttl)
	})
	if err != nil {
		return Invite{}, "", err
	}
	return i, code, nil
}

func putInvite(tx Tx, i Invite, ttl time.Duration) (Invite, error) {
	var err error
	if i.ID, err = tx.NewInviteID(); err != nil {
		return Invite{}, err
	}
	i.CreatedAt, i.ExpiresAt = tx.Now(), tx.Now().Add(ttl)
	return i, tx.PutInvite(i)
}

// Invites lists the invites, by ascending id, for the server's admins.
func (s *Service) Invites(ctx context.Context, a Actor) ([]Invite, error) {
	var list []Invite
	err := s.view(ctx, "listing invites", func(r Reader) (err error) {
		if _, err = serverAdmin(r, a); err == nil {
			list, err = r.Invites()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// RevokeInvite makes an invite's code useless.
func (s *Service) RevokeInvite(ctx context.Context, a Actor, id InviteID) error {
	_, err := update(ctx, s, "revoking an invite", Op{User: a.User}, func(tx Tx, _ *news) (none, error) {
		if _, err := serverAdmin(tx, a); err != nil {
			return none{}, err
		}
		if _, err := tx.Invite(id); err != nil {
			return none{}, missing(err, Errorf(CodeNotFound, "no such invite"))
		}
		return none{}, tx.DeleteInvite(id)
	})
	return err
}

// OwnerInvite makes an invite with RoleOwner if the server has no users yet; ok
// is false when there are users. Either way those it made before are void.
func (s *Service) OwnerInvite(ctx context.Context) (code string, ok bool, err error) {
	// A server whose disk is full starts, too, if there is nothing to write.
	var done bool
	err = s.view(ctx, "looking for users", func(r Reader) error {
		users, err := r.Users("", 0, 1)
		if err != nil || len(users) == 0 {
			return err
		}
		void, err := openOwnerInvites(r, 0)
		done = len(void) == 0
		return err
	})
	if err != nil || done {
		return "", false, err
	}
	secret := newSecret(invitePrefix)
	ok, err = update(ctx, s, "making the first owner's invite", Op{}, func(tx Tx, _ *news) (bool, error) {
		if err := voidOwnerInvites(tx, 0); err != nil {
			return false, err
		}
		users, err := tx.Users("", 0, 1)
		if err != nil || len(users) > 0 {
			return false, err
		}
		_, err = putInvite(tx, Invite{CodeHash: tokenHash(secret), Role: RoleOwner, MaxUses: 1, CreatedBy: ByServer}, OwnerInviteTTL)
		return true, err
	})
	if err != nil || !ok {
		return "", false, err
	}
	return secret, true, nil
}

// voidOwnerInvites deletes what OwnerInvite made and nobody has used; used is
// about to be.
func voidOwnerInvites(tx Tx, used InviteID) error {
	list, err := openOwnerInvites(tx, used)
	if err != nil {
		return err
	}
	for _, i := range list {
		if err := tx.DeleteInvite(i.ID); err != nil {
			return err
		}
	}
	return nil
}

// openOwnerInvites are those that voidOwnerInvites deletes.
func openOwnerInvites(r Reader, used InviteID) ([]Invite, error) {
	list, err := r.Invites()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(i Invite) bool {
		return i.CreatedBy != ByServer || i.Uses >= i.MaxUses || i.ID == used
	}), nil
}
