//go:build linux

package main

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// soaked is a day in which one figure goes its own way.
func soaked(name string, at func(part int) float64) day {
	d := day{name: "Grima"}
	for i := range soakParts + 1 {
		h := held{files: 24, threads: 12, goroutines: 18, live: 2.6e6, resident: 44e6}
		switch name {
		case "descriptors":
			h.files = at(i)
		case "goroutines":
			h.goroutines = at(i)
		case "live heap, MB":
			h.live = at(i)
		case "resident memory, MB":
			h.resident = at(i)
		}
		d.at = append(d.at, h)
	}
	return d
}

// What fills up in the first half, or is out of line once, is no leak; what grows
// with every visit is, however little.
func TestSoakTellsLeaksFromWhatFillsUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	noise := func(most float64) float64 { return (2*rng.Float64() - 1) * most }
	for _, c := range []struct {
		figure, name string
		at           func(part int) float64
		broken       bool
	}{
		{"live heap, MB", "level", func(int) float64 { return 2.6e6 + noise(50e3) }, false},
		{"live heap, MB", "fills up", func(i int) float64 { return 2e6 + float64(min(i, 4))*1e6 + noise(50e3) }, false},
		{"live heap, MB", "once", func(i int) float64 { return 2.6e6 + map[int]float64{8: 3e6}[i] }, false},
		{"live heap, MB", "a buffer grows", func(i int) float64 { return 2.6e6 + float64(i/8)*0.25e6 + noise(50e3) }, false},
		{"live heap, MB", "15 bytes of a visit", func(i int) float64 { return 2.6e6 + float64(i)*15*10_000 + noise(50e3) }, true},
		{"resident memory, MB", "a cache fills up", func(i int) float64 { return 40e6 + float64(min(i, 5))*16e6 + noise(1e6) }, false},
		{"resident memory, MB", "10 bytes of a message", func(i int) float64 { return 40e6 + float64(i)*10*100_000 + noise(0.5e6) }, true},
		{"descriptors", "some come and go", func(i int) float64 { return 24 + float64(i%4) }, false},
		{"descriptors", "one of 5,000 visits", func(i int) float64 { return 24 + 2*float64(i) }, true},
		{"descriptors", "those of the first half", func(i int) float64 { return 24 + 5*float64(min(i, 3)) }, true},
		{"goroutines", "one of 10,000 visits", func(i int) float64 { return 18 + float64(i) }, true},
	} {
		b := &bench{options: options{Cycles: 100_000, Messages: 1_000_000}, report: &report{name: "soak"}}
		b.tellSoak(&crowd{}, []day{soaked(c.figure, c.at)})
		if err := b.report.broken; (err != nil) != c.broken {
			t.Errorf("%s, %s: %v", c.figure, c.name, err)
		} else if c.broken && (exitCode(err) != 3 || !strings.Contains(err.Error(), c.figure)) {
			t.Errorf("%s, %s: exit code %d, %v", c.figure, c.name, exitCode(err), err)
		}
		text := b.report.markdown("")
		if strings.Contains(text, "**not level**") != c.broken {
			t.Errorf("%s, %s: %s", c.figure, c.name, text)
		}
	}
	b := &bench{options: options{Cycles: 500, Messages: 500}, report: &report{name: "soak"}}
	b.tellSoak(&crowd{}, []day{soaked("descriptors", func(i int) float64 { return float64(100 * i) })})
	if b.report.broken != nil || !strings.Contains(b.report.markdown(""), "too short") {
		t.Errorf("a run of 500 visits is judged: %v", b.report.broken)
	}
	if exitCode(errors.New("it broke off")) != 1 {
		t.Error("a run that could not be made is none that found something")
	}
}

// Nobody comes in the last half who was not there before, and everybody comes.
func TestSoakVisitors(t *testing.T) {
	const cycles = 12_000
	s := &soaking{w: &crowd{people: soakRegulars + cycles*3/4/soakLaps}}
	seen := map[int]int{}
	for n := range cycles {
		person, before := s.visitor(n)
		if before != seen[person] {
			t.Fatalf("visit %d: person %d was there %d times, not %d", n, person, seen[person], before)
		}
		if seen[person]++; n >= cycles/2 && before == 0 {
			t.Fatalf("visit %d: person %d is new", n, person)
		}
	}
	if len(seen) != s.w.people {
		t.Errorf("%d of %d people came", len(seen), s.w.people)
	}
}
