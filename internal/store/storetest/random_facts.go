package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"pgregory.net/rapid"

	"github.com/grima-chat/grima/internal/chat"
)

// compare reads everything from both.
func (w *world) compare(rt *rapid.T) {
	var got, want map[string]any
	seed := rapid.Int64Range(0, 1<<20).Draw(rt, "page")
	w.see(w.store, func(r chat.Reader) (err error) {
		got, err = w.facts(r, seed, func(p point) int64 { return p.store })
		return err
	})
	w.see(w.model, func(r chat.Reader) (err error) {
		want, err = w.facts(r, seed, func(p point) int64 { return p.model })
		return err
	})
	for name, v := range want {
		if d := diff(v, got[name]); d != "" {
			w.Errorf("%s (-model +store):\n%s", name, d)
		}
	}
	CheckLog(w.T, w.store, w.chats...)
}

// facts are all there is to read, with pages of sizes that seed chooses.
func (w *world) facts(r chat.Reader, seed int64, stamp func(point) int64) (facts map[string]any, err error) {
	facts = map[string]any{}
	fact := func(v any, readErr error, format string, args ...any) {
		name := fmt.Sprintf(format, args...)
		if errors.Is(readErr, chat.ErrNotFound) {
			v = "no such row"
		} else if readErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", name, readErr))
		}
		facts[name] = withoutStamps(v)
	}
	size := func(n int) int { seed = seed*25214903917 + 11; return int(uint64(seed)>>20%uint64(n)) + 1 }
	for _, n := range someNames {
		v, err := r.UserByName(n)
		fact(v, err, "user %q", n)
		list, err := r.Users(n, 0, size(5))
		fact(list, err, "users %q", n)
		found, next, err := r.FindUsers(n, chat.FoundPos{}, size(5))
		fact(found, err, "users found by %q", n)
		if found = nil; err == nil && next != (chat.FoundPos{}) {
			found, _, err = r.FindUsers(n, next, 1000)
		}
		fact(found, err, "the others found by %q", n)
	}
	for _, h := range []string{"one", "two", "three", "four"} {
		s, err := r.SessionByToken(hash(h))
		fact(s, err, "session by %s", h)
		i, err := r.InviteByCode(hash(h))
		fact(i, err, "invite by %s", h)
		a, err := r.Avatar(h)
		fact(a, err, "avatar %s", h)
	}
	users, err1 := r.Users("", 0, 1000)
	fact(users, err1, "users")
	invites, err2 := r.Invites()
	fact(invites, err2, "invites")
	open, err4 := r.ListedChats(chat.ChatID(size(3)-1), size(5))
	fact(open, err4, "listed chats")
	for _, u := range w.users {
		sessions, err := r.Sessions(u)
		fact(sessions, err, "sessions of %d", u)
		memberships, err := r.Memberships(u)
		fact(memberships, err, "memberships of %d", u)
		for _, k := range someKeys {
			s, err := r.Sent(u, k)
			fact(s, err, "%q of %d", k, u)
			c, err := r.ChatByClientID(u, k)
			fact(c, err, "chat %q of %d", k, u)
		}
		for _, v := range w.users {
			c, err := r.ChatByPair([2]chat.UserID{u, v})
			fact(c, err, "chat of %d and %d", u, v)
		}
		w.syncFacts(r, u, stamp, size, fact)
	}
	seqs, err3 := r.LastSeqs(w.chats)
	fact(seqs, err3, "positions")
	for _, id := range w.chats {
		w.chatFacts(r, id, size, fact)
	}
	return facts, err
}

// withoutStamps clears what each store sets in its own way.
func withoutStamps(v any) any {
	switch v := v.(type) {
	case chat.Chat:
		v.Stamp = 0
		return v
	case chat.Participant:
		v.Stamp = 0
		return v
	case []chat.Chat:
		for i := range v {
			v[i].Stamp = 0
		}
	case []chat.Participant:
		for i := range v {
			v[i].Stamp = 0
		}
	case []chat.ChangedChat:
		for i := range v {
			v[i].Stamp, v[i].Chat.Stamp, v[i].Participant.Stamp = 0, 0, 0
		}
	case []any:
		for i := range v {
			v[i] = withoutStamps(v[i])
		}
	}
	return v
}

// syncFacts are which chats changed since each point: their order among
// themselves is the store's, but the pages must give it both ways.
func (w *world) syncFacts(r chat.Reader, u chat.UserID, stamp func(point) int64, size func(int) int, fact func(any, error, string, ...any)) {
	all, err := r.ChangedChats(u, chat.SyncPos{}, 1000)
	fact(len(all), err, "number of chats of %d", u)
	up, down := pageUp(w.T, r, u, chat.SyncPos{}, size(4)), pageDown(w.T, r, u, chat.SyncPos{Below: math.MaxInt64}, size(4))
	slices.Reverse(down)
	if d := diff(all, up) + diff(all, down); d != "" || !slices.IsSortedFunc(all, func(a, b chat.ChangedChat) int { return compareChanged(a, b.Stamp, b.Chat.ID) }) {
		w.Errorf("the chats of %d by pages: %s", u, d)
	}
	for i, p := range w.points {
		if i < len(w.points)-10 && i%5 != 0 { // old ones are less likely to tell
			continue
		}
		changed, err := r.ChangedChats(u, chat.SyncPos{After: stamp(p)}, 1000)
		slices.SortFunc(changed, func(a, b chat.ChangedChat) int { return cmp.Compare(a.Chat.ID, b.Chat.ID) })
		fact(changed, err, "what changed for %d since point %d", u, i)
	}
}

func (w *world) chatFacts(r chat.Reader, id chat.ChatID, size func(int) int, fact func(any, error, string, ...any)) {
	c, err := r.Chat(id)
	fact(c, err, "chat %d", id)
	last := int(c.LastSeq)
	for i := range 4 {
		lo, hi, limit := int64(size(last+2)-1), int64(size(last+2)), size(last+1)
		for _, newest := range []bool{false, true} {
			list, err := r.Messages(id, lo, hi, limit, newest)
			fact(list, err, "chat %d page %d: messages %d to %d, %d, newest %v", id, i, lo, hi, limit, newest)
		}
		upto := lo + int64(size(last+2))
		messages, participants, err := r.Changes(id, lo, upto, hi/2, limit)
		fact([]any{messages, participants}, err, "chat %d page %d: changes after %d, up to %d, floor %d, limit %d", id, i, lo, upto, hi/2, limit)
		after := chat.UserID(size(len(w.users)+1) - 1)
		people, err := r.Participants(id, after, limit)
		fact(people, err, "chat %d page %d: participants after %d, limit %d", id, i, after, limit)
	}
	for _, role := range []chat.Role{chat.RoleOwner, chat.RoleAdmin, chat.RoleMember} {
		n, err := r.CountParticipants(id, role)
		fact(n, err, "chat %d: count of %s", id, role)
	}
	for _, u := range w.users {
		p, err := r.Participant(id, u)
		fact(p, err, "chat %d: participant %d", id, u)
		seq, most := int64(size(last+1)-1), size(5)
		unread, err := r.CountUnread(id, u, seq, most)
		fact(unread, err, "chat %d: unread of %d after %d, at most %d", id, u, seq, most)
		mentions, err := r.CountMentions(id, u, seq, most)
		fact(mentions, err, "chat %d: mentions of %d after %d, at most %d", id, u, seq, most)
	}
}
