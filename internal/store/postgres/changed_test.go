package postgres

import (
	"fmt"
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
		"deleting soon":   func(c *Config) { c.alwaysLookUp, c.keep = true, time.Millisecond },
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
					if _, ok, err := r.candidates(user, pos); err != nil {
						return err
					} else if ok {
						few++
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

// A node that begins knows what is in the log; one that has not looked for longer
// than rows are kept knows that it does not.
func TestTheLogOfWhatChanged(t *testing.T) {
	url := pgtest.New(t)
	s := open(t, url, func(c *Config) { c.keep = time.Nanosecond })
	since := func(s *Store, sql string, after int64) (list []change, upto int64, ok bool) {
		t.Helper()
		view(t, s, func(r chat.Reader) (err error) {
			list, upto, _, ok, err = r.(*reader).changesSince(sql, after, 100)
			return err
		})
		return list, upto, ok
	}
	if _, upto, ok := since(s, selChangedSince, 0); ok || upto != 0 {
		t.Errorf("an empty log goes back to the beginning, and its end is %d", upto)
	}
	id := makeChat(t, s, 1, 2)
	_, first, _ := since(s, selChangedSince, 0)
	if list, _, ok := since(s, selChangedSince, first); !ok || len(list) > 0 {
		t.Errorf("nothing has changed: %v, %v", list, ok)
	}
	mustUpdate(t, s, func(tx chat.Tx) error { return tx.PutReadMark(id, 2, 2) })
	list, second, ok := since(s, selChangedSince, first)
	if !ok || !slices.Equal(list, []change{{second, chat.Place{Chat: id, User: 2}}}) {
		t.Errorf("a read mark moved: %v, %v", list, ok)
	}
	if err := do(s, sendOp(id, 1, "", "hi", nil)); err != nil {
		t.Fatal(err)
	}
	list, third, ok := since(s, selChangedSince, second)
	if !ok || !slices.Equal(list, []change{{third, chat.Place{Chat: id}}}) {
		t.Errorf("something was said: %v, %v", list, ok)
	}
	other := open(t, url)
	if list, _, ok := since(other, selPeopleSince, second); !ok || len(list) > 0 {
		t.Errorf("people changed on another node: %v, %v", list, ok)
	}
	if _, _, ok := since(other, selChangedSince, first); ok {
		t.Error("it goes back to what was deleted")
	}
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
		{"people", "bigint, bigint", selPeopleSince, "1, 100", []string{"changed_pkey"}, 10},
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

// tenThousandChats has so many chats of four, of which somebody is in all.
func tenThousandChats(n int) []query {
	return []query{
		ask(`INSERT INTO chats (chat_id, kind, title, topic, history, body_hash, created_at, last_seq, updated_seq, stamp, listed)
SELECT i, 'group', 'a group of some people', '', 'all', '\x00112233445566778899aabbccddeeff', 0, 1, 1, 1, false FROM generate_series(1, $1::bigint) i`, int64(n)),
		ask(`INSERT INTO participants (chat_id, user_id, role, joined_seq, left_seq, read_seq, updated_seq, stamp, notify)
SELECT i, CASE u WHEN 1 THEN 1 ELSE u * 100000 + i END, 'owner', 1, 0, 0, 1, 0, '' FROM generate_series(1, $1::bigint) i, generate_series(1, 4) u`, int64(n)),
		ask(`UPDATE counters SET value = $1 WHERE name = 'chat'`, int64(n)),
		ask(`ANALYZE`),
	}
}

// BenchmarkChangedChats is what a sync asks first, by somebody in all of ten
// thousand chats: which of them changed in the last so many commits.
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
		var stamps []int64
		for i := range 1001 {
			if err := do(s, sendOp(chat.ChatID(1+i*7%chats), 1, "", body, nil)); err != nil {
				b.Fatal(err)
			}
			view(b, s, func(r chat.Reader) error {
				last, err := r.LastStamp()
				stamps = append(stamps, last)
				if err == nil {
					_, err = r.ChangedChats(1, chat.SyncPos{After: last}, 1) // as others do
				}
				return err
			})
		}
		for _, ago := range []int{0, 10, 1000} {
			b.Run(fmt.Sprintf("%s/ago=%d", c.name, ago), func(b *testing.B) {
				var took []time.Duration
				for b.Loop() {
					began := time.Now()
					view(b, s, func(r chat.Reader) error {
						list, err := r.ChangedChats(1, chat.SyncPos{After: stamps[1000-ago]}, 100)
						if len(list) != min(ago, 100) {
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
