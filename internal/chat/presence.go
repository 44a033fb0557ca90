package chat

import (
	"context"
	"errors"
)

// Status is whether somebody is there (docs/protocol.md#presence).
type Status string

const (
	Online  Status = "online"
	Away    Status = "away" // connected, and has said that nobody is looking
	Offline Status = "offline"
)

// UserStatus is somebody's Status.
type UserStatus struct {
	User   UserID
	Status Status
}

// HasPresence reports whether there is presence at all.
func (s *Service) HasPresence() bool { return s.cfg.Statuses != nil }

// Presence tells which of users are there, in that order; those that the actor
// shares no chat with are left out, and who hides is offline. watch, when not
// nil, is called with those that are not left out before their statuses are
// read: what it watches misses nothing.
func (s *Service) Presence(ctx context.Context, a Actor, users []UserID, watch func([]UserID)) ([]UserStatus, error) {
	if err := person(a); err != nil {
		return nil, err
	}
	switch {
	case s.cfg.Statuses == nil:
		return nil, Errorf(CodePermissionDenied, "whoever runs this server has switched presence off")
	case len(users) > MaxPage:
		return nil, Errorf(CodeInvalidRequest, "at most %d user_ids go into one request", MaxPage)
	}
	var (
		seen   []UserID
		hidden map[UserID]bool
	)
	err := s.view(ctx, "finding whose presence somebody sees", func(r Reader) error {
		seen = nil
		known, err := acquaintances(r, a.User)
		if err != nil {
			return err
		}
		for _, id := range users {
			ok, err := known(id)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			seen = append(seen, id)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if watch != nil {
		watch(seen)
	}
	// After the watch: who begins to hide from here on is told by it.
	err = s.view(ctx, "finding who hides", func(r Reader) error {
		hidden = make(map[UserID]bool)
		for _, id := range seen {
			u, err := r.User(id)
			if err != nil {
				return err
			}
			hidden[id] = u.HidesPresence
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	list := make([]UserStatus, len(seen))
	for i, status := range s.cfg.Statuses(seen) {
		if hidden[seen[i]] {
			status = Offline
		}
		list[i] = UserStatus{seen[i], status}
	}
	return list, nil
}

// acquaintances tells who shares a chat with user, themselves among them. It
// reads the chats of each once: many people in many chats cost their sum.
func acquaintances(r Reader, user UserID) (func(UserID) (bool, error), error) {
	mine, err := r.Memberships(user)
	if err != nil {
		return nil, err
	}
	chats := make(map[ChatID]bool, len(mine))
	for _, m := range mine {
		chats[m.Chat] = true
	}
	return func(other UserID) (bool, error) {
		if other == user {
			return true, nil
		}
		switch _, err := r.ChatByPair([2]UserID{min(user, other), max(user, other)}); {
		case err == nil:
			return true, nil
		case !errors.Is(err, ErrNotFound):
			return false, err
		}
		theirs, err := r.Memberships(other)
		for _, m := range theirs {
			if chats[m.Chat] {
				return true, nil
			}
		}
		return false, err
	}, nil
}

// Hidden tells which of users do not want to be seen. Those there are not are
// among them.
func (l *Log) Hidden(ctx context.Context, users []UserID) (hidden map[UserID]bool, err error) {
	err = l.view(ctx, "finding who hides", func(r Reader) error {
		hidden = make(map[UserID]bool)
		for _, id := range users {
			u, err := r.User(id)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			hidden[id] = err != nil || u.HidesPresence
		}
		return nil
	})
	return hidden, err
}

// Profile is somebody's row, and the chats that they are in.
type Profile struct {
	User  User
	Chats []ChatID
}

// Profiles reads the rows of people and where they are, those of whom there is
// none left out.
func (l *Log) Profiles(ctx context.Context, users []UserID) (list []Profile, err error) {
	err = l.view(ctx, "reading people's rows", func(r Reader) error {
		list = nil
		for _, id := range users {
			u, err := r.User(id)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			in, err := r.Memberships(id)
			if err != nil {
				return err
			}
			p := Profile{User: u, Chats: make([]ChatID, len(in))}
			for i, m := range in {
				p.Chats[i] = m.Chat
			}
			list = append(list, p)
		}
		return nil
	})
	return list, err
}

// Few reports whether at most so many people are in a chat.
func (l *Log) Few(ctx context.Context, id ChatID, most int) (few bool, err error) {
	err = l.view(ctx, "counting participants", func(r Reader) error {
		list, err := r.Participants(id, 0, most+1)
		few = len(list) <= most
		return err
	})
	return few, err
}
