//go:build linux

package main

import (
	"fmt"
	"math"
	"strings"
)

// plot is a few panels of lines over named places.
type plot struct{ panels []panel }

type panel struct {
	title  string
	places []string // along x
	lines  []line
	log    bool // y: powers of ten; else from 0
	aim    float64
	label  func(float64) string
}

// line is one series per place, in a colour of the style sheet.
type line struct {
	name  string
	at    []series
	class int // 0..classes-1
}

const (
	panelWidth                          = 380
	leftMargin, topMargin, bottomMargin = 56, 40, 70
	plotBottom                          = 230 // where the x axis is

	perLegendRow, legendRow = 3, 16
	classes                 = 8
)

// height has room for the longest legend.
func (p plot) height() int {
	rows := 1
	for _, q := range p.panels {
		rows = max(rows, (len(q.lines)+perLegendRow-1)/perLegendRow)
	}
	return plotBottom + bottomMargin + (rows-1)*legendRow
}

// The colours of lines on light and on dark pages.
var colours = [classes][2]string{
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

// svg draws for both light and dark pages: the colours follow the reader's
// scheme and the background is the page's.
func (p plot) svg() string {
	var b strings.Builder
	width := panelWidth * max(len(p.panels), 1)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12">
<style>
text { fill: #333 } .grid { stroke: #8885 } .aim { stroke: #888; stroke-dasharray: 4 4 }
polyline { fill: none; stroke-width: 2 }
`, width, p.height())
	palette(&b, 0)
	b.WriteString("@media (prefers-color-scheme: dark) {\ntext { fill: #ddd }\n")
	palette(&b, 1)
	b.WriteString("}\n</style>\n")
	for i, q := range p.panels {
		fmt.Fprintf(&b, `<g transform="translate(%d 0)">`+"\n", i*panelWidth)
		q.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p panel) draw(b *strings.Builder) {
	lo, hi := p.bounds()
	bottom := float64(plotBottom)
	y := func(v float64) float64 {
		if p.log {
			v, l, h := math.Log10(max(v, lo)), math.Log10(lo), math.Log10(hi)
			return bottom - (v-l)/(h-l)*(bottom-topMargin)
		}
		return bottom - v/hi*(bottom-topMargin)
	}
	x := func(i int) float64 {
		return leftMargin + (float64(i)+0.5)*float64(panelWidth-leftMargin-12)/float64(max(len(p.places), 1))
	}
	fmt.Fprintf(b, `<text x="%d" y="20" font-weight="600">%s</text>`+"\n", leftMargin, p.title)
	for _, v := range p.ticks(lo, hi) {
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			leftMargin, panelWidth-12, y(v), y(v), leftMargin-6, y(v)+4, p.label(v))
	}
	if p.aim > 0 {
		fmt.Fprintf(b, `<line class="aim" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`+"\n", leftMargin, panelWidth-12, y(p.aim), y(p.aim))
	}
	for i, name := range p.places {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n", x(i), bottom+18, name)
	}
	for i, l := range p.lines {
		var points []string
		for j, s := range l.at {
			if len(s) == 0 {
				continue
			}
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(j), y(s.median())))
			fmt.Fprintf(b, `<line class="c%d" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><circle class="l%d" cx="%.1f" cy="%.1f" r="3.5"/>`+"\n",
				l.class, x(j), x(j), y(s.least()), y(s.greatest()), l.class, x(j), y(s.median()))
		}
		fmt.Fprintf(b, `<polyline class="c%d" points="%s"/>`+"\n", l.class, strings.Join(points, " "))
		fmt.Fprintf(b, `<text class="l%d" x="%d" y="%.1f">%s</text>`+"\n", l.class, leftMargin+i%perLegendRow*110, bottom+46+float64(i/perLegendRow*legendRow), l.name)
	}
}

func (p panel) bounds() (lo, hi float64) {
	lo, hi = math.Inf(1), p.aim
	for _, l := range p.lines {
		for _, s := range l.at {
			if len(s) > 0 {
				lo, hi = min(lo, s.least()), max(hi, s.greatest())
			}
		}
	}
	if hi <= 0 {
		return 1, 10
	}
	if p.log {
		return math.Pow(10, math.Floor(math.Log10(max(lo, 1e-9)))), math.Pow(10, math.Ceil(math.Log10(hi*1.001)))
	}
	return 0, hi * 1.1
}

func (p panel) ticks(lo, hi float64) (ticks []float64) {
	if p.log {
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
