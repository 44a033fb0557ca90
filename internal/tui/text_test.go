package tui

import (
	"strings"
	"testing"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

var graphemes = metric{ansi.GraphemeWidth}

// hostile is what somebody might put into a name or a message to take over the
// screen, and what is shown instead.
var hostile = []struct{ name, in, shown string }{
	{"clear screen", "a\x1b[2Jb", "a␛[2Jb"},
	{"title", "\x1b]0;root\x07", "␛]0;root␇"},
	{"clipboard", "\x1b]52;c;cm0gLXJm\x1b\\", "␛]52;c;cm0gLXJm␛\\"},
	{"device control", "\x1bP$q\x1b\\", "␛P$q␛\\"},
	{"C1 CSI", "x\u009b2Jy", "x<009B>2Jy"},
	{"raw C1 byte", "x\x9b2Jy", "x\uFFFD2Jy"},
	{"carriage return", "mallory\rana", "mallory␍ana"},
	{"backspace", "a\b\bb", "a␈␈b"},
	{"delete", "a\x7f", "a␡"},
	{"override", "a\u202egpj.exe", "a<202E>gpj.exe"},
	{"isolate", "\u2066x\u2069", "<2066>x<2069>"},
	{"marks", "\u200fx\u200e", "<200F>x<200E>"},
	{"zero width", "ad\u200bmin", "ad<200B>min"},
	{"byte order mark", "\ufeffroot", "<FEFF>root"},
	{"line separator", "a\u2028b", "a<2028>b"},
	{"tag characters", "hi\U000e0041", "hi<E0041>"},
	{"hangul filler", "\u3164", "<3164>"},
	{"lonely joiner", "a \u200d", "a <200D>"},
	{"zalgo", "e" + strings.Repeat("\u0301", 100), "e" + strings.Repeat("\u0301", 6) + "<+94>"},
	{"mark first", "\u0301x", "◌\u0301x"},
}

func TestWhatATerminalObeysIsShown(t *testing.T) {
	for _, h := range hostile {
		if got := cleanLine(h.in); got != h.shown {
			t.Errorf("%s: %q, want %q", h.name, got, h.shown)
		}
	}
	for _, kept := range []string{"Ana", "é e\u0301", "👨‍👩‍👧", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "می\u200cخواهم", "日本語", "שלום", "❤️"} {
		if got := cleanLine(kept); got != kept {
			t.Errorf("%q became %q", kept, got)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, h := range hostile {
		f.Add(h.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, line := range append(cleanLines(s), cleanLine(s)) {
			for _, r := range line {
				if unicode.IsControl(r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
					t.Fatalf("%q shows %U", s, r)
				}
			}
			for _, m := range []metric{graphemes, {ansi.WcWidth}} {
				for _, width := range []int{2, 7, 40} {
					wrapped := m.wrap(line, width)
					for _, w := range wrapped {
						if n := m.width(w); n > width {
							t.Fatalf("%q wrapped to %d has a line of %d: %q", line, width, n, w)
						}
					}
					squeeze := func(s string) string { return strings.ReplaceAll(s, " ", "") }
					if squeeze(strings.Join(wrapped, "")) != squeeze(line) {
						t.Fatalf("%q lost something when wrapped to %d: %q", line, width, wrapped)
					}
					if n := m.width(m.fit(line, width)); n != width {
						t.Fatalf("%q fitted to %d has %d", line, width, n)
					}
				}
				if v, _ := m.visual(line); len(v) < len(line)/2 {
					t.Fatalf("%q lost something in visual order: %q", line, v)
				}
			}
		}
	})
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		in    string
		width int
		want  string
	}{
		{"", 10, ""},
		{"one two three", 8, "one two|three"},
		{"one two three", 7, "one two|three"},
		{"unbrokenword", 5, "unbro|kenwo|rd"},
		{"a unbrokenword", 5, "a|unbro|kenwo|rd"},
		{"日本語の文章", 5, "日本|語の|文章"},
		{"ab日本", 3, "ab|日|本"},
		{"👨‍👩‍👧👨‍👩‍👧", 3, "👨‍👩‍👧|👨‍👩‍👧"},
		{"  indented stays", 10, "  indented|stays"},
	} {
		if got := strings.Join(graphemes.wrap(c.in, c.width), "|"); got != c.want {
			t.Errorf("wrap(%q, %d) = %q, want %q", c.in, c.width, got, c.want)
		}
	}
}

func TestVisualOrder(t *testing.T) {
	for _, c := range []struct {
		in, want string
		rtl      bool
	}{
		{"hello", "hello", false},
		{"אבג", "גבא", true},
		{"he said אבג ok", "he said גבא ok", false},
		{"אבג 123 דהו", "והד 123 גבא", true},
		{"אבג abc", "abc גבא", true},
		{"(אבג)", "(גבא)", true},
		{"abc (אבג) x", "abc (גבא) x", false},
		{"אבג, 1.5 ש!", "!ש 1.5 ,גבא", true},
		{"סלום 50% abc", "abc 50% םולס", true},
		{"عربي ١٢٣", "١٢٣ يبرع", true},
	} {
		got, rtl := graphemes.visual(c.in)
		if got != c.want || rtl != c.rtl {
			t.Errorf("visual(%q) = %q %v, want %q %v", c.in, got, rtl, c.want, c.rtl)
		}
	}
}
