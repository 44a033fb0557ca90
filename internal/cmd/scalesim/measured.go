package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// measured are the tables of docs/bench-cluster.md, bench.md and bench-live.md by
// their titles.
type measured map[string]table

type table struct {
	head []string
	rows [][]string
}

func readMeasured(files ...string) (measured, error) {
	m := measured{}
	for _, file := range files {
		if err := m.read(file); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m measured) read(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before := len(m)
	title := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "### "); ok {
			title = text
		}
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		t := m[title]
		if t.head == nil {
			t.head = cells
		} else {
			t.rows = append(t.rows, cells)
		}
		m[title] = t
	}
	if len(m) == before {
		return fmt.Errorf("%s has no tables", file)
	}
	return nil
}

// number is the median in a cell, or the first of two: of the table whose title
// begins so (of several, the one with the row), in the row of that work (empty:
// there is no such column) and that arrangement.
func (m measured) number(title, work, arrangement, column string) (float64, error) {
	for name, t := range m {
		at := slices.Index(t.head, column)
		if !strings.HasPrefix(name, title) || at < 0 {
			continue
		}
		for _, row := range t.rows {
			if work == "" && row[0] == arrangement || work != "" && row[0] == work && row[1] == arrangement {
				v, err := parseNumber(row[at])
				if err != nil {
					return 0, fmt.Errorf("%s, %s %s, %s: %w", name, work, arrangement, column, err)
				}
				return v, nil
			}
		}
	}
	return 0, fmt.Errorf("there is no table %q with a row %q %q and a column %q", title, work, arrangement, column)
}

// parseNumber reads what a report prints: 12.3, 4.5 k, 1.2 M, each with a spread
// in parentheses or a second figure behind it.
func parseNumber(cell string) (float64, error) {
	f := strings.Fields(cell)
	if len(f) == 0 {
		return 0, errors.New("an empty cell")
	}
	v, err := strconv.ParseFloat(f[0], 64)
	if err != nil {
		return 0, err
	}
	if len(f) > 1 {
		switch f[1] {
		case "k":
			v *= 1e3
		case "M":
			v *= 1e6
		}
	}
	return v, nil
}
