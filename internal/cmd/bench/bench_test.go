package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
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
		WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
		INSERT INTO a SELECT i, printf('%080d', i * 7919 % 60000) FROM n;
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
