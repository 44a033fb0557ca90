// Package chart draws what was measured: panels of lines over named places, as
// SVG for light and dark pages.
package chart

import (
	"fmt"
	"math"
	"strings"
)

// Plot is a few panels side by side.
type Plot struct{ Panels []Panel }

// Panel is lines over places.
type Panel struct {
	Title  string
	Places []string // along x
	Lines  []Line
	Log    bool    // y: powers of ten; else from 0
	Aim    float64 // a dashed line; 0: none
	Label  func(float64) string
}

// Line is a point per place, in a colour of the style sheet.
type Line struct {
	Name  string
	At    []Point
	Class int // 0..Classes-1
}

// Point is what was found at a place: once, or several times.
type Point struct {
	Least, Middle, Greatest float64
	None                    bool // nothing was
}

const (
	panelWidth                          = 380
	leftMargin, topMargin, bottomMargin = 56, 40, 70
	plotBottom                          = 230 // where the x axis is

	perLegendRow, legendRow = 3, 16
	// Classes is how many colours there are.
	Classes = 8
)

// height has room for the longest legend.
func (p Plot) height() int {
	rows := 1
	for _, q := range p.Panels {
		rows = max(rows, (len(q.Lines)+perLegendRow-1)/perLegendRow)
	}
	return plotBottom + bottomMargin + (rows-1)*legendRow
}

// The colours of lines on light and on dark pages.
var colours = [Classes][2]string{
	{"#1f6feb", "#79b8ff"},
	{"#c2410c", "#fdba74"},
	{"#15803d", "#86efac"},
	{"#7c3aed", "#c4b5fd"},
	{"#be185d", "#f9a8d4"},
	{"#0e7490", "#67e8f9"},
	{"#854d0e", "#fde047"},
	{"#555555", "#bbbbbb"},
}

func palette(b *strings.Builder, scheme int) {
	for i, c := range colours {
		fmt.Fprintf(b, ".c%d { stroke: %s } .l%d { fill: %s }\n", i, c[scheme], i, c[scheme])
	}
}

// SVG draws for both light and dark pages: the colours follow the reader's
// scheme and the background is the page's.
func (p Plot) SVG() string {
	var b strings.Builder
	width := panelWidth * max(len(p.Panels), 1)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12">
<style>
text { fill: #333 } .grid { stroke: #8885 } .aim { stroke: #888; stroke-dasharray: 4 4 }
polyline { fill: none; stroke-width: 2 }
`, width, p.height())
	palette(&b, 0)
	b.WriteString("@media (prefers-color-scheme: dark) {\ntext { fill: #ddd }\n")
	palette(&b, 1)
	b.WriteString("}\n</style>\n")
	for i, q := range p.Panels {
		fmt.Fprintf(&b, `<g transform="translate(%d 0)">`+"\n", i*panelWidth)
		q.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p Panel) draw(b *strings.Builder) {
	lo, hi := p.bounds()
	bottom := float64(plotBottom)
	y := func(v float64) float64 {
		if p.Log {
			v, l, h := math.Log10(max(v, lo)), math.Log10(lo), math.Log10(hi)
			return bottom - (v-l)/(h-l)*(bottom-topMargin)
		}
		return bottom - v/hi*(bottom-topMargin)
	}
	x := func(i int) float64 {
		return leftMargin + (float64(i)+0.5)*float64(panelWidth-leftMargin-12)/float64(max(len(p.Places), 1))
	}
	fmt.Fprintf(b, `<text x="%d" y="20" font-weight="600">%s</text>`+"\n", leftMargin, p.Title)
	for _, v := range p.ticks(lo, hi) {
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			leftMargin, panelWidth-12, y(v), y(v), leftMargin-6, y(v)+4, p.Label(v))
	}
	if p.Aim > 0 {
		fmt.Fprintf(b, `<line class="aim" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`+"\n", leftMargin, panelWidth-12, y(p.Aim), y(p.Aim))
	}
	for i, name := range p.Places {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n", x(i), bottom+18, name)
	}
	for i, l := range p.Lines {
		var points []string
		for j, s := range l.At {
			if s.None {
				continue
			}
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(j), y(s.Middle)))
			fmt.Fprintf(b, `<line class="c%d" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><circle class="l%d" cx="%.1f" cy="%.1f" r="3.5"/>`+"\n",
				l.Class, x(j), x(j), y(s.Least), y(s.Greatest), l.Class, x(j), y(s.Middle))
		}
		fmt.Fprintf(b, `<polyline class="c%d" points="%s"/>`+"\n", l.Class, strings.Join(points, " "))
		fmt.Fprintf(b, `<text class="l%d" x="%d" y="%.1f">%s</text>`+"\n", l.Class, leftMargin+i%perLegendRow*110, bottom+46+float64(i/perLegendRow*legendRow), l.Name)
	}
}

func (p Panel) bounds() (lo, hi float64) {
	lo, hi = math.Inf(1), p.Aim
	for _, l := range p.Lines {
		for _, s := range l.At {
			if !s.None {
				lo, hi = min(lo, s.Least), max(hi, s.Greatest)
			}
		}
	}
	if hi <= 0 {
		return 1, 10
	}
	if p.Log {
		return math.Pow(10, math.Floor(math.Log10(max(lo, 1e-9)))), math.Pow(10, math.Ceil(math.Log10(hi*1.001)))
	}
	return 0, hi * 1.1
}

func (p Panel) ticks(lo, hi float64) (ticks []float64) {
	if p.Log {
		for v := lo; v <= hi*1.001; v *= 10 {
			ticks = append(ticks, v)
		}
		return ticks
	}
	step := math.Pow(10, math.Floor(math.Log10(hi)))
	for hi/step < 4 {
		step /= 2
	}
	for v := 0.0; v <= hi; v += step {
		ticks = append(ticks, v)
	}
	return ticks
}
