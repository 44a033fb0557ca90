package transfer_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/pgtest"
	"github.com/grima-chat/grima/internal/store/sqlite"
	"github.com/grima-chat/grima/internal/store/transfer"
)

// do carries an update out.
func do(t testing.TB, s chat.Store, run func(chat.Tx) error) {
	t.Helper()
	done := make(chan error, 1)
	s.Update(chat.Op{Run: run}, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// populate makes ana, and groups of hers; the n-th has the id n.
func populate(t testing.TB, s chat.Store, groups int) {
	t.Helper()
	do(t, s, func(tx chat.Tx) error {
		id, err := tx.NewUserID()
		if err != nil {
			return err
		}
		return tx.PutUser(chat.User{ID: id, Username: "ana", Name: "Ana \x00\x01", Role: chat.RoleOwner, CreatedAt: tx.Now()})
	})
	for range groups {
		do(t, s, func(tx chat.Tx) error {
			id, err := tx.NewChatID()
			if err != nil {
				return err
			}
			return errors.Join(
				tx.PutChat(chat.Chat{ID: id, Kind: chat.KindGroup, History: chat.HistoryAll, CreatedBy: 1, CreatedAt: tx.Now(), LastSeq: 1, UpdatedSeq: 1}),
				tx.PutParticipant(chat.Participant{Chat: id, User: 1, Role: chat.RoleOwner, JoinedSeq: 1, UpdatedSeq: 1}))
		})
	}
}

// say puts a message into a chat, with a key.
func say(t testing.TB, s chat.Store, id chat.ChatID, key string) {
	t.Helper()
	do(t, s, func(tx chat.Tx) error {
		c, err := tx.Chat(id)
		if err != nil {
			return err
		}
		c.LastSeq++
		m := chat.Message{Chat: id, Seq: c.LastSeq, UpdatedSeq: c.LastSeq, Sender: 1, Content: key, CreatedAt: tx.Now(), Mentions: []chat.UserID{1}}
		return errors.Join(tx.PutChat(c), tx.PutMessage(m), tx.PutSent(chat.Sent{Sender: 1, ClientMsgID: key, Chat: id, Seq: m.Seq, CreatedAt: m.CreatedAt}))
	})
}

func see(t testing.TB, s chat.Store, fn func(chat.Reader) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func lastStamp(t testing.TB, s chat.Store) (last int64) {
	t.Helper()
	see(t, s, func(r chat.Reader) (err error) { last, err = r.LastStamp(); return err })
	return last
}

// since are the chats of ana's that changed after a position, which must be one
// that is taken (chat.Service.Sync refuses others).
func since(t testing.TB, s chat.Store, pos chat.SyncPos) (ids []chat.ChatID) {
	t.Helper()
	see(t, s, func(r chat.Reader) error {
		last, err := r.LastStamp()
		if err != nil {
			return err
		}
		if pos.After > last+1 || pos.After == last+1 && pos.AfterChat == 0 {
			return fmt.Errorf("the position %+v is ahead of %d", pos, last)
		}
		rows, err := r.ChangedChats(1, pos, 100)
		for _, row := range rows {
			ids = append(ids, row.Chat.ID)
		}
		return err
	})
	slices.Sort(ids)
	return ids
}

func want(t testing.TB, what string, got []chat.ChatID, chats ...chat.ChatID) {
	t.Helper()
	if !slices.Equal(got, chats) {
		t.Errorf("%s changed: %v, want %v", what, got, chats)
	}
}

func closeStore(t testing.TB, s chat.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A position of before a move lists what changed since, neither more nor less,
// also where another transaction of the cluster is under way meanwhile, which
// keeps what comes later from being final.
func TestPositionsGoAlong(t *testing.T) {
	for _, busy := range []bool{false, true} {
		t.Run(fmt.Sprintf("another transaction is under way: %v", busy), func(t *testing.T) {
			dir, url := place(t.TempDir()), place(pgtest.New(t))
			s := dir.serve(t)
			populate(t, s, 3)
			first := lastStamp(t, s)
			say(t, s, 2, "one")
			last := lastStamp(t, s)
			epoch := s.Epoch()
			closeStore(t, s)

			end := func() {}
			if busy {
				c := connect(t, pgtest.New(t))
				if _, err := c.Exec(t.Context(), "BEGIN; SELECT pg_current_xact_id()"); err != nil {
					t.Fatal(err)
				}
				end = func() {
					if _, err := c.Exec(t.Context(), "ROLLBACK"); err != nil {
						t.Fatal(err)
					}
				}
			}
			mustMove(t, dir, url)
			s = url.serve(t)
			if s.Epoch() != epoch {
				t.Errorf("the epoch was %s and is %s", epoch, s.Epoch())
			}
			want(t, "since the beginning of it", since(t, s, chat.SyncPos{After: first}), 2)
			want(t, "since the end", since(t, s, chat.SyncPos{After: last}))
			say(t, s, 1, "two")
			want(t, "after the move", since(t, s, chat.SyncPos{After: last}), 1)
			end()
			want(t, "after the other transaction", since(t, s, chat.SyncPos{After: last}), 1)
			second := lastStamp(t, s)
			say(t, s, 3, "three")
			want(t, "since then", since(t, s, chat.SyncPos{After: second}), 3)
			closeStore(t, s)

			mustMove(t, url, dir) // which has an older state
			s = dir.serve(t)
			defer closeStore(t, s)
			if s.Epoch() != epoch {
				t.Errorf("the epoch was %s and is %s", epoch, s.Epoch())
			}
			want(t, "since the end, at home again", since(t, s, chat.SyncPos{After: last}), 1, 3)
			want(t, "since then, at home again", since(t, s, chat.SyncPos{After: second}), 3)
			say(t, s, 2, "four")
			want(t, "since then, and after it", since(t, s, chat.SyncPos{After: second}), 2, 3)
		})
	}
}

// A position among changes that are not final yet (stamps.go of the PostgreSQL
// store) is one above LastStamp, with a chat. What changes after the move, in a
// chat below that one, comes after it all the same.
func TestPositionAmongWhatIsNotFinal(t *testing.T) {
	dir, url := place(t.TempDir()), place(pgtest.New(t))
	s := url.serve(t)
	populate(t, s, 3)
	other := connect(t, pgtest.New(t))
	if _, err := other.Exec(t.Context(), "BEGIN; SELECT pg_current_xact_id()"); err != nil {
		t.Fatal(err)
	}
	say(t, s, 1, "one")
	say(t, s, 2, "two")
	last := lastStamp(t, s)
	want(t, "above what is final", since(t, s, chat.SyncPos{After: last}), 1, 2)
	among := chat.SyncPos{After: last + 1, AfterChat: 2}
	want(t, "behind both", since(t, s, among))
	closeStore(t, s)
	mustMove(t, url, dir)
	s = dir.serve(t)
	defer closeStore(t, s)
	say(t, s, 1, "three")
	want(t, "since a position among them", since(t, s, among), 1, 2)
	want(t, "since the position before them", since(t, s, chat.SyncPos{After: last}), 1, 2)
}

// Keys of sends and ids go on where they were.
func TestKeysAndIDsGoAlong(t *testing.T) {
	dir, url := place(t.TempDir()), place(pgtest.New(t))
	const uuid = "0f8c2a4e-7d11-4a0e-9f1c-3a1f0b6f8a11"
	s := dir.serve(t)
	populate(t, s, 1)
	for _, key := range []string{"t", "u", "ключ \x00", uuid, "0F8C2A4E-7d11-4a0e-9f1c-3a1f0b6f8a11"} {
		say(t, s, 1, key)
	}
	for _, to := range []place{url, dir} {
		closeStore(t, s)
		from := map[place]place{url: dir, dir: url}[to]
		mustMove(t, from, to)
		s = to.serve(t)
		see(t, s, func(r chat.Reader) error {
			for i, key := range []string{"t", "u", "ключ \x00", uuid, "0F8C2A4E-7d11-4a0e-9f1c-3a1f0b6f8a11"} {
				if sent, err := r.Sent(1, key); err != nil || sent.Seq != int64(i)+2 || sent.ClientMsgID != key {
					t.Errorf("%q is %+v, %v", key, sent, err)
				}
			}
			return nil
		})
	}
	defer closeStore(t, s)
	do(t, s, func(tx chat.Tx) error {
		user, err1 := tx.NewUserID()
		id, err2 := tx.NewChatID()
		if user != 2 || id != 2 {
			t.Errorf("the next ids are %d and %d", user, id)
		}
		return errors.Join(err1, err2)
	})
}

// While a server is there its state is copied, and nothing can be served from
// the copy; with the server stopped the rest comes along. Nobody can open what
// is being moved.
func TestMoveBesideServers(t *testing.T) {
	for _, to := range []place{place(pgtest.New(t)), place(t.TempDir())} {
		from := place(t.TempDir())
		if !to.shared() {
			from = place(pgtest.New(t))
		}
		t.Run(fmt.Sprintf("to PostgreSQL: %v", to.shared()), func(t *testing.T) {
			s := from.serve(t)
			populate(t, s, 2)
			say(t, s, 1, "one")
			r, err := move(t.Context(), from, to, false, nil)
			if err != nil || r.Finished || r.Digest.Rows("messages") != 1 {
				t.Fatalf("beside the server: %+v, %v", r, err)
			}
			to.refuses(t, "a copy into it is not finished")
			say(t, s, 2, "two")
			closeStore(t, s)

			ctx := context.Background()
			a, err := from.source(ctx)
			if err != nil {
				t.Fatal(err)
			}
			from.refuses(t, map[bool]string{true: "grima copy has this database for itself", false: "in use by another process"}[from.shared()])
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			closeStore(t, from.serve(t)) // and afterwards they can

			r = mustMove(t, from, to)
			if r.Digest.Rows("messages") != 2 {
				t.Errorf("%d messages came along", r.Digest.Rows("messages"))
			}
			from.refuses(t, "it was moved to "+string(to))
			if _, err := move(t.Context(), from, to, false, nil); err == nil {
				t.Error("it can be moved twice")
			}

			s = to.serve(t)
			say(t, s, 1, "three")
			if _, err := move(t.Context(), from, to, false, nil); err == nil {
				t.Error("an older state goes over what is served")
			}
			closeStore(t, s)
		})
	}
}

// A server that lost its connection before a move and finds the database again
// after it does not write to what was moved away.
func TestServerComesBackAfterTheMove(t *testing.T) {
	url, dir := place(pgtest.New(t)), place(t.TempDir())
	s := url.serve(t)
	populate(t, s, 1)
	admin := connect(t, pgtest.Admin(t, string(url)))
	if _, err := admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`); err != nil {
		t.Fatal(err)
	}
	var r transfer.Result
	for !r.Finished { // until the server has noticed that its connections are gone
		var err error
		if r, err = move(t.Context(), url, dir, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	s.Update(chat.Op{Run: func(tx chat.Tx) error {
		return tx.PutUser(chat.User{ID: 1, Username: "eve", Role: chat.RoleOwner, CreatedAt: time.Now()})
	}}, func(err error) { done <- err })
	if err := <-done; chat.CodeOf(err) != chat.CodeUnavailable {
		t.Errorf("a write to what was moved: %v", err)
	}
	select {
	case <-s.Failed():
	default:
		t.Error("the server goes on")
	}
	closeStore(t, s)
}

// A fork is a store of its own, of a server that goes on.
func TestFork(t *testing.T) {
	from, to := place(pgtest.New(t)), place(t.TempDir())
	s := from.serve(t)
	populate(t, s, 1)
	say(t, s, 1, "one")
	r, err := move(t.Context(), from, to, true, nil)
	if err != nil || !r.Finished {
		t.Fatal(r, err)
	}
	say(t, s, 1, "two")
	fork := to.serve(t)
	if fork.Epoch() == s.Epoch() {
		t.Error("both have one epoch")
	}
	say(t, fork, 1, "two")
	closeStore(t, fork)
	closeStore(t, s)
	if _, err := move(t.Context(), from, to, false, nil); err == nil {
		t.Error("it goes over the fork")
	}
}

var errKilled = errors.New("killed")

// killed ends a copy before or after its n-th call that writes.
type killed struct {
	side
	at    int
	after bool
	calls int
}

func (k *killed) doing(do func() error) error {
	k.calls++
	if k.calls == k.at && !k.after {
		return errKilled
	}
	err := do()
	if err == nil && k.calls == k.at {
		err = errKilled
	}
	return err
}

func (k *killed) Begin(ctx context.Context, m transfer.Incoming) error {
	return k.doing(func() error { return k.side.Begin(ctx, m) })
}

func (k *killed) Write(ctx context.Context, t *transfer.Table, drop, put []transfer.Row) error {
	return k.doing(func() error { return k.side.Write(ctx, t, drop, put) })
}

func (k *killed) Finish(ctx context.Context, f transfer.Facts) error {
	return k.doing(func() error { return k.side.Finish(ctx, f) })
}

// A copy that is ended at any of its steps goes on from there, in both
// directions, and nothing of it is served before it is done.
func TestStoresAreCopiedInSteps(t *testing.T) {
	for _, pair := range [][2]place{{place(t.TempDir()), place(pgtest.New(t))}, {place(pgtest.New(t)), place(t.TempDir())}} {
		from, to := pair[0], pair[1]
		s := from.serve(t)
		populate(t, s, 3)
		for i := range 5 {
			say(t, s, chat.ChatID(i%3+1), fmt.Sprint(i))
		}
		closeStore(t, s)
		steps := 0
		for k := 1; ; k++ {
			r, err := move(t.Context(), from, to, false, func(s side) transfer.Store { return &killed{side: s, at: (k + 1) / 2, after: k%2 == 0} })
			if err == nil {
				if !r.Finished || r.Digest.Rows("messages") != 5 {
					t.Errorf("%+v", r)
				}
				break
			}
			if !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			if steps++; k > 1 { // before the first there is nothing of ours
				to.refuses(t, "a copy into it is not finished")
			}
		}
		if steps < 4 {
			t.Errorf("it was ended %d times only", steps)
		}
		closeStore(t, to.serve(t))
	}
}

// forgetful stores something else than it is given.
type forgetful struct{ side }

func (f forgetful) Write(ctx context.Context, t *transfer.Table, drop, put []transfer.Row) error {
	if t.Name == "messages" && len(put) > 0 {
		put = slices.Clone(put)
		put[0] = slices.Clone(put[0])
		put[0][4].Bytes = []byte("something else")
	}
	return f.side.Write(ctx, t, drop, put)
}

// What is damaged in the copy is found, and put right by the next run.
func TestDamageIsFound(t *testing.T) {
	for _, pair := range [][2]place{{place(t.TempDir()), place(pgtest.New(t))}, {place(pgtest.New(t)), place(t.TempDir())}} {
		from, to := pair[0], pair[1]
		s := from.serve(t)
		populate(t, s, 2)
		say(t, s, 2, "one")
		closeStore(t, s)
		_, err := move(t.Context(), from, to, false, func(s side) transfer.Store { return forgetful{s} })
		if err == nil || !strings.Contains(err.Error(), "messages of c_2 (1 rows, with other contents)") {
			t.Errorf("a copy that is another: %v", err)
		}
		to.refuses(t, "a copy into it is not finished")
		closeStore(t, from.serve(t))
		if r := mustMove(t, from, to); r.Written != 1 {
			t.Errorf("%d rows were put right", r.Written)
		}
	}
}

// Long contents go along wherever a store has them, there, back, and from one
// directory to another: new ones, those that were edited into others, into short
// ones or out of these since the copy before, and those that were deleted.
func TestLongContentsGoAlong(t *testing.T) {
	dir, url, other := place(t.TempDir()), place(pgtest.New(t)), place(t.TempDir())
	long := func(s string) string { return strings.Repeat(s, chat.MaxContent/len(s)) }
	now := map[int64]string{2: "short", 3: long("a"), 4: long("é"), 5: long("b"), 6: long("😀")}
	s := dir.serve(t)
	populate(t, s, 1)
	for range now {
		say(t, s, 1, rand.Text())
	}
	edit := func(contents map[int64]string) {
		t.Helper()
		do(t, s, func(tx chat.Tx) error {
			for seq, content := range contents {
				m, err1 := tx.Message(1, seq)
				c, err2 := tx.Chat(1)
				if err := errors.Join(err1, err2); err != nil {
					return err
				}
				c.LastSeq++
				m.Content, m.UpdatedSeq, m.EditedAt = content, c.LastSeq, tx.Now()
				if content == "" {
					m.DeletedAt, m.Mentions = tx.Now(), nil
				}
				if err := errors.Join(tx.PutMessage(m), tx.PutChat(c)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	edit(now)
	from := dir
	for _, then := range []struct {
		to  place
		now map[int64]string
	}{
		{url, map[int64]string{2: long("c"), 3: "short", 4: long("d"), 5: ""}},
		{dir, map[int64]string{2: "short", 3: long("e")}},
		{other, map[int64]string{2: long("f"), 4: "short"}},
		{dir, map[int64]string{3: long("g"), 6: ""}},
		{url, map[int64]string{4: long("h")}},
		{other, nil},
	} {
		closeStore(t, s)
		mustMove(t, from, then.to)
		from = then.to
		s = from.serve(t)
		see(t, s, func(r chat.Reader) error {
			for seq, content := range now {
				if m, err := r.Message(1, seq); err != nil || m.Content != content {
					t.Errorf("in %s message %d has %d bytes, want %d: %v", from, seq, len(m.Content), len(content), err)
				}
			}
			return nil
		})
		if lite, ok := s.(*sqlite.Store); ok {
			if err := lite.Check(t.Context()); err != nil {
				t.Error(err)
			}
		}
		maps.Copy(now, then.now)
		edit(then.now)
	}
	closeStore(t, s)
}
