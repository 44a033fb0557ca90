package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/grima-chat/grima/internal/chat"
)

var changeClauses = []clause{
	{"A chat's changes are its messages and participants by updated_seq", func(b *box) {
		users := b.users(3)
		id := b.group(users[0], users[1])                                                             // 1, 2
		b.do(text(id, users[0], "one"), text(id, users[1], "two"), text(id, users[0], "three"))       // 3, 4, 5
		b.do(edit(id, 3, "one!", someTime(6), false), leave(id, users[1]), erase(id, 4, someTime(8))) // 6, 7, 8
		b.do(rename(id, "Harbour"), join(id, users[2], chat.RoleAdmin), mark(id, users[2], 5))        // 9, 10
		for _, c := range []struct {
			after, floor int64
			limit        int
			want         []string
		}{
			{0, 0, 100, []string{"user a at 1", "message 5 at 5", "message 3 at 6", "user b at 7", "message 4 at 8", "user c at 10"}},
			{0, 0, 3, []string{"user a at 1", "message 5 at 5", "message 3 at 6"}},
			{0, 0, 1, []string{"user a at 1"}},
			{1, 0, 1, []string{"message 5 at 5"}},
			{1, 0, 4, []string{"message 5 at 5", "message 3 at 6", "user b at 7", "message 4 at 8"}},
			{5, 0, 100, []string{"message 3 at 6", "user b at 7", "message 4 at 8", "user c at 10"}},
			{6, 0, 1, []string{"user b at 7"}},
			{8, 0, 100, []string{"user c at 10"}},
			{10, 0, 100, nil},
			{0, 4, 100, []string{"user a at 1", "message 5 at 5", "user b at 7", "message 4 at 8", "user c at 10"}}, // message 3 was born before
			{0, 5, 2, []string{"user a at 1", "message 5 at 5"}},
			{0, 6, 100, []string{"user a at 1", "user b at 7", "user c at 10"}},
			{5, 4, 2, []string{"user b at 7", "message 4 at 8"}},
			{0, math.MaxInt64, 100, []string{"user a at 1", "user b at 7", "user c at 10"}},
		} {
			for _, upto := range []int64{math.MaxInt64, 10, 8, 7, 5, 4, 0} {
				want := slices.DeleteFunc(slices.Clone(c.want), func(s string) bool {
					at, err := strconv.ParseInt(s[strings.LastIndexByte(s, ' ')+1:], 10, 64)
					return err != nil || at > upto
				})
				got := read(b, func(r chat.Reader) ([]string, error) {
					messages, participants, err := r.Changes(id, c.after, upto, c.floor, c.limit)
					return merged(b, r, messages, participants), err
				})
				b.same(fmt.Sprintf("Changes after %d, up to %d, floor %d, limit %d", c.after, upto, c.floor, c.limit), len(want), len(got))
				if len(want) > 0 {
					b.same(fmt.Sprintf("Changes after %d, up to %d, floor %d, limit %d", c.after, upto, c.floor, c.limit), want, got)
				}
			}
		}
	}},
	{"Changes are merged, hidden and cut right on random logs", func(b *box) {
		id, users, rng := b.randomLog(150)
		b.view(func(r chat.Reader) error {
			last := must(r.Chat(id)).LastSeq
			messages := must(r.Messages(id, 0, last+1, int(last)+1, false))
			var people []chat.Participant
			for _, u := range users {
				if p, err := r.Participant(id, u); err == nil {
					people = append(people, p)
				} else if !errors.Is(err, chat.ErrNotFound) {
					return err
				}
			}
			for range 300 {
				after, floor, limit := rng.Int64N(last+2), rng.Int64N(last+2), 1+rng.IntN(int(last)+5)
				upto := after + rng.Int64N(last+2)
				if rng.IntN(2) == 0 {
					floor = 0
				}
				wantM, wantP := bruteChanges(messages, people, after, upto, floor, limit)
				gotM, gotP, err := r.Changes(id, after, upto, floor, limit)
				if err != nil {
					return err
				}
				what := fmt.Sprintf("Changes after %d, up to %d, floor %d, limit %d", after, upto, floor, limit)
				b.same(what, wantM, gotM)
				b.same(what, wantP, gotP)
			}
			return nil
		})
	}},
	{"Tails are chats with their changes, in the order of the question", func(b *box) {
		id, users, rng := b.randomLog(150)
		two := b.group(users[1], users[2])                                                         // 1, 2
		b.do(text(two, users[1], "3"), text(two, users[2], "4"))                                   // 3, 4
		b.do(edit(two, 3, "3!", someTime(3), false), leave(two, users[2]))                         // 5, 6
		b.do(rename(two, "Harbour"), text(two, users[1], "8 \x00\x01"))                            // 7, 8
		gone := b.group(users[0])                                                                  // 1
		b.do(text(gone, users[0], "2"), text(gone, users[0], "last"), erase(gone, 2, someTime(4))) // 2, 3, 4
		none := gone + 1000
		tails := func(asked []chat.Position, limit int) []chat.Tail {
			return read(b, func(r chat.Reader) ([]chat.Tail, error) { return r.Tails(asked, limit) })
		}
		for range 60 {
			limit := 1 + rng.IntN(12)
			if rng.IntN(4) == 0 {
				limit = 1000
			}
			asked := make([]chat.Position, rng.IntN(7))
			for i := range asked {
				asked[i] = chat.Position{Chat: []chat.ChatID{id, two, gone, none}[rng.IntN(4)]}
				asked[i].Seq = rng.Int64N(b.last(asked[i].Chat) + 2)
			}
			got := tails(asked, limit)
			want := make([]chat.Tail, len(asked))
			b.view(func(r chat.Reader) (err error) {
				for i, at := range asked {
					if want[i].Chat, err = r.Chat(at.Chat); err != nil && !errors.Is(err, chat.ErrNotFound) {
						return err
					}
					if want[i].Messages, want[i].Participants, err = r.Changes(at.Chat, at.Seq, math.MaxInt64, 0, limit); err != nil {
						return err
					}
				}
				return nil
			})
			b.same(fmt.Sprintf("Tails(%v, %d)", asked, limit), want, got)
		}
		last := tails([]chat.Position{{Chat: two, Seq: 2}, {Chat: none}, {Chat: gone, Seq: 3}}, 10)
		b.same("messages", []int{3, 0, 1}, []int{len(last[0].Messages), len(last[1].Messages), len(last[2].Messages)})
		b.same("participants", []int{1, 0, 0}, []int{len(last[0].Participants), len(last[1].Participants), len(last[2].Participants)})
		b.same("positions", []int64{8, 0, 4}, []int64{last[0].Chat.LastSeq, last[1].Chat.LastSeq, last[2].Chat.LastSeq})
	}},
	{"Tails are of one snapshot", func(b *box) {
		users := b.users(2)
		one, two := b.group(users[0]), b.group(users[0])
		before := []int64{b.last(one), b.last(two)}
		b.view(func(r chat.Reader) error {
			seqs, err := r.LastSeqs([]chat.ChatID{one, two})
			b.do(text(one, users[0], "later"))
			t, err2 := r.Tails([]chat.Position{{Chat: one}, {Chat: two}}, 10)
			if err := errors.Join(err, err2); err != nil {
				return err
			}
			b.same("positions, and those of Tails behind them", [][]int64{before, before}, [][]int64{seqs, {t[0].Chat.LastSeq, t[1].Chat.LastSeq}})
			b.same("messages of later", 0, len(t[0].Messages))
			return nil
		})
		b.do(text(two, users[0], "later"))
		const rounds = 150
		outcome := make(chan error, 1)
		go func() {
			for range rounds { // both in one update, so never one without the other
				done := make(chan error, 1)
				b.store.Update(chat.Op{Run: func(tx chat.Tx) error {
					return errors.Join(text(one, users[0], "hi")(tx), text(two, users[0], "hi")(tx))
				}}, func(err error) { done <- err })
				if err := <-done; err != nil {
					outcome <- err
					return
				}
			}
			outcome <- nil
		}()
		look := func() int64 {
			t := read(b, func(r chat.Reader) ([]chat.Tail, error) {
				return r.Tails([]chat.Position{{Chat: one}, {Chat: two}, {Chat: one}}, 1000)
			})
			for i := range t {
				b.same("position", t[0].Chat.LastSeq, t[i].Chat.LastSeq)
				b.same("messages", t[0].Chat.LastSeq-1, int64(len(t[i].Messages)))
			}
			return t[0].Chat.LastSeq
		}
		for look() < 2+rounds {
			select {
			case err := <-outcome:
				if err != nil {
					b.Fatalf("update: %v", err)
				}
				b.same("position in the end", int64(2+rounds), look())
				return
			default:
			}
		}
		if err := wait(b, "the writer", outcome); err != nil {
			b.Fatalf("update: %v", err)
		}
	}},
	{"Unread are the living messages of others after a position, up to a cap", func(b *box) {
		users := b.users(3)
		id := b.group(users[0], users[1], users[2])                                                                        // 1, 2, 3
		b.do(text(id, users[0], "4"), text(id, users[1], "5"), text(id, users[0], "6"), text(id, users[2], "7"))           // 4, 5, 6, 7
		b.do(erase(id, 6, someTime(8)), edit(id, 4, "4!", someTime(9), false), rename(id, "Harbour"), leave(id, users[2])) // 8, 9, 10, 11
		for _, c := range []struct {
			user      int
			seq       int64
			most      int
			want      int64
			mentioned int64
		}{
			{0, 0, 10, 2, 0},
			{1, 0, 10, 2, 0},
			{2, 0, 10, 2, 0},
			{0, 4, 10, 2, 0},
			{0, 5, 10, 1, 0},
			{0, 7, 10, 0, 0},
			{0, 100, 10, 0, 0},
			{1, 4, 10, 1, 0},
			{1, 3, 10, 2, 0},
			{1, 3, 1, 1, 0},
		} {
			b.view(func(r chat.Reader) error {
				b.same(fmt.Sprintf("unread of %d after %d, at most %d", c.user, c.seq, c.most), c.want, must(r.CountUnread(id, users[c.user], c.seq, c.most)))
				b.same("mentions", c.mentioned, must(r.CountMentions(id, users[c.user], c.seq, c.most)))
				return nil
			})
		}
	}},
	{"Mentions follow edits and deletions", func(b *box) {
		users := b.users(3)
		id := b.group(users[0], users[1], users[2])
		ana, bob, eve := users[0], users[1], users[2]
		mentions := func(what string, seq int64, most int, wantAna, wantBob, wantEve int64) {
			b.Helper()
			b.view(func(r chat.Reader) error {
				for i, want := range []int64{wantAna, wantBob, wantEve} {
					b.same(fmt.Sprint(what, ": mentions of ", users[i]), want, must(r.CountMentions(id, users[i], seq, most)))
				}
				return nil
			})
		}
		say := func(all bool, whom ...chat.UserID) write {
			return send(chat.Message{Chat: id, Sender: ana, Content: "hi", Mentions: whom, MentionAll: all, CreatedAt: someTime(1)}, "")
		}
		b.do(say(false, bob), say(false), say(true), say(true, bob), say(false, ana, eve)) // 4 to 8
		mentions("at first", 0, 10, 0, 3, 3)
		mentions("after 5", 5, 10, 0, 2, 3)
		mentions("after 8", 8, 10, 0, 0, 0)
		mentions("at most 2", 0, 2, 0, 2, 2)
		b.do(edit(id, 4, "not bob but eve", someTime(2), false, eve))
		mentions("after an edit", 0, 10, 0, 2, 4)
		b.do(edit(id, 5, "all of you", someTime(2), true))
		mentions("after an edit that adds all", 0, 10, 0, 3, 5)
		b.do(edit(id, 6, "nobody", someTime(2), false))
		mentions("after an edit that removes all", 0, 10, 0, 2, 4)
		b.do(edit(id, 7, "bob", someTime(2), false, bob))
		mentions("after an edit that keeps one", 0, 10, 0, 2, 3)
		b.do(erase(id, 8, someTime(3)))
		mentions("after a deletion", 0, 10, 0, 2, 2)
		b.do(changeMessage(id, 5, func(m *chat.Message) { m.DeletedAt = someTime(4) }))
		mentions("after a deletion that left the mentions", 0, 10, 0, 1, 1)
		b.do(send(chat.Message{Chat: id, Sender: bob, Mentions: []chat.UserID{bob, ana}, CreatedAt: someTime(5)}, ""))
		mentions("after bob's", 0, 10, 1, 1, 1)
	}},
	{"Counts are right on random logs", func(b *box) {
		id, users, rng := b.randomLog(130)
		b.view(func(r chat.Reader) error {
			last := must(r.Chat(id)).LastSeq
			messages := must(r.Messages(id, 0, last+1, int(last)+1, false))
			for range 200 {
				user, seq, most := users[rng.IntN(len(users))], rng.Int64N(last+2), 1+rng.IntN(40)
				unread, mentions := bruteCounts(messages, user, seq, most)
				b.same("unread", unread, must(r.CountUnread(id, user, seq, most)))
				b.same("mentions", mentions, must(r.CountMentions(id, user, seq, most)))
			}
			return nil
		})
	}},
}

// last is a chat's position, 0 if there is none.
func (b *box) last(id chat.ChatID) int64 {
	b.Helper()
	return read(b, func(r chat.Reader) ([]int64, error) { return r.LastSeqs([]chat.ChatID{id}) })[0]
}

// merged names changes in the order of their updated_seq.
func merged(b *box, r chat.Reader, messages []chat.Message, participants []chat.Participant) (names []string) {
	b.Helper()
	type change struct {
		seq  int64
		name string
	}
	var all []change
	for _, m := range messages {
		all = append(all, change{m.UpdatedSeq, fmt.Sprintf("message %d at %d", m.Seq, m.UpdatedSeq)})
		b.same("a changed message", must(r.Message(m.Chat, m.Seq)), m)
	}
	for _, p := range participants {
		all = append(all, change{p.UpdatedSeq, fmt.Sprintf("user %s at %d", must(r.User(p.User)).Username, p.UpdatedSeq)})
		b.same("a changed participant", must(r.Participant(p.Chat, p.User)), p)
	}
	slices.SortFunc(all, func(a, b change) int { return cmp.Compare(a.seq, b.seq) })
	for _, c := range all {
		names = append(names, c.name)
	}
	return names
}

// bruteChanges works Changes out of all rows of a chat.
func bruteChanges(messages []chat.Message, people []chat.Participant, after, upto, floor int64, limit int) ([]chat.Message, []chat.Participant) {
	var seqs []int64
	for _, m := range messages {
		if m.UpdatedSeq > after && m.UpdatedSeq <= upto && m.Seq >= floor {
			seqs = append(seqs, m.UpdatedSeq)
		}
	}
	for _, p := range people {
		if p.UpdatedSeq > after && p.UpdatedSeq <= upto {
			seqs = append(seqs, p.UpdatedSeq)
		}
	}
	slices.Sort(seqs)
	seqs = seqs[:min(limit, len(seqs))]
	var m []chat.Message
	for _, x := range messages {
		if x.Seq >= floor && slices.Contains(seqs, x.UpdatedSeq) {
			m = append(m, x)
		}
	}
	var p []chat.Participant
	for _, x := range people {
		if slices.Contains(seqs, x.UpdatedSeq) {
			p = append(p, x)
		}
	}
	slices.SortFunc(m, func(a, b chat.Message) int { return cmp.Compare(a.UpdatedSeq, b.UpdatedSeq) })
	slices.SortFunc(p, func(a, b chat.Participant) int { return cmp.Compare(a.UpdatedSeq, b.UpdatedSeq) })
	return m, p
}

func bruteCounts(messages []chat.Message, user chat.UserID, seq int64, most int) (unread, mentions int64) {
	for _, m := range messages {
		if m.Seq <= seq || m.Sender == user || !m.DeletedAt.IsZero() {
			continue
		}
		unread = min(unread+1, int64(most))
		if m.MentionAll || slices.Contains(m.Mentions, user) {
			mentions = min(mentions+1, int64(most))
		}
	}
	return unread, mentions
}
