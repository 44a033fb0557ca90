package storetest

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/grima-chat/grima/internal/chat"
)

var viewClauses = []clause{
	{"A View is a snapshot: open across writes it sees nothing new", func(b *box) {
		users := b.users(3)
		id := b.group(users[0], users[1])
		b.do(text(id, users[0], "one"), text(id, users[1], "two"))
		x, fresh := sampleRows(50, "there"), sampleRows(60, "later")
		b.do(putAll(x))
		b.view(func(r chat.Reader) error {
			look := func() string {
				mine, err1 := everything(r, id, users[0])
				theirs, err2 := everything(r, x.chat.ID, x.user.ID)
				stamp, err3 := r.LastStamp()
				if err := errors.Join(err1, err2, err3, wrongRows(x, r), missingRows(fresh, r)); err != nil {
					b.Error(err)
				}
				return fmt.Sprint(mine, theirs, stamp)
			}
			before := look()
			changed := x2(x)
			for i, run := range []write{
				text(id, users[0], "three"), edit(id, 3, "one!", someTime(9), true, users[1]), erase(id, 4, someTime(9)),
				join(id, users[2], chat.RoleAdmin), setRole(id, users[1], chat.RoleAdmin), leave(id, users[1]), rename(id, "Harbour"),
				mark(id, users[0], 4), putAll(fresh), putAll(changed),
				func(tx chat.Tx) error {
					return errors.Join(tx.DeleteSession(x.session.ID), tx.DeleteInvite(x.invite.ID))
				},
			} {
				b.do(run)
				b.same(fmt.Sprintf("after write %d", i), before, look())
			}
			return nil
		})
		if c := b.chat(id); c.Title != "Harbour" {
			b.Errorf("the next View sees %+v", c)
		}
	}},
	{"A View that has read nothing yet may see what was written since, but from one moment", func(b *box) {
		users := b.users(1)
		id := b.group(users[0])
		b.view(func(r chat.Reader) error {
			b.do(text(id, users[0], "one"))
			c, err := r.Chat(id)
			if err != nil {
				return err
			}
			b.do(text(id, users[0], "two"))
			list, err := r.Messages(id, 0, 100, 100, false)
			if int64(len(list)) != c.LastSeq-1 {
				b.Errorf("%d messages at last_seq %d", len(list), c.LastSeq)
			}
			return err
		})
	}},
	{"Views run beside each other", func(b *box) {
		arrived, leave := make(chan struct{}, 2), make(chan struct{})
		ended := make(chan error, 2)
		for range 2 {
			go func() {
				ended <- b.store.View(b.Context(), func(r chat.Reader) error {
					_, err := r.LastStamp()
					arrived <- struct{}{}
					<-leave
					return err
				})
			}()
		}
		defer close(leave)
		wait(b, "the first View", arrived)
		wait(b, "the second View", arrived)
	}},
	{"A View gives back its function's error", func(b *box) {
		if err := b.store.View(b.Context(), func(chat.Reader) error { return errUndo }); !errors.Is(err, errUndo) {
			b.Errorf("got %v", err)
		}
	}},
	{"A View whose function panics holds nothing up", func(b *box) {
		for range 100 {
			func() {
				defer func() {
					if recover() == nil {
						b.Error("the panic did not come through")
					}
				}()
				b.view(func(r chat.Reader) error { panic(must(r.LastStamp())) })
			}()
		}
		users := b.users(1)
		b.do(text(b.group(users[0]), users[0], "hi"))
	}},
}

var listClauses = []clause{
	{"Listed chats come by ascending id, after an id, at most limit, without deleted ones", func(b *box) {
		user := b.users(1)[0]
		var ids []chat.ChatID
		for range 6 {
			ids = append(ids, b.group(user))
		}
		set := func(id chat.ChatID, listed bool, deletedAt time.Time) {
			b.do(func(tx chat.Tx) error {
				c, err := tx.Chat(id)
				c.Listed, c.DeletedAt = listed, deletedAt
				return errors.Join(err, tx.PutChat(c))
			})
		}
		for _, i := range []int{5, 0, 3, 1, 4} {
			set(ids[i], true, time.Time{})
		}
		set(ids[3], true, someTime(1))
		set(ids[1], false, time.Time{})
		want := []chat.ChatID{ids[0], ids[4], ids[5]}
		b.view(func(r chat.Reader) error {
			for after := range len(want) + 1 {
				for _, limit := range []int{1, 2, 100} {
					var from chat.ChatID
					if after > 0 {
						from = want[after-1]
					}
					var got []chat.ChatID
					for _, c := range must(r.ListedChats(from, limit)) {
						b.same("chat", must(r.Chat(c.ID)), c)
						got = append(got, c.ID)
					}
					b.same(fmt.Sprintf("ListedChats(%d, %d)", from, limit), want[after:][:min(limit, len(want)-after)], got)
				}
			}
			return nil
		})
	}},
	{"Users come by ascending id, after an id, by prefix, at most limit", func(b *box) {
		names := []string{"ana", "an_a", "anxa", "a%b", "ab", "axb", "bob", "bo", "zoë", "zo", "ana2", "anaa", "an"}
		ids := make([]chat.UserID, len(names))
		b.do(func(tx chat.Tx) (err error) {
			for i, n := range names {
				if ids[i], err = tx.NewUserID(); err != nil {
					return err
				}
				if err := tx.PutUser(chat.User{ID: ids[i], Username: n, Role: chat.RoleMember, CreatedAt: someTime(0)}); err != nil {
					return err
				}
			}
			return nil
		})
		b.view(func(r chat.Reader) error {
			all := must(r.Users("", 0, 100))
			for _, prefix := range []string{"", "a", "an", "ana", "an_", "a%", "b", "zo", "zoë", "q", "_", "%"} {
				for after := range len(all) + 1 {
					for _, limit := range []int{1, 3, 100} {
						var from chat.UserID
						if after > 0 {
							from = all[after-1].ID
						}
						b.same(fmt.Sprintf("Users(%q, %d, %d)", prefix, from, limit), filterUsers(all, prefix, from, limit), must(r.Users(prefix, from, limit)))
					}
				}
			}
			if !slices.IsSortedFunc(all, func(x, y chat.User) int { return int(x.ID - y.ID) }) || len(all) != len(names) {
				b.Errorf("users %+v", all)
			}
			return nil
		})
	}},
	{"Users are found by the words of their names, as these are now, page by page", func(b *box) {
		people := []chat.User{
			{Username: "ana", Name: "Ana Lima"},
			{Username: "mary.silva", Name: "Mária Sílva"}, // by two words at once
			{Username: "x", Name: "Marlow Márquez"},
			{Username: "user1", Name: "Maria Santos"},
			{Username: "maria", Name: ""},
			{Username: "yuki", Name: "山田優希"},
			{Username: "mar", Name: "?"},
		}
		put := func(list ...int) {
			fresh := people[list[0]].ID == 0 // an update may run more than once
			b.do(func(tx chat.Tx) (err error) {
				for _, i := range list {
					u := &people[i]
					if fresh {
						if u.ID, err = tx.NewUserID(); err != nil {
							return err
						}
					}
					u.Role, u.CreatedAt = chat.RoleMember, someTime(0)
					if err := tx.PutUser(*u); err != nil {
						return err
					}
				}
				return nil
			})
		}
		put(0, 1, 2, 3, 4, 5, 6)
		found := func(find string, want ...string) {
			b.Helper()
			b.view(func(r chat.Reader) error {
				for _, limit := range []int{100, 2, 1} {
					got := []string{}
					for i, page := range foundPages(r, find, limit) {
						// All are full but the last, which is empty only if it is the first.
						if left := len(want) - i*limit; len(page) != min(limit, max(0, left)) || left <= 0 && i > 0 {
							b.Fatalf("page %d of %q, of %d, has %d users", i, find, limit, len(page))
						}
						for _, u := range page {
							b.same("user", must(r.User(u.ID)), u)
							got = append(got, u.Username)
						}
					}
					b.same(fmt.Sprintf("FindUsers(%q), %d at a time", find, limit), append([]string{}, want...), got)
				}
				return nil
			})
		}
		found("mar", "mar", "mary.silva", "user1", "maria", "x")
		found("MÁRIA", "mary.silva", "user1", "maria")
		found("lim", "ana")
		found("s mar", "mary.silva", "user1")
		found("sil mary", "mary.silva")
		found("優", "yuki")
		found("mar_", "mar", "mary.silva", "user1", "maria", "x")
		found("aria")
		found("%")
		found("")
		// Who is called something else is found by that, and by nothing of before.
		people[3].Name, people[0].Username = "Rosa Mar", "ann"
		put(3, 0)
		found("maria", "mary.silva", "maria")
		found("santos")
		found("rosa", "user1")
		found("mar", "user1", "mar", "mary.silva", "maria", "x")
		found("ana", "ann")
		found("ann", "ann")
		// What failed is not to be found.
		failed := errors.New("failed")
		if err := b.try(func(tx chat.Tx) error {
			u, err := tx.User(people[0].ID)
			u.Name = "Zoë"
			return errors.Join(err, tx.PutUser(u), failed)
		}); !errors.Is(err, failed) {
			b.Fatal(err)
		}
		found("zoe")
		found("lima", "ann")
	}},
	{"Who is found behind thousands who are not meant is found on a later page", func(b *box) {
		const many = 2500
		b.do(func(tx chat.Tx) error {
			for i := range many {
				id, err := tx.NewUserID()
				if err != nil {
					return err
				}
				name := "Smith"
				if i == many-1 {
					name = "Smith Zeno"
				}
				if err := tx.PutUser(chat.User{ID: id, Username: fmt.Sprint("user", i), Name: name, Role: chat.RoleMember, CreatedAt: someTime(0)}); err != nil {
					return err
				}
			}
			return nil
		})
		b.view(func(r chat.Reader) error {
			var list []chat.User
			pages := 0
			for _, page := range foundPages(r, "smith zen", 10) {
				list = append(list, page...)
				pages++
			}
			if len(list) != 1 || list[0].Name != "Smith Zeno" || pages > 5 {
				b.Errorf("%d pages with %v", pages, list)
			}
			return nil
		})
	}},
	{"LiveSessions are in the order of the question, without those that ended", func(b *box) {
		x, y, z := sampleRows(1, "ana"), sampleRows(2, "bob"), sampleRows(3, "cem")
		b.do(putAll(x), putAll(y), putAll(z), func(tx chat.Tx) error { return tx.DeleteSession(2) })
		b.view(func(r chat.Reader) error {
			b.same("sessions", []chat.SessionID{3, 1, 3}, must(r.LiveSessions([]chat.SessionID{3, 99, 2, 1, 3, 0})))
			b.same("sessions of none", 0, len(must(r.LiveSessions([]chat.SessionID{2}))))
			b.same("none of none", 0, len(must(r.LiveSessions(nil))))
			return nil
		})
	}},
	{"LastSeqs are in the order of the question, of deleted chats too, and 0 of none", func(b *box) {
		users := b.users(2)
		one, two, gone := b.group(users[0]), b.group(users[0], users[1]), b.group(users[0])
		b.do(text(one, users[0], "hi"), text(one, users[0], "again"), func(tx chat.Tx) error {
			c, err := tx.Chat(gone)
			c.LastSeq, c.UpdatedSeq, c.DeletedAt = 2, 2, someTime(5)
			return errors.Join(err, tx.PutChat(c))
		})
		b.view(func(r chat.Reader) error {
			b.same("positions", []int64{2, 0, 3, 2, 3, 0}, must(r.LastSeqs([]chat.ChatID{two, 999, one, gone, one, 0})))
			b.same("positions of no chats", []int64{}, must(r.LastSeqs(nil)))
			return nil
		})
	}},
	{"Sessions are those of one user, invites are all, by ascending id", func(b *box) {
		for _, n := range []int64{5, 2, 9, 3} {
			x := sampleRows(n, fmt.Sprint("u", n))
			x.session.User = chat.UserID(n % 2)
			b.do(putAll(x))
		}
		b.view(func(r chat.Reader) error {
			var sessions, invites []int64
			for _, s := range must(r.Sessions(1)) {
				sessions = append(sessions, int64(s.ID))
			}
			for _, i := range must(r.Invites()) {
				invites = append(invites, int64(i.ID))
			}
			b.same("sessions", []int64{3, 5, 9}, sessions)
			b.same("invites", []int64{2, 3, 5, 9}, invites)
			return nil
		})
	}},
	{"Participants, their count and memberships are of those who are in", func(b *box) {
		users := b.users(6)
		id, other := b.group(users[3], users[0], users[5], users[1]), b.group(users[0], users[1])
		b.do(leave(id, users[0]), setRole(id, users[1], chat.RoleAdmin), text(id, users[3], "hi"), mark(id, users[1], 6),
			leave(other, users[0]), join(other, users[0], chat.RoleMember))
		b.view(func(r chat.Reader) error {
			in := []chat.UserID{users[1], users[3], users[5]}
			for after := range users {
				for limit := 1; limit < 5; limit++ {
					var want, got []chat.UserID
					for _, u := range in {
						if u > users[after]-1 && len(want) < limit {
							want = append(want, u)
						}
					}
					for _, p := range must(r.Participants(id, users[after]-1, limit)) {
						got = append(got, p.User)
						b.same("participant", must(r.Participant(id, p.User)), p)
					}
					b.same(fmt.Sprintf("Participants after %d, %d of them", users[after]-1, limit), want, got)
				}
			}
			for _, c := range []struct {
				roles []chat.Role
				want  int
			}{
				{nil, 0},
				{[]chat.Role{chat.RoleOwner}, 1},
				{[]chat.Role{chat.RoleAdmin}, 1},
				{[]chat.Role{chat.RoleMember}, 1},
				{[]chat.Role{chat.RoleOwner, chat.RoleAdmin}, 2},
				{[]chat.Role{chat.RoleOwner, chat.RoleAdmin, chat.RoleMember}, 3},
			} {
				b.same(fmt.Sprint("CountParticipants ", c.roles), c.want, must(r.CountParticipants(id, c.roles...)))
			}
			b.same("of one who left and came back", []chat.Membership{{Chat: other, Kind: chat.KindGroup, LastSeq: 4, JoinedSeq: 4}}, must(r.Memberships(users[0])))
			b.same("of one in two", []chat.Membership{
				{Chat: id, Kind: chat.KindGroup, LastSeq: 7, JoinedSeq: 4, ReadSeq: 6}, {Chat: other, Kind: chat.KindGroup, LastSeq: 4, JoinedSeq: 2},
			}, must(r.Memberships(users[1])))
			b.same("of one in none", []chat.Membership(nil), must(r.Memberships(users[4])))
			if p := must(r.Participant(id, users[0])); p.LeftSeq == 0 {
				b.Errorf("who left: %+v", p)
			}
			return nil
		})
	}},
	{"A page of messages is the first or the last of its range, ascending", func(b *box) {
		id, _, rng := b.randomLog(120)
		b.view(func(r chat.Reader) error {
			last := must(r.Chat(id)).LastSeq
			var all []chat.Message
			for seq := range last + 2 {
				m, err := r.Message(id, seq)
				if err == nil {
					all = append(all, m)
				} else if !errors.Is(err, chat.ErrNotFound) {
					return err
				}
			}
			if len(all) < 20 {
				b.Fatalf("only %d messages", len(all))
			}
			for range 300 {
				lo, hi, limit, newest := rng.Int64N(last+4)-1, rng.Int64N(last+4)-1, 1+rng.IntN(int(last)), rng.IntN(2) == 0
				if rng.IntN(4) == 0 {
					lo, hi = 0, 1<<53
				}
				var want []chat.Message
				for _, m := range all {
					if lo <= m.Seq && m.Seq < hi {
						want = append(want, m)
					}
				}
				if newest {
					want = want[max(0, len(want)-limit):]
				} else {
					want = want[:min(limit, len(want))]
				}
				b.same(fmt.Sprintf("Messages(%d, %d, %d, %v)", lo, hi, limit, newest), want, must(r.Messages(id, lo, hi, limit, newest)))
			}
			return nil
		})
	}},
	{"Chats do not mix", func(b *box) {
		users := b.users(2)
		one, two := b.group(users[0], users[1]), b.group(users[0], users[1])
		b.do(text(one, users[0], "in one"), text(two, users[1], "in two"), text(two, users[1], "in two again"))
		b.view(func(r chat.Reader) error {
			messages, _, err := r.Changes(one, 0, math.MaxInt64, 0, 10)
			if n := must(r.CountUnread(one, users[1], 0, 10)); len(messages) != 1 || n != 1 || len(must(r.Messages(one, 0, 10, 10, false))) != 1 {
				b.Errorf("%v, %d unread", messages, n)
			}
			return err
		})
	}},
}

// foundPages are the pages of a list of who is found.
func foundPages(r chat.Reader, find string, limit int) iter.Seq2[int, []chat.User] {
	return func(yield func(int, []chat.User) bool) {
		var after chat.FoundPos
		for i := 0; ; i++ {
			page, next, err := r.FindUsers(find, after, limit)
			if must(page, err); !yield(i, page) || next == (chat.FoundPos{}) {
				return
			}
			after = next
		}
	}
}

func filterUsers(all []chat.User, prefix string, after chat.UserID, limit int) (list []chat.User) {
	for _, u := range all {
		if u.ID > after && len(list) < limit && len(u.Username) >= len(prefix) && u.Username[:len(prefix)] == prefix {
			list = append(list, u)
		}
	}
	return list
}

// randomLog makes a group with so many random changes, beside another that must
// not show.
func (b *box) randomLog(changes int) (chat.ChatID, []chat.UserID, *rand.Rand) {
	b.Helper()
	rng := rand.New(rand.NewPCG(7, uint64(changes)))
	users := b.users(5)
	id, other := b.group(users[0], users[1]), b.group(users[0])
	var outcomes []<-chan error
	for i := range changes {
		u, v, at := users[rng.IntN(5)], users[rng.IntN(5)], someTime(i)
		seq := 1 + rng.Int64N(int64(i+3))
		var run write
		switch rng.IntN(12) {
		case 0:
			run = edit(id, seq, fmt.Sprint("edit ", i), at, rng.IntN(3) == 0, v)
		case 1:
			run = edit(id, seq, fmt.Sprint("edit ", i), at, false)
		case 2:
			run = erase(id, seq, at)
		case 3:
			run = join(id, u, chat.RoleMember)
		case 4:
			run = leave(id, u)
		case 5:
			run = setRole(id, u, chat.RoleAdmin)
		case 6:
			run = rename(id, fmt.Sprint("title ", i))
		case 7:
			run = text(other, users[0], "elsewhere")
		default:
			run = send(chat.Message{
				Chat: id, Sender: u, Content: fmt.Sprint("message ", i), CreatedAt: at,
				Mentions: users[:rng.IntN(3)], MentionAll: rng.IntN(8) == 0,
			}, "")
		}
		outcomes = append(outcomes, b.start(run))
	}
	for _, c := range outcomes {
		if err := wait(b, "done", c); err != nil && !errors.Is(err, chat.ErrNotFound) {
			b.Fatal(err)
		}
	}
	CheckLog(b, b.store, id, other)
	return id, users, rng
}
