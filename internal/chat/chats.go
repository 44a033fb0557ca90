package chat

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
)

// errNoChat is the one answer to whoever is not in a chat, whether it is
// there, is not there any more, or never was.
var errNoChat = Errorf(CodeNotFound, "no such chat")

// place is a chat and the actor's own place in it.
type place struct {
	chat Chat
	me   Participant
}

// placeOf finds the chat for somebody who is in it.
func placeOf(r Reader, a Actor, id ChatID) (place, error) {
	if err := person(a); err != nil {
		return place{}, err
	}
	me, err := r.Participant(id, a.User)
	if err != nil {
		return place{}, missing(err, errNoChat)
	}
	if !me.In() {
		return place{}, errNoChat
	}
	c, err := r.Chat(id)
	if err != nil {
		return place{}, missing(err, errNoChat)
	}
	if !c.DeletedAt.IsZero() {
		return place{}, errNoChat
	}
	return place{c, me}, nil
}

// groupOf is placeOf for what only groups know, and only some in them may do:
// those with at least role least.
func groupOf(r Reader, a Actor, id ChatID, least Role, what string) (place, error) {
	p, err := placeOf(r, a, id)
	switch {
	case err != nil:
		return place{}, err
	case p.chat.Kind == KindPrivate:
		return place{}, Errorf(CodePermissionDenied, "a private chat stays as it is, between its two people; make a group instead")
	case rank(p.me.Role) < rank(least):
		return place{}, Errorf(CodePermissionDenied, "only the chat's %s %s", map[Role]string{
			RoleOwner: "owners", RoleAdmin: "admins and owners",
		}[least], what)
	}
	return p, nil
}

// take takes the chat's next number.
func (p *place) take() int64 {
	p.chat.LastSeq++
	return p.chat.LastSeq
}

// floor is the first position whose messages exist for the actor.
func (p *place) floor() int64 {
	if p.chat.History == HistoryJoined {
		return p.me.JoinedSeq
	}
	return 0
}

// ChatState is a chat as one participant sees it.
type ChatState struct {
	Chat             Chat
	Participant      Participant
	Unread, Mentions int64     // capped at UnreadCap
	Messages         []Message // the newest, ascending; as many as were asked for
}

// UnreadCap bounds the counts of unread messages and mentions: it means
// "more than UnreadCap-1".
const UnreadCap = 1000

// unreadWindow bounds how far back unread messages are looked for, in
// positions: somebody who only ever writes, and never reads, would otherwise
// have their whole history counted every time. It is larger than UnreadCap, for
// one's own messages, deleted ones and other changes take positions, too.
const unreadWindow = 4 * UnreadCap

// state is the chat as the actor sees it, with its newest messages.
func (p *place) state(r Reader, messages int) (ChatState, error) {
	st := ChatState{Chat: p.chat, Participant: p.me}
	var err error
	// Nobody's read mark is below where they joined, save a founder's, who has
	// missed nothing: what they may not read is not counted.
	if seen := max(p.me.ReadSeq, p.chat.LastSeq-unreadWindow); seen < p.chat.LastSeq {
		if st.Unread, err = r.CountUnread(p.chat.ID, p.me.User, seen, UnreadCap); err != nil {
			return ChatState{}, err
		}
		if st.Mentions, err = r.CountMentions(p.chat.ID, p.me.User, seen, UnreadCap); err != nil {
			return ChatState{}, err
		}
	}
	if messages > 0 {
		st.Messages, err = r.Messages(p.chat.ID, p.floor(), p.chat.LastSeq+1, messages, true)
	}
	return st, err
}

// Chat reads a chat.
func (s *Service) Chat(ctx context.Context, a Actor, id ChatID) (ChatState, error) {
	var st ChatState
	err := s.view(ctx, "reading a chat", func(r Reader) error {
		p, err := placeOf(r, a, id)
		if err == nil {
			st, err = p.state(r, 0)
		}
		return err
	})
	return st, err
}

// NewChat is what CreateChat takes.
type NewChat struct {
	Kind         Kind
	Peer         UserID // private
	Title, Topic string // group
	History      History
	Listed       bool
	Users        []UserID
	ClientChatID string
}

// CreateChat makes a group, or finds or makes the pair's private chat. Creation
// takes number 1 for the chat together with its creator, and one more for each
// further founding member.
func (s *Service) CreateChat(ctx context.Context, a Actor, n NewChat) (st ChatState, duplicate bool, err error) {
	if err := person(a); err != nil {
		return ChatState{}, false, err
	}
	var run func(Tx, *news) (ChatState, error)
	switch n.Kind {
	case KindPrivate:
		if run, err = newPrivate(a, n); err != nil {
			return ChatState{}, false, err
		}
	case KindGroup:
		if run, err = newGroup(a, n); err != nil {
			return ChatState{}, false, err
		}
	default:
		return ChatState{}, false, Errorf(CodeInvalidRequest, "kind must be private or group")
	}
	st, err = update(ctx, s, "creating a chat", Op{User: a.User}, run)
	if err != nil || st.Participant.Chat != 0 {
		return st, false, err
	}
	st, err = s.Chat(ctx, a, st.Chat.ID) // it was found
	return st, err == nil, err
}

// newPrivate gives what finds or makes a private chat. A state without a
// participant means that it was found.
func newPrivate(a Actor, n NewChat) (func(Tx, *news) (ChatState, error), error) {
	switch {
	case n.Title != "" || n.Topic != "" || n.History != "" || n.Listed || n.Users != nil:
		return nil, Errorf(CodeInvalidRequest, "a private chat has a user_id, and no title, topic, history or user_ids, and is not listed")
	case n.ClientChatID != "":
		return nil, Errorf(CodeInvalidRequest, "a private chat needs no client_chat_id: there is one per pair")
	case n.Peer == 0:
		return nil, Errorf(CodeInvalidRequest, "a private chat needs a user_id")
	case n.Peer == a.User:
		return nil, Errorf(CodeInvalidRequest, "a private chat is with somebody else")
	}
	pair := [2]UserID{min(a.User, n.Peer), max(a.User, n.Peer)}
	return func(tx Tx, fresh *news) (ChatState, error) {
		if c, err := tx.ChatByPair(pair); err == nil {
			return ChatState{Chat: c}, nil
		} else if !errors.Is(err, ErrNotFound) {
			return ChatState{}, err
		}
		if err := checkUsers(tx, n.Peer); err != nil {
			return ChatState{}, err
		}
		return create(tx, fresh, a, Chat{Kind: KindPrivate, History: HistoryAll, Pair: pair}, RoleMember, []UserID{n.Peer})
	}, nil
}

// newGroup gives what makes a group, or finds the one that the same request
// made before. A state without a participant means that it was found.
func newGroup(a Actor, n NewChat) (func(Tx, *news) (ChatState, error), error) {
	if n.Peer != 0 {
		return nil, Errorf(CodeInvalidRequest, "a group has user_ids, and no user_id")
	}
	title, err := checkName("title", n.Title, MaxTitle)
	if err != nil {
		return nil, err
	}
	topic, err := checkLine("topic", n.Topic, MaxTopic)
	if err != nil {
		return nil, err
	}
	if n.History == "" {
		n.History = HistoryAll
	}
	if err := checkHistory(n.History); err != nil {
		return nil, err
	}
	if len(n.Users) > MaxPage {
		return nil, Errorf(CodeInvalidRequest, "at most %d user_ids go into one request; add the others afterwards", MaxPage)
	}
	if err := checkKey("client_chat_id", n.ClientChatID); err != nil {
		return nil, err
	}
	users := slices.DeleteFunc(slices.Clone(n.Users), func(u UserID) bool { return u == a.User })
	sorted := sortedUsers(users)
	var b body
	b.text(string(n.Kind)).text(title).text(topic).text(string(n.History)).users(sorted)
	if n.Listed { // else the hash is that of before there were listed ones
		b.text("listed")
	}
	c := Chat{
		Kind: KindGroup, Title: title, Topic: topic, History: n.History, Listed: n.Listed,
		ClientChatID: n.ClientChatID, BodyHash: b.hash(),
	}
	return func(tx Tx, fresh *news) (ChatState, error) {
		if c.ClientChatID != "" {
			found, err := tx.ChatByClientID(a.User, c.ClientChatID)
			switch {
			case err == nil && found.BodyHash != c.BodyHash:
				return ChatState{}, Errorf(CodeIdempotencyConflict, "this client_chat_id made another chat; take a new one")
			case err == nil:
				return ChatState{Chat: found}, nil
			case !errors.Is(err, ErrNotFound):
				return ChatState{}, err
			}
		}
		if err := checkUsers(tx, n.Users...); err != nil {
			return ChatState{}, err
		}
		return create(tx, fresh, a, c, RoleOwner, sorted)
	}, nil
}

// create stores a chat of a's with others, ascending, as founding members.
func create(tx Tx, fresh *news, a Actor, c Chat, creator Role, others []UserID) (ChatState, error) {
	id, err := tx.NewChatID()
	if err != nil {
		return ChatState{}, err
	}
	c.ID, c.CreatedBy, c.CreatedAt, c.UpdatedSeq = id, a.User, tx.Now(), 1
	c.LastSeq = 1 + int64(len(others))
	if err := tx.PutChat(c); err != nil {
		return ChatState{}, err
	}
	me := Participant{Chat: id, User: a.User, Role: creator, JoinedSeq: 1, UpdatedSeq: 1}
	if err := tx.PutParticipant(me); err != nil {
		return ChatState{}, err
	}
	fresh.event(Event{Kind: ChatCreated, Chat: id, Seq: 1, Actor: a.User, ChatRow: &c, Participant: &me})
	for i, user := range others {
		seq := int64(2 + i)
		p := Participant{Chat: id, User: user, Role: RoleMember, JoinedSeq: seq, UpdatedSeq: seq}
		if err := tx.PutParticipant(p); err != nil {
			return ChatState{}, err
		}
		fresh.event(Event{Kind: ParticipantAdded, Chat: id, Seq: seq, Actor: a.User, Participant: &p})
	}
	return ChatState{Chat: c, Participant: me}, nil
}

// checkUsers sees that users are there, and not disabled.
func checkUsers(r Reader, users ...UserID) error {
	for _, id := range users {
		u, err := r.User(id)
		switch {
		case errors.Is(err, ErrNotFound) && len(users) > 1:
			return Errorf(CodeNotFound, "no such user: one of the %d", len(users))
		case errors.Is(err, ErrNotFound):
			return errNoUser
		case err != nil:
			return err
		case u.Disabled:
			return Errorf(CodeNotFound, "%s is disabled on this server", u.Username)
		}
	}
	return nil
}

// sortedUsers is users, ascending, each once.
func sortedUsers(users []UserID) []UserID {
	users = slices.Clone(users)
	slices.Sort(users)
	return slices.Compact(users)
}

// eachOnce is users in their order, without repetitions.
func eachOnce(users []UserID) []UserID {
	var list []UserID
	for _, u := range users {
		if !slices.Contains(list, u) {
			list = append(list, u)
		}
	}
	return list
}

func checkHistory(h History) error {
	if h != HistoryAll && h != HistoryJoined {
		return Errorf(CodeInvalidRequest, "history must be all or joined")
	}
	return nil
}

// ChatPatch is what UpdateChat changes; nil keeps.
type ChatPatch struct {
	Title   *string
	Topic   *string
	History *History
	Listed  *bool
}

// UpdateChat changes a group, for its admins and owners. What changes nothing
// takes no number.
func (s *Service) UpdateChat(ctx context.Context, a Actor, id ChatID, patch ChatPatch) (ChatState, error) {
	if patch.Title != nil {
		title, err := checkName("title", *patch.Title, MaxTitle)
		if err != nil {
			return ChatState{}, err
		}
		patch.Title = &title
	}
	if patch.Topic != nil {
		topic, err := checkLine("topic", *patch.Topic, MaxTopic)
		if err != nil {
			return ChatState{}, err
		}
		patch.Topic = &topic
	}
	if patch.History != nil {
		if err := checkHistory(*patch.History); err != nil {
			return ChatState{}, err
		}
	}
	_, err := update(ctx, s, "updating a chat", Op{Chat: id, User: a.User}, func(tx Tx, n *news) (none, error) {
		p, err := groupOf(tx, a, id, RoleAdmin, "change it")
		if err != nil {
			return none{}, err
		}
		old := p.chat
		if patch.Title != nil {
			p.chat.Title = *patch.Title
		}
		if patch.Topic != nil {
			p.chat.Topic = *patch.Topic
		}
		if patch.History != nil {
			p.chat.History = *patch.History
		}
		if patch.Listed != nil {
			p.chat.Listed = *patch.Listed
		}
		if p.chat == old {
			return none{}, nil
		}
		return none{}, p.putChat(tx, n, ChatUpdated)
	})
	if err != nil {
		return ChatState{}, err
	}
	return s.Chat(ctx, a, id)
}

// putChat stores a change of the chat's own row.
func (p *place) putChat(tx Tx, n *news, kind EventKind) error {
	seq := p.take()
	p.chat.UpdatedSeq = seq
	row := p.chat
	n.event(Event{Kind: kind, Chat: row.ID, Seq: seq, Actor: p.me.User, ChatRow: &row})
	return tx.PutChat(row)
}

// DeleteChat ends a group for everybody, for its owners. Its rows stay in the
// store; nobody reads them any more.
func (s *Service) DeleteChat(ctx context.Context, a Actor, id ChatID) error {
	_, err := update(ctx, s, "deleting a chat", Op{Chat: id, User: a.User}, func(tx Tx, n *news) (none, error) {
		p, err := groupOf(tx, a, id, RoleOwner, "delete it")
		if err != nil {
			return none{}, err
		}
		p.chat.DeletedAt = tx.Now()
		return none{}, p.putChat(tx, n, ChatDeleted)
	})
	return err
}

// ListedChat is a listed group as anybody on the server sees it.
type ListedChat struct {
	Chat         Chat
	Participants int
	Joined       bool // who asks is in
}

// ListedChats lists the listed groups by ascending id, without those that
// everybody has left.
func (s *Service) ListedChats(ctx context.Context, a Actor, after ChatID, limit int) (chats []ListedChat, next ChatID, more bool, err error) {
	if err := person(a); err != nil {
		return nil, 0, false, err
	}
	if limit, err = pageLimit(limit); err != nil {
		return nil, 0, false, err
	}
	err = s.view(ctx, "listing the listed chats", func(r Reader) error {
		list, err := r.ListedChats(after, limit+1)
		if err != nil {
			return err
		}
		list, more = cutPage(list, limit)
		for _, c := range list {
			next = c.ID
			one := ListedChat{Chat: c}
			if one.Participants, err = r.CountParticipants(c.ID, RoleOwner, RoleAdmin, RoleMember); err != nil {
				return err
			}
			if one.Participants == 0 {
				continue
			}
			me, err := r.Participant(c.ID, a.User)
			if missing(err, nil) != nil {
				return err
			}
			one.Joined = me.In()
			chats = append(chats, one)
		}
		return nil
	})
	if err != nil {
		return nil, 0, false, err
	}
	return chats, next, more, nil
}

// body is the canonical encoding of a request, of which the hash is kept: no
// two different requests have the same.
type body []byte

func (b *body) int(n int64) *body {
	*b = binary.AppendVarint(*b, n)
	return b
}

func (b *body) text(s string) *body {
	b.int(int64(len(s)))
	*b = append(*b, s...)
	return b
}

func (b *body) users(list []UserID) *body {
	b.int(int64(len(list)))
	for _, u := range list {
		b.int(int64(u))
	}
	return b
}

func (b *body) hash() BodyHash {
	sum := sha256.Sum256(*b)
	return BodyHash(sum[:len(BodyHash{})])
}
