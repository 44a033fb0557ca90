//go:build linux

package main

import "github.com/grima-chat/grima/internal/chart"

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

const classes = chart.Classes

func (p plot) svg() string {
	var c chart.Plot
	for _, q := range p.panels {
		panel := chart.Panel{Title: q.title, Places: q.places, Log: q.log, Aim: q.aim, Label: q.label}
		for _, l := range q.lines {
			line := chart.Line{Name: l.name, Class: l.class}
			for _, s := range l.at {
				line.At = append(line.At, chart.Point{Least: s.least(), Middle: s.median(), Greatest: s.greatest(), None: len(s) == 0})
			}
			panel.Lines = append(panel.Lines, line)
		}
		c.Panels = append(c.Panels, panel)
	}
	return c.SVG()
}
