package tui

import (
	"fmt"
	"html"
	"image/color"
	"strings"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
)

// Screen is what a terminal shows of a view: its cells.
type Screen struct {
	buf    uv.ScreenBuffer
	cursor *tea.Cursor
}

// Render draws a view as Bubble Tea's renderer does, into cells instead of a
// terminal.
func Render(v tea.View, width, height int) Screen {
	buf := uv.NewScreenBuffer(width, height)
	buf.Method = ansi.GraphemeWidth
	uv.NewStyledString(v.Content).Draw(buf, buf.Bounds())
	return Screen{buf, v.Cursor}
}

// Text is the cells' text, a line per row, without blanks at their ends.
func (s Screen) Text() string {
	var b strings.Builder
	for y := range s.buf.Height() {
		var line strings.Builder
		for x := range s.buf.Width() {
			if c := s.buf.CellAt(x, y); c != nil && c.Width > 0 {
				line.WriteString(c.Content)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// Sizes of a cell of an SVG, in its units.
const (
	cellWidth, cellHeight = 8.4, 18.0
	margin                = 12.0
)

// SVG is the cells as a picture, under a title.
func (s Screen) SVG(title string) string {
	const ink, paper = "#d7dae0", "#1b1e24"
	w := float64(s.buf.Width())*cellWidth + 2*margin
	h := float64(s.buf.Height())*cellHeight + 2*margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.1f %.1f" width="%.0f" height="%.0f" role="img" aria-label="%s">`+"\n", w, h, w, h, html.EscapeString(title))
	fmt.Fprintf(&b, "<title>%s</title>\n", html.EscapeString(title))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="8" fill="%s"/>`+"\n", paper)
	b.WriteString(`<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="14" xml:space="preserve">` + "\n")
	for y := range s.buf.Height() {
		top := margin + float64(y)*cellHeight
		for x := 0; x < s.buf.Width(); {
			c := s.buf.CellAt(x, y)
			if c == nil || c.Width == 0 {
				x++
				continue
			}
			// Cells of one style that are one column wide are one piece of text.
			run, n := c.Content, max(c.Width, 1)
			for c.Width == 1 && x+n < s.buf.Width() {
				d := s.buf.CellAt(x+n, y)
				if d == nil || d.Width != 1 || !d.Style.Equal(&c.Style) || !plain(d.Content) && d.Content != "─" || !plain(c.Content) && c.Content != "─" {
					break
				}
				run += d.Content
				n++
			}
			fg, bg := hex(c.Style.Fg, ink), hex(c.Style.Bg, "")
			if c.Style.Attrs&uv.AttrReverse != 0 {
				fg, bg = paper, fg
			}
			left := margin + float64(x)*cellWidth
			if bg != "" {
				fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, left, top, float64(n)*cellWidth+0.3, cellHeight, bg)
			}
			if strings.TrimSpace(run) != "" {
				attrs := ""
				if c.Style.Attrs&uv.AttrBold != 0 {
					attrs += ` font-weight="bold"`
				}
				if c.Style.Attrs&uv.AttrItalic != 0 {
					attrs += ` font-style="italic"`
				}
				fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" fill="%s" textLength="%.1f"%s>%s</text>`+"\n",
					left, top+cellHeight*0.74, fg, float64(n)*cellWidth, attrs, html.EscapeString(run))
			}
			x += n
		}
	}
	if s.cursor != nil {
		fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="2" height="%.1f" fill="%s"/>`+"\n",
			margin+float64(s.cursor.X)*cellWidth, margin+float64(s.cursor.Y)*cellHeight+1, cellHeight-2, ink)
	}
	b.WriteString("</g>\n</svg>\n")
	return b.String()
}

// hex is a colour as SVG has it; a picture has no palette of its own, so the
// sixteen colours are fixed.
func hex(c color.Color, none string) string {
	if c == nil {
		return none
	}
	if b, ok := c.(ansi.BasicColor); ok {
		return palette[b&15]
	}
	r, g, b, _ := c.RGBA()
	return fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
}

var palette = [16]string{
	"#3b4048", "#d16969", "#7fae6a", "#c8a35a", "#5c8fd6", "#a879c0", "#4fa6a6", "#c5c8ce",
	"#5f6672", "#e58a8a", "#9dcc86", "#e5c07b", "#7fb2f0", "#c99be0", "#74c7c7", "#ffffff",
}
