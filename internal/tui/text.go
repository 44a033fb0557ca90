package tui

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// maxMarks is how many combining marks of one character are shown; the rest
// would be drawn over other lines.
const maxMarks = 6

// tabStop is how wide a tab is at most.
const tabStop = 4

// cleanLine is what may be shown of a name, a title or anything else that is one
// line: what a terminal would obey, and what would hide or reorder something, is
// spelled out instead. It never contains a control character.
func cleanLine(s string) string {
	if plain(s) {
		return s
	}
	return spell(strings.NewReplacer("\r\n", " ", "\n", " ", "\t", " ").Replace(s))
}

// cleanLines is cleanLine for what may have several lines.
func cleanLines(s string) []string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, l := range lines {
		if !plain(l) {
			lines[i] = spell(untab(l))
		}
	}
	return lines
}

// plain reports whether s is printable ASCII, as most lines are.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func untab(s string) string {
	if !strings.Contains(s, "\t") {
		return s
	}
	var b strings.Builder
	col := 0
	for _, r := range s {
		if r == '\t' {
			n := tabStop - col%tabStop
			b.WriteString("    "[:n])
			col += n
			continue
		}
		b.WriteRune(r)
		col++
	}
	return b.String()
}

// spell writes out what shall not be obeyed.
func spell(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 8)
	var last rune // the one before, if it was shown as it is
	marks, cut := 0, 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		if unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r) {
			if marks++; marks > maxMarks {
				cut++
				continue
			}
			if last == 0 && b.Len() == 0 {
				b.WriteRune('◌') // a mark without a letter would be drawn over what is left of it
			}
			b.WriteRune(r)
			continue
		}
		if cut > 0 {
			fmt.Fprintf(&b, "<+%d>", cut)
		}
		marks, cut = 0, 0
		switch {
		case r == utf8.RuneError && size == 1:
			b.WriteRune('\uFFFD')
			last = 0
		case r < ' ':
			b.WriteRune('\u2400' + r) // ␛ for ESC
			last = 0
		case r == 0x7f:
			b.WriteRune('\u2421')
			last = 0
		case hidden(r, last, s[i:]):
			fmt.Fprintf(&b, "<%04X>", r)
			last = 0
		default:
			b.WriteRune(r)
			last = r
		}
	}
	if cut > 0 {
		fmt.Fprintf(&b, "<+%d>", cut)
	}
	return b.String()
}

// hidden reports whether r, which stands after last and before rest, is a
// character that is not seen but does something.
func hidden(r, last rune, rest string) bool {
	switch {
	case r < 0x7f:
		return false
	case r < 0xa0, r == 0x2028, r == 0x2029: // C1 controls, line separators
		return true
	case r == 0x200c, r == 0x200d: // joiners, where there is something to join
		next, _ := utf8.DecodeRuneInString(rest)
		return last == 0 || last == ' ' || rest == "" || next == ' ' || unicode.Is(unicode.C, next)
	case r >= 0xe0020 && r <= 0xe007f: // the tags of a flag, behind 🏴
		return last != 0x1f3f4 && (last < 0xe0020 || last > 0xe007f)
	case r == 0x115f, r == 0x1160, r == 0x3164, r == 0xffa0, r == 0x2800: // fillers: blanks that are letters
		return true
	}
	return unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) ||
		r >= 0xe0000 && r < 0xe1000
}

// metric measures text as the terminal does: by character (ansi.GraphemeWidth)
// or, where the terminal knows only code points, as wcwidth does.
type metric struct{ ansi.Method }

// cluster is the first character of s and its width; s is clean.
func (m metric) cluster(s string) (string, int) {
	if c := s[0]; c < 0x80 && (len(s) == 1 || s[1] < 0x80) {
		return s[:1], 1
	}
	g, w := ansi.FirstGraphemeCluster(s, m.Method)
	if g == "" {
		return s[:1], 1
	}
	return g, w
}

// width is how many columns s takes; s is clean and without styles.
func (m metric) width(s string) int {
	if plain(s) {
		return len(s)
	}
	return m.StringWidth(s)
}

// cut is s in at most width columns, with an ellipsis if something is missing.
func (m metric) cut(s string, width int) string {
	switch {
	case width <= 0:
		return ""
	case m.width(s) <= width:
		return s
	}
	var b strings.Builder
	used := 0
	for s != "" {
		g, w := m.cluster(s)
		if used+w > width-1 {
			break
		}
		b.WriteString(g)
		used += w
		s = s[len(g):]
	}
	b.WriteString("…")
	return b.String()
}

// fit is s in exactly width columns.
func (m metric) fit(s string, width int) string {
	s = m.cut(s, width)
	return s + spaces(width-m.width(s))
}

// wrap breaks a clean line into lines of at most width columns: at blanks,
// beside wide characters, and inside a word only if it is longer than a line.
// The blanks at a break are dropped. There is at least one line.
func (m metric) wrap(s string, width int) []string {
	width = max(width, 2) // the widest character
	if len(s) <= width && plain(s) {
		return []string{s}
	}
	var (
		lines      []string
		start      int      // of the line that is being filled
		used       int      // its width up to i
		brk        = -1     // where it may be broken: the next line begins there
		brkUsed    int      // its width up to brk
		lastWide   bool     // the character before is a wide one
		lastSpace  = false  // or a blank
		end        = len(s) // of s
		flush      = func(to int) { lines = append(lines, strings.TrimRight(s[start:to], " ")) }
		i, g0      int
		g          string
		w          int
		firstOfAll = true
	)
	for i < end {
		g, w = m.cluster(s[i:])
		g0 = i
		space := g == " "
		if !firstOfAll && !space && (lastSpace || lastWide || w == 2) {
			brk, brkUsed = g0, used
		}
		if used+w > width && !space {
			if brk > start {
				flush(brk)
				start, used = brk, used-brkUsed
			} else {
				flush(g0)
				start, used = g0, 0
			}
			brk = -1
			// Even the rest of a long word may not fit.
			if used+w > width {
				flush(g0)
				start, used = g0, 0
			}
		}
		used += w
		lastWide, lastSpace, firstOfAll = w == 2, space, false
		i += len(g)
	}
	flush(end)
	return lines
}

const blanks = "                                                                                                                                "

// spaces are n blanks; none if n is negative.
func spaces(n int) string {
	switch {
	case n <= 0:
		return ""
	case n <= len(blanks):
		return blanks[:n]
	}
	return strings.Repeat(" ", n)
}
