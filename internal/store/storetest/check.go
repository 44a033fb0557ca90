package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/grima-chat/grima/internal/chat"
)

// TB is what checks need of a test; *testing.T and *rapid.T have it.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// CheckLog re-verifies these chats, or else all that somebody is or was in, at
// the end of any test. All is read from one snapshot, so it may run beside
// writers.
//
// There is no event table: a row tells when it was born and when it changed
// last, and the numbers of its changes in between are gone. What the rows of a
// chat with last_seq n can prove is checked:
//
//   - No number was taken twice. A row claims numbers: a message its seq and its
//     updated_seq; a participant their joined_seq, left_seq and updated_seq; the
//     chat its updated_seq. No two rows claim the same one, save 1, which the
//     chat and its creator have in common.
//   - The last number shows: the greatest updated_seq is n, since nothing could
//     have changed that row after n.
//   - No number was left out, as far as can be told: one that nobody claims must
//     have been taken by a row that changed again later, so there must be a
//     message with seq < number < updated_seq, a participant or the chat itself
//     with number < updated_seq. In a chat without edits, deletions, renames and
//     returns that proves 1..n without a hole; a hole below a later change of
//     such a row goes unseen.
//   - A message has 1 <= seq <= updated_seq <= n, a sender who has been a
//     participant, and replies only to an earlier message that is there. Deleted,
//     it has no content and no mentions.
//   - A participant has joined_seq <= updated_seq <= n, left_seq 0 or between
//     the two, and read_seq <= n. The creator has a row.
//   - Lists, pages, counts and single rows tell the same: Messages by pages
//     upwards and downwards, Message, Changes by pages, Participants,
//     CountParticipants, Memberships, CountUnread, CountMentions, ChatByPair,
//     ChatByClientID and ChangedChats.
func CheckLog(t TB, store chat.Store, chats ...chat.ChatID) {
	t.Helper()
	err := store.View(context.Background(), func(r chat.Reader) error {
		if len(chats) == 0 {
			var err error
			if chats, err = chatsOfAll(r); err != nil {
				return err
			}
		}
		for _, id := range chats {
			l, err := readLog(r, id)
			if err != nil {
				return fmt.Errorf("reading chat %d: %w", id, err)
			}
			l.checkNumbers()
			l.checkRows()
			if err := l.checkLists(r); err != nil {
				return fmt.Errorf("reading chat %d: %w", id, err)
			}
			for _, w := range l.wrong {
				t.Errorf("chat %d: %s", id, w)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("CheckLog: %v", err)
	}
}

// page is how much is read at once: small, so that small logs have pages too.
const page = 7

func chatsOfAll(r chat.Reader) ([]chat.ChatID, error) {
	found := map[chat.ChatID]bool{}
	for after := chat.UserID(0); ; {
		users, err := r.Users("", after, 200)
		if err != nil || len(users) == 0 {
			var ids []chat.ChatID
			for id := range found {
				ids = append(ids, id)
			}
			slices.Sort(ids)
			return ids, err
		}
		if users[0].ID <= after {
			return nil, fmt.Errorf("user %d is listed after %d", users[0].ID, after)
		}
		for _, u := range users {
			pos := chat.SyncPos{}
			for {
				changed, err := r.ChangedChats(u.ID, pos, 200)
				if err != nil {
					return nil, err
				}
				for _, c := range changed {
					if compareChanged(c, pos.After, pos.AfterChat) <= 0 {
						return nil, fmt.Errorf("for user %d chat %d at %d is listed after %+v", u.ID, c.Chat.ID, c.Stamp, pos)
					}
					found[c.Chat.ID] = true
					pos = chat.SyncPos{After: c.Stamp, AfterChat: c.Chat.ID}
				}
				if len(changed) == 0 {
					break
				}
			}
		}
		after = users[len(users)-1].ID
	}
}

// log is a chat and all its rows.
type log struct {
	chat         chat.Chat
	messages     []chat.Message     // by seq
	participants []chat.Participant // by user
	wrong        []string
}

func (l *log) wrongf(format string, args ...any) {
	if len(l.wrong) < 20 {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

// readLog reads a chat by pages of its changes, the only list that has those
// who left.
func readLog(r chat.Reader, id chat.ChatID) (*log, error) {
	l := &log{}
	var err error
	if l.chat, err = r.Chat(id); err != nil {
		return nil, err
	}
	limit := max(page, int(l.chat.LastSeq/50))
	for after := int64(0); ; {
		messages, participants, err := r.Changes(id, after, math.MaxInt64, 0, limit)
		if err != nil {
			return nil, err
		}
		if len(messages)+len(participants) == 0 {
			break
		}
		if len(messages)+len(participants) > limit {
			l.wrongf("a page of %d changes has %d messages and %d participants", limit, len(messages), len(participants))
		}
		first, last := int64(1<<62), after
		for _, m := range messages {
			first, last = min(first, m.UpdatedSeq), max(last, m.UpdatedSeq)
		}
		for _, p := range participants {
			first, last = min(first, p.UpdatedSeq), max(last, p.UpdatedSeq)
		}
		if first <= after {
			return nil, fmt.Errorf("a change at %d is listed after %d", first, after)
		}
		l.messages = append(l.messages, messages...)
		l.participants = append(l.participants, participants...)
		after = last
	}
	slices.SortFunc(l.messages, func(a, b chat.Message) int { return cmp.Compare(a.Seq, b.Seq) })
	slices.SortFunc(l.participants, func(a, b chat.Participant) int { return cmp.Compare(a.User, b.User) })
	return l, nil
}

func (l *log) checkNumbers() {
	n := l.chat.LastSeq
	claims := map[int64]string{}
	claim := func(seq int64, row string) {
		other, taken := claims[seq]
		switch {
		case seq < 1 || seq > n:
			l.wrongf("%s has number %d of 1..%d", row, seq, n)
		case !taken:
			claims[seq] = row
		case other != row:
			l.wrongf("%s and %s both have number %d", other, row, seq)
		}
	}
	const chatRow = "the chat"
	newest := l.chat.UpdatedSeq
	if l.chat.UpdatedSeq != 1 {
		claim(l.chat.UpdatedSeq, chatRow)
	} else {
		claims[1] = fmt.Sprint("participant ", l.chat.CreatedBy)
	}
	// How far up there are rows that may have taken numbers nobody shows, and
	// between what seqs messages may have.
	hidden, founders := l.chat.UpdatedSeq, l.founders()
	type span struct{ from, to int64 }
	var spans []span
	for _, p := range l.participants {
		row := fmt.Sprint("participant ", p.User)
		claim(p.JoinedSeq, row)
		claim(p.UpdatedSeq, row)
		if p.LeftSeq != 0 {
			claim(p.LeftSeq, row)
		}
		newest = max(newest, p.UpdatedSeq)
		if p.UpdatedSeq > founders {
			hidden = max(hidden, p.UpdatedSeq)
		}
	}
	for _, m := range l.messages {
		row := fmt.Sprint("message ", m.Seq)
		claim(m.Seq, row)
		claim(m.UpdatedSeq, row)
		newest = max(newest, m.UpdatedSeq)
		if m.UpdatedSeq > m.Seq+1 {
			spans = append(spans, span{m.Seq, m.UpdatedSeq})
		}
	}
	if newest != n {
		l.wrongf("last_seq is %d and the latest change %d", n, newest)
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	covered := hidden // everything below it may be
	next := 0
	for seq := int64(1); seq <= n && len(l.wrong) < 20; seq++ {
		for next < len(spans) && spans[next].from < seq {
			covered = max(covered, spans[next].to)
			next++
		}
		if _, ok := claims[seq]; !ok && seq >= covered {
			l.wrongf("nobody has number %d, and no row can have had it", seq)
		}
	}
}

// founders counts the leading numbers that are all somebody's joining, as those
// of the members a chat begins with: who joined there has had no number before.
func (l *log) founders() int64 {
	var joined []int64
	for _, p := range l.participants {
		joined = append(joined, p.JoinedSeq)
	}
	slices.Sort(joined)
	n := 0
	for n < len(joined) && joined[n] == int64(n)+1 {
		n++
	}
	return int64(n)
}

func (l *log) checkRows() {
	n := l.chat.LastSeq
	people := map[chat.UserID]bool{}
	for _, p := range l.participants {
		people[p.User] = true
		if p.Chat != l.chat.ID || p.JoinedSeq < 1 || p.UpdatedSeq < p.JoinedSeq || p.ReadSeq < 0 || p.ReadSeq > n ||
			p.LeftSeq != 0 && (p.LeftSeq <= p.JoinedSeq || p.LeftSeq > p.UpdatedSeq) {
			l.wrongf("at last_seq %d: %+v", n, p)
		}
	}
	if !people[l.chat.CreatedBy] {
		l.wrongf("its creator %d has never been in it", l.chat.CreatedBy)
	}
	seqs := map[int64]bool{}
	for _, m := range l.messages {
		what := fmt.Sprintf("message %d by %d, updated_seq %d, reply_to %d", m.Seq, m.Sender, m.UpdatedSeq, m.ReplyTo)
		if m.Chat != l.chat.ID || m.Seq < 1 || m.UpdatedSeq < m.Seq {
			l.wrongf("%s", what)
		}
		if seqs[m.Seq] {
			l.wrongf("%s is listed twice", what)
		}
		if !people[m.Sender] {
			l.wrongf("%s: the sender has never been in the chat", what)
		}
		if m.ReplyTo != 0 && !seqs[m.ReplyTo] {
			l.wrongf("%s: there is no such message before it", what)
		}
		if !m.DeletedAt.IsZero() && (m.Content != "" || len(m.Mentions) > 0 || m.MentionAll) {
			l.wrongf("%s is deleted and has content or mentions", what)
		}
		seqs[m.Seq] = true
	}
}

// checkLists compares every other way to the rows with those the changes gave.
func (l *log) checkLists(r chat.Reader) error {
	c := l.chat
	limit := max(page, int(c.LastSeq/50))
	up, err1 := pageMessages(r, c.ID, limit, false)
	down, err2 := pageMessages(r, c.ID, limit+1, true)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	l.same("messages by pages upwards", l.messages, up)
	l.same("messages by pages downwards", l.messages, down)
	for _, m := range l.messages {
		got, err := r.Message(c.ID, m.Seq)
		if err != nil {
			return fmt.Errorf("message %d: %w", m.Seq, err)
		}
		l.same(fmt.Sprint("message ", m.Seq), m, got)
	}
	if hasPair(c) {
		got, err := r.ChatByPair(c.Pair)
		if err != nil {
			return fmt.Errorf("chat of %v: %w", c.Pair, err)
		}
		l.same("the pair's chat", c, got)
	}
	if c.ClientChatID != "" {
		got, err := r.ChatByClientID(c.CreatedBy, c.ClientChatID)
		if err != nil {
			return fmt.Errorf("chat %q of %d: %w", c.ClientChatID, c.CreatedBy, err)
		}
		l.same("the chat by client_chat_id", c, got)
	}
	return l.checkPeople(r)
}

func (l *log) checkPeople(r chat.Reader) error {
	c := l.chat
	var in []chat.Participant
	roles := map[chat.Role]int{}
	last, err := r.LastStamp()
	if err != nil {
		return err
	}
	for _, p := range l.participants {
		row, err1 := r.Participant(c.ID, p.User)
		memberships, err2 := r.Memberships(p.User)
		unread, err3 := r.CountUnread(c.ID, p.User, p.ReadSeq, int(c.LastSeq)+1)
		mentions, err4 := r.CountMentions(c.ID, p.User, p.ReadSeq, int(c.LastSeq)+1)
		stamp := p.Stamp
		if p.In() {
			stamp = max(c.Stamp, p.Stamp)
		}
		stamp = min(stamp, last+1) // it may be of a transaction that has overtaken another
		changed, err5 := r.ChangedChats(p.User, chat.SyncPos{After: stamp - 1, Below: stamp, BelowChat: c.ID + 1}, 1)
		if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
			return fmt.Errorf("user %d: %w", p.User, err)
		}
		l.same(fmt.Sprint("participant ", p.User), p, row)
		at := slices.IndexFunc(memberships, func(m chat.Membership) bool { return m.Chat == c.ID })
		if p.In() {
			in = append(in, p)
			roles[p.Role]++
		}
		if (at >= 0) != (p.In() && c.DeletedAt.IsZero()) {
			l.wrongf("memberships of %d: %+v", p.User, memberships)
		} else if at >= 0 {
			want := chat.Membership{Chat: c.ID, Kind: c.Kind, LastSeq: c.LastSeq, JoinedSeq: p.JoinedSeq, ReadSeq: p.ReadSeq}
			l.same(fmt.Sprint("membership of ", p.User), want, memberships[at])
		}
		wantUnread, wantMentions := bruteCounts(l.messages, p.User, p.ReadSeq, int(c.LastSeq)+1)
		l.same(fmt.Sprint("unread of ", p.User), wantUnread, unread)
		l.same(fmt.Sprint("mentions of ", p.User), wantMentions, mentions)
		if stamp > 0 {
			l.same(fmt.Sprint("the change for ", p.User), []chat.ChangedChat{{Chat: c, Participant: p, Stamp: stamp}}, changed)
		}
	}
	var listed []chat.Participant
	for after := chat.UserID(0); ; {
		list, err := r.Participants(c.ID, after, page)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			break
		}
		if list[0].User <= after {
			return fmt.Errorf("participant %d is listed after %d", list[0].User, after)
		}
		listed = append(listed, list...)
		after = list[len(list)-1].User
	}
	l.same("participants by pages", in, listed)
	for _, role := range []chat.Role{chat.RoleOwner, chat.RoleAdmin, chat.RoleMember} {
		n, err := r.CountParticipants(c.ID, role)
		if err != nil {
			return err
		}
		l.same("count of "+string(role), roles[role], n)
	}
	return nil
}

func (l *log) same(what string, want, got any) {
	if d := diff(want, got); d != "" {
		l.wrongf("%s (-by changes +got):\n%s", what, d)
	}
}

// pageMessages reads all messages of a chat by pages from either end.
func pageMessages(r chat.Reader, id chat.ChatID, limit int, downwards bool) ([]chat.Message, error) {
	var all []chat.Message
	lo, hi := int64(0), int64(1)<<53
	for {
		list, err := r.Messages(id, lo, hi, limit, downwards)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return all, nil
		}
		if first, last := list[0].Seq, list[len(list)-1].Seq; first < lo || last >= hi {
			return nil, fmt.Errorf("messages %d to %d in a page of [%d, %d)", first, last, lo, hi)
		}
		if downwards {
			all, hi = append(list, all...), list[0].Seq
		} else {
			all, lo = append(all, list...), list[len(list)-1].Seq+1
		}
	}
}
