package tui

import (
	"hash/fnv"

	"github.com/charmbracelet/x/ansi"
)

// theme is how things look. Accents are the terminal's own sixteen colours, so
// that they fit whatever its owner chose; only greys depend on whether the
// background is dark.
type theme struct {
	dark                 bool
	dim, border          ansi.Style // what is there but not meant to be read first
	title, hint          ansi.Style
	accent, warn, bad    ansi.Style
	good                 ansi.Style
	selected, open       ansi.Style // a row under the cursor; the chat that is open
	mention, unread      ansi.Style
	status               ansi.Style
	gone                 ansi.Style // deleted
	self                 ansi.Style
	authors              []ansi.Style
	quote, pending, note ansi.Style
}

func newTheme(dark bool) *theme {
	gray, line, back := ansi.IndexedColor(242), ansi.IndexedColor(250), ansi.IndexedColor(254)
	if dark {
		gray, line, back = ansi.IndexedColor(246), ansi.IndexedColor(239), ansi.IndexedColor(236)
	}
	fg := func(c ansi.BasicColor) ansi.Style { return ansi.NewStyle().ForegroundColor(c) }
	t := &theme{
		dark:     dark,
		dim:      ansi.NewStyle().ForegroundColor(gray),
		border:   ansi.NewStyle().ForegroundColor(line),
		title:    ansi.NewStyle().Bold(),
		hint:     ansi.NewStyle().ForegroundColor(gray).Italic(true),
		accent:   fg(ansi.Blue),
		warn:     fg(ansi.Yellow),
		bad:      fg(ansi.Red),
		good:     fg(ansi.Green),
		selected: ansi.NewStyle().Reverse(true),
		open:     ansi.NewStyle().BackgroundColor(back).Bold(),
		mention:  fg(ansi.Red).Bold(),
		unread:   ansi.NewStyle().Bold(),
		status:   ansi.NewStyle().BackgroundColor(back),
		gone:     ansi.NewStyle().ForegroundColor(gray).Italic(true),
		quote:    ansi.NewStyle().ForegroundColor(gray),
		pending:  ansi.NewStyle().ForegroundColor(gray),
		note:     fg(ansi.Cyan),
	}
	colors := []ansi.BasicColor{ansi.Red, ansi.Green, ansi.Yellow, ansi.Blue, ansi.Magenta, ansi.Cyan}
	if dark {
		colors = []ansi.BasicColor{ansi.BrightRed, ansi.BrightGreen, ansi.BrightYellow, ansi.BrightBlue, ansi.BrightMagenta, ansi.BrightCyan}
		t.accent = fg(ansi.BrightBlue)
	}
	for _, c := range colors {
		t.authors = append(t.authors, fg(c).Bold())
	}
	t.self = ansi.NewStyle().Bold()
	return t
}

// author is the style of somebody's name, the same wherever it stands.
func (t *theme) author(userID string) ansi.Style {
	h := fnv.New32a()
	_, _ = h.Write([]byte(userID)) // it cannot fail
	return t.authors[h.Sum32()%uint32(len(t.authors))]
}
