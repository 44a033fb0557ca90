package chat

import (
	"context"
	"errors"
)

var errNoParticipant = Errorf(CodeNotFound, "no such participant")

// Member is a participant with what people call them.
type Member struct {
	Participant
	Username, Name, Avatar, Status string
}

// Participants lists who is in the chat, by ascending user id.
func (s *Service) Participants(ctx context.Context, a Actor, id ChatID, after UserID, limit int) (members []Member, more bool, err error) {
	if limit, err = pageLimit(limit); err != nil {
		return nil, false, err
	}
	err = s.view(ctx, "listing participants", func(r Reader) error {
		if _, err := placeOf(r, a, id); err != nil {
			return err
		}
		list, err := r.Participants(id, after, limit+1)
		if err != nil {
			return err
		}
		list, more = cutPage(list, limit)
		members = make([]Member, len(list))
		for i, p := range list {
			u, err := r.User(p.User)
			if err != nil {
				return err
			}
			members[i] = Member{p, u.Username, u.Name, u.Avatar, u.Status}
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return members, more, nil
}

// AddParticipants brings people into a group, for its admins and owners; role
// empty: as members. Into one that is listed everybody may bring themselves, as
// a member. It answers all of users' places, ascending; those who were in
// already keep theirs.
func (s *Service) AddParticipants(ctx context.Context, a Actor, id ChatID, users []UserID, role Role) ([]Participant, error) {
	role = orMember(role)
	if err := checkRole(role); err != nil {
		return nil, err
	}
	switch {
	case len(users) == 0:
		return nil, Errorf(CodeInvalidRequest, "user_ids must name somebody")
	case len(users) > MaxPage:
		return nil, Errorf(CodeInvalidRequest, "at most %d user_ids go into one request", MaxPage)
	}
	sorted := sortedUsers(users)
	return update(ctx, s, "adding participants", Op{Chat: id, User: a.User}, func(tx Tx, n *news) ([]Participant, error) {
		p, err := openTo(tx, a, id, sorted, role)
		if err != nil {
			return nil, err
		}
		if rank(role) > rank(RoleMember) && p.me.Role != RoleOwner {
			return nil, Errorf(CodePermissionDenied, "only the chat's owners give roles")
		}
		list := make([]Participant, len(sorted))
		var adds []UserID
		for i, user := range sorted {
			if list[i], err = tx.Participant(id, user); err != nil && !errors.Is(err, ErrNotFound) {
				return nil, err
			}
			if !list[i].In() {
				adds = append(adds, user)
			}
		}
		if len(adds) == 0 {
			return list, nil
		}
		if err := checkUsers(tx, adds...); err != nil {
			return nil, err
		}
		if err := s.checkRoom(tx, n, p.chat, len(adds)); err != nil {
			return nil, err
		}
		for i, user := range sorted {
			if list[i].In() {
				continue
			}
			one := list[i] // of an earlier membership, or nothing
			one.Chat, one.User, one.Role, one.JoinedSeq, one.LeftSeq = id, user, role, p.take(), 0
			one.ReadSeq = one.JoinedSeq // what was said before is no news
			if list[i], err = p.putParticipant(tx, n, ParticipantAdded, one); err != nil {
				return nil, err
			}
		}
		return list, tx.PutChat(p.chat)
	})
}

// openTo is groupOf for who adds users: those who may, and anybody who adds
// themselves to a listed group, or to a group that they are in already.
func openTo(r Reader, a Actor, id ChatID, users []UserID, role Role) (place, error) {
	if len(users) != 1 || users[0] != a.User || role != RoleMember {
		return groupOf(r, a, id, RoleAdmin, "add people")
	}
	p, err := groupOf(r, a, id, RoleMember, "add people")
	if CodeOf(err) != CodeNotFound {
		return p, err
	}
	c, unseen := r.Chat(id)
	if unseen != nil {
		return place{}, missing(unseen, err)
	}
	if !c.Listed || !c.DeletedAt.IsZero() {
		return place{}, err
	}
	// Where everybody has left nobody could be an owner.
	in, unseen := r.Participants(id, 0, 1)
	if unseen != nil {
		return place{}, unseen
	}
	if len(in) == 0 {
		return place{}, err
	}
	return place{chat: c, me: Participant{Chat: id, User: a.User, Role: RoleMember}}, nil
}

// checkRoom refuses more people than a chat may have. To count those of the
// largest takes a while, for which everybody's writes wait: it is left out where
// the chat has not even had so many changes, of which everybody who came is one,
// or not since they were counted.
func (s *Service) checkRoom(r Reader, n *news, c Chat, more int) error {
	if c.LastSeq+int64(more) <= MaxParticipants {
		return nil
	}
	if most, ok := s.crowds.most(c); ok && most+int64(more) <= MaxParticipants {
		return nil
	}
	count, err := r.CountParticipants(c.ID, RoleOwner, RoleAdmin, RoleMember)
	if err != nil {
		return err
	}
	n.crowd = crowd{c.ID, c.LastSeq, count}
	if count+more > MaxParticipants {
		return Errorf(CodeConflict, "a chat has at most %d participants; %d are in", MaxParticipants, count)
	}
	return nil
}

// putParticipant stores a change of one's place that took the chat's latest
// number.
func (p *place) putParticipant(tx Tx, n *news, kind EventKind, one Participant) (Participant, error) {
	one.UpdatedSeq = p.chat.LastSeq
	n.event(Event{Kind: kind, Chat: one.Chat, Seq: one.UpdatedSeq, Actor: p.me.User, Participant: &one})
	return one, tx.PutParticipant(one)
}

// target finds who is to be changed among those who are in.
func (p *place) target(r Reader, user UserID) (Participant, error) {
	if user == p.me.User {
		return p.me, nil
	}
	one, err := r.Participant(p.chat.ID, user)
	if err != nil {
		return Participant{}, missing(err, errNoParticipant)
	}
	if !one.In() {
		return Participant{}, errNoParticipant
	}
	return one, nil
}

// keepOwner refuses to let the last owner go while others are in.
func (p *place) keepOwner(r Reader) error {
	owners, err := r.CountParticipants(p.chat.ID, RoleOwner)
	if err != nil || owners > 1 {
		return err
	}
	others, err := r.CountParticipants(p.chat.ID, RoleAdmin, RoleMember)
	if err != nil || others == 0 {
		return err
	}
	return Errorf(CodeConflict, "you are the last owner, and others are in; make somebody else an owner first, or delete the chat")
}

// UpdateParticipant gives somebody a role, for a group's owners.
func (s *Service) UpdateParticipant(ctx context.Context, a Actor, id ChatID, user UserID, role Role) (Participant, error) {
	if err := checkRole(role); err != nil {
		return Participant{}, err
	}
	return update(ctx, s, "updating a participant", Op{Chat: id, User: a.User}, func(tx Tx, n *news) (Participant, error) {
		p, err := groupOf(tx, a, id, RoleOwner, "give roles")
		if err != nil {
			return Participant{}, err
		}
		one, err := p.target(tx, user)
		if err != nil || one.Role == role {
			return one, err
		}
		if user == a.User {
			if err := p.keepOwner(tx); err != nil {
				return Participant{}, err
			}
		}
		one.Role = role
		p.take()
		if one, err = p.putParticipant(tx, n, ParticipantUpdated, one); err != nil {
			return Participant{}, err
		}
		return one, tx.PutChat(p.chat)
	})
}

// SetNotify says of which messages in a chat the actor, whom user must name,
// wants to be told. It is no change of the chat, as a read mark is none.
func (s *Service) SetNotify(ctx context.Context, a Actor, id ChatID, user UserID, level Notify) (Participant, error) {
	switch level {
	case NotifyAll, NotifyMentions, NotifyNone:
	default:
		return Participant{}, Errorf(CodeInvalidRequest, "notify must be all, mentions or none")
	}
	return update(ctx, s, "setting what somebody is told of", Op{Chat: id, User: a.User}, func(tx Tx, n *news) (Participant, error) {
		p, err := placeOf(tx, a, id)
		if err != nil {
			return Participant{}, err
		}
		if user != a.User {
			return Participant{}, Errorf(CodePermissionDenied, "of what somebody is told is theirs to say")
		}
		if p.me.Notify == level {
			return p.me, nil
		}
		p.me.Notify = level
		if err := tx.PutParticipant(p.me); err != nil {
			return Participant{}, err
		}
		n.place = &p.me
		// The stamp is how devices learn of it that are not connected now.
		return p.me, tx.PutReadMark(id, user, p.me.ReadSeq)
	})
}

// RemoveParticipant takes somebody out of a group, for its admins (members
// only) and owners. Anybody may leave; the last owner only when nobody else is
// in.
func (s *Service) RemoveParticipant(ctx context.Context, a Actor, id ChatID, user UserID) (Participant, error) {
	return update(ctx, s, "removing a participant", Op{Chat: id, User: a.User}, func(tx Tx, n *news) (Participant, error) {
		least := RoleAdmin
		if user == a.User {
			least = RoleMember
		}
		p, err := groupOf(tx, a, id, least, "remove people")
		if err != nil {
			return Participant{}, err
		}
		one, err := p.target(tx, user)
		if err != nil {
			return Participant{}, err
		}
		switch {
		case user == a.User && one.Role == RoleOwner:
			err = p.keepOwner(tx)
		case user != a.User && one.Role != RoleMember && p.me.Role != RoleOwner:
			err = Errorf(CodePermissionDenied, "only the chat's owners remove admins and owners")
		}
		if err != nil {
			return Participant{}, err
		}
		one.LeftSeq = p.take()
		if one, err = p.putParticipant(tx, n, ParticipantRemoved, one); err != nil {
			return Participant{}, err
		}
		// The chat goes on changing without them; the stamp of their own row is
		// how their next sync learns that they left.
		if err := tx.PutReadMark(id, user, one.ReadSeq); err != nil {
			return Participant{}, err
		}
		return one, tx.PutChat(p.chat)
	})
}
