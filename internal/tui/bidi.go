package tui

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/bidi"
)

// Right-to-left text is put in visual order here, line by line, and the terminal
// is told (CSI 8 l) not to reorder by itself: most terminals never do, those
// that follow the recommendation (VTE, mintty) obey that, and for the others
// there is a setting. So a run never reaches beyond its own message, whatever
// stands beside it in the row.
//
// This is the Unicode bidirectional algorithm (UAX #9) without embeddings: the
// characters that make them are spelled out (cleanLine) and never get here.

// visual is a clean line in visual order, and whether its paragraph runs from
// right to left.
func (m metric) visual(s string) (string, bool) {
	if !hasRTL(s) {
		return s, false
	}
	var clusters []string
	var classes []bidi.Class
	for rest := s; rest != ""; {
		g, _ := m.cluster(rest)
		rest = rest[len(g):]
		p, _ := bidi.LookupString(g)
		clusters, classes = append(clusters, g), append(classes, p.Class())
	}
	levels, base := resolve(classes)
	// L2: reverse from the highest level down to the lowest odd one.
	order := make([]int, len(clusters))
	for i := range order {
		order[i] = i
	}
	for level := 2; level >= 1; level-- {
		for i := 0; i < len(order); {
			if levels[i] < level {
				i++
				continue
			}
			j := i
			for j < len(order) && levels[j] >= level {
				j++
			}
			for a, b := i, j-1; a < b; a, b = a+1, b-1 {
				order[a], order[b] = order[b], order[a]
			}
			i = j
		}
	}
	var b strings.Builder
	b.Grow(len(s))
	for _, k := range order {
		g := clusters[k]
		if levels[k]%2 == 1 {
			if r, size := utf8.DecodeRuneInString(g); size == len(g) {
				if other, ok := mirrored[r]; ok {
					g = string(other)
				}
			}
		}
		b.WriteString(g)
	}
	return b.String(), base == 1
}

// hasRTL reports whether anything in s runs from right to left.
func hasRTL(s string) bool {
	for _, r := range s {
		if r < 0x590 {
			continue
		}
		if r > 0x8ff && r < 0xfb1d || r > 0xfeff && r < 0x10800 {
			continue // blocks without any
		}
		switch p, _ := bidi.LookupRune(r); p.Class() {
		case bidi.R, bidi.AL, bidi.AN:
			return true
		}
	}
	return false
}

// resolve gives each character its level; base is the paragraph's.
func resolve(classes []bidi.Class) (levels []int, base int) {
	for _, c := range classes { // P2, P3
		if c == bidi.L {
			break
		}
		if c == bidi.R || c == bidi.AL {
			base = 1
			break
		}
	}
	sos := bidi.L
	if base == 1 {
		sos = bidi.R
	}
	cs := weak(append([]bidi.Class(nil), classes...), sos)
	n := len(cs)
	// N1, N2: what is neutral goes with its neighbours if they agree, else with
	// the paragraph. Numbers count as right-to-left here.
	side := func(c bidi.Class) bidi.Class {
		if c == bidi.EN || c == bidi.AN {
			return bidi.R
		}
		return c
	}
	for i := 0; i < n; {
		if strong(cs[i]) {
			i++
			continue
		}
		j := i
		for j < n && !strong(cs[j]) {
			j++
		}
		before, after := sos, sos
		if i > 0 {
			before = side(cs[i-1])
		}
		if j < n {
			after = side(cs[j])
		}
		to := sos
		if before == after {
			to = before
		}
		for ; i < j; i++ {
			cs[i] = to
		}
	}
	levels = make([]int, n)
	for i, c := range cs { // I1, I2
		switch {
		case c == bidi.R:
			levels[i] = 1
		case c == bidi.EN || c == bidi.AN:
			levels[i] = 2
		case base == 1:
			levels[i] = 2
		}
	}
	// L1: blanks at the end of a line stay there.
	for i := n - 1; i >= 0 && (classes[i] == bidi.WS || classes[i] == bidi.S || classes[i] == bidi.B); i-- {
		levels[i] = base
	}
	return levels, base
}

// strong reports whether c is settled after the weak rules.
func strong(c bidi.Class) bool {
	return c == bidi.L || c == bidi.R || c == bidi.EN || c == bidi.AN
}

// weak applies W1 to W7: it leaves L, R, EN, AN and neutrals.
func weak(cs []bidi.Class, sos bidi.Class) []bidi.Class {
	prev, letter := sos, sos
	for i, c := range cs {
		if c == bidi.NSM { // W1
			c = prev
		}
		switch c {
		case bidi.L, bidi.R, bidi.AL:
			letter = c
		case bidi.EN: // W2
			if letter == bidi.AL {
				c = bidi.AN
			}
		}
		cs[i], prev = c, c
	}
	for i := range cs { // W3
		if cs[i] == bidi.AL {
			cs[i] = bidi.R
		}
	}
	for i := 1; i+1 < len(cs); i++ { // W4
		a, b := cs[i-1], cs[i+1]
		if a == b && (cs[i] == bidi.CS && (a == bidi.EN || a == bidi.AN) || cs[i] == bidi.ES && a == bidi.EN) {
			cs[i] = a
		}
	}
	for i := 0; i < len(cs); i++ { // W5
		if cs[i] != bidi.ET {
			continue
		}
		j := i
		for j < len(cs) && cs[j] == bidi.ET {
			j++
		}
		if i > 0 && cs[i-1] == bidi.EN || j < len(cs) && cs[j] == bidi.EN {
			for k := i; k < j; k++ {
				cs[k] = bidi.EN
			}
		}
		i = j - 1
	}
	letter = sos
	for i, c := range cs {
		switch c {
		case bidi.L, bidi.R:
			letter = c
		case bidi.EN: // W7
			if letter == bidi.L {
				cs[i] = bidi.L
			}
		case bidi.AN:
		default: // W6
			cs[i] = bidi.ON
		}
	}
	return cs
}

// mirrored are the characters of which right-to-left text has the other one
// (rule L4), as far as people type them.
var mirrored = map[rune]rune{
	'(': ')', ')': '(', '[': ']', ']': '[', '{': '}', '}': '{', '<': '>', '>': '<',
	'«': '»', '»': '«', '‹': '›', '›': '‹', '≤': '≥', '≥': '≤', '⟨': '⟩', '⟩': '⟨',
}
