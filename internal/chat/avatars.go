package chat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
)

var errNoAvatar = Errorf(CodeNotFound, "no such avatar")

// avatarHash names a picture. It has 128 bits, which nobody makes two of.
func avatarHash(bytes []byte) string {
	sum := sha256.Sum256(bytes)
	return hex.EncodeToString(sum[:16])
}

// Avatar reads a picture, for everybody with an account and the operator.
func (s *Service) Avatar(ctx context.Context, a Actor, hash string) (Avatar, error) {
	var v Avatar
	if err := anybody(a); err != nil {
		return v, err
	}
	err := s.view(ctx, "reading an avatar", func(r Reader) (err error) {
		v, err = r.Avatar(hash)
		return missing(err, errNoAvatar)
	})
	return v, err
}

// SetAvatar gives the actor a picture in the place of the one they had, or with
// no bytes none. What the bytes are is for the caller to have made sure of: they
// are shown to others as they are.
func (s *Service) SetAvatar(ctx context.Context, a Actor, media string, bytes []byte) (User, error) {
	if err := person(a); err != nil {
		return User{}, err
	}
	if len(bytes) > MaxAvatar {
		return User{}, Errorf(CodeInvalidRequest, "a picture has at most %d bytes", MaxAvatar)
	}
	hash := ""
	if len(bytes) > 0 {
		hash = avatarHash(bytes)
	}
	return update(ctx, s, "setting an avatar", Op{User: a.User}, func(tx Tx, n *news) (User, error) {
		u, err := standing(tx, a)
		if err != nil || u.Avatar == hash {
			return u, err
		}
		u.Avatar, n.row = hash, u.ID
		if hash == "" {
			err = tx.DeleteAvatar(u.ID)
		} else {
			err = tx.PutAvatar(Avatar{User: u.ID, Hash: hash, Type: media, Bytes: bytes})
		}
		if err != nil {
			return User{}, err
		}
		return u, tx.PutUser(u)
	})
}
