package storetest

import (
	"bytes"
	"cmp"
	"iter"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/words"
)

// reader is chat.Reader on a Memory. Outside an update at and listAt are the
// same; inside, single rows show what the update put and lists do not.
type reader struct {
	m          *Memory
	at, listAt int64
	over       atomic.Bool
}

var _ chat.Reader = (*reader)(nil)

// lock is for the time of one read. It finds out who keeps a Reader for later.
func (r *reader) lock() (unlock func()) {
	if r.over.Load() {
		panic("storetest: a Reader was used after its View or Update")
	}
	r.m.mu.RLock()
	return r.m.mu.RUnlock
}

func found[V any](row V, ok bool) (V, error) {
	if !ok {
		var zero V
		return zero, chat.ErrNotFound
	}
	return row, nil
}

// first gives some row for which match holds; of unique rows there is only one.
func first[V any](rows iter.Seq[V], match func(V) bool) (V, error) {
	for row := range rows {
		if match(row) {
			return row, nil
		}
	}
	return found(*new(V), false)
}

// sorted gives the rows for which match holds by ascending key.
func sorted[V any, K cmp.Ordered](rows iter.Seq[V], match func(V) bool, key func(V) K) []V {
	var list []V
	for row := range rows {
		if match(row) {
			list = append(list, row)
		}
	}
	slices.SortFunc(list, func(a, b V) int { return cmp.Compare(key(a), key(b)) })
	return list
}

func (r *reader) User(id chat.UserID) (chat.User, error) {
	defer r.lock()()
	return found(r.m.users.get(id, r.at))
}

func (r *reader) UserByName(username string) (chat.User, error) {
	defer r.lock()()
	return first(r.m.users.all(r.at), func(u chat.User) bool { return u.Username == username })
}

func (r *reader) Users(prefix string, after chat.UserID, limit int) ([]chat.User, error) {
	defer r.lock()()
	list := sorted(r.m.users.all(r.listAt),
		func(u chat.User) bool { return u.ID > after && strings.HasPrefix(u.Username, prefix) },
		func(u chat.User) chat.UserID { return u.ID })
	return list[:min(limit, len(list))], nil
}

func (r *reader) FindUsers(find string, after chat.FoundPos, limit int) ([]chat.User, chat.FoundPos, error) {
	defer r.lock()()
	asked := words.Asked(find)
	if len(asked) == 0 {
		return nil, chat.FoundPos{}, nil
	}
	by := func(u chat.User) string { return words.Begun(words.Of(u.Name, u.Username), asked[0]) }
	list := slices.Collect(r.m.users.all(r.listAt))
	list = slices.DeleteFunc(list, func(u chat.User) bool {
		have := words.Of(u.Name, u.Username)
		return compareFound(by(u), u.ID, after) <= 0 || slices.ContainsFunc(asked, func(w string) bool { return words.Begun(have, w) == "" })
	})
	slices.SortFunc(list, func(a, b chat.User) int { return compareFound(by(a), a.ID, chat.FoundPos{Word: by(b), User: b.ID}) })
	if len(list) <= limit {
		return list, chat.FoundPos{}, nil
	}
	last := list[limit-1]
	return list[:limit], chat.FoundPos{Word: by(last), User: last.ID}, nil
}

func compareFound(word string, id chat.UserID, pos chat.FoundPos) int {
	return cmp.Or(cmp.Compare(word, pos.Word), cmp.Compare(id, pos.User))
}

func (r *reader) Avatar(hash string) (chat.Avatar, error) {
	defer r.lock()()
	list := sorted(r.m.avatars.all(r.listAt),
		func(a chat.Avatar) bool { return a.Hash == hash },
		func(a chat.Avatar) chat.UserID { return a.User })
	if len(list) == 0 {
		return chat.Avatar{}, chat.ErrNotFound
	}
	list[0].Bytes = bytes.Clone(list[0].Bytes)
	return list[0], nil
}

func (r *reader) Session(id chat.SessionID) (chat.Session, error) {
	defer r.lock()()
	return found(r.m.sessions.get(id, r.at))
}

func (r *reader) SessionByToken(hash [32]byte) (chat.Session, error) {
	defer r.lock()()
	return first(r.m.sessions.all(r.at), func(s chat.Session) bool { return s.TokenHash == hash })
}

func (r *reader) Sessions(user chat.UserID) ([]chat.Session, error) {
	defer r.lock()()
	return sorted(r.m.sessions.all(r.listAt),
		func(s chat.Session) bool { return s.User == user },
		func(s chat.Session) chat.SessionID { return s.ID }), nil
}

func (r *reader) LiveSessions(ids []chat.SessionID) (live []chat.SessionID, err error) {
	defer r.lock()()
	for _, id := range ids {
		if _, ok := r.m.sessions.get(id, r.listAt); ok {
			live = append(live, id)
		}
	}
	return live, nil
}

func (r *reader) Invite(id chat.InviteID) (chat.Invite, error) {
	defer r.lock()()
	return found(r.m.invites.get(id, r.at))
}

func (r *reader) InviteByCode(hash [32]byte) (chat.Invite, error) {
	defer r.lock()()
	return first(r.m.invites.all(r.at), func(i chat.Invite) bool { return i.CodeHash == hash })
}

func (r *reader) Invites() ([]chat.Invite, error) {
	defer r.lock()()
	return sorted(r.m.invites.all(r.listAt),
		func(chat.Invite) bool { return true },
		func(i chat.Invite) chat.InviteID { return i.ID }), nil
}

func (r *reader) Chat(id chat.ChatID) (chat.Chat, error) {
	defer r.lock()()
	return found(r.m.chats.get(id, r.at))
}

func (r *reader) ChatByPair(pair [2]chat.UserID) (chat.Chat, error) {
	defer r.lock()()
	return first(r.m.chats.all(r.at), func(c chat.Chat) bool { return hasPair(c) && c.Pair == pair })
}

func (r *reader) ChatByClientID(creator chat.UserID, clientChatID string) (chat.Chat, error) {
	defer r.lock()()
	return first(r.m.chats.all(r.at), func(c chat.Chat) bool {
		return c.ClientChatID != "" && c.CreatedBy == creator && c.ClientChatID == clientChatID
	})
}

func (r *reader) ListedChats(after chat.ChatID, limit int) ([]chat.Chat, error) {
	defer r.lock()()
	list := sorted(r.m.chats.all(r.listAt),
		func(c chat.Chat) bool { return c.Listed && c.DeletedAt.IsZero() && c.ID > after },
		func(c chat.Chat) chat.ChatID { return c.ID })
	return list[:min(limit, len(list))], nil
}

func hasPair(c chat.Chat) bool { return c.Pair != [2]chat.UserID{} }

func (r *reader) Participant(id chat.ChatID, user chat.UserID) (chat.Participant, error) {
	defer r.lock()()
	return found(r.m.participants[id].get(user, r.at))
}

func (r *reader) Participants(id chat.ChatID, after chat.UserID, limit int) ([]chat.Participant, error) {
	defer r.lock()()
	list := sorted(r.m.participants[id].all(r.listAt),
		func(p chat.Participant) bool { return p.In() && p.User > after },
		func(p chat.Participant) chat.UserID { return p.User })
	return list[:min(limit, len(list))], nil
}

func (r *reader) CountParticipants(id chat.ChatID, roles ...chat.Role) (int, error) {
	defer r.lock()()
	n := 0
	for p := range r.m.participants[id].all(r.listAt) {
		if p.In() && slices.Contains(roles, p.Role) {
			n++
		}
	}
	return n, nil
}

func (r *reader) Memberships(user chat.UserID) ([]chat.Membership, error) {
	defer r.lock()()
	var list []chat.Membership
	for c := range r.m.chats.all(r.listAt) {
		if p, ok := r.m.participants[c.ID].get(user, r.listAt); ok && p.In() && c.DeletedAt.IsZero() {
			list = append(list, chat.Membership{
				Chat: c.ID, Kind: c.Kind, LastSeq: c.LastSeq, JoinedSeq: p.JoinedSeq, ReadSeq: p.ReadSeq,
			})
		}
	}
	slices.SortFunc(list, func(a, b chat.Membership) int { return cmp.Compare(a.Chat, b.Chat) })
	return list, nil
}

func (r *reader) LastSeqs(chats []chat.ChatID) ([]int64, error) {
	defer r.lock()()
	seqs := make([]int64, len(chats))
	for i, id := range chats {
		c, _ := r.m.chats.get(id, r.listAt)
		seqs[i] = c.LastSeq
	}
	return seqs, nil
}

func (r *reader) Message(id chat.ChatID, seq int64) (chat.Message, error) {
	defer r.lock()()
	m, ok := r.m.messages[id].get(seq, r.at)
	return found(ownMentions(m), ok)
}

// ownMentions lets the caller do with m's mentions what they like.
func ownMentions(m chat.Message) chat.Message {
	m.Mentions = slices.Clone(m.Mentions)
	return m
}

// messages gives the messages of a chat for which match holds by ascending key.
func (r *reader) messages(id chat.ChatID, match func(chat.Message) bool, key func(chat.Message) int64) []chat.Message {
	list := sorted(r.m.messages[id].all(r.listAt), match, key)
	for i := range list {
		list[i] = ownMentions(list[i])
	}
	return list
}

func (r *reader) Messages(id chat.ChatID, lo, hi int64, limit int, newest bool) ([]chat.Message, error) {
	defer r.lock()()
	list := r.messages(id,
		func(m chat.Message) bool { return lo <= m.Seq && m.Seq < hi },
		func(m chat.Message) int64 { return m.Seq })
	if newest {
		return list[max(0, len(list)-limit):], nil
	}
	return list[:min(limit, len(list))], nil
}

func (r *reader) Sent(sender chat.UserID, clientMsgID string) (chat.Sent, error) {
	defer r.lock()()
	return found(r.m.sent.get(sentKey{sender, clientMsgID}, r.at))
}

func (r *reader) Changes(id chat.ChatID, after, upto, floor int64, limit int) ([]chat.Message, []chat.Participant, error) {
	defer r.lock()()
	messages := r.messages(id,
		func(m chat.Message) bool { return m.UpdatedSeq > after && m.UpdatedSeq <= upto && m.Seq >= floor },
		func(m chat.Message) int64 { return m.UpdatedSeq })
	participants := sorted(r.m.participants[id].all(r.listAt),
		func(p chat.Participant) bool { return p.UpdatedSeq > after && p.UpdatedSeq <= upto },
		func(p chat.Participant) int64 { return p.UpdatedSeq })
	// Drop the latest change until both together have limit rows.
	for len(messages)+len(participants) > limit {
		m, p := len(messages), len(participants)
		if p == 0 || m > 0 && messages[m-1].UpdatedSeq > participants[p-1].UpdatedSeq {
			messages = messages[:m-1]
		} else {
			participants = participants[:p-1]
		}
	}
	return messages, participants, nil
}

func (r *reader) Tails(after []chat.Position, limit int) ([]chat.Tail, error) {
	tails := make([]chat.Tail, len(after))
	for i, at := range after {
		t, err := &tails[i], error(nil)
		if t.Messages, t.Participants, err = r.Changes(at.Chat, at.Seq, math.MaxInt64, 0, limit); err != nil {
			return nil, err
		}
		unlock := r.lock()
		t.Chat, _ = r.m.chats.get(at.Chat, r.listAt)
		unlock()
	}
	if r.at == r.listAt { // a View's
		r.over.Store(true)
	}
	return tails, nil
}

func (r *reader) ChangedChats(user chat.UserID, pos chat.SyncPos, limit int) ([]chat.ChangedChat, error) {
	defer r.lock()()
	var list []chat.ChangedChat
	for c := range r.m.chats.all(r.listAt) {
		p, ok := r.m.participants[c.ID].get(user, r.listAt)
		if !ok {
			continue
		}
		x := chat.ChangedChat{Chat: c, Participant: p, Stamp: p.Stamp}
		if p.In() {
			x.Stamp = max(c.Stamp, p.Stamp)
		}
		if within(x, pos) {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b chat.ChangedChat) int {
		up := compareChanged(a, b.Stamp, b.Chat.ID)
		if pos.Below != 0 {
			return -up
		}
		return up
	})
	return list[:min(limit, len(list))], nil
}

func within(x chat.ChangedChat, pos chat.SyncPos) bool {
	if pos.Below != 0 {
		return x.Stamp > pos.After && compareChanged(x, pos.Below, pos.BelowChat) < 0
	}
	return x.Stamp > pos.After || pos.AfterChat != 0 && compareChanged(x, pos.After, pos.AfterChat) > 0
}

func compareChanged(x chat.ChangedChat, stamp int64, id chat.ChatID) int {
	return cmp.Or(cmp.Compare(x.Stamp, stamp), cmp.Compare(x.Chat.ID, id))
}

func (r *reader) LastStamp() (int64, error) {
	defer r.lock()()
	return r.listAt, nil
}

func (r *reader) Commits() (int64, error) { return r.LastStamp() }

func (r *reader) CountUnread(id chat.ChatID, user chat.UserID, seq int64, most int) (int64, error) {
	return r.countMessages(id, user, seq, most, func(chat.Message) bool { return true })
}

func (r *reader) CountMentions(id chat.ChatID, user chat.UserID, seq int64, most int) (int64, error) {
	return r.countMessages(id, user, seq, most, func(m chat.Message) bool {
		return m.MentionAll || slices.Contains(m.Mentions, user)
	})
}

func (r *reader) countMessages(id chat.ChatID, user chat.UserID, seq int64, most int, match func(chat.Message) bool) (int64, error) {
	defer r.lock()()
	n := 0
	for m := range r.m.messages[id].all(r.listAt) {
		if m.Seq > seq && m.Sender != user && m.DeletedAt.IsZero() && match(m) {
			n++
		}
	}
	return int64(min(n, most)), nil
}
