package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// measured are the tables of docs/bench-cluster.md by the first words of their
// titles.
type measured map[string]table

type table struct {
	head []string
	rows [][]string
}

func readMeasured(file string) (measured, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	m := measured{}
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
	if len(m) == 0 {
		return nil, fmt.Errorf("%s has no tables", file)
	}
	return m, nil
}

// number is the median in a cell, or the first of two: of the table whose title
// begins so, in the row of that work (empty: there is no such column) and that
// arrangement.
func (m measured) number(title, work, arrangement, column string) (float64, error) {
	for name, t := range m {
		if !strings.HasPrefix(name, title) {
			continue
		}
		at := -1
		for i, head := range t.head {
			if head == column {
				at = i
			}
		}
		if at < 0 {
			return 0, fmt.Errorf("table %q has no column %q", name, column)
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
		return 0, fmt.Errorf("table %q has no row %q %q", name, work, arrangement)
	}
	return 0, fmt.Errorf("there is no table %q", title)
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
