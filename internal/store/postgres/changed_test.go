package postgres

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/pgtest"
)

// Whatever several nodes write, remember, forget and delete, and whoever in the
// cluster holds LastStamp up meanwhile: what changed lately gives each sync what
// the memberships give.
func TestWhatChangedLatelyIsWhatChanged(t *testing.T) {
	for name, set := range map[string]func(*Config){
		"remembering all": func(c *Config) { c.alwaysLookUp = true },
		"forgetting soon": func(c *Config) { c.alwaysLookUp, c.recent = true, 5 },
		"deleting soon":   func(c *Config) { c.alwaysLookUp, c.keep = true, 50*time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			const chats, people, rounds = 12, 3, 300
			three := nodes(t, 3, set)
			var ids []chat.ChatID
			for i := range chats {
				ids = append(ids, makeChat(t, three[i%3], 9, chat.UserID(1+i%people)))
			}
			stranger, err := pgx.Connect(t.Context(), three[0].pool.Config().ConnString())
			if err != nil {
				t.Fatal(err)
			}
			var (
				held   pgx.Tx
				stamps = []int64{0, 1}
				few    int
			)
			for n := range rounds {
				if n%20 == 10 {
					if held, err = stranger.Begin(t.Context()); err == nil {
						_, err = held.Exec(t.Context(), "SELECT pg_current_xact_id()")
					}
				} else if n%20 == 17 {
					err = held.Rollback(t.Context())
				}
				if err != nil {
					t.Fatal(err)
				}
				id, user := ids[rand.IntN(chats)], chat.UserID(1+rand.IntN(people))
				mustUpdate(t, three[rand.IntN(3)], func(tx chat.Tx) error {
					p, err := tx.Participant(id, user)
					switch {
					case err == nil && p.In() && rand.IntN(2) == 0:
						return tx.PutReadMark(id, user, p.ReadSeq+1)
					case err == nil && p.In() && rand.IntN(4) == 0:
						c, err := tx.Chat(id)
						if err != nil {
							return err
						}
						c.LastSeq++
						p.LeftSeq, p.UpdatedSeq = c.LastSeq, c.LastSeq
						c.UpdatedSeq = max(c.UpdatedSeq, 1)
						if err := tx.PutParticipant(p); err != nil {
							return err
						}
						if err := tx.PutReadMark(id, user, p.ReadSeq); err != nil {
							return err
						}
						return tx.PutChat(c)
					default:
						_, err := send(tx, id, 9, "", fmt.Sprint("message ", n))
						return err
					}
				})
				view(t, three[rand.IntN(3)], func(cr chat.Reader) error {
					r := cr.(*reader)
					last, err := r.LastStamp()
					if err != nil {
						return err
					}
					stamps = append(stamps, last, last+1)
					pos := chat.SyncPos{After: stamps[rand.IntN(len(stamps))]}
					if rand.IntN(2) == 0 {
						pos.After = stamps[max(0, len(stamps)-1-rand.IntN(20))]
					}
					if rand.IntN(3) == 0 {
						pos.AfterChat = ids[rand.IntN(chats)]
					}
					user, limit := chat.UserID(1+rand.IntN(people)), 1+rand.IntN(6)
					if pos.After > 0 {
						if _, ok, err := r.candidates(user, pos, 1000); err != nil {
							return err
						} else if ok {
							few++
						}
					}
					got, err := r.ChangedChats(user, pos, limit)
					if err != nil {
						return err
					}
					r.lately, r.recent = nil, nil
					want, err := r.ChangedChats(user, pos, limit)
					if d := cmp.Diff(want, got); d != "" {
						t.Fatalf("round %d: what changed for %d above %+v (-memberships +lately):\n%s", n, user, pos, d)
					}
					return err
				})
			}
			if err := stranger.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if few < rounds/10 {
				t.Errorf("what changed lately was known in %d of %d rounds only", few, rounds)
			}
			var rows int
			if err := three[0].pool.QueryRow(t.Context(), "SELECT count(*) FROM changed").Scan(&rows); err != nil {
				t.Fatal(err)
			}
			if deleted := rows < rounds/2; deleted != (name == "deleting soon") {
				t.Errorf("%d rows are kept of %d", rows, rounds)
			}
		})
	}
}

// since is what the log has above a stamp, in a snapshot of s.
func since(t testing.TB, s *Store, after int64) (c changes) {
	t.Helper()
	view(t, s, func(r chat.Reader) (err error) {
		c, err = r.(*reader).changesSince(after, 100)
		return err
	})
	return c
}

// final waits until nothing is under way below the newest stamp, and gives it: the
// cluster itself has transactions now and then, which analyse tables.
func final(t testing.TB, s *Store) (last int64) {
	t.Helper()
	for newest := int64(-1); last != newest; {
		view(t, s, func(r chat.Reader) (err error) {
			if last, err = r.LastStamp(); err == nil {
				newest, err = r.(*reader).count("read the newest stamp", ask(`SELECT max(stamp) FROM writers`))
			}
			return err
		})
	}
	return last
}

// The log says what each transaction wrote, to whoever begins, too; and of whoever
// stands below what was deleted, that it does not.
func TestTheLogOfWhatChanged(t *testing.T) {
	url := pgtest.New(t)
	s := open(t, url, func(c *Config) { c.keep = time.Hour })
	first := final(t, s)
	if c := since(t, s, 0); !c.whole || !c.complete || len(c.list) > 0 {
		t.Errorf("an empty store: %+v", c)
	}
	id := makeChat(t, s, 1, 2)
	second := final(t, s)
	want := []change{{second, chat.Place{Chat: id}}, {second, chat.Place{Chat: id, User: 1}}, {second, chat.Place{Chat: id, User: 2}}}
	if c := since(t, s, first); !c.whole || !c.complete || c.upto != second || !slices.Equal(c.list, want) {
		t.Errorf("a chat is new: %+v, want %v", c, want)
	}
	mustUpdate(t, s, func(tx chat.Tx) error { return tx.PutReadMark(id, 2, 2) })
	third := final(t, s)
	want = []change{{third, chat.Place{Chat: id, User: 2}}}
	other := open(t, url, func(c *Config) { c.keep = time.Nanosecond })
	for _, s := range []*Store{s, other} {
		if c := since(t, s, second); !c.whole || !c.complete || c.upto != third || !slices.Equal(c.list, want) {
			t.Errorf("a mark moved: %+v, want %v", c, want)
		}
		view(t, s, func(r chat.Reader) error {
			list, _, ok, err := r.(chat.ChangeLog).PeopleChanged(first, 3)
			if err == nil && (ok || list != nil) {
				t.Errorf("more than there are to be: %v, %v", list, ok)
			}
			if err != nil {
				return err
			}
			list, upto, ok, err := r.(chat.ChangeLog).PeopleChanged(second, 3)
			if !ok || upto != third || !slices.Equal(list, []chat.Place{want[0].at}) {
				t.Errorf("people changed: %v up to %d, %v", list, upto, ok)
			}
			return err
		})
	}
	// The other one deletes below its last but one.
	var stamps []int64
	for range 3 {
		if err := do(other, sendOp(id, 1, "", "hi", nil)); err != nil {
			t.Fatal(err)
		}
		stamps = append(stamps, final(t, other))
	}
	for _, s := range []*Store{s, other} {
		if c := since(t, s, stamps[0]); c.whole || c.forgot != stamps[1] {
			t.Errorf("it goes back to what was deleted: %+v, want only to %d", c, stamps[1])
		}
		if c := since(t, s, stamps[1]); !c.whole || !slices.Equal(c.list, []change{{stamps[2], chat.Place{Chat: id}}}) {
			t.Errorf("it does not go back to what is there: %+v, want %d", c, stamps[2])
		}
		view(t, s, func(r chat.Reader) error {
			if list, _, ok, err := r.(chat.ChangeLog).PeopleChanged(second, 100); err != nil || ok || list != nil {
				t.Errorf("whoever stands below hears %v, %v, %v", list, ok, err)
			}
			list, err := r.ChangedChats(2, chat.SyncPos{After: second}, 10)
			if len(list) != 1 || list[0].Participant.ReadSeq != 2 || list[0].Chat.LastSeq != 5 {
				t.Errorf("and syncs %+v", list)
			}
			return err
		})
	}
	// Also when whoever deleted it has long gone.
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	exec(t, url, `UPDATE writers SET used_at = 0, stamp = stamp - 1 WHERE forgot > 0`)
	if err := do(s, sendOp(id, 1, "", "hi", nil)); err != nil {
		t.Fatal(err)
	}
	third1 := open(t, url)
	if c := since(t, third1, stamps[0]); c.whole || c.forgot != stamps[1] {
		t.Errorf("it goes back to what was deleted by who has gone: %+v", c)
	}
}

// A transaction that began first commits last, on another node: whoever read
// meanwhile, on whichever way, hears of it then, and also if what is above it was
// deleted already.
func TestWhatIsLateHasChangedToo(t *testing.T) {
	for name, set := range map[string]func(*Config){
		"kept":           func(c *Config) { c.alwaysLookUp = true },
		"deleted":        func(c *Config) { c.alwaysLookUp, c.keep = true, time.Nanosecond },
		"by memberships": func(c *Config) { c.recent = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			three := nodes(t, 3, set)
			slow, fast := makeChat(t, three[0], 1, 2), makeChat(t, three[0], 1, 2)
			before := final(t, three[0])
			read := func(s *Store, after int64) (chats map[chat.ChatID]int64, people []chat.Place, upto int64, whole bool) {
				chats = map[chat.ChatID]int64{}
				view(t, s, func(r chat.Reader) error {
					list, err := r.ChangedChats(2, chat.SyncPos{After: after, AfterChat: math.MaxInt64}, 100)
					if err != nil {
						return err
					}
					for _, c := range list {
						chats[c.Chat.ID] = c.Chat.LastSeq
					}
					people, upto, whole, err = r.(chat.ChangeLog).PeopleChanged(after, 100)
					return err
				})
				return chats, people, upto, whole
			}
			read(three[1], before) // it has begun

			wrote, goOn, heard := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			stopped := false
			three[0].Update(chat.Op{Chat: slow, User: 1, Run: func(tx chat.Tx) error {
				_, err := send(tx, slow, 1, "", "slow")
				if err == nil {
					err = tx.PutParticipant(chat.Participant{Chat: slow, User: 3, Role: chat.RoleMember, JoinedSeq: 3, UpdatedSeq: 3})
				}
				if !stopped { // it may be tried again
					stopped = true
					close(wrote)
					<-goOn
				}
				return err
			}}, func(err error) { heard <- err })
			<-wrote
			upto, late := before, int64(0)
			for i := range 5 {
				if err := do(three[2], sendOp(fast, 1, fmt.Sprint(i), "fast", nil)); err != nil {
					t.Fatal(err)
				}
				chats, _, to, whole := read(three[1], upto)
				if chats[fast] != int64(3+i) || chats[slow] != 0 {
					t.Errorf("meanwhile it reads %v", chats)
				}
				if name == "kept" && !whole {
					t.Error("the log is not whole")
				}
				upto = to
			}
			close(goOn)
			if err := <-heard; err != nil {
				t.Fatal(err)
			}
			view(t, three[1], func(r chat.Reader) error {
				c, err := r.Chat(slow)
				late = c.Stamp
				return err
			})
			var newest int64
			view(t, three[1], func(r chat.Reader) error {
				c, err := r.Chat(fast)
				newest = c.Stamp
				return err
			})
			if late >= newest || upto >= late {
				t.Fatalf("the slow one has the stamp %d, others up to %d, and read was up to %d: it was not late", late, newest, upto)
			}
			for n, s := range three { // who has read, who wrote, and who begins
				chats, people, _, whole := read(s, upto)
				if chats[slow] != 3 || chats[fast] != 7 {
					t.Errorf("node %d: after %d it reads %v", n, upto, chats)
				}
				if whole != (name == "kept" || name == "by memberships") {
					t.Errorf("node %d: the log is whole: %v", n, whole)
				}
				if whole && !slices.Contains(people, chat.Place{Chat: slow, User: 3}) {
					t.Errorf("node %d: who came in is not among %v", n, people)
				}
			}
		})
	}
}

// What was deleted comes back to nobody, however much there is: it goes some at a
// time, and what was late goes, too.
func TestTheLogIsDeletedInPieces(t *testing.T) {
	url := pgtest.New(t)
	s := open(t, url)
	id := makeChat(t, s, 1, 2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	exec(t, url, fmt.Sprintf(`INSERT INTO changed SELECT -n, '{1}', '{}', '{}' FROM generate_series(1, %d) n`, 5*pruneAtOnce/2))
	s = open(t, url, func(c *Config) { c.keep = time.Nanosecond })
	rows := func() (n int64) {
		view(t, s, func(r chat.Reader) (err error) {
			n, err = r.(*reader).count("count the log", ask(`SELECT count(*) FROM changed`))
			return err
		})
		return n
	}
	began := rows()
	for i, want := range []int64{began + 1, began + 2 - pruneAtOnce, began + 3 - 2*pruneAtOnce, 2, 2} {
		if err := do(s, sendOp(id, 1, "", "hi", nil)); err != nil {
			t.Fatal(err)
		}
		if n := rows(); n != want {
			t.Errorf("after send %d there are %d rows, want %d", i, n, want)
		}
	}
	mustUpdate(t, s, func(chat.Tx) error { // on the writer's goroutine, whose they are
		if n := len(s.writer.prune.marks); n > 2 {
			t.Errorf("%d marks are left", n)
		}
		return nil
	})
}

// A store from before there was a log: of what was then nothing is known, and all
// of what comes.
func TestALogIsAddedToAStore(t *testing.T) {
	url := pgtest.New(t)
	s := open(t, url)
	one, two := makeChat(t, s, 1, 2), makeChat(t, s, 1, 2)
	middle := final(t, s)
	if err := do(s, sendOp(two, 1, "", "before", nil)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	exec(t, url, `DROP TABLE changed, user_words; ALTER TABLE writers DROP COLUMN forgot; UPDATE meta SET value = '1' WHERE name = 'version'`)
	epoch := s.Epoch()
	s = open(t, url, func(c *Config) { c.alwaysLookUp = true })
	if s.Epoch() != epoch {
		t.Error("the epoch is another")
	}
	begins := final(t, s)
	if c := since(t, s, middle); c.whole || c.forgot != begins {
		t.Errorf("it knows what was before: %+v", c)
	}
	for range 2 { // before and after it begins anew
		view(t, s, func(r chat.Reader) error {
			list, err := r.ChangedChats(2, chat.SyncPos{After: middle}, 10)
			if len(list) != 1 || list[0].Chat.ID != two {
				t.Errorf("what changed is %+v", list)
			}
			return err
		})
	}
	if err := do(s, sendOp(one, 1, "", "after", nil)); err != nil {
		t.Fatal(err)
	}
	if c := since(t, s, begins); !c.whole || len(c.list) != 1 || c.list[0].at != (chat.Place{Chat: one}) {
		t.Errorf("what came is %+v", c)
	}
	view(t, s, func(r chat.Reader) error {
		list, err := r.ChangedChats(2, chat.SyncPos{After: begins}, 10)
		if len(list) != 1 || list[0].Chat.ID != one || r.(*reader).recent == nil {
			t.Errorf("what changed since is %+v", list)
		}
		return err
	})
}

// Of a history that goes on elsewhere nothing is known either.
func TestALogIsNotRestored(t *testing.T) {
	url := pgtest.New(t)
	s := open(t, url)
	id := makeChat(t, s, 1, 2)
	last := final(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	exec(t, url, `UPDATE meta SET value = 'another/00000001/1/2' WHERE name = 'home'`)
	s = open(t, url)
	if c := since(t, s, last-1); c.whole || len(c.list) > 0 || c.forgot != last {
		t.Errorf("it knows what was before: %+v", c)
	}
	begins := final(t, s)
	if err := do(s, sendOp(id, 1, "", "after", nil)); err != nil {
		t.Fatal(err)
	}
	if c := since(t, s, begins); !c.whole || len(c.list) != 1 {
		t.Errorf("what came is %+v", c)
	}
}

// A log that is longer than somebody's memberships is worth is read in pieces, by
// one sync after the other.
func TestALongLogIsReadInPieces(t *testing.T) {
	s := open(t, pgtest.New(t))
	id := makeChat(t, s, 1, 2)
	before := final(t, s)
	for i := range 5 {
		if err := do(s, sendOp(id, 1, fmt.Sprint(i), "hi", nil)); err != nil {
			t.Fatal(err)
		}
	}
	last := final(t, s)
	for i := range 10 {
		known := false
		view(t, s, func(r chat.Reader) error {
			ids, ok, err := r.(*reader).candidates(2, chat.SyncPos{After: before, AfterChat: math.MaxInt64}, 3)
			if known = ok; ok && !slices.Equal(ids, []int64{int64(id)}) {
				t.Errorf("what changed is %v", ids)
			}
			return err
		})
		if _, upto := s.lately.at(); known != (upto == last) {
			t.Errorf("in sync %d it is known: %v, up to %d of %d", i, known, upto, last)
		}
		if known {
			if i < 1 {
				t.Error("at once")
			}
			return
		}
	}
	t.Error("it is never known")
}

var (
	seqScan     = regexp.MustCompile(`Seq Scan on (chats|participants|changed)`)
	rowsRead    = regexp.MustCompile(`rows=(\d+) loops=(\d+)`)
	buffersRead = regexp.MustCompile(`Buffers: shared hit=(\d+)`)
)

// For somebody in ten thousand chats a sync after three changes reads the rows of
// these, by indexes, and so does what finds them.
func TestASyncReadsWhatChanged(t *testing.T) {
	const chats = 10_000
	url := pgtest.New(t)
	s := open(t, url)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{ctx: t.Context(), conn: conn}
	for name, value := range viewSettings() {
		if err := r.send(ask(`SELECT set_config($1, $2, false)`, name, value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.send(tenThousandChats(chats)...); err != nil {
		t.Fatal(err)
	}
	for _, id := range []chat.ChatID{10, 4000, 9000} {
		if err := do(s, sendOp(id, 1, "", "hi", nil)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		what, types, sql, args string
		indexes                []string
		most                   int
	}{
		{"what changed", "bigint, bigint", selChangedSince, "1, 100", []string{"changed_pkey"}, 10},
		{"few of somebody's", "bigint, bigint, bigint, bigint, bigint, bigint", selChangedFew, "1, 1, 9223372036854775807, 100, 0, 256", []string{"One-Time Filter", "participants_by_user"}, 257},
		{"those of somebody's", "bigint, bigint, bigint, bigint, bigint, bigint[]", selChangedAmong, "1, 1, 9223372036854775807, 100, 0, ARRAY[10, 4000, 9000]", []string{"chats_pkey", "participants_"}, 10},
		{"all of somebody's", "bigint, bigint, bigint, bigint, bigint", selChangedChats, "1, 1, 9223372036854775807, 100, 0", nil, 0},
	} {
		var plan strings.Builder
		explain := ask(`EXPLAIN (ANALYZE, BUFFERS) EXECUTE x (` + c.args + `)`)
		explain.row = func(c *columns) error {
			plan.WriteString(c.Text() + "\n")
			return nil
		}
		if err := r.send(ask(`PREPARE x (`+c.types+`) AS `+c.sql), explain, ask(`DEALLOCATE x`)); err != nil {
			t.Fatal(err)
		}
		text, rows := plan.String(), 0
		for _, m := range rowsRead.FindAllStringSubmatch(text, -1) {
			n, err1 := strconv.Atoi(m[1])
			loops, err2 := strconv.Atoi(m[2])
			if err1 != nil || err2 != nil {
				t.Fatal(m)
			}
			rows = max(rows, n*loops)
		}
		buffers := buffersRead.FindStringSubmatch(text)
		t.Logf("%s: %d rows, %v", c.what, rows, buffers)
		if c.most == 0 {
			if rows < chats {
				t.Errorf("%s: %d rows, so this does not measure what was read:\n%s", c.what, rows, text)
			}
			continue
		}
		for _, want := range c.indexes {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %s is not used:\n%s", c.what, want, text)
			}
		}
		if seqScan.MatchString(text) || strings.Contains(text, "Filter: (user_id") || rows > c.most || buffers == nil || len(buffers[1]) > 2 {
			t.Errorf("%s: %d rows are read:\n%s", c.what, rows, text)
		}
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// tenThousandChats has so many chats of four, of which somebody is in all, and
// somebody else in 30.
func tenThousandChats(n int) []query {
	return []query{
		ask(`INSERT INTO chats (chat_id, kind, title, topic, history, body_hash, created_at, last_seq, updated_seq, stamp, listed)
SELECT i, 'group', 'a group of some people', '', 'all', '\x00112233445566778899aabbccddeeff', 0, 1, 1, 1, false FROM generate_series(1, $1::bigint) i`, int64(n)),
		ask(`INSERT INTO participants (chat_id, user_id, role, joined_seq, left_seq, read_seq, updated_seq, stamp, notify)
SELECT i, CASE u WHEN 1 THEN 1 ELSE u * 100000 + i END, 'owner', 1, 0, 0, 1, 0, '' FROM generate_series(1, $1::bigint) i, generate_series(1, 4) u`, int64(n)),
		ask(`INSERT INTO participants (chat_id, user_id, role, joined_seq, left_seq, read_seq, updated_seq, stamp, notify)
SELECT i * 7 + 1, 2, 'owner', 1, 0, 0, 1, 0, '' FROM generate_series(1, 30) i`),
		ask(`UPDATE counters SET value = $1 WHERE name = 'chat'`, int64(n)),
		ask(`ANALYZE`),
	}
}

// BenchmarkChangedChats is what a sync asks first, by somebody in all of ten
// thousand chats, and by somebody in 30: which of them changed in the last so many
// commits.
func BenchmarkChangedChats(b *testing.B) {
	const chats = 10_000
	for _, c := range []struct {
		name string
		set  func(*Config)
	}{
		{"lately", func(*Config) {}},
		{"memberships", func(c *Config) { c.recent = -1 }},
	} {
		url := pgtest.New(b)
		s := open(b, url, c.set)
		conn, err := pgx.Connect(b.Context(), url)
		if err != nil {
			b.Fatal(err)
		}
		if err := (&reader{ctx: b.Context(), conn: conn}).send(tenThousandChats(chats)...); err != nil {
			b.Fatal(err)
		}
		if err := conn.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		stamps := make([]int64, 1001)
		for i := range stamps {
			if err := do(s, sendOp(chat.ChatID(1+i*7%chats), 1, "", body, nil)); err != nil {
				b.Fatal(err)
			}
			if ago := 1000 - i; ago == 0 || ago == 10 || ago == 1000 {
				stamps[i] = final(b, s)
			}
		}
		view(b, s, func(r chat.Reader) error { // a scan
			_, _, _, err := r.(chat.ChangeLog).PeopleChanged(0, 1<<17)
			return err
		})
		for _, user := range []chat.UserID{1, 2} {
			for _, ago := range []int{0, 10, 1000} {
				b.Run(fmt.Sprintf("%s/in=%d/ago=%d", c.name, []int{0, chats, 30}[user], ago), func(b *testing.B) {
					var took []time.Duration
					for b.Loop() {
						began := time.Now()
						view(b, s, func(r chat.Reader) error {
							list, err := r.ChangedChats(user, chat.SyncPos{After: stamps[1000-ago]}, 100)
							if user == 1 && len(list) != min(ago, 100) {
								b.Fatalf("%d chats", len(list))
							}
							return err
						})
						took = append(took, time.Since(began))
					}
					slices.Sort(took)
					b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
					b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
				})
			}
		}
	}
}
