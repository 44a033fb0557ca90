//go:build linux

package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/grima-chat/grima/internal/api"
	"github.com/grima-chat/grima/internal/chat"
	"github.com/grima-chat/grima/internal/store/sqlite"
)

func TestMedianAndRatiosRoundByRound(t *testing.T) {
	a, b := series{10, 30, 20}, series{10, 10, 10}
	if got := a.over(b).spread(ratio); got != "2.00 (1.00..3.00)" {
		t.Errorf("got %s", got)
	}
	d := []time.Duration{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	if percentile(d, 0.5) != 5 || percentile(d, 0.99) != 10 || percentile(d[:1], 0.5) != 1 {
		t.Errorf("percentiles: %v %v", percentile(d, 0.5), percentile(d, 0.99))
	}
}

func TestEveryGroupHasSixDifferentPeopleOfTheRightKinds(t *testing.T) {
	for g := range 20_000 {
		m := membersOf(g)
		sorted := slices.Clone(m[:])
		slices.Sort(sorted)
		if len(slices.Compact(sorted)) != founders || m[0] != 0 || m[1] > tens || sorted[2] <= tens || sorted[5] > tens+hundreds {
			t.Fatalf("group %d: %v", g, m)
		}
	}
}

func TestIDsThatGrowWithTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	last := ""
	for us := int64(1_700_000_000_000_000); us < 1_700_000_000_003_000; us += 7 {
		id := timeIDAt(rng, us).String()
		if id <= last || id[14] != '7' || len(id) != 36 {
			t.Fatalf("%s after %s", id, last)
		}
		last = id
	}
	if id := randomID(rng).String(); id[14] != '4' {
		t.Errorf("%s is no UUIDv4", id)
	}
}

func TestTreesAccountForEveryPageOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "grima.db")
	db, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Exec(`PRAGMA journal_mode = WAL;
		CREATE TABLE a (id INTEGER PRIMARY KEY, v TEXT);
		CREATE INDEX b ON a (v);
		CREATE TABLE c (x INTEGER, y TEXT, PRIMARY KEY (x, y)) WITHOUT ROWID;
		WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000)
		INSERT INTO a SELECT i, printf('%080d', i * 7919 % 8000) FROM n;
		INSERT INTO c SELECT id % 500, v FROM a`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	u, err := measureDisk(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, n := range u.bytes {
		total += n
	}
	if total != u.file || len(u.bytes) != 4 || u.bytes["a"] == 0 || u.bytes["c"] == 0 {
		t.Errorf("%v: %d bytes in trees, %d in the file", u.bytes, total, u.file)
	}
}

func TestPlotIsXML(t *testing.T) {
	p := plot{[]panel{{
		title: "a", places: []string{"1", "2"}, label: rate, log: true,
		lines: []line{{name: "x", at: []series{{100, 120}, nil}}},
	}, {title: "b", label: ratio, aim: 0.6}}}
	d := xml.NewDecoder(strings.NewReader(p.svg()))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(fmt.Errorf("%w in %s", err, p.svg()))
		}
	}
}

// The stores that the driver fills must be what the server would have made.
func TestAFilledStoreKeepsItsPromises(t *testing.T) {
	dir, w := t.TempDir(), &world{Chats: 300}
	emptyStore(t, dir, w)
	b := &bench{options: options{Seed: 1, Body: 80}, ctx: t.Context(), began: time.Now()}
	for _, step := range [][2]int{{0, 1500}, {1500, 4000}} {
		if err := b.fill(w, dir, step[0], step[1]); err != nil {
			t.Fatal(err)
		}
	}
	d, err := openDriver(w, dir, true)
	if err != nil {
		t.Fatal(err)
	}
	next := rowsFor(rand.New(rand.NewPCG(1, 1)), len(w.ChatID), randomID, makeBodies(rand.New(rand.NewPCG(1, 1)), 80))
	for range 10 {
		rows := make([]row, 100)
		next(rows)
		if err := d.insert(rows); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	if err := checkpoint(dir); err != nil {
		t.Fatal(err)
	}

	store, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	total := 0
	err = store.View(t.Context(), func(r chat.Reader) error {
		for _, key := range w.chatKeys() {
			c, err := r.Chat(chat.ChatID(key))
			if err != nil {
				return err
			}
			rows, err := r.Messages(c.ID, 0, math.MaxInt64, 10_000, false)
			if err != nil {
				return err
			}
			total += len(rows)
			if c.LastSeq != founders+int64(len(rows)) {
				t.Fatalf("chat %d is at %d with %d messages", key, c.LastSeq, len(rows))
			}
			for i, m := range rows {
				p, err := r.Participant(c.ID, m.Sender)
				if err != nil || m.Seq != int64(founders+1+i) || m.UpdatedSeq != m.Seq || len(m.Content) != 80 || !p.In() {
					t.Fatalf("chat %d, row %d: %+v, %v", key, i, m, err)
				}
			}
		}
		return nil
	})
	if err != nil || total != 5000 {
		t.Fatalf("%d messages, %v", total, err)
	}
}

// emptyStore writes a world's people and groups.
func emptyStore(t *testing.T, dir string, w *world) {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	store.Update(chat.Op{Run: func(tx chat.Tx) error {
		w.Users, w.ChatID = nil, nil
		for i := range 1 + tens + hundreds {
			id, err := tx.NewUserID()
			if err != nil {
				return err
			}
			w.Users = append(w.Users, api.FormatUser(id))
			if err := tx.PutUser(chat.User{ID: id, Username: fmt.Sprintf("person%d", i), Role: chat.RoleMember, CreatedAt: tx.Now()}); err != nil {
				return err
			}
		}
		for g := range w.Chats {
			id, err := tx.NewChatID()
			if err != nil {
				return err
			}
			w.ChatID = append(w.ChatID, api.FormatChat(id))
			if err := tx.PutChat(chat.Chat{ID: id, Kind: chat.KindGroup, History: chat.HistoryAll, CreatedAt: tx.Now(), LastSeq: founders, UpdatedSeq: 1}); err != nil {
				return err
			}
			for k, m := range membersOf(g) {
				// The first user made in a new store has the id 1.
				if err := tx.PutParticipant(chat.Participant{Chat: id, User: chat.UserID(m + 1), Role: chat.RoleMember, JoinedSeq: int64(k + 1), UpdatedSeq: int64(k + 1)}); err != nil {
					return err
				}
			}
		}
		return nil
	}}, func(err error) { done <- err })
	if err := errors.Join(<-done, store.Close()); err != nil {
		t.Fatal(err)
	}
}
